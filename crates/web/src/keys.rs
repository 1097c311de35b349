//! The change of the site key, for the command line and the administrator.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use filmgate_pipeline::RotationAsked;
use serde_json::{Value, json};

use crate::{Asker, Error, body, router::App};

/// Begins a change of the site key, or its end; how far it is stands in the status.
pub(crate) async fn rotate(
    State(app): State<App>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Json<Value>, Error> {
    let asked: RotationAsked = body::json(&app, request).await?;
    if !app.road().ask_rotation(asked) {
        return Err(Error::Busy);
    }
    tracing::info!(target: "audit", event = "rotation-asked", by = asker.name(), finish = asked.finish, now = asked.now);
    Ok(Json(json!({ "asked": asked })))
}
