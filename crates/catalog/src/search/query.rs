//! A search and its page of answers.

use std::sync::Arc;

use filmgate_model::{Tag, tags};

use super::{
    attributes::Attributes,
    find::Shown,
    keys::{Key, Kind, Level, Place, key_of},
    matching::Match,
    rows::{InstanceRow, SeriesRow, StudyRow, instance, series, study},
};
use crate::{Catalog, Error};

/// What is searched for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only within this study.
    pub study_instance_uid: Option<String>,
    /// Only within this series.
    pub series_instance_uid: Option<String>,
    pub(super) matches: Vec<(Key, Match)>,
    pub(super) moments: bool,
    attributes: Arc<Attributes>,
    fuzzy: bool,
    ignored: Vec<Vec<Tag>>,
    limit: Option<u32>,
    pub(super) offset: u32,
}

/// Rows a page has at most, whatever is asked for.
const ROWS_MAX: u32 = 10_000;
/// Dates, and the times that go with them.
const MOMENTS: [(Tag, Tag); 3] = [
    (tags::STUDY_DATE, tags::STUDY_TIME),
    (tags::SERIES_DATE, tags::SERIES_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
];

impl Query {
    /// Everything there is, by what every catalog can be asked for; [`Catalog::query`] knows what this one keeps besides.
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

    /// Only these studies, whatever else is asked for: what somebody may see. None at all when there are none.
    #[must_use]
    pub fn of_studies(mut self, study_instance_uids: impl IntoIterator<Item = String>) -> Self {
        if let Some(key) = key_of(&[tags::STUDY_INSTANCE_UID], &self.attributes) {
            self.matches.push((key, Match::OneOf(study_instance_uids.into_iter().collect())));
        }
        self
    }

    /// Names asked for from here on match by their words: each begins some word of the name, in whatever order, with
    /// whatever accents.
    #[must_use]
    pub fn fuzzy(mut self, fuzzy: bool) -> Self {
        self.fuzzy = fuzzy;
        self
    }

    /// A range of dates and one of the times that go with them are one range of moments (PS3.4 C.2.2.2.5), instead of
    /// days and hours of the day.
    #[must_use]
    pub fn combining_dates_and_times(mut self, combining: bool) -> Self {
        self.moments = combining;
        self
    }

    /// Only where the attribute matches the text, which is understood as the attribute's kind demands: `*` and `?`
    /// in text and names, `a-b` in dates and times, values apart by comma in UIDs and codes. An attribute that cannot
    /// be asked for is noted as ignored.
    ///
    /// # Errors
    /// [`Error::Unmatchable`] when the text cannot be a value of the attribute.
    pub fn matching(self, tag: Tag, text: &str) -> Result<Self, Error> {
        self.matching_path(&[tag], text)
    }

    /// The same of an attribute within sequences, given by the tags from the dataset down to it.
    ///
    /// # Errors
    /// As [`Query::matching`].
    pub fn matching_path(mut self, path: &[Tag], text: &str) -> Result<Self, Error> {
        match key_of(path, &self.attributes) {
            Some(key) => {
                let asked = Match::parse(&key, text, self.fuzzy)?;
                self.matches.push((key, asked));
            }
            None => self.ignored.push(path.to_vec()),
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

    /// Attributes asked for that cannot be matched, each by its path: what a Warning header names (PS3.18 8.3.4).
    #[must_use]
    pub fn ignored(&self) -> &[Vec<Tag>] {
        &self.ignored
    }

    pub(super) fn rows_max(&self) -> u32 {
        self.limit.unwrap_or(ROWS_MAX).min(ROWS_MAX)
    }

    /// What is asked of single attributes, and of dates and times that are asked together.
    pub(super) fn conditions(&self) -> Vec<Condition<'_>> {
        let mut together = Vec::new();
        let mut conditions = Vec::new();
        if self.moments {
            for (date, time) in MOMENTS {
                let of = |tag| self.matches.iter().position(|(key, _)| key.tag == tag && is_column(key));
                let (Some(date), Some(time)) = (of(date), of(time)) else { continue };
                let (Some((date_key, dates)), Some((time_key, times))) =
                    (self.matches.get(date), self.matches.get(time))
                else {
                    continue;
                };
                if matches!((dates, times), (Match::Range(..), Match::Range(..))) {
                    together.extend([date, time]);
                    conditions.push(Condition::Moments { date: (date_key, dates), time: (time_key, times) });
                }
            }
        }
        for (number, (key, asked)) in self.matches.iter().enumerate() {
            if *asked != Match::Any && !together.contains(&number) {
                conditions.push(Condition::Single(key, asked));
            }
        }
        conditions
    }
}

fn is_column(key: &Key) -> bool {
    matches!(key.place, Place::Column(_)) && matches!(key.kind, Kind::Date | Kind::Time)
}

/// One condition of a search.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition<'q> {
    /// Of one attribute.
    Single(&'q Key, &'q Match),
    /// Of a date and a time.
    Moments { date: (&'q Key, &'q Match), time: (&'q Key, &'q Match) },
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
    /// A search for everything there is, which also knows the attributes this catalog keeps beside the usual ones.
    #[must_use]
    pub fn query(&self) -> Query {
        Query { attributes: Arc::clone(&self.attributes), ..Query::default() }
    }

    /// Studies: the newest Study Date first, of equal ones the latest Study Time, of equal ones the greatest UID by its
    /// characters; without date or time last. A study shows when at least one of its instances does.
    ///
    /// # Errors
    /// [`Error::TookTooLong`], or when the catalog cannot be read.
    pub async fn search_studies(&self, query: &Query) -> Result<Page<StudyRow>, Error> {
        let search = async {
            let mut reader = self.engine.reader().await?;
            let mut reader = reader.bounded(self.search_time_max).await?;
            // Who skips rows must know that they show.
            let mut shown = if query.offset == 0 { Shown::Assumed } else { Shown::Checked };
            loop {
                let rows = self.find(&mut reader, Level::Study, query, shown).await?;
                let rows: Result<Vec<StudyRow>, Error> = rows.iter().map(study).collect();
                let mut rows = rows?;
                self.complete_studies(&mut reader, rows.iter_mut()).await?;
                if shown == Shown::Checked || rows.iter().all(|row| row.series > 0) {
                    return Ok(page(query, rows));
                }
                shown = Shown::Checked;
            }
        };
        self.engine.run("search studies", search).await.map_err(Error::of_bounded)
    }

    /// Series: by the UID of their study, then by number (none is 0), then by UID. Each brings its study's row when the
    /// query does not name a study.
    ///
    /// # Errors
    /// As [`Catalog::search_studies`].
    pub async fn search_series(&self, query: &Query) -> Result<Page<SeriesRow>, Error> {
        let search = async {
            let mut reader = self.engine.reader().await?;
            let mut reader = reader.bounded(self.search_time_max).await?;
            let rows = self.find(&mut reader, Level::Series, query, Shown::Checked).await?;
            let rows: Result<Vec<_>, Error> = rows.iter().map(series).collect();
            let mut page = page(query, rows?);
            self.complete_series(&mut reader, page.rows.iter_mut()).await?;
            if query.study_instance_uid.is_none() {
                self.bring_studies(&mut reader, &mut page.rows).await?;
            }
            Ok(page)
        };
        self.engine.run("search series", search).await.map_err(Error::of_bounded)
    }

    /// Instances: by the UIDs of study and series, then by number (none is 0), then by UID; each SOP Instance UID once in
    /// a study. Each brings the rows of its study and series where the query does not name them.
    ///
    /// # Errors
    /// As [`Catalog::search_studies`].
    pub async fn search_instances(&self, query: &Query) -> Result<Page<InstanceRow>, Error> {
        let search = async {
            let mut reader = self.engine.reader().await?;
            let mut reader = reader.bounded(self.search_time_max).await?;
            let rows = self.find(&mut reader, Level::Instance, query, Shown::Checked).await?;
            let rows: Result<Vec<_>, Error> = rows.iter().map(instance).collect();
            let mut page = page(query, rows?);
            self.complete_instances(&mut reader, &mut page.rows).await?;
            if query.study_instance_uid.is_none() {
                self.bring_studies(&mut reader, &mut page.rows).await?;
            }
            if query.series_instance_uid.is_none() {
                self.bring_series(&mut reader, &mut page.rows).await?;
            }
            Ok(page)
        };
        self.engine.run("search instances", search).await.map_err(Error::of_bounded)
    }
}

fn page<R>(query: &Query, mut rows: Vec<R>) -> Page<R> {
    let rows_max = usize::try_from(query.rows_max()).unwrap_or(usize::MAX);
    let more = rows.len() > rows_max;
    rows.truncate(rows_max);
    Page { rows, more }
}
