//! Holds, retention, deletions and repacking, for the command line and an administrator's page.

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use filmgate_pipeline::{Changed, CustodyChange, CustodyShown, ShredShown};
use serde::Deserialize;

use crate::{Asker, Error, body, extract::Query, router::App};

/// Of which study.
#[derive(Deserialize)]
pub(crate) struct Which {
    study: Option<String>,
}

/// What stands.
pub(crate) async fn show(
    State(app): State<App>,
    Query(which): Query<Which>,
) -> Result<Json<CustodyShown>, Error> {
    Ok(Json(app.road().show_custody(which.study.as_deref()).await?))
}

/// How far the destruction of keys is.
pub(crate) async fn shredded(
    State(app): State<App>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<ShredShown>>, Error> {
    Ok(Json(app.road().show_shredded(which.study.as_deref()).await?))
}

/// What somebody asks for.
#[derive(Deserialize)]
struct Asked {
    /// Who sits at this machine; whoever asks from elsewhere is known by token or log-in, and by nothing else.
    #[serde(rename = "as")]
    who: Option<String>,
    #[serde(flatten)]
    change: CustodyChange,
}

/// Makes a change; it holds when this is answered.
pub(crate) async fn change(
    State(app): State<App>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Json<Changed>, Error> {
    let asked: Asked = body::json(&app, request).await?;
    let who = match &asker {
        Asker::CommandLine | Asker::ThisMachine => asked.who.unwrap_or_else(|| asker.name()),
        known => known.name(),
    };
    Ok(Json(app.road().change_custody(&asked.change, &who).await?))
}
