//! A second directory, on another disk or machine, that gets every write and sync of the first.
//!
//! Files are read from the first directory, and from the second where the first has none: a file that cannot be read
//! is taken out of the first by hand, and the next start copies it back. A second directory that fell behind is never
//! read before it was caught up: that is marked durably in the first before anything more is told safe.
//!
//! What a caller was told durable is on both sides. What a crash left without an answer may be on the first alone.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    disk::{Disk, DiskFile, Open, write_durably},
    metrics,
};

/// Stands in the first directory while the second lacks writes.
const BEHIND: &str = "mirror-behind";
const COPY_BYTES: usize = 1 << 20;

/// What a failing second directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorMode {
    /// Work goes on without it; it is caught up at the next start.
    Preferred,
    /// The operation fails.
    Required,
}

/// One side of a mirror: a disk and the directory on it.
#[derive(Clone)]
pub struct Side {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The directory whose content is mirrored.
    pub root: PathBuf,
}

/// Two directories that are one disk. Paths are those of the first.
pub struct MirroredDisk(Arc<Mirror>);

struct Mirror {
    first: Side,
    second: Side,
    mode: MirrorMode,
    /// The second side failed and gets no more calls.
    dropped: AtomicBool,
}

impl MirroredDisk {
    /// Opens both sides and makes `folders` (below the roots; one inside another is listed itself) alike: a file that one side lacks is copied
    /// from the other; when the second fell behind, all of it is made anew from the first.
    ///
    /// # Errors
    /// What the first side says; what the second says when it is required.
    pub fn open(first: Side, second: Side, mode: MirrorMode, folders: &[&str]) -> io::Result<Self> {
        let mirror = Self(Arc::new(Mirror { first, second, mode, dropped: AtomicBool::new(false) }));
        mirror.0.first.disk.create_dir_all(&mirror.0.first.root)?;
        let caught_up = mirror.0.catch_up(folders);
        mirror.0.after_second(caught_up)?;
        Ok(mirror)
    }

    /// Whether the second side gets every write.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.0.is_dropped()
    }
}

impl Mirror {
    fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    /// The same file on the second side; `None` when that side is dropped or the path is not mirrored.
    fn second_path(&self, path: &Path) -> Option<PathBuf> {
        let inside = path.strip_prefix(&self.first.root).ok()?;
        (!self.is_dropped()).then(|| self.second.root.join(inside))
    }

    /// Judges what the second side said: an error where it is required, else the end of that side until the next start.
    fn after_second<T>(&self, said: io::Result<T>) -> io::Result<Option<T>> {
        match said {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.mode == MirrorMode::Required => Err(error),
            Err(error) => {
                self.drop_second(&error)?;
                Ok(None)
            }
        }
    }

    fn drop_second(&self, error: &io::Error) -> io::Result<()> {
        // Marked first: once a sync of the first side alone counts, a stale second must not be taken for a copy.
        write_durably(self.first.disk.as_ref(), &self.first.root.join(BEHIND), b"")?;
        if !self.dropped.swap(true, Ordering::SeqCst) {
            metrics::mirror_dropped();
            tracing::error!(%error, "second directory dropped until the next start");
        }
        Ok(())
    }

    /// Runs one call on both sides.
    fn both(&self, path: &Path, call: impl Fn(&dyn Disk, &Path) -> io::Result<()>) -> io::Result<()> {
        call(self.first.disk.as_ref(), path)?;
        if let Some(second) = self.second_path(path) {
            self.after_second(call(self.second.disk.as_ref(), &second))?;
        }
        Ok(())
    }

    fn catch_up(&self, folders: &[&str]) -> io::Result<()> {
        let marker = self.first.root.join(BEHIND);
        let behind = self.first.disk.exists(&marker)?;
        for folder in folders {
            // A folder inside that is listed itself is no file of this one.
            let inside = |name: &String| folders.contains(&format!("{folder}/{name}").as_str());
            self.catch_up_folder(Path::new(folder), behind, inside)?;
        }
        if behind {
            self.first.disk.remove_file(&marker)?;
            self.first.disk.sync_dir(&self.first.root)?;
        }
        Ok(())
    }

    fn catch_up_folder(
        &self,
        folder: &Path,
        behind: bool,
        is_folder: impl Fn(&String) -> bool,
    ) -> io::Result<()> {
        let (first, second) = (self.first.at(folder), self.second.at(folder));
        first.disk.create_dir_all(&first.root)?;
        second.disk.create_dir_all(&second.root)?;
        let (mut here, mut there) = (first.names()?, second.names()?);
        here.retain(|name| !is_folder(name));
        there.retain(|name| !is_folder(name));
        for name in &here {
            if behind || !there.contains(name) {
                copy(&first, &second, name)?;
            }
        }
        for name in there.difference(&here) {
            if behind {
                second.disk.remove_file(&second.root.join(name))?;
            } else {
                copy(&second, &first, name)?;
            }
        }
        first.disk.sync_dir(&first.root)?;
        second.disk.sync_dir(&second.root)
    }
}

impl Side {
    fn at(&self, folder: &Path) -> Self {
        Self { disk: Arc::clone(&self.disk), root: self.root.join(folder) }
    }

    /// Names of whole files.
    fn names(&self) -> io::Result<BTreeSet<String>> {
        let names = self.disk.read_dir(&self.root)?;
        Ok(names.into_iter().filter(|name| !name.ends_with(".part")).collect())
    }
}

/// Copies a file whole: written beside, synced, renamed. The caller syncs the folder.
fn copy(from: &Side, to: &Side, name: &str) -> io::Result<()> {
    let source = from.disk.open(&from.root.join(name), Open::Read)?;
    let beside = to.root.join(format!("{name}.part"));
    let target = to.disk.open(&beside, Open::ReadWriteCreate)?;
    target.set_len(0)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let read = source.read_at(&mut buffer, offset)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        target.write_at(bytes, offset)?;
        offset += read as u64;
    }
    target.sync()?;
    to.disk.rename(&beside, &to.root.join(name))
}

impl Disk for MirroredDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.both(path, |disk, path| disk.create_dir_all(path))
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let first = match self.0.first.disk.open(path, how) {
            Err(error) if matches!(how, Open::Read | Open::ReadWrite) => match self.0.second_path(path) {
                // The first side cannot give it: what the second has is read, not written.
                Some(second) => return self.0.second.disk.open(&second, Open::Read).map_err(|_| error),
                None => return Err(error),
            },
            other => other?,
        };
        let second = match self.0.second_path(path) {
            None => None,
            // A pack may have left one side alone when the power went; reading needs one.
            Some(second) if how == Open::Read => self.0.second.disk.open(&second, how).ok(),
            Some(second) => self.0.after_second(self.0.second.disk.open(&second, how))?,
        };
        Ok(Arc::new(MirroredFile { mirror: Arc::clone(&self.0), first, second }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = self.0.first.disk.read_dir(path)?.into_iter().collect::<BTreeSet<_>>();
        if let Some(second) = self.0.second_path(path) {
            names.extend(self.0.after_second(self.0.second.disk.read_dir(&second))?.unwrap_or_default());
        }
        Ok(names.into_iter().filter(|name| name != BEHIND).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.first.disk.rename(from, to)?;
        if let (Some(from), Some(to)) = (self.0.second_path(from), self.0.second_path(to)) {
            self.0.after_second(self.0.second.disk.rename(&from, &to))?;
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let first = self.0.first.disk.remove_file(path);
        let Some(second) = self.0.second_path(path) else { return first };
        let second = match self.0.second.disk.remove_file(&second) {
            // It is gone from both when one never had it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && first.is_ok() => return Ok(()),
            Ok(()) if first.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) => {
                return Ok(());
            }
            other => other,
        };
        first?;
        self.0.after_second(second)?;
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.both(path, |disk, path| disk.sync_dir(path))
    }

    fn is_whole(&self) -> bool {
        Self::is_whole(self)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let first = self.0.first.disk.free_bytes(path)?;
        // One that may be gone without does not decide who may come in.
        let required = self.0.mode == MirrorMode::Required;
        let Some(second) = self.0.second_path(path).filter(|_| required) else { return Ok(first) };
        let second = self.0.after_second(self.0.second.disk.free_bytes(&second))?;
        Ok(second.map_or(first, |second| first.min(second)))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        if self.0.first.disk.exists(path)? {
            return Ok(true);
        }
        let Some(second) = self.0.second_path(path) else { return Ok(false) };
        Ok(self.0.after_second(self.0.second.disk.exists(&second))?.unwrap_or(false))
    }
}

struct MirroredFile {
    mirror: Arc<Mirror>,
    first: Arc<dyn DiskFile>,
    second: Option<Arc<dyn DiskFile>>,
}

impl MirroredFile {
    fn both(&self, call: impl Fn(&dyn DiskFile) -> io::Result<()>) -> io::Result<()> {
        call(self.first.as_ref())?;
        if let Some(second) = self.second() {
            self.mirror.after_second(call(second))?;
        }
        Ok(())
    }

    fn second(&self) -> Option<&dyn DiskFile> {
        self.second.as_deref().filter(|_| !self.mirror.is_dropped())
    }
}

impl DiskFile for MirroredFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Not from the second on an error: after a crash the sides may differ in what nobody was told durable, and
        // recovery must not take one frame from here and its record's other frames from there.
        self.first.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.both(|file| file.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.both(|file| file.sync())
    }

    fn len(&self) -> io::Result<u64> {
        self.first.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.both(|file| file.set_len(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{RealDisk, folder_of, read_file},
        faulty::FaultyDisk,
    };

    struct Bench {
        folder: tempfile::TempDir,
        second: Arc<FaultyDisk>,
    }

    impl Bench {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().expect("a temporary folder"), second: Arc::default() }
        }

        fn root(&self, side: &str) -> PathBuf {
            self.folder.path().join(side)
        }

        fn open(&self, mode: MirrorMode) -> MirroredDisk {
            let first = Side { disk: Arc::new(RealDisk), root: self.root("first") };
            let second = Side { disk: Arc::clone(&self.second) as _, root: self.root("second") };
            MirroredDisk::open(first, second, mode, &["packs"]).expect("open mirror")
        }

        fn path(&self) -> PathBuf {
            self.root("first").join("packs/file")
        }

        fn content(&self, side: &str) -> Option<Vec<u8>> {
            read_file(&RealDisk, &self.root(side).join("packs/file"), 1_000).ok()
        }
    }

    #[test]
    fn both_sides_hold_what_was_written_and_either_gives_it_back() {
        let bench = Bench::new();
        let disk = bench.open(MirrorMode::Required);
        write_durably(&disk, &bench.path(), b"one").expect("write");
        assert_eq!(bench.content("first"), bench.content("second"));

        RealDisk.remove_file(&bench.path()).expect("lose the first");
        assert_eq!(read_file(&disk, &bench.path(), 10).expect("read"), b"one");
        assert!(disk.exists(&bench.path()).expect("ask"));
        assert_eq!(disk.read_dir(folder_of(&bench.path())).expect("list"), ["file"]);
        drop(disk);
        bench.open(MirrorMode::Required);
        assert_eq!(bench.content("first").as_deref(), Some(&b"one"[..]), "copied back at the start");
    }

    #[test]
    fn a_required_second_side_that_fails_is_an_error() {
        let bench = Bench::new();
        let disk = bench.open(MirrorMode::Required);
        bench.second.failing_syncs(1);
        assert!(write_durably(&disk, &bench.path(), b"one").is_err());
        assert!(disk.is_whole());
    }

    #[test]
    fn a_preferred_second_side_is_dropped_and_caught_up_at_the_next_start() {
        let bench = Bench::new();
        let disk = bench.open(MirrorMode::Preferred);
        write_durably(&disk, &bench.path(), b"old").expect("write");
        bench.second.failing_syncs(1);
        write_durably(&disk, &bench.path(), b"new").expect("the first side is enough");
        assert!(!disk.is_whole());
        assert_eq!(bench.content("second").as_deref(), Some(&b"old"[..]));
        RealDisk.remove_file(&bench.path()).expect("lose the first");
        assert!(read_file(&disk, &bench.path(), 10).is_err(), "a stale copy is not read");
        write_durably(&RealDisk, &bench.path(), b"new").expect("find it again");
        drop(disk);

        let disk = bench.open(MirrorMode::Preferred);
        assert!(disk.is_whole());
        assert_eq!(bench.content("second").as_deref(), Some(&b"new"[..]));
        let beside = bench.root("first").join(BEHIND);
        assert!(!RealDisk.exists(&beside).expect("ask"));
        drop(disk);
        bench.open(MirrorMode::Preferred);
    }

    #[test]
    fn a_removed_file_is_gone_from_both_sides() {
        let bench = Bench::new();
        let disk = bench.open(MirrorMode::Required);
        write_durably(&disk, &bench.path(), b"one").expect("write");
        disk.remove_file(&bench.path()).expect("remove");
        assert_eq!((bench.content("first"), bench.content("second")), (None, None));
        assert!(disk.remove_file(&bench.path()).is_err());
    }
}
