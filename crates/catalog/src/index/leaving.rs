//! Packs on their way out, as the logs say it: replaced ones and deleted ones, on a follower and after a rebuild.

use filmgate_model::{NodeId, PackId, RecordId, Timestamp};

use super::{copies::refresh_served_in, found::FoundPack};
use crate::{
    Catalog, Error,
    engine::{
        query,
        row::{get, id, signed},
    },
};

impl Catalog {
    /// Records of a pack stand in another one from now on, where each begins at the offset given; those that are not in
    /// the first stay where they are.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn follow_replacement(
        &self,
        from: PackId,
        to: PackId,
        records: &[(RecordId, u64)],
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("follow a replacement", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                self.lock_study_of_pack(&mut transaction, from).await?;
                for (record_id, offset) in records {
                    query(
                        "UPDATE index_instances SET pack_id = $3, pack_offset = $4
                         WHERE record_id = $1 AND pack_id = $2 AND state <> 'deleted'",
                    )
                    .bind(record_id.as_bytes().as_slice())
                    .bind(from.as_bytes().as_slice())
                    .bind(to.as_bytes().as_slice())
                    .bind(signed(*offset, "a pack")?)
                    .execute(&mut transaction)
                    .await?;
                }
                query(
                    "UPDATE index_packs SET replaced_by = $2, replaced_at = $3
                     WHERE pack_id = $1 AND replaced_at IS NULL",
                )
                .bind(from.as_bytes().as_slice())
                .bind(to.as_bytes().as_slice())
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                refresh_served_in(&mut transaction, self.site(), to).await?;
                transaction.commit().await
            })
            .await
    }

    /// A pack is gone, and with it the records that still stood in it. Of one of this node's own it is made sure that its
    /// bytes are.
    ///
    /// # Errors
    /// When a statement fails; then nothing changed.
    pub async fn follow_deletion(&self, pack_id: PackId, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("follow a deletion", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                self.lock_study_of_pack(&mut transaction, pack_id).await?;
                query(
                    "UPDATE index_instances SET state = 'deleted', state_at = $2, hidden = TRUE, served = FALSE
                     WHERE pack_id = $1 AND state <> 'deleted'",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(at.0)
                .execute(&mut transaction)
                .await?;
                query(
                    "UPDATE index_packs SET state = 'deleted', state_at = $2,
                        gone_at = CASE WHEN node_id = $3 THEN NULL ELSE $2 END
                     WHERE pack_id = $1 AND state <> 'deleted'",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(at.0)
                .bind(self.node())
                .execute(&mut transaction)
                .await?;
                refresh_served_in(&mut transaction, self.site(), pack_id).await?;
                transaction.commit().await
            })
            .await
    }

    async fn lock_study_of_pack(
        &self,
        writer: &mut crate::engine::Connection,
        pack_id: PackId,
    ) -> Result<(), Error> {
        let row = query("SELECT study_instance_uid FROM index_packs WHERE pack_id = $1")
            .bind(pack_id.as_bytes().as_slice())
            .fetch_optional(&mut *writer)
            .await?
            .ok_or(Error::UnknownPack(pack_id))?;
        self.take_custody(writer, get(&row, "study_instance_uid")?).await
    }

    /// Enters a pack that a bucket still holds and of which nothing is read any more, so that its bytes go in the end:
    /// replaced by another, or given up. One that is known stays as it is.
    ///
    /// # Errors
    /// When a statement fails; then nothing was entered.
    pub async fn record_leaving(
        &self,
        found: &FoundPack,
        replaced_by: Option<PackId>,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("record a pack that goes", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                if self.insert_found_pack(&mut transaction, found, at).await? {
                    for placement in &found.placements {
                        self.insert_found_placement(&mut transaction, found, placement, at).await?;
                    }
                    query("UPDATE index_packs SET replaced_by = $2, replaced_at = CASE WHEN $2 IS NULL THEN NULL ELSE $3 END
                         WHERE pack_id = $1")
                        .bind(found.pack.pack_id.as_bytes().as_slice())
                        .bind(replaced_by.as_ref().map(|by| by.as_bytes().as_slice()))
                        .bind(at.0)
                        .execute(&mut transaction)
                        .await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// Verified packs of a node that no batch is known to name, the oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn unlogged_packs(&self, node_id: NodeId, limit: u32) -> Result<Vec<PackId>, Error> {
        self.engine
            .run("list packs that no log names", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT p.pack_id FROM index_packs p
                     WHERE p.site_id = $1 AND p.node_id = $2 AND p.logged_at IS NULL AND p.state = 'verified'
                        AND NOT EXISTS (SELECT 1 FROM book_outbox o WHERE o.pack_id = p.pack_id)
                     ORDER BY p.created_at, p.pack_id LIMIT $3",
                )
                .bind(self.site())
                .bind(node_id.as_bytes().as_slice())
                .bind(i64::from(limit))
                .fetch_all(&mut reader)
                .await?;
                rows.iter().map(|row| Ok(PackId(id(row, "pack_id")?))).collect()
            })
            .await
    }

    /// Packs that a batch names already.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn note_logged(&self, packs: &[PackId], at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("note what the log names", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                for pack_id in packs {
                    super::logged::note_logged(&mut transaction, *pack_id, at).await?;
                }
                transaction.commit().await
            })
            .await
    }
}
