//! A search and its page of answers.

use std::collections::{BTreeMap, BTreeSet};

use filmgate_model::Tag;

use super::{
    keys::{Key, Level, key_of},
    matching::Match,
    rows::{InstanceRow, SeriesRow, StudyRow, instance, series, study},
};
use crate::{
    Catalog, Error,
    engine::{Connection, QueryBuilder, Row, query, row::get},
};

/// What is searched for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only within this study.
    pub study_instance_uid: Option<String>,
    /// Only within this series.
    pub series_instance_uid: Option<String>,
    matches: Vec<(Key, Match)>,
    ignored: Vec<Tag>,
    limit: Option<u32>,
    offset: u32,
}

/// Rows a page has at most, whatever is asked for.
const ROWS_MAX: u32 = 10_000;

impl Query {
    /// Everything there is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only within this study.
    #[must_use]
    pub fn within_study(mut self, study_instance_uid: &str) -> Self {
        self.study_instance_uid = Some(study_instance_uid.to_owned());
        self
    }

    /// Only within this series.
    #[must_use]
    pub fn within_series(mut self, series_instance_uid: &str) -> Self {
        self.series_instance_uid = Some(series_instance_uid.to_owned());
        self
    }

    /// Only where the attribute matches the text, which is understood as the attribute's kind demands: `*` and `?`
    /// in text and names, `a-b` in dates and times, values apart by comma in UIDs and codes. An attribute that cannot
    /// be asked for is noted as ignored.
    ///
    /// # Errors
    /// [`Error::Unmatchable`] when the text cannot be a value of the attribute.
    pub fn matching(mut self, tag: Tag, text: &str) -> Result<Self, Error> {
        match key_of(tag) {
            Some(key) => self.matches.push((key, Match::parse(&key, text)?)),
            None => self.ignored.push(tag),
        }
        Ok(self)
    }

    /// A page: `limit` rows at most, after `offset` rows.
    #[must_use]
    pub fn page(mut self, limit: u32, offset: u32) -> Self {
        self.limit = Some(limit);
        self.offset = offset;
        self
    }

    /// Attributes asked for that cannot be matched: what a Warning header names (PS3.18 8.3.4).
    #[must_use]
    pub fn ignored(&self) -> &[Tag] {
        &self.ignored
    }

    fn rows_max(&self) -> u32 {
        self.limit.unwrap_or(ROWS_MAX).min(ROWS_MAX)
    }
}

/// Rows of one page, in an order that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<R> {
    /// The rows.
    pub rows: Vec<R>,
    /// There are more after these.
    pub more: bool,
}

impl Catalog {
    /// Studies, newest study date first. A study shows when at least one of its instances does.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn search_studies(&self, query: &Query) -> Result<Page<StudyRow>, Error> {
        self.engine
            .run("search studies", async {
                let mut reader = self.engine.reader().await?;
                let rows = self.find(&mut reader, Level::Study, query).await?;
                let mut page = page(query, &rows, study)?;
                for row in &mut page.rows {
                    self.count_series(&mut reader, row).await?;
                }
                Ok(page)
            })
            .await
    }

    /// Series by number. Each brings its study's row when the query does not name a study.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn search_series(&self, query: &Query) -> Result<Page<SeriesRow>, Error> {
        self.engine
            .run("search series", async {
                let mut reader = self.engine.reader().await?;
                let rows = self.find(&mut reader, Level::Series, query).await?;
                let mut page = page(query, &rows, series)?;
                if query.study_instance_uid.is_none() {
                    let mut studies = BTreeMap::new();
                    for row in &mut page.rows {
                        row.study =
                            self.study_row(&mut reader, &mut studies, &row.study_instance_uid).await?;
                    }
                }
                Ok(page)
            })
            .await
    }

    /// Instances by number, each SOP Instance UID once in a study. Each brings the rows of its study and series
    /// where the query does not name them.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn search_instances(&self, query: &Query) -> Result<Page<InstanceRow>, Error> {
        self.engine
            .run("search instances", async {
                let mut reader = self.engine.reader().await?;
                let rows = self.find(&mut reader, Level::Instance, query).await?;
                let mut page = page(query, &rows, instance)?;
                let (mut studies, mut all_series) = (BTreeMap::new(), BTreeMap::new());
                for row in &mut page.rows {
                    if query.study_instance_uid.is_none() {
                        row.study =
                            self.study_row(&mut reader, &mut studies, &row.study_instance_uid).await?;
                    }
                    if query.series_instance_uid.is_none() {
                        row.series = self.series_row(&mut reader, &mut all_series, row).await?;
                    }
                }
                Ok(page)
            })
            .await
    }

    async fn find(&self, reader: &mut Connection, level: Level, query: &Query) -> Result<Vec<Row>, Error> {
        let mut sql = self.select(level, query);
        sql.push(order_of(level));
        // One row more than the page tells whether there are more.
        sql.push(" LIMIT ").push_bind(i64::from(query.rows_max()) + 1);
        sql.push(" OFFSET ").push_bind(i64::from(query.offset));
        sql.build().fetch_all(reader).await
    }

    fn select(&self, level: Level, query: &Query) -> QueryBuilder {
        let mut sql = QueryBuilder::new(select_of(level));
        sql.push(format!(" WHERE {}.site_id = ", alias_of(level))).push_bind(self.site().to_vec());
        sql.push(shown_of(level));
        if let Some(uid) = &query.study_instance_uid {
            sql.push(format!(" AND {}.study_instance_uid = ", alias_of(level))).push_bind(uid.clone());
        }
        if let (Some(uid), true) = (&query.series_instance_uid, level != Level::Study) {
            sql.push(format!(" AND {}.series_instance_uid = ", alias_of(level))).push_bind(uid.clone());
        }
        for (key, asked) in query.matches.iter().filter(|(_, asked)| *asked != Match::Any) {
            push_match(&mut sql, level, key, asked);
        }
        sql
    }

    async fn study_row(
        &self,
        reader: &mut Connection,
        known: &mut BTreeMap<String, Option<StudyRow>>,
        uid: &str,
    ) -> Result<Option<StudyRow>, Error> {
        if let Some(row) = known.get(uid) {
            return Ok(row.clone());
        }
        let rows = self.find(reader, Level::Study, &Query::new().within_study(uid)).await?;
        let mut row = rows.first().map(study).transpose()?;
        if let Some(row) = &mut row {
            self.count_series(reader, row).await?;
        }
        known.insert(uid.to_owned(), row.clone());
        Ok(row)
    }

    async fn count_series(&self, reader: &mut Connection, row: &mut StudyRow) -> Result<(), Error> {
        let rows = query(
            "SELECT se.modality FROM index_series se WHERE se.site_id = $1 AND se.study_instance_uid = $2
                AND EXISTS (SELECT 1 FROM index_instances n WHERE n.site_id = se.site_id
                    AND n.study_instance_uid = se.study_instance_uid
                    AND n.series_instance_uid = se.series_instance_uid AND n.served = TRUE)",
        )
        .bind(self.site())
        .bind(&row.study_instance_uid)
        .fetch_all(reader)
        .await?;
        row.series = rows.len() as u64;
        let modalities: Result<BTreeSet<Option<String>>, Error> =
            rows.iter().map(|row| get(row, "modality")).collect();
        row.modalities = modalities?.into_iter().flatten().collect();
        Ok(())
    }

    async fn series_row(
        &self,
        reader: &mut Connection,
        known: &mut BTreeMap<(String, String), Option<SeriesRow>>,
        of: &InstanceRow,
    ) -> Result<Option<SeriesRow>, Error> {
        let key = (of.study_instance_uid.clone(), of.series_instance_uid.clone());
        if let Some(row) = known.get(&key) {
            return Ok(row.clone());
        }
        let within = Query::new().within_study(&key.0).within_series(&key.1);
        let rows = self.find(reader, Level::Series, &within).await?;
        let row = rows.first().map(series).transpose()?;
        known.insert(key, row.clone());
        Ok(row)
    }
}

fn page<R>(query: &Query, rows: &[Row], read: impl Fn(&Row) -> Result<R, Error>) -> Result<Page<R>, Error> {
    let rows_max = usize::try_from(query.rows_max()).unwrap_or(usize::MAX);
    let read: Result<Vec<R>, Error> = rows.iter().take(rows_max).map(read).collect();
    Ok(Page { rows: read?, more: rows.len() > rows_max })
}

fn alias_of(level: Level) -> &'static str {
    match level {
        Level::Study => "st",
        Level::Series => "se",
        Level::Instance => "i",
    }
}

fn table_of(level: Level) -> &'static str {
    match level {
        Level::Study => "index_studies",
        Level::Series => "index_series",
        Level::Instance => "index_instances",
    }
}

fn select_of(level: Level) -> &'static str {
    match level {
        Level::Study => {
            "SELECT st.*,
                (SELECT COUNT(*) FROM index_instances n WHERE n.site_id = st.site_id
                    AND n.study_instance_uid = st.study_instance_uid AND n.served = TRUE) AS instances
             FROM index_studies st"
        }
        Level::Series => {
            "SELECT se.*,
                (SELECT COUNT(*) FROM index_instances n WHERE n.site_id = se.site_id
                    AND n.study_instance_uid = se.study_instance_uid
                    AND n.series_instance_uid = se.series_instance_uid AND n.served = TRUE) AS instances
             FROM index_series se"
        }
        Level::Instance => "SELECT i.* FROM index_instances i",
    }
}

/// Only what has an instance that answers is shown. The offset keeps PostgreSQL from joining all instances first: it looks
/// for one of each row of the page.
fn shown_of(level: Level) -> &'static str {
    match level {
        Level::Study => {
            " AND EXISTS (SELECT 1 FROM index_instances n WHERE n.site_id = st.site_id
                AND n.study_instance_uid = st.study_instance_uid AND n.served = TRUE
                LIMIT 1 OFFSET 0)"
        }
        Level::Series => {
            " AND EXISTS (SELECT 1 FROM index_instances n WHERE n.site_id = se.site_id
                AND n.study_instance_uid = se.study_instance_uid
                AND n.series_instance_uid = se.series_instance_uid AND n.served = TRUE
                LIMIT 1 OFFSET 0)"
        }
        Level::Instance => " AND i.served = TRUE",
    }
}

fn order_of(level: Level) -> &'static str {
    match level {
        Level::Study => {
            " ORDER BY COALESCE(st.study_date, '') DESC, COALESCE(st.study_time, '') DESC, st.study_instance_uid DESC"
        }
        Level::Series => {
            " ORDER BY se.study_instance_uid, COALESCE(se.series_number, 0), se.series_instance_uid"
        }
        Level::Instance => {
            " ORDER BY i.study_instance_uid, i.series_instance_uid, COALESCE(i.instance_number, 0), i.sop_instance_uid"
        }
    }
}

/// A key of the rows' own level is a condition on the row; of another level, on some row of that level that belongs
/// to it (a relational query, PS3.4 C.4.1.2.2.1). Modalities in Study asks the whole study whatever the rows are.
fn push_match(sql: &mut QueryBuilder, level: Level, key: &Key, asked: &Match) {
    let of_study = key.tag == filmgate_model::tags::MODALITIES_IN_STUDY
        || key.tag == filmgate_model::tags::SOP_CLASSES_IN_STUDY;
    if key.level == level && !of_study {
        return asked.push(sql, alias_of(level), key);
    }
    let row = alias_of(level);
    sql.push(format!(
        " AND EXISTS (SELECT 1 FROM {} k WHERE k.site_id = {row}.site_id
            AND k.study_instance_uid = {row}.study_instance_uid",
        table_of(key.level)
    ));
    if level != Level::Study && key.level != Level::Study && !of_study {
        sql.push(format!(" AND k.series_instance_uid = {row}.series_instance_uid"));
    }
    if key.level == Level::Instance {
        sql.push(" AND k.served = TRUE");
    }
    asked.push(sql, "k", key);
    sql.push(")");
}
