//! A query string of QIDO-RS, understood (PS3.18 8.3.4, 10.6.1).

use axum::http::HeaderValue;
use filmgate_catalog::Query;
use filmgate_model::{Tag, attribute_named};

use super::qido_rows::is_answered;
use crate::{Error, routes::Parameter};

/// Names that a warning repeats, of each kind.
const TOLD_MAX: usize = 16;
/// Attributes looked for in metadata at most.
const INCLUDED_MAX: usize = 64;

/// What a search says.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter::named(
        "attributes",
        "attributes to match, each by keyword, number or path, as PatientName=*小* or 00400275.00400007=x (PS3.18 8.3.4.1)",
    ),
    Parameter::several(
        "includefield",
        "attributes to answer with, by name, with commas between, or all (PS3.18 8.3.4.3)",
    ),
    Parameter::flag("fuzzymatching", "words of names are found wherever they stand (PS3.18 8.3.4.2)"),
    Parameter::flag(
        "combineddatetime",
        "a range of dates and one of times are one range of moments; ours, not the standard's",
    ),
    Parameter::whole("limit", "rows of this answer (PS3.18 8.3.4.4)", 0, u32::MAX as u64),
    Parameter::whole("offset", "rows before the first of this answer", 0, u32::MAX as u64),
];

/// A query string, understood.
#[derive(Debug)]
pub(super) struct Asked {
    /// What is searched.
    pub(super) query: Query,
    /// Attributes asked for that are not matched.
    ignored: Vec<String>,
    /// Attributes to include that nothing here is known of.
    unknown: Vec<String>,
    /// Attributes to include that the catalog does not keep.
    beside: Vec<Tag>,
}

impl Asked {
    /// Reads names and values, decoded.
    pub(super) fn read(pairs: &[(String, String)], within: Query, results_max: u32) -> Result<Self, Error> {
        let (mut limit, mut offset) = (results_max, 0);
        let is_true = |asked: &str| {
            pairs.iter().any(|(name, value)| name == asked && value.trim().eq_ignore_ascii_case("true"))
        };
        let query =
            within.fuzzy(is_true("fuzzymatching")).combining_dates_and_times(is_true("combineddatetime"));
        let mut asked = Self { query, ignored: Vec::new(), unknown: Vec::new(), beside: Vec::new() };
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => limit = number(name, value)?.min(results_max),
                "offset" => offset = number(name, value)?,
                "includefield" => value.split(',').for_each(|one| asked.include(one.trim())),
                "fuzzymatching" | "combineddatetime" | "accept" | "charset" => {}
                _ => asked = asked.matching(name, value)?,
            }
        }
        asked.query = asked.query.page(limit, offset);
        Ok(asked)
    }

    /// Attributes to include that only the instances themselves have.
    pub(super) fn told_by_metadata(&self) -> &[Tag] {
        &self.beside
    }

    /// What is required is always answered, and so is all that the catalog keeps: `all` adds nothing to that.
    fn include(&mut self, name: &str) {
        if name.is_empty() || name == "all" {
            return;
        }
        match attribute_named(name).as_deref() {
            Some([tag, ..]) if is_answered(*tag) => {}
            // What lies in a sequence comes with the sequence.
            Some([tag, ..]) => {
                if self.beside.len() < INCLUDED_MAX && !self.beside.contains(tag) {
                    self.beside.push(*tag);
                }
            }
            _ => self.unknown.push(plain(name)),
        }
    }

    fn matching(mut self, name: &str, value: &str) -> Result<Self, Error> {
        match attribute_named(name) {
            Some(path) => {
                let ignored_before = self.query.ignored().len();
                self.query = self.query.matching_path(&path, value)?;
                if self.query.ignored().len() > ignored_before {
                    self.ignored.push(text_of(&path));
                }
            }
            None => self.ignored.push(plain(name)),
        }
        Ok(self)
    }

    /// Warnings of PS3.18 8.3.4 and 10.6.3: what was cut, and what was not looked at.
    pub(super) fn warnings(&self, more: bool) -> impl Iterator<Item = HeaderValue> {
        let names = |names: &[String]| names.get(..TOLD_MAX).unwrap_or(names).join(", ");
        let texts = [
            more.then(|| "there are more results: ask on with offset".to_owned()),
            (!self.ignored.is_empty())
                .then(|| format!("not matched, as if not asked: {}", names(&self.ignored))),
            (!self.unknown.is_empty()).then(|| format!("not known, left out: {}", names(&self.unknown))),
        ];
        texts
            .into_iter()
            .flatten()
            .filter_map(|text| HeaderValue::from_str(&format!("299 filmgate \"{text}\"")).ok())
    }
}

fn number(name: &str, value: &str) -> Result<u32, Error> {
    value
        .trim()
        .parse()
        .map_err(|_| Error::BadRequest(format!("{name} must be a number from 0 to {}", u32::MAX)))
}

fn text_of(path: &[Tag]) -> String {
    let steps = path.iter().map(|tag| format!("{:04X}{:04X}", tag.group(), tag.element()));
    steps.collect::<Vec<_>>().join(".")
}

/// A name from a request as a header may carry it.
fn plain(name: &str) -> String {
    name.chars().filter(|character| character.is_ascii_alphanumeric() || *character == '.').take(64).collect()
}

#[cfg(test)]
mod tests {
    use filmgate_model::tags;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Asked, Error> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Asked::read(&pairs, Query::new(), 100)
    }

    fn warnings(asked: &Asked, more: bool) -> Vec<String> {
        asked.warnings(more).map(|value| value.to_str().expect("plain text").to_owned()).collect()
    }

    #[test]
    fn what_is_not_matched_is_told() {
        let asked = read(&[
            ("PatientName", "王*"),
            ("EthnicGroup", "x"),
            ("no\"such\r\n", "y"),
            ("00400275.00400007", "z"),
        ]);
        let told = warnings(&asked.expect("understood"), false);
        assert_eq!(
            told,
            ["299 filmgate \"not matched, as if not asked: 00102160, nosuch, 00400275.00400007\""]
        );
    }

    #[test]
    fn what_a_viewer_asks_gives_no_warning_and_a_cut_answer_does() {
        let viewer = [
            ("limit", "101"),
            ("offset", "0"),
            ("fuzzymatching", "false"),
            ("includefield", "00081030,00080060,00080090,00100030"),
            ("StudyDate", "20260101-20260131"),
            ("ModalitiesInStudy", "CT"),
            ("AccessionNumber", "*ACC1*"),
        ];
        let asked = read(&viewer).expect("understood");
        assert!(warnings(&asked, false).is_empty());
        assert!(warnings(&asked, true)[0].contains("more results"));
    }

    #[test]
    fn fields_are_included_by_list_repeated_and_by_path() {
        let asked = read(&[
            ("includefield", "00081030, PatientName,SliceLocation"),
            ("includefield", "all"),
            ("includefield", "00180050"),
            ("includefield", "ReferencedImageSequence.ReferencedSOPInstanceUID"),
            ("includefield", "SliceLocation,nosuch"),
        ]);
        let asked = asked.expect("understood");
        let beside = [tags::SLICE_LOCATION, tags::SLICE_THICKNESS, tags::REFERENCED_IMAGE_SEQUENCE];
        assert_eq!(asked.told_by_metadata(), beside);
        assert_eq!(warnings(&asked, false), ["299 filmgate \"not known, left out: nosuch\""]);
    }

    #[test]
    fn fuzzy_matching_is_of_all_names_wherever_it_stands() {
        for pairs in [
            [("PatientName", "anne mull"), ("fuzzymatching", "true")],
            [("fuzzymatching", "True"), ("PatientName", "anne mull")],
        ] {
            assert!(warnings(&read(&pairs).expect("understood"), false).is_empty());
        }
    }

    #[test]
    fn what_cannot_be_a_value_is_a_bad_request() {
        assert!(matches!(read(&[("limit", "-1")]), Err(Error::BadRequest(_))));
        assert!(matches!(read(&[("offset", "many")]), Err(Error::BadRequest(_))));
        assert!(matches!(read(&[("StudyDate", "last week")]), Err(Error::Catalog(_))));
    }
}
