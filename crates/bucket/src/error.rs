//! What can go wrong with a blob store, as cases a caller can act on.

use std::{io, time::Duration};

/// A failed bucket operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken.
    #[error("object {0} exists already; names are never reused")]
    Exists(String),
    /// There is no such object.
    #[error("object {0} is not in the bucket")]
    NotFound(String),
    /// The object ends before the range asked for.
    #[error("object {name} ends at byte {bytes}, before the range asked for")]
    Short {
        /// The object.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// A name no bucket takes.
    #[error("{0:?} is not an object name")]
    Name(String),
    /// The content to be written could not be read.
    #[error("read the content to upload")]
    Source(#[source] io::Error),
    /// The store does not know this upload in parts: it was completed, aborted, or never begun.
    #[error("the upload of {0} is not known to the bucket")]
    UploadGone(String),
    /// The store does not take such a request.
    #[error("the bucket rejects the request: {0}")]
    Rejected(String),
    /// What arrived is not what was sent.
    #[error("{0} arrived changed and was refused")]
    Changed(String),
    /// The store must not be used for what it is meant for; the text says what to do.
    #[error("{0}")]
    Unfit(String),
    /// A setting of the store cannot work.
    #[error("{key}: {why}")]
    Setting {
        /// The setting, without its section.
        key: &'static str,
        /// Why.
        why: String,
    },
    /// The store is full.
    #[error("the bucket has no room left")]
    NoSpace(#[source] io::Error),
    /// The store refuses us.
    #[error("the bucket denies access")]
    Denied(#[source] io::Error),
    /// The store cannot be reached, or its answer is unclear: the operation may have happened or not.
    #[error("the bucket is unavailable: {reason}")]
    Unavailable {
        /// What was seen.
        reason: String,
        /// When the store asks not to be tried before.
        retry_after: Option<Duration>,
    },
}

impl Error {
    /// True when trying the same again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Exists(_) | Self::Name(_) | Self::Short { .. } | Self::Setting { .. })
    }

    /// True when the operation may have happened all the same: the store has to be asked what it has.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::UploadGone(_))
    }

    /// How long the store asks us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A file system's error in the bucket's words.
    pub(crate) fn of_io(name: &str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound(name.to_owned()),
            io::ErrorKind::AlreadyExists => Self::Exists(name.to_owned()),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace(error),
            io::ErrorKind::PermissionDenied => Self::Denied(error),
            _ => Self::Unavailable { reason: error.to_string(), retry_after: None },
        }
    }
}
