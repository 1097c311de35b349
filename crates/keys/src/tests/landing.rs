//! Keys of records on their way in.

use super::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn landing_files(site: &Site) -> usize {
    fs::read_dir(site.keys().join("landing")).expect("folder").count()
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
