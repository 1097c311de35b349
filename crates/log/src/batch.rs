//! A batch: facts as one object of the bucket, sealed for the site and signed by who states them (FORMAT.md, Batch).

use ed25519_dalek::{SIGNATURE_LENGTH, Signature, VerifyingKey};
use filmgate_model::{FactId, IncarnationId, LogKeyId, NodeId, Random, SiteId};
use filmgate_seal::{
    SUITE_AES_256_GCM, WrappingKey, open_bytes, seal_bytes,
    wire::{Reader, put_bytes, put_varint},
};
use zeroize::Zeroizing;

use crate::{
    Author, Fact, Roles,
    chain::Tip,
    error::{Error, fits, malformed},
    fact::FACT_BYTES_MAX,
};

/// Bytes of a batch at most.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Facts in a batch at most.
pub const BATCH_FACTS_MAX: usize = 8192;
/// Bytes in front of what is sealed.
pub const HEAD_BYTES: usize = 112;
/// Bytes of the signature at the end.
pub const SIGNATURE_BYTES: usize = SIGNATURE_LENGTH;
/// Bytes of the key that verifies it.
pub const VERIFYING_KEY_BYTES: usize = 32;

const MAGIC: &[u8; 4] = b"FGLB";
const VERSION: u8 = 0;
/// Ed25519 (RFC 8032).
const SIGNED_BY_ED25519: u8 = 1;
const WHAT: &str = "batch";

/// A key of the log, opened. It seals nothing itself: each batch has a key derived for its place.
#[derive(Clone)]
pub struct LogKey {
    /// Its name.
    pub id: LogKeyId,
    /// How often it was wrapped anew.
    pub generation: u32,
    /// The key.
    pub key: Zeroizing<[u8; 32]>,
}

impl LogKey {
    fn of(&self, place: Place) -> WrappingKey {
        let context = [&place.incarnation.as_bytes()[..], &place.sequence.to_le_bytes()].concat();
        WrappingKey::derive(&self.key, "log batch", &context)
    }
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The run it is of.
    pub incarnation: IncarnationId,
    /// Its number there, from 1, without gaps.
    pub sequence: u64,
}

impl Place {
    /// The object's name. The number is padded, so that names sort as numbers do.
    #[must_use]
    pub fn object_name(&self) -> String {
        format!("v1/log/{}/{:020}", self.incarnation, self.sequence)
    }

    /// The place an object's name says.
    #[must_use]
    pub fn of_object(name: &str) -> Option<Self> {
        let (incarnation, sequence) = name.strip_prefix("v1/log/")?.split_once('/')?;
        let place = Self { incarnation: incarnation.parse().ok()?, sequence: sequence.parse().ok()? };
        (place.object_name() == name).then_some(place)
    }
}

/// What stands in front of a batch, in the clear but bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// The site.
    pub site_id: SiteId,
    /// Where it belongs.
    pub place: Place,
    /// SHA-256 of the whole batch before it; zeros for the first.
    pub predecessor: [u8; 32],
    /// The key it is sealed under.
    pub log_key_id: LogKeyId,
    /// That key's generation.
    pub log_key_generation: u32,
    /// Bytes that are sealed, between head and signature.
    pub sealed_bytes: u32,
}

impl BatchHead {
    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&[VERSION, SUITE_AES_256_GCM, SIGNED_BY_ED25519, 0]);
        bytes[8..24].copy_from_slice(self.site_id.as_bytes());
        bytes[24..40].copy_from_slice(self.place.incarnation.as_bytes());
        bytes[40..48].copy_from_slice(&self.place.sequence.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.predecessor);
        bytes[80..96].copy_from_slice(self.log_key_id.as_bytes());
        bytes[96..100].copy_from_slice(&self.log_key_generation.to_le_bytes());
        bytes[100..104].copy_from_slice(&self.sealed_bytes.to_le_bytes());
        bytes
    }
}

/// Reads the head of a batch: which key it wants. Nothing of it is proven yet.
///
/// # Errors
/// When the bytes are no batch's, or of a newer version.
pub fn batch_head(bytes: &[u8]) -> Result<BatchHead, Error> {
    fits("a batch", bytes.len(), BATCH_BYTES_MAX)?;
    let mut reader = Reader::new(WHAT, bytes);
    if &reader.array()? != MAGIC {
        return Err(malformed(WHAT, "has no magic"));
    }
    known("batch version", reader.u8()?, VERSION)?;
    known("suite", reader.u8()?, SUITE_AES_256_GCM)?;
    known("signature algorithm", reader.u8()?, SIGNED_BY_ED25519)?;
    let reserved = reader.u8()?;
    let head = BatchHead {
        site_id: SiteId(reader.array()?),
        place: Place { incarnation: IncarnationId(reader.array()?), sequence: reader.u64()? },
        predecessor: reader.array()?,
        log_key_id: LogKeyId(reader.array()?),
        log_key_generation: reader.u32()?,
        sealed_bytes: reader.u32()?,
    };
    if reserved != 0 || reader.u64()? != 0 {
        return Err(malformed(WHAT, "reserved bytes are not zero"));
    }
    if reader.remaining() != head.sealed_bytes as usize + SIGNATURE_BYTES {
        return Err(malformed(WHAT, "its length is wrong"));
    }
    Ok(head)
}

fn known(what: &'static str, number: u8, ours: u8) -> Result<(), Error> {
    if number == ours {
        return Ok(());
    }
    Err(filmgate_seal::Error::Newer { what, number: number.into() }.into())
}

/// A batch to be made.
pub struct NewBatch<'a> {
    /// The site.
    pub site_id: SiteId,
    /// Who states.
    pub author: Author,
    /// The batch before it.
    pub after: Tip,
    /// What is stated, at most [`BATCH_FACTS_MAX`].
    pub facts: &'a [Fact],
}

/// A batch that lacks its signature.
pub struct Unsigned(Vec<u8>);

impl Unsigned {
    /// What is to be signed by the incarnation's key (Ed25519).
    #[must_use]
    pub fn to_sign(&self) -> &[u8] {
        &self.0
    }

    /// The batch: immutable from then on. Made again with the same facts it would differ, so it is kept, not remade.
    #[must_use]
    pub fn signed(mut self, signature: &[u8; SIGNATURE_BYTES]) -> Vec<u8> {
        self.0.extend_from_slice(signature);
        self.0
    }
}

impl NewBatch<'_> {
    /// Seals it for the site. `verifying` is the public half of the key that will sign.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn seal(
        &self,
        key: &LogKey,
        verifying: &[u8; VERIFYING_KEY_BYTES],
        random: &Random,
    ) -> Result<Unsigned, Error> {
        let place = Place { incarnation: self.author.incarnation, sequence: self.after.sequence + 1 };
        let payload = self.payload(place, verifying)?;
        let sealed_bytes = payload.len() + filmgate_seal::SEALED_EXTRA_BYTES;
        fits("a batch", HEAD_BYTES + sealed_bytes + SIGNATURE_BYTES, BATCH_BYTES_MAX)?;
        let head = BatchHead {
            site_id: self.site_id,
            place,
            predecessor: self.after.digest,
            log_key_id: key.id,
            log_key_generation: key.generation,
            sealed_bytes: sealed_bytes as u32,
        };
        let mut bytes = head.to_bytes().to_vec();
        let sealed = seal_bytes(&key.of(place), &payload, &bytes, random);
        bytes.extend_from_slice(&sealed);
        Ok(Unsigned(bytes))
    }

    fn payload(&self, place: Place, verifying: &[u8; VERIFYING_KEY_BYTES]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(64 + 256 * self.facts.len());
        if place.sequence == 1 {
            out.extend_from_slice(verifying);
        }
        out.extend_from_slice(self.author.node.as_bytes());
        out.extend_from_slice(&self.author.roles.bits().to_le_bytes());
        put_varint(&mut out, fits("a list of facts", self.facts.len(), BATCH_FACTS_MAX)? as u64);
        for fact in self.facts {
            put_bytes(&mut out, &fact.to_bytes()?);
        }
        Ok(out)
    }
}

/// A batch, opened and proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where it stands.
    pub place: Place,
    /// Who states.
    pub author: Author,
    /// What is stated.
    pub facts: Vec<Fact>,
}

impl Batch {
    /// The ids of its facts.
    pub fn fact_ids(&self) -> impl Iterator<Item = FactId> {
        self.facts.iter().map(|fact| fact.id)
    }
}

/// Opens a batch whose head was read and found in its place, and proves its signature: by `verifying`, or for the first
/// of an incarnation by the key that stands in it.
pub(crate) fn open(
    bytes: &[u8],
    head: &BatchHead,
    key: &LogKey,
    verifying: Option<&VerifyingKey>,
) -> Result<(Batch, VerifyingKey), Error> {
    if (head.log_key_id, head.log_key_generation) != (key.id, key.generation) {
        return Err(Error::OtherKey { id: head.log_key_id, generation: head.log_key_generation });
    }
    let sequence = head.place.sequence;
    let cut = malformed(WHAT, "ends early");
    let (signed, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(cut.clone())?;
    let (in_clear, sealed) = signed.split_at_checked(HEAD_BYTES).ok_or(cut)?;
    let payload = open_bytes(&key.of(head.place), sealed, in_clear)?;
    let mut reader = Reader::new(WHAT, &payload);
    let told = if sequence == 1 { Some(reader.array()?) } else { None };
    let verifying = match (told, verifying) {
        (Some(told), _) => VerifyingKey::from_bytes(&told).map_err(|_| Error::NotSigned { sequence })?,
        (None, Some(known)) => *known,
        (None, None) => return Err(Error::Broken { sequence }),
    };
    let signature = Signature::from_bytes(signature);
    verifying.verify_strict(signed, &signature).map_err(|_| Error::NotSigned { sequence })?;
    let author = Author {
        node: NodeId(reader.array()?),
        incarnation: head.place.incarnation,
        roles: Roles::from_bits(reader.u16()?),
    };
    let facts = facts(&mut reader)?;
    reader.end()?;
    Ok((Batch { place: head.place, author, facts }, verifying))
}

fn facts(reader: &mut Reader<'_>) -> Result<Vec<Fact>, Error> {
    // A fact takes 31 bytes at least, its length included.
    let count = fits("a list of facts", reader.count(31)?, BATCH_FACTS_MAX)?;
    let mut facts = Vec::with_capacity(count);
    for _ in 0..count {
        let bytes = reader.bytes()?;
        fits("fact", bytes.len(), FACT_BYTES_MAX)?;
        facts.push(Fact::from_bytes(bytes)?);
    }
    Ok(facts)
}
