//! Metadata (PS3.18 10.4.1.1.2): instances as DICOM JSON, without their bulk data.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_pipeline::{METADATA_VERSION, Road};

use super::{
    DICOM_JSON, Pairs,
    accept::Accepted,
    reuse::{self, Tag},
    wado::{served, with_type},
    wants_json,
};
use crate::{
    Error,
    router::App,
    streaming::{self, Outlet, Stopped},
};

/// Instances whose metadata is in memory at one time.
const BATCH: usize = 1024;

/// Of all instances of a study.
pub(crate) async fn study(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    wants_json(&Accepted::of(&headers, &query))?;
    let instances = app.road().catalog().instances_of_study(&study).await?;
    answer(&app, &headers, instances, "study").await
}

/// Of all instances of a series.
pub(crate) async fn series(
    State(app): State<App>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    wants_json(&Accepted::of(&headers, &query))?;
    let instances = app.road().catalog().instances_of_series(&study, &series).await?;
    answer(&app, &headers, instances, "series").await
}

/// Of one instance.
pub(crate) async fn instance(
    State(app): State<App>,
    Path((study, series, instance)): Path<(String, String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    wants_json(&Accepted::of(&headers, &query))?;
    let found = served(&app, &study, &series, &instance).await?;
    answer(&app, &headers, vec![found], "instance").await
}

async fn answer(
    app: &App,
    headers: &HeaderMap,
    instances: Vec<Location>,
    level: &'static str,
) -> Result<Response, Error> {
    if instances.is_empty() {
        return Err(Error::NotFound(level));
    }
    let version = METADATA_VERSION.to_le_bytes();
    let records = instances.iter().map(|instance| instance.record_id.0.as_slice());
    let tag = Tag::of(&std::iter::once(version.as_slice()).chain(records).collect::<Vec<_>>());
    if let Some(unchanged) = reuse::unchanged(app, headers, &tag) {
        return Ok(unchanged);
    }
    let permit = app.retrieve_turn().await?;
    let body = if instances.len() <= BATCH {
        Body::from(array(&app.road().metadata(&instances).await?))
    } else {
        let (road, stall) = (Arc::clone(app.road()), app.settings().retrieve_stall_timeout);
        streaming::body(permit, stall, |outlet| send(road, instances, outlet)).await?
    };
    Ok(reuse::tagged(app, with_type(body, DICOM_JSON), &tag))
}

/// Objects that are written already, as an array.
fn array(objects: &[Bytes]) -> Vec<u8> {
    let mut json = Vec::with_capacity(objects.iter().map(|object| object.len() + 1).sum::<usize>() + 2);
    for (index, object) in objects.iter().enumerate() {
        json.push(if index == 0 { b'[' } else { b',' });
        json.extend_from_slice(object);
    }
    json.push(b']');
    json
}

/// Sends an array of datasets, some at a time.
async fn send(road: Arc<Road>, instances: Vec<Location>, outlet: Outlet) -> Result<(), Stopped> {
    let mut before = b'[';
    for some in instances.chunks(BATCH) {
        let mut array = array(&road.metadata(some).await?);
        array[0] = before;
        array.pop();
        outlet.send(array).await?;
        before = b',';
    }
    Ok(outlet.send("]").await?)
}
