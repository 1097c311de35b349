//! Cuts a dataset into chunks and seals each as soon as the next byte is known not to belong to it.

use aes_gcm::Aes256Gcm;
use filmgate_model::RecordId;
use sha2::{Digest, Sha256};

use super::{
    associated::{Associated, Domain},
    table::{ChunkEntry, Class, SampleShape},
};
use crate::{
    aead,
    codec::{self, Codec},
    scan::{Sink, Span, pixel::NativeLayout},
};

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
    buffer: Vec<u8>,
    /// Bytes after which the chunk is cut.
    cut_at: usize,
    /// Native pixels that are passing: how they lie, and how many have passed.
    native: Option<(NativeLayout, u64)>,
    in_pixels: bool,
    dataset_offset: u64,
    record_offset: u64,
    chunks: Vec<ChunkEntry>,
    pixel_digest: Option<Sha256>,
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
            buffer: Vec::new(),
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
            // A full chunk waits for the byte after it: it might be the last.
            if self.buffer.len() >= self.cut_at {
                self.seal(false, out);
            }
            if self.buffer.is_empty() {
                self.plan();
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.cut_at - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
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
        let codec = codec::encode(&self.buffer, self.level(), out);
        let raw_bytes = u32::try_from(self.buffer.len()).unwrap_or(u32::MAX);
        let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let associated =
            Associated { domain: Domain::Chunk, record_id: self.record_id, number, last, codec, raw_bytes };
        aead::seal_tail(&self.cipher, associated.nonce(), &associated.bytes(), out, start);
        let sealed_bytes = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        self.chunks.push(self.entry(codec, raw_bytes, sealed_bytes, last));
        self.dataset_offset += u64::from(raw_bytes);
        self.record_offset += u64::from(sealed_bytes);
        if let Some((_, position)) = &mut self.native
            && self.class == Class::Bulk
        {
            *position += u64::from(raw_bytes);
        }
        self.buffer.clear();
    }

    fn entry(&self, codec: Codec, raw_bytes: u32, sealed_bytes: u32, last: bool) -> ChunkEntry {
        let shape =
            self.native.as_ref().filter(|_| self.class == Class::Bulk).map(|(layout, _)| SampleShape {
                sample_bytes: layout.sample_bytes,
                big_endian: layout.big_endian,
                row_bytes: u32::try_from(layout.row_bytes).unwrap_or(0),
                components: layout.components,
                plane_coders: Vec::new(),
            });
        ChunkEntry {
            class: self.class,
            codec,
            dataset_offset: self.dataset_offset,
            raw_bytes,
            record_offset: self.record_offset,
            sealed_bytes,
            last,
            shape,
        }
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
        self.buffer.capacity() + self.chunks.capacity() * size_of::<ChunkEntry>()
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
        if self.chunker.class == Class::Bulk && self.chunker.buffer.len() >= FRAGMENT_CHUNK_BYTES_MIN {
            self.chunker.cut_at = self.chunker.buffer.len();
        }
    }
}
