//! The table's bytes: numbered fields, see FORMAT.md.

mod decode;
mod encode;

pub(crate) use decode::decode;
pub(crate) use encode::encode;

mod field {
    pub(super) const RECORD_ID: u64 = 1;
    pub(super) const PROVENANCE: u64 = 2;
    pub(super) const FACTS: u64 = 3;
    pub(super) const READING: u64 = 4;
    pub(super) const ODDITIES: u64 = 5;
    pub(super) const DATASET: u64 = 6;
    pub(super) const PIXEL_DIGEST: u64 = 7;
    pub(super) const CHUNKS: u64 = 8;
    pub(super) const BULK_VALUES: u64 = 9;
    pub(super) const PIXEL_DATA: u64 = 10;
}

mod digest {
    pub(super) const BLAKE3: u8 = 1;
}

mod chunk_flag {
    pub(super) const BULK: u8 = 1;
    pub(super) const SHAPE: u8 = 2;
    pub(super) const ALL: u8 = BULK | SHAPE;
}

mod sample_flag {
    pub(super) const BIG_ENDIAN: u8 = 1;
    pub(super) const SIGNED: u8 = 2;
    pub(super) const ALL: u8 = BIG_ENDIAN | SIGNED;
}
