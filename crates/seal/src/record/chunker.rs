//! Cuts a dataset into chunks and seals each as soon as the next byte is known not to belong to it.

use std::sync::Arc;

use aes_gcm::Aes256Gcm;
use filmgate_model::RecordId;

use super::{
    chunk_work::{ChunkBuffer, ChunkWork, HandOver, Helpers},
    table::{ChunkEntry, Class, SampleShape},
};
use crate::scan::{Sink, Span, pixel::NativeLayout};

/// A fragment begins a chunk of its own when the chunk before holds this much: smaller ones share.
pub(crate) const FRAGMENT_CHUNK_BYTES_MIN: usize = 32 * 1024;

pub(crate) struct Chunker {
    record_id: RecordId,
    cipher: Aes256Gcm,
    hand_over: Option<HandOver>,
    chunk_size_bytes: usize,
    zstd_level: i32,
    /// False for the fragments of compressed syntaxes and for deflated bytes: trying would be in vain.
    compress_fragments: bool,
    compress_header: bool,
    class: Class,
    buffer: ChunkBuffer,
    /// Bytes after which the chunk is cut.
    cut_at: usize,
    /// Native pixels that are passing: how they lie, and how many have passed.
    native: Option<(NativeLayout, u64)>,
    in_pixels: bool,
    /// Where the chunk at hand begins in the dataset.
    dataset_offset: u64,
    /// Where the next sealed one begins in the record.
    record_offset: u64,
    cut_chunks: u32,
    chunks: Vec<ChunkEntry>,
    pixel_digest: Option<Box<blake3::Hasher>>,
}

/// How the chunks of a record are made.
pub(crate) struct Cutting {
    pub(crate) chunk_size_bytes: usize,
    pub(crate) zstd_level: i32,
    pub(crate) compress_fragments: bool,
    pub(crate) compress_header: bool,
}

impl Chunker {
    pub(crate) fn new(record_id: RecordId, cipher: Aes256Gcm, cutting: &Cutting) -> Self {
        Self {
            record_id,
            cipher,
            hand_over: None,
            chunk_size_bytes: cutting.chunk_size_bytes,
            zstd_level: cutting.zstd_level,
            compress_fragments: cutting.compress_fragments,
            compress_header: cutting.compress_header,
            class: Class::Header,
            buffer: ChunkBuffer::new(cutting.chunk_size_bytes),
            cut_at: cutting.chunk_size_bytes,
            native: None,
            in_pixels: false,
            dataset_offset: 0,
            record_offset: 0,
            cut_chunks: 0,
            chunks: Vec::new(),
            pixel_digest: None,
        }
    }

    /// Has long chunks sealed by helpers where there are free ones.
    pub(crate) fn help_by(&mut self, helpers: Arc<dyn Helpers>) {
        self.hand_over = Some(HandOver::new(helpers));
    }

    /// Hashes pixels that do not pass through the chunks as such (deflated datasets).
    pub(crate) fn digest_pixels(&mut self, bytes: &[u8]) {
        self.pixel_digest.get_or_insert_default().update(bytes);
    }

    /// Takes the next bytes of the dataset; full chunks go to `out`.
    pub(crate) fn take(&mut self, class: Class, mut bytes: &[u8], out: &mut Vec<u8>) {
        if class != self.class {
            if !self.buffer.is_empty() {
                self.seal(false, out);
            }
            self.class = class;
        }
        while !bytes.is_empty() {
            // A full chunk has waited for the byte after it: it might have been the last.
            if self.buffer.filled >= self.cut_at {
                self.seal(false, out);
            }
            if self.buffer.is_empty() {
                self.plan();
            }
            let space = self.space();
            let (now, later) = bytes.split_at(bytes.len().min(space.len()));
            space[..now.len()].copy_from_slice(now);
            self.buffer.filled += now.len();
            bytes = later;
        }
    }

    /// What is left of the chunk at hand. Bytes may be read straight into it: see [`Chunker::arrived`].
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.buffer.bytes.get_mut(self.buffer.filled..self.cut_at).unwrap_or_default()
    }

    /// Bulk was put into the first `bytes` of [`Chunker::space`]; gives them back to be looked at.
    pub(crate) fn arrived(&mut self, span: Span, bytes: usize) -> &[u8] {
        let start = self.buffer.filled;
        self.buffer.filled = (start + bytes).min(self.cut_at);
        let arrived = self.buffer.bytes.get(start..self.buffer.filled).unwrap_or_default();
        if span == Span::Pixels && self.native.is_none() {
            self.pixel_digest.get_or_insert_default().update(arrived);
        }
        arrived
    }

    /// True while bulk of this kind goes on with the chunk at hand, and so may go straight into [`Chunker::space`].
    /// Not when that is full: it must wait, and what comes next lands elsewhere.
    pub(crate) fn goes_on_with(&self, span: Span) -> bool {
        let same_kind = if span == Span::Pixels { self.in_pixels } else { self.native.is_none() };
        let in_midst = (1..self.cut_at).contains(&self.buffer.filled);
        self.class == Class::Bulk && in_midst && same_kind
    }

    /// What follows native pixels without a head between (bytes that pass unread) shares no chunk with them.
    fn leave_native(&mut self, out: &mut Vec<u8>) {
        if self.native.is_some() {
            if !self.buffer.is_empty() {
                self.seal(false, out);
            }
            self.native = None;
            self.in_pixels = false;
        }
    }

    /// Decides where the chunk that begins now is to end.
    fn plan(&mut self) {
        let max = self.chunk_size_bytes as u64;
        let bytes = match &self.native {
            Some((layout, position)) if self.class == Class::Bulk => layout.chunk_bytes(*position, max),
            _ => max,
        };
        self.cut_at = usize::try_from(bytes.clamp(1, max)).unwrap_or(self.chunk_size_bytes);
    }

    fn level(&self) -> Option<i32> {
        let worthwhile = match self.class {
            Class::Header => self.compress_header,
            Class::Bulk => self.compress_fragments || !self.in_pixels || self.native.is_some(),
        };
        worthwhile.then_some(self.zstd_level)
    }

    fn seal(&mut self, last: bool, out: &mut Vec<u8>) {
        let work = self.cut(last);
        match &mut self.hand_over {
            Some(hand_over) if !hand_over.is_idle() || HandOver::suits(&work) => {
                hand_over.take(work, &self.cipher);
            }
            _ => {
                let entry = work.seal(&self.cipher, out);
                self.enter(entry);
            }
        }
        while let Some(entry) = self.hand_over.as_mut().and_then(|hand_over| hand_over.next(last, out)) {
            self.enter(entry);
        }
    }

    /// Takes the chunk at hand off, so that the next one can begin.
    fn cut(&mut self, last: bool) -> ChunkWork {
        let raw = std::mem::replace(&mut self.buffer, ChunkBuffer::new(self.chunk_size_bytes));
        let raw_bytes = raw.filled as u64;
        let is_native = self.class == Class::Bulk && self.native.is_some();
        if is_native {
            // Nothing but samples is in it. Hashed at once, BLAKE3 has work for every lane.
            self.pixel_digest.get_or_insert_default().update(raw.filled());
        }
        let work = ChunkWork {
            record_id: self.record_id,
            number: self.cut_chunks,
            last,
            class: self.class,
            dataset_offset: self.dataset_offset,
            shape: self.shape(),
            level: self.level(),
            raw,
        };
        self.cut_chunks = self.cut_chunks.saturating_add(1);
        self.dataset_offset += raw_bytes;
        if let Some((_, position)) = &mut self.native
            && self.class == Class::Bulk
        {
            *position += raw_bytes;
        }
        work
    }

    /// Notes a sealed chunk, in its turn.
    fn enter(&mut self, entry: ChunkEntry) {
        let record_offset = self.record_offset;
        self.record_offset += u64::from(entry.sealed_bytes);
        self.chunks.push(ChunkEntry { record_offset, ..entry });
    }

    fn shape(&self) -> Option<SampleShape> {
        let (layout, _) = self.native.as_ref().filter(|_| self.class == Class::Bulk)?;
        Some(SampleShape {
            sample_bytes: layout.sample_bytes,
            big_endian: layout.big_endian,
            signed: layout.signed,
            row_bytes: u32::try_from(layout.row_bytes).unwrap_or(0),
            components: layout.components,
            plane_coders: Vec::new(),
        })
    }

    /// Seals what is left as the last chunk; a dataset without a byte has one empty chunk.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Finished {
        self.seal(true, out);
        Finished {
            cipher: self.cipher,
            chunks: self.chunks,
            record_offset: self.record_offset,
            pixel_digest: self.pixel_digest.map(|digest| digest.finalize().into()),
        }
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        let under_way = self.hand_over.as_ref().map_or(0, HandOver::under_way);
        (1 + under_way) * self.buffer.bytes.len() + self.chunks.capacity() * size_of::<ChunkEntry>()
    }
}

pub(crate) struct Finished {
    pub(crate) cipher: Aes256Gcm,
    pub(crate) chunks: Vec<ChunkEntry>,
    pub(crate) record_offset: u64,
    pub(crate) pixel_digest: Option<[u8; 32]>,
}

/// The chunker as the scanner's sink, with the place sealed chunks go to.
pub(crate) struct Sealing<'a> {
    pub(crate) chunker: &'a mut Chunker,
    pub(crate) out: &'a mut Vec<u8>,
}

impl Sink for Sealing<'_> {
    fn bytes(&mut self, span: Span, bytes: &[u8]) {
        match span {
            Span::Header => {
                self.chunker.take(Class::Header, bytes, self.out);
                self.chunker.native = None;
                self.chunker.in_pixels = false;
            }
            Span::Bulk => {
                self.chunker.leave_native(self.out);
                self.chunker.take(Class::Bulk, bytes, self.out);
            }
            Span::Pixels => {
                if self.chunker.native.is_none() {
                    self.chunker.digest_pixels(bytes);
                }
                self.chunker.in_pixels = true;
                self.chunker.take(Class::Bulk, bytes, self.out);
            }
        }
    }

    fn native_begins(&mut self, layout: NativeLayout) {
        self.chunker.native = Some((layout, 0));
    }

    fn fragment_begins(&mut self) {
        self.chunker.in_pixels = true;
        if self.chunker.class == Class::Bulk && self.chunker.buffer.filled >= FRAGMENT_CHUNK_BYTES_MIN {
            self.chunker.cut_at = self.chunker.buffer.filled;
        }
    }
}
