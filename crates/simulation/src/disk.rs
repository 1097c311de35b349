//! A disk in memory that keeps only what was synced, and less than one hopes of the rest.
//!
//! At a power cut every 4 KiB block written since the last sync ends as what was there before, as what was written, as
//! a mixture of their 512-byte sectors, or as garbage: a block being written is not safe, whatever it held. Names made,
//! changed or removed since the folder's last sync survive or not, each for itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filmgate_model::Random;
use filmgate_spool::{Disk, DiskFile, Open};
use parking_lot::Mutex;

use crate::inode::{Inode, SECTOR};

/// How often calls fail, in 1 of 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Reads that fail.
    pub read: u64,
    /// Writes that fail, part of them done.
    pub write: u64,
    /// Writes for which there is no space, part of them done.
    pub full: u64,
    /// Syncs that fail; dirty pages are dropped, written, or kept and taken for clean.
    pub sync: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct CrashingDisk(Arc<Mutex<World>>);

struct World {
    random: Random,
    faults: Faults,
    files: BTreeMap<u64, Inode>,
    next_file: u64,
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// In order, with the folder whose sync makes each durable.
    name_changes: Vec<NameChange>,
    capacity_bytes: u64,
    /// Handles of an earlier process are dead.
    boot: u64,
    power_is_off: bool,
    operations_left: Option<u64>,
    cut_at_folder_sync: bool,
    operations: u64,
    failed_reads: u64,
    failed_syncs: u64,
    broken: Option<String>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(PathBuf, u64),
    Gone(PathBuf),
    Moved(PathBuf, PathBuf, u64),
}

impl CrashingDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(random: Random, capacity_bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            random,
            faults: Faults::default(),
            files: BTreeMap::new(),
            next_file: 0,
            dirs: BTreeSet::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            capacity_bytes,
            boot: 0,
            power_is_off: false,
            operations_left: None,
            cut_at_folder_sync: false,
            operations: 0,
            failed_reads: 0,
            failed_syncs: 0,
            broken: None,
        })))
    }

    /// How often calls fail from now on; returns how often they did before.
    pub fn set_faults(&self, faults: Faults) -> Faults {
        std::mem::replace(&mut self.0.lock().faults, faults)
    }

    /// Cuts the power in the middle of the `operations`-th call from now.
    pub fn cut_power_in(&self, operations: u64) {
        self.0.lock().operations_left = Some(operations);
    }

    /// Cuts the power when a folder is to be synced next: what was renamed in it may be there or not.
    pub fn cut_power_at_folder_sync(&self) {
        self.0.lock().cut_at_folder_sync = true;
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.0.lock().power_is_off = true;
    }

    /// Whether the power is off: every call fails.
    #[must_use]
    pub fn power_is_off(&self) -> bool {
        self.0.lock().power_is_off
    }

    /// Brings the machine up again, with what survived.
    pub fn power_on(&self) {
        let mut world = self.0.lock();
        world.lose_unsynced();
        world.power_is_off = false;
        world.operations_left = None;
        world.cut_at_folder_sync = false;
        world.failed_syncs = 0;
        world.boot += 1;
    }

    /// Kills the process: its handles are dead, what it wrote stays in the page cache.
    pub fn kill_process(&self) {
        let mut world = self.0.lock();
        world.operations_left = None;
        world.cut_at_folder_sync = false;
        world.boot += 1;
    }

    /// Reads that failed so far.
    #[must_use]
    pub fn failed_reads(&self) -> u64 {
        self.0.lock().failed_reads
    }

    /// Syncs that failed since the power came on.
    #[must_use]
    pub fn failed_syncs(&self) -> u64 {
        self.0.lock().failed_syncs
    }

    /// Calls made so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The rule about blocks that was broken, if one was.
    #[must_use]
    pub fn broken_rule(&self) -> Option<String> {
        self.0.lock().broken.clone()
    }

    /// The first `bytes` bytes of a file, past all faults; `None` when there is no such file.
    #[must_use]
    pub fn peek(&self, path: &Path, bytes: usize) -> Option<Vec<u8>> {
        let world = self.0.lock();
        let inode = world.files.get(world.names.get(path)?)?;
        Some(inode.cache.iter().copied().take(bytes).collect())
    }
}

impl World {
    /// Counts a call; an error when the power is off or goes off with it.
    fn operate(&mut self) -> io::Result<()> {
        if self.power_is_off {
            return Err(power_is_off());
        }
        self.operations += 1;
        if let Some(left) = &mut self.operations_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.power_is_off = true;
                return Err(power_is_off());
            }
        }
        Ok(())
    }

    fn strikes(&self, in_10_000: u64) -> bool {
        in_10_000 > 0 && self.random.below(10_000) < in_10_000
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(|inode| inode.cache.len() as u64).sum()
    }

    fn change_name(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.name_changes.push(change);
    }

    fn lose_unsynced(&mut self) {
        for change in std::mem::take(&mut self.name_changes) {
            if self.random.below(2) == 0 {
                apply(&mut self.durable_names, &change);
            }
        }
        self.names = self.durable_names.clone();
        let named = self.names.values().copied().collect::<BTreeSet<_>>();
        self.files.retain(|file, _| named.contains(file));
        for inode in self.files.values_mut() {
            inode.lose_unsynced(&self.random);
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    match change {
        NameChange::Set(path, file) => _ = names.insert(path.clone(), *file),
        NameChange::Gone(path) => _ = names.remove(path),
        NameChange::Moved(from, to, file) => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
    }
}

impl NameChange {
    fn is_in(&self, folder: &Path) -> bool {
        let path = match self {
            Self::Set(path, _) | Self::Gone(path) | Self::Moved(_, path, _) => path,
        };
        path.parent() == Some(folder)
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

impl Disk for CrashingDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.operate()?;
        world.dirs.insert(path.to_owned());
        Ok(())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.0.lock();
        world.operate()?;
        let file = match (world.names.get(path).copied(), how) {
            (Some(_), Open::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => file,
            (None, Open::Read | Open::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, Open::CreateNew | Open::ReadWriteCreate) => {
                let file = world.next_file;
                world.next_file += 1;
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let inode = Inode::new(name.starts_with("segment-"));
                world.files.insert(file, inode);
                world.change_name(NameChange::Set(path.to_owned(), file));
                file
            }
        };
        Ok(Arc::new(CrashingFile { disk: self.clone(), file, boot: world.boot }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut world = self.0.lock();
        world.operate()?;
        let inside = world.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.operate()?;
        let file = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        world.change_name(NameChange::Moved(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.operate()?;
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.change_name(NameChange::Gone(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.power_is_off |= world.cut_at_folder_sync;
        world.operate()?;
        if world.strikes(world.faults.sync) {
            world.failed_syncs += 1;
            return Err(injected());
        }
        let changes = std::mem::take(&mut world.name_changes);
        for change in changes {
            if change.is_in(path) {
                apply(&mut world.durable_names, &change);
            } else {
                world.name_changes.push(change);
            }
        }
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let mut world = self.0.lock();
        world.operate()?;
        Ok(world.capacity_bytes.saturating_sub(world.used_bytes()))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut world = self.0.lock();
        world.operate()?;
        Ok(world.names.contains_key(path) || world.dirs.contains(path))
    }
}

struct CrashingFile {
    disk: CrashingDisk,
    file: u64,
    boot: u64,
}

impl CrashingFile {
    /// Runs one call on the file; a call that the power cut meets may still have had its effect.
    fn with<T>(&self, call: impl FnOnce(&mut World, u64, io::Result<()>) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.disk.0.lock();
        if world.boot != self.boot || world.power_is_off {
            return Err(power_is_off());
        }
        let operated = world.operate();
        call(&mut world, self.file, operated)
    }
}

impl World {
    fn inode(&mut self, file: u64) -> io::Result<&mut Inode> {
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, file: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.inode(file)?.write(bytes, offset as usize);
        if let Err(block) = written {
            self.broken
                .get_or_insert(format!("block {block} of file {file} was written again after its sync"));
        }
        Ok(())
    }

    /// Some whole sectors from the start of a write that fails.
    fn write_part(&mut self, file: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let sectors = self.random.below((bytes.len() / SECTOR) as u64 + 1) as usize;
        match bytes.get(..sectors * SECTOR) {
            Some(part) if !part.is_empty() => self.write(file, part, offset),
            _ => Ok(()),
        }
    }
}

impl DiskFile for CrashingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|world, file, operated| {
            operated?;
            if world.strikes(world.faults.read) {
                world.failed_reads += 1;
                return Err(injected());
            }
            let cache = &world.inode(file)?.cache;
            let start = (offset as usize).min(cache.len());
            let end = (start + buffer.len()).min(cache.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..end - start), cache.get(start..end)) {
                to.copy_from_slice(from);
            }
            Ok(end - start)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|world, file, operated| {
            if let Err(error) = operated {
                world.write_part(file, bytes, offset)?;
                return Err(error);
            }
            if world.strikes(world.faults.write) {
                world.write_part(file, bytes, offset)?;
                return Err(injected());
            }
            let grows = (offset + bytes.len() as u64).saturating_sub(world.inode(file)?.cache.len() as u64);
            if world.strikes(world.faults.full) || world.used_bytes() + grows > world.capacity_bytes {
                world.write_part(file, bytes, offset)?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            world.write(file, bytes, offset)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|world, file, operated| {
            operated?;
            if world.strikes(world.faults.sync) {
                world.failed_syncs += 1;
                let random = world.random.clone();
                world.inode(file)?.fail_sync(&random);
                return Err(injected());
            }
            world.inode(file)?.sync();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|world, file, operated| {
            operated?;
            Ok(world.inode(file)?.cache.len() as u64)
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.with(|world, file, operated| {
            operated?;
            let inode = world.inode(file)?;
            let length = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
            inode.cut_off(length);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(seed: u64) -> CrashingDisk {
        CrashingDisk::new(Random::seeded(seed), 1 << 30)
    }

    fn file(disk: &CrashingDisk) -> Arc<dyn DiskFile> {
        disk.open(Path::new("d/file"), Open::ReadWriteCreate).expect("open")
    }

    fn read(file: &dyn DiskFile) -> Vec<u8> {
        let mut bytes = vec![0; file.len().expect("length") as usize];
        filmgate_spool::read_exact_at(file, &mut bytes, 0).expect("read");
        bytes
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_at_the_seeds_mercy() {
        let (mut lost, mut kept, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let disk = disk(seed);
            let first = file(&disk);
            first.write_at(&[1; 8192], 0).expect("write");
            first.sync().expect("sync");
            disk.sync_dir(Path::new("d")).expect("sync folder");
            first.write_at(&[2; 4096], 8192).expect("write");
            disk.cut_power();
            assert!(first.sync().is_err());
            disk.power_on();
            assert!(first.len().is_err(), "handles of the old process are dead");
            let bytes = read(file(&disk).as_ref());
            assert_eq!(bytes[..8192], [1; 8192]);
            match &bytes[8192..] {
                [2, rest @ ..] if rest.len() == 4095 && rest.iter().all(|&byte| byte == 2) => kept += 1,
                rest if rest.iter().all(|&byte| byte == 0) => lost += 1,
                _ => torn += 1,
            }
        }
        assert!(lost > 10 && kept > 0 && torn > 10, "{lost} {kept} {torn}");
    }

    #[test]
    fn a_name_needs_its_folder_synced() {
        let survived = |synced: bool| {
            (0..50)
                .filter(|&seed| {
                    let disk = disk(seed);
                    file(&disk).sync().expect("sync");
                    if synced {
                        disk.sync_dir(Path::new("d")).expect("sync folder");
                    }
                    disk.cut_power();
                    disk.power_on();
                    disk.exists(Path::new("d/file")).expect("ask")
                })
                .count()
        };
        assert_eq!(survived(true), 50);
        assert!((5..45).contains(&survived(false)));
    }

    #[test]
    fn a_killed_process_loses_nothing_and_a_failed_sync_may() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = disk(seed);
            let first = file(&disk);
            first.write_at(&[3; 4096], 0).expect("write");
            disk.kill_process();
            let second = file(&disk);
            assert_eq!(read(second.as_ref()), [3; 4096]);
            disk.set_faults(Faults { sync: 10_000, ..Faults::default() });
            assert!(second.sync().is_err());
            disk.set_faults(Faults::default());
            second.sync().expect("a second sync lies");
            disk.sync_dir(Path::new("d")).expect("sync folder");
            disk.cut_power();
            disk.power_on();
            lost += u32::from(read(file(&disk).as_ref()) != [3; 4096]);
        }
        assert!(lost > 5, "{lost}");
    }

    #[test]
    fn the_power_goes_off_in_the_nth_call() {
        let disk = disk(1);
        let file = file(&disk);
        disk.cut_power_in(2);
        file.write_at(&[1; 512], 0).expect("first");
        assert!(file.write_at(&[1; 512], 512).is_err());
        assert!(disk.power_is_off() && file.len().is_err());
    }
}
