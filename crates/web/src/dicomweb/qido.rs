//! QIDO-RS (PS3.18 10.6): what a query string asks for, put to the catalog.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use filmgate_catalog::{Page, Query};
use filmgate_model::Tag;

use super::{Pairs, accept::Accepted, dicom_json, qido_rows, wants_json};
use crate::{Error, router::App};

/// What the answers of a search are.
#[derive(Debug, Clone, Copy)]
enum Level {
    Study,
    Series,
    Instance,
}

/// Studies.
pub(crate) async fn studies(
    State(app): State<App>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Study, Query::new(), &headers, &query).await
}

/// Series of any study.
pub(crate) async fn all_series(
    State(app): State<App>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Series, Query::new(), &headers, &query).await
}

/// Instances of any study.
pub(crate) async fn all_instances(
    State(app): State<App>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Instance, Query::new(), &headers, &query).await
}

/// Series of a study.
pub(crate) async fn series_of_study(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Series, Query::new().within_study(&study), &headers, &query).await
}

/// Instances of a study.
pub(crate) async fn instances_of_study(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Instance, Query::new().within_study(&study), &headers, &query).await
}

/// Instances of a series.
pub(crate) async fn instances_of_series(
    State(app): State<App>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let within = Query::new().within_study(&study).within_series(&series);
    search(&app, Level::Instance, within, &headers, &query).await
}

async fn search(
    app: &App,
    level: Level,
    within: Query,
    headers: &HeaderMap,
    pairs: &[(String, String)],
) -> Result<Response, Error> {
    wants_json(&Accepted::of(headers, pairs))?;
    let asked = Asked::read(pairs, within, app.settings().query_results_max)?;
    let catalog = app.road().catalog();
    let (datasets, more) = match level {
        Level::Study => rows(catalog.search_studies(&asked.query).await?, |row| qido_rows::study(&row)),
        Level::Series => rows(catalog.search_series(&asked.query).await?, |row| qido_rows::series(&row)),
        Level::Instance => {
            rows(catalog.search_instances(&asked.query).await?, |row| qido_rows::instance(&row))
        }
    };
    let mut response = dicom_json(&datasets);
    for warning in asked.warnings(more) {
        response.headers_mut().append(header::WARNING, warning);
    }
    Ok(response)
}

fn rows<R>(page: Page<R>, written: impl Fn(R) -> Vec<u8>) -> (Vec<Vec<u8>>, bool) {
    (page.rows.into_iter().map(written).collect(), page.more)
}

/// A query string, understood.
struct Asked {
    query: Query,
    /// Attributes asked for that are not matched.
    ignored: Vec<String>,
    /// Fuzzy matching was asked for; names match as they are written.
    fuzzy: bool,
}

/// Names ignored that a warning repeats.
const IGNORED_TOLD_MAX: usize = 16;

impl Asked {
    fn read(pairs: &[(String, String)], within: Query, results_max: u32) -> Result<Self, Error> {
        let (mut limit, mut offset) = (results_max, 0);
        let mut asked = Self { query: within, ignored: Vec::new(), fuzzy: false };
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => limit = number(name, value)?.min(results_max),
                "offset" => offset = number(name, value)?,
                "fuzzymatching" => asked.fuzzy = value == "true",
                // What is required is always answered, and so is all the catalog keeps: nothing is left to include.
                "includefield" | "accept" | "charset" => {}
                _ => asked = asked.matching(name, value)?,
            }
        }
        asked.query = asked.query.page(limit, offset);
        Ok(asked)
    }

    fn matching(mut self, name: &str, value: &str) -> Result<Self, Error> {
        match tag_named(name) {
            Some(tag) => {
                let ignored_before = self.query.ignored().len();
                self.query = self.query.matching(tag, value)?;
                if self.query.ignored().len() > ignored_before {
                    self.ignored.push(format!("{:04X}{:04X}", tag.group(), tag.element()));
                }
            }
            None => self.ignored.push(plain(name)),
        }
        Ok(self)
    }

    /// Warnings of PS3.18 8.3.4 and 10.6.3: what was cut, and what was not looked at.
    fn warnings(&self, more: bool) -> impl Iterator<Item = HeaderValue> {
        let ignored = self.ignored.get(..IGNORED_TOLD_MAX).unwrap_or(&self.ignored).join(", ");
        let texts = [
            more.then(|| "there are more results: ask on with offset".to_owned()),
            (!self.ignored.is_empty()).then(|| format!("not matched, as if not asked: {ignored}")),
            self.fuzzy.then(|| {
                "fuzzy matching is not supported; names match as written, whatever their case".to_owned()
            }),
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

/// An attribute by its number (`0020000D`) or keyword (`StudyInstanceUID`). Paths into sequences are not matched.
fn tag_named(name: &str) -> Option<Tag> {
    if name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let number = u32::from_str_radix(name, 16).ok()?;
        return Some(Tag((number >> 16) as u16, (number & 0xffff) as u16));
    }
    StandardDataDictionary.by_name(name).map(DataDictionaryEntry::tag)
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
    fn attributes_are_named_by_keyword_or_number() {
        assert_eq!(tag_named("StudyInstanceUID"), Some(tags::STUDY_INSTANCE_UID));
        assert_eq!(tag_named("0020000d"), Some(tags::STUDY_INSTANCE_UID));
        assert_eq!(tag_named("00080061"), Some(tags::MODALITIES_IN_STUDY));
        assert_eq!(tag_named("00400275.00400009"), None);
        assert_eq!(tag_named("studyinstanceuid"), None);
    }

    #[test]
    fn what_is_not_matched_is_told() {
        let asked = read(&[
            ("PatientName", "王*"),
            ("EthnicGroup", "x"),
            ("no\"such\r\n", "y"),
            ("00400275.00400009", "z"),
        ]);
        let told = warnings(&asked.expect("understood"), false);
        assert_eq!(
            told,
            ["299 filmgate \"not matched, as if not asked: 00102160, nosuch, 00400275.00400009\""]
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
    fn what_cannot_be_a_value_is_a_bad_request() {
        assert!(matches!(read(&[("limit", "-1")]), Err(Error::BadRequest(_))));
        assert!(matches!(read(&[("offset", "many")]), Err(Error::BadRequest(_))));
        assert!(matches!(read(&[("StudyDate", "last week")]), Err(Error::Catalog(_))));
    }
}
