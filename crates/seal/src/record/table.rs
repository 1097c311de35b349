//! What a record says of itself.

use filmgate_model::{Facts, Provenance, RecordId, transfer_syntax::Encoding};

use crate::{
    codec::Codec,
    scan::{BulkValue, Oddity, PixelData, Reading},
};

/// What the bytes of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Element heads and short values; the whole of a deflated dataset.
    Header = 0,
    /// Long values and pixel data.
    Bulk = 1,
}

/// How the samples in a chunk lie; what the predictor needs to undo itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SampleShape {
    /// Bytes of one sample; 0 when samples do not fill whole bytes.
    pub sample_bytes: u8,
    /// Byte order of the samples.
    pub big_endian: bool,
    /// True for samples in two's complement.
    pub signed: bool,
    /// Bytes of a row; 0 when unknown.
    pub row_bytes: u32,
    /// Samples that follow each other for one pixel; 0 when they are not equal in number.
    pub components: u8,
    /// Coder of each byte plane, the high one first; empty for the codecs without planes.
    pub plane_coders: Vec<u8>,
}

/// One chunk: where it lies in its record and what it holds of the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkEntry {
    /// What its bytes are.
    pub class: Class,
    /// How they were compressed.
    pub codec: Codec,
    /// Where they begin in the dataset.
    pub dataset_offset: u64,
    /// How many they are.
    pub raw_bytes: u32,
    /// Where the sealed chunk begins in the record.
    pub record_offset: u64,
    /// Its sealed bytes, tag included.
    pub sealed_bytes: u32,
    /// True for the last chunk of the record.
    pub last: bool,
    /// How native samples lie in it; `None` for everything else.
    pub shape: Option<SampleShape>,
}

/// Everything a record says of itself: what its sealed table holds, and its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordTable {
    /// The record.
    pub record_id: RecordId,
    /// Where the instance came from, with its group 0002.
    pub provenance: Provenance,
    /// Indexed attributes of the top level.
    pub facts: Facts,
    /// How far the dataset could be read.
    pub reading: Reading,
    /// Departures from the standard that were met.
    pub oddities: Vec<Oddity>,
    /// The encoding it was read in; `None` when it was not.
    pub encoding: Option<Encoding>,
    /// Bytes of the dataset as received.
    pub dataset_bytes: u64,
    /// SHA-256 of the dataset as received.
    pub dataset_sha256: [u8; 32],
    /// BLAKE3 of the top-level pixel data: native samples, or the fragments' content one after another without the
    /// offset table; `None` without pixels.
    pub pixel_digest: Option<[u8; 32]>,
    /// Bytes of the whole record: chunks, table, trailer.
    pub record_bytes: u64,
    /// Values longer than this were taken for bulk.
    pub non_bulk_value_bytes_max: u64,
    /// The chunks, in dataset order.
    pub chunks: Vec<ChunkEntry>,
    /// Values in Bulk chunks, in dataset order, the first [`crate::BULK_VALUES_MAX`].
    pub bulk_values: Vec<BulkValue>,
    /// What was seen of encapsulated pixel data.
    pub pixel_data: Option<PixelData>,
}

impl RecordTable {
    /// The Header chunks with their numbers, in order: together they are what [`crate::visit`] reads.
    pub fn header_chunks(&self) -> impl Iterator<Item = (u32, &ChunkEntry)> {
        self.numbered_chunks().filter(|(_, chunk)| chunk.class == Class::Header)
    }

    /// The chunks that hold any byte of a range of the dataset, with their numbers, in order.
    pub fn chunks_of(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = (u32, &ChunkEntry)> {
        self.numbered_chunks().filter(move |(_, chunk)| {
            let end = chunk.dataset_offset.saturating_add(chunk.raw_bytes.into());
            chunk.dataset_offset < range.end && range.start < end
        })
    }

    fn numbered_chunks(&self) -> impl Iterator<Item = (u32, &ChunkEntry)> {
        (0u32..).zip(&self.chunks)
    }
}
