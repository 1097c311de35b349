//! What the numbers were measured on, and with what: nothing that names the machine or its folders.

use std::{fs, path::Path, process::Command, thread};

use anyhow::Result;
use filmgate_model::Clock;
use serde::{Deserialize, Serialize};

/// The machine and the programs on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Date and time of day, UTC.
    pub(crate) measured_at: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// Type of the file system everything is written to.
    pub(crate) file_system: String,
    /// Runnable processes, averaged over the minute before.
    pub(crate) load_before: f64,
    pub(crate) versions: Vec<Version>,
}

/// A program and its version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) program: String,
    pub(crate) version: String,
}

impl Machine {
    /// Looks around; `work` is where everything is written, `peers` who else is measured.
    pub(crate) fn look(work: &Path, peers: &[&str]) -> Result<Self> {
        let cpu_info = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kilobytes = field(&memory, "MemTotal:").and_then(|text| text.split(' ').next()?.parse().ok());
        let load = fs::read_to_string("/proc/loadavg")?;
        let filmgate = Version {
            program: "filmgate".to_owned(),
            version: format!("{}{}", env!("CARGO_PKG_VERSION"), commit()),
        };
        let peers =
            peers.iter().map(|program| Version { program: (*program).to_owned(), version: version(program) });
        Ok(Self {
            measured_at: Clock::system().now().to_string(),
            cpu: field(&cpu_info, "model name").unwrap_or("unknown").to_owned(),
            cores: thread::available_parallelism()?.get(),
            memory_bytes: kilobytes.unwrap_or(0u64) * 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system: file_system(work)?,
            load_before: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            versions: std::iter::once(filmgate).chain(peers).collect(),
        })
    }
}

/// The value behind a name in `/proc`'s lists.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim_start_matches([':', '\t', ' ']).trim())
}

/// Type of the file system of a folder: that of the longest mount point it lies under.
fn file_system(folder: &Path) -> Result<String> {
    let folder = fs::canonicalize(folder)?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let under = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    Ok(under.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned())
}

/// The commit that is checked out, and whether there is more than that; empty where there is no git.
fn commit() -> String {
    let commit = first_line(Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]));
    if commit.is_empty() { commit } else { format!(" ({commit})") }
}

/// What a program says of its version, without its own name.
fn version(program: &str) -> String {
    let line = first_line(Command::new(program).arg("--version"));
    let words = line.trim_matches(['$', ' ']).split(' ').filter(|word| !["dcmtk:", program].contains(word));
    words.collect::<Vec<_>>().join(" ")
}

/// The first line of what a program says.
fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return String::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_and_without_colons() {
        assert_eq!(field("a\t: 1\nmodel name\t: X 1 2\n", "model name"), Some("X 1 2"));
        assert_eq!(field("MemTotal:       100 kB\n", "MemTotal:"), Some("100 kB"));
        assert_eq!(field("", "MemTotal:"), None);
    }
}
