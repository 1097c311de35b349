//! A fact: something stated once, by one node, for ever.

use filmgate_model::{FactId, IncarnationId, NodeId};
use filmgate_seal::wire::{Reader, put_bytes, put_varint};

use crate::{
    Stamp,
    body::{Body, IDS_MAX},
    error::{Error, fits},
    role::Roles,
};

/// Bytes of one fact at most; one of an unknown kind may be as long.
pub const FACT_BYTES_MAX: usize = 32 * 1024;

const WHAT: &str = "fact";

/// What is stated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fact {
    /// Its name for ever: random, or the digest of what it says where saying it again must change nothing.
    pub id: FactId,
    /// When it was stated.
    pub stamp: Stamp,
    /// Facts it takes the place of.
    pub supersedes: Vec<FactId>,
    /// What it says.
    pub body: Body,
}

impl Fact {
    /// Its bytes.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&self.stamp.milliseconds.to_le_bytes());
        out.extend_from_slice(&self.stamp.count.to_le_bytes());
        put_varint(&mut out, fits("a list of facts", self.supersedes.len(), IDS_MAX)? as u64);
        self.supersedes.iter().for_each(|id| out.extend_from_slice(id.as_bytes()));
        put_varint(&mut out, self.body.kind());
        put_bytes(&mut out, &self.body.to_bytes()?);
        fits(WHAT, out.len(), FACT_BYTES_MAX)?;
        Ok(out)
    }

    /// The fact of these bytes.
    ///
    /// # Errors
    /// When they are malformed, or longer than allowed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        fits(WHAT, bytes.len(), FACT_BYTES_MAX)?;
        let mut reader = Reader::new(WHAT, bytes);
        let id = FactId(reader.array()?);
        let stamp = Stamp { milliseconds: i64::from_le_bytes(reader.array()?), count: reader.u32()? };
        let count = fits("a list of facts", reader.count(16)?, IDS_MAX)?;
        let mut supersedes = Vec::with_capacity(count);
        for _ in 0..count {
            supersedes.push(FactId(reader.array()?));
        }
        let kind = reader.varint()?;
        let body = Body::from_bytes(kind, reader.bytes()?)?;
        reader.end()?;
        Ok(Self { id, stamp, supersedes, body })
    }
}

/// Who states: what the batch says of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Author {
    /// The node.
    pub node: NodeId,
    /// The run of batches.
    pub incarnation: IncarnationId,
    /// What the node does.
    pub roles: Roles,
}

/// A fact and who stated it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stated {
    /// What.
    pub fact: Fact,
    /// Who.
    pub author: Author,
}
