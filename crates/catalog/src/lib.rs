//! What the gateway knows, in SQL: where every instance stands, which pack holds it, what QIDO-RS answers.
//!
//! Two halves. `index_*` tables are derived: log, packs and journal rebuild them, and [`Catalog::wipe_index`] drops
//! nothing else. `book_*` tables are authoritative.
//!
//! Invariants:
//! - A method is a whole operation in one transaction; it may run twice and then changes nothing.
//! - An instance is in one [`filmgate_model::InstanceState`]; it moves only along `transition`, and the `WHERE`
//!   clauses say so again.
//! - Of the copies of one SOP Instance UID in a study exactly one is served, by a unique index of the schema.
//! - Quarantined, hidden and deleted instances never appear in a search.
//! - An index narrows a search, it never answers it: every row of an answer was compared with the whole question.
//! - What a deletion takes are the records it named, and only while, in the same transaction, no hold stands on the study
//!   and its time to be kept is over.
//! - A commit that returned is synced: SQLite's `synchronous=FULL`, PostgreSQL's `synchronous_commit=on`, without which
//!   it is refused. SQLite's file and WAL are encrypted (SQLCipher); of PostgreSQL the site encrypts the volume.
//!
//! Absent on purpose: keys (wrapped keys live in the bucket and the local key cache), image bytes, a clock.
//!
//! | module | what |
//! | --- | --- |
//! | `catalog` | opening, closing, wiping |
//! | `engine/` | SQLite and PostgreSQL under one statement; migrations; how an operation is driven |
//! | `transition` | the table of legal moves |
//! | `index/` | instances, studies, series, patients, packs, placements, study keys |
//! | `book/` | alarms, callers of associations, tokens, the administrator; holds, retention, deletions; nodes; the outbox of
//! the log and what is told by it; what goes into exports |
//! | `search/` | QIDO-RS keys, patterns, rows; the gram table; how a search is narrowed |
//! | `suite` | the tests every engine must pass |

// The bundled SQLCipher is linked for sqlx, which finds it through this crate; nothing of it is called here.
use libsqlite3_sys as _;

mod book;
mod catalog;
mod engine;
mod error;
mod index;
mod search;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
#[cfg(test)]
mod tests;
mod transition;

pub use book::{
    adopting::TakeOver,
    ae::{AeBook, AeCaller, AeRule},
    alarms::{Alarm, AlarmKind},
    custody::Because,
    deletions::{Deletion, DeletionRules, DeletionStep, NewDeletion},
    exports::BookExport,
    holds::Hold,
    key_rotations::KeyRotator,
    log_positions::LogPosition,
    nodes::Node,
    outbox::Outgoing,
    restoring::{CustodyFound, DeletionFound},
    retention::{Retention, RetentionRule},
    rows::{BookAlarm, BookRows},
    sessions::Session,
    shredding::{KeysGivenUp, PlaceOfKey, PlaceToEmpty, ShredPlace, ShreddedKey},
    telling::{Teller, Told},
    tokens::Token,
};
pub use catalog::{Catalog, CatalogOptions};
pub use engine::PostgresOptions;
pub use error::Error;
pub use index::{
    attributes::InstanceAttributes,
    copies::{Copy, CopyKind},
    deleting::{PackToDelete, Stays},
    found::{FoundInstance, FoundPack},
    instances::{Location, ReceivedInstance, Standing},
    locations::PackLocation,
    packing::{DroppedCopy, NewPack, PackReason, PackedInstance, RecordToPack, StudyToPack},
    packs::{EvictablePack, KnownPack, Pack, PlacementState},
    repacking::{Move, Switched},
    study_keys::FoundKey,
    totals::{Count, StudyProgress, Totals},
    tries::PlacementTry,
    upload_parts::{GivenUpUpload, UploadInParts, UploadedPart},
};
pub use search::{
    attributes::{AttributeOf, Attributes, KeptAttribute},
    query::{Page, Query},
    rows::{AttributeValues, InstanceRow, SeriesRow, StudyRow},
};
pub use transition::may_become;
