//! The gram table: every run of three characters in the text that people search by pieces of it, so that `*小东*` and
//! `*ang*` are look-ups in an index. A piece of one or two characters is the beginning of a run.
//!
//! A gram only narrows: what it finds is compared with the whole pattern all the same.

use std::collections::BTreeSet;

use super::fold::plain;
use crate::engine::QueryBuilder;

/// Which text a gram is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The words of the patient's name.
    Name = 1,
    /// Patient ID.
    PatientId = 2,
    /// Accession number.
    AccessionNumber = 3,
    /// Study description.
    StudyDescription = 4,
    /// A modality of the study and the study's date, with a slash between: no gram, but found as one. Triggers enter it.
    Modality = 5,
}

/// Characters of a gram.
const CHARACTERS: usize = 3;
/// Before and behind a text, so that its beginning and its end can be looked for. Names have spaces there.
const START: char = '\u{2}';
const END: char = '\u{3}';

/// The grams of a name, of which the words are given.
pub(crate) fn of_words(words: &str) -> BTreeSet<String> {
    grams(words.chars())
}

/// The grams of any other text.
pub(crate) fn of_text(text: &str) -> BTreeSet<String> {
    grams(std::iter::once(START).chain(text.chars()))
}

fn grams(text: impl Iterator<Item = char>) -> BTreeSet<String> {
    let characters: Vec<char> = text.chain([END; CHARACTERS - 1]).collect();
    characters.windows(CHARACTERS).map(|window| window.iter().collect()).collect()
}

/// What a text that matches must have in it: a gram, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sought(String);

impl Sought {
    /// True for a whole gram.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.chars().count() >= CHARACTERS
    }

    /// Adds ` AND …` for a column of grams.
    pub(crate) fn push(&self, sql: &mut QueryBuilder, column: &str) {
        if self.is_whole() {
            sql.push(format!(" AND {column} = ")).push_bind(self.0.clone());
            return;
        }
        sql.push(format!(" AND {column} >= ")).push_bind(self.0.clone());
        if let Some(behind) = behind(&self.0) {
            sql.push(format!(" AND {column} < ")).push_bind(behind);
        }
    }
}

/// Adds ` AND …` for the entries of a modality within these dates.
pub(crate) fn push_modality(sql: &mut QueryBuilder, column: &str, modality: &str, dates: Dates<'_>) {
    let from = format!("{modality}/{}", dates.0.unwrap_or_default());
    sql.push(format!(" AND {column} >= ")).push_bind(from);
    match dates.1 {
        Some(to) => sql.push(format!(" AND {column} <= ")).push_bind(format!("{modality}/{to}")),
        // The character behind the slash.
        None => sql.push(format!(" AND {column} < ")).push_bind(format!("{modality}0")),
    };
}

/// From the first to the second, both included; an end left open is `None`.
pub(crate) type Dates<'q> = (Option<&'q str>, Option<&'q str>);

/// The first text behind all that begin so; text is compared by its characters' numbers.
fn behind(beginning: &str) -> Option<String> {
    let mut characters: Vec<char> = beginning.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(u32::from(other).saturating_add(1)),
        };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// What must be in a text that matches a pattern of `*` and `?`.
pub(crate) fn sought_in_text(pattern: &str) -> BTreeSet<Sought> {
    sought(std::iter::once(START).chain(pattern.chars()).chain([END]))
}

/// What must be in the words of a name that matches such a pattern of its folded form.
pub(crate) fn sought_in_name(pattern: &str) -> BTreeSet<Sought> {
    sought(plain(pattern).chars())
}

fn sought(pattern: impl Iterator<Item = char>) -> BTreeSet<Sought> {
    let pattern: Vec<char> = pattern.collect();
    let runs = pattern.split(|character| matches!(character, '*' | '?'));
    // Where a text begins or ends says nothing by itself.
    let telling = |run: &&[char]| run.iter().any(|character| !matches!(*character, START | END | ' '));
    let mut sought = BTreeSet::new();
    for run in runs.filter(telling) {
        match run.len() {
            ..CHARACTERS => sought.insert(Sought(run.iter().collect())),
            _ => {
                sought.extend(run.windows(CHARACTERS).map(|window| Sought(window.iter().collect())));
                true
            }
        };
    }
    sought
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::fold::words;

    fn texts(sought: BTreeSet<Sought>) -> Vec<String> {
        sought.into_iter().map(|sought| sought.0).collect()
    }

    #[test]
    fn what_is_sought_is_in_what_matches() {
        let name = of_words(&words("Wang^XiaoDong=王^小东"));
        let has = |pattern: &str| {
            sought_in_name(pattern).iter().all(|one| name.iter().any(|gram| gram.starts_with(&one.0)))
        };
        for pattern in
            ["*王*", "*小东*", "*ang*", "*=wang^*", "*g^xi*", "*东=*", "=*=王^小东=*", "*o?g*", "*=王^*"]
        {
            assert!(has(pattern), "{pattern}");
        }
        for pattern in ["*李*", "*东小*", "*wangx^*"] {
            assert!(!has(pattern), "{pattern}");
        }
        assert!(of_text("ACC1").contains("\u{2}AC") && of_text("ACC1").contains("1\u{3}\u{3}"));
    }

    #[test]
    fn short_pieces_are_beginnings() {
        assert_eq!(texts(sought_in_text("*12*")), ["12"]);
        assert_eq!(texts(sought_in_text("A*")), ["\u{2}A"]);
        assert_eq!(texts(sought_in_text("*abcd*")), ["abc", "bcd"]);
        assert_eq!(texts(sought_in_text("*")), Vec::<String>::new());
        assert_eq!(texts(sought_in_name("*=王*")), [" 王"]);
        assert_eq!(behind("a"), Some("b".to_owned()));
        assert_eq!(behind("a\u{10ffff}"), Some("b".to_owned()));
        assert_eq!(behind("\u{d7ff}"), Some("\u{e000}".to_owned()));
    }
}
