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

mod kept_keys;
mod landing;
mod sheet;
mod site_keys;

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

/// Makes the checksum right again, as whoever changes a file on purpose would.
fn repair_checksum(bytes: &mut [u8]) {
    let (body, checksum) = bytes.split_last_chunk_mut::<4>().expect("long enough");
    *checksum = crc32c::crc32c(body).to_le_bytes();
}
