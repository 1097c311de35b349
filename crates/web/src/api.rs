//! Our own API: every record as it stands, for the command line, the status page and a person with a browser.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use filmgate_catalog::Location;
use filmgate_model::{InstanceState, NodeId, RecordId};
use filmgate_pipeline::{OpenRecord, Status, VerifyReport};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    dicomweb::wado::{dicom_type, send_file, with_type},
    extract::{Path, Query},
    router::App,
    streaming,
};

/// Records listed at one time, at most and when nothing is asked.
pub(crate) const RECORDS_MAX: u32 = 1000;

/// How the gateway stands.
#[derive(Serialize)]
pub(crate) struct GatewayStatus {
    #[serde(flatten)]
    status: Status,
    version: &'static str,
    send_to: SendTo,
}

/// Where instances are sent by C-STORE.
#[derive(Serialize)]
struct SendTo {
    ae_title: String,
    address: String,
}

/// How the gateway stands.
pub(crate) async fn status(State(app): State<App>) -> Result<Json<GatewayStatus>, Error> {
    Ok(Json(GatewayStatus {
        status: app.road().status().await?,
        version: env!("CARGO_PKG_VERSION"),
        send_to: SendTo {
            ae_title: app.settings().ae_title.clone(),
            address: app.settings().dicom_address.clone(),
        },
    }))
}

/// Which page of records.
#[derive(Deserialize)]
pub(crate) struct RecordsPage {
    after: Option<String>,
    limit: Option<u32>,
}

/// One record as it stands.
#[derive(Serialize)]
pub(crate) struct RecordEntry {
    record_id: RecordId,
    /// Who received it.
    node_id: NodeId,
    state: &'static str,
    /// Since when, ISO 8601.
    state_at: String,
    /// When it is tried again, ISO 8601.
    next_try_at: Option<String>,
    reason: Option<String>,
    study_instance_uid: String,
    series_instance_uid: String,
    sop_instance_uid: String,
    sop_class_uid: String,
    transfer_syntax_uid: String,
    dataset_sha256: String,
    dataset_bytes: u64,
    calling_ae: String,
    /// ISO 8601.
    received_at: String,
    copy_kind: &'static str,
    /// A confirmed deletion names it: nobody finds it any more.
    hidden: bool,
}

impl RecordEntry {
    fn new(location: Location, state: InstanceState) -> Self {
        Self {
            record_id: location.record_id,
            node_id: location.node_id,
            state: state.as_str(),
            state_at: location.state_at.to_string(),
            next_try_at: location.next_try_at.map(|at| at.to_string()),
            reason: location.reason,
            dataset_sha256: hex(&location.dataset_sha256),
            dataset_bytes: location.dataset_bytes,
            calling_ae: location.calling_ae,
            received_at: location.received_at.to_string(),
            copy_kind: location.copy_kind.as_str(),
            hidden: location.hidden,
            study_instance_uid: location.study_instance_uid,
            series_instance_uid: location.series_instance_uid,
            sop_instance_uid: location.sop_instance_uid,
            sop_class_uid: location.sop_class_uid,
            transfer_syntax_uid: location.transfer_syntax_uid,
        }
    }
}

/// As they stand: what only an absent node holds is absent.
async fn entries(app: &App, records: Vec<Location>) -> Result<Json<Vec<RecordEntry>>, Error> {
    let nodes = app.road().nodes().await?;
    let entry = |location: Location| {
        let state = app.road().shown_state(&location, &nodes);
        RecordEntry::new(location, state)
    };
    Ok(Json(records.into_iter().map(entry).collect()))
}

/// Every record, in the order of their ids; the next page begins after the last id of this one.
pub(crate) async fn records(
    State(app): State<App>,
    Query(page): Query<RecordsPage>,
) -> Result<Json<Vec<RecordEntry>>, Error> {
    let after = page.after.as_deref().map(record_id).transpose()?;
    let limit = page.limit.unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
    let records = app.road().catalog().records_after(after, limit).await?;
    entries(&app, records).await
}

/// Every record of a study that is not deleted: variants, conflicts and quarantined ones too.
pub(crate) async fn study_records(
    State(app): State<App>,
    Path(study): Path<String>,
) -> Result<Json<Vec<RecordEntry>>, Error> {
    let records = app.road().catalog().records_of_study(&study).await?;
    if records.is_empty() {
        return Err(Error::NotFound("study"));
    }
    entries(&app, records).await
}

/// A record as a Part 10 file, whatever its state; its headers say where the dataset begins and what it must be.
pub(crate) async fn record_file(
    State(app): State<App>,
    Path(record): Path<String>,
) -> Result<Response, Error> {
    let record_id = record_id(&record)?;
    if app.road().catalog().locate(record_id).await?.is_some_and(|row| row.hidden) {
        return Err(Error::NotFound("record"));
    }
    let record = app.road().open(record_id).await?;
    let permit = app.retrieve_turn().await?;
    let (headers, content_type) = (file_headers(&record), dicom_type(record.transfer_syntax_uid()));
    let stall = app.settings().retrieve_stall_timeout;
    let body: Body =
        streaming::body(permit, stall, |outlet| async move { send_file(&record, "", &outlet).await }).await?;
    let mut response = with_type(body, &content_type);
    response.headers_mut().extend(headers);
    Ok(response)
}

fn file_headers(record: &OpenRecord) -> HeaderMap {
    let (identity, head_bytes) = (record.identity(), record.file_head().len() as u64);
    let texts = [
        ("x-filmgate-dataset-sha256", hex(&record.dataset_sha256())),
        ("x-filmgate-study-instance-uid", identity.study_instance_uid),
        ("x-filmgate-sop-instance-uid", identity.sop_instance_uid),
    ];
    // A UID that no header can carry is left out.
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text).ok()?)));
    let numbers = [
        ("x-filmgate-dataset-offset", HeaderValue::from(head_bytes)),
        ("x-filmgate-dataset-bytes", HeaderValue::from(record.dataset_bytes())),
    ];
    let mut headers: HeaderMap =
        texts.chain(numbers).map(|(name, value)| (HeaderName::from_static(name), value)).collect();
    headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(head_bytes.saturating_add(record.dataset_bytes())));
    headers
}

/// How thorough a verification is.
#[derive(Deserialize)]
pub(crate) struct Depth {
    deep: Option<String>,
}

/// Looks at every record: that it opens, and with `deep` that every byte does.
pub(crate) async fn verify(
    State(app): State<App>,
    Query(depth): Query<Depth>,
) -> Result<Json<VerifyReport>, Error> {
    let deep = match depth.deep.as_deref() {
        None | Some("false" | "0") => false,
        Some("" | "true" | "1") => true,
        Some(_) => return Err(Error::BadRequest("deep is true or false".to_owned())),
    };
    let _turn = app.verification_turn()?;
    Ok(Json(Arc::clone(app.road()).verify_all(deep).await?))
}

pub(crate) fn record_id(text: &str) -> Result<RecordId, Error> {
    text.parse().map_err(|_| Error::BadRequest("a record is named by 32 hexadecimal digits".to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
