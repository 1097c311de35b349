//! The routes behind what stands before each of them, and the limits around them.

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state};
use bytes::Bytes;
use filmgate_pipeline::{Callers, Road};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Error, Users, Web, WebSettings,
    access::guard as access,
    compression, guard,
    routes::{self, Rights, Route, openapi},
    viewer::ViewerFolder,
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
    rights: Rights,
    document: Bytes,
}

impl Shared {
    fn new(web: Web, routes: &[Route]) -> Self {
        let turns = |count| Arc::new(Semaphore::new(count));
        let document = openapi::document(routes, access::cookie_name(web.settings.is_tls));
        Self {
            retrieves: turns(web.settings.retrieve_requests_max),
            peer_retrieves: turns(web.settings.retrieve_requests_max),
            stores: turns(web.settings.stow_requests_max),
            verifications: turns(1),
            rights: Rights::of(routes),
            document: document.to_string().into(),
            web,
        }
    }

    /// What each route needs of who asks.
    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The OpenAPI document of the routes.
    pub(crate) fn document(&self) -> &Bytes {
        &self.document
    }

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
    let routes = routes::all();
    let app = Arc::new(Shared::new(web, &routes));
    let routed = routes.into_iter().fold(Router::new(), |router, route| route.into_router(router));
    routed
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
