//! What each sealed piece of a record is bound to.

use filmgate_model::RecordId;

use crate::{
    aead::{NONCE_BYTES, SUITE_AES_256_GCM},
    codec::Codec,
};

/// Which counter a nonce is of.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Domain {
    Chunk = 0,
    Table = 1,
}

/// Bytes of the associated data of a chunk or table.
pub(crate) const ASSOCIATED_BYTES: usize = 28;

pub(crate) struct Associated {
    pub(crate) domain: Domain,
    pub(crate) record_id: RecordId,
    pub(crate) number: u32,
    pub(crate) last: bool,
    pub(crate) codec: Codec,
    pub(crate) raw_bytes: u32,
}

impl Associated {
    /// Domain, seven zero bytes, number: no two pieces of a record share one, and no two records share a key.
    pub(crate) fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[0] = self.domain as u8;
        nonce[8..].copy_from_slice(&self.number.to_le_bytes());
        nonce
    }

    pub(crate) fn bytes(&self) -> [u8; ASSOCIATED_BYTES] {
        let mut bytes = [0; ASSOCIATED_BYTES];
        bytes[0] = SUITE_AES_256_GCM;
        bytes[1] = self.domain as u8;
        bytes[2..18].copy_from_slice(self.record_id.as_bytes());
        bytes[18..22].copy_from_slice(&self.number.to_le_bytes());
        bytes[22] = self.last.into();
        bytes[23] = self.codec.number();
        bytes[24..].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes
    }
}
