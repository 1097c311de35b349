//! The pool of segments: which are free, which take frames, and who still needs one.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filmgate_model::Random;

use super::format::{BLOCK_BYTES, Epoch, encode_segment_header};
use crate::{
    Error,
    disk::{Disk, DiskFile, Open},
    metrics,
};

/// What a segment is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Nobody needs what is in it; it waits for its next epoch.
    Free,
    /// Takes frames of any record.
    Open,
    /// Takes frames of one long record.
    Own,
    /// Takes no more frames, and becomes free when nobody holds it.
    Closed,
    /// A write or sync failed: never written again, removed when nobody holds it.
    Poisoned,
    /// Could not be read as a whole at the start: kept as it is until the next start.
    Kept,
}

pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) epoch: Epoch,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// Records and writers with frames here.
    pub(super) holders: u32,
    pub(super) status: Status,
    /// Written to since the last sync began.
    pub(super) dirty: bool,
    /// Whether the file's name is durable.
    pub(super) name_synced: bool,
}

impl Segment {
    /// A segment no epoch has begun in.
    pub(super) fn new(file: Arc<dyn DiskFile>, name_synced: bool) -> Self {
        Self {
            file,
            epoch: Epoch { counter: 0, random: 0 },
            end: BLOCK_BYTES,
            holders: 0,
            status: Status::Free,
            dirty: false,
            name_synced,
        }
    }
}

/// Where a frame may be written, outside the lock.
pub(super) struct Slot {
    pub(super) segment: u32,
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

/// What one record holds: each segment once, the last one of its own chain apart.
#[derive(Debug, Default)]
pub(super) struct Hold {
    pub(super) segments: Vec<u32>,
    pub(super) own: Option<u32>,
    /// Bytes of its frames on disk.
    pub(super) frame_bytes: u64,
}

pub(super) struct Pool {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) segments_max: usize,
    pub(super) segments: BTreeMap<u32, Segment>,
    open: VecDeque<u32>,
    /// Last freed first: its blocks are likely still in the page cache.
    free: Vec<u32>,
    next_segment: u32,
    epoch_counter: u64,
    failures: u32,
    random: Random,
    /// A segment is being written ahead of need.
    pub(super) preparing: bool,
}

/// Failed segments that close the journal for receipt.
const FAILURES_MAX: u32 = 2;

impl Pool {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        segments_max: usize,
        segments: BTreeMap<u32, Segment>,
        random: &Random,
    ) -> Self {
        let epoch_counter = segments.values().map(|segment| segment.epoch.counter).max().unwrap_or(0);
        let next_segment = segments.keys().next_back().map_or(1, |last| last.saturating_add(1));
        let free = segments.iter().rev().filter(|(_, segment)| segment.status == Status::Free);
        let free = free.map(|(&id, _)| id).collect();
        let mut pool = Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes,
            segments_max,
            segments,
            open: VecDeque::new(),
            free,
            next_segment,
            epoch_counter,
            failures: 0,
            random: random.clone(),
            preparing: false,
        };
        pool.trim();
        pool
    }

    /// Removes free segments past the limit.
    fn trim(&mut self) {
        while self.segments.len() > self.segments_max
            && let Some(id) = self.free.pop()
        {
            self.retire(id);
        }
    }

    /// Takes room for one frame and holds its segment.
    pub(super) fn reserve(&mut self, hold: &mut Hold, bytes: u64, own_chain: bool) -> Result<Slot, Error> {
        let id = if own_chain { self.own_segment(hold, bytes)? } else { self.shared_segment(bytes)? };
        let segment = self.segments.get_mut(&id).ok_or(Error::NoRoom)?;
        let slot =
            Slot { segment: id, epoch: segment.epoch, offset: segment.end, file: Arc::clone(&segment.file) };
        segment.end += bytes;
        if !hold.segments.contains(&id) {
            segment.holders += 1;
            hold.segments.push(id);
        }
        hold.frame_bytes += bytes;
        Ok(slot)
    }

    fn fits(&self, id: u32, bytes: u64) -> bool {
        self.segments.get(&id).is_some_and(|segment| segment.end + bytes <= self.segment_bytes)
    }

    fn shared_segment(&mut self, bytes: u64) -> Result<u32, Error> {
        while let Some(&id) = self.open.front() {
            if self.fits(id, bytes) {
                return Ok(id);
            }
            self.open.pop_front();
            self.close(id);
        }
        let id = self.open_segment(Status::Open)?;
        self.open.push_back(id);
        Ok(id)
    }

    fn own_segment(&mut self, hold: &mut Hold, bytes: u64) -> Result<u32, Error> {
        if let Some(id) = hold.own {
            if self.fits(id, bytes) {
                return Ok(id);
            }
            self.close(id);
        }
        hold.own = None;
        let id = self.open_segment(Status::Own)?;
        hold.own = Some(id);
        Ok(id)
    }

    /// Ends a record's own chain; what is left of its last segment serves everybody.
    pub(super) fn end_chain(&mut self, hold: &mut Hold) {
        let Some(id) = hold.own.take() else { return };
        if let Some(segment) = self.segments.get_mut(&id).filter(|segment| segment.status == Status::Own) {
            segment.status = Status::Open;
            self.open.push_back(id);
        }
    }

    /// Takes no more frames here.
    pub(super) fn close(&mut self, id: u32) {
        self.open.retain(|&open| open != id);
        if let Some(segment) = self.segments.get_mut(&id)
            && matches!(segment.status, Status::Open | Status::Own)
        {
            segment.status = Status::Closed;
            self.settle(id);
        }
    }

    /// Begins a new epoch in a free segment, or in a new file while the pool may grow.
    fn open_segment(&mut self, status: Status) -> Result<u32, Error> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => self.grow()?,
        };
        self.epoch_counter += 1;
        let epoch = Epoch { counter: self.epoch_counter, random: self.random.u64() };
        let Some(segment) = self.segments.get_mut(&id) else { return Err(Error::NoRoom) };
        // The header needs no sync of its own: no frame of this epoch is told safe before a sync of the same file
        // that began after both were written. Until then the old header may come back, and with it only what
        // everybody had let go.
        if let Err(error) = segment.file.write_at(&encode_segment_header(id, epoch), 0) {
            return Err(self.end_failed_header(id, error));
        }
        segment.epoch = epoch;
        segment.end = BLOCK_BYTES;
        segment.status = status;
        segment.dirty = true;
        Ok(id)
    }

    /// A full disk leaves the segment free; anything else is a failure, and the segment is not tried again.
    fn end_failed_header(&mut self, id: u32, error: io::Error) -> Error {
        let error = Error::io("write journal segment header")(error);
        match error {
            Error::NoRoom => self.free.insert(0, id),
            _ => {
                self.poison(id);
                self.settle(id);
            }
        }
        error
    }

    fn grow(&mut self) -> Result<u32, Error> {
        if self.segments.len() >= self.segments_max {
            return Err(Error::NoRoom);
        }
        let id = self.next_segment;
        let path = self.dir.join(segment_name(id));
        let file =
            self.disk.open(&path, Open::ReadWriteCreate).map_err(Error::io("create journal segment"))?;
        self.next_segment = id.checked_add(1).ok_or(Error::NoRoom)?;
        self.segments.insert(id, Segment::new(file, false));
        Ok(id)
    }

    /// Segments that nobody has to make before use.
    pub(super) fn ready(&self) -> usize {
        self.free.len()
    }

    /// An id for a segment that is about to be written ahead; `None` when there is one already or the pool is full.
    pub(super) fn take_id_to_prepare(&mut self) -> Option<u32> {
        if self.preparing || self.segments.len() >= self.segments_max {
            return None;
        }
        let id = self.next_segment;
        self.next_segment = id.checked_add(1)?;
        self.preparing = true;
        Some(id)
    }

    /// Takes in a segment that was written ahead; false when the pool has become full meanwhile.
    pub(super) fn add_ready(&mut self, id: u32, file: Arc<dyn DiskFile>) -> bool {
        if self.segments.len() >= self.segments_max {
            return false;
        }
        self.segments.insert(id, Segment::new(file, true));
        self.free.insert(0, id);
        true
    }

    /// Lets go of every segment a record held.
    pub(super) fn let_go(&mut self, segments: &[u32]) {
        for &id in segments {
            if let Some(segment) = self.segments.get_mut(&id) {
                segment.holders = segment.holders.saturating_sub(1);
            }
            self.settle(id);
        }
    }

    /// Frees or retires a segment that nobody holds.
    pub(super) fn settle(&mut self, id: u32) {
        let too_many = self.segments.len() > self.segments_max;
        let Some(segment) = self.segments.get_mut(&id).filter(|segment| segment.holders == 0) else { return };
        match segment.status {
            Status::Closed if too_many => self.retire(id),
            Status::Closed => {
                segment.status = Status::Free;
                self.free.push(id);
            }
            Status::Poisoned => self.retire(id),
            Status::Free | Status::Open | Status::Own | Status::Kept => {}
        }
    }

    /// Takes a segment out of the pool: a poisoned one, or one too many since the pool was made smaller. Its name may
    /// come back after a crash; then it is a segment like any other, whose records were all let go.
    fn retire(&mut self, id: u32) {
        self.segments.remove(&id);
        if let Err(error) = self.disk.remove_file(&self.dir.join(segment_name(id))) {
            tracing::warn!(segment = id, %error, "remove journal segment");
        }
    }

    /// Never writes a segment again, and counts the failure; false when it was poisoned before.
    pub(super) fn poison(&mut self, id: u32) -> bool {
        self.open.retain(|&open| open != id);
        self.free.retain(|&free| free != id);
        let segment = self.segments.get_mut(&id).filter(|segment| segment.status != Status::Poisoned);
        let Some(segment) = segment else { return false };
        // A segment that is kept is not written to anyway, and must not be retired.
        if segment.status != Status::Kept {
            segment.status = Status::Poisoned;
        }
        segment.dirty = false;
        self.failures += 1;
        metrics::failure();
        true
    }

    /// True after the second failure: receipt is over.
    pub(super) fn is_failed(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// True when none of these segments failed.
    pub(super) fn sound(&self, segments: &[u32]) -> bool {
        segments
            .iter()
            .all(|id| self.segments.get(id).is_some_and(|segment| segment.status != Status::Poisoned))
    }

    /// Bytes that new frames may take before records have to go.
    pub(super) fn free_bytes(&self) -> u64 {
        let ungrown = self.segments_max.saturating_sub(self.segments.len()) as u64;
        let started: u64 = self
            .segments
            .values()
            .map(|segment| match segment.status {
                Status::Free => self.segment_bytes,
                Status::Open => self.segment_bytes.saturating_sub(segment.end),
                _ => 0,
            })
            .sum();
        ungrown * self.segment_bytes + started
    }
}

/// File name of a segment.
pub(super) fn segment_name(id: u32) -> String {
    format!("segment-{id:08x}")
}

/// The id in a segment's file name; `None` for any other file.
pub(super) fn segment_of_name(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("segment-").filter(|digits| digits.len() == 8)?;
    let id = u32::from_str_radix(digits, 16).ok()?;
    (segment_name(id) == name).then_some(id)
}
