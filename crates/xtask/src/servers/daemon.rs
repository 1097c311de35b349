//! A server as a child process: its log in a file, stopped by pid, gone when we are.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const STOP_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

pub(super) struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a command that stays in the foreground. `setpriv` asks the kernel to end it when this process ends, however
    /// that happens.
    pub(super) fn start(name: &'static str, log: &Path, setpriv: &[&str], command: &[&str]) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("make {}", log.display()))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(setpriv)
            .arg("--")
            .args(command)
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share the log")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Asks until there is an answer; fails when the daemon ends first or the deadline passes.
    pub(super) fn wait_until(&mut self, deadline: Duration, mut answers: impl FnMut() -> bool) -> Result<()> {
        let started = Instant::now();
        while !answers() {
            let ended = self.child.try_wait().context("ask for the daemon's status")?;
            if ended.is_some() || started.elapsed() > deadline {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(15).collect();
                bail!(
                    "{} does not answer: {}",
                    self.name,
                    last.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already, its number may be another's by now.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let started = Instant::now();
        while started.elapsed() < STOP_DEADLINE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
