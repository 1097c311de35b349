//! QIDO-RS (PS3.18 10.6): what a query string asks for, put to the catalog.
//!
//! Nothing found is answered with 200 and `[]`: PS3.18 10.6.3 has an empty payload with 204 beside it, but a client that
//! reads every answer as JSON gets along with this one alone. The order of the answers is the catalog's and stays; see
//! [`filmgate_catalog::Catalog::search_studies`].

use std::sync::Arc;

use axum::{http::header, response::Response};
use filmgate_catalog::InstanceRow;
use filmgate_pipeline::Road;
use serde::Deserialize;

use super::{asking::Asking, dicom_json, qido_included::Included, qido_query::Asked, qido_rows, wants_json};
use crate::{Error, extract::Path};

/// What is searched: everything, a study, or a series.
#[derive(Deserialize)]
pub(crate) struct Within {
    study: Option<String>,
    series: Option<String>,
}

impl Within {
    fn asked(&self, asking: &Asking) -> Result<Asked, Error> {
        wants_json(&asking.accepted)?;
        let mut query = asking.road().catalog().query();
        if let Some(studies) = asking.readable.only() {
            query = query.of_studies(studies.iter().cloned());
        }
        if let Some(study) = &self.study {
            query = query.within_study(study);
        }
        if let Some(series) = &self.series {
            query = query.within_series(series);
        }
        Asked::read(&asking.query, query, asking.app.settings().query_results_max)
    }
}

/// Studies.
pub(crate) async fn studies(Path(within): Path<Within>, asking: Asking) -> Result<Response, Error> {
    let asked = within.asked(&asking)?;
    let page = asking.road().catalog().search_studies(&asked.query).await?;
    Ok(answer(&asked, page.rows.iter().map(qido_rows::study).collect(), page.more))
}

/// Series.
pub(crate) async fn series(Path(within): Path<Within>, asking: Asking) -> Result<Response, Error> {
    let asked = within.asked(&asking)?;
    let page = asking.road().catalog().search_series(&asked.query).await?;
    Ok(answer(&asked, page.rows.iter().map(qido_rows::series).collect(), page.more))
}

/// Instances.
pub(crate) async fn instances(Path(within): Path<Within>, asking: Asking) -> Result<Response, Error> {
    let asked = within.asked(&asking)?;
    let page = asking.road().catalog().search_instances(&asked.query).await?;
    Ok(answer(&asked, rows(asking.road(), &asked, &page.rows).await?, page.more))
}

fn answer(asked: &Asked, datasets: Vec<Vec<u8>>, more: bool) -> Response {
    let mut response = dicom_json(&datasets);
    for warning in asked.warnings(more) {
        response.headers_mut().append(header::WARNING, warning);
    }
    response
}

/// Instances, with attributes from their metadata where those are asked for that the catalog does not keep.
async fn rows(road: &Arc<Road>, asked: &Asked, rows: &[InstanceRow]) -> Result<Vec<Vec<u8>>, Error> {
    let wanted = asked.told_by_metadata();
    if wanted.is_empty() || rows.len() > METADATA_ROWS_MAX {
        return Ok(rows.iter().map(|row| qido_rows::instance(row, Included::default())).collect());
    }
    let records: Vec<_> = rows.iter().map(|row| row.record_id).collect();
    let metadata = road.metadata_of(&records).await?;
    let included = metadata.iter().map(|json| Included::of(json, wanted));
    Ok(rows.iter().zip(included).map(|(row, included)| qido_rows::instance(row, included)).collect())
}

/// Instances whose metadata is looked into for one answer.
const METADATA_ROWS_MAX: usize = 256;
