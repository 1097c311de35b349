//! The key of keys, in a file of its owner's.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use filmgate_model::Random;
use filmgate_seal::KEY_BYTES;
use zeroize::Zeroizing;

use crate::Error;

/// Bits of a file's mode that let others than its owner in.
const OTHERS: u32 = 0o077;

/// The key that wraps the site key.
pub struct Kek(Zeroizing<[u8; KEY_BYTES]>);

impl Kek {
    /// Makes a new key file, readable by its owner alone, and syncs it. An existing file is left as it is.
    ///
    /// # Errors
    /// [`Error::Io`], also when the file exists.
    pub fn create_file(path: &Path, random: &Random) -> Result<(), Error> {
        let key = Zeroizing::new(random.array::<KEY_BYTES>());
        let text = Zeroizing::new(format!("{}\n", hex::encode(*key)));
        write_new(path, text.as_bytes()).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    /// Reads a key file: 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::NoKek`], [`Error::NotAKek`], [`Error::Io`].
    pub fn load_file(path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoKek(path.to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Error::NotAKek(path.to_owned()));
            }
            Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
        };
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.trim(), key.as_mut()).map_err(|_| Error::NotAKek(path.to_owned()))?;
        if fs::metadata(path).is_ok_and(|file| file.mode() & OTHERS != 0) {
            tracing::warn!(path = %path.display(), "others than its owner can read the key file; set its mode to 0600");
        }
        Ok(Self(key))
    }

    /// A key from its bytes, for tests and simulations.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
