//! Carrying deletions out. A pack's bytes go only when, in the transaction that says so, no row that lives names it: every
//! record still in it is named by a deletion that is confirmed, due, not taken back, and bound by no hold and no retention.

use filmgate_model::{FactId, InstanceState, PackId, RecordId, Timestamp};

use super::{
    batch,
    packs::{COLUMNS, Pack, pack},
};
use crate::{
    Catalog, Error, ReceivedInstance,
    book::{
        deletions::{Deletion, DeletionStep, refuse_unless},
        telling::Told,
    },
    engine::{
        AssertSqlSafe, Connection, query,
        row::{get, id, optional_id, optional_time, unsigned, word},
    },
};

/// Records asked for in one statement.
const RECORDS_AT_ONCE: usize = 64;

/// A pack of this node with records that a deletion names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackToDelete {
    /// The pack.
    pub pack_id: PackId,
    /// Where it stands.
    pub state: InstanceState,
    /// Records in it that the deletion does not name and that live.
    pub others: u64,
    /// Records of it are being moved to another pack.
    pub moving: bool,
    /// Its records stand in another pack since then.
    pub replaced_at: Option<Timestamp>,
}

/// Why the bytes of a pack stay for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// It is on its way to a bucket, or another node's.
    OnItsWay,
    /// Records of it are being moved.
    Moving,
    /// A record in it lives.
    Named,
    /// Whoever looked it up before its records moved may still read it.
    Grace,
    /// What replaced it is not verified.
    ReplacementUnsure,
}

impl Catalog {
    /// The packs of this node that hold records which the deletion names.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn packs_of_deletion(&self, deletion_id: FactId) -> Result<Vec<PackToDelete>, Error> {
        self.engine
            .run("list the packs of a deletion", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(PACKS_OF_DELETION)
                    .bind(self.site())
                    .bind(self.node())
                    .bind(deletion_id.as_bytes().as_slice())
                    .fetch_all(&mut reader)
                    .await?;
                let packs = rows.iter().map(|row| {
                    Ok(PackToDelete {
                        pack_id: PackId(id(row, "pack_id")?),
                        state: word(row, "state")?,
                        others: unsigned(row, "others")?,
                        moving: get(row, "moving")?,
                        replaced_at: optional_time(row, "replaced_at")?,
                    })
                });
                packs.collect()
            })
            .await
    }

    /// Deletes what a due deletion names and no pack of this node holds yet: the journal may let it go.
    ///
    /// # Errors
    /// [`Error::NotOpen`], [`Error::Held`], [`Error::Retained`]; or when a statement fails.
    pub async fn delete_unpacked(
        &self,
        deletion_id: FactId,
        retention_years: u32,
        at: Timestamp,
    ) -> Result<Vec<RecordId>, Error> {
        self.engine
            .run("delete what is not packed", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let deletion =
                    self.executable(&mut transaction, deletion_id, retention_years, at).await?;
                let rows = query(
                    "UPDATE index_instances SET state = 'deleted', state_at = $1, reason = $2, next_try_at = NULL,
                        hidden = TRUE, served = FALSE
                     WHERE deletion_id = $3 AND node_id = $4 AND pack_id IS NULL AND state <> 'deleted'
                     RETURNING record_id",
                )
                .bind(at.0)
                .bind(reason(&deletion))
                .bind(deletion_id.as_bytes().as_slice())
                .bind(self.node())
                .fetch_all(&mut transaction)
                .await?;
                self.finish(&mut transaction, deletion_id, at).await?;
                transaction.commit().await?;
                rows.iter().map(|row| Ok(RecordId(id(row, "record_id")?))).collect()
            })
            .await
    }

    /// Says of a pack that its bytes go, and of the records it still holds that they are deleted. `None` when that is
    /// done; otherwise nothing changed, and why.
    ///
    /// # Errors
    /// [`Error::NotOpen`], [`Error::Held`], [`Error::Retained`], [`Error::UnknownPack`]; or when a statement fails.
    pub async fn give_up_pack(
        &self,
        pack_id: PackId,
        retention_years: u32,
        repack_grace_ms: u64,
        at: Timestamp,
    ) -> Result<Option<Stays>, Error> {
        self.engine
            .run("give up a pack", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let study = query("SELECT study_instance_uid FROM index_packs WHERE pack_id = $1")
                    .bind(pack_id.as_bytes().as_slice())
                    .fetch_optional(&mut transaction)
                    .await?
                    .ok_or(Error::UnknownPack(pack_id))?;
                self.take_custody(&mut transaction, get(&study, "study_instance_uid")?).await?;
                if let Some(stays) = self.why_it_stays(&mut transaction, pack_id, repack_grace_ms, at).await? {
                    return Ok(Some(stays));
                }
                for deletion_id in deletions_in(&mut transaction, pack_id).await? {
                    let deletion =
                        self.executable(&mut transaction, deletion_id, retention_years, at).await?;
                    delete_in(&mut transaction, pack_id, &deletion, at).await?;
                    self.finish(&mut transaction, deletion_id, at).await?;
                }
                let given_up = query(
                    "UPDATE index_packs SET state = 'deleted', state_at = $2, reason = NULL, next_try_at = NULL,
                        attempts = 0
                     WHERE pack_id = $1 RETURNING replaced_by",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(at.0)
                .fetch_one(&mut transaction)
                .await?;
                let replaced_by = optional_id(&given_up, "replaced_by")?.map(PackId);
                self.tell_given_up(&mut transaction, pack_id, replaced_by, at).await?;
                transaction.commit().await?;
                Ok(None)
            })
            .await
    }

    /// What stood in it and lives stands in the other one; the rest goes with it.
    async fn tell_given_up(
        &self,
        writer: &mut Connection,
        pack_id: PackId,
        replaced_by: Option<PackId>,
        at: Timestamp,
    ) -> Result<(), Error> {
        if let Some(by) = replaced_by {
            self.tell(writer, &Told::PacksReplaced { replaced: &[pack_id], by }, at).await?;
        }
        let why = if replaced_by.is_some() { "replaced" } else { "all in it was deleted" };
        self.tell(writer, &Told::PackDeleted { pack_id, why }, at).await
    }

    /// Notes which records of a deletion are gone, and when it was the last.
    async fn finish(&self, writer: &mut Connection, deletion_id: FactId, at: Timestamp) -> Result<(), Error> {
        query(
            "UPDATE book_deletion_records SET deleted_at = $2
             WHERE deletion_id = $1 AND deleted_at IS NULL AND NOT EXISTS (
                SELECT 1 FROM index_instances i
                WHERE i.record_id = book_deletion_records.record_id AND i.state <> 'deleted')",
        )
        .bind(deletion_id.as_bytes().as_slice())
        .bind(at.0)
        .execute(&mut *writer)
        .await?;
        let done = query(
            "UPDATE book_deletions SET done_at = $2, waits_for = NULL
             WHERE deletion_id = $1 AND NOT EXISTS (SELECT 1 FROM book_deletion_records r
                WHERE r.deletion_id = $1 AND r.deleted_at IS NULL)",
        )
        .bind(deletion_id.as_bytes().as_slice())
        .bind(at.0)
        .execute(&mut *writer)
        .await?;
        match done.rows_affected() {
            0 => Ok(()),
            _ => self.tell(writer, &Told::DeletionDone { deletion_id }, at).await,
        }
    }

    async fn why_it_stays(
        &self,
        writer: &mut Connection,
        pack_id: PackId,
        repack_grace_ms: u64,
        at: Timestamp,
    ) -> Result<Option<Stays>, Error> {
        let row = query(WHY_IT_STAYS)
            .bind(pack_id.as_bytes().as_slice())
            .bind(self.node())
            .fetch_one(&mut *writer)
            .await?;
        let replaced_at = optional_time(&row, "replaced_at")?;
        let grace_is_over = |since: Timestamp| {
            at.0 >= since.0.saturating_add(i64::try_from(repack_grace_ms).unwrap_or(i64::MAX))
        };
        Ok(if !get::<bool>(&row, "settled")? {
            Some(Stays::OnItsWay)
        } else if unsigned(&row, "moves")? > 0 {
            Some(Stays::Moving)
        } else if unsigned(&row, "living")? > 0 {
            Some(Stays::Named)
        } else if unsigned(&row, "named")? == 0 && replaced_at.is_none() {
            // Nothing says that its records are anywhere else.
            Some(Stays::Named)
        } else if replaced_at.is_some_and(|since| !grace_is_over(since)) {
            Some(Stays::Grace)
        } else if replaced_at.is_some() && !get::<bool>(&row, "replacement_sure")? {
            Some(Stays::ReplacementUnsure)
        } else {
            None
        })
    }

    /// The deletion, when it may be carried out now. Holds win, however late they came.
    async fn executable(
        &self,
        writer: &mut Connection,
        deletion_id: FactId,
        retention_years: u32,
        at: Timestamp,
    ) -> Result<Deletion, Error> {
        let deletion = self.deletion_in_custody(writer, deletion_id).await?;
        refuse_unless(&deletion, DeletionStep::Confirmed)?;
        if !deletion.is_due(at) {
            return Err(Error::NotOpen { deletion_id, standing: "within its grace" });
        }
        let study = &deletion.study_instance_uid;
        self.refuse_if_bound(writer, study, deletion_id, retention_years, at).await?;
        Ok(deletion)
    }

    /// Packs of this node whose records all stand in other packs since before `before`, behind the first `skip`.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn replaced_packs(
        &self,
        before: Timestamp,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<PackId>, Error> {
        self.engine
            .run("list replaced packs", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT p.pack_id FROM index_packs p
                     WHERE p.site_id = $1 AND p.node_id = $2 AND p.replaced_at IS NOT NULL AND p.replaced_at <= $3
                        AND p.gone_at IS NULL AND p.state <> 'deleted'
                        AND NOT EXISTS (SELECT 1 FROM index_instances i
                            WHERE i.pack_id = p.pack_id AND i.state <> 'deleted')
                     ORDER BY p.replaced_at, p.pack_id LIMIT $4 OFFSET $5",
                )
                .bind(self.site())
                .bind(self.node())
                .bind(before.0)
                .bind(i64::from(limit))
                .bind(i64::from(skip))
                .fetch_all(&mut reader)
                .await?;
                rows.iter().map(|row| Ok(PackId(id(row, "pack_id")?))).collect()
            })
            .await
    }

    /// Packs of this node that were given up, as the log says by now, and whose bytes are not known to be gone, and that
    /// are due for a try.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn packs_going(&self, now: Timestamp, limit: u32) -> Result<Vec<Pack>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE site_id = $1 AND node_id = $2 AND state = 'deleted' AND gone_at IS NULL
                AND (next_try_at IS NULL OR next_try_at <= $3)
                AND NOT EXISTS (SELECT 1 FROM book_outbox o WHERE o.goes = index_packs.pack_id)
             ORDER BY created_at, pack_id LIMIT $4"
        );
        self.engine
            .run("list packs that go", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(now.0)
                    .bind(i64::from(limit))
                    .fetch_all(&mut reader)
                    .await?;
                let mut packs = Vec::with_capacity(rows.len());
                for row in &rows {
                    packs.push(pack(&mut reader, row).await?);
                }
                Ok(packs)
            })
            .await
    }

    /// Copies on this node's disk of packs that another node gave up.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn stale_copies(&self, limit: u32) -> Result<Vec<PackId>, Error> {
        self.engine
            .run("list copies of packs that are gone", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT l.pack_id FROM index_local_packs l JOIN index_packs p ON p.pack_id = l.pack_id
                     WHERE l.site_id = $1 AND l.node_id = $2 AND p.node_id <> $2 AND p.state = 'deleted'
                     ORDER BY l.pack_id LIMIT $3",
                )
                .bind(self.site())
                .bind(self.node())
                .bind(i64::from(limit))
                .fetch_all(&mut reader)
                .await?;
                rows.iter().map(|row| Ok(PackId(id(row, "pack_id")?))).collect()
            })
            .await
    }

    /// The bytes of a pack are gone, from every bucket and from this node's disk.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn record_gone(&self, pack_id: PackId, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("record that a pack is gone", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let gone = query(
                    "UPDATE index_packs SET gone_at = $2, reason = NULL, next_try_at = NULL
                     WHERE pack_id = $1 AND state = 'deleted' AND gone_at IS NULL",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                if gone.rows_affected() > 0 {
                    self.forget_local(&mut transaction, pack_id).await?;
                    query("DELETE FROM index_placements WHERE pack_id = $1")
                        .bind(pack_id.as_bytes().as_slice())
                        .execute(&mut transaction)
                        .await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// The bytes of a pack could not be taken away; they are tried again at `next_try_at`.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn going_failed(
        &self,
        pack_id: PackId,
        reason: &str,
        next_try_at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("record that a pack is not gone", async {
                let mut writer = self.engine.writer().await?;
                query(
                    "UPDATE index_packs SET attempts = attempts + 1, reason = $2, next_try_at = $3
                     WHERE pack_id = $1 AND state = 'deleted' AND gone_at IS NULL",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(reason)
                .bind(next_try_at.0)
                .execute(&mut writer)
                .await?;
                Ok(())
            })
            .await
    }

    /// Brings what the book says of records back into an index that was made anew: what was named, hidden or deleted is
    /// so again. How many records that changed.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn restore_deletions(&self, at: Timestamp) -> Result<u64, Error> {
        self.engine
            .run("restore deletions", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let named = query(
                    "UPDATE index_instances SET deletion_id = d.deletion_id,
                        hidden = (d.confirmed_at IS NOT NULL),
                        served = (index_instances.served AND d.confirmed_at IS NULL)
                     FROM book_deletion_records r JOIN book_deletions d ON d.deletion_id = r.deletion_id
                     WHERE r.record_id = index_instances.record_id AND index_instances.deletion_id IS NULL
                        AND d.site_id = $1 AND d.cancelled_at IS NULL AND d.done_at IS NULL",
                )
                .bind(self.site())
                .execute(&mut transaction)
                .await?;
                let gone = query(
                    "UPDATE index_instances SET state = 'deleted', state_at = $2, hidden = TRUE, served = FALSE,
                        deletion_id = r.deletion_id
                     FROM book_deletion_records r
                     WHERE r.record_id = index_instances.record_id AND r.deleted_at IS NOT NULL
                        AND index_instances.state <> 'deleted' AND index_instances.site_id = $1",
                )
                .bind(self.site())
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                if gone.rows_affected() > 0 {
                    // A crash came between "given up" and "gone", and the index was lost in it.
                    self.give_up_emptied(&mut transaction, at).await?;
                }
                if named.rows_affected() + gone.rows_affected() > 0 {
                    self.let_all_others_answer(&mut transaction).await?;
                }
                transaction.commit().await?;
                Ok(named.rows_affected() + gone.rows_affected())
            })
            .await
    }

    /// Hides what was just entered and a confirmed deletion names, carried out or not.
    pub(crate) async fn hide_deleted(
        &self,
        writer: &mut Connection,
        entered: &[ReceivedInstance],
    ) -> Result<(), Error> {
        let mut hidden = 0;
        for run in batch::runs(entered, 1, RECORDS_AT_ONCE) {
            let sql = format!(
                "UPDATE index_instances SET deletion_id = d.deletion_id, hidden = TRUE, served = FALSE
                 FROM book_deletion_records r JOIN book_deletions d ON d.deletion_id = r.deletion_id
                 WHERE r.record_id = index_instances.record_id AND index_instances.deletion_id IS NULL
                    AND d.site_id = $1 AND d.confirmed_at IS NOT NULL AND d.cancelled_at IS NULL
                    AND r.record_id IN {}",
                batch::values(2, run.len(), 1)
            );
            let mut statement = query(AssertSqlSafe(sql)).bind(self.site());
            for instance in run {
                statement = statement.bind(instance.record_id.as_bytes().as_slice());
            }
            hidden += statement.execute(&mut *writer).await?.rows_affected();
        }
        if hidden > 0 { self.let_all_others_answer(writer).await } else { Ok(()) }
    }

    async fn give_up_emptied(&self, writer: &mut Connection, at: Timestamp) -> Result<(), Error> {
        let emptied = query(
            "UPDATE index_packs SET state = 'deleted', state_at = $3
             WHERE site_id = $1 AND node_id = $2 AND state <> 'deleted' AND replaced_at IS NULL
                AND EXISTS (SELECT 1 FROM index_instances i WHERE i.pack_id = index_packs.pack_id)
                AND NOT EXISTS (SELECT 1 FROM index_instances i
                    WHERE i.pack_id = index_packs.pack_id AND i.state <> 'deleted')
             RETURNING pack_id",
        )
        .bind(self.site())
        .bind(self.node())
        .bind(at.0)
        .fetch_all(&mut *writer)
        .await?;
        for row in &emptied {
            self.tell_given_up(writer, PackId(id(row, "pack_id")?), None, at).await?;
        }
        Ok(())
    }

    /// Decides anew who answers where something is hidden.
    async fn let_all_others_answer(&self, writer: &mut Connection) -> Result<(), Error> {
        let rows = query(
            "SELECT DISTINCT deletion_id FROM index_instances
             WHERE site_id = $1 AND hidden = TRUE AND deletion_id IS NOT NULL ORDER BY deletion_id",
        )
        .bind(self.site())
        .fetch_all(&mut *writer)
        .await?;
        for row in &rows {
            self.let_others_answer(writer, FactId(id(row, "deletion_id")?)).await?;
        }
        Ok(())
    }
}

const PACKS_OF_DELETION: &str = "
SELECT p.pack_id, p.state, p.replaced_at,
    (SELECT COUNT(*) FROM index_instances o WHERE o.pack_id = p.pack_id AND o.state <> 'deleted'
        AND (o.deletion_id IS NULL OR o.deletion_id <> $3)) AS others,
    EXISTS (SELECT 1 FROM index_moves m WHERE m.from_pack = p.pack_id OR m.to_pack = p.pack_id) AS moving
FROM index_packs p
WHERE p.site_id = $1 AND p.node_id = $2 AND p.state <> 'deleted' AND p.pack_id IN (
    SELECT i.pack_id FROM index_instances i WHERE i.deletion_id = $3 AND i.state <> 'deleted')
ORDER BY p.created_at, p.pack_id";

/// A record in it lives when no deletion names it.
const WHY_IT_STAYS: &str = "
SELECT p.node_id = $2 AND p.state IN ('verified', 'damaged') AS settled, p.replaced_at,
    (SELECT COUNT(*) FROM index_moves m WHERE m.from_pack = $1 OR m.to_pack = $1) AS moves,
    (SELECT COUNT(*) FROM index_instances i WHERE i.pack_id = $1 AND i.state <> 'deleted' AND i.deletion_id IS NULL)
        AS living,
    (SELECT COUNT(*) FROM index_instances i WHERE i.pack_id = $1 AND i.state <> 'deleted'
        AND i.deletion_id IS NOT NULL) AS named,
    EXISTS (SELECT 1 FROM index_packs y WHERE y.pack_id = p.replaced_by
        AND (y.state = 'verified' OR y.replaced_at IS NOT NULL OR y.state = 'deleted')) AS replacement_sure
FROM index_packs p WHERE p.pack_id = $1";

/// Deletions that name a record still in the pack.
async fn deletions_in(writer: &mut Connection, pack_id: PackId) -> Result<Vec<FactId>, Error> {
    let rows = query(
        "SELECT DISTINCT deletion_id FROM index_instances
         WHERE pack_id = $1 AND state <> 'deleted' AND deletion_id IS NOT NULL ORDER BY deletion_id",
    )
    .bind(pack_id.as_bytes().as_slice())
    .fetch_all(writer)
    .await?;
    let ids = rows.iter().map(|row| Ok(optional_id(row, "deletion_id")?.map(FactId)));
    Ok(ids.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
}

async fn delete_in(
    writer: &mut Connection,
    pack_id: PackId,
    deletion: &Deletion,
    at: Timestamp,
) -> Result<(), Error> {
    query(
        "UPDATE index_instances SET state = 'deleted', state_at = $3, reason = $4, next_try_at = NULL, hidden = TRUE,
            served = FALSE
         WHERE pack_id = $1 AND deletion_id = $2 AND state <> 'deleted'",
    )
    .bind(pack_id.as_bytes().as_slice())
    .bind(deletion.deletion_id.as_bytes().as_slice())
    .bind(at.0)
    .bind(reason(deletion))
    .execute(writer)
    .await?;
    Ok(())
}

/// What stands beside a deleted instance: who and why.
fn reason(deletion: &Deletion) -> String {
    let confirmed = deletion.confirmed.as_ref().map_or("", |(who, _)| who.as_str());
    let asked = &deletion.because;
    format!("deleted by {}, confirmed by {confirmed}: {}", asked.who, asked.why)
}
