//! The senders: DCMTK's `storescu`, a process for each association, and `filmgate send`. For every receiver the same
//! command with the same files.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

use crate::{data::Files, process::ended_children_cpu_seconds, receivers::CALLED_AE};

/// What storescu proposes: the two SOP classes, in explicit VR little endian alone, so that every receiver gets the
/// same bytes.
const PROFILE: &str = "\
[[TransferSyntaxes]]
[Explicit]
TransferSyntax1 = LittleEndianExplicit
[[PresentationContexts]]
[Images]
PresentationContext1 = CTImageStorage\\Explicit
PresentationContext2 = MRImageStorage\\Explicit
[[Profiles]]
[Bench]
PresentationContexts = Images
";

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sender {
    /// `storescu`, as many processes as associations, the files split evenly
    Storescu,
    /// `filmgate send`, one process, its associations taking files from one queue
    Own,
}

impl Sender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Storescu => "storescu",
            Self::Own => "filmgate send",
        }
    }
}

/// The senders' programs and where they may write.
#[derive(Debug, Clone)]
pub(crate) struct Senders {
    gateway: PathBuf,
    profile: PathBuf,
    output: PathBuf,
}

/// One sending, from the first process's start to the last one's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

impl Senders {
    pub(crate) fn new(gateway: &Path, work: &Path) -> Result<Self> {
        fs::create_dir_all(work)?;
        let profile = work.join("storescu.cfg");
        fs::write(&profile, PROFILE)?;
        Ok(Self { gateway: gateway.to_owned(), profile, output: work.join("sender-output.log") })
    }

    /// Sends every file.
    ///
    /// # Errors
    /// When a process did not end with 0.
    pub(crate) fn send(&self, sender: Sender, associations: u8, files: &Files, port: u16) -> Result<Sent> {
        let cpu_before = ended_children_cpu_seconds()?;
        let started = Instant::now();
        let seconds = match sender {
            Sender::Storescu => {
                self.storescu(associations, files, port)?;
                started.elapsed().as_secs_f64()
            }
            Sender::Own => self.own(associations, files, port)?,
        };
        Ok(Sent { seconds, cpu_seconds: ended_children_cpu_seconds()? - cpu_before })
    }

    fn storescu(&self, associations: u8, files: &Files, port: u16) -> Result<()> {
        let output = File::create(&self.output)?;
        let share = files.names.len().div_ceil(usize::from(associations));
        let mut running = Vec::new();
        for names in files.names.chunks(share) {
            let mut storescu = Command::new("storescu");
            storescu.current_dir(&files.folder).env("TCP_NODELAY", "1").stdin(Stdio::null());
            storescu.stdout(output.try_clone()?).stderr(output.try_clone()?);
            storescu.arg("-xf").arg(&self.profile).args(["Bench", "-pdu", "131072", "-aec", CALLED_AE]);
            storescu.args(["127.0.0.1", &port.to_string()]).args(names);
            running.push(storescu.spawn().context("start storescu"));
        }
        // Every process is waited for, whatever became of the others.
        let ended: Vec<Result<()>> = running.into_iter().map(|child| self.ended_well(child?)).collect();
        ended.into_iter().collect()
    }

    fn ended_well(&self, mut child: Child) -> Result<()> {
        let status = child.wait()?;
        if !status.success() {
            let said = fs::read_to_string(&self.output).unwrap_or_default();
            bail!("storescu ended with {status}: {}", said.lines().last().unwrap_or("nothing said"));
        }
        Ok(())
    }

    /// The seconds are those of sending: our sender looks into every file before it opens an association.
    fn own(&self, associations: u8, files: &Files, port: u16) -> Result<f64> {
        let mut send = Command::new(&self.gateway);
        send.args(["send", &format!("127.0.0.1:{port}")]).arg(&files.folder);
        send.args(["--aec", CALLED_AE, "--associations", &associations.to_string(), "--json"]);
        let output = send.stdin(Stdio::null()).output().context("start filmgate send")?;
        ensure!(output.status.success(), "filmgate send ended with {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let summary: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
        let seconds = summary["sending_seconds"].as_f64();
        seconds.context("the seconds of sending in the summary of filmgate send")
    }
}
