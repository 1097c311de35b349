//! What Orthanc lacks to be opened in the same viewer: one origin for the viewer's files and DICOMweb. The files come from memory,
//! compressed beforehand; everything below `/dicomweb` is handed on to Orthanc and its answer back, as they are.

use std::{collections::HashMap, fs, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1::{self as client, SendRequest},
    header::{self, HeaderValue},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::Mutex,
};

const MANIFEST: &str = "manifest-of-files.json";
const BELOW: &str = "/ohif/";
/// How the viewer is set up; the gateway's own, so that both are asked for the same.
const CONFIG: &str = "app-config.js";
const INDEX: &str = "index.html";
const FOR_EVER: &str = "private, max-age=31536000, immutable";

type Body = Either<Full<Bytes>, Incoming>;

/// The viewer's files, by their path below `/ohif/`.
pub(super) struct Files(HashMap<String, File>);

struct File {
    content_type: HeaderValue,
    coding: Option<&'static str>,
    immutable: bool,
    bytes: Bytes,
}

#[derive(Deserialize)]
struct Manifest {
    files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    content_type: String,
    encodings: HashMap<String, Form>,
    immutable: bool,
}

#[derive(Deserialize)]
struct Form {
    path: String,
}

impl Files {
    /// Those of a prepared viewer, in the forms that browsers take, with this set-up.
    pub(super) fn read(folder: &Path, config: Vec<u8>) -> Result<Self> {
        let manifest = fs::read(folder.join(MANIFEST)).context("read the list of the viewer's files")?;
        let manifest: Manifest = serde_json::from_slice(&manifest)?;
        let mut files = HashMap::new();
        for entry in manifest.files {
            let compressed = entry.encodings.get("br");
            let path = compressed.map_or(&entry.path, |form| &form.path);
            let file = File {
                content_type: entry.content_type.parse().context("a media type")?,
                coding: compressed.map(|_| "br"),
                immutable: entry.immutable,
                bytes: fs::read(folder.join(path)).context("read a file of the viewer")?.into(),
            };
            files.insert(entry.path, file);
        }
        let content_type = HeaderValue::from_static("text/javascript; charset=utf-8");
        let config = File { content_type, coding: None, immutable: false, bytes: config.into() };
        files.insert(CONFIG.to_owned(), config);
        Ok(Self(files))
    }

    /// The page itself stands for every path that names no file.
    fn answer(&self, path: &str) -> Response<Body> {
        let names_file = path.rsplit('/').next().unwrap_or_default().contains('.');
        let found = self.0.get(path).or_else(|| if names_file { None } else { self.0.get(INDEX) });
        let Some(file) = found else { return plain(StatusCode::NOT_FOUND) };
        let mut response = Response::new(Either::Left(Full::new(file.bytes.clone())));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, file.content_type.clone());
        headers
            .extend(file.coding.map(|coding| (header::CONTENT_ENCODING, HeaderValue::from_static(coding))));
        let caching = if file.immutable { FOR_EVER } else { "no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        response
    }
}

/// A site that runs as long as its runtime.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    _runtime: Runtime,
}

impl Site {
    /// Serves the files, and what `upstream` (an address) has below `/dicom-web`.
    pub(super) fn start(files: Arc<Files>, upstream: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let connection =
                    Arc::new(Connection { files: Arc::clone(&files), upstream, sender: Mutex::new(None) });
                let service = service_fn(move |request| {
                    let connection = Arc::clone(&connection);
                    async move { anyhow::Ok(connection.answer(request).await) }
                });
                let served = server::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A browser that goes away is no error.
                filmgate_model::spawn(async move { drop(served.await) });
            }
        });
        Ok(Self { address, _runtime: runtime })
    }
}

/// A browser's connection, with one to Orthanc behind it.
struct Connection {
    files: Arc<Files>,
    upstream: SocketAddr,
    sender: Mutex<Option<SendRequest<Incoming>>>,
}

impl Connection {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if let Some(path) = path.strip_prefix(BELOW) {
            return self.files.answer(path);
        }
        if !path.starts_with("/dicomweb/") {
            return plain(StatusCode::NOT_FOUND);
        }
        self.hand_on(request).await.unwrap_or_else(|_| plain(StatusCode::BAD_GATEWAY))
    }

    async fn hand_on(&self, mut request: Request<Incoming>) -> Result<Response<Body>> {
        let path = request.uri().path_and_query().context("a path")?.as_str();
        *request.uri_mut() = path.replacen("/dicomweb/", "/dicom-web/", 1).parse::<Uri>()?;
        connection_headers_gone(request.headers_mut());
        let mut kept = self.sender.lock().await;
        // Orthanc closes a connection that rested for a second.
        let mut usable = None;
        if let Some(mut sender) = kept.take()
            && sender.ready().await.is_ok()
        {
            usable = Some(sender);
        }
        let mut sender = match usable {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let mut response = sender.send_request(request).await?;
        *kept = Some(sender);
        connection_headers_gone(response.headers_mut());
        Ok(response.map(Either::Right))
    }

    async fn connect(&self) -> Result<SendRequest<Incoming>> {
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        filmgate_model::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

/// What speaks of one connection alone (RFC 9110 7.6.1).
fn connection_headers_gone(headers: &mut HeaderMap) {
    headers.remove(header::CONNECTION);
    headers.remove("keep-alive");
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}
