//! What compresses well leaves compressed, to clients that take that: JSON, text, and native samples; never what is compressed already.
//!
//! On the way to a client on this very machine it would cost more than it spares.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{Extensions, HeaderMap, StatusCode, Version, header},
    middleware::Next,
    response::Response,
};
use serde::{Deserialize, Serialize};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, Predicate},
};

use crate::router::App;

/// Shorter answers are not worth it.
const BYTES_MIN: u64 = 1024;

/// For whom answers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// For clients on other machines.
    Remote,
    /// For all that take it.
    Always,
    /// For nobody.
    Never,
}

/// Compresses as fast as can be: a wait for the compressor is as long as one for the network.
pub(crate) fn layer() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(compresses_well)
}

/// Hides from what follows that a client takes compressed answers, where it is not to get any.
pub(crate) async fn only_where_it_pays(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let is_local = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    let pays = match app.settings().compress {
        Compress::Remote => !is_local,
        Compress::Always => true,
        Compress::Never => false,
    };
    if !pays {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    next.run(request).await
}

fn compresses_well(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let length: Option<u64> = text(header::CONTENT_LENGTH).parse().ok();
    if length.is_some_and(|length| length < BYTES_MIN) {
        return false;
    }
    let content_type = text(header::CONTENT_TYPE);
    let native = content_type.contains("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1");
    native
        || content_type.starts_with("text/")
        || content_type.starts_with("application/json")
        || content_type.starts_with("application/dicom+json")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_compressed_already_stays_as_it_is() {
        let answer = |content_type: &'static str, length: u64| {
            let headers = HeaderMap::from_iter([
                (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
                (header::CONTENT_LENGTH, HeaderValue::from(length)),
            ]);
            compresses_well(StatusCode::OK, Version::HTTP_11, &headers, &Extensions::default())
        };
        let native = r#"multipart/related; type="application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"; boundary=x"#;
        assert!(answer(native, 100_000));
        assert!(answer("application/dicom+json", 100_000));
        assert!(!answer("application/dicom+json", 100));
        assert!(!answer(
            r#"multipart/related; type="image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90""#,
            100_000
        ));
        assert!(!answer("image/jpeg", 100_000));
        assert!(!answer("application/dicom", 100_000));
    }
}
