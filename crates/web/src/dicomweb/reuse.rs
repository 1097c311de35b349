//! Answers that a client may keep: it asks again with the tag it was given and is told that nothing changed (RFC 9110 8.8.3, 13.1.2).
//!
//! Kept by the client alone (`private`): they are about patients. For how long without asking is a setting; what was deleted meanwhile
//! is shown by a browser so long.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use crate::router::App;

/// An entity tag: a weak one, since the same answer leaves compressed or not.
pub(crate) struct Tag(HeaderValue);

impl Tag {
    /// Of everything that makes an answer what it is.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digits: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let quoted = HeaderValue::from_str(&format!("W/\"{digits}\""));
        Self(quoted.unwrap_or(HeaderValue::from_static("W/\"\"")))
    }

    /// True when a client says that it has this one, weakly or not.
    fn is_in(&self, headers: &HeaderMap) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let ours = opaque(self.0.to_str().unwrap_or_default());
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        known.flat_map(|value| value.split(',')).any(|known| known.trim() == "*" || opaque(known) == ours)
    }
}

/// The short answer to a client that has this one.
pub(crate) fn unchanged(app: &App, headers: &HeaderMap, tag: &Tag) -> Option<Response> {
    let response = tag.is_in(headers).then(|| StatusCode::NOT_MODIFIED.into_response())?;
    Some(tagged(app, response, tag))
}

/// An answer with its tag.
pub(crate) fn tagged(app: &App, mut response: Response, tag: &Tag) -> Response {
    let seconds = app.settings().answers_kept.as_secs();
    let kept = HeaderValue::from_str(&format!("private, max-age={seconds}"));
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.0.clone());
    headers.insert(header::CACHE_CONTROL, kept.unwrap_or(HeaderValue::from_static("private, no-cache")));
    // What a browser keeps of one person's is not the next one's.
    let vary = "accept, accept-encoding, authorization, cookie";
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_again_and_differs_by_every_part() {
        let tag = Tag::of(&[b"record", b"1"]);
        assert_ne!(tag.0, Tag::of(&[b"record1", b""]).0);
        let asked = |value: &str| {
            HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(value).expect("a value"))])
        };
        let ours = tag.0.to_str().expect("text").to_owned();
        for known in [ours.clone(), ours.replace("W/", ""), format!("\"x\", {ours}"), "*".into()] {
            assert!(tag.is_in(&asked(&known)), "{known}");
        }
        assert!(!tag.is_in(&asked("\"x\"")));
        assert!(!tag.is_in(&HeaderMap::new()));
    }
}
