//! How a value asked for is understood, and the SQL that says it (PS3.4 C.2.2.2, PS3.18 8.3.4.1).

use filmgate_model::Tag;

use super::{
    fold::groups,
    keys::{Key, Kind},
};
use crate::{Error, engine::QueryBuilder};

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
    /// A person's name; case does not count, `*` and `?` as in patterns.
    Name(String),
}

impl Match {
    /// Understands the text asked of an attribute as its kind demands.
    pub(crate) fn parse(key: &Key, text: &str) -> Result<Self, Error> {
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
            Kind::Text => Ok(Self::Exact(text.to_owned())),
            Kind::Name => Ok(Self::Name(text.to_owned())),
            Kind::Date => range(key.tag, &text.replace('.', "")),
            Kind::Time => range(key.tag, &text.replace(':', "")),
            Kind::Number => text.parse().map(Self::Number).map_err(|_| Error::Unmatchable { tag: key.tag }),
        }
    }

    /// Adds ` AND …` for the column `alias.column`.
    pub(crate) fn push(&self, sql: &mut QueryBuilder, alias: &str, key: &Key) {
        let column = format!("{alias}.{}", key.column);
        match self {
            Self::Any => {}
            Self::Exact(value) => {
                sql.push(format!(" AND {column} = ")).push_bind(value.clone());
            }
            Self::Number(value) => {
                sql.push(format!(" AND {column} = ")).push_bind(*value);
            }
            Self::OneOf(values) => push_list(sql, &column, values),
            Self::Wildcard(pattern) => push_like(sql, &column, &like(pattern)),
            Self::Name(name) => push_like(sql, &column, &name_like(name)),
            Self::Range(from, to) => push_range(sql, &column, key.kind, from.as_deref(), to.as_deref()),
        }
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Values apart by comma (PS3.18 8.3.4.1) or backslash.
fn list(text: &str) -> Match {
    let values = text.split([',', '\\']).map(str::trim).filter(|value| !value.is_empty());
    Match::OneOf(values.map(str::to_owned).collect())
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

fn push_list(sql: &mut QueryBuilder, column: &str, values: &[String]) {
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

/// A name without `=` is looked for in each component group; with it, in the groups as they stand.
fn name_like(name: &str) -> String {
    let groups = groups(name);
    if name.contains('=') {
        let asked: Vec<String> =
            groups.iter().map(|group| if group.is_empty() { "%".to_owned() } else { like(group) }).collect();
        return format!("={}=%", asked.join("="));
    }
    format!("%={}=%", like(groups.first().map_or("", String::as_str)))
}

#[cfg(test)]
mod tests {
    use filmgate_model::tags;

    use super::*;
    use crate::search::keys::key_of;

    fn parse(tag: Tag, text: &str) -> Result<Match, Error> {
        Match::parse(&key_of(tag).expect("a key"), text)
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
    fn patterns_escape_what_like_would_read() {
        assert_eq!(like("50%_a*?!"), "50!%!_a%_!!");
        assert_eq!(name_like("WANG*"), "%=wang%=%");
        assert_eq!(name_like("=王*"), "=%=王%=%");
    }

    #[test]
    fn a_short_time_names_all_of_its_hour() {
        assert_eq!(end_of("12"), "125959.999999");
        assert_eq!(end_of("120000.5"), "120000.599999");
        assert_eq!(end_of("235959.999999"), "235959.999999");
    }
}
