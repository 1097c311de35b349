//! The way back: trailer, table, chunks. Everything is bounded before it is believed.

use std::ops::Range;

use aes_gcm::Aes256Gcm;
use filmgate_model::RecordId;

use super::{
    associated::{Associated, Domain},
    options::CHUNK_BYTES_MAX,
    table::{ChunkEntry, RecordTable},
    table_codec,
};
use crate::{
    aead::{self, SUITE_AES_256_GCM, TAG_BYTES, known_suite},
    codec::{self, Codec},
    error::{Error, at_most, malformed},
    key::RecordKey,
    wire::Reader,
};

/// Version of record and pack formats; 0 until they are frozen.
pub const FORMAT_VERSION: u8 = 0;

/// Bytes at the end of every record that say where its table lies.
pub const TRAILER_BYTES: usize = 16;

const TRAILER_MAGIC: &[u8; 4] = b"FGRC";

/// Version, suite, codec, reserved, raw length; then the sealed table.
const TABLE_HEAD_BYTES: usize = 8;

/// Bytes of a table at most, before compression: room for millions of chunks.
const TABLE_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Seals the table and appends it and the trailer; the table's bytes are returned.
pub(crate) fn seal_table(cipher: &Aes256Gcm, table: &RecordTable, level: i32, out: &mut Vec<u8>) -> u64 {
    let raw = table_codec::encode(table);
    let start = out.len();
    out.extend_from_slice(&[FORMAT_VERSION, SUITE_AES_256_GCM, Codec::Stored.number(), 0]);
    let raw_bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&raw_bytes.to_le_bytes());
    let body = out.len();
    let codec = codec::encode(&raw, Some(level), out);
    if let Some(place) = out.get_mut(start + 2) {
        *place = codec.number();
    }
    let associated = table_associated(table.record_id, codec, raw_bytes);
    aead::seal_tail(cipher, associated.nonce(), &associated.bytes(), out, body);
    let table_bytes = out.len() - start;
    out.extend_from_slice(TRAILER_MAGIC);
    out.extend_from_slice(&[FORMAT_VERSION, SUITE_AES_256_GCM, 0, 0]);
    out.extend_from_slice(&(table_bytes as u64).to_le_bytes());
    table_bytes as u64
}

fn table_associated(record_id: RecordId, codec: Codec, raw_bytes: u32) -> Associated {
    Associated { domain: Domain::Table, record_id, number: 0, last: true, codec, raw_bytes }
}

/// Where the sealed table lies in a record of `record_bytes` that ends in `trailer`.
///
/// # Errors
/// When the trailer is none, of a newer version, or disagrees with the record's length.
pub fn table_range(record_bytes: u64, trailer: &[u8]) -> Result<Range<u64>, Error> {
    const WHAT: &str = "record trailer";
    if trailer.len() != TRAILER_BYTES {
        return Err(malformed(WHAT, "has the wrong length"));
    }
    let mut reader = Reader::new(WHAT, trailer);
    if &reader.array()? != TRAILER_MAGIC {
        return Err(malformed(WHAT, "has no magic"));
    }
    known_version(reader.u8()?)?;
    known_suite(reader.u8()?)?;
    if reader.u16()? != 0 {
        return Err(malformed(WHAT, "reserved bytes are not zero"));
    }
    let table_bytes = reader.u64()?;
    let limit = u64::from(TABLE_BYTES_MAX) + (TABLE_HEAD_BYTES + TAG_BYTES) as u64;
    at_most("record table", table_bytes, limit)?;
    let end = record_bytes.checked_sub(TRAILER_BYTES as u64).ok_or(malformed(WHAT, "record is too short"))?;
    let start = end.checked_sub(table_bytes).ok_or(malformed(WHAT, "table is longer than its record"))?;
    Ok(start..end)
}

pub(crate) fn known_version(version: u8) -> Result<(), Error> {
    if version == FORMAT_VERSION {
        Ok(())
    } else {
        Err(Error::Newer { what: "version", number: version.into() })
    }
}

/// Opens a sealed table: the bytes of [`table_range`].
///
/// # Errors
/// When they are damaged, not this record's, not under this key, or of a newer version.
pub fn open_table(key: &RecordKey, record_id: RecordId, sealed: &[u8]) -> Result<RecordTable, Error> {
    const WHAT: &str = "record table";
    let mut reader = Reader::new(WHAT, sealed);
    known_version(reader.u8()?)?;
    known_suite(reader.u8()?)?;
    let codec = Codec::from_number(reader.u8()?)?;
    if reader.u8()? != 0 {
        return Err(malformed(WHAT, "reserved byte is not zero"));
    }
    let raw_bytes = reader.u32()?;
    at_most(WHAT, raw_bytes.into(), TABLE_BYTES_MAX.into())?;
    let associated = table_associated(record_id, codec, raw_bytes);
    let packed =
        aead::open(&key.cipher(), associated.nonce(), &associated.bytes(), reader.take(reader.remaining())?)?;
    let raw = codec::decode(codec, packed, raw_bytes as usize)?;
    let table = table_codec::decode(&raw, (sealed.len() + TRAILER_BYTES) as u64)?;
    if table.record_id == record_id { Ok(table) } else { Err(malformed(WHAT, "is another record's")) }
}

/// Opens a chunk: the dataset's bytes from `entry.dataset_offset` on.
///
/// # Errors
/// When it is damaged, another chunk, another record's, not under this key, or in a codec of a newer version.
pub fn open_chunk(
    key: &RecordKey,
    record_id: RecordId,
    chunk_number: u32,
    entry: &ChunkEntry,
    sealed: &[u8],
) -> Result<Vec<u8>, Error> {
    at_most("chunk", entry.raw_bytes.into(), CHUNK_BYTES_MAX.into())?;
    if sealed.len() as u64 != u64::from(entry.sealed_bytes) {
        return Err(malformed("chunk", "has another length than its entry says"));
    }
    let associated = Associated {
        domain: Domain::Chunk,
        record_id,
        number: chunk_number,
        last: entry.last,
        codec: entry.codec,
        raw_bytes: entry.raw_bytes,
    };
    let packed = aead::open(&key.cipher(), associated.nonce(), &associated.bytes(), sealed)?;
    codec::decode_samples(entry.codec, packed, entry.raw_bytes as usize, entry.shape.as_ref())
}

/// Opens a whole record that is at hand: its table, and its dataset as received.
///
/// # Errors
/// As [`open_table`] and [`open_chunk`]; also when the dataset is not the one whose SHA-256 the table holds.
pub fn open_record(
    key: &RecordKey,
    record_id: RecordId,
    record: &[u8],
) -> Result<(RecordTable, Vec<u8>), Error> {
    use sha2::{Digest, Sha256};
    let cut = malformed("record", "ends early");
    let trailer =
        record.len().checked_sub(TRAILER_BYTES).and_then(|start| record.get(start..)).ok_or(cut.clone())?;
    let slice = |range: Range<u64>| {
        let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
        record.get(start..end)
    };
    let sealed_table = slice(table_range(record.len() as u64, trailer)?).ok_or(cut.clone())?;
    let table = open_table(key, record_id, sealed_table)?;
    let mut dataset = Vec::new();
    for (number, chunk) in (0u32..).zip(&table.chunks) {
        let end = chunk.record_offset.saturating_add(chunk.sealed_bytes.into());
        let sealed = slice(chunk.record_offset..end).ok_or(cut.clone())?;
        dataset.append(&mut open_chunk(key, record_id, number, chunk, sealed)?);
    }
    let digest: [u8; 32] = Sha256::digest(&dataset).into();
    if digest == table.dataset_sha256 { Ok((table, dataset)) } else { Err(Error::Forged) }
}
