//! A key of keys in a file of its own. Whoever has it and the bucket has everything; whoever lost it has nothing.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use filmgate_model::Random;
use filmgate_seal::{WrappingKey, derive, unwrap_key, wrap_key};
use zeroize::{Zeroize, Zeroizing};

use super::{Algorithm, KekName, Provider, Wrapped};
use crate::{Error, key_file::Key};

const KEK_BYTES: usize = 32;
const DIGITS: usize = 2 * KEK_BYTES;
/// Digits, and a line's end of either kind.
const FILE_BYTES_MAX: u64 = DIGITS as u64 + 2;
/// Bytes of a key's name, half as many as its digits.
const NAME_BYTES: usize = 8;

/// A key of keys that was read from a file.
pub struct FileKek(Zeroizing<[u8; KEK_BYTES]>);

impl FileKek {
    /// A fresh key that is in no file: for simulations, whose disk is not the machine's.
    #[must_use]
    pub fn random(random: &Random) -> Self {
        Self(Zeroizing::new(random.array()))
    }

    /// Makes a key file, readable by its owner alone: 32 random bytes as 64 hexadecimal digits and a newline.
    /// It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a file already; [`Error::Io`].
    pub fn create_file(path: &Path, random: &Random) -> Result<Self, Error> {
        let kek = Self::random(random);
        kek.save(path)?;
        Ok(kek)
    }

    /// Reads a key file. One that others than its owner may read is read all the same, with a warning.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotAKeyFile`], [`Error::Io`].
    pub fn load_file(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { what: "key file", path: path.to_owned() },
            _ => Error::Io { doing: "open key file", path: path.to_owned(), source },
        })?;
        let mode = file.metadata().map_err(Error::io("read key file", path))?.mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "others may read the key file");
        }
        // One byte more than a key takes tells a longer file apart, whatever length it has.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Error::io("read key file", path))?;
        Self::parse(&bytes).ok_or_else(|| Error::NotAKeyFile(path.to_owned()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEK_BYTES] {
        &self.0
    }

    /// The key that stood on a recovery sheet.
    pub(crate) fn of(key: &[u8; KEK_BYTES]) -> Self {
        Self(Zeroizing::new(*key))
    }

    /// Writes the key to a file that is not there yet, readable by its owner alone; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        self.write(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
            _ => Error::Io { doing: "write key file", path: path.to_owned(), source },
        })
    }

    /// Names the key without telling it: two files with the same name hold the same key.
    pub(crate) fn name(&self) -> KekName {
        let name = derive(&self.0, "name of a key of keys", &[]);
        KekName { provider: Provider::File, name: hex::encode(&name[..NAME_BYTES]), version: 1 }
    }

    pub(crate) fn wrap(&self, key: &Key, associated_data: &[u8], random: &Random) -> Wrapped {
        let bytes = wrap_key(&self.wrapping_key(associated_data), key, associated_data, random);
        Wrapped { kek: self.name(), algorithm: Algorithm::DerivedAes256Gcm, bytes }
    }

    /// The caller has seen that it is wrapped under this key.
    pub(crate) fn unwrap(&self, wrapped: &Wrapped, associated_data: &[u8]) -> Option<Key> {
        unwrap_key(&self.wrapping_key(associated_data), &wrapped.bytes, associated_data).ok()
    }

    fn wrapping_key(&self, associated_data: &[u8]) -> WrappingKey {
        WrappingKey::derive(&self.0, "wrap key of a site object", associated_data)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let digits = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
        let mut key = Zeroizing::new([0; KEK_BYTES]);
        hex::decode_to_slice(digits, key.as_mut_slice()).ok()?;
        Some(Self(key))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut digits = [0; DIGITS];
        let encoded = hex::encode_to_slice(self.0.as_slice(), &mut digits);
        let written = encoded.map_err(io::Error::other).and_then(|()| {
            file.write_all(&digits)?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        digits.zeroize();
        written?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl fmt::Debug for FileKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKek(redacted)")
    }
}
