//! Keys on a real disk: made, opened, refused, rotated, destroyed.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use filmgate_model::{Clock, IncarnationId, Random, RecordId, StudyKeyId, Timestamp};
use filmgate_seal::RecordKey;
use filmgate_spool::{Disk, DiskFile, Open, RealDisk};
use tempfile::TempDir;

use crate::{
    Error, FileKek, Kek, KeyRing, Sheet, SheetError, SiteObject, is_signed,
    key_file::{Kind, Label},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

struct Site {
    folder: TempDir,
    kek: Kek,
    clock: Clock,
    random: Random,
}

impl Site {
    fn new(seed: u64) -> Self {
        let random = Random::seeded(seed);
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            kek: Kek::random(&random),
            clock: Clock::manual(Timestamp(1_700_000_000_000)),
            random,
        }
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn create(&self) -> KeyRing {
        KeyRing::create(Arc::new(RealDisk), &self.keys(), &self.kek, &self.clock, &self.random)
            .expect("create")
    }

    fn open(&self) -> Result<KeyRing, Error> {
        KeyRing::open(Arc::new(RealDisk), &self.keys(), &self.kek, &self.clock, &self.random)
    }

    fn file(&self, inside: &str, id: impl std::fmt::Display) -> PathBuf {
        self.keys().join(inside).join(format!("{id}.key"))
    }
}

fn record(number: u8) -> RecordId {
    RecordId([number; 16])
}

fn landing_files(site: &Site) -> usize {
    fs::read_dir(site.keys().join("landing")).expect("folder").count()
}

/// Makes the checksum right again, as whoever changes a file on purpose would.
fn repair_checksum(bytes: &mut [u8]) {
    let (body, checksum) = bytes.split_last_chunk_mut::<4>().expect("long enough");
    *checksum = crc32c::crc32c(body).to_le_bytes();
}

#[test]
fn a_key_file_is_made_once_for_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data.key");
    let kek = FileKek::create_file(&path, &Random::seeded(1)).expect("create");
    let text = fs::read_to_string(&path).expect("read");
    assert_eq!((text.len(), text.ends_with('\n')), (65, true));
    assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    assert!(matches!(Kek::create_file(&path, &Random::seeded(2)), Err(Error::Exists(_))));
    assert_eq!(fs::read_to_string(&path).expect("read"), text, "never overwritten");
    assert_eq!(FileKek::load_file(&path).expect("load").as_bytes(), kek.as_bytes());
    assert_eq!(format!("{kek:?}"), "FileKek(redacted)");

    let digits = text.trim();
    for (content, fits) in [
        (digits.to_owned(), true),
        (format!("{digits}\r\n"), true),
        (digits.to_uppercase(), true),
        (format!("{digits}\n\n"), false),
        (format!("{digits}00"), false),
        (digits[1..].to_owned(), false),
        (digits.replacen(|_| true, "g", 1), false),
        (String::new(), false),
        ("0".repeat(1 << 20), false),
    ] {
        fs::write(&path, &content).expect("write");
        assert_eq!(Kek::load_file(&path).is_ok(), fits, "{} bytes", content.len());
    }
    let error = Kek::load_file(&folder.path().join("none")).expect_err("missing");
    assert!(matches!(error, Error::Missing { what: "key file", .. }) && error.is_configuration());
}

#[test]
fn a_ring_opens_as_it_was_made() {
    let site = Site::new(1);
    assert!(!KeyRing::exists(&RealDisk, &site.keys()).expect("asked"));
    let error = site.open().err().expect("no keys yet");
    assert!(matches!(error, Error::Missing { what: "site key", .. }) && error.is_configuration(), "{error}");
    let made = site.create();
    assert!(KeyRing::exists(&RealDisk, &site.keys()).expect("asked"));
    let opened = site.open().expect("open");
    assert_eq!((opened.site_id(), opened.node_id()), (made.site_id(), made.node_id()));
    assert_eq!(*opened.catalog_key(), *made.catalog_key());
    let again = KeyRing::create(Arc::new(RealDisk), &site.keys(), &site.kek, &site.clock, &site.random);
    assert!(matches!(again, Err(Error::Exists(_))), "a site key is never replaced");

    let other = Site::new(2).create();
    assert_ne!(other.site_id(), made.site_id());
    assert_ne!(*other.catalog_key(), *made.catalog_key());
}

#[test]
fn another_key_file_is_told_from_damage() {
    let site = Site::new(1);
    site.create();
    let stranger = Site { kek: Kek::random(&Random::seeded(99)), ..site };
    let error = stranger.open().err().expect("refused");
    assert!(matches!(&error, Error::Wrong { path } if path.ends_with("site.key")), "{error}");
    assert!(error.is_permanent() && error.is_configuration() && error.to_string().contains("bring back"));
}

#[test]
fn a_site_key_with_any_bit_flipped_or_byte_missing_is_refused() {
    let site = Site::new(1);
    site.create();
    let path = site.keys().join("site.key");
    let whole = fs::read(&path).expect("read");
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).expect("write");
        let error = site.open().err().expect("refused");
        assert!(matches!(error, Error::Damaged { .. } | Error::Newer { .. }), "bit {bit}: {error}");
        // Changed on purpose, with the checksum made right: still refused.
        if bit / 8 < whole.len() - 4 {
            repair_checksum(&mut flipped);
            fs::write(&path, &flipped).expect("write");
            assert!(site.open().is_err(), "bit {bit} with its checksum");
        }
    }
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("write");
        assert!(matches!(site.open().err(), Some(Error::Damaged { .. })), "cut at {length}");
    }
    fs::write(&path, [whole.as_slice(), b"x"].concat()).expect("write");
    assert!(matches!(site.open().err(), Some(Error::Damaged { .. })));
    fs::write(&path, &whole).expect("write");
    assert!(site.open().is_ok());
}

#[test]
fn study_keys_are_kept_and_given_to_the_bucket() {
    let site = Site::new(1);
    let ring = site.create();
    let (a, b) = (ring.new_study_key().expect("make"), ring.new_study_key().expect("make"));
    let (key_a, key_b) = (ring.study_key(a).expect("key"), ring.study_key(b).expect("key"));
    assert_ne!(*key_a, *key_b);
    let opened = site.open().expect("open");
    assert_eq!(*opened.study_key(a).expect("key"), *key_a);
    let (name, object) = opened.study_key_object(a).expect("object");
    assert_eq!(name, format!("v1/key/{a}/1"));
    assert_eq!(object, fs::read(site.file("study", a)).expect("read"), "the object is the file");
    assert!(!object.windows(32).any(|window| window == key_a.as_slice()), "and not the key");

    // Lost here, back from the bucket; a second time changes nothing.
    fs::remove_file(site.file("study", a)).expect("remove");
    let opened = site.open().expect("open");
    assert!(matches!(opened.study_key(a).err(), Some(Error::Missing { what: "study key", .. })));
    for _ in 0..2 {
        assert_eq!(opened.adopt_study_key(&object).expect("adopt"), a);
        assert_eq!(fs::read(site.file("study", a)).expect("read"), object);
    }
    assert_eq!(*site.open().expect("open").study_key(a).expect("key"), *key_a);
    // A damaged file is replaced by a whole object.
    fs::write(site.file("study", a), b"rubbish").expect("write");
    assert_eq!(opened.adopt_study_key(&object).expect("adopt"), a);
    assert_eq!(fs::read(site.file("study", a)).expect("read"), object);
}

#[test]
fn study_keys_open_only_as_what_they_are() {
    let site = Site::new(1);
    let ring = site.create();
    let (a, b) = (ring.new_study_key().expect("make"), ring.new_study_key().expect("make"));
    ring.wrap_landing(record(1), &RecordKey::random(&site.random)).expect("wrap");
    let (file_a, file_b) = (site.file("study", a), site.file("study", b));
    let (bytes_a, bytes_b) = (fs::read(&file_a).expect("read"), fs::read(&file_b).expect("read"));
    let refused = |id: StudyKeyId, bytes: &[u8]| {
        fs::write(site.file("study", id), bytes).expect("write");
        matches!(site.open().expect("open").study_key(id).err(), Some(Error::Damaged { .. }))
    };
    assert!(refused(a, &bytes_b), "swapped");
    // Relabelled: the identifier rewritten in b's file, with the checksum made right.
    let mut relabelled = bytes_b.clone();
    relabelled[24..40].copy_from_slice(a.as_bytes());
    repair_checksum(&mut relabelled);
    assert!(refused(a, &relabelled), "bound to its identifier");
    for (what, place) in [("generation", 40), ("time", 44), ("wrapped key", 90)] {
        let mut changed = bytes_a.clone();
        changed[place] ^= 1;
        repair_checksum(&mut changed);
        assert!(refused(a, &changed), "bound to its {what}");
    }
    let landing =
        fs::read_dir(site.keys().join("landing")).expect("folder").next().expect("one").expect("entry");
    assert!(refused(a, &fs::read(landing.path()).expect("read")), "a landing key is no study key");

    // Another site's key is no key of this one.
    let other = Site::new(2);
    let stranger = other.create();
    let foreign = stranger.new_study_key().and_then(|id| stranger.study_key_object(id)).expect("object").1;
    assert!(matches!(ring.adopt_study_key(&foreign), Err(Error::Damaged { .. })));
    assert!(matches!(ring.adopt_study_key(b""), Err(Error::Damaged { .. })));
    // The site's id claimed, but wrapped under another site key.
    let mut claimed = foreign;
    claimed[8..24].copy_from_slice(ring.site_id().as_bytes());
    repair_checksum(&mut claimed);
    assert!(matches!(ring.adopt_study_key(&claimed), Err(Error::Wrong { .. })));
}

#[test]
fn a_records_key_comes_back_for_that_record_alone() {
    let site = Site::new(1);
    let ring = site.create();
    let key = RecordKey::random(&site.random);
    let blob = ring.wrap_landing(record(1), &key).expect("wrap");
    assert_eq!(blob.len(), 78);
    let reopened = site.open().expect("open");
    assert_eq!(reopened.unwrap_landing(record(1), &blob).expect("unwrap"), key);
    assert_eq!(reopened.landing_key_id_of(&blob), ring.landing_key_id_of(&blob));
    assert!(matches!(ring.unwrap_landing(record(2), &blob), Err(Error::RecordKey(id)) if id == record(2)));
    for place in 0..blob.len() {
        let mut flipped = blob.clone();
        flipped[place] ^= 1;
        assert!(ring.unwrap_landing(record(1), &flipped).is_err(), "byte {place}");
        assert!(ring.unwrap_landing(record(1), &blob[..place]).is_err(), "cut at {place}");
        assert_eq!(ring.landing_key_id_of(&blob[..place]), None);
    }
}

#[test]
fn landing_keys_change_daily_and_go_when_nothing_needs_them() {
    let site = Site::new(1);
    let ring = site.create();
    assert_eq!(landing_files(&site), 0, "none before it is needed");
    let key = RecordKey::random(&site.random);
    let wrap = |number: u8| {
        let blob = ring.wrap_landing(record(number), &key).expect("wrap");
        (ring.landing_key_id_of(&blob).expect("an id"), blob)
    };
    let (first, first_blob) = wrap(1);
    site.clock.shift_ms(DAY_MS - 1);
    assert_eq!(wrap(2).0, first, "not a day old");
    site.clock.shift_ms(1);
    let (second, second_blob) = wrap(3);
    assert_ne!(second, first);
    assert_eq!(
        ring.retire_landing(&[]).expect("retire"),
        0,
        "what came before may be on its way into the journal"
    );
    assert_eq!(ring.unwrap_landing(record(1), &first_blob).expect("unwrap"), key);

    site.clock.shift_ms(DAY_MS);
    let (third, _) = wrap(4);
    assert_eq!(ring.retire_landing(&[first]).expect("retire"), 0, "in use");
    assert_eq!(ring.retire_landing(&[]).expect("retire"), 1);
    assert!(!site.file("landing", first).exists(), "destroyed");
    assert!(matches!(
        ring.unwrap_landing(record(1), &first_blob),
        Err(Error::Missing { what: "landing key", .. })
    ));
    assert_eq!(ring.unwrap_landing(record(3), &second_blob).expect("unwrap"), key);

    // A clock set far back changes the key rather than keep one for ever.
    site.clock.shift_ms(-30 * DAY_MS);
    let (fourth, _) = wrap(5);
    assert!(fourth != third && fourth != second);

    // After a restart nothing is on its way; the newest key goes on being used.
    let reopened = site.open().expect("open");
    assert_eq!(reopened.retire_landing(&[second]).expect("retire"), 1, "the fourth, made in the past");
    assert_eq!(landing_files(&site), 2);
    site.clock.shift_ms(30 * DAY_MS);
    let blob = reopened.wrap_landing(record(6), &key).expect("wrap");
    assert_eq!(reopened.landing_key_id_of(&blob), Some(third));
}

#[test]
fn a_damaged_landing_key_costs_only_what_it_wraps() {
    let site = Site::new(1);
    let ring = site.create();
    let key = RecordKey::random(&site.random);
    let blob = ring.wrap_landing(record(1), &key).expect("wrap");
    let path = site.file("landing", ring.landing_key_id_of(&blob).expect("an id"));
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..60]).expect("write");
    fs::write(site.keys().join("landing/rest.part"), b"left over").expect("write");

    let reopened = site.open().expect("opens all the same");
    assert!(matches!(reopened.unwrap_landing(record(1), &blob), Err(Error::Damaged { .. })));
    let fresh = reopened.wrap_landing(record(2), &key).expect("wrap");
    assert_ne!(reopened.landing_key_id_of(&fresh), reopened.landing_key_id_of(&blob));
    fs::write(&path, &whole).expect("brought back");
    assert_eq!(reopened.unwrap_landing(record(1), &blob).expect("unwrap"), key, "without a restart");
}

/// A disk that can be told to fail syncs of folders.
struct Failing(AtomicBool);

impl Disk for Failing {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path, how)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            Err(io::Error::other("made to fail"))
        } else {
            RealDisk.sync_dir(path)
        }
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
}

#[test]
fn a_key_that_is_not_durable_is_never_used() {
    let site = Site::new(1);
    site.create();
    let disk = Arc::new(Failing(AtomicBool::new(false)));
    let ring = KeyRing::open(disk.clone(), &site.keys(), &site.kek, &site.clock, &site.random).expect("open");
    let key = RecordKey::random(&site.random);
    disk.0.store(true, Ordering::SeqCst);
    let error = ring.wrap_landing(record(1), &key).expect_err("the landing key is not durable");
    assert!(matches!(error, Error::Io { .. }) && !error.is_permanent());
    assert!(ring.wrap_landing(record(1), &key).is_err(), "nor the second time");
    assert!(ring.new_study_key().is_err());
    disk.0.store(false, Ordering::SeqCst);
    let blob = ring.wrap_landing(record(1), &key).expect("wrap");
    assert_eq!(site.open().expect("open").unwrap_landing(record(1), &blob).expect("unwrap"), key);
    assert_eq!(ring.retire_landing(&[]).expect("retire"), 0, "what was never used is not known");
}

/// What the first version wrote, byte for byte: site, node, studies, journal and catalog are the same ones today.
#[test]
fn a_data_directory_of_the_first_version_opens() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/keys/v0");
    let kek = Kek::load_file(&fixture.join("data.key")).expect("its key file");
    let site = Site { kek, ..Site::new(1) };
    for folder in ["keys/landing", "keys/study"] {
        fs::create_dir_all(site.folder.path().join(folder)).expect("make");
    }
    let study: StudyKeyId = "9ab545eda2efc3bc361a94a32e7986b0".parse().expect("an id");
    let files = [
        "site.key".to_owned(),
        "landing/4f2fdba7edf2728bad88b91688742f82.key".into(),
        format!("study/{study}.key"),
    ];
    for file in &files {
        fs::copy(fixture.join("keys").join(file), site.keys().join(file)).expect("copy");
    }
    let blob = fs::read(fixture.join("landing.blob")).expect("a wrapped record key");
    // The second time it is of today's form.
    for time in 0..2 {
        let ring = site.open().unwrap_or_else(|error| panic!("time {time}: {error}"));
        assert_eq!(ring.site_id().to_string(), "98e60b0f3d4fdfbc29577f23e771b607");
        assert_eq!(ring.node_id().to_string(), "7fc8612a9c3212df62ca7fa74a426e9a");
        assert_eq!(
            hex::encode(*ring.study_key(study).expect("its study key")),
            "069f81fce5fc535696b6a5f55ae14baa689ce81d59920b65175dee02b972e238"
        );
        assert_eq!(
            hex::encode(*ring.catalog_key()),
            "7458fe2a7fe6891cebf18b850793a7ec8cb7dbc90516cf8543d8c2e233cd5951"
        );
        assert_eq!(*ring.unwrap_landing(record(1), &blob).expect("its journal").as_bytes(), [2; 32]);
        assert_eq!(ring.site_object().bytes(), fs::read(site.keys().join("site.key")).expect("read"));
    }
    let stranger = Site { kek: Kek::random(&Random::seeded(99)), ..Site::new(2) };
    fs::create_dir_all(stranger.keys()).expect("make");
    fs::copy(fixture.join("keys/site.key"), stranger.keys().join("site.key")).expect("copy");
    assert!(matches!(stranger.open().err(), Some(Error::Wrong { .. })));
}

#[test]
fn another_data_directory_joins_a_site_from_what_its_bucket_keeps() {
    let site = Site::new(1);
    let ring = site.create();
    let study = ring.new_study_key().expect("make");
    let object = ring.site_object();
    assert_eq!(object.name(), format!("v1/key/{}/1", ring.site_id()));
    assert!(SiteObject::may_have_length(object.bytes().len() as u64));
    let key_object = ring.study_key_object(study).expect("object").1;
    assert!(!SiteObject::may_have_length(key_object.len() as u64), "told from other keys by its length");

    let second = Site::new(2);
    let object = SiteObject::read(object.bytes(), Path::new("object")).expect("reads without any key");
    assert!(site.kek.is(object.kek()) && !second.kek.is(object.kek()));
    let join = |kek| {
        let (disk, keys) = (Arc::new(RealDisk), second.keys());
        KeyRing::join(disk, &keys, kek, &object, &second.clock, &second.random)
    };
    let error = join(&second.kek).err().expect("not its key file");
    assert!(matches!(&error, Error::Wrong { path } if path.to_string_lossy() == object.name()), "{error}");
    assert!(!KeyRing::exists(&RealDisk, &second.keys()).expect("asked"), "nothing was made");
    let joined = join(&site.kek).expect("joins");
    assert_eq!(joined.site_id(), ring.site_id());
    assert_ne!(joined.node_id(), ring.node_id());
    assert_ne!(*joined.catalog_key(), *ring.catalog_key());
    joined.adopt_study_key(&key_object).expect("a study of the site");
    assert_eq!(*joined.study_key(study).expect("key"), *ring.study_key(study).expect("key"));
    assert!(matches!(join(&site.kek), Err(Error::Exists(_))));
    let again = KeyRing::open(Arc::new(RealDisk), &second.keys(), &site.kek, &second.clock, &second.random);
    assert_eq!(again.expect("opens").node_id(), joined.node_id());
}

#[test]
fn a_nodes_name_is_what_was_written_or_refused() {
    let site = Site::new(1);
    let node_id = site.create().node_id();
    let path = site.keys().join("node");
    let whole = fs::read(&path).expect("read");
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&path, &changed).expect("write");
        assert!(matches!(site.open().err(), Some(Error::Damaged { .. })), "byte {place}");
        fs::write(&path, &whole[..place]).expect("write");
        assert!(matches!(site.open().err(), Some(Error::Damaged { .. })), "cut at {place}");
    }
    fs::remove_file(&path).expect("remove");
    assert!(matches!(site.open().err(), Some(Error::Missing { what: "node's name", .. })));
    fs::write(&path, &whole).expect("write");
    assert_eq!(site.open().expect("open").node_id(), node_id);
}

#[test]
fn log_keys_are_kept_like_those_of_studies_and_are_none() {
    let site = Site::new(1);
    let ring = site.create();
    let id = ring.new_log_key().expect("make");
    let key = ring.log_key(id).expect("key");
    let (name, object) = ring.log_key_object(id).expect("object");
    assert_eq!(name, format!("v1/key/{id}/1"));
    assert!(matches!(ring.adopt_study_key(&object), Err(Error::Damaged { .. })), "it is no study's");
    fs::remove_file(site.file("log", id)).expect("remove");
    let opened = site.open().expect("open");
    assert!(matches!(opened.log_key(id), Err(Error::Missing { what: "log key", .. })));
    assert_eq!(opened.adopt_log_key(&object).expect("adopt"), id);
    assert_eq!(*site.open().expect("open").log_key(id).expect("key"), *key);
    assert!(
        matches!(opened.study_key(StudyKeyId(id.0)), Err(Error::Missing { .. })),
        "each kind has its names"
    );
}

#[test]
fn a_signature_is_of_one_key_and_one_message() {
    let site = Site::new(1);
    let ring = site.create();
    let (id, second) = (IncarnationId([1; 16]), IncarnationId([2; 16]));
    let public = ring.new_signing_key(id).expect("make");
    let other = ring.new_signing_key(second).expect("make");
    assert!(matches!(ring.new_signing_key(id), Err(Error::Exists(_))), "one for an incarnation");
    let signature = ring.sign(id, b"batch 1").expect("sign");
    let reopened = site.open().expect("open");
    assert_eq!(reopened.verifying_key(id).expect("public half"), public);
    assert_eq!(reopened.sign(id, b"batch 1").expect("sign"), signature);
    assert!(is_signed(&public, b"batch 1", &signature));
    assert!(!is_signed(&public, b"batch 2", &signature) && !is_signed(&other, b"batch 1", &signature));
    for place in 0..signature.len() {
        let mut flipped = signature;
        flipped[place] ^= 1;
        assert!(!is_signed(&public, b"batch 1", &flipped), "byte {place}");
    }
    let file = fs::read(site.file("signing", id)).expect("read");
    let label = Label::read(&file, Path::new("file")).expect("a label");
    assert_eq!((label.kind, label.id), (Kind::Signing, id.0));
}

/// Every key is the same after a new site key wraps it, at each step of the way, and nothing old opens when it is over.
#[test]
fn another_site_key_changes_no_key() {
    let site = Site::new(1);
    let ring = site.create();
    let (study, log, incarnation) =
        (ring.new_study_key().expect("make"), ring.new_log_key().expect("make"), IncarnationId([3; 16]));
    let public = ring.new_signing_key(incarnation).expect("make");
    let blob = ring.wrap_landing(record(1), &RecordKey::from_bytes([9; 32])).expect("wrap");
    let (study_key, log_key, catalog_key) =
        (ring.study_key(study).expect("key"), ring.log_key(log).expect("key"), ring.catalog_key());
    let old_object = ring.study_key_object(study).expect("object").1;
    let check = |ring: &KeyRing, step: &str| {
        assert_eq!(*ring.study_key(study).expect(step), *study_key, "{step}");
        assert_eq!(*ring.log_key(log).expect(step), *log_key, "{step}");
        assert_eq!(*ring.catalog_key(), *catalog_key, "{step}");
        assert_eq!(ring.verifying_key(incarnation).expect(step), public, "{step}");
        assert_eq!(*ring.unwrap_landing(record(1), &blob).expect(step).as_bytes(), [9; 32], "{step}");
        ring.wrap_landing(record(2), &RecordKey::from_bytes([9; 32])).expect(step);
    };
    let again = |step: &str| {
        let ring = site.open().expect(step);
        check(&ring, step);
        ring
    };

    let with_new = ring.site_with_new_key(&site.kek).expect("seal");
    assert_eq!(with_new.generation(), 2);
    again("made and not taken");
    ring.take_site(&site.kek, &with_new).expect("take");
    check(&ring, "taken");
    let ring = again("taken and restarted");
    assert_eq!(
        ring.site_key_numbers().expect("open").iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        [1, 2]
    );
    for (id, generation) in ring.cached_keys().expect("list") {
        assert_eq!(generation, 1);
        let object = ring.cached_object(&id).expect("read").expect("it is there");
        assert_eq!(ring.site_key_of(&object).expect("read"), Some(1));
        let rewrapped = ring.rewrap(&object).expect("rewrap").expect("it is under the old one");
        assert!(rewrapped.name.ends_with("/2"), "{}", rewrapped.name);
        assert_eq!(ring.rewrap(&rewrapped.bytes).expect("rewrap"), None, "a second time changes nothing");
        ring.replace_cached(&rewrapped.bytes).expect("replace");
        ring.replace_cached(&object).expect("an earlier generation changes nothing");
        again("amid the keys");
    }
    assert_eq!(ring.study_key_object(study).expect("object").0, format!("v1/key/{study}/2"));
    assert_eq!(ring.rewrap_local().expect("rewrap"), 3, "catalog, journal, signatures");
    assert_eq!(ring.rewrap_local().expect("rewrap"), 0);
    let ring = again("all re-wrapped");
    let alone = ring.site_without_old_keys(&site.kek).expect("seal");
    ring.take_site(&site.kek, &alone).expect("take");
    let ring = again("the old site key is gone");
    assert!(matches!(ring.adopt_study_key(&old_object), Err(Error::Wrong { .. })), "nothing old opens");

    // Another key of keys over the same site keys.
    let other = Kek::random(&Random::seeded(77));
    let under = ring.site_under(&other).expect("seal");
    assert!(matches!(ring.take_site(&site.kek, &under), Err(Error::Wrong { .. })));
    ring.take_site(&other, &under).expect("take");
    assert!(matches!(site.open().err(), Some(Error::Wrong { .. })));
    let site = Site { kek: other, ..site };
    check(&site.open().expect("open"), "under another key of keys");
    ring.take_site(&site.kek, &alone).expect("an earlier generation changes nothing");
    assert_eq!(ring.site_object().generation(), 4);
}

/// The lines as they are printed, without the check of a line being right for another line.
fn printed(sheet: &Sheet, passphrase: Option<&str>) -> Vec<String> {
    sheet.lines(passphrase, &Random::seeded(5))
}

#[test]
fn a_sheet_brings_back_the_key_file() {
    let site = Site::new(1);
    let ring = site.create();
    let sheet = ring.sheet(&site.kek).expect("a sheet");
    let lines = printed(&sheet, None);
    let text = lines.join("\n");
    let back = Sheet::of_lines(&text, None).expect("as printed");
    assert_eq!(back.site_id, ring.site_id());
    let path = site.folder.path().join("again.key");
    back.key_file().expect("a key file").save(&path).expect("save");
    assert!(matches!(back.key_file().expect("a key file").save(&path), Err(Error::Exists(_))));
    let kek = Kek::load_file(&path).expect("load");
    let joined = Site { kek, ..Site::new(2) };
    let object = ring.site_object();
    let disk = Arc::new(RealDisk);
    let joined = KeyRing::join(disk, &joined.keys(), &joined.kek, &object, &joined.clock, &joined.random)
        .expect("join");
    assert_eq!(joined.site_id(), ring.site_id());

    // As hands type: small letters, O for 0, L for 1, dashes, any order.
    let mut typed: Vec<String> = lines
        .iter()
        .map(|line| line.to_lowercase().replace('0', "o").replace('1', "l").replace("  ", " - "))
        .collect();
    for (typed, line) in typed.iter_mut().zip(&lines) {
        typed.replace_range(..2, &line[..2]);
    }
    typed.reverse();
    assert_eq!(Sheet::of_lines(&typed.join("\n\n"), None).expect("as typed").site_id, ring.site_id());
}

#[test]
fn a_slip_of_the_pen_is_found_on_its_line() {
    let site = Site::new(1);
    let lines = printed(&site.create().sheet(&site.kek).expect("a sheet"), None);
    let (mut slips, mut missed) = (0, 0);
    for number in 0..lines.len() {
        for place in 4..lines[number].len() {
            let letter = lines[number].as_bytes()[place];
            if letter == b' ' {
                continue;
            }
            let mut typed = lines.clone();
            typed[number].replace_range(place..=place, if letter == b'A' { "B" } else { "A" });
            slips += 1;
            match Sheet::of_lines(&typed.join("\n"), None).err() {
                Some(SheetError::Line(told)) => assert_eq!(told, number + 1),
                _ => missed += 1,
            }
        }
        let without: Vec<_> = lines
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number)
            .map(|(_, line)| line.clone())
            .collect();
        assert_eq!(Sheet::of_lines(&without.join("\n"), None).err(), Some(SheetError::Missing(number + 1)));
    }
    // A checksum of ten bits finds any one wrong letter: no two differ by five bits in a row alone.
    assert_eq!(missed, 0, "of {slips}");
    assert_eq!(Sheet::of_lines("", None).err(), Some(SheetError::Missing(1)));
    assert_eq!(Sheet::of_lines("rubbish", None).err(), Some(SheetError::Line(1)));
}

#[test]
fn a_passphrase_guards_a_sheet_and_site_keys_go_under_another_keeper() {
    let site = Site::new(1);
    let ring = site.create();
    let study = ring.new_study_key().expect("make");
    let next = ring.site_with_new_key(&site.kek).expect("seal");
    ring.take_site(&site.kek, &next).expect("take");
    let sheet = ring.site_sheet().expect("a sheet");
    let text = printed(&sheet, Some("correct horse")).join("\n");
    assert!(Sheet::needs_passphrase(&text).expect("reads"));
    assert_eq!(Sheet::of_lines(&text, None).err(), Some(SheetError::Passphrase));
    assert_eq!(Sheet::of_lines(&text, Some("wrong horse")).err(), Some(SheetError::Passphrase));
    let back = Sheet::of_lines(&text, Some("correct horse")).expect("opens");
    assert!(back.key_file().is_none());

    let empty = Site::new(2);
    let restored = KeyRing::restore(
        Arc::new(RealDisk),
        &empty.keys(),
        &empty.kek,
        &back,
        7,
        &empty.clock,
        &empty.random,
    )
    .expect("restore");
    assert_eq!((restored.site_id(), restored.site_object().generation()), (ring.site_id(), 7));
    let object = ring.study_key_object(study).expect("object").1;
    restored.adopt_study_key(&object).expect("under the first site key");
    assert_eq!(*restored.study_key(study).expect("key"), *ring.study_key(study).expect("key"));
}
