//! What the logs say of custody, entered into a catalog that does not know it: after a rebuild, and on a follower.
//!
//! What stands here already stays: the two are of one mind, or the log has yet to hear what was decided here.

use filmgate_model::{FactId, RecordId, Timestamp};

use super::{custody::Because, holds::Hold, retention::Retention};
use crate::{
    Catalog, Error,
    engine::{AssertSqlSafe, Connection, query, row::get},
    index::batch,
};

/// What binds a study and what is to be deleted of it, as the logs say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustodyFound {
    /// The study.
    pub study_instance_uid: String,
    /// Its holds.
    pub holds: Vec<Hold>,
    /// The time it is kept.
    pub retention: Option<Retention>,
    /// Its deletions.
    pub deletions: Vec<DeletionFound>,
}

/// A deletion as the logs say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionFound {
    /// The deletion.
    pub deletion_id: FactId,
    /// One instance; `None` for all of the study.
    pub sop_instance_uid: Option<String>,
    /// Who asked, and why.
    pub because: Because,
    /// When.
    pub requested_at: Timestamp,
    /// The records it names.
    pub records: Vec<RecordId>,
    /// Who confirmed it and when, and nothing goes before.
    pub confirmed: Option<(String, Timestamp, Timestamp)>,
    /// Who took it back and why, and when.
    pub cancelled: Option<(Because, Timestamp)>,
    /// When the last of it was gone.
    pub done_at: Option<Timestamp>,
}

/// Records entered in one statement.
const RECORDS_AT_ONCE: usize = 256;

impl Catalog {
    /// Enters what the logs say of studies, each in a transaction of its own. [`Catalog::restore_deletions`] brings it to
    /// the records.
    ///
    /// # Errors
    /// When a statement fails; it may be done again.
    pub async fn restore_custody(&self, found: &[CustodyFound]) -> Result<(), Error> {
        self.engine
            .run("enter what the logs say of custody", async {
                let mut writer = self.engine.writer().await?;
                for study in found {
                    let mut transaction = writer.begin().await?;
                    self.take_custody(&mut transaction, &study.study_instance_uid).await?;
                    for hold in &study.holds {
                        self.restore_hold(&mut transaction, hold).await?;
                    }
                    if let Some(retention) = &study.retention {
                        self.restore_retention(&mut transaction, retention).await?;
                    }
                    for deletion in &study.deletions {
                        self.restore_deletion(&mut transaction, &study.study_instance_uid, deletion).await?;
                    }
                    transaction.commit().await?;
                }
                Ok(())
            })
            .await
    }

    async fn restore_hold(&self, writer: &mut Connection, hold: &Hold) -> Result<(), Error> {
        let released = hold.released.as_ref();
        query(
            "INSERT INTO book_holds (hold_id, site_id, study_instance_uid, who, why, placed_at, released_by,
                released_why, released_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (hold_id) DO UPDATE SET released_by = excluded.released_by,
                released_why = excluded.released_why, released_at = excluded.released_at
             WHERE book_holds.released_at IS NULL",
        )
        .bind(hold.hold_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(&hold.study_instance_uid)
        .bind(&hold.because.who)
        .bind(&hold.because.why)
        .bind(hold.placed_at.0)
        .bind(released.map(|(because, _)| because.who.as_str()))
        .bind(released.map(|(because, _)| because.why.as_str()))
        .bind(released.map(|(_, at)| at.0))
        .execute(writer)
        .await?;
        Ok(())
    }

    async fn restore_retention(&self, writer: &mut Connection, retention: &Retention) -> Result<(), Error> {
        query(
            "INSERT INTO book_retention (site_id, study_instance_uid, keep_until, who, why, set_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (site_id, study_instance_uid) DO UPDATE SET keep_until = excluded.keep_until,
                who = excluded.who, why = excluded.why, set_at = excluded.set_at
             WHERE book_retention.keep_until < excluded.keep_until",
        )
        .bind(self.site())
        .bind(&retention.study_instance_uid)
        .bind(retention.keep_until.0)
        .bind(&retention.because.who)
        .bind(&retention.because.why)
        .bind(retention.set_at.0)
        .execute(writer)
        .await?;
        Ok(())
    }

    async fn restore_deletion(
        &self,
        writer: &mut Connection,
        study: &str,
        deletion: &DeletionFound,
    ) -> Result<(), Error> {
        self.restore_steps(writer, study, deletion).await?;
        let id = deletion.deletion_id.as_bytes().as_slice();
        for run in batch::runs(&deletion.records, 1, RECORDS_AT_ONCE) {
            let sql = format!(
                "INSERT INTO book_deletion_records (deletion_id, record_id)
                 SELECT $1, v.column1 FROM (VALUES {}) AS v WHERE TRUE
                 ON CONFLICT (deletion_id, record_id) DO NOTHING",
                batch::values(2, 1, run.len())
            );
            let mut statement = query(AssertSqlSafe(sql)).bind(id);
            for record_id in run {
                statement = statement.bind(record_id.as_bytes().as_slice());
            }
            statement.execute(&mut *writer).await?;
        }
        if let Some(done_at) = deletion.done_at {
            query("UPDATE book_deletion_records SET deleted_at = $2 WHERE deletion_id = $1 AND deleted_at IS NULL")
                .bind(id)
                .bind(done_at.0)
                .execute(&mut *writer)
                .await?;
        }
        match deletion.cancelled {
            Some(_) => self.let_go(writer, deletion.deletion_id).await,
            None => Ok(()),
        }
    }

    async fn restore_steps(
        &self,
        writer: &mut Connection,
        study: &str,
        deletion: &DeletionFound,
    ) -> Result<(), Error> {
        let (confirmed, cancelled) = (deletion.confirmed.as_ref(), deletion.cancelled.as_ref());
        query(
            "INSERT INTO book_deletions (deletion_id, site_id, study_instance_uid, sop_instance_uid, who, why,
                requested_at, confirmed_by, confirmed_at, due_at, cancelled_by, cancelled_why, cancelled_at, done_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT (deletion_id) DO UPDATE SET
                confirmed_by = COALESCE(book_deletions.confirmed_by, excluded.confirmed_by),
                confirmed_at = COALESCE(book_deletions.confirmed_at, excluded.confirmed_at),
                due_at = COALESCE(book_deletions.due_at, excluded.due_at),
                cancelled_by = COALESCE(book_deletions.cancelled_by, excluded.cancelled_by),
                cancelled_why = COALESCE(book_deletions.cancelled_why, excluded.cancelled_why),
                cancelled_at = COALESCE(book_deletions.cancelled_at, excluded.cancelled_at),
                done_at = COALESCE(book_deletions.done_at, excluded.done_at)",
        )
        .bind(deletion.deletion_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(study)
        .bind(deletion.sop_instance_uid.as_deref())
        .bind(&deletion.because.who)
        .bind(&deletion.because.why)
        .bind(deletion.requested_at.0)
        .bind(confirmed.map(|(who, ..)| who.as_str()))
        .bind(confirmed.map(|(_, at, _)| at.0))
        .bind(confirmed.map(|(.., due_at)| due_at.0))
        .bind(cancelled.map(|(because, _)| because.who.as_str()))
        .bind(cancelled.map(|(because, _)| because.why.as_str()))
        .bind(cancelled.map(|(_, at)| at.0))
        .bind(deletion.done_at.map(|at| at.0))
        .execute(writer)
        .await?;
        Ok(())
    }

    /// Lets go of what a deletion that was taken back names, where something still is.
    async fn let_go(&self, writer: &mut Connection, deletion_id: FactId) -> Result<(), Error> {
        let named = query(
            "SELECT EXISTS (SELECT 1 FROM index_instances WHERE deletion_id = $1 AND state <> 'deleted') AS named",
        )
        .bind(deletion_id.as_bytes().as_slice())
        .fetch_one(&mut *writer)
        .await?;
        if get::<bool>(&named, "named")? { self.unname(writer, deletion_id).await } else { Ok(()) }
    }
}
