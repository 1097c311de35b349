//! The receivers, each in a folder of its own and ended by its id: what they are told, how many instances they hold, when
//! they are done.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Owned;

/// The AE title every receiver is called by.
pub(crate) const CALLED_AE: &str = "BENCH";
/// Who sends: `filmgate send` and DCMTK's storescu by their defaults.
const CALLING_AES: &str = "FILMGATE_SCU,STORESCU";
/// Where Debian's orthanc-dicomweb puts its library.
const DICOMWEB_PLUGIN: &str = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";
/// How long a receiver may take to open its port.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// How long what was received may take to be verified in the bucket.
const DRAIN_WITHIN: Duration = Duration::from_secs(600);
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Target {
    /// DCMTK `storescp --fork`: plain files, parsed and written anew, not synced
    Storescp,
    /// The same with `+B`: plain files as they came, not synced
    StorescpBitPreserving,
    /// Orthanc with its defaults
    Orthanc,
    /// Orthanc with StorageCompression
    OrthancCompressed,
    /// Orthanc with its DICOMweb plugin
    #[value(skip)]
    OrthancDicomweb,
    /// `filmgate serve` with its defaults
    Filmgate,
}

impl Target {
    pub(crate) const ALL: [Self; 5] =
        [Self::Storescp, Self::StorescpBitPreserving, Self::Orthanc, Self::OrthancCompressed, Self::Filmgate];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Storescp => "storescp",
            Self::StorescpBitPreserving => "storescp +B",
            Self::Orthanc => "Orthanc",
            Self::OrthancCompressed => "Orthanc, zlib",
            Self::OrthancDicomweb => "Orthanc, DICOMweb",
            Self::Filmgate => "filmgate",
        }
    }
}

/// A receiver that runs.
pub(crate) struct Receiver {
    target: Target,
    process: Owned,
    pub(crate) dicom_port: u16,
    http_port: u16,
    folder: Arc<TempDir>,
}

impl Receiver {
    /// Starts a receiver with an empty folder under `work`.
    pub(crate) fn start(target: Target, gateway: &Path, work: &Path) -> Result<Self> {
        fs::create_dir_all(work)?;
        let folder = tempfile::Builder::new().prefix(crate::LEFTOVER_PREFIX).tempdir_in(work)?;
        Self::start_in(target, gateway, Arc::new(folder))
    }

    /// Starts a receiver on what one of its kind left in this folder.
    pub(crate) fn start_in(target: Target, gateway: &Path, folder: Arc<TempDir>) -> Result<Self> {
        let started = match target {
            Target::Storescp => start_storescp(&folder, &[]),
            Target::StorescpBitPreserving => start_storescp(&folder, &["+B"]),
            Target::Orthanc => start_orthanc(&folder, &[]),
            Target::OrthancCompressed => start_orthanc(&folder, &[("StorageCompression", json!(true))]),
            Target::OrthancDicomweb => start_orthanc(&folder, &dicomweb()),
            Target::Filmgate => start_filmgate(&folder, gateway),
        };
        let (process, dicom_port, http_port) = started.with_context(|| format!("start {}", target.name()))?;
        let mut receiver = Self { target, process, dicom_port, http_port, folder };
        receiver.wait_until_open()?;
        Ok(receiver)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it answers over HTTP.
    pub(crate) fn web_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.http_port))
    }

    /// Where DICOMweb begins.
    pub(crate) fn dicomweb_root(&self) -> String {
        let root = if self.target == Target::Filmgate { "dicomweb" } else { "dicom-web" };
        format!("http://{}/{root}", self.web_address())
    }

    fn wait_until_open(&mut self) -> Result<()> {
        let started = Instant::now();
        let ports: &[u16] =
            if self.http_port == 0 { &[self.dicom_port] } else { &[self.dicom_port, self.http_port] };
        for &port in ports {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                ensure!(self.process.is_running(), "{} ended at once", self.target.name());
                ensure!(started.elapsed() < OPEN_WITHIN, "{} does not open its port", self.target.name());
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Waits until what was received is where it belongs and counts it.
    ///
    /// # Errors
    /// When it is not as many as were sent: such a run is no measurement.
    pub(crate) fn settle(&self, expected: u64) -> Result<()> {
        if self.target == Target::Filmgate {
            return self.wait_until_verified(expected);
        }
        let held = match self.target {
            Target::Storescp | Target::StorescpBitPreserving => {
                fs::read_dir(self.folder.path().join("received"))?.count() as u64
            }
            _ => number(&self.get("/statistics")?, "CountInstances")?,
        };
        ensure!(held == expected, "{} holds {held} instances, {expected} were sent", self.target.name());
        Ok(())
    }

    /// Filmgate alone works on after its last answer: packs, uploads, reads back.
    fn wait_until_verified(&self, expected: u64) -> Result<()> {
        let since = Instant::now();
        loop {
            let status = self.get("/api/status")?;
            let states = status.get("states").and_then(Value::as_object).context("the states")?;
            let verified = number(&status["states"], "verified")?;
            let all: u64 = states.values().filter_map(Value::as_u64).sum();
            if verified == expected && all == expected {
                return Ok(());
            }
            ensure!(all <= expected, "filmgate holds {all} instances, {expected} were sent");
            if since.elapsed() > DRAIN_WITHIN {
                bail!("of {expected} instances only {verified} were verified in time: {states:?}");
            }
            thread::sleep(POLL_EVERY);
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}{path}", self.http_port);
        let text = ureq::get(&url).call().and_then(|mut answer| answer.body_mut().read_to_string());
        let text = text.with_context(|| format!("ask {} for {path}", self.target.name()))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Ends it, and empties its folder unless somebody keeps that.
    pub(crate) fn end(self) -> Result<()> {
        self.process.end()?;
        let folder = Arc::into_inner(self.folder);
        folder.map_or(Ok(()), TempDir::close).context("empty a receiver's folder")
    }
}

/// A number by its name; Orthanc writes some as text.
fn number(object: &Value, name: &str) -> Result<u64> {
    let value = &object[name];
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.with_context(|| format!("{name} in the answer"))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A receiver's command: its folder to work in, its output in a file, no waiting for more to send (`TCP_NODELAY`;
/// what is built on DCMTK otherwise loses 40 ms an instance to Nagle's algorithm).
fn command(program: impl AsRef<std::ffi::OsStr>, folder: &TempDir) -> Result<Command> {
    let mut command = Command::new(program);
    let log = File::create(folder.path().join("output.log"))?;
    command.current_dir(folder.path()).env("TCP_NODELAY", "1").stdin(Stdio::null());
    command.stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

fn start_storescp(folder: &TempDir, options: &[&str]) -> Result<(Owned, u16, u16)> {
    let port = free_port()?;
    fs::create_dir(folder.path().join("received"))?;
    let mut storescp = command("storescp", folder)?;
    storescp.args(["--fork", "-pdu", "131072", "-od", "received", "-aet", CALLED_AE]).args(options);
    Ok((Owned::new(storescp.arg(port.to_string()).spawn()?), port, 0))
}

/// The plugin as it comes, told only where its root is.
fn dicomweb() -> [(&'static str, Value); 2] {
    let settings = json!({ "Enable": true, "Root": "/dicom-web/" });
    [("Plugins", json!([DICOMWEB_PLUGIN])), ("DicomWeb", settings)]
}

/// Orthanc as it comes, told only where to listen and where to store, and what else is given here.
fn start_orthanc(folder: &TempDir, more: &[(&str, Value)]) -> Result<(Owned, u16, u16)> {
    let (dicom_port, http_port) = (free_port()?, free_port()?);
    let storage = folder.path().join("storage");
    let mut settings = json!({
        "Name": CALLED_AE,
        "DicomAet": CALLED_AE,
        "DicomPort": dicom_port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": false,
        "StorageDirectory": storage,
        "IndexDirectory": storage,
    });
    for (name, value) in more {
        settings[*name] = value.clone();
    }
    let file = folder.path().join("orthanc.json");
    fs::write(&file, serde_json::to_vec_pretty(&settings)?)?;
    Ok((Owned::new(command("Orthanc", folder)?.arg(file).spawn()?), dicom_port, http_port))
}

/// Filmgate as it comes, told only where to listen, where to store, and to let the senders in.
fn start_filmgate(folder: &TempDir, gateway: &Path) -> Result<(Owned, u16, u16)> {
    let mut serve = command(gateway, folder)?;
    serve.args(["serve", "--json"]).stdout(Stdio::piped());
    serve.env("FILMGATE__NODE__DATA_DIR", folder.path().join("data"));
    serve.env("FILMGATE__DICOM__AET", CALLED_AE).env("FILMGATE__DICOM__KNOWN_CALLERS", CALLING_AES);
    serve.env("FILMGATE__DICOM__BIND", "127.0.0.1:0").env("FILMGATE__WEB__BIND", "127.0.0.1:0");
    let mut child = serve.spawn()?;
    let output = child.stdout.take();
    let process = Owned::new(child);
    let mut line = String::new();
    BufReader::new(output.context("its output")?).read_line(&mut line)?;
    let doors: Value = serde_json::from_str(&line).context("read where its doors are")?;
    Ok((process, port_of(&doors["dicom"])?, port_of(&doors["web"])?))
}

fn port_of(address: &Value) -> Result<u16> {
    let (_, port) = address.as_str().and_then(|text| text.rsplit_once(':')).context("an address")?;
    Ok(port.parse()?)
}
