//! Copies: several arrivals of one SOP Instance UID, and which of them is served.

use std::str::FromStr;

use filmgate_model::{InstanceState, NodeId, PackId, RecordId};

use super::batch;
use crate::{
    Catalog, Error,
    engine::{
        AssertSqlSafe, Connection, Row, query,
        row::{fixed, get, id, optional_fixed, word},
    },
};

/// What an arrival is among those of its SOP Instance UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CopyKind {
    /// The first of its content; what is served.
    First,
    /// The same pixels in other wrapping.
    Variant,
    /// Other content under the same UID.
    Conflict,
}

impl CopyKind {
    /// The word for it in the catalog.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Variant => "variant",
            Self::Conflict => "conflict",
        }
    }
}

impl FromStr for CopyKind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::First, Self::Variant, Self::Conflict].into_iter().find(|kind| kind.as_str() == word).ok_or(())
    }
}

/// One arrival of a SOP Instance UID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Its record.
    pub record_id: RecordId,
    /// The node that received it.
    pub node_id: NodeId,
    /// Study it is filed under.
    pub study_instance_uid: String,
    /// Series it is filed under.
    pub series_instance_uid: String,
    /// The UID asked for.
    pub sop_instance_uid: String,
    /// Its transfer syntax.
    pub transfer_syntax_uid: String,
    /// SHA-256 of the dataset as received.
    pub dataset_sha256: [u8; 32],
    /// Digest of the samples or fragments.
    pub pixel_digest: Option<[u8; 32]>,
    /// Where it stands.
    pub state: InstanceState,
    /// Kept apart.
    pub quarantine: bool,
    /// In a pack already.
    pub packed: bool,
    /// What it is among the copies.
    pub copy_kind: CopyKind,
    /// Who sent it.
    pub calling_ae: String,
    /// A deletion names it: nothing may be dropped against it.
    pub to_be_deleted: bool,
}

impl Catalog {
    /// Every copy of these SOP Instance UIDs that is not deleted, in order of arrival, in whatever study.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn copies_of<S: AsRef<str> + Sync>(&self, sop_instance_uids: &[S]) -> Result<Vec<Copy>, Error> {
        self.engine
            .run("list the copies of instances", async {
                let mut reader = self.engine.reader().await?;
                let mut copies = Vec::new();
                for run in batch::runs(sop_instance_uids, 1, UIDS_AT_ONCE) {
                    copies.append(&mut self.copies_in(&mut reader, COPIES, run).await?);
                }
                Ok(copies)
            })
            .await
    }

    /// Those of them that are in a pack and not kept apart: what another copy can be compared with.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn packed_copies_of<S: AsRef<str> + Sync>(
        &self,
        sop_instance_uids: &[S],
    ) -> Result<Vec<Copy>, Error> {
        self.engine
            .run("list the packed copies of instances", async {
                let mut reader = self.engine.reader().await?;
                let mut copies = Vec::new();
                for run in batch::runs(sop_instance_uids, 1, UIDS_AT_ONCE) {
                    copies.append(&mut self.copies_in(&mut reader, PACKED_COPIES, run).await?);
                }
                Ok(copies)
            })
            .await
    }

    async fn copies_in<S: AsRef<str> + Sync>(
        &self,
        reader: &mut Connection,
        which: &'static str,
        run: &[S],
    ) -> Result<Vec<Copy>, Error> {
        let sql = format!("{COPY} AND sop_instance_uid IN {} {which}", batch::values(2, run.len(), 1));
        let mut query = query(AssertSqlSafe(sql)).bind(self.site());
        for uid in run {
            query = query.bind(uid.as_ref());
        }
        query.fetch_all(reader).await?.iter().map(copy).collect()
    }
}

/// UIDs asked for in one statement.
const UIDS_AT_ONCE: usize = 64;

const COPY: &str = "
SELECT record_id, node_id, study_instance_uid, series_instance_uid, sop_instance_uid, transfer_syntax_uid, dataset_sha256,
    pixel_digest, state, quarantine, pack_id IS NOT NULL AS packed, copy_kind, calling_ae,
    deletion_id IS NOT NULL AS to_be_deleted
FROM index_instances WHERE site_id = $1";
const COPIES: &str = "AND state <> 'deleted' ORDER BY arrival_number";
const PACKED_COPIES: &str =
    "AND state <> 'deleted' AND pack_id IS NOT NULL AND quarantine = FALSE ORDER BY arrival_number";

fn copy(row: &Row) -> Result<Copy, Error> {
    Ok(Copy {
        record_id: RecordId(id(row, "record_id")?),
        node_id: NodeId(id(row, "node_id")?),
        study_instance_uid: get(row, "study_instance_uid")?,
        series_instance_uid: get(row, "series_instance_uid")?,
        sop_instance_uid: get(row, "sop_instance_uid")?,
        transfer_syntax_uid: get(row, "transfer_syntax_uid")?,
        dataset_sha256: fixed(row, "dataset_sha256")?,
        pixel_digest: optional_fixed(row, "pixel_digest")?,
        state: word(row, "state")?,
        quarantine: get(row, "quarantine")?,
        packed: get(row, "packed")?,
        copy_kind: word(row, "copy_kind")?,
        calling_ae: get(row, "calling_ae")?,
        to_be_deleted: get(row, "to_be_deleted")?,
    })
}

/// Holds the studies of records until the transaction ends, as [`refresh_served`] demands.
pub(crate) async fn lock_studies_of(
    writer: &mut Connection,
    site: &[u8],
    records: &[RecordId],
) -> Result<(), Error> {
    if !writer.is_shared() {
        return Ok(());
    }
    let mut studies = Vec::new();
    for record_id in records {
        let row = query("SELECT study_instance_uid FROM index_instances WHERE record_id = $1")
            .bind(record_id.as_bytes().as_slice())
            .fetch_optional(&mut *writer)
            .await?;
        studies.extend(row.map(|row| get::<String>(&row, "study_instance_uid")).transpose()?);
    }
    let studies: Vec<&str> = studies.iter().map(String::as_str).collect();
    writer.lock_studies(site, &studies).await
}

/// Decides anew which copy of a UID answers within its study, which the caller has locked
/// ([`Connection::lock_studies`]): the first, else the oldest variant, else the oldest
/// conflict; one that opens before one that does not; none that is quarantined, hidden or deleted.
pub(crate) async fn refresh_served(
    writer: &mut Connection,
    site: &[u8],
    study_instance_uid: &str,
    sop_instance_uid: &str,
) -> Result<(), Error> {
    let best = query(
        "SELECT arrival_number FROM index_instances
         WHERE site_id = $1 AND study_instance_uid = $2 AND sop_instance_uid = $3 AND quarantine = FALSE
            AND state <> 'deleted' AND hidden = FALSE
         ORDER BY state IN ('damaged', 'absent'), CASE copy_kind WHEN 'first' THEN 0 WHEN 'variant' THEN 1 ELSE 2 END, arrival_number LIMIT 1",
    )
    .bind(site)
    .bind(study_instance_uid)
    .bind(sop_instance_uid)
    .fetch_optional(&mut *writer)
    .await?;
    let best: Option<i64> = best.map(|row| get(&row, "arrival_number")).transpose()?;
    // The old answer goes first: the unique index is checked row by row.
    query(
        "UPDATE index_instances SET served = FALSE
         WHERE site_id = $1 AND study_instance_uid = $2 AND sop_instance_uid = $3 AND served = TRUE
            AND arrival_number <> $4",
    )
    .bind(site)
    .bind(study_instance_uid)
    .bind(sop_instance_uid)
    .bind(best.unwrap_or(-1))
    .execute(&mut *writer)
    .await?;
    query("UPDATE index_instances SET served = TRUE WHERE arrival_number = $1 AND served = FALSE")
        .bind(best)
        .execute(&mut *writer)
        .await?;
    Ok(())
}

/// The same for every instance of a pack whose UID has other copies, or none that is served.
pub(crate) async fn refresh_served_in(
    writer: &mut Connection,
    site: &[u8],
    pack_id: PackId,
) -> Result<(), Error> {
    let undecided = query(
        "SELECT DISTINCT i.study_instance_uid, i.sop_instance_uid FROM index_instances i
         WHERE i.pack_id = $1 AND i.quarantine = FALSE AND (i.served = FALSE OR EXISTS (
            SELECT 1 FROM index_instances other
            WHERE other.site_id = i.site_id AND other.study_instance_uid = i.study_instance_uid
                AND other.sop_instance_uid = i.sop_instance_uid AND other.arrival_number <> i.arrival_number))",
    )
    .bind(pack_id.as_bytes().as_slice())
    .fetch_all(&mut *writer)
    .await?;
    for row in &undecided {
        let (study, sop) = (get(row, "study_instance_uid")?, get(row, "sop_instance_uid")?);
        refresh_served(writer, site, study, sop).await?;
    }
    Ok(())
}
