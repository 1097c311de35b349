//! What can go wrong with the catalog.

use std::path::PathBuf;

use filmgate_model::{PackId, RecordId, Tag};

/// What can go wrong with the catalog.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file does not open with this key.
    #[error(
        "catalog {} does not open with this site's key: bring back the key that belongs to this data directory; \
         if the key is the right one, the file is damaged and a copy of it must be brought back",
        path.display()
    )]
    WrongKey {
        /// The catalog's file.
        path: PathBuf,
    },
    /// The file cannot be opened or made.
    #[error("open catalog {}", path.display())]
    Open {
        /// The catalog's file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("migrate catalog")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A statement failed.
    #[error("{doing}")]
    Database {
        /// The operation.
        doing: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// A stored value is not what this column may hold.
    #[error("understand column {column} of the catalog")]
    Corrupt {
        /// The column.
        column: &'static str,
    },
    /// A number does not fit the column it is meant for.
    #[error("{what} is too large for the catalog")]
    TooLarge {
        /// What it counts.
        what: &'static str,
    },
    /// A record to pack is not known, is in another pack already, or may not be packed from the state it is in.
    #[error("record {record_id} cannot enter pack {pack_id}")]
    NotPackable {
        /// The record.
        record_id: RecordId,
        /// The pack it was to enter.
        pack_id: PackId,
    },
    /// A copy was to be dropped against one that is not there any more.
    #[error("record {record_id} cannot be dropped: the copy {same_as} it equals is not kept")]
    CopyGone {
        /// The record to drop.
        record_id: RecordId,
        /// The copy that was to stay.
        same_as: RecordId,
    },
    /// No such pack.
    #[error("pack {0} is not in the catalog")]
    UnknownPack(PackId),
    /// The value asked for does not fit the attribute.
    #[error("the value asked for in {tag} cannot be matched")]
    Unmatchable {
        /// The attribute.
        tag: Tag,
    },
}

/// Primary result codes after which the same statement may well succeed: busy, locked, I/O, full, cannot open.
const PASSING: [i64; 5] = [5, 6, 10, 13, 14];

impl Error {
    /// True when trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Database { source, .. } => {
                sqlite_code(source).is_some_and(|code| !PASSING.contains(&code))
            }
            _ => true,
        }
    }

    /// Names the operation a failed statement belongs to.
    pub(crate) fn while_doing(self, doing: &'static str) -> Self {
        match self {
            Self::Database { source, .. } => Self::Database { doing, source },
            other => other,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::Database { doing: "ask the catalog", source }
    }
}

/// SQLite's primary result code (the low byte of the extended one).
pub(crate) fn sqlite_code(error: &sqlx::Error) -> Option<i64> {
    let code: i64 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
