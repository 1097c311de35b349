//! How a search can be narrowed before anything is compared: conditions for which an index knows the studies. The one that
//! knows the fewest is asked; how many each knows is counted first, up to a bound.

use std::collections::BTreeSet;

use super::{
    grams::{Dates, Field, Sought, push_modality},
    keys::{Key, Kind, Level, Place},
    matching::{Match, push_list},
    query::{Condition, Query},
};
use crate::{
    Catalog, Error,
    engine::{Connection, QueryBuilder, row::get},
};

/// Studies counted of one condition at most: with more, it narrows too little to be worth more counting.
pub(super) const COUNTED_MAX: i64 = 4096;
const MODALITY: &str = "modality";
/// Modalities asked for together of which an index is asked; each is a statement of its own.
const MODALITIES_MAX: usize = 16;
/// Longer ones are not entered.
const MODALITY_CHARACTERS_MAX: usize = 16;
/// Conditions counted of one search.
const COUNTED_CONDITIONS_MAX: usize = 12;

/// An index that knows all studies a condition can be true of.
#[derive(Debug, Clone)]
pub(super) enum Narrowing<'q> {
    /// Studies with this column's value, by an index on it.
    Column(&'static str, Vec<String>),
    /// Studies within these dates.
    Dates(Dates<'q>),
    /// Studies with one of these modalities, within these dates.
    Modality(BTreeSet<&'q str>, Dates<'q>),
    /// Studies of which a text has this in it.
    Gram(Field, Sought),
    /// Studies with a series, or an instance, that has one of these values.
    Below(&'static str, &'static str, &'q [String]),
    /// Studies with one of these values of an attribute beside the columns.
    Attribute(String, Vec<String>),
}

/// A narrowing, and how many studies it knows at most.
#[derive(Debug)]
pub(super) struct Counted<'q> {
    pub(super) narrowing: Narrowing<'q>,
    /// Which of the search's conditions it is of.
    pub(super) condition: usize,
    /// Up to [`COUNTED_MAX`].
    pub(super) studies: i64,
}

/// What is known before a search begins.
#[derive(Debug)]
pub(super) struct Outlook<'q> {
    /// By how many studies each knows, the fewest first.
    pub(super) narrowings: Vec<Counted<'q>>,
    /// Studies there are, about.
    pub(super) studies: i64,
}

impl Narrowing<'_> {
    /// Adds a statement that selects `study_number`, some perhaps twice.
    pub(super) fn push(&self, sql: &mut QueryBuilder, site: &[u8]) {
        match self {
            Self::Modality(modalities, dates) => {
                push_modalities(sql, "k.study_number", modalities, *dates, site);
                return;
            }
            Self::Column(..) | Self::Dates(..) | Self::Gram(..) => {
                sql.push("SELECT k.study_number FROM ").push(self.table()).push(" k");
            }
            Self::Below(..) | Self::Attribute(..) => {
                sql.push("SELECT s.study_number FROM ").push(self.table()).push(
                    " k JOIN index_studies s
                        ON s.site_id = k.site_id AND s.study_instance_uid = k.study_instance_uid",
                );
            }
        }
        self.push_condition(sql, site);
    }

    /// Adds ` AND …`: only studies that this narrowing knows too, of those whose number is in a column.
    pub(super) fn push_beside(&self, sql: &mut QueryBuilder, column: &str, site: &[u8]) {
        match self {
            Self::Gram(_, sought) if sought.is_whole() => {
                sql.push(" AND EXISTS (");
                self.push_to_count(sql, site);
                sql.push(format!(" AND k.study_number = {column})"));
            }
            _ => {
                sql.push(format!(" AND {column} IN ("));
                self.push(sql, site);
                sql.push(")");
            }
        }
    }

    /// Adds a statement that selects as many rows, or more; to be counted.
    fn push_to_count(&self, sql: &mut QueryBuilder, site: &[u8]) {
        if let Self::Modality(modalities, dates) = self {
            push_modalities(sql, "1", modalities, *dates, site);
            return;
        }
        sql.push("SELECT 1 FROM ").push(self.table()).push(" k");
        self.push_condition(sql, site);
    }

    fn table(&self) -> &'static str {
        match self {
            Self::Column(..) | Self::Dates(..) => "index_studies",
            Self::Gram(..) | Self::Modality(..) => "index_grams",
            Self::Below(table, ..) => table,
            Self::Attribute(..) => "index_attributes",
        }
    }

    fn push_condition(&self, sql: &mut QueryBuilder, site: &[u8]) {
        sql.push(" WHERE k.site_id = ").push_bind(site.to_vec());
        match self {
            Self::Column(column, values) => push_list(sql, &format!("k.{column}"), values),
            Self::Dates((from, to)) => {
                if let Some(from) = from {
                    sql.push(" AND COALESCE(k.study_date, '') >= ").push_bind((*from).to_owned());
                }
                if let Some(to) = to {
                    sql.push(" AND COALESCE(k.study_date, '') <= ").push_bind((*to).to_owned());
                }
            }
            Self::Gram(field, sought) => {
                sql.push(" AND k.field = ").push_bind(*field as i64);
                sought.push(sql, "k.gram");
            }
            // Of several statements, each with its own.
            Self::Modality(..) => {}
            Self::Below(_, column, values) => push_list(sql, &format!("k.{column}"), values),
            Self::Attribute(path, values) => {
                sql.push(" AND LENGTH(k.value) <= 64 AND k.path = ").push_bind(path.clone());
                push_list(sql, "k.value", values);
            }
        }
    }
}

/// A statement for each modality: with ranges apart by OR, SQLite would read all there are.
fn push_modalities(
    sql: &mut QueryBuilder,
    selected: &str,
    modalities: &BTreeSet<&str>,
    dates: Dates<'_>,
    site: &[u8],
) {
    for (modality, number) in modalities.iter().zip(0..) {
        sql.push(if number == 0 { "" } else { " UNION ALL " });
        sql.push(format!("SELECT {selected} FROM index_grams k WHERE k.site_id = ")).push_bind(site.to_vec());
        sql.push(" AND k.field = ").push_bind(Field::Modality as i64);
        push_modality(sql, "k.gram", modality, dates);
    }
}

/// The dates that a condition leaves to studies, if it is of those.
fn dates<'q>(condition: &Condition<'q>) -> Option<Dates<'q>> {
    let (Condition::Single(key, asked) | Condition::Moments { date: (key, asked), .. }) = *condition;
    match (key.level, asked, &key.place) {
        (Level::Study, Match::Range(from, to), Place::Column("study_date")) => {
            Some((from.as_deref(), to.as_deref()))
        }
        _ => None,
    }
}

/// How a condition can be narrowed, in a search of these dates; empty when no index knows.
fn narrowings<'q>(condition: &Condition<'q>, within: Dates<'q>) -> Vec<Narrowing<'q>> {
    if let Some(dates) = dates(condition) {
        return vec![Narrowing::Dates(dates)];
    }
    let (Condition::Single(key, asked) | Condition::Moments { date: (key, asked), .. }) = *condition;
    let indexed = match (key.level, asked, &key.place) {
        (Level::Study, Match::Exact(value), Place::Column(column @ ("patient_id" | "accession_number"))) => {
            return vec![Narrowing::Column(column, vec![value.clone()])];
        }
        (Level::Study, Match::OneOf(values), Place::Column(column @ "study_instance_uid")) => {
            vec![Narrowing::Column(column, values.clone())]
        }
        (Level::Series, Match::OneOf(values), Place::Column(column)) if *column == MODALITY => {
            let modalities: BTreeSet<&str> = values.iter().map(String::as_str).collect();
            let are_few = modalities.len() <= MODALITIES_MAX && are_within(values, MODALITY_CHARACTERS_MAX);
            Vec::from_iter(are_few.then_some(Narrowing::Modality(modalities, within)))
        }
        (level, Match::OneOf(values), Place::Column(column)) => below(level, column, values),
        (_, Match::OneOf(values), Place::Attribute(path)) if are_within(values, 64) => {
            vec![Narrowing::Attribute(path.clone(), values.clone())]
        }
        (_, Match::Exact(value), Place::Attribute(path))
            if key.kind == Kind::Text && are_within(std::slice::from_ref(value), 64) =>
        {
            vec![Narrowing::Attribute(path.clone(), vec![value.clone()])]
        }
        _ => Vec::new(),
    };
    indexed.into_iter().chain(grams(key, asked)).collect()
}

fn below<'q>(level: Level, column: &'static str, values: &'q [String]) -> Vec<Narrowing<'q>> {
    match (level, column) {
        (Level::Series, "series_instance_uid") => vec![Narrowing::Below("index_series", column, values)],
        (Level::Instance, "sop_instance_uid") => vec![Narrowing::Below("index_instances", column, values)],
        _ => Vec::new(),
    }
}

/// Longer values are in no index.
fn are_within(values: &[String], characters: usize) -> bool {
    values.iter().all(|value| value.chars().count() <= characters)
}

fn grams<'q>(key: &Key, asked: &Match) -> Vec<Narrowing<'q>> {
    let Some(field) = key.field() else { return Vec::new() };
    asked.sought(key).into_iter().map(|sought| Narrowing::Gram(field, sought)).collect()
}

impl Catalog {
    /// Counts what the conditions of a search narrow it to.
    pub(super) async fn outlook<'q>(
        &self,
        reader: &mut Connection,
        query: &'q Query,
    ) -> Result<Outlook<'q>, Error> {
        let conditions = query.conditions();
        let within = conditions.iter().find_map(dates).unwrap_or_default();
        let of = |(number, condition)| {
            let narrowings = narrowings(condition, within).into_iter();
            narrowings.map(move |narrowing| Counted { narrowing, condition: number, studies: COUNTED_MAX })
        };
        let mut all: Vec<Counted<'q>> =
            conditions.iter().enumerate().flat_map(of).take(COUNTED_CONDITIONS_MAX).collect();
        if all.is_empty() {
            return Ok(Outlook { narrowings: Vec::new(), studies: 0 });
        }
        let mut sql =
            QueryBuilder::new("SELECT COALESCE((SELECT MAX(study_number) FROM index_studies), 0) AS c0");
        for (counted, name) in all.iter().zip(NAMES.iter().skip(1)) {
            sql.push(", (SELECT COUNT(*) FROM (");
            counted.narrowing.push_to_count(&mut sql, self.site());
            sql.push(" LIMIT ").push_bind(COUNTED_MAX).push(format!(") AS counted) AS {name}"));
        }
        let row = sql.build().fetch_one(reader).await?;
        for (counted, name) in all.iter_mut().zip(NAMES.iter().skip(1)) {
            counted.studies = get(&row, name)?;
        }
        all.sort_by_key(|counted| counted.studies);
        Ok(Outlook { narrowings: all, studies: get(&row, "c0")? })
    }
}

const NAMES: [&str; COUNTED_CONDITIONS_MAX + 1] =
    ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "c10", "c11", "c12"];
