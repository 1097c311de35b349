//! Reading records, and asking which there are.

use std::{ops::Range, sync::Arc};

use filmgate_model::RecordId;

use super::{Epoch, Journal, JournalRecord, index::Piece};
use crate::{Error, disk::read_exact_at};

impl Journal {
    /// Reads a range of a durable record, while others are written. Frame CRCs are for recovery and not checked
    /// here: a range seldom covers a frame, and every chunk is authenticated when it is opened.
    ///
    /// # Errors
    /// [`Error::NotFound`], also when the record is released meanwhile; [`Error::OutOfRange`]; [`Error::Io`].
    pub fn read(&self, record_id: RecordId, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let record_bytes = self.record(record_id).ok_or(Error::NotFound(record_id))?.record_bytes;
        if range.start > range.end || range.end > record_bytes {
            return Err(Error::OutOfRange);
        }
        let length = usize::try_from(range.end - range.start).map_err(|_| Error::OutOfRange)?;
        let mut bytes = vec![0; length];
        self.read_into(record_id, range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buffer` from `offset` of a durable record.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_into(&self, record_id: RecordId, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let (record_bytes, pieces) = {
            let state = self.state.lock();
            let entry = state.index.durable(record_id).ok_or(Error::NotFound(record_id))?;
            (entry.record_bytes, Arc::clone(&entry.pieces))
        };
        let end = offset.checked_add(buffer.len() as u64).filter(|&end| end <= record_bytes);
        let end = end.ok_or(Error::OutOfRange)?;
        let first = pieces.partition_point(|piece| piece.end() <= offset);
        for piece in pieces.iter().skip(first).take_while(|piece| piece.record_offset < end) {
            let (from, to) = (piece.record_offset.max(offset), piece.end().min(end));
            let part = buffer.get_mut((from - offset) as usize..(to - offset) as usize).unwrap_or_default();
            self.read_piece(record_id, piece, from, part)?;
        }
        // A record released while it was read may have given its blocks to another.
        if !self.contains(record_id) {
            return Err(Error::NotFound(record_id));
        }
        Ok(())
    }

    fn read_piece(&self, id: RecordId, piece: &Piece, from: u64, part: &mut [u8]) -> Result<(), Error> {
        let file = {
            let state = self.state.lock();
            let segment = state.pool.segments.get(&piece.segment).ok_or(Error::NotFound(id))?;
            Arc::clone(&segment.file)
        };
        let at = piece.file_offset + (from - piece.record_offset);
        read_exact_at(file.as_ref(), part, at).map_err(Error::io("read journal segment"))
    }

    /// Whether a durable record of this id is in the journal.
    #[must_use]
    pub fn contains(&self, record_id: RecordId) -> bool {
        self.state.lock().index.durable(record_id).is_some()
    }

    /// One durable record.
    #[must_use]
    pub fn record(&self, record_id: RecordId) -> Option<JournalRecord> {
        self.state.lock().index.durable(record_id).map(|entry| entry.describe(record_id))
    }

    /// Every durable record, in order of arrival.
    #[must_use]
    pub fn records(&self) -> Vec<JournalRecord> {
        let state = self.state.lock();
        state.index.in_order().map(|(id, entry)| entry.describe(id)).collect()
    }

    /// The `limit` records that have been here longest: packing these frees segments first.
    #[must_use]
    pub fn oldest_first(&self, limit: usize) -> Vec<RecordId> {
        let state = self.state.lock();
        state.index.in_order().take(limit).map(|(id, _)| id).collect()
    }

    /// The segments a durable record has frames in, each with the epoch it is in.
    #[must_use]
    pub fn segments_of(&self, record_id: RecordId) -> Vec<(u32, Epoch)> {
        let state = self.state.lock();
        let held = state.index.durable(record_id).map(|entry| entry.segments.clone()).unwrap_or_default();
        held.into_iter().filter_map(|id| Some((id, state.pool.segments.get(&id)?.epoch))).collect()
    }
}

impl Piece {
    fn end(&self) -> u64 {
        self.record_offset + u64::from(self.bytes)
    }
}
