//! Frames: each by itself, in its order, as it is stored, from the journal and from a pack.

use axum::{body::Body, http::Request};
use serde_json::Value;

use crate::support::{Answer, Gateway, fixture};
use crate::{JSON, url_of};

/// What the bundled viewer asks with.
const STORED: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";

/// Stores a fixture; where its instance is.
async fn stored(gateway: &Gateway, name: &str) -> String {
    let answer = gateway.store("/dicomweb/studies", &[&fixture(name)]).await;
    url_of(&answer.json()["00081199"]["Value"][0])
}

async fn frame(gateway: &Gateway, url: &str, frames: &str) -> Vec<Vec<u8>> {
    let answer = gateway.get(&format!("{url}/frames/{frames}"), STORED).await;
    assert_eq!(answer.status.as_u16(), 200, "{frames}: {}", answer.text());
    answer.parts().into_iter().map(|(_, bytes)| bytes).collect()
}

fn error(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_frame_is_the_samples_of_its_file() {
    let gateway = Gateway::new().await;
    let file = fixture("ct-head-phantom/025.dcm");
    let url = stored(&gateway, "ct-head-phantom/025.dcm").await;
    for settled in [false, true] {
        if settled {
            gateway.settle().await;
        }
        let answer = gateway.get(&format!("{url}/frames/1"), STORED).await;
        let parts = answer.parts();
        assert_eq!(parts.len(), 1);
        assert!(
            parts[0]
                .0
                .starts_with("Content-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
            "{}",
            parts[0].0
        );
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        assert_eq!(parts[0].1.len(), 512 * 512 * 2);
        assert!(file.ends_with(&parts[0].1), "the samples end the file");
    }
    let alone = gateway.get(&format!("{url}/frames/1"), "application/octet-stream").await;
    assert_eq!(alone.header("content-type"), "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1");
    assert!(file.ends_with(&alone.body));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_come_in_the_order_they_are_asked_for() {
    let gateway = Gateway::new().await;
    for (name, frames, media_type, begins) in [
        ("us-30-frames-jpeg.dcm", 30, "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", &b"\xff\xd8"[..]),
        ("us-2-frames-rle.dcm", 2, "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5", b""),
        (
            "mr-enhanced-10-frames-jpeg2000.dcm",
            10,
            "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90",
            b"\xff\x4f\xff\x51",
        ),
        ("mr-jpeg-ls.dcm", 1, "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80", b"\xff\xd8"),
        ("ct-small-htj2k.dcm", 1, "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.20", b"\xff\x4f\xff\x51"),
        ("seg-liver-3-frames.dcm", 3, "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", b""),
    ] {
        let url = stored(&gateway, name).await;
        gateway.settle().await;
        let all: Vec<String> = (1..=frames).map(|number| number.to_string()).collect();
        let answer = gateway.get(&format!("{url}/frames/{}", all.join(",")), STORED).await;
        assert_eq!(answer.status.as_u16(), 200, "{name}: {}", answer.text());
        let parts = answer.parts();
        assert_eq!(parts.len(), frames, "{name}");
        for (number, (head, bytes)) in parts.iter().enumerate() {
            assert!(head.contains(media_type), "{name}: {head}");
            assert!(head.contains(&format!("{url}/frames/{}", number + 1)), "{name}: {head}");
            assert!(!bytes.is_empty() && bytes.starts_with(begins), "{name}, frame {}", number + 1);
        }
        // Each alone is what it is among all; the other way round they come the other way round.
        let (first, last) = (&parts[0].1, &parts[frames - 1].1);
        assert!(frame(&gateway, &url, "1").await == [first.clone()], "{name}");
        assert!(
            frame(&gateway, &url, &format!("{frames}%2C1")).await == [last.clone(), first.clone()],
            "{name}"
        );
        let past = gateway.get(&format!("{url}/frames/{}", frames + 1), STORED).await;
        assert_eq!(error(&past), (404, "no-such-frame".into()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deflated_dataset_gives_its_frames_too() {
    let gateway = Gateway::new().await;
    let url = stored(&gateway, "sc-deflated.dcm").await;
    let metadata = gateway.get(&format!("{url}/metadata"), JSON).await.json();
    let number = |tag: &str| metadata[0][tag]["Value"][0].as_u64().unwrap_or(1);
    let wanted = number("00280010") * number("00280011") * number("00280002") * number("00280100") / 8;
    let parts = frame(&gateway, &url, "1").await;
    assert_eq!(parts[0].len() as u64, wanted);
    assert!(parts[0].iter().any(|byte| *byte != parts[0][0]), "it shows something");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_is_told() {
    let gateway = Gateway::new().await;
    let report = stored(&gateway, "sr-basic-text.dcm").await;
    assert_eq!(
        error(&gateway.get(&format!("{report}/frames/1"), STORED).await),
        (404, "no-such-frame".into())
    );
    let image = stored(&gateway, "ct-small.dcm").await;
    for list in ["0", "a", "1,", "-1", "1;2", ""] {
        let answer = gateway.get(&format!("{image}/frames/{list}"), STORED).await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{list}: {}", answer.status);
    }
    let many = vec!["1"; 10_001].join(",");
    assert_eq!(gateway.get(&format!("{image}/frames/{many}"), STORED).await.status.as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_is_not_sent_again() {
    let gateway = Gateway::new().await;
    let url = stored(&gateway, "ct-small.dcm").await;
    for (path, accept) in [("/frames/1", STORED), ("/metadata", JSON)] {
        let first = gateway.get(&format!("{url}{path}"), accept).await;
        assert!(first.header("cache-control").starts_with("private, max-age="), "{path}");
        let tag = first.header("etag").to_owned();
        let again = Request::get(format!("{url}{path}"))
            .header("host", "localhost")
            .header("accept", accept)
            .header("if-none-match", &tag);
        let again = gateway.ask(again.body(Body::empty()).expect("a request")).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("etag"), tag);
    }
}

/// Metadata is made of headers alone, whatever the pixels weigh: the bucket is asked for footers and for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_names_bulk_data_that_can_be_fetched() {
    let gateway = Gateway::new().await;
    let url = stored(&gateway, "us-30-frames-jpeg.dcm").await;
    gateway.settle().await;
    let metadata: Value = gateway.get(&format!("{url}/metadata"), JSON).await.json();
    let uri = metadata[0]["7FE00010"]["BulkDataURI"].as_str().expect("a URI").to_owned();
    let bulk = gateway.get(&uri, "*/*").await;
    assert_eq!(bulk.parts().len(), 30, "all frames of the pixel data");
    assert!(bulk.parts()[29].1 == frame(&gateway, &url, "30").await[0]);
}
