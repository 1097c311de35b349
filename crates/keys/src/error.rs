//! What can go wrong with keys, and what a person does about it.

use std::{io, path::PathBuf};

use filmgate_model::{RecordId, StudyKeyId, Timestamp};

/// What can go wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key is not there, while what it protects may be.
    #[error(
        "{what} {} is missing: bring back a copy of it, for nothing it protects can be opened without it; a key file comes back \
         from the recovery sheet as well (`filmgate key restore`)",
        path.display()
    )]
    Missing {
        /// Which key.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// A stored key is whole, but wrapped under another key than the one at hand.
    #[error(
        "{} was not made with this key: bring back the key file that belongs to this data directory (node.key_file), the one made \
         last if it was ever changed; the recovery sheet holds it (`filmgate key restore`)",
        path.display()
    )]
    Wrong {
        /// The stored key that does not open.
        path: PathBuf,
    },
    /// A stored key's bytes are not what was written.
    #[error("{} is damaged ({problem}): bring back a copy of it", path.display())]
    Damaged {
        /// The file or object.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A stored key was written by a newer version.
    #[error("{} was made by a newer version ({what} {number})", path.display())]
    Newer {
        /// The file or object.
        path: PathBuf,
        /// What is not known.
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// The key file does not hold a key.
    #[error("{} is not a key file: 64 hexadecimal digits and nothing else", .0.display())]
    NotAKeyFile(PathBuf),
    /// The keeper of the key of keys cannot be reached, or is not able to answer now.
    #[error("the {keeper} that keeps the key of keys is away: {reason}")]
    KekAway {
        /// Who keeps it.
        keeper: &'static str,
        /// What was seen; never a key or a secret.
        reason: String,
    },
    /// The keeper of the key of keys refuses.
    #[error("the {keeper} that keeps the key of keys refuses: {reason}; {advice}")]
    KekRefused {
        /// Who keeps it.
        keeper: &'static str,
        /// Why; never a key or a secret.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// The lease of the site's keys has ended: they were wiped.
    #[error(
        "the keys are locked: their keeper was last heard at {heard_at}; they open again when it answers"
    )]
    Locked {
        /// When.
        heard_at: Timestamp,
    },
    /// A study's key was destroyed, and nothing brings it back.
    #[error("study key {0} is shredded: what is sealed under it is gone for ever")]
    Shredded(StudyKeyId),
    /// Keys of another site than this one.
    #[error("{} belongs to another site", path.display())]
    OtherSite {
        /// The file or object.
        path: PathBuf,
    },
    /// A key stands there already; it is never overwritten.
    #[error("{} exists already and is left as it is", .0.display())]
    Exists(PathBuf),
    /// A record's wrapped key does not open: flipped, cut off, or another record's.
    #[error("the wrapped key of record {0} does not open: damaged, or another record's")]
    RecordKey(RecordId),
    /// The disk failed.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// True when trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::KekAway { .. } | Self::Locked { .. })
    }

    /// True when a person must bring or name another key before anything can start.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::Wrong { .. }
                | Self::NotAKeyFile(_)
                | Self::Exists(_)
                | Self::KekRefused { .. }
        )
    }

    /// The disk failed while `doing` something to `path`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
