//! PostgreSQL: a cluster of its own, whose only user needs no password and whose only door is loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon::Daemon;
use super::{free_port, is_root, quietly, text};

const START_DEADLINE: Duration = Duration::from_secs(60);
/// The user Debian's package makes; initdb and postgres refuse root.
const USER: &str = "postgres";

pub(super) struct Postgres {
    port: u16,
    programs: PathBuf,
    _daemon: Daemon,
}

impl Postgres {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let programs = programs()?;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let setpriv: &[&str] =
            if is_root() { &["--reuid", USER, "--regid", USER, "--clear-groups"] } else { &[] };
        if is_root() {
            quietly(Command::new("chown").arg(USER).arg(folder))?;
        }
        let (data, port) = (text(&folder.join("data")), free_port()?);
        let initdb = text(&programs.join("initdb"));
        let options = ["-U", "filmgate", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"];
        quietly(
            Command::new("setpriv")
                .args(setpriv)
                .args(["--", &initdb, "-D", &data])
                .args(options)
                .current_dir("/"),
        )?;
        let (server, port_text, sockets) = (
            text(&programs.join("postgres")),
            port.to_string(),
            format!("unix_socket_directories={}", text(folder)),
        );
        let command = [
            &server,
            "-D",
            &data,
            "-p",
            &port_text,
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            &sockets,
            "-c",
            "max_connections=400",
        ];
        let log = folder.with_extension("log");
        let mut daemon = Daemon::start("PostgreSQL", &log, setpriv, &command)?;
        let ready = text(&programs.join("pg_isready"));
        daemon.wait_until(START_DEADLINE, || {
            let asked = Command::new(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port_text]).status();
            asked.is_ok_and(|status| status.success())
        })?;
        Ok(Self { port, programs, _daemon: daemon })
    }

    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let url = format!("postgres://filmgate@127.0.0.1:{}/postgres", self.port);
        // Tests that kill a server make one of their own.
        vec![("FILMGATE_TEST_POSTGRES_URL", url), ("FILMGATE_TEST_POSTGRES_BIN", text(&self.programs))]
    }
}

/// The newest of Debian's versions; its package puts them outside the search path.
pub(crate) fn programs() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.map_or_else(|| bail!("no PostgreSQL below /usr/lib/postgresql"), Ok)
}
