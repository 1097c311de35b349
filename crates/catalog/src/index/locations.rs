//! Where the bytes of an instance are: what retrieval and export ask.

use std::collections::HashSet;

use filmgate_model::{FactId, InstanceState, NodeId, PackId, RecordId, StudyKeyId, Timestamp};

use super::{batch, copies::CopyKind};
use crate::{
    Catalog, Error,
    engine::{
        AssertSqlSafe, Row, query,
        row::{fixed, get, id, optional_id, optional_time, optional_unsigned, time, unsigned, word},
    },
};

/// Where an instance is and what its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Its record.
    pub record_id: RecordId,
    /// The node that received it.
    pub node_id: NodeId,
    /// Study Instance UID it is filed under.
    pub study_instance_uid: String,
    /// Series Instance UID it is filed under.
    pub series_instance_uid: String,
    /// SOP Instance UID it is filed under.
    pub sop_instance_uid: String,
    /// SOP Class UID; may be empty.
    pub sop_class_uid: String,
    /// The transfer syntax its bytes are in.
    pub transfer_syntax_uid: String,
    /// Where it stands.
    pub state: InstanceState,
    /// Since when.
    pub state_at: Timestamp,
    /// When its pack is tried again, while it is retrying.
    pub next_try_at: Option<Timestamp>,
    /// Why, for quarantined, retrying and damaged ones.
    pub reason: Option<String>,
    /// Kept apart.
    pub quarantine: bool,
    /// First, variant or conflict.
    pub copy_kind: CopyKind,
    /// Who sent it: a calling AE title, or the name of a web client; may be empty.
    pub calling_ae: String,
    /// When its first byte arrived.
    pub received_at: Timestamp,
    /// Length of the dataset as received.
    pub dataset_bytes: u64,
    /// Length of the sealed record.
    pub record_bytes: u64,
    /// SHA-256 of the dataset as received.
    pub dataset_sha256: [u8; 32],
    /// The deletion that names it.
    pub deletion_id: Option<FactId>,
    /// A confirmed deletion names it: it is neither found nor served.
    pub hidden: bool,
    /// Its pack; `None` while only the journal holds it.
    pub pack: Option<PackLocation>,
}

/// Where in which pack a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackLocation {
    /// The pack.
    pub pack_id: PackId,
    /// Where the record begins in it.
    pub offset: u64,
    /// The pack's length.
    pub pack_bytes: u64,
    /// The key its footer is sealed under.
    pub study_key_id: StudyKeyId,
    /// A copy is on this node's disk.
    pub local: bool,
    /// It was put in a bucket.
    pub placed: bool,
}

/// What [`location`] reads; site and node that ask are parameters 1 and 2.
const COLUMNS: &str = "
    i.record_id, i.node_id, i.study_instance_uid, i.series_instance_uid, i.sop_instance_uid, i.sop_class_uid,
    i.transfer_syntax_uid, i.state, i.state_at, i.next_try_at, i.reason, i.quarantine, i.copy_kind, i.calling_ae, i.received_at, i.dataset_bytes,
    i.record_bytes, i.dataset_sha256, i.deletion_id, i.hidden, i.pack_id, i.pack_offset, p.bytes AS pack_bytes, p.study_key_id,
    l.pack_id IS NOT NULL AS local,
    EXISTS (SELECT 1 FROM index_placements pl WHERE pl.pack_id = i.pack_id) AS placed
    FROM index_instances i LEFT JOIN index_packs p ON p.pack_id = i.pack_id
    LEFT JOIN index_local_packs l ON l.pack_id = i.pack_id AND l.node_id = $2";

/// Series together, then as numbered.
const IN_ORDER: &str = "ORDER BY i.series_instance_uid, COALESCE(i.instance_number, 0), i.sop_instance_uid,
    i.arrival_number";

impl Catalog {
    /// Where a record is; `None` when it is not known.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn locate(&self, record_id: RecordId) -> Result<Option<Location>, Error> {
        let sql = format!("SELECT {COLUMNS} WHERE i.site_id = $1 AND i.record_id = $3");
        self.engine
            .run("locate a record", async {
                let mut reader = self.engine.reader().await?;
                let query = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(record_id.as_bytes().as_slice());
                let rows = query.fetch_all(&mut reader).await?;
                rows.last().map(location).transpose()
            })
            .await
    }

    /// Those of some records that may be given to whoever asked for them: no deletion that was confirmed since hides them.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn shown(&self, records: &[RecordId]) -> Result<HashSet<RecordId>, Error> {
        let sql = format!(
            "SELECT record_id FROM index_instances WHERE record_id IN {} AND hidden = FALSE AND state <> 'deleted'",
            batch::values(1, records.len(), 1)
        );
        self.engine
            .run("look which records are hidden", async {
                let mut reader = self.engine.reader().await?;
                let asked = records.iter().fold(query(AssertSqlSafe(sql)), |asked, record_id| {
                    asked.bind(record_id.as_bytes().as_slice())
                });
                asked
                    .fetch_all(&mut reader)
                    .await?
                    .iter()
                    .map(|row| Ok(RecordId(id(row, "record_id")?)))
                    .collect()
            })
            .await
    }

    /// The one instance that answers for a SOP Instance UID: the first from the modality, never a variant or a
    /// conflict while a first is there, never a quarantined or deleted one. `None` for a level leaves it open.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn served_instance(
        &self,
        study_instance_uid: Option<&str>,
        series_instance_uid: Option<&str>,
        sop_instance_uid: &str,
    ) -> Result<Option<Location>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE i.site_id = $1 AND i.sop_instance_uid = $3 AND i.served = TRUE
                AND ($4 IS NULL OR i.study_instance_uid = $4) AND ($5 IS NULL OR i.series_instance_uid = $5)
             ORDER BY CASE i.copy_kind WHEN 'first' THEN 0 WHEN 'variant' THEN 1 ELSE 2 END, i.arrival_number LIMIT 1"
        );
        self.engine
            .run("locate an instance", async {
                let mut reader = self.engine.reader().await?;
                let query = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(sop_instance_uid)
                    .bind(study_instance_uid)
                    .bind(series_instance_uid);
                let rows = query.fetch_all(&mut reader).await?;
                rows.last().map(location).transpose()
            })
            .await
    }

    /// The instances of a study, each SOP Instance UID once.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn instances_of_study(&self, study_instance_uid: &str) -> Result<Vec<Location>, Error> {
        self.list("i.served = TRUE", study_instance_uid, None).await
    }

    /// The instances of a series, each SOP Instance UID once.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn instances_of_series(
        &self,
        study_instance_uid: &str,
        series_instance_uid: &str,
    ) -> Result<Vec<Location>, Error> {
        self.list("i.served = TRUE", study_instance_uid, Some(series_instance_uid)).await
    }

    /// Every record of a study that is not deleted: variants, conflicts and quarantined ones too.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn records_of_study(&self, study_instance_uid: &str) -> Result<Vec<Location>, Error> {
        self.list("i.state <> 'deleted'", study_instance_uid, None).await
    }

    /// The records of a pack, in the order they stand in it.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn records_of_pack(&self, pack_id: PackId) -> Result<Vec<Location>, Error> {
        let sql = format!("SELECT {COLUMNS} WHERE i.site_id = $1 AND i.pack_id = $3 ORDER BY i.pack_offset");
        self.engine
            .run("list the records of a pack", async {
                let mut reader = self.engine.reader().await?;
                let query = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(pack_id.as_bytes().as_slice());
                let rows = query.fetch_all(&mut reader).await?;
                rows.iter().map(location).collect()
            })
            .await
    }

    /// Records that are kept apart, the latest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn quarantined(&self, limit: u32) -> Result<Vec<Location>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE i.site_id = $1 AND i.state = 'quarantined'
             ORDER BY i.arrival_number DESC LIMIT $3"
        );
        self.engine
            .run("list quarantined records", async {
                let mut reader = self.engine.reader().await?;
                let query =
                    query(AssertSqlSafe(sql)).bind(self.site()).bind(self.node()).bind(i64::from(limit));
                let rows = query.fetch_all(&mut reader).await?;
                rows.iter().map(location).collect()
            })
            .await
    }

    /// Every record that is not deleted, in order of record id, `limit` at a time: those after `after`.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn records_after(&self, after: Option<RecordId>, limit: u32) -> Result<Vec<Location>, Error> {
        // The site stands inside a CASE so that the planner walks the index on the record id and sorts nothing.
        let sql = format!(
            "SELECT {COLUMNS} WHERE i.record_id > $3 AND i.state <> 'deleted'
                AND CASE WHEN i.site_id = $1 THEN TRUE ELSE FALSE END
             ORDER BY i.record_id LIMIT $4"
        );
        self.page_after(sql, "walk the records", after, limit).await
    }

    /// Those of them that are in no pack.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn unpacked_after(&self, after: Option<RecordId>, limit: u32) -> Result<Vec<Location>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE i.site_id = $1 AND i.record_id > $3 AND i.pack_id IS NULL AND i.state <> 'deleted'
             ORDER BY i.record_id LIMIT $4"
        );
        self.page_after(sql, "walk the records in no pack", after, limit).await
    }

    async fn page_after(
        &self,
        sql: String,
        doing: &'static str,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<Location>, Error> {
        // The empty string of bytes comes before every identifier.
        let after = after.map(|record_id| record_id.0.to_vec()).unwrap_or_default();
        self.engine
            .run(doing, async {
                let mut reader = self.engine.reader().await?;
                let query = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(after)
                    .bind(i64::from(limit));
                query.fetch_all(&mut reader).await?.iter().map(location).collect()
            })
            .await
    }

    async fn list(
        &self,
        which: &'static str,
        study: &str,
        series: Option<&str>,
    ) -> Result<Vec<Location>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} WHERE i.site_id = $1 AND i.study_instance_uid = $3
                AND ($4 IS NULL OR i.series_instance_uid = $4) AND {which} {IN_ORDER}"
        );
        self.engine
            .run("list the instances of a study", async {
                let mut reader = self.engine.reader().await?;
                let query =
                    query(AssertSqlSafe(sql)).bind(self.site()).bind(self.node()).bind(study).bind(series);
                let rows = query.fetch_all(&mut reader).await?;
                rows.iter().map(location).collect()
            })
            .await
    }
}

fn location(row: &Row) -> Result<Location, Error> {
    Ok(Location {
        record_id: RecordId(id(row, "record_id")?),
        node_id: NodeId(id(row, "node_id")?),
        study_instance_uid: get(row, "study_instance_uid")?,
        series_instance_uid: get(row, "series_instance_uid")?,
        sop_instance_uid: get(row, "sop_instance_uid")?,
        sop_class_uid: get(row, "sop_class_uid")?,
        transfer_syntax_uid: get(row, "transfer_syntax_uid")?,
        state: word(row, "state")?,
        state_at: time(row, "state_at")?,
        next_try_at: optional_time(row, "next_try_at")?,
        reason: get(row, "reason")?,
        quarantine: get(row, "quarantine")?,
        copy_kind: word(row, "copy_kind")?,
        calling_ae: get(row, "calling_ae")?,
        received_at: time(row, "received_at")?,
        dataset_bytes: unsigned(row, "dataset_bytes")?,
        record_bytes: unsigned(row, "record_bytes")?,
        dataset_sha256: fixed(row, "dataset_sha256")?,
        deletion_id: optional_id(row, "deletion_id")?.map(FactId),
        hidden: get(row, "hidden")?,
        pack: pack_location(row)?,
    })
}

fn pack_location(row: &Row) -> Result<Option<PackLocation>, Error> {
    let Some(pack_id) = optional_id(row, "pack_id")? else { return Ok(None) };
    Ok(Some(PackLocation {
        pack_id: PackId(pack_id),
        offset: optional_unsigned(row, "pack_offset")?.ok_or(Error::Corrupt { column: "pack_offset" })?,
        pack_bytes: unsigned(row, "pack_bytes")?,
        study_key_id: StudyKeyId(id(row, "study_key_id")?),
        local: get(row, "local")?,
        placed: get(row, "placed")?,
    }))
}
