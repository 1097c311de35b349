//! What a footer says of one record.

use filmgate_model::RecordId;

use super::{
    frame::{PackHeader, PackKeys, counter_nonce, record_key_associated},
    reader::PackedRecord,
};
use crate::{
    error::{Error, malformed},
    key::{self, RecordKey, WRAPPED_KEY_BYTES},
    record::{RecordTable, table_codec},
    wire::{Reader, put_bytes, put_varint},
};

const WHAT: &str = "footer entry";

/// Bytes in front of each entry that say how long it is.
pub(super) const LENGTH_BYTES: usize = 4;

/// A record as it stands in a pack.
pub(super) struct Entry<'a> {
    pub(super) number: u32,
    pub(super) offset: u64,
    pub(super) table: &'a RecordTable,
    pub(super) key: &'a RecordKey,
    pub(super) metadata_generator: u32,
    pub(super) metadata_json: &'a [u8],
}

impl Entry<'_> {
    /// Its bytes, with its length in front.
    pub(super) fn to_bytes(&self, header: &PackHeader, keys: &PackKeys) -> Vec<u8> {
        let record_id = self.table.record_id;
        let wrapped = key::wrap_with_nonce(
            &keys.records,
            self.key.as_bytes(),
            &record_key_associated(header, record_id),
            counter_nonce(self.number),
        );
        let table = table_codec::encode(self.table);
        let mut out = vec![0; LENGTH_BYTES];
        out.extend_from_slice(record_id.as_bytes());
        put_varint(&mut out, self.offset);
        put_varint(&mut out, self.table.record_bytes);
        out.extend_from_slice(&wrapped);
        put_bytes(&mut out, &table);
        put_varint(&mut out, self.metadata_generator.into());
        put_bytes(&mut out, self.metadata_json);
        let length = u32::try_from(out.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
        if let Some(place) = out.first_chunk_mut() {
            *place = length.to_le_bytes();
        }
        out
    }
}

/// Reads an entry, without the length in front.
pub(super) fn read(bytes: &[u8], header: &PackHeader, keys: &PackKeys) -> Result<PackedRecord, Error> {
    let mut reader = Reader::new(WHAT, bytes);
    let record_id = RecordId(reader.array()?);
    let offset = reader.varint()?;
    let record_bytes = reader.varint()?;
    let wrapped: [u8; WRAPPED_KEY_BYTES] = reader.array()?;
    let mut table = table_codec::decode(reader.bytes()?, 0)?;
    if table.record_id != record_id || table.record_bytes > record_bytes {
        return Err(malformed(WHAT, "table is not that of its record"));
    }
    table.record_bytes = record_bytes;
    let key = key::unwrap_key(&keys.records, &wrapped, &record_key_associated(header, record_id))?;
    let metadata_generator = reader.varint_u32()?;
    let metadata_json = reader.bytes()?.to_vec();
    reader.end()?;
    let key = RecordKey::from_bytes(*key);
    Ok(PackedRecord { record_id, offset, table, key, metadata_generator, metadata_json })
}
