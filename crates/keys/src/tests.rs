//! Keys on a real disk.

use std::{fs, path::PathBuf, sync::Arc};

use filmgate_model::{Clock, Random, RecordId, StudyKeyId, Timestamp};
use filmgate_seal::RecordKey;
use filmgate_spool::RealDisk;

use crate::{Error, Kek, KeyRing};

struct Node {
    folder: tempfile::TempDir,
    clock: Clock,
    random: Random,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let node = Self { folder, clock: Clock::manual(Timestamp(1_000_000)), random: Random::seeded(3) };
        Kek::create_file(&node.kek(), &node.random).expect("a key file");
        node
    }

    fn kek(&self) -> PathBuf {
        self.folder.path().join("data.key")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn create(&self) -> KeyRing {
        let kek = Kek::load_file(&self.kek()).expect("a key");
        KeyRing::create(Arc::new(RealDisk), &self.keys(), &kek, &self.clock, &self.random).expect("a ring")
    }

    fn open(&self) -> Result<KeyRing, Error> {
        let kek = Kek::load_file(&self.kek())?;
        KeyRing::open(Arc::new(RealDisk), &self.keys(), &kek, &self.clock, &self.random)
    }

    fn landing_files(&self) -> usize {
        fs::read_dir(self.keys().join("landing")).expect("a folder").count()
    }
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("write");
}

#[test]
fn keys_open_again_after_a_restart() {
    let node = Node::new();
    let (record_id, key) = (RecordId([1; 16]), RecordKey::random(&node.random));
    let ring = node.create();
    let blob = ring.wrap_landing(record_id, &key).expect("wrapped");
    let study = ring.new_study_key().expect("a study key");
    let again = node.open().expect("opens");
    assert_eq!(again.unwrap_landing(record_id, &blob).expect("unwrapped"), key);
    assert_eq!(again.study_key(study).expect("study key"), ring.study_key(study).expect("study key"));
    assert_eq!((again.site_id(), again.node_id()), (ring.site_id(), ring.node_id()));
    assert_eq!(again.catalog_key(), ring.catalog_key());
}

#[test]
fn a_key_opens_for_its_own_record_and_study_alone() {
    let node = Node::new();
    let ring = node.create();
    let blob = ring.wrap_landing(RecordId([1; 16]), &RecordKey::random(&node.random)).expect("wrapped");
    assert!(matches!(ring.unwrap_landing(RecordId([2; 16]), &blob), Err(Error::RecordKey(_))));
    assert!(matches!(ring.unwrap_landing(RecordId([1; 16]), &blob[..20]), Err(Error::RecordKey(_))));
    assert!(matches!(ring.unwrap_landing(RecordId([1; 16]), &[0; 77]), Err(Error::NoLandingKey(_))));

    let (a, b) = (ring.new_study_key().expect("key"), ring.new_study_key().expect("key"));
    let path = |id: StudyKeyId| node.keys().join("study").join(format!("{id}.key"));
    fs::copy(path(a), path(b)).expect("swapped");
    let again = node.open().expect("opens");
    assert!(again.study_key(a).is_ok());
    assert!(matches!(again.study_key(b), Err(Error::Damaged(_))));
    let (_, object) = again.study_key_object(a).expect("object");
    assert!(again.adopt_study_key(b, &object).is_err(), "another study's key under this name");
}

#[test]
fn every_flipped_or_missing_byte_is_told() {
    let node = Node::new();
    let ring = node.create();
    ring.wrap_landing(RecordId([1; 16]), &RecordKey::random(&node.random)).expect("wrapped");
    let study = ring.new_study_key().expect("key");
    let study_path = node.keys().join("study").join(format!("{study}.key"));
    for at in 0..fs::metadata(&study_path).expect("file").len() as usize {
        flip(&study_path, at);
        assert!(node.open().expect("opens").study_key(study).is_err(), "byte {at}");
        flip(&study_path, at);
    }
    let site = node.keys().join("site.key");
    for at in 0..fs::metadata(&site).expect("file").len() as usize {
        flip(&site, at);
        assert!(node.open().is_err(), "byte {at}");
        flip(&site, at);
    }
    assert!(node.open().is_ok());
    fs::write(&site, &fs::read(&site).expect("file")[..20]).expect("cut");
    assert!(matches!(node.open(), Err(Error::Damaged(_))));
    fs::remove_file(&site).expect("removed");
    assert!(matches!(node.open(), Err(Error::NoSiteKey(_))));
}

#[test]
fn a_missing_or_foreign_key_file_fails_closed_and_says_what_to_do() {
    let node = Node::new();
    node.create();
    let own = fs::read(node.kek()).expect("file");
    fs::write(node.kek(), format!("{}\n", "ab".repeat(32))).expect("write");
    assert!(matches!(node.open(), Err(Error::WrongKek(_))));
    fs::write(node.kek(), "no key").expect("write");
    assert!(matches!(node.open(), Err(Error::NotAKek(_))));
    fs::remove_file(node.kek()).expect("removed");
    let error = node.open().err().expect("missing");
    assert!(error.is_configuration() && error.to_string().contains("bring back"), "{error}");
    fs::write(node.kek(), own).expect("write");
    assert!(node.open().is_ok());
    assert!(Kek::create_file(&node.kek(), &node.random).is_err(), "an existing key is never overwritten");
}

#[test]
fn the_key_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new();
    let mode = fs::metadata(node.kek()).expect("file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn landing_keys_rotate_daily_and_go_with_their_last_record() {
    let node = Node::new();
    let ring = node.create();
    let key = RecordKey::random(&node.random);
    let wrap = |n: u8| ring.wrap_landing(RecordId([n; 16]), &key).expect("wrapped");
    let id_of = |blob: &[u8]| KeyRing::landing_key_id_of(blob).expect("an id");
    let first = wrap(1);
    node.clock.shift_ms(23 * 3600 * 1000);
    assert_eq!(id_of(&wrap(2)), id_of(&first));
    node.clock.shift_ms(3600 * 1000);
    let second = wrap(3);
    assert_ne!(id_of(&second), id_of(&first));
    assert_eq!(node.landing_files(), 2);

    ring.retire_landing(&[id_of(&first)]).expect("retired");
    assert_eq!(node.landing_files(), 2, "the first is still in use");
    assert_eq!(
        node.open().expect("opens").unwrap_landing(RecordId([1; 16]), &first).expect("unwrapped"),
        key
    );
    ring.retire_landing(&[]).expect("retired");
    assert_eq!(node.landing_files(), 1, "the current one stays");
    assert!(matches!(ring.unwrap_landing(RecordId([1; 16]), &first), Err(Error::NoLandingKey(_))));
    assert!(ring.unwrap_landing(RecordId([3; 16]), &second).is_ok());
}
