//! The batches of one incarnation, read in order: each must follow the one before.

use ed25519_dalek::VerifyingKey;
use filmgate_model::{IncarnationId, SiteId};
use sha2::{Digest, Sha256};

use crate::{
    Batch, LogKey, Place,
    batch::{self, BatchHead, batch_head},
    error::Error,
};

/// The last batch of an incarnation that was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tip {
    /// Its number; 0 before the first.
    pub sequence: u64,
    /// SHA-256 of its bytes; zeros before the first.
    pub digest: [u8; 32],
}

impl Tip {
    /// The tip once `bytes` follow.
    #[must_use]
    pub fn then(self, bytes: &[u8]) -> Self {
        Self { sequence: self.sequence + 1, digest: Sha256::digest(bytes).into() }
    }
}

/// How far one incarnation was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    site_id: SiteId,
    incarnation: IncarnationId,
    tip: Tip,
    verifying: Option<VerifyingKey>,
}

impl Chain {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(site_id: SiteId, incarnation: IncarnationId) -> Self {
        Self { site_id, incarnation, tip: Tip::default(), verifying: None }
    }

    /// Goes on where a reader that wrote this down had come to. `None` when `verifying` is no key.
    #[must_use]
    pub fn resumed(
        site_id: SiteId,
        incarnation: IncarnationId,
        tip: Tip,
        verifying: &[u8; 32],
    ) -> Option<Self> {
        let verifying = Some(VerifyingKey::from_bytes(verifying).ok()?);
        Some(Self { site_id, incarnation, tip, verifying })
    }

    /// The place of the batch to read next.
    #[must_use]
    pub fn next(&self) -> Place {
        Place { incarnation: self.incarnation, sequence: self.tip.sequence + 1 }
    }

    /// The last batch read.
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// The key that signs the incarnation; `None` before its first batch was read.
    #[must_use]
    pub fn verifying_key(&self) -> Option<[u8; 32]> {
        self.verifying.map(|key| key.to_bytes())
    }

    /// The head of the next batch, found to be in its place: it says under which key to open it.
    ///
    /// # Errors
    /// When the bytes are no batch, of another place, or do not follow.
    pub fn head(&self, bytes: &[u8]) -> Result<BatchHead, Error> {
        let head = batch_head(bytes)?;
        let Place { incarnation, sequence } = head.place;
        if head.site_id != self.site_id || head.place != self.next() {
            return Err(Error::Misplaced { incarnation, sequence });
        }
        if head.predecessor != self.tip.digest {
            return Err(Error::Broken { sequence });
        }
        Ok(head)
    }

    /// Opens the next batch. An error leaves the chain where it was.
    ///
    /// # Errors
    /// As [`Chain::head`]; or when it does not open under `key`, is not signed by the incarnation, or is malformed.
    pub fn read(&mut self, bytes: &[u8], key: &LogKey) -> Result<Batch, Error> {
        let head = self.head(bytes)?;
        let (batch, verifying) = batch::open(bytes, &head, key, self.verifying.as_ref())?;
        self.verifying = Some(verifying);
        self.tip = self.tip.then(bytes);
        Ok(batch)
    }
}
