//! The page of a search. Broad searches walk along the order of the answer until the page is full; narrow ones are led by the
//! index that knows the fewest studies and sort what they find. Which it is, the counts before decide: a walk that goes on
//! for too long is given up for the other way.

use std::collections::BTreeSet;

use super::{
    grams::{Dates, Field, push_modality},
    keys::{Key, Level, Place},
    matching::{Match, push_moments},
    narrowing::{COUNTED_MAX, Counted, Narrowing, Outlook},
    query::{Condition, Query},
};
use crate::{
    Catalog, Error,
    engine::{Connection, QueryBuilder, Row, Statement, row::get},
};

/// Studies a walk looks at before it is given up, at least and at most.
const WALKED: std::ops::RangeInclusive<i64> = 256..=4096;

/// Whether rows are compared with what is shown, before they are sorted. Nearly all studies have an instance to show, and who
/// counts the instances of a page sees whether all of it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Each row of the answer has an instance to show.
    Checked,
    /// That is yet to be seen.
    Assumed,
}

/// How the studies of a search are come by.
#[derive(Clone, Copy)]
enum Way<'q, 'n> {
    /// Along the order of the answer.
    Walk,
    /// The same, no farther than to studies of this date.
    WalkTo(&'n str),
    /// Those that an index knows, as far as others know them too.
    Led(&'n Lead<'q, 'n>),
}

/// What a search is led by.
struct Lead<'q, 'n> {
    by: &'n Narrowing<'q>,
    /// What is asked of each study before its row is looked at: a row is the dearest thing there is.
    beside: Vec<&'n Narrowing<'q>>,
}

impl Catalog {
    /// Rows of a page, and one more when there are more.
    pub(super) async fn find(
        &self,
        reader: &mut Connection,
        level: Level,
        query: &Query,
        shown: Shown,
    ) -> Result<Vec<Row>, Error> {
        if query.study_instance_uid.is_some() {
            return self.select(level, query, Way::Walk, shown).fetch_all(reader).await;
        }
        let outlook = self.outlook(reader, query).await?;
        let least = outlook.narrowings.first();
        if level != Level::Study {
            let led = least.filter(|least| least.studies < COUNTED_MAX);
            let lead = led.map(|least| Lead { by: &least.narrowing, beside: Vec::new() });
            let way = lead.as_ref().map_or(Way::Walk, Way::Led);
            return self.select(level, query, way, shown).fetch_all(reader).await;
        }
        let wanted = i64::from(query.rows_max()) + i64::from(query.offset) + 1;
        let (Some(least), Some(lead)) = (least, outlook.lead()) else {
            return self.select(level, query, Way::Walk, shown).fetch_all(reader).await;
        };
        if let Some(newest) = outlook.newest_of_modality(wanted) {
            if let Some(floor) = self.modality_date_after(reader, &newest).await? {
                let by = newest.down_to(&floor);
                let lead = outlook.lead_by(&by, newest.condition, newest.far);
                let rows = self.select(level, query, Way::Led(&lead), shown).fetch_all(reader).await?;
                if i64::try_from(rows.len()).unwrap_or(i64::MAX) > i64::from(query.rows_max()) {
                    return Ok(rows);
                }
            }
            return self.select(level, query, Way::Led(&lead), shown).fetch_all(reader).await;
        }
        let walk = outlook.studies_walked(wanted);
        if walk < least.studies || least.studies >= COUNTED_MAX {
            let far = walk.saturating_mul(2).clamp(*WALKED.start(), *WALKED.end());
            let Some(floor) = self.date_after(reader, query, far).await? else {
                return self.select(level, query, Way::Walk, shown).fetch_all(reader).await;
            };
            let rows = self.select(level, query, Way::WalkTo(&floor), shown).fetch_all(reader).await?;
            if i64::try_from(rows.len()).unwrap_or(i64::MAX) > i64::from(query.rows_max()) {
                return Ok(rows);
            }
        }
        self.select(level, query, Way::Led(&lead), shown).fetch_all(reader).await
    }

    /// The date of the study so far down the order of the answer; `None` when there are not so many.
    async fn date_after(
        &self,
        reader: &mut Connection,
        query: &Query,
        studies: i64,
    ) -> Result<Option<String>, Error> {
        let mut sql = QueryBuilder::new("SELECT COALESCE(st.study_date, '') AS floor FROM index_studies st");
        sql.push(" WHERE st.site_id = ").push_bind(self.site().to_vec());
        for condition in query.conditions() {
            let (Condition::Single(key, asked) | Condition::Moments { date: (key, asked), .. }) = condition;
            if let (Place::Column("study_date"), Match::Range(_, Some(to))) = (&key.place, asked) {
                sql.push(" AND COALESCE(st.study_date, '') <= ").push_bind(to.clone());
            }
        }
        sql.push(order_of(Level::Study)).push(" LIMIT 1 OFFSET ").push_bind(studies);
        let row = sql.build().fetch_optional(reader).await?;
        row.as_ref().map(|row| get(row, "floor")).transpose()
    }

    /// The date of the study so far down among those of a modality; `None` when there are not so many.
    async fn modality_date_after(
        &self,
        reader: &mut Connection,
        newest: &Newest<'_>,
    ) -> Result<Option<String>, Error> {
        let mut sql = QueryBuilder::new("SELECT k.gram FROM index_grams k WHERE k.site_id = ");
        sql.push_bind(self.site().to_vec()).push(" AND k.field = ").push_bind(Field::Modality as i64);
        push_modality(&mut sql, "k.gram", newest.modality, newest.dates);
        sql.push(" ORDER BY k.gram DESC LIMIT 1 OFFSET ").push_bind(newest.far);
        let row = sql.build().fetch_optional(reader).await?;
        let entry: Option<String> = row.as_ref().map(|row| get(row, "gram")).transpose()?;
        Ok(entry.and_then(|entry| Some(entry.strip_prefix(newest.modality)?.strip_prefix('/')?.to_owned())))
    }

    fn select(&self, level: Level, query: &Query, way: Way<'_, '_>, shown: Shown) -> Statement<'static> {
        let alias = alias_of(level);
        let led_studies = matches!((way, level), (Way::Led(_), Level::Study));
        let mut sql = QueryBuilder::new("SELECT ");
        if led_studies {
            // A fence: otherwise PostgreSQL may walk along the order after all. And SQLite keeps the order of a cross join.
            sql.push("* FROM (SELECT st.* FROM (SELECT DISTINCT study_number FROM (");
            if let Way::Led(lead) = way {
                lead.by.push(&mut sql, self.site());
                sql.push(") AS known WHERE TRUE");
                lead.beside
                    .iter()
                    .for_each(|one| one.push_beside(&mut sql, "known.study_number", self.site()));
            }
            sql.push(") AS led CROSS JOIN index_studies st WHERE st.study_number = led.study_number AND");
        } else {
            sql.push(format!("{alias}.* FROM {} {alias} WHERE", table_of(level)));
        }
        sql.push(format!(" {alias}.site_id = ")).push_bind(self.site().to_vec());
        self.push_conditions(&mut sql, level, query);
        match way {
            Way::WalkTo(floor) => {
                sql.push(" AND COALESCE(st.study_date, '') >= ").push_bind(floor.to_owned());
            }
            Way::Led(lead) if !led_studies => {
                sql.push(format!(
                    " AND {alias}.study_instance_uid IN (SELECT s.study_instance_uid FROM index_studies s
                        WHERE s.study_number IN ("
                ));
                lead.by.push(&mut sql, self.site());
                sql.push("))");
            }
            _ => {}
        }
        if shown == Shown::Checked {
            sql.push(shown_of(level));
        }
        if led_studies {
            sql.push(" LIMIT ").push_bind(i64::MAX).push(" OFFSET 0) AS st");
        }
        sql.push(order_of(level));
        // One row more than the page tells whether there are more.
        sql.push(" LIMIT ").push_bind(i64::from(query.rows_max()) + 1);
        sql.push(" OFFSET ").push_bind(i64::from(query.offset));
        sql.build()
    }

    fn push_conditions(&self, sql: &mut QueryBuilder, level: Level, query: &Query) {
        let alias = alias_of(level);
        if let Some(uid) = &query.study_instance_uid {
            sql.push(format!(" AND {alias}.study_instance_uid = ")).push_bind(uid.clone());
        }
        if let (Some(uid), true) = (&query.series_instance_uid, level != Level::Study) {
            sql.push(format!(" AND {alias}.series_instance_uid = ")).push_bind(uid.clone());
        }
        for condition in query.conditions() {
            match condition {
                Condition::Single(key, asked) => push_match(sql, level, key, |sql, alias| {
                    asked.push(sql, alias, key);
                }),
                Condition::Moments { date: (date, dates), time: (time, times) } => {
                    push_match(sql, level, date, |sql, alias| {
                        let column = |key: &Key| match &key.place {
                            Place::Column(column) => format!("{alias}.{column}"),
                            Place::Attribute(_) => format!("{alias}.value"),
                        };
                        push_moments(sql, &column(date), &column(time), dates, times);
                    });
                }
            }
        }
    }
}

impl<'q> Outlook<'q> {
    /// How many studies a walk would look at until it has so many, if the conditions were independent of each other.
    fn studies_walked(&self, wanted: i64) -> i64 {
        let all = self.studies.max(1) as f64;
        // Dates bound the walk themselves; how many studies there are within them is known up to a bound.
        let within = self.narrowings.iter().find_map(|counted| match counted.narrowing {
            Narrowing::Dates(..) => Some(counted.studies.max(1) as f64),
            _ => None,
        });
        let share = |counted: &Counted<'_>| match counted.narrowing {
            Narrowing::Dates(..) => 1.0,
            Narrowing::Modality(..) if counted.studies < COUNTED_MAX => {
                (counted.studies as f64 / within.unwrap_or(all)).min(1.0)
            }
            _ => (counted.studies as f64 / all).min(1.0),
        };
        let share: f64 = self.narrowings.iter().map(share).product();
        (wanted as f64 / share.max(1e-9)).min(1e15) as i64
    }

    /// What to be led by; `None` when that is no better than a walk: many dates, whose index has the order of the answer.
    fn lead(&self) -> Option<Lead<'_, '_>> {
        let leads =
            |one: &&Counted<'_>| one.studies < COUNTED_MAX || !matches!(one.narrowing, Narrowing::Dates(..));
        let leader = self.narrowings.iter().find(leads)?;
        Some(self.lead_by(&leader.narrowing, leader.condition, leader.studies))
    }

    /// To be led by this, which is of a condition and knows so many studies.
    fn lead_by<'n>(&'n self, by: &'n Narrowing<'q>, condition: usize, studies: i64) -> Lead<'q, 'n> {
        // Other grams of the same piece of text would say the same again. And what knows far more studies is read for longer than
        // the rows it spares, unless single studies can be asked for.
        let is_worth_it = |one: &&Counted<'_>| match &one.narrowing {
            _ if one.condition == condition || studies <= FEW => false,
            Narrowing::Gram(_, sought) if sought.is_whole() => true,
            Narrowing::Gram(..) | Narrowing::Modality(..) => {
                one.studies < COUNTED_MAX && one.studies <= studies.saturating_mul(4)
            }
            _ => false,
        };
        Lead { by, beside: self.narrowings.iter().filter(is_worth_it).map(|one| &one.narrowing).collect() }
    }

    /// How to begin with the newest studies of a modality, whose index has the order of the answer; `None` where another one knows fewer
    /// studies than would have to be looked at.
    fn newest_of_modality(&self, wanted: i64) -> Option<Newest<'q>> {
        let least = self.narrowings.first()?.studies;
        let (number, modality, dates) = self.narrowings.iter().find_map(|one| match &one.narrowing {
            Narrowing::Modality(modalities, dates) if modalities.len() == 1 => {
                Some((one.condition, *modalities.first()?, *dates))
            }
            _ => None,
        })?;
        let all = self.studies.max(1) as f64;
        let others = self
            .narrowings
            .iter()
            .filter(|one| one.condition != number && !matches!(one.narrowing, Narrowing::Dates(..)));
        let share: f64 = others.map(|one| (one.studies as f64 / all).min(1.0)).product();
        let far = (2.0 * wanted as f64 / share.max(1e-9)).min(1e15) as i64;
        let far = far.clamp(*WALKED.start(), *WALKED.end());
        (far < least || least >= COUNTED_MAX).then_some(Newest { modality, dates, condition: number, far })
    }
}

/// The newest studies of a modality.
struct Newest<'q> {
    modality: &'q str,
    dates: Dates<'q>,
    condition: usize,
    /// So many.
    far: i64,
}

impl<'q> Newest<'q> {
    fn down_to<'f>(&self, floor: &'f str) -> Narrowing<'f>
    where
        'q: 'f,
    {
        Narrowing::Modality(BTreeSet::from([self.modality]), (Some(floor), self.dates.1))
    }
}

/// Studies whose rows may as well be looked at.
const FEW: i64 = 16;

pub(super) fn alias_of(level: Level) -> &'static str {
    match level {
        Level::Study => "st",
        Level::Series => "se",
        Level::Instance => "i",
    }
}

pub(super) fn table_of(level: Level) -> &'static str {
    match level {
        Level::Study => "index_studies",
        Level::Series => "index_series",
        Level::Instance => "index_instances",
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
/// to it (a relational query, PS3.4 C.4.1.2.2.1) and shows. Modalities in Study asks the whole study whatever the rows
/// are.
fn push_match(sql: &mut QueryBuilder, level: Level, key: &Key, push: impl FnOnce(&mut QueryBuilder, &str)) {
    let of_study = key.is_of_all_the_study();
    let beside = matches!(key.place, Place::Attribute(_));
    let row = alias_of(level);
    if key.level == level && !of_study && !beside {
        return push(sql, row);
    }
    let table = if beside { "index_attributes" } else { table_of(key.level) };
    sql.push(format!(
        " AND EXISTS (SELECT 1 FROM {table} k WHERE k.site_id = {row}.site_id
            AND k.study_instance_uid = {row}.study_instance_uid"
    ));
    if level != Level::Study && key.level != Level::Study && !of_study {
        sql.push(format!(" AND k.series_instance_uid = {row}.series_instance_uid"));
    }
    match (&key.place, key.level) {
        (Place::Attribute(path), of) => {
            push_level_of_attribute(sql, level, of);
            sql.push(" AND k.path = ").push_bind(path.clone());
        }
        (Place::Column(_), Level::Instance) => {
            sql.push(" AND k.served = TRUE");
        }
        (Place::Column(_), Level::Series) => {
            sql.push(SERIES_SHOWS);
        }
        (Place::Column(_), Level::Study) => {}
    }
    push(sql, "k");
    sql.push(")");
}

/// A series that has lost all its instances answers for nothing.
const SERIES_SHOWS: &str = " AND EXISTS (SELECT 1 FROM index_instances n WHERE n.site_id = k.site_id
    AND n.study_instance_uid = k.study_instance_uid AND n.series_instance_uid = k.series_instance_uid
    AND n.served = TRUE LIMIT 1 OFFSET 0)";

fn push_level_of_attribute(sql: &mut QueryBuilder, level: Level, of: Level) {
    sql.push(match of {
        Level::Study => " AND k.series_instance_uid = '' AND k.sop_instance_uid = ''",
        Level::Series => " AND k.series_instance_uid <> '' AND k.sop_instance_uid = ''",
        Level::Instance if level == Level::Instance => " AND k.sop_instance_uid = i.sop_instance_uid",
        Level::Instance => " AND k.sop_instance_uid <> ''",
    });
}
