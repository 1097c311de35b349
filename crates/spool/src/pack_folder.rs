//! Packs on the local disk: written beside, synced, renamed, folder synced; then kept until room is needed.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use filmgate_model::PackId;

use crate::{
    Error,
    disk::{Disk, DiskFile, Open, read_exact_at},
};

const PACK_SUFFIX: &str = ".pack";
const PART_SUFFIX: &str = ".part";

/// The folder of local packs. A pack is there whole and durable, or not at all.
pub struct PackFolder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl PackFolder {
    /// Opens the folder, made where it is missing, and removes packs that were never finished.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoRoom`].
    pub fn open_folder(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, Error> {
        disk.create_dir_all(dir).map_err(Error::io("create pack folder"))?;
        for name in disk.read_dir(dir).map_err(Error::io("list pack folder"))? {
            if name.ends_with(PART_SUFFIX) {
                disk.remove_file(&dir.join(name)).map_err(Error::io("remove unfinished pack"))?;
            }
        }
        // Names that a killed process left unsynced must not be lost once they are listed.
        disk.sync_dir(dir).map_err(Error::io("sync pack folder"))?;
        Ok(Self { disk, dir: dir.to_owned() })
    }

    /// Begins a pack; nothing of it is seen before [`PackFile::finish`].
    ///
    /// # Errors
    /// [`Error::Io`], also when a pack of this id was begun before; [`Error::NoRoom`].
    pub fn create(&self, pack_id: PackId) -> Result<PackFile, Error> {
        let part = self.dir.join(format!("{pack_id}{PART_SUFFIX}"));
        let file = self.disk.open(&part, Open::CreateNew).map_err(Error::io("create pack"))?;
        Ok(PackFile {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            part,
            whole: self.path(pack_id),
            file,
            bytes: 0,
            finished: false,
        })
    }

    /// Opens a finished pack to read.
    ///
    /// # Errors
    /// [`Error::Io`], of kind `NotFound` when there is none.
    pub fn open(&self, pack_id: PackId) -> Result<PackReader, Error> {
        let file = self.disk.open(&self.path(pack_id), Open::Read).map_err(Error::io("open pack"))?;
        let pack_bytes = file.len().map_err(Error::io("measure pack"))?;
        Ok(PackReader { file, pack_bytes })
    }

    /// Whether a finished pack of this id is here.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn contains(&self, pack_id: PackId) -> Result<bool, Error> {
        self.disk.exists(&self.path(pack_id)).map_err(Error::io("look for pack"))
    }

    /// Removes a pack for good; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Io`]; then the pack may come back after a crash.
    pub fn remove(&self, pack_id: PackId) -> Result<(), Error> {
        match self.disk.remove_file(&self.path(pack_id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove pack")(error));
            }
            _ => {}
        }
        self.disk.sync_dir(&self.dir).map_err(Error::io("sync pack folder"))
    }

    /// Every finished pack with its length in bytes, by id.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Vec<(PackId, u64)>, Error> {
        let mut packs = Vec::new();
        for name in self.disk.read_dir(&self.dir).map_err(Error::io("list pack folder"))? {
            if let Some(pack_id) = name.strip_suffix(PACK_SUFFIX).and_then(|id| id.parse().ok()) {
                packs.push((pack_id, self.open(pack_id)?.pack_bytes()));
            }
        }
        packs.sort_unstable();
        Ok(packs)
    }

    fn path(&self, pack_id: PackId) -> PathBuf {
        self.dir.join(format!("{pack_id}{PACK_SUFFIX}"))
    }
}

/// A pack being written. Dropped before [`PackFile::finish`] it is removed.
pub struct PackFile {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    part: PathBuf,
    whole: PathBuf,
    file: Arc<dyn DiskFile>,
    bytes: u64,
    finished: bool,
}

impl PackFile {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::Io`]; the pack can only be dropped then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_at(bytes, self.bytes).map_err(Error::io("write pack"))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub fn pack_bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the pack durable under its name: file synced, renamed, folder synced. Its length in bytes.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::Io`]: the pack is gone; it is made again under another id.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.file.sync().map_err(Error::io("sync pack"))?;
        self.disk.rename(&self.part, &self.whole).map_err(Error::io("rename pack"))?;
        if let Err(error) = self.disk.sync_dir(&self.dir) {
            self.part = self.whole.clone();
            return Err(Error::io("sync pack folder")(error));
        }
        self.finished = true;
        Ok(self.bytes)
    }
}

impl Drop for PackFile {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = self.disk.remove_file(&self.part)
        {
            tracing::debug!(%error, "remove unfinished pack");
        }
    }
}

/// An open pack; it can be read to its end even when it is removed meanwhile.
#[derive(Clone)]
pub struct PackReader {
    file: Arc<dyn DiskFile>,
    pack_bytes: u64,
}

impl PackReader {
    /// Length of the pack.
    #[must_use]
    pub fn pack_bytes(&self) -> u64 {
        self.pack_bytes
    }

    /// Bytes of the pack.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Io`].
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if range.start > range.end || range.end > self.pack_bytes {
            return Err(Error::OutOfRange);
        }
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(|_| Error::OutOfRange)?];
        self.read_at(&mut bytes, range.start)?;
        Ok(bytes)
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`Error::Io`], of kind `UnexpectedEof` past the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        read_exact_at(self.file.as_ref(), buffer, offset).map_err(Error::io("read pack"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn folder() -> (tempfile::TempDir, PackFolder) {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let packs = open(&temporary);
        (temporary, packs)
    }

    fn open(temporary: &tempfile::TempDir) -> PackFolder {
        PackFolder::open_folder(Arc::new(RealDisk), &temporary.path().join("packs")).expect("open folder")
    }

    #[test]
    fn a_pack_is_seen_only_when_finished() {
        let (_temporary, packs) = folder();
        let id = PackId([1; 16]);
        let mut file = packs.create(id).expect("create");
        file.write(b"one ").expect("write");
        file.write(b"two").expect("write");
        assert_eq!(packs.list().expect("list"), []);
        assert!(packs.open(id).is_err());
        assert_eq!(file.finish().expect("finish"), 7);
        assert_eq!(packs.list().expect("list"), [(id, 7)]);
        let reader = packs.open(id).expect("open");
        assert_eq!(reader.read(4..7).expect("read"), b"two");
        assert!(matches!(reader.read(4..8), Err(Error::OutOfRange)));
        packs.remove(id).expect("remove");
        packs.remove(id).expect("remove again");
        assert_eq!(reader.read(0..3).expect("still open"), b"one");
        assert!(!packs.contains(id).expect("look"));
    }

    #[test]
    fn an_unfinished_pack_leaves_nothing() {
        let (temporary, packs) = folder();
        let mut file = packs.create(PackId([2; 16])).expect("create");
        file.write(b"half").expect("write");
        drop(file);
        let names = || RealDisk.read_dir(&temporary.path().join("packs")).expect("list");
        assert_eq!(names(), [""; 0]);
        // A killed process runs no destructor.
        std::mem::forget(packs.create(PackId([3; 16])).expect("create"));
        assert_eq!(names().len(), 1);
        open(&temporary);
        assert_eq!(names(), [""; 0]);
    }
}
