//! For those who restart processes and balance loads.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use filmgate_pipeline::Refusal;
use serde_json::json;

use crate::router::App;

/// How long the catalog may take to answer.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(2);

/// The process answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// The catalog answers and the journal takes instances; 503 with what is wrong otherwise.
pub(crate) async fn ready(State(app): State<App>) -> Response {
    let asked = tokio::time::timeout(CATALOG_TIMEOUT, app.road().catalog().oldest_unverified()).await;
    let catalog = match asked {
        Ok(Ok(_)) => "answers",
        Ok(Err(_)) => "fails",
        Err(_) => "does not answer",
    };
    let journal = match app.road().refusal() {
        Ok(None) => "accepts",
        Ok(Some(Refusal::NoRoom)) => "has no room",
        Ok(Some(Refusal::KeysLocked)) => "has no keys: their provider is away",
        Err(_) => "fails",
    };
    let ready = catalog == "answers" && journal == "accepts";
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "catalog": catalog, "journal": journal }))).into_response()
}
