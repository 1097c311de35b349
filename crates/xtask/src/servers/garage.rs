//! Garage, a store of several nodes: three of them on loopback, each with a copy of everything. It differs from Ceph where
//! much is at stake: it puts whatever comes over what is there, and knows neither versions nor locks.
//!
//! It is built, not installed (`cargo install garage`, a quarter of an hour on two idle cores), so only `soak` asks for it, and
//! leaves it out where it is not there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, ensure};

use super::daemon::Daemon;
use super::{Folder, free_port, hex, quietly, text};

const START_DEADLINE: Duration = Duration::from_secs(60);
const NODES: usize = 3;
/// A key's id is GK and 24 digits, its secret 64; made up here, good for nothing elsewhere.
const ACCESS_KEY: &str = "GKf11a6a7e0000000000000001";
const SECRET_KEY: &str = "f11a6a7ef11a6a7ef11a6a7ef11a6a7ef11a6a7ef11a6a7ef11a6a7ef11a6a7e";
/// When work has begun, how long a node is dead, and how long it has to find the others again: they look every 30 s.
const ALIVE_FIRST: Duration = Duration::from_secs(8);
const DEAD: Duration = Duration::from_secs(15);
const FINDS_OTHERS_WITHIN: Duration = Duration::from_secs(45);

/// Why it is left out.
pub(crate) const ABSENT: &str = "not installed, cargo install garage";

/// The program: where `GARAGE_BIN` says, in the search path, or where cargo puts it.
pub(crate) fn program() -> Option<PathBuf> {
    if let Some(told) = env::var_os("GARAGE_BIN") {
        return Some(PathBuf::from(told)).filter(|path| path.is_file());
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain(home.map(|home| home.join("bin")));
    folders.find_map(|folder| Some(folder.join("garage")).filter(|path| path.is_file()))
}

/// Three nodes that run.
pub(crate) struct Garage {
    program: PathBuf,
    nodes: Vec<Node>,
    _folder: Folder,
}

struct Node {
    folder: PathBuf,
    s3_port: u16,
    rpc_port: u16,
    daemon: Option<Daemon>,
}

impl Garage {
    /// Starts them and waits until they answer as one.
    ///
    /// # Errors
    /// When they do not; what one said is part of the error.
    pub(crate) fn start(program: PathBuf) -> Result<Self> {
        let folder = Folder::named("garage")?;
        let nodes = (1..=NODES).map(|number| Node::new(&folder.path().join(format!("node{number}"))));
        let mut garage = Self { program, nodes: nodes.collect::<Result<_>>()?, _folder: folder };
        let secret = hex(32)?;
        garage.configure(&secret, &[])?;
        (0..NODES).try_for_each(|node| garage.start_node(node))?;
        let ids =
            (0..NODES).map(|node| garage.ask(node, &["node", "id", "-q"])).collect::<Result<Vec<_>>>()?;
        let ids: Vec<&str> = ids.iter().map(|id| id.trim()).collect();
        // Without this, nodes that start again do not find each other.
        garage.configure(&secret, &ids)?;
        garage.make_one(&ids)?;
        Ok(garage)
    }

    /// What tests read of the environment; with what the server lacks beside another.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("FILMGATE_TEST_S3_ENDPOINT", format!("http://127.0.0.1:{}", self.nodes[0].s3_port)),
            ("FILMGATE_TEST_S3_REGION", "garage".to_owned()),
            ("FILMGATE_TEST_S3_ACCESS_KEY", ACCESS_KEY.to_owned()),
            ("FILMGATE_TEST_S3_SECRET_KEY", SECRET_KEY.to_owned()),
            ("FILMGATE_TEST_S3_LACKS", "versions conditions".to_owned()),
        ]
    }

    /// Does some work while nodes die and come back, one at a time; never the one that is talked to. Nothing else is asked of
    /// them afterwards.
    ///
    /// # Errors
    /// When the work fails, or a node does not come back.
    pub(crate) fn while_nodes_die(&mut self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let (done, is_done) = mpsc::channel();
        thread::scope(|scope| {
            let deaths = scope.spawn(move || self.die_in_turn(&is_done));
            let worked = work();
            drop(done);
            let deaths = deaths.join().map_err(|_| anyhow::anyhow!("the nodes' deaths failed"))??;
            println!("a node was killed {deaths} times");
            ensure!(deaths > 0 || worked.is_err(), "the work was over before a node was killed");
            worked
        })
    }

    /// How often one was killed until the work was done. What this thread has started ends with it, as `setpriv` was told.
    fn die_in_turn(&mut self, is_done: &Receiver<()>) -> Result<usize> {
        let over = |time| !matches!(is_done.recv_timeout(time), Err(RecvTimeoutError::Timeout));
        let mut deaths = 0;
        if over(ALIVE_FIRST) {
            return Ok(deaths);
        }
        for node in (1..NODES).rev().cycle() {
            if let Some(daemon) = self.nodes[node].daemon.take() {
                daemon.kill();
            }
            deaths += 1;
            let is_over = over(DEAD);
            self.start_node(node)?;
            if is_over || over(FINDS_OTHERS_WITHIN) {
                break;
            }
        }
        Ok(deaths)
    }

    fn configure(&self, secret: &str, peers: &[&str]) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.configure(secret, peers))
    }

    fn start_node(&mut self, node: usize) -> Result<()> {
        let (program, config) = (text(&self.program), text(&self.nodes[node].config()));
        let log = self.nodes[node].folder.join("log");
        let mut daemon = Daemon::start("garage", &log, &[], &[&program, "-c", &config, "server"])?;
        daemon.wait_until(START_DEADLINE, || self.ask(node, &["status"]).is_ok())?;
        self.nodes[node].daemon = Some(daemon);
        Ok(())
    }

    /// One layout for all, and a key that may make buckets.
    fn make_one(&self, ids: &[&str]) -> Result<()> {
        for &id in &ids[1..] {
            self.ask(0, &["node", "connect", id])?;
        }
        let began = Instant::now();
        while self.ask(0, &["status"])?.matches("127.0.0.1:").count() < NODES {
            ensure!(began.elapsed() < START_DEADLINE, "the nodes do not find each other");
            thread::sleep(Duration::from_millis(100));
        }
        for (number, id) in (1..).zip(ids) {
            let id = id.split('@').next().unwrap_or_default();
            self.ask(0, &["layout", "assign", "-z", &format!("z{number}"), "-c", "20G", id])?;
        }
        self.ask(0, &["layout", "apply", "--version", "1"])?;
        self.ask(0, &["key", "import", "--yes", "-n", "test", ACCESS_KEY, SECRET_KEY])?;
        self.ask(0, &["key", "allow", "--create-bucket", ACCESS_KEY])?;
        Ok(())
    }

    fn ask(&self, node: usize, question: &[&str]) -> Result<String> {
        quietly(Command::new(&self.program).arg("-c").arg(self.nodes[node].config()).args(question))
    }
}

impl Node {
    fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), s3_port: free_port()?, rpc_port: free_port()?, daemon: None })
    }

    fn config(&self) -> PathBuf {
        self.folder.join("garage.toml")
    }

    fn configure(&self, secret: &str, peers: &[&str]) -> Result<()> {
        let (folder, rpc, s3) = (text(&self.folder), self.rpc_port, self.s3_port);
        let peers: Vec<String> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        let peers = peers.join(", ");
        let config = format!(
            "metadata_dir = \"{folder}/meta\"
data_dir = \"{folder}/data\"
db_engine = \"sqlite\"
replication_factor = 3
metadata_fsync = true
data_fsync = true
rpc_bind_addr = \"127.0.0.1:{rpc}\"
rpc_public_addr = \"127.0.0.1:{rpc}\"
rpc_secret = \"{secret}\"
bootstrap_peers = [{peers}]
[s3_api]
s3_region = \"garage\"
api_bind_addr = \"127.0.0.1:{s3}\"
"
        );
        fs::write(self.config(), config).context("write garage.toml")
    }
}
