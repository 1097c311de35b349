//! A node that was away while another changed the site key loses nothing, wherever it is killed when it takes that over.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use filmgate_model::{Clock, IncarnationId, Random, RecordId, Timestamp};
use filmgate_seal::RecordKey;
use filmgate_spool::{Disk, DiskFile, Open, RealDisk};
use tempfile::TempDir;

use crate::{Error, Kek, KeyRing, SiteObject};

/// A disk on which only so many changes of names still succeed.
struct Dying(AtomicUsize);

impl Dying {
    fn step(&self) -> io::Result<()> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| io::Error::other("made to fail"))
    }
}

impl Disk for Dying {
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
        self.step()?;
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
}

/// Two nodes of a site: `first` changes the site key, the other was away.
struct Away {
    folder: TempDir,
    kek: Kek,
    clock: Clock,
    random: Random,
    first: KeyRing,
}

impl Away {
    fn new() -> Self {
        let (random, folder) = (Random::seeded(1), tempfile::tempdir().expect("a folder"));
        let (kek, clock) = (Kek::random(&random), Clock::manual(Timestamp(1_700_000_000_000)));
        let keys = folder.path().join("first");
        let first = KeyRing::create(Arc::new(RealDisk), &keys, &kek, &clock, &random).expect("create");
        let second = folder.path().join("second");
        KeyRing::join(Arc::new(RealDisk), &second, &kek, &first.site_object(), &clock, &random)
            .expect("join");
        Self { folder, kek, clock, random, first }
    }

    fn open(&self, disk: Arc<dyn Disk>) -> Result<KeyRing, Error> {
        KeyRing::open(disk, &self.folder.path().join("second"), &self.kek, &self.clock, &self.random)
    }

    fn reopen(&self, step: &str) -> KeyRing {
        self.open(Arc::new(RealDisk)).expect(step)
    }

    /// Another site key, and the one before given up, on the first node alone.
    fn rotate(&self) -> SiteObject {
        self.first
            .take_site(&self.kek, &self.first.site_with_new_key(&self.kek).expect("seal"))
            .expect("take");
        self.first.rewrap_local().expect("rewrap");
        self.first
            .take_site(&self.kek, &self.first.site_without_old_keys(&self.kek).expect("seal"))
            .expect("take");
        (*self.first.site_object()).clone()
    }

    fn site_files(&self) -> Vec<String> {
        let names = RealDisk.read_dir(&self.folder.path().join("second")).expect("list");
        names.into_iter().filter(|name| name.starts_with("site.key")).collect()
    }
}

/// Checks that every kind of key of a ring is what it is now, later and in another ring.
fn remembered(ring: &KeyRing) -> impl Fn(&KeyRing, &str) + use<> {
    let (study, log, incarnation) =
        (ring.new_study_key().expect("make"), ring.new_log_key().expect("make"), IncarnationId([3; 16]));
    let public = match ring.new_signing_key(incarnation) {
        Err(Error::Exists(_)) => ring.verifying_key(incarnation).expect("key"),
        made => made.expect("make"),
    };
    let blob = ring.wrap_landing(RecordId([1; 16]), &RecordKey::from_bytes([9; 32])).expect("wrap");
    let (study_key, log_key, catalog_key) =
        (ring.study_key(study).expect("key"), ring.log_key(log).expect("key"), ring.catalog_key());
    move |ring, step| {
        ring.open_keys.wipe();
        assert_eq!(*ring.study_key(study).expect(step), *study_key, "{step}");
        assert_eq!(*ring.log_key(log).expect(step), *log_key, "{step}");
        assert_eq!(*ring.catalog_key(), *catalog_key, "{step}");
        assert_eq!(ring.verifying_key(incarnation).expect(step), public, "{step}");
        let record_key = ring.unwrap_landing(RecordId([1; 16]), &blob).expect(step);
        assert_eq!(*record_key.as_bytes(), [9; 32], "{step}");
    }
}

#[test]
fn a_node_that_missed_a_rotation_loses_no_key() {
    let site = Away::new();
    let ring = site.reopen("open");
    let check = remembered(&ring);
    ring.take_site(&site.kek, &site.rotate()).expect("take");
    check(&ring, "taken over");
    check(&site.reopen("open"), "restarted");
    assert_eq!(site.site_files(), ["site.key"], "nothing needs the old one any more");
    assert_eq!(ring.rewrap_local().expect("rewrap"), 0);

    let again = remembered(&ring);
    ring.take_site(&site.kek, &site.rotate()).expect("take a second time");
    check(&site.reopen("open"), "missed two");
    again(&site.reopen("open"), "missed two");
}

#[test]
fn a_node_killed_anywhere_in_taking_over_loses_no_key() {
    let mut died = 0;
    for steps in 0..100 {
        let site = Away::new();
        let check = remembered(&site.reopen("open"));
        let object = site.rotate();
        let disk = Arc::new(Dying(AtomicUsize::new(usize::MAX)));
        let ring = site.open(disk.clone()).expect("open");
        disk.0.store(steps, Ordering::SeqCst);
        let taken = ring.take_site(&site.kek, &object);
        // The process that met the failure goes on, too.
        check(&ring, &format!("going on after {steps} steps"));
        drop(ring);

        // Killed again while that is made good at the start.
        let dying_again = Arc::new(Dying(AtomicUsize::new(5 + steps / 2)));
        let _ = site.open(dying_again);
        let ring = site.reopen(&format!("killed after {steps} steps"));
        check(&ring, &format!("killed after {steps} steps"));
        ring.take_site(&site.kek, &object).expect("take");
        check(&ring, &format!("taken over, killed after {steps} steps"));
        check(&site.reopen("open"), &format!("restarted, killed after {steps} steps"));
        assert_eq!(site.site_files().iter().filter(|name| !name.ends_with(".part")).count(), 1);
        if taken.is_ok() {
            break;
        }
        died += 1;
    }
    assert!((8..100).contains(&died), "it was killed {died} times");
}

#[test]
fn a_site_key_stays_as_long_as_a_file_needs_it() {
    let site = Away::new();
    let ring = site.reopen("open");
    let check = remembered(&ring);
    // Its checksum is right and its wrapped key is not: it cannot be wrapped anew.
    let path = site.folder.path().join("second/log/00000000000000000000000000000000.key");
    let logs = path.parent().expect("a folder");
    let name = RealDisk.read_dir(logs).expect("list").remove(0);
    let mut bytes = fs::read(logs.join(name)).expect("read");
    let (body, checksum) = bytes.split_last_chunk_mut::<4>().expect("long enough");
    body[body.len() - 1] ^= 1;
    *checksum = crc32c::crc32c(body).to_le_bytes();
    fs::write(&path, &bytes).expect("write");

    ring.take_site(&site.kek, &site.rotate()).expect("take");
    check(&ring, "all others");
    let mut files = site.site_files();
    files.sort();
    assert_eq!(files, ["site.key", "site.key.1"]);
    ring.renew(&site.kek).expect("renew");
    let next = ring.site_with_new_key(&site.kek).expect("seal");
    assert_eq!(next.generation(), ring.site_object().generation() + 1);
    assert_eq!(ring.site_key_numbers().expect("open").len(), 1, "it is given to nobody");
    fs::remove_file(&path).expect("remove");
    check(&site.reopen("open"), "made good at a start");
    assert_eq!(site.site_files(), ["site.key"]);
}

#[test]
fn two_wrappings_of_a_key_are_told_from_another_key() {
    let site = Away::new();
    let (first, second) = (&site.first, site.reopen("open"));
    let (study, other) = (first.new_study_key().expect("make"), first.new_study_key().expect("make"));
    let object = first.study_key_object(study).expect("object").1;
    let other = first.study_key_object(other).expect("object").1;
    second.adopt_study_key(&object).expect("adopt");
    let with_new = first.site_with_new_key(&site.kek).expect("seal");
    first.take_site(&site.kek, &with_new).expect("take");
    let ours = first.rewrap(&object).expect("rewrap").expect("anew").bytes;
    assert!(matches!(second.is_same_key(&object, &ours), Err(Error::Wrong { .. })), "not known yet");
    second.take_site(&site.kek, &with_new).expect("take");
    let theirs = second.rewrap(&object).expect("rewrap").expect("anew").bytes;
    assert_ne!(ours, theirs);
    for (left, right, same) in [(&ours, &theirs, true), (&object, &theirs, true), (&ours, &other, false)] {
        assert_eq!(first.is_same_key(left, right).expect("open"), same);
    }
    let mut damaged = theirs;
    damaged[90] ^= 1;
    assert!(!first.is_same_key(&ours, &damaged).expect("open"));
}
