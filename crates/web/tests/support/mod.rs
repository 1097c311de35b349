//! The router over a real road in a folder of its own.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use filmgate_bucket::{Bucket, Fault, FaultyBucket, LocalBucket};
use filmgate_catalog::{Catalog, CatalogOptions};
use filmgate_keys::{Kek, KeyRing};
use filmgate_model::{Clock, Pace, Random, part10};
use filmgate_pipeline::{Cached, CallerSettings, Callers, Parts, Peers, Placement, Road, Settings};
use filmgate_seal::SealOptions;
use filmgate_spool::{Admission, Disk, Journal, JournalOptions, PackFolder, RealDisk, Reserve};
use filmgate_web::{UserSettings, Users, Web, WebSettings};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tower::ServiceExt;

/// A gateway without doors but its router.
pub(crate) struct Gateway {
    pub(crate) road: Arc<Road>,
    /// While it is set, no bucket answers.
    pub(crate) away: Arc<AtomicBool>,
    router: Router,
    dir: tempfile::TempDir,
}

/// An answer that was read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Gateway {
    /// With room enough.
    pub(crate) async fn new() -> Self {
        Self::with_reserve(Reserve {
            pack_bytes_max: 0,
            catalog_bytes: 0,
            journal_free_bytes_min: 0,
            reopen_percent: 0,
        })
        .await
    }

    /// With a reserve that decides whether there is room.
    pub(crate) async fn with_reserve(reserve: Reserve) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (clock, random) = (Clock::system(), Random::system());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let kek = Kek::random(&random);
        let keys = KeyRing::create(Arc::clone(&disk), &dir.path().join("keys"), &kek, &clock, &random)
            .expect("keys");
        let journal_dir = dir.path().join("journal");
        let options =
            JournalOptions { segment_bytes: 16 << 20, bytes_max: 256 << 20, ..JournalOptions::default() };
        let (journal, _) =
            Journal::open(Arc::clone(&disk), &journal_dir, options, &clock, &random).expect("a journal");
        let catalog = Catalog::in_memory(&CatalogOptions::new(keys.site_id(), keys.node_id()))
            .await
            .expect("a catalog");
        let catalog = Arc::new(catalog);
        let away = Arc::new(AtomicBool::new(false));
        let bucket = |folder: &str| -> Arc<dyn Bucket> {
            let (local, away) = (Arc::new(LocalBucket::new(dir.path().join(folder))), Arc::clone(&away));
            Arc::new(FaultyBucket::new(local, move |_, _| match away.load(Ordering::SeqCst) {
                true => Fault::Before,
                false => Fault::None,
            }))
        };
        let placement =
            Placement { name: "main".into(), bucket: bucket("bucket"), keys: bucket("bucket-keys") };
        let road = Road::new(Parts {
            idle_cores: None,
            decoding: filmgate_pipeline::Decoding::default(),
            peers: Peers::default(),
            clock,
            random,
            journal,
            packs: PackFolder::open_folder(Arc::clone(&disk), &dir.path().join("packs")).expect("packs"),
            cached: Cached::open(&disk, &dir.path().join("cache"), 1 << 30, 1 << 30),
            disk,
            data_dir: dir.path().to_owned(),
            log_dir: dir.path().join("log"),
            keys: Arc::new(keys),
            catalog: Arc::clone(&catalog),
            placements: vec![placement],
            admission: Admission::new(reserve),
            seal: SealOptions::default(),
            settings: Settings { pack_quiet: Duration::ZERO, ..Settings::default() },
        });
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let settings = WebSettings {
            ae_title: "FILMGATE".into(),
            request_pace: Pace { window: Duration::from_millis(300), bytes_min: 1000 },
            ..WebSettings::default()
        };
        let callers =
            Callers::open(Arc::clone(&catalog), road.clock().clone(), CallerSettings::default()).await;
        let callers = Arc::new(callers.expect("callers"));
        let users = Users::new(catalog, road.clock().clone(), Random::system(), UserSettings::default()).0;
        let web = Web::new(Arc::clone(&road), callers, Arc::new(users), settings, metrics);
        let router = filmgate_web::router(web);
        Self { road, away, router, dir }
    }

    /// The folder it keeps everything in.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The router itself.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("a router does not fail");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await.expect("a whole body").to_bytes().to_vec();
        Answer { status, headers, body }
    }

    pub(crate) async fn get(&self, path: &str, accept: &str) -> Answer {
        let request = Request::get(path).header("host", "localhost").header("accept", accept);
        self.ask(request.body(Body::empty()).expect("a request")).await
    }

    /// Sends parts by STOW-RS and enters what was received.
    pub(crate) async fn store(&self, path: &str, parts: &[&[u8]]) -> Answer {
        let answer = self.store_body(path, Body::from(multipart(parts))).await;
        while self.road.index_received().await.expect("the index") > 0 {}
        answer
    }

    pub(crate) async fn store_body(&self, path: &str, body: Body) -> Answer {
        let request = Request::post(path)
            .header("host", "localhost")
            .header("user-agent", "tester/1")
            .header("content-type", r#"multipart/related; type="application/dicom"; boundary=frontier"#);
        self.ask(request.body(body).expect("a request")).await
    }

    /// Sends everything on: packed, uploaded, verified.
    pub(crate) async fn settle(&self) {
        for study in self.road.studies_to_pack().await.expect("studies") {
            self.road.pack(&study).await.expect("a pack");
        }
        let placement = &self.road.placements()[0];
        while let Some(pack) = self.road.next_upload(placement, &[]).await.expect("an upload") {
            assert!(self.road.upload(placement, &pack).await.expect("uploaded"));
        }
        while let Some(pack) = self.road.next_to_verify(placement, &[]).await.expect("a verification") {
            assert!(self.road.verify(placement, &pack).await.expect("verified"));
        }
        self.road.write_log().await.expect("logged");
    }
}

/// Every path a router knows, as it tells of itself to whoever looks for faults: no other way leads to them.
pub(crate) fn routes_of(router: &Router) -> Vec<String> {
    let told = format!("{router:?}");
    let told = told.split("fallback_router").next().unwrap_or_default();
    let (_, paths) = told.rsplit_once("paths: {").expect("paths");
    paths.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The parts of the body, each with its headers' text, taken apart as strictly as can be.
    pub(crate) fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let boundary = self.header("content-type").rsplit_once("boundary=").expect("a boundary").1.to_owned();
        let body = self
            .body
            .strip_prefix(format!("--{boundary}\r\n").as_bytes())
            .expect("it opens with its boundary");
        let body = body
            .strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes())
            .expect("it closes with its boundary");
        split(body, format!("\r\n--{boundary}\r\n").as_bytes())
            .into_iter()
            .map(|part| {
                let mut pieces = split(part, b"\r\n\r\n").into_iter();
                let headers = String::from_utf8(pieces.next().expect("headers").to_vec()).expect("text");
                let data = part.get(headers.len() + 4..).expect("data").to_vec();
                (headers, data)
            })
            .collect()
    }
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(separator.len()).position(|window| window == separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

/// A body of instances in parts.
pub(crate) fn multipart(parts: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(b"--frontier\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--frontier--\r\n");
    body
}

/// A file of the repository's fixtures.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dicom")
}

/// The dataset of a Part 10 file.
pub(crate) fn dataset(file: &[u8]) -> &[u8] {
    &file[part10::read_file_head(file).expect("a DICOM file").dataset_offset..]
}
