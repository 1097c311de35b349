//! The durable landing: sealed records in a pool of segments that are written once and then overwritten for ever.
//!
//! - A record exists when its commit frame and every frame it counts are whole ([`recovery`]).
//! - A block that holds synced bytes is not written again in its epoch ([`format`]).
//! - A waiter is released by a sync that began after its last write ([`sync`]).
//! - After a failed write or sync nothing is tried again in place.

mod format;
mod index;
mod pool;
mod prepare;
mod read;
mod recovery;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use filmgate_model::{Clock, Random, RecordId};
use parking_lot::{Condvar, Mutex};

pub use self::{format::Epoch, sync::Ticket, writer::RecordWriter};
use self::{
    format::{BLOCK_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES},
    index::{Entry, Index, Pending},
    pool::{Hold, Pool, Slot, Status},
};
use crate::{Error, disk::Disk, metrics};

/// How a journal is laid out and how much it may take.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Length of a segment file.
    pub segment_bytes: u64,
    /// Bytes all segments together may take.
    pub bytes_max: u64,
    /// Bytes of a frame at most, header and padding included; what a writer holds in memory.
    pub frame_payload_bytes_max: usize,
    /// A record longer than this goes on in segments of its own.
    pub own_chain_past_bytes: u64,
    /// Free segments that are written ahead of need.
    pub ready_segments: usize,
    /// The journal is under pressure below this free share, in percent.
    pub pressure_free_percent: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            bytes_max: 16 << 30,
            frame_payload_bytes_max: 128 << 10,
            own_chain_past_bytes: 32 << 20,
            ready_segments: 4,
            pressure_free_percent: 40,
        }
    }
}

impl JournalOptions {
    /// The longest payload whose frame keeps to the limit and ends where its padding would begin.
    fn payload_bytes_max(&self) -> usize {
        let blocks = self.frame_payload_bytes_max / BLOCK_BYTES as usize;
        blocks * BLOCK_BYTES as usize - FRAME_HEADER_BYTES
    }

    fn check(&self) -> Result<(), Error> {
        let frame = self.frame_payload_bytes_max;
        if frame < 2 * BLOCK_BYTES as usize || frame > FRAME_BYTES_MAX {
            return Err(Error::Options("a frame is 8 KiB to 4 MiB"));
        }
        if !self.segment_bytes.is_multiple_of(BLOCK_BYTES) || self.segment_bytes > u64::from(u32::MAX) {
            return Err(Error::Options("a segment is a multiple of 4 KiB and less than 4 GiB"));
        }
        if self.segment_bytes < BLOCK_BYTES + frame as u64 {
            return Err(Error::Options("a segment is longer than a frame"));
        }
        if self.bytes_max / self.segment_bytes < 2 {
            return Err(Error::Options("the pool has two segments at least"));
        }
        Ok(())
    }
}

/// A durable record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRecord {
    /// Its id.
    pub record_id: RecordId,
    /// Its length.
    pub record_bytes: u64,
    /// Its key, wrapped as it was committed.
    pub wrapped_key: Vec<u8>,
}

/// What the pool holds. Frames count with their padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// What all segments together may take.
    pub pool_bytes_max: u64,
    /// What new frames may take before records have to go.
    pub free_bytes: u64,
    /// Frames of committed records not released yet.
    pub unpacked_bytes: u64,
    /// Frames of records being written.
    pub uncommitted_bytes: u64,
    /// Committed records not released yet.
    pub records: u64,
    /// Segment files.
    pub segments: u64,
    /// Segments that could not be read as a whole at the start: records may lie in them that are not listed.
    pub kept_segments: u64,
    /// True when the journal takes no more records.
    pub closed: bool,
}

/// The journal. All methods may be called from any thread.
pub struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: JournalOptions,
    payload_bytes_max: usize,
    clock: Clock,
    state: Mutex<State>,
    /// Somebody's wait is over, or the next may sync.
    settled: Condvar,
    /// The journal stops.
    stopped: Condvar,
    /// Frames of writers that are gone, to spare the next ones their allocation.
    spare_frames: Mutex<Vec<Vec<u8>>>,
}

struct State {
    pool: Pool,
    index: Index,
    pending: Vec<Pending>,
    /// Ids of records being written.
    writing: HashSet<RecordId>,
    uncommitted_bytes: u64,
    /// A sync round is under way.
    is_syncing: bool,
    /// Records begun so far.
    begun: u64,
    rounds_started: u64,
    stopping: bool,
}

impl Journal {
    /// Opens the journal in `dir`, made where it is missing, and gives the records a crash left, in order of arrival.
    /// Records released since may be among them, whole: their segment had not been used again.
    ///
    /// # Errors
    /// [`Error::Options`]; [`Error::Io`] when the folder or a segment cannot be opened. A segment that cannot be synced
    /// or read as a whole is no error here: it is kept apart.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: JournalOptions,
        clock: &Clock,
        random: &Random,
    ) -> Result<(Arc<Self>, Vec<JournalRecord>), Error> {
        options.check()?;
        disk.create_dir_all(dir).map_err(Error::io("create journal folder"))?;
        let recovered = recovery::recover(disk.as_ref(), dir)?;
        let records = recovered.records.iter().map(|(id, entry)| entry.describe(*id)).collect();
        let state = State::new(Arc::clone(&disk), dir, &options, recovered, random);
        let journal = Self {
            disk,
            dir: dir.to_owned(),
            payload_bytes_max: options.payload_bytes_max(),
            options,
            clock: clock.clone(),
            state: Mutex::new(state),
            settled: Condvar::new(),
            stopped: Condvar::new(),
            spare_frames: Mutex::default(),
        };
        metrics::room(&journal.room());
        Ok((Arc::new(journal), records))
    }

    /// Begins a record. An id is used once.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Exists`], or [`Error::NoRoom`] when uncommitted bytes take half the pool.
    pub fn begin(self: &Arc<Self>, record_id: RecordId) -> Result<RecordWriter, Error> {
        let mut state = self.state.lock();
        if state.is_closed() {
            return Err(Error::Closed);
        }
        if state.uncommitted_bytes >= self.options.bytes_max / 2 {
            return Err(Error::NoRoom);
        }
        if state.index.has(record_id) || !state.writing.insert(record_id) {
            return Err(Error::Exists(record_id));
        }
        state.begun += 1;
        drop(state);
        Ok(RecordWriter::new(Arc::clone(self), record_id))
    }

    /// Lets go of records that are durable elsewhere or dropped. A segment without records becomes free; its next
    /// use is another epoch. Unknown ids and records not durable yet are passed over.
    pub fn release(&self, record_ids: &[RecordId]) {
        let mut state = self.state.lock();
        for &id in record_ids {
            if state.index.durable(id).is_some()
                && let Some(entry) = state.index.remove(id)
            {
                state.pool.let_go(&entry.segments);
            }
        }
        metrics::room(&state.room());
    }

    /// What the pool holds.
    #[must_use]
    pub fn room(&self) -> Room {
        self.state.lock().room()
    }

    /// True when so little is free that records have to be packed now, oldest first.
    #[must_use]
    pub fn under_pressure(&self) -> bool {
        let room = self.room();
        room.free_bytes / 100 < room.pool_bytes_max / 100 * self.options.pressure_free_percent / 100
    }

    /// Takes room for a frame of `bytes`, all under one short lock.
    fn reserve(&self, hold: &mut Hold, bytes: u64) -> Result<Slot, Error> {
        let mut state = self.state.lock();
        if state.is_closed() {
            return Err(Error::Closed);
        }
        if !state.pool.sound(&hold.segments) {
            return Err(Error::Failed);
        }
        if state.uncommitted_bytes + bytes > self.options.bytes_max / 2 {
            return Err(Error::NoRoom);
        }
        let own_chain = hold.frame_bytes >= self.options.own_chain_past_bytes;
        let slot = state.pool.reserve(hold, bytes, own_chain)?;
        state.uncommitted_bytes += bytes;
        Ok(slot)
    }

    /// Writes a frame outside the lock. Marked dirty only now: a round that began before does not cover it.
    fn write_slot(&self, slot: &Slot, frame: &[u8]) -> Result<(), Error> {
        let written = slot.file.write_at(frame, slot.offset);
        metrics::written(frame.len() as u64);
        let mut state = self.state.lock();
        match written {
            Ok(()) => {
                if let Some(segment) = state.pool.segments.get_mut(&slot.segment) {
                    segment.dirty = segment.status != Status::Poisoned;
                }
                Ok(())
            }
            Err(error) => {
                state.end_failed_write(slot.segment, &error);
                // Others may have waited for this segment, and no round may follow to wake them.
                self.settled.notify_all();
                Err(Error::io("write journal frame")(error))
            }
        }
    }

    fn finish_commit(
        &self,
        record_id: RecordId,
        hold: &mut Hold,
        entry: impl FnOnce(&mut Hold) -> Entry,
    ) -> Result<Ticket, Error> {
        let mut state = self.state.lock();
        if state.stopping {
            return Err(Error::Closed);
        }
        if !state.pool.sound(&hold.segments) {
            return Err(Error::Failed);
        }
        state.pool.end_chain(hold);
        let entry = entry(hold);
        let ticket = Ticket::new(record_id);
        let pending = Pending { record_id, after_round: state.rounds_started, ticket: ticket.clone() };
        state.index.insert(record_id, entry);
        state.pending.push(pending);
        Ok(ticket)
    }

    /// A writer is gone: what it did not commit is free again.
    fn end_writer(&self, record_id: RecordId, hold: &mut Hold) {
        let mut state = self.state.lock();
        state.writing.remove(&record_id);
        state.uncommitted_bytes = state.uncommitted_bytes.saturating_sub(hold.frame_bytes);
        if let Some(own) = hold.own.take() {
            state.pool.close(own);
        }
        let segments = std::mem::take(&mut hold.segments);
        state.pool.let_go(&segments);
    }
}

impl State {
    fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &JournalOptions,
        recovered: recovery::Recovered,
        random: &Random,
    ) -> Self {
        let segments_max = usize::try_from(options.bytes_max / options.segment_bytes).unwrap_or(usize::MAX);
        let mut index = Index::default();
        for (id, entry) in recovered.records {
            index.insert(id, entry);
        }
        let pool = Pool::new(disk, dir, options.segment_bytes, segments_max, recovered.segments, random);
        let mut state = Self {
            pool,
            index,
            pending: Vec::new(),
            writing: HashSet::new(),
            uncommitted_bytes: 0,
            is_syncing: false,
            begun: 0,
            rounds_started: 0,
            stopping: false,
        };
        for (segment, error) in recovered.failures {
            state.fail_segment(segment, "sync journal segment at start", &error.to_string());
        }
        state
    }

    /// A full disk is no sign of a failing one: the segment just takes no more frames. Anything else poisons it.
    fn end_failed_write(&mut self, segment: u32, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => self.pool.close(segment),
            _ => self.fail_segment(segment, "write journal frame", &error.to_string()),
        }
    }

    fn is_closed(&self) -> bool {
        self.stopping || self.pool.is_failed()
    }

    fn room(&self) -> Room {
        Room {
            pool_bytes_max: self.pool.segments_max as u64 * self.pool.segment_bytes,
            free_bytes: self.pool.free_bytes(),
            unpacked_bytes: self.index.frame_bytes,
            uncommitted_bytes: self.uncommitted_bytes,
            records: self.index.len() as u64,
            segments: self.pool.segments.len() as u64,
            kept_segments: self
                .pool
                .segments
                .values()
                .filter(|segment| segment.status == Status::Kept)
                .count() as u64,
            closed: self.is_closed(),
        }
    }
}
