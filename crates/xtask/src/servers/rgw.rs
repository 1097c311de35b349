//! Ceph RGW, the S3 server of many a hospital, as small as it gets: one monitor, one OSD on a sparse file, one gateway.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::daemon::Daemon;
use super::{free_port, quietly, text};

const START_DEADLINE: Duration = Duration::from_secs(90);
const ACCESS_KEY: &str = "filmgatetest";
const SECRET_KEY: &str = "filmgatetestsecret";

/// Dropped in this order: the gateway before what it stands on.
pub(super) struct Rgw {
    port: u16,
    _gateway: Daemon,
    _osd: Daemon,
    _monitor: Daemon,
}

impl Rgw {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        for part in ["mon", "osd", "rgw", "run"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        }
        let ceph = Ceph { folder: text(folder), configuration: text(&folder.join("ceph.conf")) };
        let (port, monitor_address) =
            (free_port()?, format!("[v2:127.0.0.1:{},v1:127.0.0.1:{}]", free_port()?, free_port()?));
        let cluster = uuid()?;
        fs::write(&ceph.configuration, configuration(&ceph.folder, &cluster, &monitor_address, port))
            .context("write ceph.conf")?;
        let monitor = ceph.monitor(&cluster, &monitor_address)?;
        let osd = ceph.osd()?;
        ceph.user()?;
        let mut gateway = ceph.daemon("radosgw", &["-n", "client.admin"])?;
        gateway.wait_until(START_DEADLINE, || answers(port))?;
        Ok(Self { port, _gateway: gateway, _osd: osd, _monitor: monitor })
    }

    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("FILMGATE_TEST_S3_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("FILMGATE_TEST_S3_REGION", "us-east-1".to_owned()),
            ("FILMGATE_TEST_S3_ACCESS_KEY", ACCESS_KEY.to_owned()),
            ("FILMGATE_TEST_S3_SECRET_KEY", SECRET_KEY.to_owned()),
        ]
    }
}

/// The cluster under the gateway.
struct Ceph {
    folder: String,
    configuration: String,
}

impl Ceph {
    fn monitor(&self, cluster: &str, address: &str) -> Result<Daemon> {
        let (keyring, map) = (format!("{}/keyring", self.folder), format!("{}/monmap", self.folder));
        let key = |arguments: &[&str]| quietly(Command::new("ceph-authtool").arg(&keyring).args(arguments));
        key(&["--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"])?;
        let all = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
        key(&[&["--gen-key", "-n", "client.admin"], &all[..]].concat())?;
        quietly(
            Command::new("monmaptool").args(["--create", "--fsid", cluster, "--addv", "a", address, &map]),
        )?;
        let make = ["--mkfs", "-i", "a", "--keyring", &keyring, "--monmap", &map];
        quietly(Command::new("ceph-mon").args(make).args(["-c", &self.configuration]))?;
        let mut monitor = self.daemon("ceph-mon", &["-i", "a"])?;
        monitor.wait_until(START_DEADLINE, || self.ask(&["mon", "stat"]).is_ok())?;
        Ok(monitor)
    }

    fn osd(&self) -> Result<Daemon> {
        let secret = quietly(Command::new("ceph-authtool").arg("--gen-print-key"))?.trim().to_owned();
        let (secrets, id) = (format!("{}/secrets.json", self.folder), uuid()?);
        fs::write(&secrets, format!("{{\"cephx_secret\":\"{secret}\"}}"))
            .context("write the OSD's secret")?;
        self.ask(&["osd", "new", &id, "-i", &secrets])?;
        let keyring = format!("{}/keyring", self.folder);
        quietly(Command::new("ceph-authtool").args([&keyring, "--name", "osd.0", "--add-key", &secret]))?;
        let make = ["-i", "0", "--mkfs", "--osd-uuid", &id, "-c", &self.configuration];
        quietly(Command::new("ceph-osd").args(make))?;
        self.ask(&["osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost"])?;
        let mut osd = self.daemon("ceph-osd", &["-i", "0"])?;
        osd.wait_until(START_DEADLINE, || {
            self.ask(&["osd", "stat"]).is_ok_and(|said| said.contains("1 up"))
        })?;
        Ok(osd)
    }

    /// Before the gateway: this makes the pools, and a gateway's first start would race it.
    fn user(&self) -> Result<()> {
        let user = ["user", "create", "--uid=test", "--display-name=test"];
        let keys = [format!("--access-key={ACCESS_KEY}"), format!("--secret-key={SECRET_KEY}")];
        quietly(Command::new("radosgw-admin").args(["-c", &self.configuration]).args(user).args(keys))
            .map(drop)
    }

    fn ask(&self, question: &[&str]) -> Result<String> {
        let ceph = ["-c", &self.configuration, "--connect-timeout", "10"];
        quietly(Command::new("ceph").args(ceph).args(question))
    }

    fn daemon(&self, program: &'static str, arguments: &[&str]) -> Result<Daemon> {
        let log = format!("{}/{program}.out", self.folder);
        let command = [&[program, "-f", "-c", &self.configuration], arguments].concat();
        Daemon::start(program, Path::new(&log), &[], &command)
    }
}

/// One copy of everything, on one disk of 20 GB that takes what is written to it. Without `tcp_nodelay` every answer over a
/// connection that was used before waits some 40 ms for a delayed acknowledgement, and nothing else could be measured. With a name
/// of its own it takes buckets in the host's name too.
fn configuration(folder: &str, cluster: &str, monitor: &str, port: u16) -> String {
    format!(
        "[global]
fsid = {cluster}
mon host = {monitor}
public network = 127.0.0.0/8
ms bind ipv6 = false
keyring = {folder}/keyring
auth allow insecure global id reclaim = false
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 1
mon max pg per osd = 1000
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd memory target = 939524096
osd objectstore = bluestore
bluestore block size = 21474836480
bluestore block wal size = 100663296
[client]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw data = {folder}/rgw
rgw dns name = localhost
"
    )
}

/// True when the gateway answers a request at all: listing without a signature is allowed, and empty.
fn answers(port: u16) -> bool {
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b"200"))
    });
    asked.unwrap_or(false)
}

fn uuid() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("ask for a random id")?;
    Ok(uuid.trim().to_owned())
}
