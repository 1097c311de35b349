//! Writing one record: bytes gather into frames, a commit frame ends it.

use std::sync::Arc;

use filmgate_model::RecordId;

use super::{
    Journal,
    format::{
        BLOCK_BYTES, COMMIT_FOOTER_BYTES, ChainHash, Commit, FRAME_HEADER_BYTES, FrameHeader, FrameKind,
        WRAPPED_KEY_BYTES_MAX,
    },
    index::{Entry, Piece},
    pool::{Hold, Slot},
    sync::Ticket,
};
use crate::Error;

/// Frames kept for later writers at most.
const SPARE_FRAMES_MAX: usize = 16;

/// Writes one record. Holds one frame's bytes at most; dropped before [`RecordWriter::commit`] it leaves nothing and
/// gives its space back.
///
/// After an error only dropping it makes sense: the record will not become durable.
pub struct RecordWriter {
    journal: Arc<Journal>,
    record_id: RecordId,
    /// Room for a frame header, then payload not written yet.
    frame: Vec<u8>,
    record_bytes: u64,
    frames: u32,
    chain_hash: ChainHash,
    pieces: Vec<Piece>,
    hold: Hold,
}

impl RecordWriter {
    pub(super) fn new(journal: Arc<Journal>, record_id: RecordId) -> Self {
        let spare = journal.spare_frames.lock().pop();
        let frame_bytes_max = FRAME_HEADER_BYTES + journal.payload_bytes_max;
        Self {
            journal,
            record_id,
            frame: spare.unwrap_or_else(|| new_frame(frame_bytes_max)),
            record_bytes: 0,
            frames: 0,
            chain_hash: ChainHash::new(),
            pieces: Vec::new(),
            hold: Hold::default(),
        }
    }

    /// The record being written.
    #[must_use]
    pub fn record_id(&self) -> RecordId {
        self.record_id
    }

    /// Bytes given to [`RecordWriter::write`] so far.
    #[must_use]
    pub fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// Appends bytes to the record; writes to disk whenever a frame is full.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::Closed`], or the write failed.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.room() == 0 {
                self.flush()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.room()));
            self.frame.extend_from_slice(now);
            self.record_bytes += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Writes the rest and the commit frame. The record is durable only when the ticket says so.
    ///
    /// # Errors
    /// As [`RecordWriter::write`]; [`Error::Failed`] when a segment of the record failed meanwhile;
    /// [`Error::KeyTooLong`] past 1,024 bytes. Whatever the error, the record may still be found after a restart:
    /// nobody was told that it is safe, or that it is gone.
    pub fn commit(mut self, wrapped_key: &[u8]) -> Result<Ticket, Error> {
        if wrapped_key.len() > WRAPPED_KEY_BYTES_MAX {
            return Err(Error::KeyTooLong);
        }
        if self.room() < wrapped_key.len() + COMMIT_FOOTER_BYTES {
            self.flush()?;
        }
        let tail_bytes = self.payload_bytes();
        let commit = Commit {
            data_frames: self.frames,
            record_bytes: self.record_bytes,
            chain_hash: self.chain_hash.value(),
            wrapped_key: wrapped_key.into(),
        };
        commit.append_to(&mut self.frame);
        self.write_frame(FrameKind::Commit, tail_bytes)?;
        self.journal.finish_commit(self.record_id, &mut self.hold, |hold| Entry {
            record_bytes: commit.record_bytes,
            wrapped_key: commit.wrapped_key,
            pieces: std::mem::take(&mut self.pieces).into(),
            segments: std::mem::take(&mut hold.segments),
            frame_bytes: hold.frame_bytes,
            durable: false,
            order: 0,
        })
    }

    fn payload_bytes(&self) -> usize {
        self.frame.len() - FRAME_HEADER_BYTES
    }

    /// Payload bytes the frame still takes.
    fn room(&self) -> usize {
        self.journal.payload_bytes_max.saturating_sub(self.payload_bytes())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.payload_bytes() > 0 {
            self.write_frame(FrameKind::Data, self.payload_bytes())?;
            self.frames += 1;
        }
        Ok(())
    }

    /// Writes the frame in hand, of which the first `record_bytes` of payload are the record's.
    fn write_frame(&mut self, kind: FrameKind, record_bytes: usize) -> Result<(), Error> {
        let payload_bytes = self.payload_bytes() as u32;
        self.frame.resize(self.frame.len().next_multiple_of(BLOCK_BYTES as usize), 0);
        let slot = self.journal.reserve(&mut self.hold, self.frame.len() as u64)?;
        let header = FrameHeader {
            kind,
            segment: slot.segment,
            epoch: slot.epoch,
            record_id: self.record_id,
            number: self.frames,
            block: u32::try_from(slot.offset / BLOCK_BYTES).map_err(|_| Error::NoRoom)?,
            payload_bytes,
            crc: 0,
        };
        let crc = header.seal(&mut self.frame);
        self.journal.write_slot(&slot, &self.frame)?;
        self.chain_hash.add(crc);
        self.note_piece(&slot, record_bytes);
        self.frame.truncate(FRAME_HEADER_BYTES);
        Ok(())
    }

    fn note_piece(&mut self, slot: &Slot, bytes: usize) {
        if bytes > 0 {
            let written = self.pieces.last().map_or(0, |last| last.record_offset + u64::from(last.bytes));
            self.pieces.push(Piece {
                record_offset: written,
                segment: slot.segment,
                file_offset: slot.offset + FRAME_HEADER_BYTES as u64,
                bytes: bytes as u32,
            });
        }
    }
}

/// Room for a whole frame from the start: growing by doubling, it would end up with twice that.
fn new_frame(frame_bytes_max: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(frame_bytes_max);
    frame.resize(FRAME_HEADER_BYTES, 0);
    frame
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        let mut frame = std::mem::take(&mut self.frame);
        frame.truncate(FRAME_HEADER_BYTES);
        let mut spare_frames = self.journal.spare_frames.lock();
        if spare_frames.len() < SPARE_FRAMES_MAX {
            spare_frames.push(frame);
        }
        drop(spare_frames);
        self.journal.end_writer(self.record_id, &mut self.hold);
    }
}
