//! Gathers what a pack's footer will say while the caller writes the records.

use std::collections::BTreeMap;

use filmgate_model::{PackId, SiteId, StudyKeyId, Timestamp, tags};
use sha2::{Digest, Sha256};

use super::{
    FOOTER_BLOCK_BYTES_MAX, METADATA_JSON_BYTES_MAX,
    entry::Entry,
    frame::{
        BLOCK_HEAD_BYTES, BlockHead, PACK_HEADER_BYTES, PACK_TRAILER_BYTES, PackHeader, PackKeys, PackKind,
        PackTrailer, block_associated, counter_nonce, footer_digest,
    },
};
use crate::{
    aead::{self, TAG_BYTES},
    codec,
    key::{KEY_BYTES, RecordKey},
    record::RecordTable,
};

const ZSTD_LEVEL: i32 = 1;

/// Writes a pack around records: the header first, then the records by the caller at the offsets [`PackWriter::add`]
/// gives, one behind the other, then what [`PackWriter::finish`] gives.
///
/// Holds the sealed footer so far and one block of each series that is still open, never a record.
pub struct PackWriter {
    header: PackHeader,
    keys: PackKeys,
    metadata_generator: u32,
    /// Where the next record begins.
    offset: u64,
    records: u32,
    open: BTreeMap<Vec<u8>, Vec<u8>>,
    footer: Vec<u8>,
    blocks: u32,
    /// The block sealed next is held back until it is known whether it is the last.
    held: Option<Block>,
    digest: Sha256,
}

struct Block {
    raw: Vec<u8>,
    continues: bool,
}

impl PackWriter {
    /// A pack without records, and its header's bytes. `study_key` is what a reader will need.
    ///
    /// A pack id is for one pack: the keys of its footer are made from it. A pack that failed is made anew under another.
    #[must_use]
    pub fn new(
        pack_id: PackId,
        site_id: SiteId,
        study_key_id: StudyKeyId,
        study_key: &[u8; KEY_BYTES],
        created_at: Timestamp,
        kind: PackKind,
    ) -> (Self, Vec<u8>) {
        let header = PackHeader { pack_id, site_id, study_key_id, created_at, kind };
        let writer = Self {
            header,
            keys: PackKeys::derive(study_key, pack_id),
            metadata_generator: 0,
            offset: PACK_HEADER_BYTES as u64,
            records: 0,
            open: BTreeMap::new(),
            footer: Vec::new(),
            blocks: 0,
            held: None,
            digest: footer_digest(&header),
        };
        (writer, header.to_bytes().to_vec())
    }

    /// Stamps the metadata of records added from now on with the version of what generated it.
    pub fn stamp_metadata(&mut self, generator: u32) {
        self.metadata_generator = generator;
    }

    /// Enters a record; where in the pack its `table.record_bytes` bytes belong is returned.
    pub fn add(&mut self, table: &RecordTable, key: &RecordKey, metadata_json: &[u8]) -> u64 {
        let offset = self.offset;
        let (metadata_generator, metadata_json) = match metadata_json.len() {
            0..=METADATA_JSON_BYTES_MAX => (self.metadata_generator, metadata_json),
            _ => (0, &[][..]),
        };
        let entry = Entry { number: self.records, offset, table, key, metadata_generator, metadata_json };
        let bytes = entry.to_bytes(&self.header, &self.keys);
        let series = table.facts.raw(tags::SERIES_INSTANCE_UID).unwrap_or_default().to_vec();
        self.enter(series, &bytes);
        self.offset = offset.saturating_add(table.record_bytes);
        self.records += 1;
        offset
    }

    /// Bytes of header and records so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Entries of one series share blocks; one too long for a block fills several of its own.
    fn enter(&mut self, series: Vec<u8>, entry: &[u8]) {
        let open = self.open.entry(series).or_default();
        if open.len() + entry.len() <= FOOTER_BLOCK_BYTES_MAX {
            return open.extend_from_slice(entry);
        }
        let full = std::mem::take(open);
        if entry.len() <= FOOTER_BLOCK_BYTES_MAX {
            open.extend_from_slice(entry);
            return self.push_block(full, false);
        }
        if !full.is_empty() {
            self.push_block(full, false);
        }
        let pieces = entry.len().div_ceil(FOOTER_BLOCK_BYTES_MAX);
        for (number, piece) in (1..).zip(entry.chunks(FOOTER_BLOCK_BYTES_MAX)) {
            self.push_block(piece.to_vec(), number < pieces);
        }
    }

    fn push_block(&mut self, raw: Vec<u8>, continues: bool) {
        if let Some(held) = self.held.replace(Block { raw, continues }) {
            self.seal_block(held, false);
        }
    }

    fn seal_block(&mut self, block: Block, last: bool) {
        let mut packed = Vec::new();
        let codec = codec::encode(&block.raw, Some(ZSTD_LEVEL), &mut packed);
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let head = BlockHead {
            codec,
            last,
            continues: block.continues,
            raw_bytes: length(block.raw.len()),
            sealed_bytes: length(packed.len() + TAG_BYTES),
        };
        let associated = block_associated(&self.header, &head, self.blocks);
        let start = self.footer.len();
        self.footer.extend_from_slice(&head.to_bytes());
        self.footer.append(&mut packed);
        let nonce = counter_nonce(self.blocks);
        let body = start + BLOCK_HEAD_BYTES;
        aead::seal_tail(&self.keys.blocks.cipher(), nonce, &associated, &mut self.footer, body);
        self.digest.update(self.footer.get(start..).unwrap_or_default());
        self.blocks += 1;
    }

    /// Footer blocks and trailer: what stands behind the last record.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        for (_, raw) in std::mem::take(&mut self.open) {
            if !raw.is_empty() {
                self.push_block(raw, false);
            }
        }
        let held = self.held.take().unwrap_or(Block { raw: Vec::new(), continues: false });
        self.seal_block(held, true);
        let footer_bytes = self.footer.len() as u64;
        let trailer = PackTrailer {
            blocks: self.blocks,
            records: self.records,
            footer_bytes,
            pack_bytes: self.offset.saturating_add(footer_bytes).saturating_add(PACK_TRAILER_BYTES as u64),
            digest: self.digest.finalize().into(),
        };
        let mut out = self.footer;
        out.extend_from_slice(&trailer.to_bytes());
        out
    }
}
