//! Every request that the image viewer makes, as it makes it, and what it needs of the answer. `docs/viewer.md` names these tests line by
//! line.

use std::path::PathBuf;

use serde_json::{Value, json};
use ureq::Agent;

use crate::support::gateway::{Gateway, Home};
use crate::support::test_data::{self, Sample};
use crate::support::web::Answer;

const JSON: &str = "application/dicom+json";
/// What it sends for a frame.
const FRAME: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";
const LIST: &str = "/dicomweb/studies?limit=101&offset=0&fuzzymatching=false";
const STUDY_FIELDS: &str = "includefield=00081030%2C00080060%2C00080090%2C00100030";

const CT: &str = "ct-series/philips-phantom-54/";
const PALETTE: &str = "objects/us-palette-2-frames-rle.dcm";
const ECG: &str = "objects/ecg-12-lead.dcm";
/// What each is stored in, and as what its frames are answered.
const FRAMES: [(&str, &str, &str); 6] = [
    ("ct-series/philips-phantom-54/001.dcm", "1.2.840.10008.1.2.1", "application/octet-stream"),
    ("objects/us-multiframe-ybr-jpeg-30.dcm", "1.2.840.10008.1.2.4.50", "image/jpeg"),
    ("objects/pt-jpeg-lossless.dcm", "1.2.840.10008.1.2.4.70", "image/jpeg"),
    ("syntaxes/mr-384-mono16/jpeg-ls-lossless.dcm", "1.2.840.10008.1.2.4.80", "image/jls"),
    ("syntaxes/misc/ct-jpeg2000-lossless.dcm", "1.2.840.10008.1.2.4.90", "image/jp2"),
    (PALETTE, "1.2.840.10008.1.2.5", "image/dicom-rle"),
];

/// A gateway that holds studies, and what was sent to it.
struct Opened {
    gateway: Gateway,
    samples: Vec<Sample>,
    _home: Home,
}

impl Opened {
    /// With the answers that a client on another machine gets; `None` where there is no test data.
    fn with_studies() -> Option<Self> {
        let wanted = |name: &str| {
            name.starts_with(CT) || name == ECG || FRAMES.iter().any(|(of_frames, ..)| *of_frames == name)
        };
        let samples: Vec<Sample> =
            test_data::samples()?.into_iter().filter(|sample| wanted(&sample.name)).collect();
        let home = Home::new().set("WEB__COMPRESS", "always");
        let gateway = home.serve();
        let files: Vec<&PathBuf> = samples.iter().map(|sample| &sample.path).collect();
        home.send(&gateway, &files);
        gateway.settled(files.len());
        Some(Self { gateway, samples, _home: home })
    }

    fn sample(&self, name: &str) -> &Sample {
        self.samples.iter().find(|sample| sample.name.starts_with(name)).expect("it was sent")
    }

    fn get(&self, path: &str, accept: &str) -> Answer {
        self.gateway.web.get(path, accept).ok()
    }

    fn found(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path, JSON);
        assert_eq!((answer.status, answer.content_type.as_str()), (200, JSON), "{path}");
        answer.json()
    }
}

fn series_of(sample: &Sample) -> String {
    format!("/dicomweb/studies/{}/series/{}", sample.study_instance_uid, sample.series_instance_uid)
}

fn instance_of(sample: &Sample) -> String {
    format!("{}/instances/{}", series_of(sample), sample.sop_instance_uid)
}

/// The first value of an attribute; a name's first component group.
fn value(dataset: &Value, tag: &str) -> String {
    let value = &dataset[tag]["Value"][0];
    let text = value["Alphabetic"].as_str().or_else(|| value.as_str());
    text.map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn the_list_opens_and_filters() {
    let Some(opened) = Opened::with_studies() else { return };
    let ct = opened.sample(CT);
    let studies = opened.found(&format!("{LIST}&{STUDY_FIELDS}"));
    assert_eq!(studies.len(), 1 + FRAMES.len(), "each study once");
    let is_ct = |study: &&Value| value(study, "0020000D") == ct.study_instance_uid;
    let study = studies.iter().find(is_ct).expect("the CT");
    for tag in ["00100020", "00080061", "00201208", "00081030", "00100010"] {
        assert!(study[tag]["Value"].is_array(), "without {tag}: {study}");
    }
    let middle = |tag: &str| {
        let text = value(study, tag);
        let part: String = text.chars().skip(1).take(3).collect();
        part.to_lowercase()
    };
    let encoded = |text: &str| text.replace('^', "%5E").replace(' ', "%20");
    let date = value(study, "00080020");
    for (filter, finds) in [
        (format!("PatientName=*{}*", encoded(&middle("00100010"))), true),
        (format!("00100020=*{}*", value(study, "00100020").get(1..).unwrap_or_default()), true),
        (format!("StudyDescription=*{}*", encoded(&value(study, "00081030")[1..])), true),
        ("ModalitiesInStudy=CT".into(), true),
        (format!("StudyDate={date}-{date}"), true),
        (format!("StudyInstanceUID={}", ct.study_instance_uid), true),
        ("PatientName=*nobody*".into(), false),
        ("AccessionNumber=*nothing*".into(), false),
        ("ModalitiesInStudy=XX".into(), false),
        ("StudyDate=18000101-18001231".into(), false),
    ] {
        let found = opened.found(&format!("{LIST}&{STUDY_FIELDS}&{filter}"));
        assert_eq!(found.iter().any(|study| is_ct(&study)), finds, "{filter}: {} found", found.len());
    }
    opened.gateway.stop();
}

#[test]
fn a_row_of_the_list_shows_its_series() {
    let Some(opened) = Opened::with_studies() else { return };
    let ct = opened.sample(CT);
    let path = format!("/dicomweb/studies/{}/series?includefield=0008103E%2C00080021", ct.study_instance_uid);
    let series = opened.found(&path);
    assert_eq!(series.len(), 1);
    assert!(series[0]["0008103E"]["Value"].is_array(), "{}", series[0]);
    for viewport in ["256,256", "256%2C256"] {
        let answer = opened.get(&format!("{}/thumbnail?viewport={viewport}", series_of(ct)), "image/jpeg");
        assert_eq!(answer.content_type, "image/jpeg");
        assert!(answer.body.starts_with(b"\xff\xd8\xff"), "no JPEG");
    }
    // What shows nothing costs two more requests, and is drawn as such.
    let ecg = opened.sample(ECG);
    let missing = |path: &str| assert_eq!(opened.gateway.web.get(path, "image/jpeg").status, 404, "{path}");
    missing(&format!("{}/thumbnail?viewport=256%2C256", series_of(ecg)));
    let first = opened.found(&format!("{}/instances?limit=1&includefield=00080018", series_of(ecg)));
    assert_eq!(value(&first[0], "00080018"), ecg.sop_instance_uid);
    missing(&format!("{}/thumbnail?viewport=256%2C256", instance_of(ecg)));
    opened.gateway.stop();
}

#[test]
fn a_study_opens_with_its_series_its_metadata_and_what_came_before() {
    let Some(opened) = Opened::with_studies() else { return };
    let ct = opened.sample(CT);
    let uid = &ct.study_instance_uid;
    let studies = opened.found(&format!("{LIST}&{STUDY_FIELDS}&StudyInstanceUID={uid}"));
    assert_eq!(studies.len(), 1);
    let before = opened.found(&format!(
        "/dicomweb/studies?00100020={}&limit=101&offset=0&fuzzymatching=false&{STUDY_FIELDS}",
        value(&studies[0], "00100020")
    ));
    assert!(before.iter().any(|study| value(study, "0020000D") == *uid));
    let series = opened.found(&format!(
        "/dicomweb/studies/{uid}/series?includefield=00080021%2C00080031%2C0008103E%2C00200011"
    ));
    assert_eq!((value(&series[0], "00080060"), &series[0]["00200011"]["vr"]), ("CT".into(), &json!("IS")));
    assert!(series[0]["0008103E"]["Value"].is_array(), "{}", series[0]);

    let path = format!("{}/metadata", series_of(ct));
    let metadata = opened.found(&path);
    let slices = opened.samples.iter().filter(|sample| sample.name.starts_with(CT)).count();
    assert_eq!(metadata.len(), slices, "the whole series in one array");
    // The page's own host answers it, whatever that is called.
    for one in &metadata {
        let uri = one["7FE00010"]["BulkDataURI"].as_str().expect("named, not sent");
        assert!(uri.starts_with("/dicomweb/studies/"), "{uri}");
    }
    let agent: Agent = Agent::config_builder().build().into();
    let asked = agent
        .get(opened.gateway.web.url(&path))
        .header("accept", JSON)
        .header("accept-encoding", "gzip, deflate, br");
    let packed = asked.call().expect("an answer");
    let encoding = packed.headers().get("content-encoding").and_then(|encoding| encoding.to_str().ok());
    assert!(encoding.is_some_and(|encoding| ["gzip", "br", "deflate"].contains(&encoding)), "{encoding:?}");

    let middle = metadata.get(slices / 2).map(|one| value(one, "00080018")).expect("a slice");
    let thumbnail = format!("{}/instances/{middle}/thumbnail?viewport=256%2C256", series_of(ct));
    assert_eq!(opened.get(&thumbnail, "image/jpeg").content_type, "image/jpeg");
    opened.gateway.stop();
}

#[test]
fn frames_are_answered_as_they_are_stored() {
    let Some(opened) = Opened::with_studies() else { return };
    for (name, syntax, media_type) in FRAMES {
        let sample = opened.sample(name);
        assert_eq!(sample.transfer_syntax_uid, syntax, "{name}");
        for number in [1, sample.frames] {
            let answer = opened.get(&format!("{}/frames/{number}", instance_of(sample)), FRAME);
            let root =
                format!("multipart/related; type=\"{media_type}; transfer-syntax={syntax}\"; boundary=");
            assert!(answer.content_type.starts_with(&root), "{name}: {}", answer.content_type);
            let parts = answer.whole_parts();
            assert_eq!(parts.len(), 1, "{name}");
            let told = format!("{media_type}; transfer-syntax={syntax}");
            assert_eq!(parts[0].header("content-type"), Some(told.as_str()), "{name}");
        }
    }
    opened.gateway.stop();
}

#[test]
fn palettes_and_waveforms_are_fetched_by_what_the_metadata_names() {
    let Some(opened) = Opened::with_studies() else { return };
    let metadata = |name: &str| opened.found(&format!("{}/metadata", instance_of(opened.sample(name))));
    let palette = metadata(PALETTE);
    for tag in ["00281201", "00281202", "00281203"] {
        let element = &palette[0][tag];
        match element["BulkDataURI"].as_str() {
            Some(uri) => assert!(!opened.get(uri, "*/*").body.is_empty()),
            None => assert!(element["InlineBinary"].is_string(), "{tag}: {element}"),
        }
    }
    let ecg = metadata(ECG);
    let waveform = &ecg[0]["54000100"]["Value"][0];
    let uri = waveform["54001010"]["BulkDataURI"].as_str().expect("a waveform that is named");
    let answer = opened.get(uri, "application/octet-stream");
    assert_eq!(answer.content_type, "application/octet-stream", "a single part");
    let number = |tag: &str| waveform[tag]["Value"][0].as_u64().expect("a number");
    let bytes = number("003A0005") * number("003A0010") * number("54001004") / 8;
    assert_eq!(answer.body.len() as u64, bytes, "channels, samples, bits");
    opened.gateway.stop();
}
