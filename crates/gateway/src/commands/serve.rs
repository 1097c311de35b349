//! `filmgate serve`.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use filmgate_model::Pace;
use filmgate_pipeline::Callers;
use filmgate_web::{Users, ViewerFolder, Web, WebSettings};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use super::{SettingsFrom, runtime, token};
use crate::{
    background::Background,
    build::{self, Gateway},
    config::{self, Dicom, Settings, milliseconds},
    data_dir::Running,
    dicom_door::{DicomDoor, Opening},
    failure, logging,
    tls::{self, ClientCertificates, ServerFiles, ServerTls},
    web_door::{self, WebDoorLimits},
    workers::{self, HeldKek},
};

/// The task that writes journal segments ahead; it ends with the journal.
const PREPARE: &str = "journal-prepare";
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long messages under way may take when the gateway stops.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: SettingsFrom,
    /// Say where the doors are as a line of JSON on standard output.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = arguments.settings.load()?;
    logging::start(&settings.log)?;
    let metrics = PrometheusBuilder::new().install_recorder().context("start the metrics")?;
    raise_open_files_limit();
    let json = arguments.json;
    runtime()?.block_on(async move {
        let doors = Doors::open(&settings, metrics).await?;
        doors.tell(json);
        doors.offer_set_up().await?;
        super::key::nag(doors.road());
        if doors.gateway.callers.is_empty() {
            failure::eprint(
                "filmgate: no caller is known, so every association is refused; `filmgate ae allow CT_1` lets one in, \
                 `filmgate ae learn --for 1h` whoever calls",
            );
        }
        doors.until_stopped().await
    })
}

/// Two doors full of connections and a journal of many segments need more than the 1,024 open files that are usual;
/// what may be had is set by whoever started us.
fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// A gateway with its doors open.
pub(crate) struct Doors {
    gateway: Gateway,
    running: Running,
    dicom: Arc<DicomDoor>,
    web: JoinHandle<std::io::Result<()>>,
    workers: Vec<(&'static str, JoinHandle<()>)>,
    stop: watch::Sender<bool>,
    signals: Signals,
}

impl Doors {
    /// Binds first, so that a taken port is told before anything is opened; answers only when all is in order.
    pub(crate) async fn open(settings: &Settings, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let openings = dicom_openings(&settings.dicom)?;
        let web = web_opening(&settings.web)?;
        let mut running = running(&openings, &web)?;
        let signals = Signals::listen()?;
        let gateway = build::open(settings).await?;
        running.admin_token.clone_from(&gateway.admin_token);
        let (stop, stopped) = watch::channel(false);
        let journal = Arc::clone(gateway.road.journal());
        let prepare = filmgate_model::spawn(async move {
            // It returns when the journal is stopped; if it panics, this task ends and is missed.
            let _ = filmgate_model::compute(move || journal.run_prepare_thread()).await;
        });
        let background = Background::start(settings.yielding.nice).context("start the background threads")?;
        let mut workers =
            workers::start(&gateway.road, background, settings.upload.packs_in_flight, &stopped);
        workers.push((PREPARE, prepare));
        let web_tls = web.tls.clone();
        let (road, kek) = (&gateway.road, HeldKek::new(Arc::clone(&gateway.kek)));
        let rotating = workers::rotate(Arc::clone(road), Arc::clone(&kek), settings.clone(), stopped.clone());
        workers.push(("rotate", filmgate_model::spawn(rotating)));
        let tending = workers::tend_keys(Arc::clone(road), kek, settings.clone(), stopped.clone());
        workers.push(("keys", filmgate_model::spawn(tending)));
        let web = filmgate_model::spawn(serve_web(
            web,
            gateway.road.clone(),
            gateway.callers.clone(),
            gateway.users.clone(),
            settings.clone(),
            metrics,
            running.clone(),
            stopped,
        ));
        let with_tls = openings.iter().filter_map(|opening| opening.tls.clone()).chain(web_tls).collect();
        workers.push((
            "certificates",
            filmgate_model::spawn(tls::watch(
                with_tls,
                Arc::clone(&gateway.road),
                signal(SignalKind::hangup())?,
                stop.subscribe(),
            )),
        ));
        let callers = Arc::clone(&gateway.callers);
        workers.push(("callers", filmgate_model::spawn(workers::callers(callers, stop.subscribe()))));
        let dicom = Arc::new(DicomDoor::open(
            openings,
            Arc::clone(&gateway.road),
            Arc::clone(&gateway.callers),
            &settings.dicom,
        )?);
        gateway.data_dir.announce(&running)?;
        tracing::info!(recovered = ?gateway.recovered, dicom = %running.dicom, web = %running.web, "filmgate is open");
        Ok(Self { gateway, running, dicom, web, workers, stop, signals })
    }

    /// Where the doors are.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// The road behind the doors.
    pub(crate) fn road(&self) -> &Arc<filmgate_pipeline::Road> {
        &self.gateway.road
    }

    /// Closes in order, without waiting for a signal.
    pub(crate) async fn stop(self) {
        self.close().await;
    }

    fn tell(&self, json: bool) {
        let Running { dicom, dicom_tls, web, web_tls, .. } = &self.running;
        if json {
            failure::print_json(
                &json!({"event": "listening", "dicom": dicom, "dicom_tls": dicom_tls, "web": web, "web_tls": web_tls}),
            );
            return;
        }
        failure::print(&format!("DICOM    {dicom}"));
        if let Some(dicom_tls) = dicom_tls {
            failure::print(&format!("         {dicom_tls} with TLS"));
        }
        let base = self.running.web_base();
        failure::print(&format!("DICOMweb {base}/dicomweb\nStatus   {base}/"));
    }

    /// Where nobody is the administrator yet, whoever reads this may become it.
    async fn offer_set_up(&self) -> anyhow::Result<()> {
        let users = &self.gateway.users;
        if !users.has_administrator().await? {
            let secret = users.open_set_up("start").await?;
            let link = token::link(&self.running.web_base(), &secret);
            failure::eprint(&format!("filmgate: set the administrator's password, once, at {link}"));
        }
        Ok(())
    }

    /// Serves until a signal, or until a task that must not end does.
    pub(crate) async fn until_stopped(mut self) -> anyhow::Result<u8> {
        let died = tokio::select! {
            biased;
            () = self.signals.heard() => None,
            name = first_to_end(&mut self.workers) => Some(name),
            _ = &mut self.web => Some("web"),
        };
        self.close().await;
        match died {
            None => Ok(failure::DONE),
            Some(name) => {
                tracing::error!(task = name, "a critical task died");
                Ok(failure::COULD_NOT_RUN)
            }
        }
    }

    /// Doors first, then the steps at the end of their unit, then the journal.
    async fn close(self) {
        let dicom = Arc::clone(&self.dicom);
        if filmgate_model::compute(move || dicom.close(DRAIN)).await.is_err() {
            tracing::warn!("closing the DICOM door was cut off");
        }
        self.stop.send_replace(true);
        let (journal, steps): (Vec<_>, Vec<_>) =
            self.workers.into_iter().partition(|(name, _)| *name == PREPARE);
        for (name, step) in steps {
            wait_for(name, step).await;
        }
        wait_for("web", self.web).await;
        self.gateway.road.journal().stop();
        for (name, thread) in journal {
            wait_for(name, thread).await;
        }
        if tokio::time::timeout(DRAIN, self.gateway.road.catalog().disconnect()).await.is_err() {
            tracing::debug!("a connection to the catalog was cut off");
        }
        tracing::info!("filmgate is closed");
    }
}

/// Lets a task come to its end, if it has not yet.
async fn wait_for<T>(task: &'static str, handle: JoinHandle<T>) {
    if !handle.is_finished() && tokio::time::timeout(DRAIN, handle).await.is_err() {
        tracing::warn!(task, "a task was cut off");
    }
}

fn bind(address: SocketAddr, setting: &'static str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address} ({setting})"))?;
    // Asked again with more room than the 128 of the standard library: in a flood a connection that finds the queue
    // full is lost, and its peer tries again after seconds.
    rustix::net::listen(&listener, BACKLOG).with_context(|| format!("listen on {address} ({setting})"))?;
    Ok(listener)
}

/// Plain, and TLS where it is enabled.
fn dicom_openings(settings: &Dicom) -> anyhow::Result<Vec<Opening>> {
    let mut openings = vec![Opening { listener: bind(settings.bind, "dicom.bind")?, tls: None }];
    let tls = &settings.tls;
    if tls.enabled {
        let client_certificates = if tls.require_client_certificate {
            ClientCertificates::Required
        } else if tls.client_ca.as_os_str().is_empty() {
            ClientCertificates::Ignored
        } else {
            ClientCertificates::Asked
        };
        let files = ServerFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            client_ca: tls.client_ca.clone(),
            crl: tls.crl.clone(),
            client_certificates,
            alpn: &[],
            warn_days: tls.warn_days,
        };
        let server = ServerTls::open("dicom", files).context("open the TLS door of DICOM (dicom.tls)")?;
        openings.push(Opening { listener: bind(tls.bind, "dicom.tls.bind")?, tls: Some(server) });
    }
    Ok(openings)
}

fn web_opening(settings: &config::Web) -> anyhow::Result<Opening> {
    let listener = bind(settings.bind, "web.bind")?;
    let tls = &settings.tls;
    if !tls.enabled {
        return Ok(Opening { listener, tls: None });
    }
    let asks = !tls.client_ca.as_os_str().is_empty();
    let files = ServerFiles {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_ca.clone(),
        crl: tls.crl.clone(),
        client_certificates: if asks { ClientCertificates::Asked } else { ClientCertificates::Ignored },
        alpn: &[b"h2", b"http/1.1"],
        warn_days: tls.warn_days,
    };
    let server = ServerTls::open("web", files).context("open the web door (web.tls)")?;
    Ok(Opening { listener, tls: Some(server) })
}

/// Names the web door answers to. Where others reach it every caller is asked who they are, so that a name pointed here
/// by a page elsewhere gains nothing.
fn hosts(web: &config::Web) -> Option<Vec<String>> {
    let any = web.hosts.is_empty() && !web.bind.ip().is_loopback();
    (!any).then(|| web.hosts.iter().cloned().collect())
}

fn running(openings: &[Opening], web: &Opening) -> anyhow::Result<Running> {
    let [plain, tls @ ..] = openings else { anyhow::bail!("there is no DICOM door") };
    Ok(Running {
        dicom: plain.listener.local_addr()?,
        dicom_tls: tls.first().map(|opening| opening.listener.local_addr()).transpose()?,
        web: web.listener.local_addr()?,
        web_tls: web.tls.is_some(),
        admin_token: String::new(),
    })
}

#[expect(clippy::too_many_arguments, reason = "each is one thing the server stands on")]
async fn serve_web(
    opening: Opening,
    road: Arc<filmgate_pipeline::Road>,
    callers: Arc<Callers>,
    users: Arc<Users>,
    settings: Settings,
    metrics: PrometheusHandle,
    running: Running,
    stop: workers::Stop,
) -> std::io::Result<()> {
    opening.listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(opening.listener)?;
    let web = &settings.web;
    let limits = WebDoorLimits {
        connections_max: web.connections_max,
        streams_max: web.streams_max,
        head_timeout: milliseconds(web.request_head_timeout_ms),
        stall_timeout: milliseconds(web.answer_stall_timeout_ms),
        handshake_timeout: milliseconds(web.tls.handshake_timeout_ms),
    };
    let web_settings = WebSettings {
        stow_instance_bytes_max: web.stow_instance_bytes_max,
        request_pace: Pace {
            window: milliseconds(web.request_progress_window_ms),
            bytes_min: web.request_progress_bytes_min,
        },
        stow_requests_max: web.stow_requests_max,
        retrieve_requests_max: web.retrieve_requests_max,
        retrieve_stall_timeout: milliseconds(web.answer_stall_timeout_ms),
        compress: web.compress,
        answers_kept: milliseconds(web.answers_kept_ms),
        query_results_max: web.query_results_max,
        request_timeout: milliseconds(web.request_timeout_ms),
        dicom_address: running.dicom.to_string(),
        ae_title: settings.dicom.aet.to_string(),
        open_to: web.open_to,
        is_tls: web.tls.enabled,
        hsts: Duration::from_secs(web.tls.hsts_max_age_s),
        peers: web.tls.peers.iter().cloned().collect(),
        hosts: hosts(web),
    };
    let web = Web::new(road, callers, users, web_settings, metrics);
    let router = filmgate_web::router(web.with_viewer(viewer(&settings.viewer).await));
    web_door::serve(listener, opening.tls, router, limits, stop).await
}

/// The image viewer. Images are received whether it can be served or not.
async fn viewer(settings: &config::Viewer) -> Option<ViewerFolder> {
    let folder = settings.path.clone();
    if folder.as_os_str().is_empty() {
        return None;
    }
    let opened = filmgate_model::compute({
        let folder = folder.clone();
        move || ViewerFolder::open(&folder)
    });
    match opened.await {
        Ok(Ok(viewer)) => {
            tracing::info!(version = viewer.version(), "the image viewer is served");
            Some(viewer)
        }
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, folder = %folder.display(), "the image viewer cannot be served (viewer.path)");
            None
        }
        Err(_) => None,
    }
}

/// Signals that ask for an end, heard from before the doors are announced.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn heard(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn first_to_end(workers: &mut [(&'static str, JoinHandle<()>)]) -> &'static str {
    loop {
        if let Some((name, _)) = workers.iter().find(|(_, worker)| worker.is_finished()) {
            return name;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
