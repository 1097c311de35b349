//! Lists what a pack holds from its footer.

use std::ops::Range;

use filmgate_model::{PackId, RecordId, SiteId, StudyKeyId, Timestamp};
use sha2::{Digest, Sha256};

use super::{
    FOOTER_BLOCK_BYTES_MAX, FOOTER_ENTRY_BYTES_MAX, entry,
    entry::LENGTH_BYTES,
    frame::{
        BLOCK_HEAD_BYTES, BlockHead, PACK_HEADER_BYTES, PACK_TRAILER_BYTES, PackHeader, PackKeys, PackKind,
        PackTrailer, block_associated, counter_nonce, footer_digest, pack_trailer,
    },
};
use crate::{
    aead::{self, TAG_BYTES},
    codec,
    error::{Error, at_most, malformed},
    key::{KEY_BYTES, RecordKey},
    record::RecordTable,
    wire::Reader,
};

const WHAT: &str = "pack footer";

/// A record as a pack's footer gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedRecord {
    /// The record.
    pub record_id: RecordId,
    /// Where it begins in the pack; it is `table.record_bytes` long.
    pub offset: u64,
    /// Its table.
    pub table: RecordTable,
    /// Its key.
    pub key: RecordKey,
    /// Version of what generated the metadata.
    pub metadata_generator: u32,
    /// Its DICOM JSON metadata.
    pub metadata_json: Vec<u8>,
}

/// Everything a pack's footer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFooter {
    /// The pack.
    pub pack_id: PackId,
    /// The site it belongs to.
    pub site_id: SiteId,
    /// The key it was opened with.
    pub study_key_id: StudyKeyId,
    /// When it was begun.
    pub created_at: Timestamp,
    /// What it is for.
    pub kind: PackKind,
    /// Its records, block by block: those of one series stand together in a block, in the order they were added.
    pub records: Vec<PackedRecord>,
}

/// Where footer and trailer lie in a pack of `pack_bytes` that ends in `trailer` ([`PACK_TRAILER_BYTES`]).
///
/// # Errors
/// When the trailer is no pack's, of a newer version, or of a pack of another length.
pub fn footer_range(pack_bytes: u64, trailer: &[u8]) -> Result<Range<u64>, Error> {
    let read = pack_trailer(trailer)?;
    if read.pack_bytes != pack_bytes {
        return Err(malformed("pack trailer", "pack has another length"));
    }
    let start = pack_bytes.saturating_sub(read.footer_bytes + PACK_TRAILER_BYTES as u64);
    Ok(start..pack_bytes)
}

/// Opens a footer that is at hand: the bytes of [`footer_range`], trailer included.
///
/// # Errors
/// When they are damaged, cut, another pack's, not under this key, or of a newer version.
pub fn open_footer(
    study_key: &[u8; KEY_BYTES],
    header: &PackHeader,
    footer: &[u8],
) -> Result<PackFooter, Error> {
    let cut = malformed(WHAT, "ends early");
    let end = footer.len().checked_sub(PACK_TRAILER_BYTES).ok_or(cut.clone())?;
    let (blocks, trailer) = footer.split_at_checked(end).ok_or(cut)?;
    let mut reader = FooterBlocks::new(study_key, header, trailer)?;
    let mut records = Vec::new();
    let mut rest = blocks;
    while !reader.is_finished() {
        let (head, after) = rest.split_first_chunk().ok_or(malformed(WHAT, "ends early"))?;
        let length = FooterBlocks::sealed_bytes(head)?;
        let (sealed, after) = after.split_at_checked(length).ok_or(malformed(WHAT, "ends early"))?;
        records.append(&mut reader.open(head, sealed)?);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(malformed(WHAT, "bytes left over"));
    }
    Ok(PackFooter {
        pack_id: header.pack_id,
        site_id: header.site_id,
        study_key_id: header.study_key_id,
        created_at: header.created_at,
        kind: header.kind,
        records,
    })
}

/// Opens a footer block by block, so that no more than one of them has to be at hand.
///
/// Read [`FooterBlocks::HEAD_BYTES`], ask [`FooterBlocks::sealed_bytes`] how many follow, give both to
/// [`FooterBlocks::open`], until [`FooterBlocks::is_finished`].
pub struct FooterBlocks {
    header: PackHeader,
    keys: PackKeys,
    trailer: PackTrailer,
    number: u32,
    records: u32,
    footer_bytes: u64,
    is_finished: bool,
    /// An entry that goes on in the next block.
    unfinished: Vec<u8>,
    digest: Sha256,
}

impl FooterBlocks {
    /// Bytes in front of each block.
    pub const HEAD_BYTES: usize = BLOCK_HEAD_BYTES;

    /// A reader of the footer that begins where [`footer_range`] says.
    ///
    /// # Errors
    /// When the trailer is no pack's or of a newer version.
    pub fn new(study_key: &[u8; KEY_BYTES], header: &PackHeader, trailer: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            header: *header,
            keys: PackKeys::derive(study_key, header.pack_id),
            trailer: pack_trailer(trailer)?,
            number: 0,
            records: 0,
            footer_bytes: 0,
            is_finished: false,
            unfinished: Vec::new(),
            digest: footer_digest(header),
        })
    }

    /// How many sealed bytes follow a block's head.
    ///
    /// # Errors
    /// When it is no head, or the block is too long.
    pub fn sealed_bytes(head: &[u8; BLOCK_HEAD_BYTES]) -> Result<usize, Error> {
        let head = BlockHead::from_bytes(*head)?;
        let limit = (FOOTER_BLOCK_BYTES_MAX + TAG_BYTES) as u64;
        at_most("footer block", head.raw_bytes.into(), FOOTER_BLOCK_BYTES_MAX as u64)?;
        at_most("sealed footer block", head.sealed_bytes.into(), limit)?;
        Ok(head.sealed_bytes as usize)
    }

    /// True when the last block has been opened and all agreed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Opens the next block; the records that it completes are returned.
    ///
    /// # Errors
    /// When it is damaged, not the next one, another pack's, not under this key, or of a newer version; at the last one
    /// also when the footer as a whole is not what the trailer says.
    pub fn open(&mut self, head: &[u8; BLOCK_HEAD_BYTES], sealed: &[u8]) -> Result<Vec<PackedRecord>, Error> {
        if Self::sealed_bytes(head)? != sealed.len() || self.is_finished {
            return Err(malformed(WHAT, "block has another length than its head says"));
        }
        self.digest.update(head);
        self.digest.update(sealed);
        self.footer_bytes += (head.len() + sealed.len()) as u64;
        let head = BlockHead::from_bytes(*head)?;
        let associated = block_associated(&self.header, &head, self.number);
        let packed = aead::open(&self.keys.blocks.cipher(), counter_nonce(self.number), &associated, sealed)?;
        let raw = codec::decode(head.codec, packed, head.raw_bytes as usize)?;
        self.number = self.number.checked_add(1).ok_or(malformed(WHAT, "too many blocks"))?;
        let records = self.read_entries(&raw, head.continues)?;
        self.records = self.records.saturating_add(u32::try_from(records.len()).unwrap_or(u32::MAX));
        if head.last {
            self.finish()?;
        }
        Ok(records)
    }

    fn read_entries(&mut self, raw: &[u8], continues: bool) -> Result<Vec<PackedRecord>, Error> {
        let joined;
        let mut bytes = raw;
        if continues || !self.unfinished.is_empty() {
            at_most(
                "footer entry",
                (self.unfinished.len() + raw.len()) as u64,
                FOOTER_ENTRY_BYTES_MAX as u64,
            )?;
            self.unfinished.extend_from_slice(raw);
            if continues {
                return Ok(Vec::new());
            }
            joined = std::mem::take(&mut self.unfinished);
            bytes = &joined;
        }
        let mut reader = Reader::new("footer entry", bytes);
        let mut records = Vec::new();
        while !reader.is_empty() {
            let length = u32::from_le_bytes(reader.array::<LENGTH_BYTES>()?);
            let record = entry::read(reader.take(length as usize)?, &self.header, &self.keys)?;
            self.check_place(&record)?;
            records.push(record);
        }
        Ok(records)
    }

    /// A record lies between header and footer.
    fn check_place(&self, record: &PackedRecord) -> Result<(), Error> {
        let around = self.trailer.footer_bytes + PACK_TRAILER_BYTES as u64;
        let end = record.offset.checked_add(record.table.record_bytes);
        let inside = record.offset >= PACK_HEADER_BYTES as u64
            && end.is_some_and(|end| end <= self.trailer.pack_bytes.saturating_sub(around));
        if inside { Ok(()) } else { Err(malformed("footer entry", "record lies outside its pack")) }
    }

    fn finish(&mut self) -> Result<(), Error> {
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        let agrees = digest == self.trailer.digest
            && self.number == self.trailer.blocks
            && self.records == self.trailer.records
            && self.footer_bytes == self.trailer.footer_bytes
            && self.unfinished.is_empty();
        self.is_finished = agrees;
        if agrees { Ok(()) } else { Err(malformed(WHAT, "is not what the trailer says")) }
    }
}
