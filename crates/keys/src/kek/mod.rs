//! The key of keys (KEK): who keeps it, and what is wrapped under it.
//!
//! It wraps nothing but the random key of one site object. Whatever is wrapped names provider, key and version, so that
//! nothing is ever decrypted on trial.

mod file;

use std::{fmt, path::Path};

use filmgate_model::Random;

pub use file::FileKek;

use crate::{Error, key_file::Key};

/// Who keeps the key of keys.
#[derive(Debug)]
pub enum Kek {
    /// A file.
    File(FileKek),
}

/// A kind of keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// A key file.
    File,
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
        }
    }

    /// Wraps a key; it opens only with the same associated data.
    pub(crate) fn wrap(&self, key: &Key, associated_data: &[u8], random: &Random) -> Result<Wrapped, Error> {
        match self {
            Self::File(kek) => Ok(kek.wrap(key, associated_data, random)),
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
        match self {
            Self::File(kek) => kek.unwrap(wrapped, associated_data).ok_or_else(damaged),
        }
    }
}

impl Provider {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::File => 1,
        }
    }

    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::File].into_iter().find(|provider| provider.byte() == byte)
    }
}

impl Algorithm {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::DerivedAes256Gcm => 1,
        }
    }

    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::DerivedAes256Gcm].into_iter().find(|algorithm| algorithm.byte() == byte)
    }
}

impl fmt::Display for KekName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = match self.provider {
            Provider::File => "file",
        };
        write!(f, "{provider}:{} version {}", self.name, self.version)
    }
}
