//! Keys the incarnations of a node sign with (Ed25519): their secret half never leaves the data directory, wrapped under the site key.

use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use filmgate_model::{IncarnationId, Timestamp};

use crate::{
    Error, KeyRing,
    key_file::{Key, Kind, Label},
    ring::read_key_file,
};

/// Bytes of the public half.
pub const VERIFYING_KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

impl KeyRing {
    /// Makes the key an incarnation signs with, durable when this returns; its public half.
    ///
    /// # Errors
    /// [`Error::Exists`] when the incarnation has one; [`Error::Io`].
    pub fn new_signing_key(&self, id: IncarnationId) -> Result<[u8; VERIFYING_KEY_BYTES], Error> {
        let path = signing_file(&self.folder, id);
        if self.disk.exists(&path).map_err(Error::io("look for signing key", &path))? {
            return Err(Error::Exists(path));
        }
        let secret = self.store_new(&self.signing_label(id, self.clock.now()), &path)?;
        Ok(SigningKey::from_bytes(&secret).verifying_key().to_bytes())
    }

    /// The public half of the key an incarnation of this data directory signs with.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Wrong`], [`Error::Damaged`], [`Error::Io`].
    pub fn verifying_key(&self, id: IncarnationId) -> Result<[u8; VERIFYING_KEY_BYTES], Error> {
        let secret = self.signing_secret(id)?;
        Ok(SigningKey::from_bytes(&secret).verifying_key().to_bytes())
    }

    /// Signs a message as an incarnation of this data directory.
    ///
    /// # Errors
    /// As [`KeyRing::verifying_key`].
    pub fn sign(&self, id: IncarnationId, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], Error> {
        let secret = self.signing_secret(id)?;
        Ok(SigningKey::from_bytes(&secret).sign(message).to_bytes())
    }

    /// The key itself, for a signer that builds what it signs; it wipes itself when dropped.
    ///
    /// # Errors
    /// As [`KeyRing::verifying_key`].
    pub fn signing_key(&self, id: IncarnationId) -> Result<SigningKey, Error> {
        Ok(SigningKey::from_bytes(&*self.signing_secret(id)?))
    }

    fn signing_secret(&self, id: IncarnationId) -> Result<Key, Error> {
        let path = signing_file(&self.folder, id);
        let bytes = read_key_file(&*self.disk, &path, Kind::Signing)?;
        let stored = Label::read(&bytes, &path)?;
        let site = self.site()?;
        let asked = Label { generation: stored.generation, ..self.signing_label(id, stored.created_at) };
        asked.open_under(&site, &bytes, &path)
    }

    fn signing_label(&self, id: IncarnationId, created_at: Timestamp) -> Label {
        Label { kind: Kind::Signing, site_id: self.site_id, id: id.0, generation: 1, created_at }
    }
}

/// True when whoever holds the secret half of `verifying_key` signed exactly this message. Strict: a signature has one
/// form, and a weak public half signs nothing.
#[must_use]
pub fn is_signed(
    verifying_key: &[u8; VERIFYING_KEY_BYTES],
    message: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(verifying_key) else { return false };
    key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
}

pub(crate) fn signing_folder(folder: &Path) -> PathBuf {
    folder.join("signing")
}

fn signing_file(folder: &Path, id: IncarnationId) -> PathBuf {
    signing_folder(folder).join(format!("{id}.key"))
}
