//! What a crash left: sync every segment, then step over the 4 KiB grid and keep the records that are complete.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::Path,
    sync::Arc,
};

use filmgate_model::RecordId;

use super::{
    format::{
        BLOCK_BYTES, ChainHash, Commit, Epoch, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameHeader, FrameKind,
        decode_segment_header, frame_bytes,
    },
    index::{Entry, Piece},
    pool::{Segment, Status, segment_name, segment_of_name},
};
use crate::{
    Error,
    disk::{Disk, DiskFile, Open},
};

/// Bytes read at a time; no frame is longer.
const WINDOW_BYTES: usize = FRAME_BYTES_MAX;

/// What was found on disk.
pub(super) struct Recovered {
    pub(super) segments: BTreeMap<u32, Segment>,
    /// In the order in which their commit frames were placed.
    pub(super) records: Vec<(RecordId, Entry)>,
    /// Segments whose sync failed: readable, never written again.
    pub(super) failures: Vec<(u32, io::Error)>,
}

/// Reads every segment of `dir`.
pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered, Error> {
    let mut segments = open_segments(disk, dir)?;
    let mut failures = Vec::new();
    // A killed process leaves writes in the page cache. What is read below must not be lost by a later power cut.
    for (&id, segment) in &segments {
        failures.extend(segment.file.sync().err().map(|error| (id, error)));
    }
    disk.sync_dir(dir).map_err(Error::io("sync journal folder"))?;
    let mut found = Found::default();
    for (&id, segment) in &mut segments {
        segment.epoch = found.scan(id, segment.file.as_ref())?;
    }
    let records = found.into_records(&mut segments);
    Ok(Recovered { segments, records, failures })
}

fn open_segments(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<u32, Segment>, Error> {
    let names = disk.read_dir(dir).map_err(Error::io("list journal folder"))?;
    let mut segments = BTreeMap::new();
    for id in names.iter().filter_map(|name| segment_of_name(name)) {
        let path = dir.join(segment_name(id));
        let file = disk.open(&path, Open::ReadWrite).map_err(Error::io("open journal segment"))?;
        let segment = Segment {
            file,
            epoch: NO_EPOCH,
            end: 0,
            holders: 0,
            status: Status::Free,
            dirty: false,
            name_synced: true,
        };
        segments.insert(id, segment);
    }
    Ok(segments)
}

/// Of a segment without a valid header: nothing was ever synced in it, so nothing is looked for.
const NO_EPOCH: Epoch = Epoch { counter: 0, random: 0 };

/// Frames found so far, by record.
#[derive(Default)]
struct Found {
    records: HashMap<RecordId, Parts>,
    /// Segments with blocks that could not be read.
    unreadable: HashSet<u32>,
}

#[derive(Default)]
struct Parts {
    frames: Vec<FoundFrame>,
    commit: Option<Commit>,
}

#[derive(Clone, Copy)]
struct FoundFrame {
    header: FrameHeader,
    /// Bytes of the record in it.
    record_bytes: u32,
}

impl Found {
    /// Collects the frames of a segment's current epoch.
    fn scan(&mut self, id: u32, file: &dyn DiskFile) -> Result<Epoch, Error> {
        let length = file.len().map_err(Error::io("measure journal segment"))?;
        let mut window = Window::new(file, length);
        let header = match window.bytes(0, BLOCK_BYTES as usize) {
            Ok(block) => decode_segment_header(id, block),
            Err(error) => {
                self.note_unreadable(id, &error);
                return Ok(NO_EPOCH);
            }
        };
        let Some(epoch) = header else { return Ok(NO_EPOCH) };
        let mut offset = BLOCK_BYTES;
        while offset + BLOCK_BYTES <= length {
            offset += match self.frame_at(&mut window, id, epoch, offset) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.note_unreadable(id, &error);
                    BLOCK_BYTES
                }
            };
        }
        Ok(epoch)
    }

    /// Takes the frame at `offset`, if a whole one of this epoch stands there; returns how far to step.
    fn frame_at(&mut self, window: &mut Window<'_>, id: u32, epoch: Epoch, offset: u64) -> io::Result<u64> {
        let Some(header) = FrameHeader::parse(window.bytes(offset, FRAME_HEADER_BYTES)?) else {
            return Ok(BLOCK_BYTES);
        };
        let here = header.segment == id && u64::from(header.block) * BLOCK_BYTES == offset;
        let current = header.epoch == epoch;
        let bytes = FRAME_HEADER_BYTES + header.payload_bytes as usize;
        if !here || !current || bytes > FRAME_BYTES_MAX || offset + bytes as u64 > window.length {
            return Ok(BLOCK_BYTES);
        }
        let frame = window.bytes(offset, bytes)?;
        if !header.matches(frame) {
            return Ok(BLOCK_BYTES);
        }
        self.take(header, frame.get(FRAME_HEADER_BYTES..).unwrap_or_default());
        Ok(frame_bytes(header.payload_bytes as usize))
    }

    fn take(&mut self, header: FrameHeader, payload: &[u8]) {
        let parts = self.records.entry(header.record_id).or_default();
        let mut record_bytes = header.payload_bytes;
        if header.kind == FrameKind::Commit {
            let Some((commit, tail_bytes)) = Commit::parse(payload) else { return };
            parts.commit = Some(commit);
            record_bytes = tail_bytes as u32;
        }
        parts.frames.push(FoundFrame { header, record_bytes });
    }

    fn note_unreadable(&mut self, segment: u32, error: &io::Error) {
        if self.unreadable.insert(segment) {
            tracing::error!(segment, %error, "journal segment cannot be read as a whole; it is kept as it is");
        }
    }

    /// The complete records in order; segments are closed, kept or free by what is in them.
    fn into_records(self, segments: &mut BTreeMap<u32, Segment>) -> Vec<(RecordId, Entry)> {
        let Self { records, unreadable } = self;
        let mut complete = Vec::new();
        for (record_id, mut parts) in records {
            parts.frames.sort_by_key(|frame| frame.header.number);
            let held = segments_of(&parts.frames);
            match parts.into_entry(&held) {
                Some((place, entry)) => {
                    hold(segments, &held, Status::Closed);
                    complete.push((place, record_id, entry));
                }
                // With unreadable blocks about, a missing frame may still be there: its record is not given up.
                None if !unreadable.is_empty() => hold(segments, &held, Status::Kept),
                None => {}
            }
        }
        for id in unreadable {
            keep(segments, id);
        }
        complete.sort_by_key(|&(place, ..)| place);
        complete.into_iter().map(|(_, record_id, entry)| (record_id, entry)).collect()
    }
}

impl Parts {
    /// The record, with its place in the order of arrival, when nothing of it is missing.
    fn into_entry(self, held: &[u32]) -> Option<((u64, u32), Entry)> {
        let commit = self.commit?;
        if !is_complete(&commit, &self.frames) {
            return None;
        }
        let last = self.frames.last()?.header;
        let entry = Entry {
            record_bytes: commit.record_bytes,
            wrapped_key: commit.wrapped_key,
            pieces: pieces_of(&self.frames),
            segments: held.to_vec(),
            frame_bytes: self
                .frames
                .iter()
                .map(|frame| frame_bytes(frame.header.payload_bytes as usize))
                .sum(),
            durable: true,
            order: 0,
        };
        Some(((last.epoch.counter, last.block), entry))
    }
}

/// A record exists when every frame its commit frame counts is there, and is the one it was written over.
fn is_complete(commit: &Commit, frames: &[FoundFrame]) -> bool {
    let numbered = frames.iter().enumerate().all(|(number, frame)| frame.header.number as usize == number);
    let counted = frames.len() == commit.data_frames as usize + 1;
    let bytes: u64 = frames.iter().map(|frame| u64::from(frame.record_bytes)).sum();
    let mut chain_hash = ChainHash::new();
    for frame in frames.iter().take(commit.data_frames as usize) {
        chain_hash.add(frame.header.crc);
    }
    numbered && counted && bytes == commit.record_bytes && chain_hash.value() == commit.chain_hash
}

fn pieces_of(frames: &[FoundFrame]) -> Arc<[Piece]> {
    let mut record_offset = 0;
    let mut pieces = Vec::with_capacity(frames.len());
    for frame in frames.iter().filter(|frame| frame.record_bytes > 0) {
        pieces.push(Piece {
            record_offset,
            segment: frame.header.segment,
            file_offset: u64::from(frame.header.block) * BLOCK_BYTES + FRAME_HEADER_BYTES as u64,
            bytes: frame.record_bytes,
        });
        record_offset += u64::from(frame.record_bytes);
    }
    pieces.into()
}

fn segments_of(frames: &[FoundFrame]) -> Vec<u32> {
    let mut ids = Vec::new();
    for frame in frames {
        if !ids.contains(&frame.header.segment) {
            ids.push(frame.header.segment);
        }
    }
    ids
}

/// Nothing is appended to a segment after a crash: a fresh block behind its last valid frame may hold bytes of a torn
/// one. It is closed while a record is in it.
fn hold(segments: &mut BTreeMap<u32, Segment>, held: &[u32], status: Status) {
    for id in held {
        if status == Status::Kept {
            keep(segments, *id);
        } else if let Some(segment) = segments.get_mut(id) {
            segment.holders += 1;
            if segment.status == Status::Free {
                segment.status = status;
            }
        }
    }
}

fn keep(segments: &mut BTreeMap<u32, Segment>, id: u32) {
    if let Some(segment) = segments.get_mut(&id) {
        segment.status = Status::Kept;
    }
}

/// A stretch of a file in memory, moved along as it is read.
struct Window<'a> {
    file: &'a dyn DiskFile,
    length: u64,
    start: u64,
    filled: usize,
    buffer: Vec<u8>,
    /// Up to here only what is asked for is read at a time, since a longer read failed.
    careful_until: u64,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn DiskFile, length: u64) -> Self {
        Self { file, length, start: 0, filled: 0, buffer: Vec::new(), careful_until: 0 }
    }

    /// `bytes` bytes at `offset`; fewer at the end of the file.
    fn bytes(&mut self, offset: u64, bytes: usize) -> io::Result<&[u8]> {
        if offset < self.start || offset + bytes as u64 > self.start + self.filled as u64 {
            self.move_to(offset, bytes)?;
        }
        let from = (offset - self.start) as usize;
        let to = (from + bytes).min(self.filled);
        Ok(self.buffer.get(from..to).unwrap_or_default())
    }

    fn move_to(&mut self, offset: u64, bytes: usize) -> io::Result<()> {
        self.filled = 0;
        self.start = offset;
        if offset >= self.careful_until {
            match self.fill(WINDOW_BYTES) {
                Ok(()) => return Ok(()),
                Err(_) => self.careful_until = offset + WINDOW_BYTES as u64,
            }
        }
        self.fill(bytes)
    }

    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        let rest = self.length.saturating_sub(self.start);
        let wanted = usize::try_from(rest).unwrap_or(bytes).min(bytes);
        self.buffer.resize(self.buffer.len().max(wanted), 0);
        self.filled = 0;
        while self.filled < wanted {
            let to = self.buffer.get_mut(self.filled..wanted).unwrap_or_default();
            match self.file.read_at(to, self.start + self.filled as u64) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) => {
                    self.filled = 0;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
