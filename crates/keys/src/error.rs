//! What can go wrong with keys, by what somebody can do about it.

use std::{io, path::PathBuf};

use filmgate_model::{LandingKeyId, StudyKeyId};

/// A key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key of keys is not where it should be.
    #[error("the key file {} is missing: what is stored here opens with nothing else; bring back the copy that was made of it", .0.display())]
    NoKek(PathBuf),
    /// The file holds no key.
    #[error("{} is no key file: 64 hexadecimal digits are expected; bring back the copy that was made of it", .0.display())]
    NotAKek(PathBuf),
    /// There is data, and no site key.
    #[error("{} is missing: the data directory was made with it; bring it back from a backup", .0.display())]
    NoSiteKey(PathBuf),
    /// The key of keys is another site's, or another node's.
    #[error("the key file does not open {}: it belongs to another data directory", .0.display())]
    WrongKek(PathBuf),
    /// A stored key is cut, changed, or another's.
    #[error("{} is damaged; bring it back from a backup or from the bucket", .0.display())]
    Damaged(PathBuf),
    /// A record in the journal names a landing key that is gone.
    #[error("landing key {0} is not here")]
    NoLandingKey(LandingKeyId),
    /// A study's key is not on this node.
    #[error("study key {0} is not here")]
    NoStudyKey(StudyKeyId),
    /// A wrapped record key does not open: it was changed, or belongs to another record.
    #[error("a record's key does not open")]
    RecordKey(#[source] filmgate_seal::Error),
    /// The disk.
    #[error("use key file {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// True when trying the same again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }

    /// True when a file of the right content, put in its place by a person, would help.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::NoKek(_) | Self::NotAKek(_) | Self::NoSiteKey(_) | Self::WrongKek(_))
    }
}
