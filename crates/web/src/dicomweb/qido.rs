//! QIDO-RS (PS3.18 10.6): what a query string asks for, put to the catalog.
//!
//! Nothing found is answered with 200 and `[]`: PS3.18 10.6.3 has an empty payload with 204 beside it, but a client that
//! reads every answer as JSON gets along with this one alone. The order of the answers is the catalog's and stays; see
//! [`filmgate_catalog::Catalog::search_studies`].

use axum::{
    extract::{Path, State},
    http::{HeaderMap, header},
    response::Response,
};
use filmgate_catalog::{InstanceRow, Query};

use super::{
    Pairs, accept::Accepted, dicom_json, qido_included::Included, qido_query::Asked, qido_rows, wants_json,
};
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
    search(&app, Level::Study, query_of(&app), &headers, &query).await
}

/// Series of any study.
pub(crate) async fn all_series(
    State(app): State<App>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Series, query_of(&app), &headers, &query).await
}

/// Instances of any study.
pub(crate) async fn all_instances(
    State(app): State<App>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Instance, query_of(&app), &headers, &query).await
}

/// Series of a study.
pub(crate) async fn series_of_study(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Series, query_of(&app).within_study(&study), &headers, &query).await
}

/// Instances of a study.
pub(crate) async fn instances_of_study(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    search(&app, Level::Instance, query_of(&app).within_study(&study), &headers, &query).await
}

/// Instances of a series.
pub(crate) async fn instances_of_series(
    State(app): State<App>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let within = query_of(&app).within_study(&study).within_series(&series);
    search(&app, Level::Instance, within, &headers, &query).await
}

fn query_of(app: &App) -> Query {
    app.road().catalog().query()
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
    let (datasets, more): (Vec<Vec<u8>>, bool) = match level {
        Level::Study => {
            let page = catalog.search_studies(&asked.query).await?;
            (page.rows.iter().map(qido_rows::study).collect(), page.more)
        }
        Level::Series => {
            let page = catalog.search_series(&asked.query).await?;
            (page.rows.iter().map(qido_rows::series).collect(), page.more)
        }
        Level::Instance => {
            let page = catalog.search_instances(&asked.query).await?;
            (instances(app, &asked, &page.rows).await?, page.more)
        }
    };
    let mut response = dicom_json(&datasets);
    for warning in asked.warnings(more) {
        response.headers_mut().append(header::WARNING, warning);
    }
    Ok(response)
}

/// Instances, with attributes from their metadata where those are asked for that the catalog does not keep.
async fn instances(app: &App, asked: &Asked, rows: &[InstanceRow]) -> Result<Vec<Vec<u8>>, Error> {
    let wanted = asked.told_by_metadata();
    if wanted.is_empty() || rows.len() > METADATA_ROWS_MAX {
        return Ok(rows.iter().map(|row| qido_rows::instance(row, Included::default())).collect());
    }
    let records: Vec<_> = rows.iter().map(|row| row.record_id).collect();
    let metadata = app.road().metadata_of(&records).await?;
    let included = metadata.iter().map(|json| Included::of(json, wanted));
    Ok(rows.iter().zip(included).map(|(row, included)| qido_rows::instance(row, included)).collect())
}

/// Instances whose metadata is looked into for one answer.
const METADATA_ROWS_MAX: usize = 256;
