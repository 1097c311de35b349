//! The one format of a stored key: who it is, and its wrapped bytes. FORMAT.md gives it to the byte.

use std::path::Path;

use filmgate_model::{Random, SiteId, Timestamp};
use filmgate_seal::{
    Error as SealError, KEY_BYTES, WRAPPED_KEY_BYTES, WrappingKey, derive, unwrap_key, wrap_key,
};
use zeroize::Zeroizing;

use crate::{Error, site::SiteKeys};

pub(crate) const MAGIC: &[u8; 6] = b"FMGKEY";
const VERSION: u8 = 0;
/// Bytes that name the key a stored key is wrapped under.
pub(crate) const CHECK_BYTES: usize = 8;
pub(crate) const CHECKSUM_BYTES: usize = 4;
/// Magic, version, kind, site, identifier, generation, time, check of the wrapping secret.
const HEADER_BYTES: usize = 6 + 1 + 1 + 16 + 16 + 4 + 8 + CHECK_BYTES;

/// Length of a stored key.
pub(crate) const KEY_FILE_BYTES: usize = HEADER_BYTES + WRAPPED_KEY_BYTES + CHECKSUM_BYTES;

/// The same, for those who read it from a bucket.
pub const STORED_KEY_BYTES: u64 = KEY_FILE_BYTES as u64;

/// What a stored key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The site's key as the first versions kept it: wrapped under a key file, its identifier the node's. Only read.
    Site,
    /// A key of the journal, wrapped under the site's.
    Landing,
    /// A study's key, wrapped under the site's.
    Study,
    /// A key of the bucket's log, wrapped under the site's.
    Log,
    /// The key of the node's catalog file, wrapped under the site's; its identifier is the node's.
    Catalog,
    /// The secret half of a key the node signs with, wrapped under the site's.
    Signing,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Site => 1,
            Self::Landing => 2,
            Self::Study => 3,
            Self::Log => 4,
            Self::Catalog => 5,
            Self::Signing => 6,
        }
    }

    /// The purpose its wrapping key is derived for.
    fn purpose(self) -> &'static str {
        match self {
            Self::Site => "wrap site key",
            Self::Landing => "wrap landing key",
            Self::Study => "wrap study key",
            Self::Log => "wrap log key",
            Self::Catalog => "wrap catalog key",
            Self::Signing => "wrap signing key",
        }
    }

    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Site => "site key",
            Self::Landing => "landing key",
            Self::Study => "study key",
            Self::Log => "log key",
            Self::Catalog => "catalog key",
            Self::Signing => "signing key",
        }
    }

    /// True for keys that stand in the bucket too; their object's name is bound to them.
    pub(crate) fn is_in_bucket(self) -> bool {
        matches!(self, Self::Study | Self::Log)
    }
}

/// Who a stored key is: all of it is bound to the wrapped bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    pub(crate) site_id: SiteId,
    pub(crate) id: [u8; 16],
    pub(crate) generation: u32,
    pub(crate) created_at: Timestamp,
}

/// A key with its label.
pub(crate) type Key = Zeroizing<[u8; KEY_BYTES]>;

impl Label {
    /// The bytes of a stored key: `key` wrapped under a key derived from `secret`.
    pub(crate) fn seal(&self, secret: &[u8; KEY_BYTES], key: &[u8; KEY_BYTES], random: &Random) -> Vec<u8> {
        let mut bytes = self.header(secret);
        let wrapped = wrap_key(&self.wrapping_key(secret), key, &self.associated_data(&bytes), random);
        bytes.extend_from_slice(&wrapped);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The label of stored bytes, whatever they are wrapped under. `path` only tells errors where they come from.
    pub(crate) fn read(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged = |problem| Error::Damaged { path: path.to_owned(), problem };
        let mut reader = Reader(bytes);
        if reader.array() != Some(*MAGIC) {
            return Err(damaged("it does not begin like a stored key"));
        }
        let short = || damaged("it is cut off");
        let [version, kind] = reader.array().ok_or_else(short)?;
        if version != VERSION {
            return Err(Error::Newer { path: path.to_owned(), what: "version", number: version.into() });
        }
        let label = Self {
            kind: kind_of(kind).ok_or_else(|| damaged("its kind is not known"))?,
            site_id: SiteId(reader.array().ok_or_else(short)?),
            id: reader.array().ok_or_else(short)?,
            generation: u32::from_le_bytes(reader.array().ok_or_else(short)?),
            created_at: Timestamp(i64::from_le_bytes(reader.array().ok_or_else(short)?)),
        };
        check_whole(bytes).map_err(damaged)?;
        Ok(label)
    }

    /// The key in stored bytes of this label.
    pub(crate) fn open(&self, secret: &[u8; KEY_BYTES], bytes: &[u8], path: &Path) -> Result<Key, Error> {
        let damaged = |problem| Error::Damaged { path: path.to_owned(), problem };
        check_whole(bytes).map_err(damaged)?;
        let header = self.header(secret);
        let check = HEADER_BYTES - CHECK_BYTES..HEADER_BYTES;
        if bytes.get(..check.start) != header.get(..check.start) {
            return Err(damaged("it is another key's"));
        }
        if bytes.get(check.clone()) != header.get(check) {
            return Err(Error::Wrong { path: path.to_owned() });
        }
        let wrapped = bytes.get(HEADER_BYTES..HEADER_BYTES + WRAPPED_KEY_BYTES).unwrap_or_default();
        unwrap_key(&self.wrapping_key(secret), wrapped, &self.associated_data(&header)).map_err(|error| {
            match error {
                SealError::Newer { what, number } => Error::Newer { path: path.to_owned(), what, number },
                _ => damaged("its key does not open"),
            }
        })
    }

    /// The key in stored bytes of this label, wrapped under whichever of the site's keys they name.
    pub(crate) fn open_under(&self, site: &SiteKeys, bytes: &[u8], path: &Path) -> Result<Key, Error> {
        let named = wrapped_under(bytes).and_then(|check| site.named(check));
        // Without it the current one is asked, which tells damage and a wrong key apart.
        self.open(&named.unwrap_or(site.current()).key, bytes, path)
    }

    /// The name of its object in the bucket, for a key that has one.
    pub(crate) fn object_name(&self) -> String {
        format!("v1/key/{}/{}", hex::encode(self.id), self.generation)
    }

    fn header(&self, secret: &[u8; KEY_BYTES]) -> Vec<u8> {
        let mut header = Vec::with_capacity(KEY_FILE_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&[VERSION, self.kind.byte()]);
        header.extend_from_slice(self.site_id.as_bytes());
        header.extend_from_slice(&self.id);
        header.extend_from_slice(&self.generation.to_le_bytes());
        header.extend_from_slice(&self.created_at.0.to_le_bytes());
        // Tells a wrong key from damage without trying to decrypt; it says nothing of the secret itself.
        header.extend_from_slice(&check_of(secret, self.site_id));
        header
    }

    fn wrapping_key(&self, secret: &[u8; KEY_BYTES]) -> WrappingKey {
        let context = [self.site_id.as_bytes().as_slice(), &self.id, &self.generation.to_le_bytes()].concat();
        WrappingKey::derive(secret, self.kind.purpose(), &context)
    }

    /// The whole header, and the object's name for a key that has one.
    fn associated_data(&self, header: &[u8]) -> Vec<u8> {
        let mut data = header.to_vec();
        if self.kind.is_in_bucket() {
            data.extend_from_slice(self.object_name().as_bytes());
        }
        data
    }
}

fn kind_of(byte: u8) -> Option<Kind> {
    let kinds = [Kind::Site, Kind::Landing, Kind::Study, Kind::Log, Kind::Catalog, Kind::Signing];
    kinds.into_iter().find(|kind| kind.byte() == byte)
}

/// Names a wrapping key within its site; it says nothing of the key itself.
pub(crate) fn check_of(secret: &[u8; KEY_BYTES], site_id: SiteId) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let derived = derive(secret, "check of a wrapping secret", site_id.as_bytes());
    check.copy_from_slice(&derived[..CHECK_BYTES]);
    check
}

/// Which key stored bytes are wrapped under; `None` when they are too short.
pub(crate) fn wrapped_under(bytes: &[u8]) -> Option<[u8; CHECK_BYTES]> {
    bytes.get(HEADER_BYTES - CHECK_BYTES..HEADER_BYTES)?.try_into().ok()
}

/// Length and checksum: damage is told from a wrong key before any key is used.
fn check_whole(bytes: &[u8]) -> Result<(), &'static str> {
    if bytes.len() == KEY_FILE_BYTES { check_crc(bytes) } else { Err("its length is wrong") }
}

/// The checksum at the end.
pub(crate) fn check_crc(bytes: &[u8]) -> Result<(), &'static str> {
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or("it is cut off")?;
    if crc32c::crc32c(body) == u32::from_le_bytes(*checksum) { Ok(()) } else { Err("its checksum differs") }
}

/// Reads from the front; `None` at the end.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}
