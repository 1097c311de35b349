//! What others must know of an operation: handed to whoever puts it into the log's words, and written into the outbox in
//! the operation's own transaction.

use filmgate_model::{FactId, PackId, RecordId, Timestamp};

use super::{custody::Because, deletions::NewDeletion};
use crate::{Catalog, Error, Outgoing, engine::Connection};

/// Something that happened and that others must know.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// Nothing of a study goes from now on.
    HoldPlaced {
        /// The hold.
        hold_id: FactId,
        /// The study.
        study: &'a str,
        /// Who and why.
        because: &'a Because,
    },
    /// A hold ended.
    HoldReleased {
        /// The hold.
        hold_id: FactId,
        /// The study.
        study: &'a str,
        /// Who and why.
        because: &'a Because,
    },
    /// A study is kept at least until then.
    Kept {
        /// The study.
        study: &'a str,
        /// Until when.
        until: Timestamp,
        /// Who and why.
        because: &'a Because,
    },
    /// A deletion was asked for.
    DeletionRequested {
        /// What was asked for, by whom and why.
        new: &'a NewDeletion,
        /// The records it names.
        records: &'a [RecordId],
    },
    /// A deletion is meant.
    DeletionConfirmed {
        /// The deletion.
        deletion_id: FactId,
        /// By whom.
        who: &'a str,
        /// Nothing goes before.
        due_at: Timestamp,
    },
    /// A deletion was taken back.
    DeletionCancelled {
        /// The deletion.
        deletion_id: FactId,
        /// Who and why.
        because: &'a Because,
    },
    /// All that a deletion names is gone.
    DeletionDone {
        /// The deletion.
        deletion_id: FactId,
    },
    /// Nothing is read from these packs any more: their records stand in another one, which is verified.
    PacksReplaced {
        /// The packs.
        replaced: &'a [PackId],
        /// The other one.
        by: PackId,
    },
    /// A pack's bytes go.
    PackDeleted {
        /// The pack.
        pack_id: PackId,
        /// Why, in words.
        why: &'a str,
    },
}

/// Puts what happened into the log's words. The catalog does not know them; what it hands over at once stands in one
/// transaction with what it tells of.
pub type Teller = fn(&Told<'_>) -> Result<Vec<Outgoing>, Error>;

impl Catalog {
    /// Writes down what others must know, where somebody is there to put it into words.
    pub(crate) async fn tell(
        &self,
        writer: &mut Connection,
        told: &Told<'_>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let Some(teller) = self.teller else { return Ok(()) };
        for fact in teller(told)? {
            self.put_out(writer, &fact, at).await?;
        }
        Ok(())
    }
}
