//! Orthanc with its DICOMweb plugin and the gateway, each with the same studies in a folder of its own, to be started on it again and
//! again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    machine::Version,
    process::Tree,
    receivers::{Receiver, Target},
    report,
    senders::{Sender, Senders},
    studies::Study,
};

/// The other and ours.
pub(crate) const SERVERS: [Target; 2] = [Target::OrthancDicomweb, Target::Filmgate];
const ASSOCIATIONS: u8 = 4;
/// A server is at rest when it took no more than this of a core for that long.
const AT_REST_SECONDS: f64 = 0.01;
const AT_REST_FOR: Duration = Duration::from_millis(200);
const AT_REST_WITHIN: Duration = Duration::from_secs(20);

/// Both servers' folders, filled.
pub(crate) struct Loaded {
    gateway: PathBuf,
    folders: Vec<(Target, Arc<TempDir>)>,
    /// Orthanc's plugin.
    pub(crate) plugin: Version,
}

impl Loaded {
    /// Sends the studies to both.
    ///
    /// # Errors
    /// When one does not hold what was sent.
    pub(crate) fn load<'a>(
        gateway: &Path,
        work: &Path,
        studies: impl Iterator<Item = &'a Study> + Clone,
    ) -> Result<Self> {
        let senders = Senders::new(gateway, work)?;
        let instances = studies.clone().map(|study| study.files.instances()).sum();
        let (mut folders, mut plugin) = (Vec::new(), None);
        for server in SERVERS {
            report::progress(&format!("{}: loading {instances} instances", server.name()));
            let folder = Arc::new(tempfile::Builder::new().prefix(crate::LEFTOVER_PREFIX).tempdir_in(work)?);
            let receiver = Receiver::start_in(server, gateway, Arc::clone(&folder))?;
            for study in studies.clone() {
                senders.send(Sender::Own, ASSOCIATIONS, &study.files, receiver.dicom_port)?;
            }
            receiver.settle(instances)?;
            if server == Target::OrthancDicomweb {
                let told = receiver.get("/plugins/dicom-web")?;
                let version = told["Version"].as_str().context("the plugin's version")?.to_owned();
                plugin = Some(Version { program: "orthanc-dicomweb".to_owned(), version });
            }
            receiver.end()?;
            folders.push((server, folder));
        }
        rustix::fs::sync();
        Ok(Self { gateway: gateway.to_owned(), folders, plugin: plugin.context("the plugin")? })
    }

    /// Starts a server on what it holds, and waits until it has done what it does when it begins.
    pub(crate) fn start(&self, server: Target) -> Result<Receiver> {
        let (_, folder) = self.folders.iter().find(|(of, _)| *of == server).context("a server's folder")?;
        let receiver = Receiver::start_in(server, &self.gateway, Arc::clone(folder))?;
        let (mut tree, since) = (Tree::new(receiver.pid()), Instant::now());
        loop {
            let before = tree.cpu_seconds()?;
            thread::sleep(AT_REST_FOR);
            if tree.cpu_seconds()? - before <= AT_REST_SECONDS {
                return Ok(receiver);
            }
            ensure!(since.elapsed() < AT_REST_WITHIN, "{} finds no rest", server.name());
        }
    }
}
