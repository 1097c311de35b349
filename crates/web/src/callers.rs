//! Who may associate, for the command line and the administrator's page.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use filmgate_pipeline::{CallerChange, CallersShown, ChangeError};
use serde_json::{Value, json};

use crate::{Asker, Error, body, router::App};

/// Rules, and callers that wait for a decision.
pub(crate) async fn show(State(app): State<App>) -> Result<Json<CallersShown>, Error> {
    Ok(Json(app.callers().show().await?))
}

/// Makes a change; it holds when this is answered.
pub(crate) async fn change(
    State(app): State<App>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Json<Value>, Error> {
    let change: CallerChange = body::json(&app, request).await?;
    match app.callers().change(&change, &asker.name()).await {
        Ok(done) => Ok(Json(json!({ "done": done }))),
        Err(ChangeError::Senseless(why)) => Err(Error::BadRequest(why)),
        Err(ChangeError::Catalog(error)) => Err(error.into()),
    }
}
