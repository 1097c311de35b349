//! What can go wrong on the local disk, by what a caller can do about it.

use std::io;

use filmgate_model::RecordId;

/// A local disk operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused; `step` says what was being done.
    #[error("{step}")]
    Io {
        /// What was being done, as a present-tense verb and a thing.
        step: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The pool, the disk or the share of uncommitted bytes is full; it empties as records are packed.
    #[error("no room in the journal")]
    NoRoom,
    /// A write or sync failed in a segment this record has frames in: the record is not durable and will not be.
    #[error("journal segment failed before the record was durable")]
    Failed,
    /// The journal takes no more records: it failed twice or was stopped. What it holds can still be read.
    #[error("journal is closed for receipt")]
    Closed,
    /// A record of this id is already there; ids are used once.
    #[error("record {0} is already in the journal")]
    Exists(RecordId),
    /// The journal holds no durable record of this id (any more).
    #[error("record {0} is not in the journal")]
    NotFound(RecordId),
    /// A range reaches past the end of what is read.
    #[error("range reaches past the end")]
    OutOfRange,
    /// A wrapped key is longer than a commit frame holds.
    #[error("wrapped key is longer than a commit frame holds")]
    KeyTooLong,
    /// Options contradict each other.
    #[error("journal options: {0}")]
    Options(&'static str),
}

impl Error {
    /// True when trying the same again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::NoRoom | Self::Failed => false,
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
            }
            Self::Closed
            | Self::Exists(_)
            | Self::NotFound(_)
            | Self::OutOfRange
            | Self::KeyTooLong
            | Self::Options(_) => true,
        }
    }

    pub(crate) fn io(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom,
            _ => Self::Io { step, source },
        }
    }
}
