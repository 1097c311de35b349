//! A request for something, but for its path: how the answer is to be, and what an answer takes to be given.

use std::{future::Future, sync::Arc};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
    response::Response,
};
use filmgate_pipeline::Road;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Pairs,
    accept::Accepted,
    multipart::Boundary,
    reuse::{self, Tag},
};
use crate::{
    Error, Readable,
    extract::{Query, Reader},
    router::App,
    streaming::{self, Outlet, Stopped},
};

/// How somebody asks.
pub(crate) struct Asking {
    pub(super) app: App,
    pub(super) headers: HeaderMap,
    /// Names and values of the query string, decoded.
    pub(super) query: Vec<(String, String)>,
    /// What may be answered.
    pub(super) accepted: Accepted,
    /// Of which studies.
    pub(super) readable: Readable,
}

impl FromRequestParts<App> for Asking {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Query(query) = Pairs::from_request_parts(parts, app).await?;
        let headers = parts.headers.clone();
        let accepted = Accepted::of(&headers, &query);
        let Reader(readable) = Reader::from_request_parts(parts, app).await?;
        Ok(Self { app: Arc::clone(app), headers, query, accepted, readable })
    }
}

impl Asking {
    pub(super) fn road(&self) -> &Arc<Road> {
        self.app.road()
    }

    /// The first value of a query parameter.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(have, _)| have == name).map(|(_, value)| value.trim())
    }

    /// A boundary of parts.
    pub(super) fn boundary(&self) -> Boundary {
        Boundary::random(&self.app.web.random)
    }

    /// The short answer to a client that has this one.
    pub(super) fn unchanged(&self, tag: &Tag) -> Option<Response> {
        reuse::unchanged(&self.app, &self.headers, tag)
    }

    /// An answer with its tag.
    pub(super) fn tagged(&self, response: Response, tag: &Tag) -> Response {
        reuse::tagged(&self.app, response, tag)
    }

    /// Leave to work on an answer.
    ///
    /// # Errors
    /// [`Error::Busy`] when it does not come in time.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.app.retrieve_turn().await
    }

    /// A body that is made while it is sent, which keeps its turn until it has ended.
    ///
    /// # Errors
    /// What `make` failed with before its first piece.
    pub(super) async fn body<F, M>(&self, turn: OwnedSemaphorePermit, make: M) -> Result<Body, Error>
    where
        M: FnOnce(Outlet) -> F,
        F: Future<Output = Result<(), Stopped>> + Send + 'static,
    {
        streaming::body(turn, self.app.settings().retrieve_stall_timeout, make).await
    }
}
