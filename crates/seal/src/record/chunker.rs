//! Cuts a dataset into chunks and seals each as soon as the next byte is known not to belong to it.

use std::cell::Cell;

use super::{
    associated::{Associated, Domain},
    table::{ChunkEntry, Class, SampleShape},
};
use crate::{
    aead, codec,
    scan::{Sink, Span, pixel::NativeLayout},
};
use aes_gcm::Aes256Gcm;
use filmgate_model::RecordId;

/// A fragment begins a chunk of its own when the chunk before holds this much: smaller ones share.
pub(crate) const FRAGMENT_CHUNK_BYTES_MIN: usize = 32 * 1024;

pub(crate) struct Chunker {
    record_id: RecordId,
    cipher: Aes256Gcm,
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
    dataset_offset: u64,
    record_offset: u64,
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
            chunks: Vec::new(),
            pixel_digest: None,
        }
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
        if span == Span::Pixels {
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
        let start = out.len();
        let mut shape = self.shape();
        let codec = match (&mut shape, self.level()) {
            (Some(shape), Some(level)) => codec::encode_samples(self.buffer.filled(), shape, level, out),
            (_, level) => codec::encode(self.buffer.filled(), level, out),
        };
        let raw_bytes = u32::try_from(self.buffer.filled).unwrap_or(u32::MAX);
        let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let associated =
            Associated { domain: Domain::Chunk, record_id: self.record_id, number, last, codec, raw_bytes };
        aead::seal_tail(&self.cipher, associated.nonce(), &associated.bytes(), out, start);
        let sealed_bytes = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        self.chunks.push(ChunkEntry {
            class: self.class,
            codec,
            dataset_offset: self.dataset_offset,
            raw_bytes,
            record_offset: self.record_offset,
            sealed_bytes,
            last,
            shape,
        });
        self.dataset_offset += u64::from(raw_bytes);
        self.record_offset += u64::from(sealed_bytes);
        if let Some((_, position)) = &mut self.native
            && self.class == Class::Bulk
        {
            *position += u64::from(raw_bytes);
        }
        self.buffer.filled = 0;
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
        self.buffer.bytes.len() + self.chunks.capacity() * size_of::<ChunkEntry>()
    }
}

/// The raw bytes of the chunk that is arriving.
///
/// The room is a whole chunk's from the start, so that a socket can read into it; a thread keeps the last one it used,
/// since most records need one after the other.
struct ChunkBuffer {
    bytes: Box<[u8]>,
    filled: usize,
}

thread_local! {
    static SPARE: Cell<Box<[u8]>> = Cell::default();
}

impl ChunkBuffer {
    fn new(bytes: usize) -> Self {
        let spare = SPARE.take();
        let bytes = if spare.len() == bytes { spare } else { vec![0; bytes].into_boxed_slice() };
        Self { bytes, filled: 0 }
    }

    fn is_empty(&self) -> bool {
        self.filled == 0
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for ChunkBuffer {
    fn drop(&mut self) {
        SPARE.set(std::mem::take(&mut self.bytes));
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
                self.chunker.digest_pixels(bytes);
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
