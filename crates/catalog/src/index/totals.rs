//! Sums: what the status page, the metrics and the demo's progress show.

use std::collections::BTreeMap;

use filmgate_model::{InstanceState, Timestamp};

use crate::{
    Catalog, Error,
    engine::{
        Row, query,
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
                let query = query(PROGRESS).bind(self.site()).bind(i64::from(limit));
                progress(&query.fetch_all(&mut reader).await?)
            })
            .await
    }
}

const PROGRESS: &str = "
SELECT i.study_instance_uid, i.state, COUNT(*) AS records, CAST(SUM(i.dataset_bytes) AS BIGINT) AS bytes
FROM index_instances i
JOIN (SELECT study_instance_uid, MAX(arrival_number) AS latest FROM index_instances WHERE site_id = $1
      GROUP BY study_instance_uid ORDER BY MAX(arrival_number) DESC LIMIT $2) AS s
    ON s.study_instance_uid = i.study_instance_uid
WHERE i.site_id = $1 GROUP BY s.latest, i.study_instance_uid, i.state ORDER BY s.latest DESC, i.state";

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

fn progress(rows: &[Row]) -> Result<Vec<StudyProgress>, Error> {
    let mut studies: Vec<StudyProgress> = Vec::new();
    for row in rows {
        let study_instance_uid: String = get(row, "study_instance_uid")?;
        let state: InstanceState = word(row, "state")?;
        let (records, bytes) = (unsigned(row, "records")?, unsigned(row, "bytes")?);
        match studies.last_mut().filter(|study| study.study_instance_uid == study_instance_uid) {
            Some(study) => {
                study.records.insert(state, records);
                study.dataset_bytes = study.dataset_bytes.saturating_add(bytes);
            }
            None => studies.push(StudyProgress {
                study_instance_uid,
                records: BTreeMap::from([(state, records)]),
                dataset_bytes: bytes,
            }),
        }
    }
    Ok(studies)
}
