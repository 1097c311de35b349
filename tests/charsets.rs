//! Names in every character set, stated rightly, wrongly or not at all: as QIDO-RS and metadata say them.

use std::time::Duration;

use serde_json::Value;

use crate::support::dicom::{CT_IMAGE, EXPLICIT_LE, element, part10};
use crate::support::gateway::{Gateway, Home};
use crate::support::web::Answer;
use crate::support::wire::{Reaction, Wire};
use crate::support::{root, wait_for};

/// A dataset that is a name and little else.
struct Named {
    uid: String,
    specific_character_set: Vec<u8>,
    name: Vec<u8>,
}

impl Named {
    fn new(number: usize, specific_character_set: &str, name: &[u8]) -> Self {
        Self {
            uid: format!("1.2.826.0.1.3680043.10.1543.700.{number}"),
            specific_character_set: specific_character_set.into(),
            name: name.to_vec(),
        }
    }

    fn dataset(&self) -> Vec<u8> {
        let mut dataset = Vec::new();
        if !self.specific_character_set.is_empty() {
            element(&mut dataset, 0x0008_0005, b"CS", &self.specific_character_set);
        }
        element(&mut dataset, 0x0008_0016, b"UI", CT_IMAGE.as_bytes());
        element(&mut dataset, 0x0008_0018, b"UI", format!("{}.1.1", self.uid).as_bytes());
        element(&mut dataset, 0x0008_0060, b"CS", b"CT");
        element(&mut dataset, 0x0010_0010, b"PN", &self.name);
        element(&mut dataset, 0x0010_0020, b"LO", self.uid.as_bytes());
        element(&mut dataset, 0x0020_000D, b"UI", self.uid.as_bytes());
        element(&mut dataset, 0x0020_000E, b"UI", format!("{}.1", self.uid).as_bytes());
        dataset
    }

    fn send(&self, wire: &mut Wire) {
        let stored = wire.store(CT_IMAGE, &format!("{}.1.1", self.uid), &self.dataset());
        assert_eq!(stored, Reaction::Status(0), "{}", self.uid);
    }

    /// What QIDO-RS says, once the study is there.
    fn found(&self, gateway: &Gateway) -> String {
        wait_for("the study is found", Duration::from_secs(10), || {
            let path = format!("/dicomweb/studies?StudyInstanceUID={}", self.uid);
            let answer = gateway.web.get(&path, "application/dicom+json");
            let found = answer.ok().json::<Value>();
            found.get(0).map(name)
        })
    }

    /// What the metadata says.
    fn told(&self, gateway: &Gateway) -> String {
        name(&self.metadata(gateway, "").ok().json::<Value>()[0])
    }

    /// Metadata, for who has that of an entity tag.
    fn metadata(&self, gateway: &Gateway, etag: &str) -> Answer {
        let path = format!("/dicomweb/studies/{}/metadata", self.uid);
        gateway.web.get_unless(&path, "application/dicom+json", etag)
    }
}

/// The groups of Patient's Name, joined as in a dataset.
fn name(instance: &Value) -> String {
    let name = &instance["00100010"]["Value"][0];
    let groups =
        ["Alphabetic", "Ideographic", "Phonetic"].map(|group| name[group].as_str().unwrap_or_default());
    groups.join("=").trim_end_matches('=').to_owned()
}

/// Names of the corpus that say all there is to know, and how they read.
fn corpus() -> Vec<(Named, String)> {
    let text = std::fs::read_to_string(root().join("fixtures/charsets/corpus.tsv")).expect("the corpus");
    let cases = text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let alone = cases.filter(|cells| cells[2] == "PN" && cells[6].is_empty() && cells[7].is_empty());
    let named = |(number, cells): (usize, Vec<&str>)| {
        let value = hex::decode(cells[3]).expect("hexadecimal");
        (Named::new(number + 1, cells[1], &value), cells[4].trim_end_matches('=').to_owned())
    };
    alone.enumerate().map(named).collect()
}

#[test]
fn names_of_the_corpus_are_found_and_told_right() {
    let home = Home::new().set("PACK__QUIET_MS", 60_000);
    let gateway = home.serve();
    let corpus = corpus();
    assert!(corpus.len() > 60, "{}", corpus.len());
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    corpus.iter().for_each(|(named, _)| named.send(&mut wire));
    wire.release();
    let mut wrong = Vec::new();
    for (named, expected) in &corpus {
        let (found, told) = (named.found(&gateway), named.told(&gateway));
        if found != *expected || told != *expected {
            wrong.push(format!("{expected:?} is found as {found:?} and told as {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    gateway.stop();
}

/// `text.charsets` counts for the sender it is of. Metadata and its tag follow the setting at once; the catalog when it is rebuilt.
#[test]
fn a_sender_is_read_in_the_set_that_is_told_of_it() {
    // The hand-made peer calls itself WIRE, `filmgate send` does not.
    let home = Home::new().set("TEXT__CHARSETS__WIRE", "GB18030");
    let told = home.serve();
    let zhang = Named::new(1001, "ISO_IR 100", b"\xd5\xc5");
    let mut wire = Wire::associate(&told.dicom, CT_IMAGE, EXPLICIT_LE);
    zhang.send(&mut wire);
    wire.release();
    let other = Named::new(1002, "ISO_IR 100", b"\xd5\xc5");
    let path = home.path().join("other.dcm");
    let file = part10(EXPLICIT_LE, CT_IMAGE, &format!("{}.1.1", other.uid), &other.dataset());
    std::fs::write(&path, file).expect("write a file to send");
    home.send(&told, &[path]);
    told.settled(2);
    assert_eq!([zhang.found(&told), zhang.told(&told)], ["张", "张"]);
    assert_eq!([other.found(&told), other.told(&told)], ["ÕÅ", "ÕÅ"]);
    let etag = zhang.metadata(&told, "").header("etag").expect("a tag").to_owned();
    assert_eq!(zhang.metadata(&told, &etag).status, 304);
    told.stop();

    let home = home.set("TEXT__CHARSETS__WIRE", "ISO_IR 100");
    let changed = home.serve();
    assert_eq!([zhang.found(&changed), zhang.told(&changed)], ["张", "ÕÅ"]);
    // A browser that kept the other reading is not told that it is right still.
    assert_eq!(name(&zhang.metadata(&changed, &etag).ok().json::<Value>()[0]), "ÕÅ");
    changed.stop();
    home.run(&["rebuild", "--json"]).ended(0);
    let rebuilt = home.serve();
    assert_eq!([zhang.found(&rebuilt), zhang.told(&rebuilt)], ["ÕÅ", "ÕÅ"]);
    assert_eq!(other.found(&rebuilt), "ÕÅ");
    rebuilt.stop();
}

/// What a site keeps beside the columns is read by the settings of the rebuild, not by those under which it was packed.
#[test]
fn kept_attributes_follow_the_settings_at_a_rebuild() {
    let home = Home::new()
        .set("CATALOG__STUDY_ATTRIBUTES", "PatientComments")
        .set("TEXT__CHARSETS__WIRE", "GB18030");
    let gateway = home.serve();
    let named = Named::new(1003, "ISO_IR 100", b"WANG");
    let mut dataset = named.dataset();
    let study = dataset.windows(4).position(|tag| tag == [0x20, 0, 0x0D, 0]).expect("a Study Instance UID");
    let mut comments = Vec::new();
    element(&mut comments, 0x0010_4000, b"LT", b"\xd5\xc5");
    dataset.splice(study..study, comments);
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    let stored = wire.store(CT_IMAGE, &format!("{}.1.1", named.uid), &dataset);
    assert_eq!(stored, Reaction::Status(0));
    wire.release();
    gateway.settled(1);
    let comments = |gateway: &Gateway| {
        let path = format!("/dicomweb/studies?StudyInstanceUID={}&includefield=PatientComments", named.uid);
        let found = gateway.web.get(&path, "application/dicom+json").ok().json::<Value>();
        found[0]["00104000"]["Value"][0].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(comments(&gateway), "张");
    gateway.stop();

    let home = home.set("TEXT__CHARSETS__WIRE", "ISO_IR 100");
    home.run(&["rebuild", "--json"]).ended(0);
    let gateway = home.serve();
    assert_eq!(comments(&gateway), "ÕÅ");
    gateway.stop();

    // The same of a pack that only the local disk has.
    std::fs::remove_dir_all(home.bucket_dir()).expect("lose the bucket");
    let home = home.set("TEXT__CHARSETS__WIRE", "GB18030");
    home.run(&["rebuild", "--json"]);
    let gateway = home.serve();
    assert_eq!(comments(&gateway), "张");
    gateway.stop();
}

#[test]
fn a_character_set_nobody_knows_is_refused_at_the_start() {
    let home = Home::new().set("TEXT__CHARSETS__CT_1", "KLINGON");
    let ended = home.run(&["config", "check"]);
    assert_ne!(ended.code, Some(0));
    assert!(ended.err.contains("text.charsets.ct_1"), "{}", ended.err);
}
