//! Sums: what the status page, the metrics and the demo's progress show.

use std::collections::BTreeMap;

use filmgate_model::{InstanceState, Timestamp};

use super::batch;
use crate::{
    Catalog, Error,
    engine::{
        AssertSqlSafe, Connection, Row, query,
        row::{get, optional_time, unsigned, word},
    },
};

/// Instances together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub instances: u64,
    /// Bytes of their datasets as received.
    pub dataset_bytes: u64,
}

/// Sums over this node; copies dropped over the site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of packs on this node's disk, whoever made them.
    pub local_pack_bytes: u64,
    /// Bytes of quarantined records on the local disk, packed or not.
    pub quarantine_bytes: u64,
    /// Arrivals that brought nothing new.
    pub copies_dropped: u64,
    /// Instances kept beside another with the same pixels in other wrapping.
    pub variants: u64,
    /// Instances kept beside another with other content under the same UID.
    pub conflicts: u64,
    /// Instances hidden until their deletion is carried out.
    pub hidden: u64,
}

/// How far a study is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyProgress {
    /// The study.
    pub study_instance_uid: String,
    /// Its records by state.
    pub records: BTreeMap<InstanceState, u64>,
    /// Bytes of its datasets as received.
    pub dataset_bytes: u64,
}

const TOTALS: &str = "SELECT
    (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM index_local_packs
     WHERE site_id = $1 AND node_id = $2) AS local_pack_bytes,
    (SELECT CAST(COALESCE(SUM(i.record_bytes), 0) AS BIGINT) FROM index_instances i
     WHERE i.site_id = $1 AND i.node_id = $2 AND i.state = 'quarantined' AND (i.pack_id IS NULL OR EXISTS (
        SELECT 1 FROM index_local_packs l WHERE l.pack_id = i.pack_id AND l.node_id = $2))) AS quarantine_bytes,
    (SELECT COUNT(*) FROM index_dropped_copies WHERE site_id = $1) AS copies_dropped,
    (SELECT COUNT(*) FROM index_instances WHERE site_id = $1 AND copy_kind <> 'first' AND copy_kind = 'variant'
        AND state <> 'deleted') AS variants,
    (SELECT COUNT(*) FROM index_instances WHERE site_id = $1 AND copy_kind <> 'first' AND copy_kind = 'conflict'
        AND state <> 'deleted') AS conflicts,
    (SELECT COUNT(*) FROM index_instances WHERE site_id = $1 AND hidden = TRUE AND state <> 'deleted') AS hidden";

impl Catalog {
    /// How many instances are in each state, those with none too.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn counts_by_state(&self) -> Result<BTreeMap<InstanceState, u64>, Error> {
        let sums = self.sums_by_state().await?;
        Ok(sums.into_iter().map(|(state, count)| (state, count.instances)).collect())
    }

    /// The same with their sizes, over all nodes of the site. Looked up, not counted.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn sums_by_state(&self) -> Result<BTreeMap<InstanceState, Count>, Error> {
        self.engine
            .run("count instances by state", async {
                let mut reader = self.engine.reader().await?;
                let query = query(
                    "SELECT state, CAST(SUM(instances) AS BIGINT) AS instances,
                        CAST(SUM(dataset_bytes) AS BIGINT) AS dataset_bytes
                     FROM index_counts WHERE site_id = $1 GROUP BY state",
                );
                let rows = query.bind(self.site()).fetch_all(&mut reader).await?;
                let mut sums: BTreeMap<_, _> =
                    InstanceState::ALL.iter().map(|state| (*state, Count::default())).collect();
                for row in &rows {
                    let state: InstanceState = word(row, "state")?;
                    let instances = unsigned(row, "instances")?;
                    sums.insert(state, Count { instances, dataset_bytes: unsigned(row, "dataset_bytes")? });
                }
                Ok(sums)
            })
            .await
    }

    /// When the oldest instance arrived that is on its way and not verified yet.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn oldest_unverified(&self) -> Result<Option<Timestamp>, Error> {
        self.engine
            .run("look for the oldest unverified instance", async {
                let mut reader = self.engine.reader().await?;
                let row = query(
                    "SELECT MIN(received_at) AS oldest FROM index_instances
                     WHERE site_id = $1 AND state IN ('received', 'packed', 'uploaded', 'retrying')",
                )
                .bind(self.site())
                .fetch_one(&mut reader)
                .await?;
                optional_time(&row, "oldest")
            })
            .await
    }

    /// Sums over this node.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn totals(&self) -> Result<Totals, Error> {
        self.engine
            .run("sum up the catalog", async {
                let mut reader = self.engine.reader().await?;
                let query = query(TOTALS).bind(self.site()).bind(self.node());
                totals(&query.fetch_one(&mut reader).await?)
            })
            .await
    }

    /// How far the studies are that were heard of last, newest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn study_progress(&self, limit: u32) -> Result<Vec<StudyProgress>, Error> {
        self.engine
            .run("read the progress of studies", async {
                let mut reader = self.engine.reader().await?;
                let studies = self.latest_studies(&mut reader, limit).await?;
                let mut progressed = Vec::with_capacity(studies.len());
                for study in studies {
                    let counts = query(PROGRESS).bind(self.site()).bind(&study);
                    progressed.push(progress(study.clone(), &counts.fetch_all(&mut reader).await?)?);
                }
                Ok(progressed)
            })
            .await
    }

    /// How far these studies are, in their order; those of which nothing is known are left out.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn progress_of_studies<S: AsRef<str> + Sync>(
        &self,
        studies: &[S],
    ) -> Result<Vec<StudyProgress>, Error> {
        self.engine
            .run("read the progress of studies", async {
                let mut reader = self.engine.reader().await?;
                let mut progressed = Vec::with_capacity(studies.len());
                for study in studies.iter().map(AsRef::as_ref) {
                    let counts = query(PROGRESS).bind(self.site()).bind(study).fetch_all(&mut reader).await?;
                    if !counts.is_empty() {
                        progressed.push(progress(study.to_owned(), &counts)?);
                    }
                }
                Ok(progressed)
            })
            .await
    }

    /// Studies by their latest arrival. Each is looked for from where the one before was found, so that only arrivals of
    /// these studies are passed over, not the whole catalog.
    async fn latest_studies(&self, reader: &mut Connection, limit: u32) -> Result<Vec<String>, Error> {
        let mut studies: Vec<String> = Vec::new();
        let mut before = i64::MAX;
        while studies.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
            let known = match studies.len() {
                0 => String::new(),
                some => format!("AND study_instance_uid NOT IN {}", batch::values(3, some, 1)),
            };
            // The site stands inside a CASE so that the planner walks by arrival and sorts nothing.
            let sql = format!(
                "SELECT study_instance_uid, arrival_number FROM index_instances
                 WHERE arrival_number < $2 AND CASE WHEN site_id = $1 THEN TRUE ELSE FALSE END {known}
                 ORDER BY arrival_number DESC LIMIT 1"
            );
            let asked = query(AssertSqlSafe(sql)).bind(self.site()).bind(before);
            let asked = studies.iter().fold(asked, |asked, study| asked.bind(study));
            let Some(row) = asked.fetch_optional(reader).await? else { break };
            before = get(&row, "arrival_number")?;
            studies.push(get(&row, "study_instance_uid")?);
        }
        Ok(studies)
    }
}

/// Grouped by what no index has, so that the planner goes by the study.
const PROGRESS: &str = "
SELECT COALESCE(state, '') AS state, COUNT(*) AS records, CAST(SUM(dataset_bytes) AS BIGINT) AS bytes
FROM index_instances WHERE site_id = $1 AND study_instance_uid = $2 GROUP BY COALESCE(state, '')";

fn totals(row: &Row) -> Result<Totals, Error> {
    Ok(Totals {
        local_pack_bytes: unsigned(row, "local_pack_bytes")?,
        quarantine_bytes: unsigned(row, "quarantine_bytes")?,
        copies_dropped: unsigned(row, "copies_dropped")?,
        variants: unsigned(row, "variants")?,
        conflicts: unsigned(row, "conflicts")?,
        hidden: unsigned(row, "hidden")?,
    })
}

fn progress(study_instance_uid: String, rows: &[Row]) -> Result<StudyProgress, Error> {
    let mut study = StudyProgress { study_instance_uid, records: BTreeMap::new(), dataset_bytes: 0 };
    for row in rows {
        study.records.insert(word(row, "state")?, unsigned(row, "records")?);
        study.dataset_bytes = study.dataset_bytes.saturating_add(unsigned(row, "bytes")?);
    }
    Ok(study)
}
