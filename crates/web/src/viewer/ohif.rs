//! The viewer's files under `/ohif/`.

use std::io;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use bytes::Bytes;
use futures::stream;
use tokio::{fs::File, io::AsyncReadExt};

use super::folder::{Entry, ViewerFolder};
use crate::{Error, extract::Path, router::App};

/// How the viewer is set up, ours, and Chinese words that it lacks.
const CONFIG: &str =
    concat!(include_str!("../assets/ohif-words.js"), include_str!("../assets/ohif-config.js"));

/// The viewer asks its own server, draws in workers of its own and in WebAssembly, and styles itself.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self' blob: data:; \
     font-src 'self' data:; object-src 'self' blob:; frame-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The worker that decodes makes functions of text. A worker has the policy of its own answer, so that the page keeps
/// the strict one.
const WORKER_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' 'unsafe-eval'; connect-src 'self' blob: data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const ASKED_AGAIN: &str = "no-cache";
const FOR_EVER: &str = "private, max-age=31536000, immutable";
/// Read of a file at one time.
const PIECE_BYTES: usize = 128 * 1024;

/// Who comes without a study is shown the list of them.
pub(crate) async fn start() -> Redirect {
    Redirect::to("/studies")
}

/// How the viewer is set up.
pub(crate) async fn config() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static(ASKED_AGAIN)),
    ];
    (headers, CONFIG).into_response()
}

/// A file of the viewer, or its page.
pub(crate) async fn file(
    State(app): State<App>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let viewer = app.viewer().ok_or(Error::NotFound("viewer"))?;
    let entry = viewer.find(&path).ok_or(Error::NotFound("file of the viewer"))?;
    answer(viewer, entry, &headers).await
}

async fn answer(viewer: &ViewerFolder, entry: &Entry, asked: &HeaderMap) -> Result<Response, Error> {
    let text =
        |name: header::HeaderName| asked.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (form, coding) = entry.form(text(header::ACCEPT_ENCODING));
    let tag = format!("\"{}\"", form.sha256.get(..32).unwrap_or(&form.sha256));
    let same =
        text(header::IF_NONE_MATCH).split(',').any(|known| known.trim().trim_start_matches("W/") == tag);
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let path = viewer.path_of(form);
        let file = File::open(&path).await.map_err(|error| missing(&path, &error))?;
        let mut response = Body::from_stream(pieces(file)).into_response();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(form.bytes));
        response
    };
    let caching = if entry.immutable { FOR_EVER } else { ASKED_AGAIN };
    let policy = if entry.eval { WORKER_POLICY } else { POLICY };
    let fixed = [
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::VARY, "Accept-Encoding"),
    ];
    let headers = response.headers_mut();
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.extend(coding.map(|coding| (header::CONTENT_ENCODING, HeaderValue::from_static(coding))));
    for (name, value) in [(header::CONTENT_TYPE, &entry.content_type), (header::ETAG, &tag)] {
        headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
    }
    Ok(response)
}

/// It was there when the gateway started.
fn missing(path: &std::path::Path, error: &io::Error) -> Error {
    tracing::error!(path = %path.display(), %error, "a file of the viewer cannot be read");
    Error::NotFound("file of the viewer")
}

fn pieces(file: File) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut piece = vec![0; PIECE_BYTES];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(Bytes::from(piece)), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::{super::folder::tests::prepare, *};

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value")))
            .collect()
    }

    #[tokio::test]
    async fn files_are_answered_compressed_and_kept_and_the_page_is_asked_for_again() {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        let viewer = ViewerFolder::open(folder.path()).expect("a viewer");
        let ask = async |path: &str, asked: &HeaderMap| {
            answer(&viewer, viewer.find(path).expect("a file"), asked).await.expect("an answer")
        };
        let browser = headers(&[(header::ACCEPT_ENCODING, "gzip, br")]);
        let script = ask("a.bundle.0123456789abcdef.js", &browser).await;
        let told = script.headers().clone();
        assert_eq!(told[header::CONTENT_ENCODING], "br");
        assert_eq!(told[header::CONTENT_LENGTH], "7");
        assert_eq!(told[header::CACHE_CONTROL], FOR_EVER);
        assert!(!told[header::CONTENT_SECURITY_POLICY].to_str().expect("text").contains("'unsafe-eval'"));
        assert_eq!(script.into_body().collect().await.expect("all").to_bytes(), "shorter");
        let again = headers(&[
            (header::ACCEPT_ENCODING, "br"),
            (header::IF_NONE_MATCH, told[header::ETAG].to_str().expect("text")),
        ]);
        assert_eq!(ask("a.bundle.0123456789abcdef.js", &again).await.status(), StatusCode::NOT_MODIFIED);

        let page = ask("viewer", &browser).await;
        assert_eq!(page.headers()[header::CACHE_CONTROL], ASKED_AGAIN);
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let worker = ask("w.bundle.fedcba9876543210.js", &browser).await;
        let policy = worker.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
        assert!(policy.contains("'unsafe-eval'"), "{policy}");
    }

    /// Roots of DICOMweb are our own, and no name of another host stands in it.
    #[test]
    fn the_viewer_is_set_up_to_ask_nobody_else() {
        assert!(!CONFIG.contains("://"));
        for told in ["'/dicomweb'", "routerBasename: '/ohif'", "option: 'never'", "'ohif.tours'"] {
            assert!(CONFIG.contains(told), "{told}");
        }
    }
}
