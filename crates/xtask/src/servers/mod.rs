//! Real servers for the tests: Ceph RGW (S3) and PostgreSQL, each fresh, on loopback, on ports of the system's choice; for
//! `soak` also Garage (S3), three nodes of it.
//!
//! They live as long as [`Servers`] does and are stopped by pid; if this process is killed, the kernel stops them. Their
//! data lies in a folder that goes with them. OpenBao and SoftHSM2 are started by the tests that use them, since those
//! tests stop and start them again.

mod daemon;
pub(crate) mod garage;
mod postgres;
mod rgw;

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::install;
use crate::run::succeeds;

/// What the folders of servers are called, before the number of the process that started them.
const FOLDER: &str = "filmgate-servers-";

/// `cargo xtask servers`: for running single tests by hand.
#[derive(Args)]
pub(crate) struct Run {}

impl Run {
    /// Starts the servers, prints what the tests read of the environment, and stays until it is interrupted.
    pub(crate) fn run(&self) -> Result<()> {
        install::test_peers()?;
        install::test_servers()?;
        let servers = Servers::start()?;
        for (name, value) in &servers.environment {
            println!("export {name}={value}");
        }
        println!("# the servers run until this ends (Ctrl-C)");
        loop {
            thread::park();
        }
    }
}

/// Running servers.
pub(crate) struct Servers {
    environment: Vec<(&'static str, String)>,
    _rgw: Option<rgw::Rgw>,
    _postgres: Option<postgres::Postgres>,
    _folder: Folder,
}

impl Servers {
    /// Starts all of them and waits until they answer.
    ///
    /// # Errors
    /// When one does not; what it said is part of the error.
    pub(crate) fn start() -> Result<Self> {
        let folder = Folder::new()?;
        println!("starting PostgreSQL");
        let postgres = postgres::Postgres::start(&folder.0.join("postgres")).context("start PostgreSQL")?;
        println!("starting Ceph RGW (about 20 s)");
        let rgw = rgw::Rgw::start(&folder.0.join("rgw")).context("start Ceph RGW")?;
        let mut environment = rgw.environment();
        environment.extend(postgres.environment());
        environment.push(("FILMGATE_TEST_SOFTHSM_MODULE", install::SOFTHSM_MODULE.to_owned()));
        environment.push(("FILMGATE_TEST_BAO", install::bao().display().to_string()));
        Ok(Self { environment, _rgw: Some(rgw), _postgres: Some(postgres), _folder: folder })
    }

    /// Starts the S3 server alone, as for a benchmark: nothing else shall take the machine's time.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn only_s3() -> Result<Self> {
        let folder = Folder::new()?;
        println!("starting Ceph RGW (about 20 s)");
        let rgw = rgw::Rgw::start(&folder.0.join("rgw")).context("start Ceph RGW")?;
        Ok(Self { environment: rgw.environment(), _rgw: Some(rgw), _postgres: None, _folder: folder })
    }

    /// Starts PostgreSQL alone, likewise.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn only_postgres() -> Result<Self> {
        let folder = Folder::new()?;
        println!("starting PostgreSQL");
        let postgres = postgres::Postgres::start(&folder.0.join("postgres")).context("start PostgreSQL")?;
        let environment = postgres.environment();
        Ok(Self { environment, _rgw: None, _postgres: Some(postgres), _folder: folder })
    }

    /// Lets a command know where they are.
    pub(crate) fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)))
    }
}

/// A folder of the temporary directory, which every user may pass: PostgreSQL runs as another than root.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        Self::clear_abandoned();
        Self::named("")
    }

    /// One of this name beside others of this process; its path is short, as that of a socket has to be.
    fn named(name: &str) -> Result<Self> {
        let folder = env::temp_dir().join(format!("{FOLDER}{}{name}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Folders of runs that were killed: the process in the name is gone.
    fn clear_abandoned() {
        for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
            let pid = pid.map(|pid| pid.trim_end_matches(|letter: char| !letter.is_ascii_digit()));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port of loopback that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("ask for a port")?;
    Ok(listener.local_addr()?.port())
}

/// Runs a tool to its end; what it said is told only when it fails.
fn quietly(command: &mut Command) -> Result<String> {
    let ended = command.output().with_context(|| format!("start {command:?}"))?;
    if !ended.status.success() {
        bail!("{command:?} ended with {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// True when this process may do as it likes.
fn is_root() -> bool {
    succeeds(Command::new("sh").args(["-c", "test \"$(id -u)\" = 0"]))
}

/// So many random bytes as digits.
fn hex(bytes: u64) -> Result<String> {
    let mut random = Vec::new();
    let source = fs::File::open("/dev/urandom").context("ask for random bytes")?;
    source.take(bytes).read_to_end(&mut random).context("ask for random bytes")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
