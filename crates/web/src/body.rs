//! Small bodies, read whole within bounds.

use axum::{body::to_bytes, extract::Request};
use serde::de::DeserializeOwned;

use crate::{Error, router::App};

/// The longest JSON taken; nothing sent to our API comes near.
const JSON_BYTES_MAX: usize = 64 * 1024;

/// A body of JSON, whatever it calls itself. It has as long to come as an answer has to begin.
pub(crate) async fn json<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, Error> {
    let reading = to_bytes(request.into_body(), JSON_BYTES_MAX);
    let bytes = match tokio::time::timeout(app.settings().request_timeout, reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(Error::BrokenOff),
        Err(_) => return Err(Error::TimedOut),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::BadRequest(format!("the body is not as expected: {error}")))
}
