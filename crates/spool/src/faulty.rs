//! The machine's disk with faults on command, for tests.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::disk::{Disk, DiskFile, Open, RealDisk};

/// The machine's disk, with faults on command.
pub(crate) struct FaultyDisk {
    switches: Arc<Switches>,
}

pub(crate) struct Switches {
    pub(crate) writes: AtomicU64,
    pub(crate) failing_writes: AtomicU64,
    pub(crate) full_writes: AtomicU64,
    failing_syncs: AtomicU64,
    pub(crate) panicking_syncs: AtomicU64,
    pub(crate) syncs_begun: AtomicU64,
    pub(crate) hold_syncs: AtomicBool,
    /// Reads that touch anything from here on fail.
    pub(crate) unreadable_from: AtomicU64,
}

impl Default for FaultyDisk {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            switches: Arc::new(Switches {
                writes: zero(),
                failing_writes: zero(),
                full_writes: zero(),
                failing_syncs: zero(),
                panicking_syncs: zero(),
                syncs_begun: zero(),
                hold_syncs: AtomicBool::default(),
                unreadable_from: AtomicU64::new(u64::MAX),
            }),
        }
    }
}

impl std::ops::Deref for FaultyDisk {
    type Target = Switches;

    fn deref(&self) -> &Switches {
        &self.switches
    }
}

impl FaultyDisk {
    /// The next `count` syncs fail.
    pub(crate) fn failing_syncs(&self, count: u64) {
        self.switches.failing_syncs.store(count, Ordering::SeqCst);
    }
}

/// Counts a switch down; true while it was above zero.
fn strike(switch: &AtomicU64) -> bool {
    switch.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, how)?;
        Ok(Arc::new(FaultyFile { file, switches: Arc::clone(&self.switches) }))
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
        RealDisk.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
}

struct FaultyFile {
    file: Arc<dyn DiskFile>,
    switches: Arc<Switches>,
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset + buffer.len() as u64 > self.switches.unreadable_from.load(Ordering::SeqCst) {
            return Err(io::Error::other("unreadable block"));
        }
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if strike(&self.switches.failing_writes) {
            return Err(io::Error::other("write failed"));
        }
        if strike(&self.switches.full_writes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.switches.writes.fetch_add(1, Ordering::SeqCst);
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        assert!(!strike(&self.switches.panicking_syncs), "a sync that panics");
        self.switches.syncs_begun.fetch_add(1, Ordering::SeqCst);
        while self.switches.hold_syncs.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        if strike(&self.switches.failing_syncs) {
            return Err(io::Error::other("sync failed"));
        }
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}
