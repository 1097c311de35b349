//! Site keys and the data directory they are in: made, opened, refused, changed.

use super::*;

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
