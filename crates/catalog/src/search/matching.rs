//! How a value asked for is understood, and the SQL that says it (PS3.4 C.2.2.2, PS3.18 8.3.4.1).

use std::collections::BTreeSet;

use filmgate_model::Tag;

use super::{
    fold::{groups, is_without_spaces, plain},
    grams::{Sought, sought_in_name, sought_in_text},
    keys::{Key, Kind, Place},
};
use crate::{Error, engine::QueryBuilder, index::beginning};

/// What is asked of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Match {
    /// Anything, also no value.
    Any,
    /// This value.
    Exact(String),
    /// One of these.
    OneOf(Vec<String>),
    /// A pattern: `*` for any run of characters, `?` for one.
    Wildcard(String),
    /// From the first to the second, both included; an end left open is `None`.
    Range(Option<String>, Option<String>),
    /// This number.
    Number(i64),
    /// A person's name: a pattern of its folded form.
    Name(String),
    /// A person's name: patterns of its words, all of which must be there, in whatever order.
    Words(Vec<String>),
}

impl Match {
    /// Understands the text asked of an attribute as its kind demands; `fuzzy` has names matched by their words.
    pub(crate) fn parse(key: &Key, text: &str, fuzzy: bool) -> Result<Self, Error> {
        let text = text.trim_matches([' ', '\0']);
        // A lone asterisk and an empty value match everything (PS3.4 C.2.2.2.3, C.2.2.2.4).
        if text.is_empty() || text.chars().all(|character| character == '*') {
            return Ok(Self::Any);
        }
        match key.kind {
            Kind::Uid => Ok(list(text)),
            Kind::Code if is_pattern(text) => Ok(Self::Wildcard(text.to_owned())),
            Kind::Code => Ok(list(text)),
            Kind::Text if is_pattern(text) => Ok(Self::Wildcard(text.to_owned())),
            // As much of it as is kept.
            Kind::Text => Ok(Self::Exact(match key.place {
                Place::Column(_) => beginning(text.to_owned()),
                Place::Attribute(_) => text.to_owned(),
            })),
            Kind::Name if fuzzy => Ok(words(text)),
            Kind::Name => Ok(name(text)),
            Kind::Date => range(key.tag, &text.replace('.', "")),
            Kind::Time => range(key.tag, &text.replace(':', "")),
            Kind::Number => text.parse().map(Self::Number).map_err(|_| Error::Unmatchable { tag: key.tag }),
        }
    }

    /// Adds ` AND …` for the key's column of `alias`, or for a row `alias` of the table of attributes.
    pub(crate) fn push(&self, sql: &mut QueryBuilder, alias: &str, key: &Key) {
        let column = self.column(alias, key);
        match self {
            Self::Any => {}
            Self::Exact(value) => {
                sql.push(format!(" AND {column} = ")).push_bind(value.clone());
            }
            Self::Number(value) => {
                sql.push(format!(" AND {column} = ")).push_bind(*value);
            }
            Self::OneOf(values) => push_list(sql, &column, values),
            Self::Wildcard(pattern) | Self::Name(pattern) => push_like(sql, &column, &like(pattern)),
            Self::Words(patterns) => patterns.iter().for_each(|word| push_like(sql, &column, &like(word))),
            Self::Range(from, to) => push_range(sql, &column, key.kind, from.as_deref(), to.as_deref()),
        }
    }

    /// What must be in the text of the gram table that matches; nothing when that says nothing.
    pub(crate) fn sought(&self, key: &Key) -> BTreeSet<Sought> {
        match self {
            _ if key.field().is_none() => BTreeSet::new(),
            Self::Exact(value) if !is_pattern(value) => sought_in_text(value),
            Self::Wildcard(pattern) => sought_in_text(pattern),
            Self::Name(pattern) => sought_in_name(pattern),
            Self::Words(patterns) => patterns.iter().flat_map(|word| sought_in_name(word)).collect(),
            _ => BTreeSet::new(),
        }
    }

    fn column(&self, alias: &str, key: &Key) -> String {
        match (&key.place, self) {
            (Place::Column(column), Self::Name(_)) => format!("{alias}.{column}_folded"),
            (Place::Column(column), Self::Words(_)) => format!("{alias}.{column}_words"),
            (Place::Column(column), _) => format!("{alias}.{column}"),
            (Place::Attribute(_), Self::Name(_)) => format!("{alias}.folded"),
            (Place::Attribute(_), Self::Words(_)) => format!("{alias}.words"),
            (Place::Attribute(_), _) => format!("{alias}.value"),
        }
    }
}

/// Adds that a date and a time, taken together, lie between two moments (PS3.4 C.2.2.2.5). On the first and the last day
/// a time must be known; between them the date says enough.
pub(crate) fn push_moments(sql: &mut QueryBuilder, date: &str, time: &str, dates: &Match, times: &Match) {
    let (Match::Range(first, last), Match::Range(from, to)) = (dates, times) else { return };
    sql.push(format!(" AND {date} IS NOT NULL"));
    for (day, moment, beyond, within) in [(first, from, ">", ">="), (last, to, "<", "<=")] {
        let Some(day) = day else { continue };
        // As the index of studies by date has it.
        sql.push(format!(" AND COALESCE({date}, '') {beyond}= ")).push_bind(day.clone());
        let Some(moment) = moment else { continue };
        let moment = if within == "<=" { end_of(moment) } else { moment.clone() };
        sql.push(format!(" AND ({date} {beyond} ")).push_bind(day.clone());
        sql.push(format!(" OR {time} {within} ")).push_bind(moment).push(")");
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Values apart by comma (PS3.18 8.3.4.1) or backslash.
fn list(text: &str) -> Match {
    let values = text.split([',', '\\']).map(str::trim).filter(|value| !value.is_empty());
    let values: Vec<String> = values.map(str::to_owned).collect();
    if values.is_empty() { Match::Any } else { Match::OneOf(values) }
}

/// `a-b`, `a-`, `-b`, or one value, which is the range from itself to itself.
fn range(tag: Tag, text: &str) -> Result<Match, Error> {
    let end = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.trim(), to.trim());
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !digits(from) || !digits(to) {
        return Err(Error::Unmatchable { tag });
    }
    Ok(Match::Range(end(from), end(to)))
}

pub(crate) fn push_list(sql: &mut QueryBuilder, column: &str, values: &[String]) {
    if values.is_empty() {
        // PostgreSQL has no empty list.
        sql.push(" AND 1 = 0");
        return;
    }
    sql.push(format!(" AND {column} IN ("));
    for (value, number) in values.iter().zip(0..) {
        sql.push(if number == 0 { "" } else { ", " }).push_bind(value.clone());
    }
    sql.push(")");
}

fn push_like(sql: &mut QueryBuilder, column: &str, pattern: &str) {
    sql.push(format!(" AND {column} LIKE ")).push_bind(pattern.to_owned()).push(" ESCAPE '!'");
}

fn push_range(sql: &mut QueryBuilder, column: &str, kind: Kind, from: Option<&str>, to: Option<&str>) {
    // As the index of studies by date has it; nothing at all is never in a range.
    sql.push(format!(" AND {column} IS NOT NULL"));
    if let Some(from) = from {
        sql.push(format!(" AND COALESCE({column}, '') >= ")).push_bind(from.to_owned());
    }
    if let Some(to) = to {
        let to = if kind == Kind::Time { end_of(to) } else { to.to_owned() };
        sql.push(format!(" AND COALESCE({column}, '') <= ")).push_bind(to);
    }
}

/// The last moment a time of lesser precision names: `12` is all of the hour.
fn end_of(time: &str) -> String {
    const LAST: &str = "235959.999999";
    let rest = LAST.get(time.len()..).unwrap_or_default();
    format!("{time}{rest}")
}

/// A DICOM pattern as LIKE's, with LIKE's own characters escaped by `!`.
fn like(pattern: &str) -> String {
    let mut like = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        match character {
            '*' => like.push('%'),
            '?' => like.push('_'),
            '%' | '_' | '!' => {
                like.push('!');
                like.push(character);
            }
            _ => like.push(character),
        }
    }
    like
}

/// A name without `=` is looked for in each component group; with it, in the groups as they stand. An asterisk may stand
/// for the end of one group and the beginning of the next.
fn name(text: &str) -> Match {
    let groups = groups(text);
    if groups.is_empty() {
        return Match::Any;
    }
    if text.contains('=') {
        let asked: Vec<&str> =
            groups.iter().map(|group| if group.is_empty() { "*" } else { group.as_str() }).collect();
        return Match::Name(format!("={}=*", asked.join("=")));
    }
    Match::Name(format!("*={}=*", groups.concat()))
}

/// Fuzzy matching, of which the standard leaves the meaning to the server (PS3.18 8.3.4.2): every word asked for begins
/// some word of the name, or a group of it in one piece; in a script without spaces, or behind an asterisk, it may stand
/// anywhere. Neither order nor case nor accents count.
fn words(text: &str) -> Match {
    let text = plain(text);
    let words = text.split(' ').filter(|word| word.chars().any(|character| !matches!(character, '*' | '?')));
    let patterns: Vec<String> = words
        .map(|word| {
            let before = if is_without_spaces(word) || word.starts_with('*') { "*" } else { "* " };
            format!("{before}{word}*")
        })
        .collect();
    if patterns.is_empty() { Match::Any } else { Match::Words(patterns) }
}

#[cfg(test)]
mod tests {
    use filmgate_model::tags;

    use super::*;
    use crate::search::{attributes::Attributes, keys::key_of};

    fn key(tag: Tag) -> Key {
        key_of(&[tag], &Attributes::default()).expect("a key")
    }

    fn parse(tag: Tag, text: &str) -> Result<Match, Error> {
        Match::parse(&key(tag), text, false)
    }

    #[test]
    fn values_are_understood_by_their_kind() {
        let range = |from: &str, to: &str| Match::Range(Some(from.to_owned()), Some(to.to_owned()));
        assert_eq!(parse(tags::STUDY_DATE, "20240101-20240131").ok(), Some(range("20240101", "20240131")));
        assert_eq!(
            parse(tags::STUDY_DATE, "-20240131").ok(),
            Some(Match::Range(None, Some("20240131".to_owned())))
        );
        assert_eq!(parse(tags::STUDY_DATE, "2024.01.02").ok(), Some(range("20240102", "20240102")));
        assert!(matches!(parse(tags::STUDY_DATE, "last week"), Err(Error::Unmatchable { .. })));
        assert_eq!(parse(tags::SERIES_NUMBER, "007").ok(), Some(Match::Number(7)));
        assert!(parse(tags::SERIES_NUMBER, "7*").is_err());
        assert_eq!(parse(tags::PATIENT_ID, "**").ok(), Some(Match::Any));
        assert_eq!(parse(tags::PATIENT_ID, "A,B").ok(), Some(Match::Exact("A,B".to_owned())));
        let uids = Match::OneOf(vec!["1.2".to_owned(), "1.3".to_owned()]);
        assert_eq!(parse(tags::STUDY_INSTANCE_UID, "1.2,1.3").ok(), Some(uids));
    }

    #[test]
    fn fuzzy_names_are_words_in_any_order() {
        let fuzzy = |text| Match::parse(&key(tags::PATIENT_NAME), text, true).ok();
        let words =
            |patterns: &[&str]| Some(Match::Words(patterns.iter().map(ToString::to_string).collect()));
        assert_eq!(fuzzy("Änne MÜLL"), words(&["* anne*", "* mull*"]));
        assert_eq!(fuzzy("小东^*ang"), words(&["*小东*", "**ang*"]));
        assert_eq!(fuzzy("^ ?"), Some(Match::Any));
        let not_a_name = Match::parse(&key(tags::PATIENT_ID), "a b", true).ok();
        assert_eq!(not_a_name, Some(Match::Exact("a b".to_owned())));
    }

    #[test]
    fn patterns_escape_what_like_would_read() {
        assert_eq!(like("50%_a*?!"), "50!%!_a%_!!");
        assert_eq!(name("WANG*"), Match::Name("*=wang*=*".to_owned()));
        assert_eq!(name("=王*"), Match::Name("=*=王*=*".to_owned()));
        assert_eq!(name("^="), Match::Any);
    }

    #[test]
    fn a_short_time_names_all_of_its_hour() {
        assert_eq!(end_of("12"), "125959.999999");
        assert_eq!(end_of("120000.5"), "120000.599999");
        assert_eq!(end_of("235959.999999"), "235959.999999");
    }
}
