//! Keys of studies and logs: kept, opened as what they are, signing.

use super::*;

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
