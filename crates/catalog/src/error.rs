//! What can go wrong with the catalog.

use std::path::PathBuf;

use filmgate_model::{FactId, PackId, RecordId, StudyKeyId, Tag, Timestamp};

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
    /// The address of the PostgreSQL database cannot be understood. Its cause may quote the address, and with it
    /// a password: it is not shown.
    #[error(
        "the address of the PostgreSQL database cannot be understood: postgres://user@host:5432/database is expected"
    )]
    PostgresUrl,
    /// The PostgreSQL server does not answer, or refuses us.
    #[error("connect to the PostgreSQL server of the catalog")]
    Connect(#[source] sqlx::Error),
    /// The PostgreSQL server is not one that a catalog can be kept in.
    #[error("the PostgreSQL server cannot keep the catalog: {what}")]
    Unfit {
        /// What is wrong, and what to do.
        what: &'static str,
    },
    /// The database went away, or gave up a statement for reasons of its own: it is tried again.
    #[error("{doing}: the database is away or busy")]
    Away {
        /// The operation.
        doing: &'static str,
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
    /// A search did not end in the time it has.
    #[error("{doing}: it takes too long")]
    TookTooLong {
        /// The operation.
        doing: &'static str,
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
    /// A pack is sealed under a key that was destroyed since.
    #[error("study key {0} is shredded: what was sealed under it is packed again under another")]
    KeyShredded(StudyKeyId),
    /// No such pack.
    #[error("pack {0} is not in the catalog")]
    UnknownPack(PackId),
    /// A study is under hold: nothing of it goes.
    #[error(
        "study {study} is under hold since {placed_at}, by {who}: {why}; nothing of it goes before that hold is \
         released (filmgate hold list, filmgate hold release {hold_id})"
    )]
    Held {
        /// The study.
        study: String,
        /// The hold.
        hold_id: FactId,
        /// Who placed it.
        who: String,
        /// Why.
        why: String,
        /// Since when.
        placed_at: Timestamp,
    },
    /// A study must be kept until a time that is not over.
    #[error("study {study} must be kept until {keep_until} ({rule}); delete it after that")]
    Retained {
        /// The study.
        study: String,
        /// Until when.
        keep_until: Timestamp,
        /// Whose rule that is.
        rule: String,
    },
    /// A time to keep a study can be prolonged, not shortened.
    #[error("study {study} is kept until {keep_until} already, and a retention can only be prolonged")]
    Shorter {
        /// The study.
        study: String,
        /// Until when.
        keep_until: Timestamp,
    },
    /// There is nothing to delete that is not to be deleted already.
    #[error("nothing of {0} is here that is not to be deleted already; filmgate delete list shows what is")]
    NothingToDelete(String),
    /// No such deletion.
    #[error("there is no deletion {0}; filmgate delete list shows those there are")]
    NoSuchDeletion(FactId),
    /// What was asked for does not fit how the deletion stands.
    #[error("deletion {deletion_id} is {standing}")]
    NotOpen {
        /// The deletion.
        deletion_id: FactId,
        /// How it stands.
        standing: &'static str,
    },
    /// Whoever asked for a deletion may not confirm it.
    #[error(
        "deletion {0} has to be confirmed by somebody else than who asked for it (setting deletion.two_people)"
    )]
    SamePerson(FactId),
    /// No such hold, or it is released.
    #[error("there is no hold {0} that stands; filmgate hold list shows those that do")]
    NoSuchHold(FactId),
    /// Who and why have to be said.
    #[error("say {0}: it is kept for those who ask later")]
    Unsaid(&'static str),
    /// The value asked for does not fit the attribute.
    #[error("the value asked for in {tag} cannot be matched")]
    Unmatchable {
        /// The attribute.
        tag: Tag,
    },
}

/// Primary result codes after which the same statement may well succeed: busy, locked, I/O, full, cannot open.
const PASSING: [i64; 5] = [5, 6, 10, 13, 14];

/// Classes of SQLSTATE after which it may: connection, a standby that is not the primary yet, rolled back for another's
/// sake, out of a resource, a lock not to be had, stopped by an operator or a time-out, the system's own trouble.
const PASSING_CLASSES: [&str; 7] = ["08", "25", "40", "53", "55", "57", "58"];

/// SQLite's result code of a statement that was interrupted.
const INTERRUPTED: i64 = 9;
/// PostgreSQL's of one that was cancelled, by a time-out among others.
const CANCELLED: &str = "57014";

impl Error {
    /// True when the database did not answer: the same may go well in a moment.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Connect(_))
    }

    /// True when trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Database { source, .. } | Self::Connect(source) => {
                !passes(source)
            }
            Self::Away { .. } => false,
            _ => true,
        }
    }

    /// True when what somebody asked for is not to be, with what to do instead: not a failure of ours.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Held { .. }
                | Self::Retained { .. }
                | Self::Shorter { .. }
                | Self::NothingToDelete(_)
                | Self::NoSuchDeletion(_)
                | Self::NotOpen { .. }
                | Self::SamePerson(_)
                | Self::NoSuchHold(_)
                | Self::Unsaid(_)
        )
    }

    /// Of a search, whose time is bounded: what ended because of that.
    pub(crate) fn of_bounded(self) -> Self {
        match self {
            Self::Database { doing, source } if sqlite_code(&source) == Some(INTERRUPTED) => {
                Self::TookTooLong { doing }
            }
            Self::Away { doing, source } if postgres_code(&source).as_deref() == Some(CANCELLED) => {
                Self::TookTooLong { doing }
            }
            other => other,
        }
    }

    /// Names the operation a failed statement belongs to.
    pub(crate) fn while_doing(self, doing: &'static str) -> Self {
        match self {
            Self::Database { source, .. } => Self::Database { doing, source },
            Self::Away { source, .. } => Self::Away { doing, source },
            Self::TookTooLong { .. } => Self::TookTooLong { doing },
            other => other,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        let doing = "ask the catalog";
        match postgres_class(&source) {
            Some(_) if passes(&source) => Self::Away { doing, source },
            _ => Self::Database { doing, source },
        }
    }
}

/// True when the same statement may well succeed later.
fn passes(error: &sqlx::Error) -> bool {
    match (postgres_class(error), sqlite_code(error)) {
        (Some(class), _) => PASSING_CLASSES.contains(&class.as_str()),
        (None, Some(code)) => PASSING.contains(&code),
        (None, None) => true,
    }
}

/// The class of PostgreSQL's SQLSTATE: its first two characters. A connection that cannot be had or broke counts as
/// class 08.
fn postgres_class(error: &sqlx::Error) -> Option<String> {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls};
    match error {
        Database(_) => postgres_code(error)?.get(..2).map(str::to_owned),
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed => Some("08".to_owned()),
        _ => None,
    }
}

/// PostgreSQL's SQLSTATE.
fn postgres_code(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    Some(error.code().to_owned())
}

/// SQLite's primary result code (the low byte of the extended one).
pub(crate) fn sqlite_code(error: &sqlx::Error) -> Option<i64> {
    let error = error.as_database_error()?.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    let code: i64 = sqlx::error::DatabaseError::code(error)?.parse().ok()?;
    Some(code & 0xff)
}
