//! The site's log: what every node states for the others to know, in sealed and signed batches.
//!
//! Bytes in, bytes out: no file, no SQL, no network. FORMAT.md beside this crate gives every structure to the byte.
//!
//! What holds:
//! - A fact is immutable and has an id of its own; stated twice it counts once.
//! - Facts of a kind this version does not know are kept and passed on as they came.
//! - The batches of an incarnation are a chain: none can be changed, left out, moved or replayed unnoticed.
//! - [`Merge`] takes facts in any order, any number of times, and ends in the same state. There is no consensus in it:
//!   sets grow; deletions, revocations and holds win; of corrections the one nobody superseded counts, and where two are
//!   left a person decides.
//! - Who states what its role does not allow, or deletes what it does not own, is reported and changes nothing.
//!
//! Absent on purpose: instances. A fact names a pack; the pack's footer says the rest.
//!
//! | module | what |
//! | --- | --- |
//! | `stamp` | hybrid logical clock: when something was stated |
//! | `fact`, `body` | what is stated, and its bytes |
//! | `role` | which role may state what |
//! | `batch`, `chain` | facts as an object of the bucket; the batches of one incarnation read in order |
//! | `merge`, `custody` | what all facts come to |
//! | `book` | what only a catalog holds, sealed as an object beside the log |

mod batch;
mod body;
mod book;
mod chain;
mod custody;
mod error;
mod fact;
mod merge;
mod role;
mod stamp;

pub use batch::{
    BATCH_BYTES_MAX, BATCH_FACTS_MAX, Batch, BatchHead, HEAD_BYTES, LogKey, NewBatch, Place, SIGNATURE_BYTES,
    Unsigned, VERIFYING_KEY_BYTES, batch_head,
};
pub use body::{
    Body, CORRECTION_BYTES_MAX, Correction, IDS_MAX, KindName, PackVerified, TEXT_BYTES_MAX, Target, Why,
};
pub use book::{
    BookDocument, DOCUMENT_BYTES_MAX, EXPORT_BYTES_MAX, EXPORT_HEAD_BYTES, ExportHead, ExportPlace,
};
pub use chain::{Chain, Tip};
pub use custody::{ConfirmedStated, DeletionStated, HoldStated, KeptStated, StudyStanding};
pub use error::Error;
pub use fact::{Author, FACT_BYTES_MAX, Fact, Stated};
pub use merge::{Head, Heartbeat, Merge, PackStanding, Refusal, Refused};
pub use role::{Role, Roles};
pub use stamp::{HybridClock, Stamp};
