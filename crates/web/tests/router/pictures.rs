//! Pictures on request: overlays, presentation states and words in them, each told apart from the plain picture.

use axum::{body::Body, http::Request};

use crate::support::{Answer, Gateway};

const PNG: &str = "image/png";
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
const GREYSCALE_STATE: &str = "1.2.840.10008.5.1.4.1.1.11.1";
const BLENDING_STATE: &str = "1.2.840.10008.5.1.4.1.1.11.4";
const STUDY: &str = "1.2.826.0.1.3680043.10.1543.900";
const ROWS: usize = 64;
const COLUMNS: usize = 64;

/// Explicit VR little endian, element by element in the order of their tags (PS3.5 7.1.2).
#[derive(Default)]
struct Dataset(Vec<u8>);

impl Dataset {
    fn put(mut self, tag: u32, vr: &[u8; 2], value: &[u8]) -> Self {
        let (padding, out) = (if matches!(vr, b"UI" | b"OB") { 0 } else { b' ' }, &mut self.0);
        let bytes = value.len().next_multiple_of(2);
        out.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
        out.extend_from_slice(&(tag as u16).to_le_bytes());
        out.extend_from_slice(vr);
        if matches!(vr, b"OB" | b"SQ") {
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&(bytes as u32).to_le_bytes());
        } else {
            out.extend_from_slice(&(bytes as u16).to_le_bytes());
        }
        out.extend_from_slice(value);
        out.resize(out.len() + bytes - value.len(), padding);
        self
    }

    fn text(self, tag: u32, vr: &[u8; 2], text: &str) -> Self {
        self.put(tag, vr, text.as_bytes())
    }

    fn number(self, tag: u32, number: u16) -> Self {
        self.put(tag, b"US", &number.to_le_bytes())
    }

    fn items(self, tag: u32, items: &[Self]) -> Self {
        let mut value = Vec::new();
        for item in items {
            value.extend_from_slice(&[0xfe, 0xff, 0x00, 0xe0]);
            value.extend_from_slice(&(item.0.len() as u32).to_le_bytes());
            value.extend_from_slice(&item.0);
        }
        self.put(tag, b"SQ", &value)
    }

    /// What every instance has, up to its UIDs.
    fn of(sop_class_uid: &str, study: &str, series: u32, instance: u32) -> [Self; 2] {
        let uid = format!("{study}.{series}.{instance}");
        let first = Self::default().text(0x0008_0016, b"UI", sop_class_uid).text(0x0008_0018, b"UI", &uid);
        let uids = Self::default()
            .text(0x0010_0010, b"PN", "Wang^XiaoDong")
            .text(0x0010_0020, b"LO", "P-7")
            .text(0x0020_000d, b"UI", study)
            .text(0x0020_000e, b"UI", &format!("{study}.{series}"));
        [first, uids]
    }

    fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// As a Part 10 file.
    fn file(self, sop_class_uid: &str) -> Vec<u8> {
        let meta = Self::default()
            .put(0x0002_0001, b"OB", &[0, 1])
            .text(0x0002_0002, b"UI", sop_class_uid)
            .text(0x0002_0003, b"UI", "1.2.3")
            .text(0x0002_0010, b"UI", "1.2.840.10008.1.2.1")
            .text(0x0002_0012, b"UI", "1.2.3.4");
        let length = (meta.0.len() as u32).to_le_bytes();
        let head = Self::default().put(0x0002_0000, b"UL", &length);
        [&[0; 128][..], b"DICM", &head.0, &meta.0, &self.0].concat()
    }
}

/// Frames that are all of one grey, with an overlay over the left half of each.
fn image(study: &str, instance: u32, frames: usize) -> Vec<u8> {
    let [first, uids] = Dataset::of(SECONDARY_CAPTURE, study, 1, instance);
    let pixels = uids
        .number(0x0028_0002, 1)
        .text(0x0028_0004, b"CS", "MONOCHROME2")
        .text(0x0028_0008, b"IS", &frames.to_string())
        .number(0x0028_0010, ROWS as u16)
        .number(0x0028_0011, COLUMNS as u16)
        .number(0x0028_0100, 8)
        .number(0x0028_0101, 8)
        .number(0x0028_0102, 7)
        .number(0x0028_0103, 0)
        .number(0x6000_0010, ROWS as u16)
        .number(0x6000_0011, COLUMNS as u16)
        .text(0x6000_0040, b"CS", "G")
        .put(0x6000_0050, b"SS", &[1, 0, 1, 0])
        .number(0x6000_0100, 1)
        .number(0x6000_0102, 0)
        .put(0x6000_3000, b"OB", &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0].repeat(ROWS))
        .put(0x7fe0_0010, b"OB", &vec![100; frames * ROWS * COLUMNS]);
    first.and(pixels).file(SECONDARY_CAPTURE)
}

/// A presentation state that turns greys round, for one image or some frames of it.
fn state(sop_class_uid: &str, study: &str, instance: u32, image: u32, frames: &str) -> Vec<u8> {
    let [first, uids] = Dataset::of(sop_class_uid, study, 2, instance);
    let mut named = Dataset::default().text(0x0008_1150, b"UI", SECONDARY_CAPTURE).text(
        0x0008_1155,
        b"UI",
        &format!("{study}.1.{image}"),
    );
    if !frames.is_empty() {
        named = named.text(0x0008_1160, b"IS", frames);
    }
    let series =
        Dataset::default().items(0x0008_1140, &[named]).text(0x0020_000e, b"UI", &format!("{study}.1"));
    let first = first.items(0x0008_1115, &[series]);
    first.and(uids.text(0x2050_0020, b"CS", "INVERSE")).file(sop_class_uid)
}

fn url(study: &str, series: u32, instance: u32) -> String {
    format!("/dicomweb/studies/{study}/series/{study}.{series}/instances/{study}.{series}.{instance}")
}

/// The greys of a picture, row by row.
fn greys(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    greys_of(&answer.body)
}

fn greys_of(picture: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info().expect("a PNG");
    let mut greys = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut greys).expect("a picture");
    assert_eq!((info.width as usize, info.height as usize), (COLUMNS, ROWS));
    greys.truncate(info.buffer_size());
    greys
}

async fn refused(gateway: &Gateway, path: &str) -> (u16, String) {
    let answer = gateway.get(path, PNG).await;
    (answer.status.as_u16(), answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn overlays_are_drawn_when_they_are_asked_for() {
    let gateway = Gateway::new().await;
    gateway.store("/dicomweb/studies", &[&image(STUDY, 1, 1)]).await;
    let url = url(STUDY, 1, 1);
    let plain = gateway.get(&format!("{url}/rendered"), PNG).await;
    assert!(greys(&plain).iter().all(|grey| *grey == 100));
    let drawn = gateway.get(&format!("{url}/rendered?overlays=true"), PNG).await;
    for row in greys(&drawn).chunks(COLUMNS) {
        assert!(row[..COLUMNS / 2].iter().all(|grey| *grey == 255), "{row:?}");
        assert!(row[COLUMNS / 2..].iter().all(|grey| *grey == 100), "{row:?}");
    }
    assert_ne!(plain.header("etag"), drawn.header("etag"));
    let without = gateway.get(&format!("{url}/rendered?overlays=false"), PNG).await;
    assert_eq!(without.header("etag"), plain.header("etag"));
    let older = format!("/wado?requestType=WADO&objectUID={STUDY}.1.1&contentType=image/png&overlays=true");
    assert!(greys(&gateway.get(&older, PNG).await) == greys(&drawn));
    assert_eq!(refused(&gateway, &format!("{url}/rendered?overlays=some")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presentation_state_shows_the_image_it_is_for() {
    let gateway = Gateway::new().await;
    let other = format!("{STUDY}.7");
    let (images, state_of) =
        ([image(STUDY, 1, 1), image(STUDY, 2, 1)], |study| state(GREYSCALE_STATE, study, 1, 1, ""));
    let (here, elsewhere) = (state_of(STUDY), state_of(&other));
    let answer = gateway.store("/dicomweb/studies", &[&images[0], &images[1], &here, &elsewhere]).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    let (of_image, of_state) = (url(STUDY, 1, 1), url(STUDY, 2, 1));
    let by_state = format!("{of_image}/rendered?presentationState={STUDY}.2.1");
    for settled in [false, true] {
        if settled {
            gateway.settle().await;
        }
        let shown = gateway.get(&by_state, PNG).await;
        assert!(greys(&shown).iter().all(|grey| *grey == 155), "{:?}", &greys(&shown)[..9]);
        // The state alone leads to its image, among others.
        assert!(greys(&gateway.get(&format!("{of_state}/rendered"), PNG).await) == greys(&shown));
        let of_study = format!("/dicomweb/studies/{STUDY}/rendered?presentationState={STUDY}.2.1");
        assert!(greys(&gateway.get(&of_study, PNG).await) == greys(&shown));
        let older = format!(
            "/wado?requestType=WADO&studyUID={STUDY}&objectUID={STUDY}.1.1&contentType=image/png\
             &presentationSeriesUID={STUDY}.2&presentationUID={STUDY}.2.1"
        );
        assert!(greys(&gateway.get(&older, PNG).await) == greys(&shown));
        let plain = gateway.get(&format!("{of_image}/rendered"), PNG).await;
        assert!(greys(&plain).iter().all(|grey| *grey == 100));
        assert_ne!(plain.header("etag"), shown.header("etag"));
    }
    for (path, status, says) in [
        (format!("{}/rendered?presentationState={STUDY}.2.1", url(STUDY, 1, 2)), 400, "other images"),
        (format!("{of_image}/rendered?presentationState={STUDY}.1.2"), 400, "no greyscale"),
        (format!("{of_image}/rendered?presentationState={other}.2.1"), 404, "no such presentation state"),
        (format!("{by_state}&window=40,400"), 400, "itself"),
        (format!("{by_state}&viewport=9,9,0,0,4,4"), 400, "itself"),
        (format!("{}/rendered", url(&other, 2, 1)), 404, "no such image"),
        (
            format!("/wado?requestType=WADO&objectUID={STUDY}.1.1&presentationUID={STUDY}.2.1"),
            400,
            "together",
        ),
    ] {
        let (told, message) = refused(&gateway, &path).await;
        assert!(told == status && message.contains(says), "{path}: {told} {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presentation_state_shows_the_frames_it_is_for() {
    let gateway = Gateway::new().await;
    let files = [image(STUDY, 1, 5), state(GREYSCALE_STATE, STUDY, 1, 1, "2\\4")];
    let blending = state(BLENDING_STATE, STUDY, 2, 1, "");
    gateway.store("/dicomweb/studies", &[&files[0], &files[1], &blending]).await;
    let (of_image, of_state) = (url(STUDY, 1, 1), url(STUDY, 2, 1));
    let parts =
        gateway.get(&format!("{of_state}/rendered"), r#"multipart/related; type="image/png""#).await.parts();
    assert_eq!(parts.len(), 2);
    for (frame, (head, picture)) in [2, 4].into_iter().zip(&parts) {
        assert!(head.contains(&format!("{of_image}/frames/{frame}/rendered")), "{head}");
        assert!(greys_of(picture).iter().all(|grey| *grey == 155));
    }
    let by_state = |frame: u32| format!("{of_image}/frames/{frame}/rendered?presentationState={STUDY}.2.1");
    assert!(greys(&gateway.get(&by_state(2), PNG).await).iter().all(|grey| *grey == 155));
    assert_eq!(refused(&gateway, &by_state(1)).await.0, 400);
    // What is not applied is not shown as if it were.
    let blended = format!("{of_image}/rendered?presentationState={STUDY}.2.2");
    assert_eq!(refused(&gateway, &blended).await.0, 400);
    assert_eq!(gateway.get(&format!("{}/rendered", url(STUDY, 2, 2)), PNG).await.status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_says_whose_it_is_when_it_is_asked_to() {
    let gateway = Gateway::new().await;
    gateway.store("/dicomweb/studies", &[&image(STUDY, 1, 1)]).await;
    let url = url(STUDY, 1, 1);
    let plain = gateway.get(&format!("{url}/rendered"), PNG).await;
    let patient = gateway.get(&format!("{url}/rendered?annotation=patient"), PNG).await;
    let both = gateway.get(&format!("{url}/rendered?annotation=patient%2Ctechnique"), PNG).await;
    let white = |answer: &Answer| greys(answer).iter().filter(|grey| **grey == 255).count();
    assert!(white(&plain) == 0 && white(&patient) > 50, "{}", white(&patient));
    assert_ne!(plain.header("etag"), patient.header("etag"));
    assert_ne!(both.header("etag"), patient.header("etag"));
    assert_eq!(refused(&gateway, &format!("{url}/rendered?annotation=all")).await.0, 400);
    let known = Request::get(format!("{url}/rendered?annotation=patient"))
        .header("host", "localhost")
        .header("accept", PNG)
        .header("if-none-match", patient.header("etag"));
    let again = gateway.ask(known.body(Body::empty()).expect("a request")).await;
    assert_eq!(again.status.as_u16(), 304);
}
