//! `/viewer?study=UID` and `/viewer?accession=NUMBER`: one address for whoever links here, wherever a study is shown.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use filmgate_catalog::{Location, Query};
use filmgate_model::{RecordId, tags};
use serde_json::Value;

use super::{pages, shown};
use crate::{
    Error, Readable,
    dicomweb::{Pairs, segment},
    extract::Reader,
    router::App,
};

/// Reports whose metadata is in memory at one time.
const REPORTS_AT_ONCE: usize = 16;
/// Concept Name Code Sequence, Content Sequence, Measured Value Sequence, its units, and where a code stands.
const CONCEPT_NAME: &str = "0040A043";
const CONTENT: &str = "0040A730";
const MEASURED: &str = "0040A300";
const UNITS: &str = "004008EA";
const CODE_VALUES: [&str; 3] = ["00080100", "00080119", "00080120"];

/// Leads to where a study is shown.
pub(crate) async fn enter(
    State(app): State<App>,
    Reader(readable): Reader,
    query: Pairs,
) -> Result<Response, Error> {
    let asked = |name| query.0.iter().find(|(asked, _)| asked == name).map(|(_, value)| value.trim());
    let study = match (asked("study"), asked("accession")) {
        (Some(study), _) => Some(study.to_owned()),
        (None, Some(accession)) => match by_accession(&app, accession, &readable).await?.as_slice() {
            [] => None,
            [study] => Some(study.clone()),
            // Several: a person chooses.
            _ => {
                return Ok(
                    Redirect::to(&format!("/studies?accession={}", segment(accession))).into_response()
                );
            }
        },
        (None, None) => return Ok(Redirect::to("/studies").into_response()),
    };
    let Some(study) = study.filter(|study| readable.has(study)) else { return Ok(missing()) };
    let instances = app.road().catalog().instances_of_study(&study).await?;
    if instances.is_empty() {
        return Ok(missing());
    }
    let unsound = unsound_series(&app, &instances).await?;
    let drawn = |instance: &&Location| {
        shown::is_drawn(&instance.sop_class_uid, &instance.transfer_syntax_uid)
            && !unsound.contains(&instance.series_instance_uid)
    };
    if app.viewer().is_none() || !instances.iter().any(|instance| drawn(&instance)) {
        return Ok(Redirect::to(&format!("/view?study={}", segment(&study))).into_response());
    }
    let mut address = format!("/ohif/viewer?StudyInstanceUIDs={}", segment(&study));
    if !unsound.is_empty() {
        let sound: BTreeSet<&str> =
            instances.iter().map(|instance| instance.series_instance_uid.as_str()).collect();
        let sound = sound.into_iter().filter(|series| !unsound.contains(*series)).map(segment);
        address.push_str(&format!("&SeriesInstanceUIDs={}", sound.collect::<Vec<_>>().join(",")));
    }
    if let Some(language) = asked("lng").filter(|language| matches!(*language, "zh" | "en-US")) {
        address.push_str(&format!("&lng={language}"));
    }
    Ok(Redirect::to(&address).into_response())
}

/// Studies with an accession number that may be read, as far as it matters: none, one, or several.
async fn by_accession(app: &App, accession: &str, readable: &Readable) -> Result<Vec<String>, Error> {
    if accession.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Query::new().matching(tags::ACCESSION_NUMBER, accession)?.page(2, 0);
    if let Some(studies) = readable.only() {
        query = query.of_studies(studies.iter().cloned());
    }
    let found = app.road().catalog().search_studies(&query).await?;
    Ok(found.rows.into_iter().map(|row| row.study_instance_uid).collect())
}

/// Series with a report that the viewer would fail on, as a whole and without a word.
async fn unsound_series(app: &App, instances: &[Location]) -> Result<BTreeSet<String>, Error> {
    let reports: Vec<&Location> =
        instances.iter().filter(|instance| shown::is_report(&instance.sop_class_uid)).collect();
    let mut unsound = BTreeSet::new();
    for some in reports.chunks(REPORTS_AT_ONCE) {
        let records: Vec<RecordId> = some.iter().map(|report| report.record_id).collect();
        let read = app.road().metadata_of(&records).await?;
        for (number, report) in some.iter().enumerate() {
            if !read.get(number).is_some_and(|json| is_sound(json)) {
                unsound.insert(report.series_instance_uid.clone());
            }
        }
    }
    Ok(unsound)
}

/// True when every item of the report's content says what it is, and every number its unit (PS3.3 C.17.3.2, C.18.1): the
/// viewer takes that for granted.
fn is_sound(json: &[u8]) -> bool {
    serde_json::from_slice(json).is_ok_and(|report| has_named_content(&report))
}

fn has_named_content(item: &Value) -> bool {
    let is_code = |code: &Value| CODE_VALUES.iter().any(|value| code[value]["Value"][0].is_string());
    let named = is_code(&item[CONCEPT_NAME]["Value"][0]);
    let measured = &item[MEASURED]["Value"][0];
    let has_units = measured.is_null() || is_code(&measured[UNITS]["Value"][0]);
    let content = item[CONTENT]["Value"].as_array();
    named && has_units && content.is_none_or(|items| items.iter().all(has_named_content))
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, pages::missing()).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_with_an_item_that_has_no_name_is_unsound() {
        let name = json!({ "vr": "SQ", "Value": [{ "00080100": { "vr": "SH", "Value": ["121071"] } }] });
        let item = json!({ "0040A043": name });
        let report = |items: Vec<Value>| {
            json!({ "0040A043": name, "0040A730": { "vr": "SQ", "Value": items } }).to_string()
        };
        assert!(is_sound(report(vec![item.clone()]).as_bytes()));
        assert!(is_sound(report(vec![]).as_bytes()));
        let unnamed = json!({ "0040A040": { "vr": "CS", "Value": ["TEXT"] } });
        assert!(!is_sound(report(vec![item.clone(), unnamed.clone()]).as_bytes()));
        let nested = json!({ "0040A043": name, "0040A730": { "vr": "SQ", "Value": [unnamed] } });
        assert!(!is_sound(report(vec![nested]).as_bytes()));
        assert!(!is_sound(b"[") && !is_sound(b"{}"));
    }
}
