//! Secrets that open a keeper's door: only ever read from a file, and again at each use, so that a new one is taken up
//! without a restart.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::Error;

/// PINs and tokens are short.
const SECRET_BYTES_MAX: u64 = 8192;

/// A secret in a file: its first line.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// The file need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The secret as it stands in the file now.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, Error> {
        let file = File::open(&self.0).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { what: "secret file", path: self.0.clone() },
            _ => Error::Io { doing: "open secret file", path: self.0.clone(), source },
        })?;
        let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize));
        file.take(SECRET_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(Error::io("read secret file", &self.0))?;
        Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretFile({})", self.0.display())
    }
}
