//! What rows of a page bring beside their own columns: counts, modalities, attributes kept apart, the rows of study and
//! series. One statement for all rows of a page, not one for each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    attributes::{Attributes, KeptAttribute},
    keys::Level,
    rows::{AttributeValues, InstanceRow, SeriesRow, StudyRow, series, study},
};
use crate::{
    Catalog, Error,
    engine::{
        Connection, QueryBuilder, Row,
        row::{get, unsigned},
    },
};

/// UIDs asked for in one statement. A few sizes only, so that each statement stays prepared; the last UID fills up.
const UIDS_AT_ONCE: [usize; 5] = [1, 8, 32, 128, 512];

/// UIDs of study, series and instance; those below the level are empty.
type Uids = (String, String, String);

/// A series that shows.
struct Shown {
    series_instance_uid: String,
    modality: Option<String>,
    instances: u64,
}

/// A row that belongs to a study.
pub(super) trait OfStudy {
    fn study_instance_uid(&self) -> &str;
    fn bring(&mut self, study: StudyRow);
}

impl OfStudy for SeriesRow {
    fn study_instance_uid(&self) -> &str {
        &self.study_instance_uid
    }

    fn bring(&mut self, study: StudyRow) {
        self.study = Some(study);
    }
}

impl OfStudy for InstanceRow {
    fn study_instance_uid(&self) -> &str {
        &self.study_instance_uid
    }

    fn bring(&mut self, study: StudyRow) {
        self.study = Some(study);
    }
}

impl Catalog {
    /// Adds to studies what they count, their modalities and their attributes kept apart.
    pub(super) async fn complete_studies<'r>(
        &self,
        reader: &mut Connection,
        rows: impl Iterator<Item = &'r mut StudyRow>,
    ) -> Result<(), Error> {
        let rows: Vec<&mut StudyRow> = rows.collect();
        let uids: BTreeSet<String> = rows.iter().map(|row| row.study_instance_uid.clone()).collect();
        let shown = self.shown_series(reader, &uids).await?;
        let keys = uids.into_iter().map(|uid| (uid, String::new(), String::new())).collect();
        let mut kept = self.kept(reader, Level::Study, keys).await?;
        for row in rows {
            let series = shown.get(&row.study_instance_uid).map_or(&[][..], Vec::as_slice);
            row.series = series.len() as u64;
            row.instances = series.iter().map(|one| one.instances).sum();
            let modalities: BTreeSet<_> = series.iter().filter_map(|one| one.modality.clone()).collect();
            row.modalities = modalities.into_iter().collect();
            let key = (row.study_instance_uid.clone(), String::new(), String::new());
            row.attributes = kept.remove(&key).unwrap_or_default();
        }
        Ok(())
    }

    /// Adds to series how many instances they have, and their attributes kept apart.
    pub(super) async fn complete_series<'r>(
        &self,
        reader: &mut Connection,
        rows: impl Iterator<Item = &'r mut SeriesRow>,
    ) -> Result<(), Error> {
        let rows: Vec<&mut SeriesRow> = rows.collect();
        let studies: BTreeSet<String> = rows.iter().map(|row| row.study_instance_uid.clone()).collect();
        let shown = self.shown_series(reader, &studies).await?;
        let key = |row: &SeriesRow| {
            (row.study_instance_uid.clone(), row.series_instance_uid.clone(), String::new())
        };
        let mut kept = self.kept(reader, Level::Series, rows.iter().map(|row| key(row)).collect()).await?;
        for row in rows {
            let of_study = shown.get(&row.study_instance_uid).map_or(&[][..], Vec::as_slice);
            let shown = of_study.iter().find(|one| one.series_instance_uid == row.series_instance_uid);
            row.instances = shown.map_or(0, |one| one.instances);
            row.attributes = kept.remove(&key(row)).unwrap_or_default();
        }
        Ok(())
    }

    /// Adds to instances their attributes kept apart.
    pub(super) async fn complete_instances(
        &self,
        reader: &mut Connection,
        rows: &mut [InstanceRow],
    ) -> Result<(), Error> {
        let key = |row: &InstanceRow| {
            (row.study_instance_uid.clone(), row.series_instance_uid.clone(), row.sop_instance_uid.clone())
        };
        let mut kept = self.kept(reader, Level::Instance, rows.iter().map(key).collect()).await?;
        for row in rows {
            row.attributes = kept.remove(&key(row)).unwrap_or_default();
        }
        Ok(())
    }

    /// Gives every row the row of its study.
    pub(super) async fn bring_studies<R: OfStudy>(
        &self,
        reader: &mut Connection,
        rows: &mut [R],
    ) -> Result<(), Error> {
        let uids: BTreeSet<String> = rows.iter().map(|row| row.study_instance_uid().to_owned()).collect();
        let uids: Vec<String> = uids.into_iter().collect();
        let mut studies = Vec::with_capacity(uids.len());
        for run in runs(&uids) {
            let mut sql = QueryBuilder::new("SELECT st.* FROM index_studies st WHERE st.site_id = ");
            sql.push_bind(self.site().to_vec());
            push_uids(&mut sql, "st.study_instance_uid", run.iter().map(String::as_str));
            for row in &sql.build().fetch_all(reader).await? {
                studies.push(study(row)?);
            }
        }
        self.complete_studies(reader, studies.iter_mut()).await?;
        let studies: HashMap<String, StudyRow> =
            studies.into_iter().map(|study| (study.study_instance_uid.clone(), study)).collect();
        for row in rows {
            if let Some(study) = studies.get(row.study_instance_uid()) {
                row.bring(study.clone());
            }
        }
        Ok(())
    }

    /// Gives every instance the row of its series.
    pub(super) async fn bring_series(
        &self,
        reader: &mut Connection,
        rows: &mut [InstanceRow],
    ) -> Result<(), Error> {
        let key = |row: &InstanceRow| (row.study_instance_uid.clone(), row.series_instance_uid.clone());
        let keys: BTreeSet<_> = rows.iter().map(key).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        let mut all = Vec::with_capacity(keys.len());
        for run in runs(&keys) {
            let mut sql = QueryBuilder::new("SELECT se.* FROM index_series se WHERE se.site_id = ");
            sql.push_bind(self.site().to_vec());
            push_uids(&mut sql, "se.study_instance_uid", run.iter().map(|(study, _)| study.as_str()));
            push_uids(&mut sql, "se.series_instance_uid", run.iter().map(|(_, series)| series.as_str()));
            for row in &sql.build().fetch_all(reader).await? {
                all.push(series(row)?);
            }
        }
        self.complete_series(reader, all.iter_mut()).await?;
        let of = |row: SeriesRow| ((row.study_instance_uid.clone(), row.series_instance_uid.clone()), row);
        let all: HashMap<_, _> = all.into_iter().map(of).collect();
        for row in rows {
            row.series = all.get(&key(row)).cloned();
        }
        Ok(())
    }

    /// The series of studies that have an instance to show.
    async fn shown_series(
        &self,
        reader: &mut Connection,
        studies: &BTreeSet<String>,
    ) -> Result<HashMap<String, Vec<Shown>>, Error> {
        let studies: Vec<&String> = studies.iter().collect();
        let mut shown: HashMap<String, Vec<Shown>> = HashMap::with_capacity(studies.len());
        for run in runs(&studies) {
            let mut sql = QueryBuilder::new(
                // Looked up for each series: a join would have PostgreSQL read all series there are.
                "SELECT n.study_instance_uid, n.series_instance_uid, n.instances,
                    (SELECT se.modality FROM index_series se WHERE se.site_id = n.site_id
                        AND se.study_instance_uid = n.study_instance_uid
                        AND se.series_instance_uid = n.series_instance_uid) AS modality
                 FROM (SELECT site_id, study_instance_uid, series_instance_uid, COUNT(*) AS instances
                    FROM index_instances WHERE served = TRUE AND site_id = ",
            );
            sql.push_bind(self.site().to_vec());
            push_uids(&mut sql, "study_instance_uid", run.iter().map(|uid| uid.as_str()));
            sql.push(" GROUP BY site_id, study_instance_uid, series_instance_uid) AS n");
            for row in &sql.build().fetch_all(reader).await? {
                shown.entry(get(row, "study_instance_uid")?).or_default().push(Shown {
                    series_instance_uid: get(row, "series_instance_uid")?,
                    modality: get(row, "modality")?,
                    instances: unsigned(row, "instances")?,
                });
            }
        }
        Ok(shown)
    }

    /// The attributes kept apart of rows of a level, by their UIDs.
    async fn kept(
        &self,
        reader: &mut Connection,
        level: Level,
        keys: Vec<Uids>,
    ) -> Result<HashMap<Uids, Vec<AttributeValues>>, Error> {
        if !self.attributes.iter().any(|kept| kept.level == level) {
            return Ok(HashMap::new());
        }
        let mut rows = Vec::new();
        for run in runs(&keys) {
            let mut sql = QueryBuilder::new("SELECT k.* FROM index_attributes k WHERE k.site_id = ");
            sql.push_bind(self.site().to_vec());
            push_uids(&mut sql, "k.study_instance_uid", run.iter().map(|key| key.0.as_str()));
            match level {
                Level::Study => sql.push(" AND k.series_instance_uid = ''"),
                _ => push_uids(&mut sql, "k.series_instance_uid", run.iter().map(|key| key.1.as_str())),
            };
            match level {
                Level::Instance => {
                    push_uids(&mut sql, "k.sop_instance_uid", run.iter().map(|key| key.2.as_str()))
                }
                _ => sql.push(" AND k.sop_instance_uid = ''"),
            };
            rows.extend(sql.build().fetch_all(reader).await?);
        }
        values(&rows, &self.attributes, level)
    }
}

/// Values by the UIDs of what has them, each attribute's in their order.
fn values(
    rows: &[Row],
    attributes: &Attributes,
    level: Level,
) -> Result<HashMap<Uids, Vec<AttributeValues>>, Error> {
    let known: HashMap<String, &KeptAttribute> =
        attributes.iter().filter(|kept| kept.level == level).map(|kept| (kept.path_text(), kept)).collect();
    let mut all: BTreeMap<(Uids, String), BTreeMap<u64, String>> = BTreeMap::new();
    for row in rows {
        let uids: Uids = (
            get(row, "study_instance_uid")?,
            get(row, "series_instance_uid")?,
            get(row, "sop_instance_uid")?,
        );
        let path: String = get(row, "path")?;
        all.entry((uids, path)).or_default().insert(unsigned(row, "value_number")?, get(row, "value")?);
    }
    let mut by_uids: HashMap<Uids, Vec<AttributeValues>> = HashMap::new();
    for ((uids, path), values) in all {
        // One that is no longer kept stands there until the index is made anew.
        let Some(kept) = known.get(&path) else { continue };
        let values = values.into_iter().collect();
        by_uids.entry(uids).or_default().push(AttributeValues { attribute: (*kept).clone(), values });
    }
    Ok(by_uids)
}

/// ` AND column IN ($n, …)`, filled up to one of a few sizes.
fn push_uids<'s, 'u>(
    sql: &'s mut QueryBuilder,
    column: &str,
    uids: impl Iterator<Item = &'u str>,
) -> &'s mut QueryBuilder {
    let mut uids: Vec<&str> = uids.collect();
    let size = UIDS_AT_ONCE.iter().find(|size| **size >= uids.len()).copied().unwrap_or(uids.len());
    uids.resize(size, uids.last().copied().unwrap_or_default());
    sql.push(format!(" AND {column} IN ("));
    for (number, uid) in uids.into_iter().enumerate() {
        sql.push(if number == 0 { "" } else { ", " }).push_bind(uid.to_owned());
    }
    sql.push(")")
}

fn runs<T>(all: &[T]) -> std::slice::Chunks<'_, T> {
    all.chunks(UIDS_AT_ONCE[UIDS_AT_ONCE.len() - 1])
}
