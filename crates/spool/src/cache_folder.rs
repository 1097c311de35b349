//! Bytes of packs that are to be had elsewhere, kept here while there is room: a file a range, the least recently used
//! ones leave first.
//!
//! It is never a copy that counts. Nothing in it is synced, and what a crash left of it is not looked at before it is
//! read: who opens the bytes authenticates them, and whatever does not open is forgotten and fetched again. It outlives a
//! restart, so that what was read yesterday is quick today; only in which order it was read is not known any more.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use filmgate_model::PackId;
use parking_lot::Mutex;

use crate::{
    Error,
    disk::{Disk, Open, read_exact_at},
};

/// What a range counts for at least: so the list of them stays short whatever is read.
const RANGE_BYTES_MIN: u64 = 64 * 1024;
/// Ranges looked at that begin before the one wanted; more than one only where a longer one was read later.
const LOOKED_AT: usize = 8;

/// The folder.
pub struct CacheFolder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes_max: u64,
    kept: Mutex<Kept>,
}

/// Pack, and where the range begins in it.
type Place = (PackId, u64);

#[derive(Clone, Copy)]
struct Entry {
    end: u64,
    used: u64,
}

#[derive(Default)]
struct Kept {
    by_place: BTreeMap<Place, Entry>,
    /// The same, the one not used for longest first.
    by_use: BTreeMap<u64, Place>,
    uses: u64,
    bytes: u64,
}

impl CacheFolder {
    /// Opens the folder, made where it is missing, with what was kept there. What is more than `bytes_max` goes; so does
    /// what has another name than ranges have.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open_folder(disk: Arc<dyn Disk>, dir: &Path, bytes_max: u64) -> Result<Self, Error> {
        disk.create_dir_all(dir).map_err(Error::io("create cache folder"))?;
        let mut kept = Kept::default();
        for name in disk.read_dir(dir).map_err(Error::io("list cache folder"))? {
            match parse(&name).filter(|((pack_id, start), _)| !kept.has(*pack_id, *start)) {
                Some((place, end)) => kept.add(place, end),
                None => {
                    if let Err(error) = disk.remove_file(&dir.join(&name)) {
                        tracing::debug!(%error, name = ?name, "what is no range stays in the cache's folder");
                    }
                }
            }
        }
        let folder = Self { disk, dir: dir.to_owned(), bytes_max, kept: Mutex::new(kept) };
        folder.shrink_to(bytes_max);
        Ok(folder)
    }

    /// A folder in which nothing is kept and nothing is looked for.
    #[must_use]
    pub fn keeps_nothing(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned(), bytes_max: 0, kept: Mutex::default() }
    }

    /// True when a range is kept as a whole; it may still turn out not to be readable.
    #[must_use]
    pub fn holds(&self, pack_id: PackId, wanted: &Range<u64>) -> bool {
        self.kept.lock().find(pack_id, wanted).is_some()
    }

    /// What is kept of a pack from `wanted.start` on: all that is wanted, and what follows in the same range, `until` at
    /// most. `None` when it is not kept as a whole, or cannot be read.
    pub fn read(&self, pack_id: PackId, wanted: &Range<u64>, until: u64) -> Option<Vec<u8>> {
        let (place, end) = self.kept.lock().find(pack_id, wanted)?;
        let upto = end.min(until.max(wanted.end));
        match self.read_file(place, end, wanted.start..upto) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::debug!(%error, "a cached range cannot be read and is given up");
                self.remove(&[(place, end)]);
                None
            }
        }
    }

    fn read_file(&self, place: Place, end: u64, range: Range<u64>) -> std::io::Result<Vec<u8>> {
        let file = self.disk.open(&self.path(place, end), Open::Read)?;
        // The range lies within one that was in memory when it was kept.
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(std::io::Error::other)?];
        read_exact_at(file.as_ref(), &mut bytes, range.start - place.1)?;
        Ok(bytes)
    }

    /// Where the next range of a pack that is kept begins, at `from` or behind it.
    #[must_use]
    pub fn next_start(&self, pack_id: PackId, from: u64) -> Option<u64> {
        let kept = self.kept.lock();
        kept.by_place.range((pack_id, from)..=(pack_id, u64::MAX)).next().map(|((_, start), _)| *start)
    }

    /// Where the last range of a pack that is kept and begins before `until` ends; that may lie behind `until`.
    #[must_use]
    pub fn previous_end(&self, pack_id: PackId, until: u64) -> Option<u64> {
        let kept = self.kept.lock();
        kept.by_place.range((pack_id, 0)..(pack_id, until)).next_back().map(|(_, entry)| entry.end)
    }

    /// Keeps bytes of a pack that begin at `start` there; others leave for them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoRoom`]: then they are not kept, and nothing else has changed.
    pub fn keep(&self, pack_id: PackId, start: u64, bytes: &[u8]) -> Result<(), Error> {
        let (place, end) = ((pack_id, start), start.saturating_add(bytes.len() as u64));
        if bytes.is_empty() || weight(start, end) > self.bytes_max {
            return Ok(());
        }
        if self.kept.lock().by_place.get(&place).is_some_and(|entry| entry.end >= end) {
            return Ok(());
        }
        self.shrink_to(self.bytes_max - weight(start, end));
        let path = self.path(place, end);
        if let Err(error) = self.write(&path, bytes) {
            // Of no use, and if it stays it will not open.
            let _ = self.disk.remove_file(&path);
            return Err(Error::io("write a cached range")(error));
        }
        let shorter = self.kept.lock().replace(place, end);
        self.remove_files(shorter);
        self.shrink_to(self.bytes_max);
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let file = self.disk.open(path, Open::ReadWriteCreate)?;
        file.set_len(0)?;
        file.write_at(bytes, 0)
    }

    /// Gives up whatever is kept of any of these bytes of a pack; how many ranges that were.
    pub fn forget(&self, pack_id: PackId, range: &Range<u64>) -> usize {
        let kept = self.kept.lock();
        let of_pack = kept.by_place.range((pack_id, 0)..=(pack_id, u64::MAX));
        let meets = of_pack.filter(|((_, start), entry)| *start < range.end && range.start < entry.end);
        let found: Vec<_> = meets.map(|(place, entry)| (*place, entry.end)).collect();
        drop(kept);
        self.remove(&found);
        found.len()
    }

    /// Gives up what was not used for longest until `bytes` less are taken; how many were given up.
    pub fn give_up(&self, bytes: u64) -> u64 {
        let before = self.bytes();
        self.shrink_to(before.saturating_sub(bytes));
        before.saturating_sub(self.bytes())
    }

    /// What all ranges count for; about what they take on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kept.lock().bytes
    }

    fn shrink_to(&self, bytes: u64) {
        let mut leaving = Vec::new();
        let mut kept = self.kept.lock();
        while kept.bytes > bytes {
            let Some(oldest) = kept.by_use.values().next().copied() else { break };
            leaving.extend(kept.take(oldest).map(|end| (oldest, end)));
        }
        drop(kept);
        self.remove_files(leaving);
    }

    fn remove(&self, found: &[(Place, u64)]) {
        let mut kept = self.kept.lock();
        for (place, end) in found {
            if kept.by_place.get(place).is_some_and(|entry| entry.end == *end) {
                kept.take(*place);
            }
        }
        drop(kept);
        self.remove_files(found.iter().copied());
    }

    fn remove_files(&self, leaving: impl IntoIterator<Item = (Place, u64)>) {
        for (place, end) in leaving {
            if let Err(error) = self.disk.remove_file(&self.path(place, end)) {
                tracing::debug!(%error, "a cached range is not removed");
            }
        }
    }

    fn path(&self, (pack_id, start): Place, end: u64) -> PathBuf {
        self.dir.join(format!("{pack_id}.{start}-{end}"))
    }
}

impl Kept {
    fn has(&self, pack_id: PackId, start: u64) -> bool {
        self.by_place.contains_key(&(pack_id, start))
    }

    fn add(&mut self, place: Place, end: u64) {
        self.uses += 1;
        self.by_place.insert(place, Entry { end, used: self.uses });
        self.by_use.insert(self.uses, place);
        self.bytes = self.bytes.saturating_add(weight(place.1, end));
    }

    /// Adds a range; the one that began at the same place, whose file is to go.
    fn replace(&mut self, place: Place, end: u64) -> Option<(Place, u64)> {
        let before = self.take(place);
        self.add(place, end);
        before.filter(|before| *before != end).map(|before| (place, before))
    }

    /// Takes a range out; where it ended.
    fn take(&mut self, place: Place) -> Option<u64> {
        let entry = self.by_place.remove(&place)?;
        self.by_use.remove(&entry.used);
        self.bytes = self.bytes.saturating_sub(weight(place.1, entry.end));
        Some(entry.end)
    }

    /// A range that holds all of `wanted`; it counts as used.
    fn find(&mut self, pack_id: PackId, wanted: &Range<u64>) -> Option<(Place, u64)> {
        let before = self.by_place.range_mut((pack_id, 0)..=(pack_id, wanted.start)).rev().take(LOOKED_AT);
        let (place, entry) = before.into_iter().find(|(_, entry)| wanted.end <= entry.end)?;
        self.by_use.remove(&entry.used);
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, *place);
        Some((*place, entry.end))
    }
}

fn weight(start: u64, end: u64) -> u64 {
    end.saturating_sub(start).max(RANGE_BYTES_MIN)
}

fn parse(name: &str) -> Option<(Place, u64)> {
    let (pack, range) = name.split_once('.')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    (start < end).then_some(((pack.parse().ok()?, start), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const PACK: PackId = PackId([1; 16]);
    const OTHER: PackId = PackId([2; 16]);
    /// Longer than what a range counts for at least.
    const RANGE: u64 = 2 * RANGE_BYTES_MIN;

    fn open(temporary: &tempfile::TempDir, ranges: u64) -> CacheFolder {
        let dir = temporary.path().join("ranges");
        CacheFolder::open_folder(Arc::new(RealDisk), &dir, ranges * RANGE).expect("open folder")
    }

    fn folder(ranges: u64) -> (tempfile::TempDir, CacheFolder) {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let cache = open(&temporary, ranges);
        (temporary, cache)
    }

    fn files(temporary: &tempfile::TempDir) -> Vec<u64> {
        let names = RealDisk.read_dir(&temporary.path().join("ranges")).expect("list");
        names.iter().map(|name| parse(name).expect("a range's name").0.1).collect()
    }

    fn keep(cache: &CacheFolder, pack_id: PackId, start: u64, bytes: u64) {
        let content: Vec<u8> = (start..start + bytes).map(|at| at as u8).collect();
        cache.keep(pack_id, start, &content).expect("keep");
    }

    #[test]
    fn what_is_kept_is_read_from_anywhere_within_and_from_nowhere_else() {
        let (_temporary, cache) = folder(4);
        keep(&cache, PACK, 1000, RANGE);
        let end = 1000 + RANGE;
        let read = |pack_id, wanted: Range<u64>, until| cache.read(pack_id, &wanted, until);
        assert_eq!(read(PACK, 1001..1003, 0), Some(vec![1001_u64 as u8, 1002_u64 as u8]));
        assert_eq!(
            read(PACK, end - 2..end - 1, u64::MAX).map(|bytes| bytes.len()),
            Some(2),
            "and what follows"
        );
        for (pack_id, wanted) in [(PACK, 999..1001), (PACK, end - 1..end + 1), (OTHER, 1000..1001)] {
            assert_eq!(read(pack_id, wanted, u64::MAX), None);
        }
        assert_eq!((cache.next_start(PACK, 7), cache.next_start(PACK, 1001)), (Some(1000), None));
        assert_eq!((cache.previous_end(PACK, 1000), cache.previous_end(PACK, 1001)), (None, Some(end)));
        assert_eq!(cache.previous_end(OTHER, u64::MAX), None);
        keep(&cache, PACK, 1000, RANGE + 1);
        assert_eq!(
            read(PACK, end..end + 1, 0).map(|bytes| bytes.len()),
            Some(1),
            "a longer one takes its place"
        );
        assert_eq!(cache.bytes(), RANGE + 1);
    }

    #[test]
    fn the_bound_holds_and_what_was_used_last_stays() {
        let (temporary, cache) = folder(3);
        for number in 0..3 {
            keep(&cache, PACK, number * RANGE, RANGE);
        }
        assert!(cache.read(PACK, &(0..1), 0).is_some(), "used again");
        keep(&cache, OTHER, 0, RANGE);
        assert_eq!(cache.bytes(), 3 * RANGE);
        assert_eq!(cache.read(PACK, &(RANGE..RANGE + 1), 0), None, "the one not used for longest left");
        assert!(cache.read(PACK, &(0..1), 0).is_some());
        keep(&cache, OTHER, 0, 4 * RANGE);
        assert_eq!(cache.bytes(), 3 * RANGE, "what is longer than the whole is not kept");
        assert_eq!(cache.give_up(1), RANGE, "one leaves");
        assert_eq!(files(&temporary).len(), 2);
        keep(&cache, PACK, 9 * RANGE, 1);
        assert_eq!(cache.bytes(), 2 * RANGE + RANGE_BYTES_MIN, "a short one counts for more than it is");
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let (temporary, cache) = folder(9);
        for start in [0, RANGE, 2 * RANGE] {
            keep(&cache, PACK, start, RANGE);
        }
        assert_eq!(cache.forget(PACK, &(RANGE..RANGE + 1)), 1);
        assert_eq!(cache.read(PACK, &(RANGE..RANGE + 1), 0), None);
        assert_eq!(files(&temporary).len(), 2);
        cache.forget(PACK, &(0..u64::MAX));
        assert_eq!((cache.bytes(), files(&temporary).len()), (0, 0));
    }

    #[test]
    fn it_outlives_a_restart_and_shrinks_to_a_smaller_bound() {
        let (temporary, cache) = folder(3);
        for number in 0..3 {
            keep(&cache, PACK, number * RANGE, RANGE);
        }
        drop(cache);
        std::fs::write(temporary.path().join("ranges/else"), "no range").expect("write");
        let cache = open(&temporary, 3);
        assert_eq!(cache.bytes(), 3 * RANGE);
        assert_eq!(cache.read(PACK, &(RANGE..RANGE + 2), 0), Some(vec![RANGE as u8, RANGE as u8 + 1]));
        drop(cache);
        assert_eq!(files(&temporary).len(), 3, "what is no range is gone");
        assert_eq!((open(&temporary, 1).bytes(), files(&temporary).len()), (RANGE, 1));
        assert_eq!((open(&temporary, 0).bytes(), files(&temporary).len()), (0, 0));
    }

    /// A crash may leave a file of any length and content under a range's name.
    #[test]
    fn what_is_cut_short_is_given_up_when_it_is_read() {
        let (temporary, cache) = folder(3);
        keep(&cache, PACK, 0, RANGE);
        let path = temporary.path().join("ranges").join(format!("{PACK}.0-{RANGE}"));
        std::fs::write(&path, "short").expect("write");
        assert_eq!(cache.read(PACK, &(RANGE - 1..RANGE), 0), None);
        assert_eq!((cache.bytes(), path.exists()), (0, false));
    }
}
