//! Records on their way from packs into another: copied first, and read from the old pack until the new one is verified.

use filmgate_model::{PackId, RecordId, Timestamp};

use super::{
    batch,
    copies::refresh_served_in,
    packing::NewPack,
    packs::{COLUMNS, Pack, pack},
};
use crate::{
    Catalog, Error,
    book::telling::Told,
    engine::{
        AssertSqlSafe, Connection, query,
        row::{get, id, signed, unsigned},
    },
};

/// A record copied into a new pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The record.
    pub record_id: RecordId,
    /// The pack it stands in until the new one is verified.
    pub from: PackId,
    /// Where it begins in the new one.
    pub offset: u64,
}

/// What a verified new pack took over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switched {
    /// Records that stand in it now.
    pub records: u64,
    /// Packs they were in, which may go after a grace.
    pub replaced: Vec<PackId>,
}

impl Catalog {
    /// Enters a pack that holds copies of records of other packs. Nothing is read from it before it is verified.
    ///
    /// # Errors
    /// [`Error::NotPackable`] when a record is not where it was, or on its way already; [`Error::KeyShredded`]: nothing is
    /// entered then.
    pub async fn record_repacked(&self, new: &NewPack, moves: &[Move], at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("record a repacked pack", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                self.take_custody(&mut transaction, &new.study_instance_uid).await?;
                self.insert_pack(&mut transaction, new, at).await?;
                for one in moves {
                    self.begin_move(&mut transaction, new.pack_id, one).await?;
                }
                transaction.commit().await
            })
            .await
    }

    async fn begin_move(&self, writer: &mut Connection, to: PackId, one: &Move) -> Result<(), Error> {
        let begun = query(
            "INSERT INTO index_moves (record_id, site_id, from_pack, to_pack, to_offset)
             SELECT i.record_id, i.site_id, i.pack_id, $3, $4 FROM index_instances i
             JOIN index_packs p ON p.pack_id = i.pack_id
             WHERE i.record_id = $1 AND i.pack_id = $2 AND i.state <> 'deleted' AND p.state <> 'deleted'
             ON CONFLICT (record_id) DO NOTHING",
        )
        .bind(one.record_id.as_bytes().as_slice())
        .bind(one.from.as_bytes().as_slice())
        .bind(to.as_bytes().as_slice())
        .bind(signed(one.offset, "a pack")?)
        .execute(writer)
        .await?;
        if begun.rows_affected() == 1 {
            return Ok(());
        }
        Err(Error::NotPackable { record_id: one.record_id, pack_id: to })
    }

    /// Packs of this node that are verified and whose records still stand in the old ones.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn packs_to_switch(&self) -> Result<Vec<PackId>, Error> {
        self.moving_into("p.state = 'verified'").await
    }

    /// Packs of this node that were to take records over and turned out damaged.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn failed_repacks(&self) -> Result<Vec<PackId>, Error> {
        self.moving_into("p.state IN ('damaged', 'deleted')").await
    }

    async fn moving_into(&self, which: &'static str) -> Result<Vec<PackId>, Error> {
        let sql = format!(
            "SELECT DISTINCT m.to_pack FROM index_moves m JOIN index_packs p ON p.pack_id = m.to_pack
             WHERE p.site_id = $1 AND p.node_id = $2 AND {which} ORDER BY m.to_pack"
        );
        self.engine
            .run("list packs that take records over", async {
                let mut reader = self.engine.reader().await?;
                let query = query(AssertSqlSafe(sql)).bind(self.site()).bind(self.node());
                let rows = query.fetch_all(&mut reader).await?;
                rows.iter().map(|row| Ok(PackId(id(row, "to_pack")?))).collect()
            })
            .await
    }

    /// The records a verified pack took over stand in it from now on, each that is still where it was copied from.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn switch_to(&self, new: PackId, at: Timestamp) -> Result<Switched, Error> {
        self.engine
            .run("switch to a repacked pack", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let row = query(
                    "SELECT study_instance_uid, state = 'verified' AS verified FROM index_packs WHERE pack_id = $1",
                )
                .bind(new.as_bytes().as_slice())
                .fetch_optional(&mut transaction)
                .await?
                .ok_or(Error::UnknownPack(new))?;
                self.take_custody(&mut transaction, get(&row, "study_instance_uid")?).await?;
                if !get::<bool>(&row, "verified")? {
                    return Ok(Switched::default());
                }
                let replaced = replaced_by(&mut transaction, new).await?;
                let moved = query(SWITCH)
                    .bind(new.as_bytes().as_slice())
                    .bind(at.0)
                    .execute(&mut transaction)
                    .await?;
                mark_replaced(&mut transaction, new, at).await?;
                clear_alarms(&mut transaction, self.site(), &replaced, at).await?;
                end_moves(&mut transaction, new).await?;
                refresh_served_in(&mut transaction, self.site(), new).await?;
                let emptied = emptied_of(&mut transaction, &replaced).await?;
                if !emptied.is_empty() {
                    let told = Told::PacksReplaced { replaced: &emptied, by: new };
                    self.tell(&mut transaction, &told, at).await?;
                }
                transaction.commit().await?;
                Ok(Switched { records: moved.rows_affected(), replaced })
            })
            .await
    }

    /// A pack that was to take records over is given up: they stay where they are, and its bytes go.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn abandon_repack(&self, new: PackId, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("abandon a repacked pack", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                end_moves(&mut transaction, new).await?;
                let given_up = query(
                    "UPDATE index_packs SET state = 'deleted', state_at = $2, reason = NULL, next_try_at = NULL
                     WHERE pack_id = $1 AND state <> 'verified'
                        AND NOT EXISTS (SELECT 1 FROM index_instances i WHERE i.pack_id = $1)",
                )
                .bind(new.as_bytes().as_slice())
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                if given_up.rows_affected() > 0 {
                    let told = Told::PackDeleted { pack_id: new, why: "damaged before its records stood in it" };
                    self.tell(&mut transaction, &told, at).await?;
                }
                // Its records are where they were: nothing is lost with it.
                clear_alarms(&mut transaction, self.site(), &[new], at).await?;
                transaction.commit().await
            })
            .await
    }

    /// The study that waits longest to have its small packs merged: two or more of this node's, verified, shorter than
    /// `small_bytes`, the last of them made before `quiet_since`, and nothing of it in the journal.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn study_to_merge(
        &self,
        small_bytes: u64,
        quiet_since: Timestamp,
    ) -> Result<Option<String>, Error> {
        self.engine
            .run("look for small packs", async {
                let mut reader = self.engine.reader().await?;
                let row = query(STUDY_TO_MERGE)
                    .bind(self.site())
                    .bind(self.node())
                    .bind(i64::try_from(small_bytes).unwrap_or(i64::MAX))
                    .bind(quiet_since.0)
                    .fetch_optional(&mut reader)
                    .await?;
                row.map(|row| get(&row, "study_instance_uid")).transpose()
            })
            .await
    }

    /// The packs of a study on this node whose records could be moved now: verified or damaged, not replaced, and neither
    /// given nor taking records already. The oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn movable_packs(&self, study_instance_uid: &str) -> Result<Vec<Pack>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE site_id = $1 AND node_id = $2 AND study_instance_uid = $3
                AND state IN ('verified', 'damaged') AND replaced_at IS NULL
                AND NOT EXISTS (SELECT 1 FROM index_moves m
                    WHERE m.from_pack = index_packs.pack_id OR m.to_pack = index_packs.pack_id)
             ORDER BY created_at, pack_id"
        );
        self.engine
            .run("list the packs of a study", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(study_instance_uid)
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

    /// Of `records`, those that stand in a known pack whose bytes have not been given up.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn count_packed_elsewhere(&self, records: &[RecordId], than: PackId) -> Result<u64, Error> {
        self.engine
            .run("look for records in other packs", async {
                let mut reader = self.engine.reader().await?;
                let mut elsewhere = 0;
                for run in batch::runs(records, 1, RECORDS_AT_ONCE) {
                    let sql = format!(
                        "SELECT COUNT(*) AS records FROM index_instances i JOIN index_packs p ON p.pack_id = i.pack_id
                         WHERE i.pack_id <> $1 AND p.state NOT IN ('damaged', 'deleted') AND i.record_id IN {}",
                        batch::values(2, run.len(), 1)
                    );
                    let mut query = query(AssertSqlSafe(sql)).bind(than.as_bytes().as_slice());
                    for record_id in run {
                        query = query.bind(record_id.as_bytes().as_slice());
                    }
                    elsewhere += unsigned(&query.fetch_one(&mut reader).await?, "records")?;
                }
                Ok(elsewhere)
            })
            .await
    }
}

/// Records asked for in one statement.
const RECORDS_AT_ONCE: usize = 64;

/// What could not be understood stays kept apart.
const SWITCH: &str = "
UPDATE index_instances SET pack_id = m.to_pack, pack_offset = m.to_offset, reason = CASE WHEN quarantine THEN reason END,
    next_try_at = NULL, state_at = CASE WHEN state IN ('verified', 'quarantined') THEN state_at ELSE $2 END,
    state = CASE WHEN quarantine THEN 'quarantined' ELSE 'verified' END
FROM index_moves m
WHERE m.to_pack = $1 AND m.record_id = index_instances.record_id AND index_instances.pack_id = m.from_pack
    AND index_instances.state <> 'deleted'";

const STUDY_TO_MERGE: &str = "
SELECT p.study_instance_uid FROM index_packs p
WHERE p.site_id = $1 AND p.node_id = $2 AND p.state = 'verified' AND p.quarantine = FALSE AND p.replaced_at IS NULL
    AND p.bytes < $3
    AND NOT EXISTS (SELECT 1 FROM index_moves m WHERE m.from_pack = p.pack_id OR m.to_pack = p.pack_id)
    AND NOT EXISTS (SELECT 1 FROM index_instances i WHERE i.site_id = $1 AND i.node_id = $2
        AND i.study_instance_uid = p.study_instance_uid AND i.pack_id IS NULL AND i.state = 'received')
GROUP BY p.study_instance_uid HAVING COUNT(*) > 1 AND MAX(p.created_at) <= $4
ORDER BY MIN(p.created_at), p.study_instance_uid LIMIT 1";

async fn replaced_by(writer: &mut Connection, new: PackId) -> Result<Vec<PackId>, Error> {
    let rows = query("SELECT DISTINCT from_pack FROM index_moves WHERE to_pack = $1 ORDER BY from_pack")
        .bind(new.as_bytes().as_slice())
        .fetch_all(writer)
        .await?;
    rows.iter().map(|row| Ok(PackId(id(row, "from_pack")?))).collect()
}

/// Those in which nothing lives any more: from one that others still need nothing is taken by saying it is replaced.
async fn emptied_of(writer: &mut Connection, replaced: &[PackId]) -> Result<Vec<PackId>, Error> {
    let mut emptied = Vec::new();
    for pack_id in replaced {
        let row = query(
            "SELECT EXISTS (SELECT 1 FROM index_instances WHERE pack_id = $1 AND state <> 'deleted') AS lives",
        )
        .bind(pack_id.as_bytes().as_slice())
        .fetch_one(&mut *writer)
        .await?;
        if !get::<bool>(&row, "lives")? {
            emptied.push(*pack_id);
        }
    }
    Ok(emptied)
}

async fn mark_replaced(writer: &mut Connection, new: PackId, at: Timestamp) -> Result<(), Error> {
    query(
        "UPDATE index_packs SET replaced_by = $1, replaced_at = $2
         WHERE pack_id IN (SELECT from_pack FROM index_moves WHERE to_pack = $1)",
    )
    .bind(new.as_bytes().as_slice())
    .bind(at.0)
    .execute(writer)
    .await?;
    Ok(())
}

/// What was damaged and holds nothing that lives any more is nobody's trouble.
async fn clear_alarms(
    writer: &mut Connection,
    site: &[u8],
    replaced: &[PackId],
    at: Timestamp,
) -> Result<(), Error> {
    for pack_id in replaced {
        query(
            "UPDATE book_alarms SET cleared_at = $4
             WHERE site_id = $1 AND kind = 'damaged-pack' AND subject = $2 AND cleared_at IS NULL
                AND NOT EXISTS (SELECT 1 FROM index_instances i WHERE i.pack_id = $3 AND i.state <> 'deleted')",
        )
        .bind(site)
        .bind(pack_id.to_string())
        .bind(pack_id.as_bytes().as_slice())
        .bind(at.0)
        .execute(&mut *writer)
        .await?;
    }
    Ok(())
}

async fn end_moves(writer: &mut Connection, new: PackId) -> Result<(), Error> {
    query("DELETE FROM index_moves WHERE to_pack = $1")
        .bind(new.as_bytes().as_slice())
        .execute(writer)
        .await?;
    Ok(())
}
