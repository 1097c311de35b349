//! A machine with one disk, or two of which the second mirrors the first. They lose power together.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filmgate_model::Random;
use filmgate_spool::{Disk, MirrorMode, MirroredDisk, Side};

use crate::{CrashingDisk, Faults};

const FIRST: &str = "first";
const SECOND: &str = "second";

pub(crate) struct Machine {
    random: Random,
    capacity_bytes: u64,
    first: CrashingDisk,
    second: Option<CrashingDisk>,
}

impl Machine {
    pub(crate) fn new(random: &Random, capacity_bytes: u64, mirrored: bool) -> Self {
        let disk = || CrashingDisk::new(Random::seeded(random.u64()), capacity_bytes);
        Self { random: random.clone(), capacity_bytes, first: disk(), second: mirrored.then(disk) }
    }

    /// The disk as the product opens it at its start.
    pub(crate) fn open(&self, folders: &[&str]) -> io::Result<Arc<dyn Disk>> {
        let side = |disk: &CrashingDisk, root: &str| Side { disk: Arc::new(disk.clone()), root: root.into() };
        let Some(second) = &self.second else { return Ok(Arc::new(self.first.clone())) };
        let (first, second) = (side(&self.first, FIRST), side(second, SECOND));
        Ok(Arc::new(MirroredDisk::open(first, second, MirrorMode::Required, folders)?))
    }

    /// Where a folder is for the product.
    pub(crate) fn folder(&self, folder: &str) -> PathBuf {
        Path::new(FIRST).join(folder)
    }

    fn disks(&self) -> impl Iterator<Item = &CrashingDisk> {
        std::iter::once(&self.first).chain(&self.second)
    }

    pub(crate) fn is_mirrored(&self) -> bool {
        self.second.is_some()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        for disk in self.disks() {
            disk.set_faults(faults);
        }
    }

    /// Cuts the power in the middle of a later call of one of the disks.
    pub(crate) fn cut_power_in(&self, operations: u64) {
        match &self.second {
            Some(second) if self.random.below(2) == 0 => second.cut_power_in(operations),
            _ => self.first.cut_power_in(operations),
        }
    }

    /// Cuts the power of the first disk, where the packs are, when a folder is to be synced next.
    pub(crate) fn cut_power_at_folder_sync(&self) {
        self.first.cut_power_at_folder_sync();
    }

    pub(crate) fn cut_power(&self) {
        self.disks().for_each(CrashingDisk::cut_power);
    }

    pub(crate) fn power_is_off(&self) -> bool {
        let off = self.disks().any(CrashingDisk::power_is_off);
        if off {
            self.cut_power();
        }
        off
    }

    pub(crate) fn power_on(&self) {
        self.disks().for_each(CrashingDisk::power_on);
    }

    /// The first disk breaks for good and an empty one takes its place.
    pub(crate) fn replace_first(&mut self) {
        self.first = CrashingDisk::new(Random::seeded(self.random.u64()), self.capacity_bytes);
    }

    pub(crate) fn kill_process(&self) {
        self.disks().for_each(CrashingDisk::kill_process);
    }

    pub(crate) fn failed_reads(&self) -> u64 {
        self.disks().map(CrashingDisk::failed_reads).sum()
    }

    pub(crate) fn failed_syncs(&self) -> u64 {
        self.disks().map(CrashingDisk::failed_syncs).sum()
    }

    pub(crate) fn operations(&self) -> u64 {
        self.disks().map(CrashingDisk::operations).sum()
    }

    pub(crate) fn broken_rule(&self) -> Option<String> {
        self.disks().find_map(CrashingDisk::broken_rule)
    }

    /// The first bytes of a file as the product sees it.
    pub(crate) fn peek(&self, path: &Path, bytes: usize) -> Option<Vec<u8>> {
        self.first.peek(path, bytes)
    }
}
