//! Keepers of the key of keys as they are: a token by SoftHSM2, a server by OpenBao. Each test has its own.
//!
//! `cargo xtask test` says where they are; without that these tests are left out, which in CI is a failure.

mod bao;
mod softhsm;
mod token;
mod transit;

use std::{path::Path, sync::Arc, time::Duration};

use filmgate_keys::{Error, Kek, KeyRing};
use filmgate_model::{Clock, Random, RecordId, Timestamp};
use filmgate_seal::RecordKey;
use filmgate_spool::RealDisk;

const LEASE: Duration = Duration::from_secs(60);

/// Where a program or library is, as `cargo xtask test` says.
#[expect(clippy::print_stdout, reason = "a test that is left out says so")]
fn told(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(value.is_some() || !in_ci, "{name} is not set: run the tests by `cargo xtask test`");
    if value.is_none() {
        println!("{name} is not set: left out");
    }
    value
}

/// A data directory's keys below a keeper, and a clock of their own.
struct Site {
    folder: tempfile::TempDir,
    clock: Clock,
    random: Random,
}

impl Site {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            clock: Clock::manual(Timestamp(1_700_000_000_000)),
            random: Random::system(),
        }
    }

    fn keys(&self) -> &Path {
        self.folder.path()
    }

    fn create(&self, kek: &Kek) -> Result<KeyRing, Error> {
        KeyRing::create(Arc::new(RealDisk), self.keys(), kek, &self.clock, &self.random)
    }

    fn open(&self, kek: &Kek) -> Result<KeyRing, Error> {
        KeyRing::open(Arc::new(RealDisk), self.keys(), kek, &self.clock, &self.random)
    }
}

fn receives(ring: &KeyRing) -> Result<Vec<u8>, Error> {
    ring.wrap_landing(RecordId([7; 16]), &RecordKey::from_bytes([8; 32]))
}

/// Within the lease everything goes on without the keeper; past it nothing does, and nothing opened is left; when the
/// keeper answers, all goes on with what was there before.
fn lives_through_an_absence(site: &Site, ring: &KeyRing, kek: &Kek, go: impl Fn(), come: impl Fn()) {
    ring.lease_for(LEASE);
    let study = ring.new_study_key().expect("a study key");
    let key = ring.study_key(study).expect("its key");
    let blob = receives(ring).expect("receives");
    go();
    let error = ring.renew(kek).expect_err("the keeper is away");
    assert!(matches!(error, Error::KekAway { .. }) && !error.is_permanent(), "{error}");
    site.clock.shift_ms(LEASE.as_millis() as i64 - 1);
    receives(ring).expect("within the lease");
    assert!(!ring.wipe_if_over());
    site.clock.shift_ms(1);
    for refused in [receives(ring).err(), ring.study_key(study).err(), ring.new_study_key().err()] {
        let error = refused.expect("past the lease");
        assert!(matches!(error, Error::Locked { .. }) && !error.is_permanent(), "{error}");
    }
    assert!(ring.unwrap_landing(RecordId([7; 16]), &blob).is_err());
    assert!(ring.wipe_if_over() && !ring.wipe_if_over() && !ring.lease().open);
    ring.renew(kek).expect_err("still away");
    come();
    ring.renew(kek).expect("the keeper is back");
    assert_eq!(ring.study_key(study).expect("its key").as_slice(), key.as_slice());
    assert_eq!(*ring.unwrap_landing(RecordId([7; 16]), &blob).expect("its key").as_bytes(), [8; 32]);
    receives(ring).expect("receives");
}
