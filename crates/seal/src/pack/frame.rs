//! The two ends of a pack, and the keys and bindings of what is sealed between them.

use filmgate_model::{PackId, RecordId, SiteId, StudyKeyId, Timestamp};
use sha2::{Digest, Sha256};

use crate::{
    aead::{NONCE_BYTES, SUITE_AES_256_GCM, known_suite},
    codec::Codec,
    error::{Error, malformed},
    key::{KEY_BYTES, WrappingKey},
    record::{FORMAT_VERSION, open::known_version},
    wire::Reader,
};

/// Bytes of a pack's header.
pub const PACK_HEADER_BYTES: usize = 64;

/// Bytes of a pack's trailer.
pub const PACK_TRAILER_BYTES: usize = 64;

const HEADER_MAGIC: &[u8; 4] = b"FGPK";
const TRAILER_MAGIC: &[u8; 4] = b"FGPE";

/// What a pack is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PackKind {
    /// Records of one study.
    Study = 1,
    /// Records that could not be understood.
    Quarantine = 2,
}

/// The first bytes of a pack: what it is and under which key. Bound to every footer block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    /// The pack.
    pub pack_id: PackId,
    /// The site it belongs to.
    pub site_id: SiteId,
    /// The key its footer is sealed under.
    pub study_key_id: StudyKeyId,
    /// When it was begun.
    pub created_at: Timestamp,
    /// What it is for.
    pub kind: PackKind,
}

impl PackHeader {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PACK_HEADER_BYTES] {
        let mut bytes = [0; PACK_HEADER_BYTES];
        bytes[..4].copy_from_slice(HEADER_MAGIC);
        bytes[4..8].copy_from_slice(&[FORMAT_VERSION, SUITE_AES_256_GCM, self.kind as u8, 0]);
        bytes[8..24].copy_from_slice(self.pack_id.as_bytes());
        bytes[24..40].copy_from_slice(self.site_id.as_bytes());
        bytes[40..56].copy_from_slice(self.study_key_id.as_bytes());
        bytes[56..].copy_from_slice(&self.created_at.0.to_le_bytes());
        bytes
    }
}

/// Reads the header from the first [`PACK_HEADER_BYTES`] of a pack; further bytes are not looked at.
///
/// # Errors
/// When they are no pack's, or of a newer version.
pub fn pack_header(bytes: &[u8]) -> Result<PackHeader, Error> {
    const WHAT: &str = "pack header";
    let mut reader = Reader::new(WHAT, bytes);
    if &reader.array()? != HEADER_MAGIC {
        return Err(malformed(WHAT, "has no magic"));
    }
    known_version(reader.u8()?)?;
    known_suite(reader.u8()?)?;
    let kind = match reader.u8()? {
        1 => PackKind::Study,
        2 => PackKind::Quarantine,
        number => return Err(Error::Newer { what: "pack kind", number: number.into() }),
    };
    if reader.u8()? != 0 {
        return Err(malformed(WHAT, "reserved byte is not zero"));
    }
    Ok(PackHeader {
        pack_id: PackId(reader.array()?),
        site_id: SiteId(reader.array()?),
        study_key_id: StudyKeyId(reader.array()?),
        created_at: Timestamp(i64::from_le_bytes(reader.array()?)),
        kind,
    })
}

/// The last bytes of a pack: how long its parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackTrailer {
    /// Footer blocks.
    pub blocks: u32,
    /// Records.
    pub records: u32,
    /// Bytes of all footer blocks.
    pub footer_bytes: u64,
    /// Bytes of the whole pack.
    pub pack_bytes: u64,
    /// SHA-256 over header and footer blocks.
    pub digest: [u8; 32],
}

impl PackTrailer {
    pub(super) fn to_bytes(self) -> [u8; PACK_TRAILER_BYTES] {
        let mut bytes = [0; PACK_TRAILER_BYTES];
        bytes[..4].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.records.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.footer_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.pack_bytes.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.digest);
        bytes[56] = FORMAT_VERSION;
        bytes[57] = SUITE_AES_256_GCM;
        bytes[60..].copy_from_slice(TRAILER_MAGIC);
        bytes
    }
}

/// Reads the trailer: the last [`PACK_TRAILER_BYTES`] of a pack.
///
/// # Errors
/// When they are no pack's, of a newer version, or disagree with themselves.
pub fn pack_trailer(trailer: &[u8]) -> Result<PackTrailer, Error> {
    const WHAT: &str = "pack trailer";
    if trailer.len() != PACK_TRAILER_BYTES || !trailer.ends_with(TRAILER_MAGIC) {
        return Err(malformed(WHAT, "has no magic"));
    }
    let mut reader = Reader::new(WHAT, trailer);
    let read = PackTrailer {
        blocks: reader.u32()?,
        records: reader.u32()?,
        footer_bytes: reader.u64()?,
        pack_bytes: reader.u64()?,
        digest: reader.array()?,
    };
    known_version(reader.u8()?)?;
    known_suite(reader.u8()?)?;
    if reader.u16()? != 0 {
        return Err(malformed(WHAT, "reserved bytes are not zero"));
    }
    let ends = (PACK_HEADER_BYTES + PACK_TRAILER_BYTES) as u64;
    let fits = read.footer_bytes.checked_add(ends).is_some_and(|least| least <= read.pack_bytes);
    if fits { Ok(read) } else { Err(malformed(WHAT, "footer is longer than its pack")) }
}

pub(super) fn footer_digest(header: &PackHeader) -> Sha256 {
    let mut digest = Sha256::new();
    digest.update(header.to_bytes());
    digest
}

/// Keys of one pack; the study key itself seals nothing.
pub(super) struct PackKeys {
    pub(super) blocks: WrappingKey,
    pub(super) records: WrappingKey,
}

impl PackKeys {
    pub(super) fn derive(study_key: &[u8; KEY_BYTES], pack_id: PackId) -> Self {
        Self {
            blocks: WrappingKey::derive(study_key, "pack footer", pack_id.as_bytes()),
            records: WrappingKey::derive(study_key, "pack record keys", pack_id.as_bytes()),
        }
    }
}

/// Counter nonces: each key seals each number once, and belongs to one pack.
pub(super) fn counter_nonce(number: u32) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[8..].copy_from_slice(&number.to_le_bytes());
    nonce
}

/// What a footer block is bound to.
pub(super) fn block_associated(header: &PackHeader, head: &BlockHead, number: u32) -> Vec<u8> {
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&head.to_bytes());
    bytes
}

/// What a wrapped record key is bound to.
pub(super) fn record_key_associated(header: &PackHeader, record_id: RecordId) -> Vec<u8> {
    [&header.to_bytes()[..], record_id.as_bytes()].concat()
}

/// Bytes in front of each sealed block.
pub(super) const BLOCK_HEAD_BYTES: usize = 12;

/// What stands in front of a sealed block, in the clear but bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub(super) codec: Codec,
    /// The last block of the footer.
    pub(super) last: bool,
    /// Its last entry goes on in the next block.
    pub(super) continues: bool,
    pub(super) raw_bytes: u32,
    /// Bytes that follow, tag included.
    pub(super) sealed_bytes: u32,
}

impl BlockHead {
    pub(super) fn to_bytes(self) -> [u8; BLOCK_HEAD_BYTES] {
        let mut bytes = [0; BLOCK_HEAD_BYTES];
        bytes[0] = self.codec.number();
        bytes[1] = u8::from(self.last) | u8::from(self.continues) << 1;
        bytes[4..8].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sealed_bytes.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; BLOCK_HEAD_BYTES]) -> Result<Self, Error> {
        const FLAGS: u8 = 3;
        if bytes[1] & !FLAGS != 0 || bytes[2..4] != [0, 0] {
            return Err(malformed("footer block", "unknown flags"));
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Ok(Self {
            codec: Codec::from_number(bytes[0])?,
            last: bytes[1] & 1 != 0,
            continues: bytes[1] & 2 != 0,
            raw_bytes: word(4),
            sealed_bytes: word(8),
        })
    }
}
