//! Packs that the bucket holds and the catalog does not know: a rebuild, a follower, a data directory restored from a copy.

use std::collections::HashSet;

use filmgate_model::{InstanceState, NodeId, Timestamp};

use super::{
    batch,
    copies::{CopyKind, refresh_served_in},
    filing,
    instances::{INSERT_COLUMNS, bind_instance},
};
use crate::{
    Catalog, Error, NewPack, ReceivedInstance,
    engine::{AssertSqlSafe, Connection, query, row::signed},
};

/// A pack of a bucket with all that its footer says.
#[derive(Debug, Clone)]
pub struct FoundPack {
    /// The pack.
    pub pack: NewPack,
    /// The node it belongs to.
    pub node_id: NodeId,
    /// Verified, when the log names it; uploaded, when it is to be proven and named yet.
    pub state: InstanceState,
    /// Where it is.
    pub placements: Vec<String>,
    /// What it holds.
    pub instances: Vec<FoundInstance>,
}

/// A record of such a pack.
#[derive(Debug, Clone)]
pub struct FoundInstance {
    /// The instance.
    pub instance: ReceivedInstance,
    /// Where its record begins in the pack.
    pub offset: u64,
    /// What it is among the copies of its UID.
    pub copy_kind: CopyKind,
}

impl Catalog {
    /// Enters packs with their instances, in the order given, all or nothing. A pack that is known stays as it is, and so
    /// does a record that is in another pack; one that waits in the journal is in this pack from then on. How many
    /// packs were new.
    ///
    /// # Errors
    /// When a statement fails; then none was entered.
    pub async fn record_found(&self, packs: &[FoundPack], at: Timestamp) -> Result<u64, Error> {
        self.engine
            .run("record packs of a bucket", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let studies: Vec<&str> =
                    packs.iter().map(|found| found.pack.study_instance_uid.as_str()).collect();
                transaction.lock_studies(self.site(), &studies).await?;
                let mut entered = Vec::with_capacity(packs.len());
                for found in packs {
                    if self.enter_found(&mut transaction, found, at).await? {
                        entered.push(found);
                    }
                }
                let instances = entered.iter().flat_map(|found| &found.instances);
                let instances: Vec<_> = instances.map(|found| &found.instance).collect();
                filing::file(&mut transaction, self.site(), &instances).await?;
                transaction.commit().await?;
                Ok(entered.len() as u64)
            })
            .await
    }

    async fn enter_found(
        &self,
        writer: &mut Connection,
        found: &FoundPack,
        at: Timestamp,
    ) -> Result<bool, Error> {
        if !self.insert_found_pack(writer, found, at).await? {
            return Ok(false);
        }
        for placement in &found.placements {
            self.insert_found_placement(writer, found, placement, at).await?;
        }
        if !found.pack.quarantine {
            self.insert_found_key(writer, found).await?;
        }
        let parameters_max = writer.parameters_max(PARAMETERS_MAX);
        for run in batch::runs(&found.instances, COLUMNS, parameters_max) {
            self.insert_found_run(writer, found, run, at).await?;
        }
        if found.instances.iter().any(|found| found.copy_kind != CopyKind::First) || repeats(found) {
            refresh_served_in(writer, self.site(), found.pack.pack_id).await?;
        }
        Ok(true)
    }

    pub(super) async fn insert_found_pack(
        &self,
        writer: &mut Connection,
        found: &FoundPack,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let pack = &found.pack;
        let inserted = query(
            "INSERT INTO index_packs (pack_id, site_id, node_id, study_instance_uid, study_key_id, quarantine, bytes,
                sha256, created_at, state, state_at, logged_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (pack_id) DO NOTHING",
        )
        .bind(pack.pack_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(found.node_id.as_bytes().as_slice())
        .bind(&pack.study_instance_uid)
        .bind(pack.study_key_id.as_bytes().as_slice())
        .bind(pack.quarantine)
        .bind(signed(pack.bytes, "a pack")?)
        .bind(pack.sha256.as_slice())
        .bind(pack.created_at.0)
        .bind(found.state.as_str())
        .bind(at.0)
        .bind((found.state == InstanceState::Verified).then_some(at.0))
        .execute(writer)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }

    pub(super) async fn insert_found_placement(
        &self,
        writer: &mut Connection,
        found: &FoundPack,
        placement: &str,
        at: Timestamp,
    ) -> Result<(), Error> {
        let verified_at = (found.state == InstanceState::Verified).then_some(at.0);
        query(
            "INSERT INTO index_placements (pack_id, placement, site_id, uploaded_at, verified_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (pack_id, placement) DO NOTHING",
        )
        .bind(found.pack.pack_id.as_bytes().as_slice())
        .bind(placement)
        .bind(self.site())
        .bind(at.0)
        .bind(verified_at)
        .execute(writer)
        .await?;
        Ok(())
    }

    /// As old as the pack: whether a key was there before a deletion is told by that.
    async fn insert_found_key(&self, writer: &mut Connection, found: &FoundPack) -> Result<(), Error> {
        query(
            "INSERT INTO index_study_keys
                (study_key_id, site_id, node_id, study_instance_uid, quarantine, remembered_at)
             VALUES ($1, $2, $3, $4, FALSE, $5) ON CONFLICT (study_key_id) DO NOTHING",
        )
        .bind(found.pack.study_key_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(found.node_id.as_bytes().as_slice())
        .bind(&found.pack.study_instance_uid)
        .bind(found.pack.created_at.0)
        .execute(writer)
        .await?;
        Ok(())
    }

    async fn insert_found_run(
        &self,
        writer: &mut Connection,
        found: &FoundPack,
        run: &[FoundInstance],
        at: Timestamp,
    ) -> Result<(), Error> {
        // A statement sees the rows that were there before it: what repeats a UID goes in by itself.
        if run.len() > 1 && repeats_in(run) {
            for instance in run {
                self.insert_found(writer, found, std::slice::from_ref(instance), at).await?;
            }
            return Ok(());
        }
        self.insert_found(writer, found, run, at).await
    }

    async fn insert_found(
        &self,
        writer: &mut Connection,
        found: &FoundPack,
        run: &[FoundInstance],
        at: Timestamp,
    ) -> Result<(), Error> {
        let mut statement = query(AssertSqlSafe(batch::over_rows(writer, INSERT, COLUMNS, run.len())));
        for FoundInstance { instance, offset, copy_kind } in run {
            let state = match instance.quarantine {
                Some(_) => InstanceState::Quarantined,
                None => found.state,
            };
            statement = bind_instance(statement, instance, state)?
                .bind(signed(*offset, "a pack")?)
                .bind(copy_kind.as_str());
        }
        let statement = statement.bind(self.site()).bind(at.0).bind(found.pack.pack_id.as_bytes().as_slice());
        statement.execute(writer).await?;
        Ok(())
    }
}

fn repeats_in(run: &[FoundInstance]) -> bool {
    let uids: HashSet<_> = run.iter().map(|found| &found.instance.identity.sop_instance_uid).collect();
    uids.len() != run.len()
}

fn repeats(found: &FoundPack) -> bool {
    repeats_in(&found.instances)
}

/// Parameters of one row: an instance's, then its offset and copy kind.
const COLUMNS: usize = INSERT_COLUMNS + 2;
/// Parameters of one statement.
const PARAMETERS_MAX: usize = 64 * COLUMNS;

const INSERT: &str = "
INSERT INTO index_instances (
    site_id, state_at, pack_id, record_id, node_id, study_instance_uid, series_instance_uid, sop_instance_uid,
    sop_class_uid, transfer_syntax_uid, instance_number, pixel_rows, pixel_columns, bits_allocated, number_of_frames,
    dataset_bytes, record_bytes, dataset_sha256, pixel_digest, received_at, calling_ae, called_ae, peer, door, state,
    reason, quarantine, pack_offset, copy_kind, served)
SELECT $1, $2, $3, v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, v.column7, v.column8, v.column9,
    v.column10, v.column11, v.column12, v.column13, v.column14, v.column15, v.column16, v.column17, v.column18,
    v.column19, v.column20, v.column21, v.column22, v.column23, v.column24, v.column25, v.column26,
    NOT v.column24 AND NOT EXISTS (
        SELECT 1 FROM index_instances
        WHERE site_id = $1 AND study_instance_uid = v.column3 AND sop_instance_uid = v.column5 AND served = TRUE)
FROM (VALUES {rows}) AS v
WHERE (SELECT COUNT(*) FROM index_dropped_copies WHERE record_id = v.column1) = 0
ON CONFLICT (record_id) DO UPDATE SET
    pack_id = excluded.pack_id, pack_offset = excluded.pack_offset, copy_kind = excluded.copy_kind,
    state = excluded.state, state_at = excluded.state_at, reason = excluded.reason
WHERE index_instances.pack_id IS NULL";
