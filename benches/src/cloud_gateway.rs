//! `filmgate serve` with its packs on the S3 server.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cloud::{Plain, Server, bucket_name},
    process::Owned,
    receivers::CALLED_AE,
};

/// From the last answer until all is verified.
const DRAIN_WITHIN: Duration = Duration::from_secs(600);
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A data directory and its buckets.
pub(crate) struct Home {
    gateway: PathBuf,
    folder: TempDir,
    server: Server,
    pub(crate) bucket: String,
    keys_bucket: String,
    settings: Vec<(&'static str, String)>,
}

/// A gateway that runs.
pub(crate) struct Running {
    process: Owned,
    pub(crate) dicom_port: u16,
    web: String,
}

impl Home {
    pub(crate) async fn new(gateway: &Path, work: &Path, server: &Server, plain: &Plain) -> Result<Self> {
        let (bucket, keys_bucket) = (bucket_name("packs"), bucket_name("keys"));
        plain.make_bucket(&bucket).await?;
        plain.make_bucket(&keys_bucket).await?;
        let folder = tempfile::Builder::new().prefix(crate::LEFTOVER_PREFIX).tempdir_in(work)?;
        let (gateway, server) = (gateway.to_owned(), server.clone());
        Ok(Self { gateway, folder, server, bucket, keys_bucket, settings: Vec::new() })
    }

    /// Sets `FILMGATE__<key>`.
    pub(crate) fn set(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }

    /// Starts it; where `reaches` is false its bucket is out of reach.
    pub(crate) fn serve(&self, reaches: bool) -> Result<Running> {
        let endpoint = if reaches { self.server.endpoint.as_str() } else { NOWHERE };
        let mut serve = Command::new(&self.gateway);
        serve.args(["serve", "--json"]).current_dir(self.folder.path());
        for (key, value) in [
            ("NODE__DATA_DIR", "data"),
            ("DICOM__AET", CALLED_AE),
            ("DICOM__ACCEPT_UNKNOWN_CALLERS", "true"),
            ("DICOM__BIND", "127.0.0.1:0"),
            ("WEB__BIND", "127.0.0.1:0"),
            ("LOG__FILTER", "off"),
            ("BUCKET__MAIN__KIND", "s3"),
            ("BUCKET__MAIN__BUCKET", &self.bucket),
            ("BUCKET__MAIN__KEYS_BUCKET", &self.keys_bucket),
            ("BUCKET__MAIN__ENDPOINT", endpoint),
            ("BUCKET__MAIN__REGION", &self.server.region),
            ("BUCKET__MAIN__ACCESS_KEY_ID", &self.server.access_key),
            ("BUCKET__MAIN__SECRET_ACCESS_KEY", &self.server.secret_key),
        ] {
            serve.env(format!("FILMGATE__{key}"), value);
        }
        for (key, value) in &self.settings {
            serve.env(format!("FILMGATE__{key}"), value);
        }
        let mut child = serve.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take();
        let process = Owned::new(child);
        let mut line = String::new();
        BufReader::new(output.context("its output")?).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).context("read where its doors are")?;
        let door = |name: &str| told[name].as_str().map(str::to_owned).context("where it listens");
        let dicom = door("dicom")?;
        let (_, port) = dicom.rsplit_once(':').context("a port")?;
        Ok(Running { process, dicom_port: port.parse()?, web: format!("http://{}", door("web")?) })
    }
}

impl Running {
    /// A body, whatever it is.
    pub(crate) fn get(&self, agent: &ureq::Agent, path: &str, accept: &str) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        self.get_into(agent, path, accept, &mut body)?;
        Ok(body)
    }

    /// The same into a buffer, whose room is used again.
    pub(crate) fn get_into(
        &self,
        agent: &ureq::Agent,
        path: &str,
        accept: &str,
        body: &mut Vec<u8>,
    ) -> Result<()> {
        let answer = agent.get(format!("{}{path}", self.web)).header("accept", accept).call();
        let mut answer = answer.with_context(|| format!("ask for {path}"))?;
        body.clear();
        answer.body_mut().as_reader().read_to_end(body)?;
        Ok(())
    }

    pub(crate) fn json(&self, path: &str) -> Result<Value> {
        let body = self.get(&ureq::agent(), path, "application/dicom+json, application/json")?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Waits until so many instances are verified, and no more are on their way; how long that took.
    pub(crate) fn wait_verified(&self, instances: u64) -> Result<Duration> {
        self.wait("everything is verified", |status| status["states"]["verified"] == instances)
    }

    /// Waits until so many instances are in packs that wait for their bucket.
    pub(crate) fn wait_packed(&self, instances: u64) -> Result<Duration> {
        self.wait("everything is packed", |status| {
            let count = |state: &str| status["states"][state].as_u64().unwrap_or(0);
            count("packed") + count("retrying") == instances
        })
    }

    /// Waits until nothing is left on the local disk but what it can fetch.
    pub(crate) fn wait_cold(&self) -> Result<Duration> {
        self.wait("no pack is left here", |status| status["spool"]["packs_bytes"] == 0)
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Duration> {
        let since = Instant::now();
        while !is_so(&self.json("/api/status")?) {
            ensure!(since.elapsed() < DRAIN_WITHIN, "waited in vain: {what}");
            thread::sleep(POLL_EVERY);
        }
        Ok(since.elapsed())
    }

    /// The value of a counter; 0 before it counted.
    pub(crate) fn counter(&self, name: &str) -> Result<u64> {
        let text = String::from_utf8(self.get(&ureq::agent(), "/metrics", "text/plain")?)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map_or(Ok(0), |value| value.trim().parse())?)
    }

    pub(crate) fn end(self) -> Result<()> {
        self.process.end()
    }
}
