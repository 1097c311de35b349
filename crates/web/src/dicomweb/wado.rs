//! WADO-RS (PS3.18 10.4): instances as stored, and their metadata. Each SOP Instance UID once.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use filmgate_catalog::Location;
use filmgate_model::RecordId;
use filmgate_pipeline::{OpenRecord, Road};

use super::{
    DICOM, DICOM_JSON, Pairs, accept::Accepted, accept::Offer, instance_url, multipart::Boundary, wants_json,
};
use crate::{
    Error,
    router::App,
    streaming::{self, Outlet, Stopped},
};

/// Instances whose metadata is in memory at one time.
const METADATA_BATCH: usize = 1024;

/// All instances of a study.
pub(crate) async fn study(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let instances = app.road().catalog().instances_of_study(&study).await?;
    retrieve(&app, instances, "study", false, &Accepted::of(&headers, &query)).await
}

/// All instances of a series.
pub(crate) async fn series(
    State(app): State<App>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let instances = app.road().catalog().instances_of_series(&study, &series).await?;
    retrieve(&app, instances, "series", false, &Accepted::of(&headers, &query)).await
}

/// One instance.
pub(crate) async fn instance(
    State(app): State<App>,
    Path((study, series, instance)): Path<(String, String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    let found = served(&app, &study, &series, &instance).await?;
    retrieve(&app, vec![found], "instance", true, &Accepted::of(&headers, &query)).await
}

/// Metadata of all instances of a study.
pub(crate) async fn study_metadata(
    State(app): State<App>,
    Path(study): Path<String>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    wants_json(&Accepted::of(&headers, &query))?;
    let instances = app.road().catalog().instances_of_study(&study).await?;
    metadata(&app, &instances, "study").await
}

/// Metadata of all instances of a series.
pub(crate) async fn series_metadata(
    State(app): State<App>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    wants_json(&Accepted::of(&headers, &query))?;
    let instances = app.road().catalog().instances_of_series(&study, &series).await?;
    metadata(&app, &instances, "series").await
}

/// Metadata of one instance.
pub(crate) async fn instance_metadata(
    State(app): State<App>,
    Path((study, series, instance)): Path<(String, String, String)>,
    headers: HeaderMap,
    query: Pairs,
) -> Result<Response, Error> {
    wants_json(&Accepted::of(&headers, &query))?;
    let found = served(&app, &study, &series, &instance).await?;
    metadata(&app, &[found], "instance").await
}

/// The one instance that answers for its UID.
pub(super) async fn served(app: &App, study: &str, series: &str, instance: &str) -> Result<Location, Error> {
    let found = app.road().catalog().served_instance(Some(study), Some(series), instance).await?;
    found.ok_or(Error::NotFound("instance"))
}

async fn metadata(app: &App, instances: &[Location], level: &'static str) -> Result<Response, Error> {
    if instances.is_empty() {
        return Err(Error::NotFound(level));
    }
    let records: Vec<RecordId> = instances.iter().map(|instance| instance.record_id).collect();
    let permit = app.retrieve_turn().await?;
    let (road, stall) = (Arc::clone(app.road()), app.settings().retrieve_stall_timeout);
    let body = streaming::body(permit, stall, |outlet| send_metadata(road, records, outlet)).await?;
    Ok(with_type(body, DICOM_JSON))
}

/// Sends an array of datasets, some at a time.
async fn send_metadata(road: Arc<Road>, records: Vec<RecordId>, outlet: Outlet) -> Result<(), Stopped> {
    let mut before = b'[';
    for some in records.chunks(METADATA_BATCH) {
        for json in road.metadata(some).await? {
            outlet.send([&[before], json.as_slice()].concat()).await?;
            before = b',';
        }
    }
    Ok(outlet.send("]").await?)
}

async fn retrieve(
    app: &App,
    instances: Vec<Location>,
    level: &'static str,
    one: bool,
    accepted: &Accepted,
) -> Result<Response, Error> {
    if instances.is_empty() {
        return Err(Error::NotFound(level));
    }
    let multipart = in_parts(&instances, one, accepted)?;
    let permit = app.retrieve_turn().await?;
    let (road, stall) = (Arc::clone(app.road()), app.settings().retrieve_stall_timeout);
    if multipart {
        let boundary = Boundary::random(&app.web.random);
        let content_type = boundary.content_type(DICOM);
        let body =
            streaming::body(permit, stall, |outlet| send_parts(road, instances, boundary, outlet)).await?;
        return Ok(with_type(body, &content_type));
    }
    let Some(instance) = instances.into_iter().next() else { return Err(Error::NotFound(level)) };
    let record = road.open_found(&instance).await?;
    let bytes = record.dataset_bytes().saturating_add(record.file_head().len() as u64);
    let content_type = dicom_type(record.transfer_syntax_uid());
    let body =
        streaming::body(permit, stall, |outlet| async move { send_file(&record, "", &outlet).await }).await?;
    let mut response = with_type(body, &content_type);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}

/// Whether the answer comes in parts; a 406 when what is stored is not accepted.
fn in_parts(instances: &[Location], one: bool, accepted: &Accepted) -> Result<bool, Error> {
    let syntaxes: BTreeSet<&str> =
        instances.iter().map(|instance| instance.transfer_syntax_uid.as_str()).collect();
    // An answer is wanted as much as the least wanted of its instances.
    let quality = |multipart| {
        let offer =
            |transfer_syntax| Offer { multipart, media_type: DICOM, transfer_syntax: Some(transfer_syntax) };
        syntaxes.iter().map(|syntax| accepted.quality(offer(syntax))).min().unwrap_or(0)
    };
    let (parts, single) = (quality(true), if one { quality(false) } else { 0 });
    if parts.max(single) > 0 {
        return Ok(parts >= single);
    }
    let any_syntax =
        |multipart| accepted.quality(Offer { multipart, media_type: DICOM, transfer_syntax: None });
    Err(Error::NotAcceptable(if any_syntax(true) > 0 || (one && any_syntax(false) > 0) {
        let stored = syntaxes.into_iter().collect::<Vec<_>>().join(", ");
        format!("instances are answered as stored, here in {stored}: accept that, or transfer-syntax=*")
    } else {
        let single = if one { ", or application/dicom" } else { "" };
        format!(
            r#"this is answered as multipart/related; type="application/dicom"; transfer-syntax=*{single}"#
        )
    }))
}

async fn send_parts(
    road: Arc<Road>,
    instances: Vec<Location>,
    boundary: Boundary,
    outlet: Outlet,
) -> Result<(), Stopped> {
    for (index, instance) in instances.iter().enumerate() {
        let record = road.open(instance.record_id).await?;
        let location = instance_url(
            &instance.study_instance_uid,
            &instance.series_instance_uid,
            &instance.sop_instance_uid,
        );
        let head = boundary.part_head(index == 0, &dicom_type(record.transfer_syntax_uid()), &location);
        send_file(&record, &head, &outlet).await?;
    }
    Ok(outlet.send(boundary.closing()).await?)
}

/// Sends a record as a Part 10 file with something before it; nothing leaves before the first chunk has opened.
pub(crate) async fn send_file(record: &OpenRecord, before: &str, outlet: &Outlet) -> Result<(), Stopped> {
    record.will_read(0..u64::MAX);
    let mut chunk = record.chunk(0).await?;
    let head = [before.as_bytes(), &record.file_head()].concat();
    if !head.is_empty() {
        outlet.send(head).await?;
    }
    let mut number = 0;
    while let Some(bytes) = chunk {
        outlet.send(bytes).await?;
        number += 1;
        chunk = record.chunk(number).await?;
    }
    Ok(())
}

/// The media type of an instance in a transfer syntax (PS3.18 8.7.3.5).
pub(crate) fn dicom_type(transfer_syntax_uid: &str) -> String {
    let uid = transfer_syntax_uid;
    let plain = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { format!("{DICOM}; transfer-syntax={uid}") } else { DICOM.to_owned() }
}

/// A body with its media type.
pub(crate) fn with_type(body: Body, content_type: &str) -> Response {
    let value = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(super::OCTET_STREAM));
    ([(header::CONTENT_TYPE, value)], body).into_response()
}
