//! Other people's programs: DCMTK, pynetdicom, dicomweb-client.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::certificates::Issued;
use super::gateway::AE_TITLE;
use super::process::{Finished, finish};
use super::root;

const DEADLINE: Duration = Duration::from_secs(300);

/// Splits HOST:PORT.
pub(crate) fn host_and_port(address: &str) -> (&str, &str) {
    address.rsplit_once(':').expect("an address has a port")
}

/// `storescu` of one file, with the option that proposes the file's transfer syntax.
pub(crate) fn storescu(address: &str, transfer_syntax_uid: &str, file: &Path) -> Finished {
    let (host, port) = host_and_port(address);
    let mut storescu = dcmtk("storescu");
    storescu.args(["-R", storescu_option(transfer_syntax_uid), "-aec", AE_TITLE, host, port]).arg(file);
    finish(&mut storescu, DEADLINE)
}

/// `dcmconv` from one file to another, with the option that says which transfer syntax it shall be in.
pub(crate) fn dcmconv(option: &str, from: &Path, to: &Path) -> Finished {
    finish(dcmtk("dcmconv").arg(option).arg(from).arg(to), DEADLINE)
}

/// `echoscu` under this calling AE title, asking for this called one.
pub(crate) fn echoscu(address: &str, calling: &str, called: &str) -> Finished {
    let (host, port) = host_and_port(address);
    finish(dcmtk("echoscu").args(["-aet", calling, "-aec", called, host, port]), DEADLINE)
}

/// DCMTK over TLS: our own certificate, and the authority the gateway's must be of.
pub(crate) struct DcmtkTls<'a> {
    pub(crate) ca: &'a Path,
    pub(crate) ours: Option<&'a Issued>,
}

impl DcmtkTls<'_> {
    fn command(&self, program: &str, address: &str) -> Command {
        let (host, port) = host_and_port(address);
        let mut command = dcmtk(program);
        match self.ours {
            Some(ours) => command.arg("+tls").arg(&ours.key).arg(&ours.certificate),
            None => command.arg("+tla"),
        };
        command.arg("+cf").arg(self.ca).args(["-aec", AE_TITLE, host, port]);
        command
    }

    pub(crate) fn echoscu(&self, address: &str) -> Finished {
        finish(&mut self.command("echoscu", address), DEADLINE)
    }

    pub(crate) fn storescu(&self, address: &str, file: &Path) -> Finished {
        finish(self.command("storescu", address).arg(file), DEADLINE)
    }
}

/// pynetdicom over TLS: C-ECHO, then these files.
pub(crate) fn pynetdicom_tls(address: &str, ca: &Path, ours: &Issued, files: &[&Path]) -> Finished {
    let (_, port) = host_and_port(address);
    let mut command = python("send_tls.py", &["127.0.0.1", port, AE_TITLE]);
    command.arg(ca).arg(&ours.certificate).arg(&ours.key).args(files);
    finish(&mut command, DEADLINE)
}

/// `openssl s_client` with these options: a handshake, and no more.
pub(crate) fn openssl_client(address: &str, ours: Option<&Issued>, options: &[&str]) -> Finished {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address, "-no_ign_eof"]).args(options);
    if let Some(ours) = ours {
        command.arg("-cert").arg(&ours.certificate).arg("-key").arg(&ours.key);
    }
    finish(&mut command, DEADLINE)
}

/// DCMTK with Nagle's algorithm off, as it is run where speed matters.
fn dcmtk(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("TCP_NODELAY", "1");
    command
}

/// `-xe` proposes what is uncompressed; a syntax storescu has no option for is left to fail by itself.
fn storescu_option(transfer_syntax_uid: &str) -> &'static str {
    match transfer_syntax_uid.strip_prefix("1.2.840.10008.1.2").unwrap_or_default() {
        "" => "-xi",
        ".1.99" => "-xd",
        ".2" => "-xb",
        ".5" => "-xr",
        ".4.50" => "-xy",
        ".4.51" => "-xx",
        ".4.57" | ".4.70" => "-xs",
        ".4.80" => "-xt",
        ".4.81" => "-xu",
        ".4.90" => "-xv",
        ".4.91" => "-xw",
        ".4.100" => "-xm",
        ".4.102" => "-xn",
        ".4.107" => "-x4",
        _ => "-xe",
    }
}

/// A script of `tests/peers`, in the environment that `cargo xtask test` makes.
pub(crate) fn python(script: &str, arguments: &[&str]) -> Command {
    let bin = Path::new(env!("CARGO_BIN_EXE_filmgate"));
    let python: PathBuf = bin.ancestors().nth(2).expect("a target folder").join("test-env/bin/python");
    assert!(python.exists(), "no {}: `cargo xtask test` makes it", python.display());
    let mut command = Command::new(python);
    command.arg(root().join("tests/peers").join(script)).args(arguments);
    command
}

/// How a Python peer fared with one file.
#[derive(Debug, Deserialize)]
pub(crate) struct PeerSent {
    pub(crate) path: PathBuf,
    /// Why it did not send the file at all.
    pub(crate) error: Option<String>,
}

/// pynetdicom sends these files in chunks, as they are.
pub(crate) fn send_chunked(address: &str, files: &[&Path], scratch: &Path) -> Vec<PeerSent> {
    let list = scratch.join("files-to-send.txt");
    let lines: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    std::fs::write(&list, lines.join("\n")).expect("write the list of files");
    let (host, port) = host_and_port(address);
    let mut sender = python("send_chunked.py", &[host, port, AE_TITLE, &list.display().to_string()]);
    finish(&mut sender, DEADLINE).ended(0).lines()
}

/// A pynetdicom storage SCP that keeps what it receives.
pub(crate) struct Recorder {
    child: Child,
    folder: TempDir,
    /// Where it listens, as HOST:PORT.
    pub(crate) address: String,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().expect("make a folder");
        let mut command = python("recorder.py", &[&folder.path().display().to_string()]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start the recorder");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the recorder's first line");
        let said: Value = serde_json::from_str(&line).expect("the recorder says where it listens");
        let address = format!("127.0.0.1:{}", said["port"]);
        Self { child, folder, address }
    }

    /// The dataset received under this SOP Instance UID, as it crossed the wire.
    pub(crate) fn received(&self, sop_instance_uid: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join(sop_instance_uid)).ok()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
