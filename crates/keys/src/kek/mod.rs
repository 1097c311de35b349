//! The key of keys (KEK): who keeps it, and what is wrapped under it.
//!
//! It wraps nothing but the random key of one site object. Whatever is wrapped names provider, key and version, so that
//! nothing is ever decrypted on trial.

mod file;
mod pkcs11;
mod secret;
mod transit;

use std::{fmt, path::Path};

use filmgate_model::Random;

pub use file::FileKek;
pub use pkcs11::{Pkcs11Kek, Pkcs11Settings};
pub use secret::SecretFile;
pub use transit::{TransitKek, TransitLogin, TransitSettings};

use crate::{Error, key_file::Key};

/// Who keeps the key of keys.
#[derive(Debug)]
pub enum Kek {
    /// A file.
    File(FileKek),
    /// A hardware security module.
    Pkcs11(Box<Pkcs11Kek>),
    /// The transit engine of Vault or OpenBao.
    Transit(Box<TransitKek>),
}

/// A kind of keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// A key file.
    File,
    /// A PKCS#11 token.
    Pkcs11,
    /// The transit engine of Vault or OpenBao.
    Transit,
}

/// Which key of keys: it says nothing of the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekName {
    /// Who keeps it.
    pub provider: Provider,
    /// What the keeper calls it, at most 255 bytes.
    pub name: String,
    /// Which version of it, from 1.
    pub version: u32,
}

/// How a key is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// AES-256-GCM under a key derived by HKDF-SHA256: `filmgate_seal::wrap_key`.
    DerivedAes256Gcm,
    /// AES-256-GCM in the token: nonce (12 bytes), sealed key, tag (16).
    Pkcs11AesGcm,
    /// What the transit engine gives: text that begins with `vault:v<version>:`.
    Transit,
}

/// A key wrapped under a key of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrapped {
    pub(crate) kek: KekName,
    pub(crate) algorithm: Algorithm,
    pub(crate) bytes: Vec<u8>,
}

impl Kek {
    /// A fresh key that is in no file: for simulations, whose disk is not the machine's.
    #[must_use]
    pub fn random(random: &Random) -> Self {
        Self::File(FileKek::random(random))
    }

    /// Makes a key file; see [`FileKek::create_file`].
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn create_file(path: &Path, random: &Random) -> Result<Self, Error> {
        FileKek::create_file(path, random).map(Self::File)
    }

    /// Reads a key file; see [`FileKek::load_file`].
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotAKeyFile`], [`Error::Io`].
    pub fn load_file(path: &Path) -> Result<Self, Error> {
        FileKek::load_file(path).map(Self::File)
    }

    /// True when what is wrapped under `name` can be opened with this.
    #[must_use]
    pub fn is(&self, name: &KekName) -> bool {
        match self {
            Self::File(kek) => kek.name() == *name,
            Self::Pkcs11(kek) => kek.name() == *name,
            // The server knows its older versions, as far as it was told to keep them.
            Self::Transit(kek) => kek.name(name.version) == *name,
        }
    }

    /// True for a keeper that may be away: what it opened is held for a lease.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// Wraps a key; it opens only with the same associated data.
    pub(crate) fn wrap(&self, key: &Key, associated_data: &[u8], random: &Random) -> Result<Wrapped, Error> {
        match self {
            Self::File(kek) => Ok(kek.wrap(key, associated_data, random)),
            Self::Pkcs11(kek) => kek.wrap(key, associated_data, random),
            Self::Transit(kek) => kek.wrap(key, associated_data),
        }
    }

    /// The key in what [`Kek::wrap`] gave. `path` only tells errors where it comes from.
    pub(crate) fn unwrap(
        &self,
        wrapped: &Wrapped,
        associated_data: &[u8],
        path: &Path,
    ) -> Result<Key, Error> {
        if !self.is(&wrapped.kek) {
            return Err(Error::Wrong { path: path.to_owned() });
        }
        let damaged = || Error::Damaged { path: path.to_owned(), problem: "its key does not open" };
        let key = match self {
            Self::File(kek) => kek.unwrap(wrapped, associated_data),
            Self::Pkcs11(kek) => kek.unwrap(wrapped, associated_data)?,
            Self::Transit(kek) => kek.unwrap(wrapped, associated_data)?,
        };
        key.ok_or_else(damaged)
    }
}

impl Provider {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Pkcs11 => 2,
            Self::Transit => 3,
        }
    }

    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::File, Self::Pkcs11, Self::Transit].into_iter().find(|provider| provider.byte() == byte)
    }
}

impl Algorithm {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::DerivedAes256Gcm => 1,
            Self::Pkcs11AesGcm => 2,
            Self::Transit => 3,
        }
    }

    pub(crate) fn of(byte: u8) -> Option<Self> {
        let all = [Self::DerivedAes256Gcm, Self::Pkcs11AesGcm, Self::Transit];
        all.into_iter().find(|algorithm| algorithm.byte() == byte)
    }
}

impl fmt::Display for KekName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = match self.provider {
            Provider::File => "file",
            Provider::Pkcs11 => "pkcs11",
            Provider::Transit => "transit",
        };
        write!(f, "{provider}:{} version {}", self.name, self.version)
    }
}
