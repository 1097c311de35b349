//! `filmgate` itself: a folder of its own, ports of its own, and its log under watch.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Finished, finish, resident_bytes};
use super::servers::Database;
use super::store::Store;
use super::wait_for;
use super::web::Web;

const START_DEADLINE: Duration = Duration::from_secs(30);
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);
const SETTLE_DEADLINE: Duration = Duration::from_secs(120);
pub(crate) const AE_TITLE: &str = "FILMGATE";

/// A folder with the data directory and the bucket of one gateway, and its settings.
pub(crate) struct Home {
    folder: TempDir,
    settings: Vec<(String, String)>,
    store: Store,
    /// Its catalog, where the run is over PostgreSQL; dropped with the rest.
    _database: Option<Database>,
}

impl Home {
    /// A fresh one: both ports chosen by the system, any caller welcome, packs soon. The bucket is local and the catalog
    /// a file, unless `FILMGATE_TEST_BUCKET=s3` or `FILMGATE_TEST_CATALOG=postgres` says otherwise.
    pub(crate) fn new() -> Self {
        let on_s3 = std::env::var("FILMGATE_TEST_BUCKET").is_ok_and(|chosen| chosen == "s3");
        let store = on_s3.then(|| Store::on_s3().expect("an S3 server for the bucket"));
        Self::over(store)
    }

    /// One whose bucket is on the S3 server; `None` where there is none.
    pub(crate) fn on_s3() -> Option<Self> {
        Some(Self::over(Some(Store::on_s3()?)))
    }

    /// Over this, else over folders of its own.
    fn over(store: Option<Store>) -> Self {
        let chosen = |variable, value: &str| std::env::var(variable).is_ok_and(|chosen| chosen == value);
        let database = chosen("FILMGATE_TEST_CATALOG", "postgres")
            .then(|| Database::make().expect("a PostgreSQL for the catalog"));
        let url = database.as_ref().map(Database::url);
        let folder = TempDir::new().expect("make a folder");
        let store = store.unwrap_or_else(|| Store::Folder {
            packs: folder.path().join("bucket"),
            keys: folder.path().join("bucket-keys"),
        });
        let home = Self { folder, settings: Vec::new(), store, _database: database };
        let of_store = home.store.settings();
        let data_dir = home.data_dir();
        let home = home
            .set("NODE__DATA_DIR", data_dir.display())
            .set("DICOM__BIND", "127.0.0.1:0")
            .set("DICOM__ACCEPT_UNKNOWN_CALLERS", true)
            .set("WEB__BIND", "127.0.0.1:0")
            .set("PACK__QUIET_MS", 300)
            .set("SPOOL__READY_SEGMENTS", 1);
        let home = match url {
            Some(url) => home.set("CATALOG__URL", url),
            None => home,
        };
        of_store.into_iter().fold(home, |home, (key, value)| home.set(&format!("BUCKET__MAIN__{key}"), value))
    }

    /// With the buckets of another; what this one was given stays empty.
    pub(crate) fn with_buckets_of(self, other: &Self) -> Self {
        let settings = other.store.settings().into_iter();
        settings.fold(self, |home, (key, value)| home.set(&format!("BUCKET__MAIN__{key}"), value))
    }

    /// With buckets that cannot be reached, whatever they are.
    pub(crate) fn out_of_reach(self) -> Self {
        match self.store {
            Store::Folder { .. } => self
                .set("BUCKET__MAIN__PATH", "/dev/null/bucket")
                .set("BUCKET__MAIN__KEYS_PATH", "/dev/null/keys"),
            // Nobody listens there.
            Store::S3 { .. } => self.set("BUCKET__MAIN__ENDPOINT", "http://127.0.0.1:9"),
        }
    }

    /// Sets `FILMGATE__<key>`.
    pub(crate) fn set(mut self, key: &str, value: impl ToString) -> Self {
        let key = format!("FILMGATE__{key}");
        self.settings.retain(|(set, _)| *set != key);
        self.settings.push((key, value.to_string()));
        self
    }

    /// Sets any variable of the environment of what it runs.
    pub(crate) fn with_variable(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// With local packs that leave as soon as they are verified.
    pub(crate) fn keeps_no_packs(self) -> Self {
        self.set("CACHE__BYTES_MAX", 0).set("REPACK__SMALL_PACK_BYTES", 0)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The folder that is its bucket, in tests of what lies in it.
    pub(crate) fn bucket_dir(&self) -> PathBuf {
        match &self.store {
            Store::Folder { packs, .. } => packs.clone(),
            Store::S3 { .. } => panic!("this test is of a local bucket"),
        }
    }

    /// Keys have a bucket of their own.
    pub(crate) fn bucket_keys_dir(&self) -> PathBuf {
        match &self.store {
            Store::Folder { keys, .. } => keys.clone(),
            Store::S3 { .. } => panic!("this test is of a local bucket"),
        }
    }

    /// Its bucket.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Every pack in the bucket.
    pub(crate) fn packs_in_bucket(&self) -> Vec<String> {
        self.store.packs()
    }

    /// Where the gateway keeps its key: beside the data directory.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.path().join("data.key")
    }

    /// `filmgate` with these settings and no others.
    pub(crate) fn filmgate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filmgate"));
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FILMGATE__"))
        {
            command.env_remove(name);
        }
        command.args(arguments).envs(self.settings.iter().cloned()).current_dir(self.path());
        command
    }

    /// Runs a one-shot command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.filmgate(arguments), COMMAND_DEADLINE)
    }

    /// Sends images by C-STORE, each of which must be stored.
    pub(crate) fn send(&self, gateway: &Gateway, files: &[impl AsRef<Path>]) {
        let files: Vec<_> = files.iter().map(|file| file.as_ref().display().to_string()).collect();
        let mut arguments = vec!["send", &gateway.dicom];
        arguments.extend(files.iter().map(String::as_str));
        arguments.extend(["--aec", AE_TITLE]);
        self.run(&arguments).ended(0);
    }

    /// Starts `serve` and waits until both ports are open.
    pub(crate) fn serve(&self) -> Gateway {
        self.serve_with(&[])
    }

    /// The same with other settings, this once.
    pub(crate) fn serve_with(&self, settings: &[(&str, u64)]) -> Gateway {
        let mut command = self.filmgate(&["serve", "--json"]);
        command.envs(settings.iter().map(|(key, value)| (format!("FILMGATE__{key}"), value.to_string())));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Gateway::watch(child.expect("start filmgate serve"))
    }
}

/// The first line `serve --json` says.
#[derive(Deserialize)]
struct Listening {
    event: String,
    dicom: String,
    dicom_tls: Option<String>,
    web: String,
}

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    /// Where it listens for associations, as HOST:PORT.
    pub(crate) dicom: String,
    /// The same over TLS; empty where it has no such door.
    pub(crate) dicom_tls: String,
    /// Its web side.
    pub(crate) web: Web,
    log: Arc<Mutex<Vec<String>>>,
    expected: Vec<String>,
    /// From the start of the program to both ports open.
    pub(crate) opened_after: Duration,
}

/// One row of `/api/records`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Record {
    pub(crate) record_id: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) sop_instance_uid: Option<String>,
    #[serde(default)]
    pub(crate) study_instance_uid: Option<String>,
    pub(crate) dataset_bytes: u64,
}

impl Gateway {
    fn watch(mut child: Child) -> Self {
        let started = Instant::now();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().expect("the log").push(line);
            }
        });
        let (first, said) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(first.send(line))));
        let line = said.recv_timeout(START_DEADLINE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("serve opened no port: {}", log.lock().expect("the log").join("\n"))
        });
        let listening: Listening =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(listening.event, "listening");
        let web = Web::new(&listening.web);
        let opened_after = started.elapsed();
        let dicom_tls = listening.dicom_tls.unwrap_or_default();
        Self {
            child,
            dicom: listening.dicom,
            dicom_tls,
            web,
            log,
            expected: vec!["no recovery sheet was confirmed".to_owned()],
            opened_after,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pid())
    }

    /// From here on a WARN or ERROR line that contains this is no surprise.
    pub(crate) fn expect_log(&mut self, fragment: &str) {
        self.expected.push(fragment.to_owned());
    }

    /// Every record the gateway lists, page by page.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.web.get("/api/records", "application/json").ok().json();
        while let Some(last) = records.last().map(|record| record.record_id.clone()) {
            let page = format!("/api/records?after={last}");
            let more: Vec<Record> = self.web.get(&page, "application/json").ok().json();
            if more.is_empty() {
                break;
            }
            records.extend(more);
        }
        records
    }

    /// The records of one SOP Instance UID.
    pub(crate) fn records_of(&self, sop_instance_uid: &str) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.sop_instance_uid.as_deref() == Some(sop_instance_uid));
        records
    }

    /// Waits until `arrivals` records are listed, or more, and nothing is on its way any more: every one is verified
    /// or quarantined.
    pub(crate) fn settled(&self, arrivals: usize) -> Vec<Record> {
        wait_for("every record is verified or quarantined", SETTLE_DEADLINE, || {
            let records = self.records();
            let settled = |record: &Record| matches!(record.state.as_str(), "verified" | "quarantined");
            (records.len() >= arrivals && records.iter().all(settled)).then_some(records)
        })
    }

    /// Waits until no pack is left on the local disk.
    pub(crate) fn wait_until_cold(&self) {
        wait_for("no pack is left on the local disk", SETTLE_DEADLINE, || {
            (self.status()["spool"]["packs_bytes"] == 0).then_some(())
        });
    }

    /// One of the counters behind `/metrics`, by its name and labels as they stand there; 0 before it counted.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let text = self.web.get("/metrics", "text/plain").ok().text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    /// `/api/status`.
    pub(crate) fn status(&self) -> Value {
        self.web.get("/api/status", "application/json").ok().json()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal the gateway");
    }

    /// Ends it without warning, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill the gateway");
        self.child.wait().expect("wait for the killed gateway");
        self.check_log();
    }

    /// Asks it to stop; panics unless it drains and ends with 0, or if its log held a surprise.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status =
            wait_for("the gateway stops", COMMAND_DEADLINE, || self.child.try_wait().expect("its status"));
        assert!(status.success(), "it ended with {status}\n{}", self.log());
        self.check_log();
    }

    /// Panics when the log holds a panic, or a WARN or ERROR line that was not expected.
    pub(crate) fn check_log(&self) {
        let log = self.log.lock().expect("the log");
        for line in log.iter() {
            let loud = line.contains(" WARN ") || line.contains(" ERROR ") || line.contains("panicked at");
            let expected = self.expected.iter().any(|fragment| line.contains(fragment));
            assert!(!loud || expected, "unexpected in the log: {line}\nthe whole log:\n{}", log.join("\n"));
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").join("\n")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
