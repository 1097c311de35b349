//! Layout of the stored keys, to the byte (FORMAT.md).

use filmgate_model::{LandingKeyId, NodeId, SiteId, StudyKeyId, Timestamp};
use filmgate_seal::WRAPPED_KEY_BYTES;

/// Bytes of the longest file here.
pub(crate) const FILE_BYTES_MAX: u64 = 4096;

const VERSION: u8 = 0;

/// `keys/site.key`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SiteFile {
    pub(crate) site_id: SiteId,
    pub(crate) node_id: NodeId,
    pub(crate) wrapped: Vec<u8>,
}

impl SiteFile {
    const MAGIC: [u8; 4] = *b"FGSK";

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&Self::MAGIC[..], &[VERSION], &self.site_id.0, &self.node_id.0, &self.wrapped].concat()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes, Self::MAGIC)?;
        let (site_id, node_id) = (SiteId(fields.take()?), NodeId(fields.take()?));
        Some(Self { site_id, node_id, wrapped: fields.wrapped()? })
    }

    /// What the site key belongs to.
    pub(crate) fn associated_data(site_id: SiteId, node_id: NodeId) -> Vec<u8> {
        [b"keys/site.key".as_slice(), &site_id.0, &node_id.0].concat()
    }
}

/// `keys/landing/<id>.key`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LandingFile {
    pub(crate) id: LandingKeyId,
    pub(crate) created_at: Timestamp,
    pub(crate) wrapped: Vec<u8>,
}

impl LandingFile {
    const MAGIC: [u8; 4] = *b"FGLK";

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&Self::MAGIC[..], &[VERSION], &self.id.0, &self.created_at.0.to_le_bytes(), &self.wrapped].concat()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes, Self::MAGIC)?;
        let id = LandingKeyId(fields.take()?);
        let created_at = Timestamp(i64::from_le_bytes(fields.take()?));
        Some(Self { id, created_at, wrapped: fields.wrapped()? })
    }

    pub(crate) fn associated_data(site_id: SiteId, id: LandingKeyId, created_at: Timestamp) -> Vec<u8> {
        [b"keys/landing".as_slice(), &site_id.0, &id.0, &created_at.0.to_le_bytes()].concat()
    }
}

/// `keys/study/<id>.key` and the bucket's key object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StudyFile {
    pub(crate) site_id: SiteId,
    pub(crate) id: StudyKeyId,
    pub(crate) wrapped: Vec<u8>,
}

impl StudyFile {
    const MAGIC: [u8; 4] = *b"FGTK";

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&Self::MAGIC[..], &[VERSION], &self.site_id.0, &self.id.0, &self.wrapped].concat()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes, Self::MAGIC)?;
        let (site_id, id) = (SiteId(fields.take()?), StudyKeyId(fields.take()?));
        Some(Self { site_id, id, wrapped: fields.wrapped()? })
    }

    /// The object's name stands in it: generations and studies cannot be exchanged.
    pub(crate) fn associated_data(site_id: SiteId, id: StudyKeyId) -> Vec<u8> {
        [Self::object_name(id).as_bytes(), &site_id.0, &id.0].concat()
    }

    /// Its name in every bucket.
    pub(crate) fn object_name(id: StudyKeyId) -> String {
        format!("v1/key/{id}/1")
    }
}

/// Fields behind magic and version, taken one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8], magic: [u8; 4]) -> Option<Self> {
        let rest = bytes.strip_prefix(&magic)?;
        let (&version, rest) = rest.split_first()?;
        (version == VERSION).then_some(Self(rest))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    /// The wrapped key is the last field.
    fn wrapped(self) -> Option<Vec<u8>> {
        (self.0.len() == WRAPPED_KEY_BYTES).then(|| self.0.to_vec())
    }
}
