//! What can go wrong with a request, and its one translation to HTTP.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use filmgate_model::TooSlow;
use serde_json::json;

use crate::access::UserError;

/// After how long a client that found no room should come again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// A request that is not answered as asked. What a client reads of it never names a file, a key or a patient.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// A site in the browser of a user asks, not the user.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Nobody knows who asks.
    #[error("this needs a token or a log-in")]
    Unauthorized,
    /// Too many wrong passwords.
    #[error("too many failures: wait a minute")]
    TooManyFailures,
    /// What is asked for is not here.
    #[error("there is no such {0} here")]
    NotFound(&'static str),
    /// Nothing that could be answered is accepted.
    #[error("{0}")]
    NotAcceptable(String),
    /// What was sent is not taken.
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    /// The name in the request is not one of this gateway's.
    #[error("this gateway does not answer to that host name: use localhost")]
    UnknownHost,
    /// The client sends too slowly, or not at all.
    #[error("the request comes too slowly: {0}")]
    TooSlow(#[from] TooSlow),
    /// The body broke off.
    #[error("the request broke off")]
    BrokenOff,
    /// The local disk takes no more now.
    #[error("there is no room for more instances now: send again later")]
    NoRoom,
    /// The keys are locked.
    #[error("the key provider of this gateway is away: it takes and gives no instances until it is back")]
    KeysLocked,
    /// Too much of the same is going on.
    #[error("too many requests of this kind are at work: ask again later")]
    Busy,
    /// The database of the catalog.
    #[error("the database of the catalog is away or busy: ask again in a moment")]
    CatalogAway,
    /// A bucket that alone has it.
    #[error("what is asked for lies in a bucket that does not answer now: ask again later")]
    BucketAway,
    /// The answer took too long.
    #[error("the answer took too long: ask for less, or again later")]
    TimedOut,
    /// The road.
    #[error("use the road")]
    Road(#[from] filmgate_pipeline::Error),
    /// The catalog.
    #[error("ask the catalog")]
    Catalog(#[from] filmgate_catalog::Error),
}

impl Error {
    /// True when the same request cannot succeed later.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::TooManyFailures
            | Self::NoRoom
            | Self::KeysLocked
            | Self::Busy
            | Self::CatalogAway
            | Self::BucketAway
            | Self::TimedOut
            | Self::TooSlow(_)
            | Self::BrokenOff => false,
            Self::Road(error) => error.is_permanent(),
            Self::Catalog(error) => error.is_permanent(),
            _ => true,
        }
    }

    /// Status, a word for programs, and what a person reads.
    fn told(&self) -> (StatusCode, &'static str, String) {
        let internal = |what: &str| format!("{what} failed; the gateway's log says why");
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request", self.to_string()),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", self.to_string()),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", self.to_string()),
            Self::TooManyFailures => (StatusCode::TOO_MANY_REQUESTS, "too-many-failures", self.to_string()),
            Self::NotFound(_) | Self::Road(filmgate_pipeline::Error::NotFound(_)) => {
                let what = if let Self::NotFound(what) = self { what } else { "record" };
                (StatusCode::NOT_FOUND, "not-found", Self::NotFound(what).to_string())
            }
            Self::Road(
                error
                @ (filmgate_pipeline::Error::NoFrames(_) | filmgate_pipeline::Error::NoSuchFrame { .. }),
            ) => (StatusCode::NOT_FOUND, "no-such-frame", error.to_string()),
            Self::Road(error @ filmgate_pipeline::Error::Pixels(filmgate_pixels::Error::Unsupported(_))) => {
                (StatusCode::NOT_ACCEPTABLE, "not-decodable", format!("{error}: accept it as it is stored"))
            }
            Self::Road(error @ filmgate_pipeline::Error::Pixels(filmgate_pixels::Error::NoWorker(_))) => {
                (StatusCode::SERVICE_UNAVAILABLE, "no-decoder", error.to_string())
            }
            Self::Road(error @ filmgate_pipeline::Error::Pixels(filmgate_pixels::Error::Failed)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
            }
            Self::Road(error @ filmgate_pipeline::Error::Pixels(_)) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad-pixels",
                format!("these pixels cannot be shown: {error}"),
            ),
            Self::NotAcceptable(_) => (StatusCode::NOT_ACCEPTABLE, "not-acceptable", self.to_string()),
            Self::UnsupportedMediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", self.to_string())
            }
            Self::UnknownHost => (StatusCode::MISDIRECTED_REQUEST, "unknown-host", self.to_string()),
            Self::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "too-slow", self.to_string()),
            Self::BrokenOff => (StatusCode::BAD_REQUEST, "broken-off", self.to_string()),
            Self::Road(error @ filmgate_pipeline::Error::Held { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, "held-by-absent-node", error.to_string())
            }
            Self::Road(error @ filmgate_pipeline::Error::DecidesNothing) => {
                (StatusCode::CONFLICT, "refused", error.to_string())
            }
            Self::Road(error) if error.is_no_room() => Self::NoRoom.told(),
            Self::Road(error) if error.is_locked() => Self::KeysLocked.told(),
            Self::Road(filmgate_pipeline::Error::Catalog(error)) | Self::Catalog(error)
                if error.is_away() =>
            {
                Self::CatalogAway.told()
            }
            Self::CatalogAway => (StatusCode::SERVICE_UNAVAILABLE, "catalog-away", self.to_string()),
            Self::Road(filmgate_pipeline::Error::Bucket(error)) if error.is_unclear() => {
                Self::BucketAway.told()
            }
            Self::BucketAway => (StatusCode::SERVICE_UNAVAILABLE, "bucket-away", self.to_string()),
            Self::KeysLocked => (StatusCode::SERVICE_UNAVAILABLE, "keys-locked", self.to_string()),
            Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "no-room", self.to_string()),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", self.to_string()),
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timed-out", self.to_string()),
            Self::Catalog(filmgate_catalog::Error::TookTooLong { .. }) => {
                let text =
                    "the search is too broad to be answered in time: ask for less, as by date or patient";
                (StatusCode::PAYLOAD_TOO_LARGE, "too-broad", text.to_owned())
            }
            Self::Catalog(filmgate_catalog::Error::Unmatchable { tag }) => {
                let text = format!(
                    "the value asked for in ({:04X},{:04X}) cannot be matched",
                    tag.group(),
                    tag.element()
                );
                (StatusCode::BAD_REQUEST, "unmatchable", text)
            }
            Self::Road(filmgate_pipeline::Error::Catalog(error)) | Self::Catalog(error)
                if error.is_refusal() =>
            {
                (StatusCode::CONFLICT, "refused", error.to_string())
            }
            Self::Road(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "road", internal("reading or writing instances"))
            }
            Self::Catalog(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "catalog", internal("asking the catalog"))
            }
        }
    }
}

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Senseless(why) => Self::BadRequest(why),
            UserError::Wrong(why) => Self::Forbidden(why),
            UserError::TooMany => Self::TooManyFailures,
            UserError::Catalog(error) => Self::Catalog(error),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, word, message) = self.told();
        if status.is_server_error() && matches!(self, Self::Road(_) | Self::Catalog(_)) {
            tracing::error!(
                error = &self as &dyn std::error::Error,
                status = status.as_u16(),
                "request failed"
            );
        }
        let mut response = (status, Json(json!({ "error": word, "message": message }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use filmgate_model::{RecordId, tags};

    use super::*;

    fn bucket_away() -> filmgate_bucket::Error {
        filmgate_bucket::Error::Unavailable { reason: "0707".to_owned(), retry_after: None }
    }

    #[test]
    fn errors_are_told_by_status_and_keep_what_is_inside() {
        let lost = filmgate_pipeline::Error::Lost(RecordId([7; 16]));
        let unmatchable = filmgate_catalog::Error::Unmatchable { tag: tags::STUDY_DATE };
        let too_long = filmgate_catalog::Error::TookTooLong { doing: "search studies" };
        for (error, status, says) in [
            (Error::Road(lost), 500, "log says why"),
            (Error::Road(filmgate_pipeline::Error::NotFound(RecordId([7; 16]))), 404, "no such record"),
            (Error::Catalog(unmatchable), 400, "(0008,0020)"),
            (Error::Catalog(too_long), 413, "too broad"),
            (Error::NoRoom, 503, "later"),
            (Error::KeysLocked, 503, "key provider"),
            (Error::Road(filmgate_pipeline::Error::Bucket(bucket_away())), 503, "bucket"),
            (Error::UnknownHost, 421, "localhost"),
        ] {
            let (told, _, message) = error.told();
            assert_eq!(told.as_u16(), status);
            assert!(message.contains(says), "{message}");
            assert!(!message.contains("0707"), "{message}");
        }
    }

    #[test]
    fn no_room_says_when_to_come_again() {
        let response = Error::NoRoom.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "30");
    }
}
