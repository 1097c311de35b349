//! Ranges of packs that are only in a bucket: one request brings what is wanted with what will be read right after it,
//! and what it brought is kept on the local disk while there is room.
//!
//! What is kept is sealed as it is everywhere and is opened like everything else: bytes that rotted in the cache do not
//! open, are forgotten and fetched again. It is no copy: nothing is deleted, evicted or called verified because of it, and
//! whoever looks whether the copies are sound passes it by.

use std::{
    collections::HashMap,
    ops::Range,
    path::Path,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use filmgate_model::{PackId, compute, spawn};
use filmgate_seal::PACK_HEADER_BYTES;
use filmgate_spool::{CacheFolder, Disk};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::{
    Error, Placement, Road,
    retrieve::{is_absent, pack_name},
};

/// A range so close behind another, or before it, is the next one: between frames lie the ends and heads of records.
const NEXT_WITHIN_BYTES: u64 = 128 * 1024;
/// Ranges written at a time; where the disk is slower than the bucket, what comes meanwhile is not kept.
const WRITES_MAX: usize = 4;
/// Packs of which it is known what was fetched last.
const PACKS_FOLLOWED: usize = 512;

/// What is kept on the local disk of packs that are elsewhere.
pub struct Cached {
    /// Ranges of their records.
    pub(crate) ranges: CacheFolder,
    /// Header and footer of each, as one range from 0.
    pub(crate) footers: CacheFolder,
    /// Ranges that are being written.
    writes: Arc<Semaphore>,
}

impl Cached {
    /// Opens both folders below `dir`, with what was kept there before. One that cannot be used keeps nothing: what could
    /// be cached is to be had elsewhere.
    #[must_use]
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, ranges_bytes_max: u64, footers_bytes_max: u64) -> Self {
        let open = |name: &str, bytes_max| {
            let dir = dir.join(name);
            CacheFolder::open_folder(Arc::clone(disk), &dir, bytes_max).unwrap_or_else(|error| {
                tracing::warn!(name, error = &error as &dyn std::error::Error, "nothing is cached");
                CacheFolder::keeps_nothing(Arc::clone(disk), &dir)
            })
        };
        Self {
            ranges: open("ranges", ranges_bytes_max),
            footers: open("footers", footers_bytes_max),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
        }
    }

    /// Forgets a pack that is deleted; blocks on the disk.
    pub(crate) fn forget(&self, pack_id: PackId) {
        self.ranges.forget(pack_id, &(0..u64::MAX));
        self.footers.forget(pack_id, &(0..u64::MAX));
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.bytes() + self.footers.bytes()
    }
}

/// What is read of an object.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Range,
    Footer,
}

impl Of {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Footer => "footer",
        }
    }
}

/// How far what is wanted of a pack may be read on, by offsets in the pack.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// To here will be read next for sure.
    pub(crate) until: u64,
    /// Here the records end.
    pub(crate) records_end: u64,
}

/// Requests on their way, and what the last one of a pack brought.
pub(crate) struct Fetching {
    under_way: Mutex<HashMap<PackId, Vec<Weak<Fetch>>>>,
    last: Cache<PackId, Range<u64>>,
}

/// Which way somebody goes through a pack: a viewer shows slices by where they lie, which may be from the last one to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

/// The way on which a range is the next one after any of these.
fn way(known: &[Range<u64>], range: &Range<u64>) -> Option<Way> {
    let is_next = |from: u64, to: u64| to.checked_sub(from).is_some_and(|bytes| bytes <= NEXT_WITHIN_BYTES);
    if known.iter().any(|known| is_next(known.end, range.start)) {
        return Some(Way::Forward);
    }
    known.iter().any(|known| is_next(range.end, known.start)).then_some(Way::Backward)
}

/// One request; whoever wants any of its range waits for it.
struct Fetch {
    range: Range<u64>,
    fetched: tokio::sync::Mutex<Option<Bytes>>,
}

impl Fetching {
    pub(crate) fn new() -> Self {
        Self { under_way: Mutex::default(), last: Cache::new(PACKS_FOLLOWED) }
    }

    /// The request that brings `wanted` already, else a new one for `range`.
    fn join(&self, pack_id: PackId, wanted: &Range<u64>, range: Range<u64>) -> Arc<Fetch> {
        let mut under_way = self.under_way.lock();
        under_way.retain(|_, fetches| {
            fetches.retain(|fetch| fetch.strong_count() > 0);
            !fetches.is_empty()
        });
        let of_pack = under_way.entry(pack_id).or_default();
        let brings = |fetch: &Arc<Fetch>| fetch.range.start <= wanted.start && wanted.end <= fetch.range.end;
        if let Some(found) = of_pack.iter().filter_map(Weak::upgrade).find(brings) {
            return found;
        }
        let fetch = Arc::new(Fetch { range, fetched: tokio::sync::Mutex::default() });
        of_pack.push(Arc::downgrade(&fetch));
        fetch
    }

    /// The way somebody goes through a pack who wants this range now; those who ask for many at once do not wait for the last.
    fn way(&self, pack_id: PackId, range: &Range<u64>) -> Option<Way> {
        let under_way = self.under_way.lock();
        let fetches = under_way.get(&pack_id).into_iter().flatten().filter_map(Weak::upgrade);
        let known = fetches.map(|fetch| fetch.range.clone()).chain(self.last.get(&pack_id));
        way(&known.collect::<Vec<_>>(), range)
    }
}

impl Road {
    /// A range of a pack from the local disk, with what the cache has behind it; `None` when it is neither in a local pack
    /// nor cached.
    pub(crate) async fn bytes_here(
        self: &Arc<Self>,
        pack_id: PackId,
        wanted: &Range<u64>,
        ahead: Ahead,
        cached: bool,
    ) -> Result<Option<Bytes>, Error> {
        let (road, wanted) = (Arc::clone(self), wanted.clone());
        let read = move || match road.packs.open(pack_id).and_then(|pack| pack.read(wanted.clone())) {
            Err(error) if is_absent(&error) && cached => Ok(road.kept_bytes(pack_id, &wanted, ahead.until)),
            Err(error) if is_absent(&error) => Ok(None),
            read => Ok(Some(Bytes::from(read?))),
        };
        compute(read).await?
    }

    /// A range of a pack that is not here, from a bucket: all that is wanted, and what came along behind it.
    pub(crate) async fn distant_bytes(
        self: &Arc<Self>,
        pack_id: PackId,
        wanted: Range<u64>,
        ahead: Ahead,
    ) -> Result<Bytes, Error> {
        let range = self.range_to_fetch(pack_id, &wanted, ahead);
        let fetch = self.fetching.join(pack_id, &wanted, range);
        let mut fetched = fetch.fetched.lock().await;
        let bytes = match &*fetched {
            Some(bytes) => bytes.clone(),
            None => {
                // Somebody else's may have come meanwhile.
                if self.cached.ranges.holds(pack_id, &wanted)
                    && let Some(kept) = self.bytes_here(pack_id, &wanted, ahead, true).await?
                {
                    return Ok(kept);
                }
                let bytes = self.placed_bytes(pack_id, fetch.range.clone()).await?;
                self.fetching.last.insert(pack_id, fetch.range.clone());
                self.keep_bytes(pack_id, Arc::clone(&fetch), bytes.clone());
                fetched.insert(bytes).clone()
            }
        };
        // The answer is as long as the range, which holds what is wanted.
        Ok(bytes.slice((wanted.start - fetch.range.start) as usize..))
    }

    /// Blocks on the disk.
    pub(crate) fn kept_bytes(&self, pack_id: PackId, wanted: &Range<u64>, until: u64) -> Option<Bytes> {
        let until = until.min(wanted.start.saturating_add(self.settings.read_bytes_max));
        let kept = self.cached.ranges.read(pack_id, wanted, until)?;
        metrics::counter!("filmgate_cached_reads_total", "of" => Of::Range.as_str()).increment(1);
        Some(kept.into())
    }

    /// What one request asks for: what is wanted, what is said to be read next, and some more for somebody who goes through
    /// the pack; but nothing around it that is kept already.
    fn range_to_fetch(&self, pack_id: PackId, wanted: &Range<u64>, ahead: Ahead) -> Range<u64> {
        let Range { mut start, mut end } = self.with_ahead(wanted, ahead);
        let more = self.settings.read_ahead_bytes;
        match self.fetching.way(pack_id, &(start..end)) {
            Some(Way::Forward) => end = end.max(start.saturating_add(more).min(ahead.records_end)),
            Some(Way::Backward) => start = end.saturating_sub(more).max(PACK_HEADER_BYTES as u64),
            None => {}
        }
        let kept = &self.cached.ranges;
        let kept_before = kept.previous_end(pack_id, wanted.start).unwrap_or(0);
        let kept_behind = kept.next_start(pack_id, wanted.end).unwrap_or(u64::MAX);
        start.max(kept_before).min(wanted.start)..end.min(kept_behind).max(wanted.end)
    }

    /// What is wanted with what is said to be read next, as far as one request brings it.
    pub(crate) fn with_ahead(&self, wanted: &Range<u64>, ahead: Ahead) -> Range<u64> {
        let end = ahead.until.min(wanted.start.saturating_add(self.settings.read_bytes_max));
        wanted.start..end.max(wanted.end)
    }

    /// Forgets what is kept of a pack that is deleted, in memory and in the cache.
    pub(crate) async fn forget_pack(self: &Arc<Self>, pack_id: PackId) -> Result<(), Error> {
        self.contents.remove(&pack_id);
        self.kept.clear();
        let road = Arc::clone(self);
        Ok(compute(move || road.cached.forget(pack_id)).await?)
    }

    /// Keeps what a request brought, while nobody waits for it. Until that is done the request is still found.
    fn keep_bytes(self: &Arc<Self>, pack_id: PackId, fetch: Arc<Fetch>, bytes: Bytes) {
        let Ok(permit) = Arc::clone(&self.cached.writes).try_acquire_owned() else { return };
        if !self.cache_may_take(bytes.len()) {
            return;
        }
        let road = Arc::clone(self);
        drop(spawn(async move {
            let start = fetch.range.start;
            match compute(move || road.cached.ranges.keep(pack_id, start, &bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%pack_id, error = &error as &dyn std::error::Error, "a range is not kept");
                }
                Err(error) => tracing::warn!(%pack_id, %error, "a range is not kept"),
            }
            drop((fetch, permit));
        }));
    }

    /// True when the cache may take so many bytes of the disk: receipt comes first.
    pub(crate) fn cache_may_take(&self, bytes: usize) -> bool {
        let left = self.disk_free_bytes().map(|free| free.saturating_sub(bytes as u64));
        left.is_ok_and(|left| left >= self.free_bytes_for_receipt())
    }

    /// What has to stay free on the disk before anything is kept there that is safe elsewhere.
    pub(crate) fn free_bytes_for_receipt(&self) -> u64 {
        let unpacked_bytes = self.journal.room().unpacked_bytes;
        let wanted = self.admission.lock().disk_free_bytes_wanted(unpacked_bytes);
        self.settings.cache_free_bytes_min.max(wanted)
    }

    /// A range of a pack from the first placement that has it; when none does, the error of one that may have it once it
    /// answers.
    pub(crate) async fn placed_bytes(&self, pack_id: PackId, range: Range<u64>) -> Result<Bytes, Error> {
        let name = pack_name(pack_id);
        let mut failed: Option<Error> = None;
        for placement in &self.placements {
            match self.object_bytes(placement, &name, range.clone(), Of::Range).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => failed = Some(failed.filter(Error::may_pass).unwrap_or(error)),
            }
        }
        Err(failed.unwrap_or(Error::Differs { pack_id, what: "there is no placement" }))
    }

    /// One request to a bucket, counted.
    pub(crate) async fn object_bytes(
        &self,
        placement: &Placement,
        name: &str,
        range: Range<u64>,
        of: Of,
    ) -> Result<Bytes, Error> {
        let bytes = range.end.saturating_sub(range.start);
        metrics::counter!("filmgate_object_reads_total", "of" => of.as_str()).increment(1);
        metrics::counter!("filmgate_object_read_bytes_total", "of" => of.as_str()).increment(bytes);
        Ok(placement.bucket.get(name, range).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_through_a_pack_is_known_whichever_way() {
        let known = [1_000_000..1_100_000, 5_000_000..5_200_000];
        let of = |range: Range<u64>| way(&known, &range);
        assert_eq!(of(1_100_000..1_150_000), Some(Way::Forward));
        assert_eq!(of(5_200_000 + NEXT_WITHIN_BYTES..6_000_000), Some(Way::Forward));
        assert_eq!(of(900_000..1_000_000), Some(Way::Backward));
        assert_eq!(of(4_000_000..5_000_000 - NEXT_WITHIN_BYTES), Some(Way::Backward));
        // Too far away, or within what is known.
        for range in [2_000_000..2_100_000, 5_200_001 + NEXT_WITHIN_BYTES..6_000_000, 1_010_000..1_020_000] {
            assert_eq!(of(range.clone()), None, "{range:?}");
        }
        assert_eq!(way(&[], &(0..1)), None);
    }
}
