//! Every route, and the limits around them.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use filmgate_pipeline::{Callers, Road};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Error, Users, Web, WebSettings,
    access::{guard as access, pages},
    api, callers, compression, custody, dicomweb, guard, health, keys, metrics, peer, status_page,
    viewer::{self, ViewerFolder},
};

/// How long a request waits for others of its kind to end.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// What every handler shares.
pub(crate) type App = Arc<Shared>;

pub(crate) struct Shared {
    pub(crate) web: Web,
    retrieves: Arc<Semaphore>,
    peer_retrieves: Arc<Semaphore>,
    stores: Arc<Semaphore>,
    verifications: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn road(&self) -> &Arc<Road> {
        &self.web.road
    }

    pub(crate) fn users(&self) -> &Users {
        &self.web.users
    }

    pub(crate) fn callers(&self) -> &Callers {
        &self.web.callers
    }

    /// The image viewer, where there is one.
    pub(crate) fn viewer(&self) -> Option<&ViewerFolder> {
        self.web.viewer.as_ref()
    }

    pub(crate) fn settings(&self) -> &WebSettings {
        &self.web.settings
    }

    /// Leave to stream an answer.
    pub(crate) async fn retrieve_turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        turn(&self.retrieves, TURN_TIMEOUT).await
    }

    /// Leave to give another node what it asks for. Apart from [`Self::retrieve_turn`]: an answer waits for other nodes,
    /// and two nodes that ask each other must not wait for each other's answers.
    pub(crate) async fn peer_turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        turn(&self.peer_retrieves, TURN_TIMEOUT).await
    }

    /// Leave to take instances in.
    pub(crate) async fn store_turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        turn(&self.stores, TURN_TIMEOUT).await
    }

    /// Leave to verify; one at a time.
    pub(crate) fn verification_turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.verifications).try_acquire_owned().map_err(|_| Error::Busy)
    }
}

async fn turn(semaphore: &Arc<Semaphore>, patience: Duration) -> Result<OwnedSemaphorePermit, Error> {
    match tokio::time::timeout(patience, Arc::clone(semaphore).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Error::Busy),
    }
}

/// The web server's routes. Serve it with the peer's address (`into_make_service_with_connect_info::<SocketAddr>()`),
/// so that what is stored knows where it came from.
pub fn router(web: Web) -> Router {
    let app = Arc::new(Shared {
        retrieves: Arc::new(Semaphore::new(web.settings.retrieve_requests_max)),
        peer_retrieves: Arc::new(Semaphore::new(web.settings.retrieve_requests_max)),
        stores: Arc::new(Semaphore::new(web.settings.stow_requests_max)),
        verifications: Arc::new(Semaphore::new(1)),
        web,
    });
    Router::new()
        .route("/", get(status_page::page))
        .route("/assets/status.css", get(status_page::style))
        .route("/assets/status.js", get(status_page::script))
        .route("/assets/icon.svg", get(status_page::icon))
        .merge(log_in())
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::render))
        .merge(own_api())
        .merge(searches_and_stores())
        .merge(retrievals())
        .merge(viewer())
        .merge(pictures())
        .fallback(|| async { Error::NotFound("page") })
        .layer(compression::layer())
        .layer(from_fn_with_state(Arc::clone(&app), compression::only_where_it_pays))
        .layer(from_fn_with_state(Arc::clone(&app), guard::in_time))
        .layer(from_fn_with_state(Arc::clone(&app), access::entitled))
        .layer(from_fn_with_state(Arc::clone(&app), guard::same_site))
        .layer(from_fn_with_state(Arc::clone(&app), guard::headers))
        .layer(from_fn_with_state(Arc::clone(&app), guard::observe))
        .with_state(app)
}

/// Set-up, log-in, tokens.
fn log_in() -> Router<App> {
    Router::new()
        .route("/login", get(pages::login_page))
        .route("/set-up", get(pages::set_up_page))
        .route("/assets/access.css", get(pages::style))
        .route("/assets/access.js", get(pages::script))
        .route("/api/session", get(pages::session))
        .route("/api/login", post(pages::log_in))
        .route("/api/logout", post(pages::log_out))
        .route("/api/set-up", post(pages::set_up))
        .route("/api/set-up-link", post(pages::set_up_link))
        .route("/api/tokens", get(pages::tokens).post(pages::create_token))
        .route("/api/tokens/revoke", post(pages::revoke_token))
}

fn own_api() -> Router<App> {
    Router::new()
        .route("/api/status", get(api::status))
        .route("/api/records", get(api::records))
        .route("/api/records/{record}", get(api::record_file))
        .route("/api/studies/{study}/records", get(api::study_records))
        .route("/api/verify", post(api::verify))
        .route("/api/ae", get(callers::show).post(callers::change))
        .route("/api/custody", get(custody::show).post(custody::change))
        .route("/api/shredded", get(custody::shredded))
        .route("/api/keys/rotation", post(keys::rotate))
        .route("/api/peer/records/{record}/sealed", get(peer::sealed))
        .route("/api/peer/records/{record}/key", get(peer::key))
}

/// QIDO-RS (PS3.18 10.6) and STOW-RS (PS3.18 10.5).
fn searches_and_stores() -> Router<App> {
    use dicomweb::{qido, stow, wado};
    Router::new()
        .route("/dicomweb/studies", get(qido::studies).post(stow::store))
        .route("/dicomweb/studies/{study}", get(wado::instances).post(stow::store_in_study))
        .route("/dicomweb/series", get(qido::series))
        .route("/dicomweb/instances", get(qido::instances))
        .route("/dicomweb/studies/{study}/series", get(qido::series))
        .route("/dicomweb/studies/{study}/instances", get(qido::instances))
        .route("/dicomweb/studies/{study}/series/{series}/instances", get(qido::instances))
}

/// WADO-RS (PS3.18 10.4).
fn retrievals() -> Router<App> {
    use dicomweb::{bulk, frames, metadata, wado};
    Router::new()
        .route("/dicomweb/studies/{study}/metadata", get(metadata::instances))
        .route("/dicomweb/studies/{study}/series/{series}", get(wado::instances))
        .route("/dicomweb/studies/{study}/series/{series}/metadata", get(metadata::instances))
        .route("/dicomweb/studies/{study}/series/{series}/instances/{instance}", get(wado::instances))
        .route(
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/metadata",
            get(metadata::instances),
        )
        .route(
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}",
            get(bulk::bulk_value),
        )
        .route(
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
            get(frames::frames),
        )
}

/// Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4), and WADO-URI (PS3.18 chapter 9).
fn pictures() -> Router<App> {
    use dicomweb::{rendered, wado_uri};
    Router::new()
        .route("/wado", get(wado_uri::object))
        .route("/dicomweb/studies/{study}/rendered", get(rendered::rendered))
        .route("/dicomweb/studies/{study}/thumbnail", get(rendered::thumbnail))
        .route("/dicomweb/studies/{study}/series/{series}/rendered", get(rendered::rendered))
        .route("/dicomweb/studies/{study}/series/{series}/thumbnail", get(rendered::thumbnail))
        .route(
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/rendered",
            get(rendered::rendered),
        )
        .route(
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/thumbnail",
            get(rendered::thumbnail),
        )
        .route(
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered",
            get(rendered::rendered),
        )
        .route(
            "/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
            get(rendered::thumbnail),
        )
}

/// What a person looks at studies with.
fn viewer() -> Router<App> {
    use viewer::{enter, ohif, pages, progress, zip};
    Router::new()
        .route("/studies", get(pages::studies))
        .route("/view", get(pages::view))
        .route("/viewer", get(enter::enter))
        .route("/assets/studies.css", get(pages::studies_style))
        .route("/assets/studies.js", get(pages::studies_script))
        .route("/assets/words.js", get(pages::words_script))
        .route("/assets/view.js", get(pages::view_script))
        .route("/assets/view-objects.js", get(pages::view_objects_script))
        .route("/api/viewer", get(pages::viewer))
        .route("/api/progress", get(progress::studies))
        .route("/api/studies/{study}/progress", get(progress::study))
        .route("/api/studies/{study}/zip", get(zip::study))
        .route("/ohif", get(ohif::start))
        .route("/ohif/", get(ohif::start))
        .route("/ohif/app-config.js", get(ohif::config))
        .route("/ohif/{*path}", get(ohif::file))
}
