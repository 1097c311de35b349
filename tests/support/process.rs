//! Programs that run to their end, within a deadline.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it said on stdout.
    pub(crate) out: String,
    /// What it said on stderr.
    pub(crate) err: String,
}

impl Finished {
    /// Its stdout as one JSON value a line.
    pub(crate) fn lines<T: DeserializeOwned>(&self) -> Vec<T> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}\n{}", self.err))
        };
        self.out.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
    }

    /// Its stdout as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in {:?}\n{}", self.out, self.err))
    }

    /// Itself, if it ended with this code.
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }
}

/// Runs a program to its end; kills it and panics after the deadline.
pub(crate) fn finish(command: &mut Command, deadline: Duration) -> Finished {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    finish_child(child, deadline, &format!("{command:?}"))
}

/// Waits for a child whose stdout and stderr are piped.
pub(crate) fn finish_child(mut child: Child, deadline: Duration, what: &str) -> Finished {
    let out = child.stdout.take().map(collect);
    let err = child.stderr.take().map(collect);
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("ask for the child's status") {
            break status;
        }
        if started.elapsed() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{what} did not end within {deadline:?}: {}", joined(err));
        }
        thread::sleep(Duration::from_millis(5));
    };
    Finished { code: status.code(), out: joined(out), err: joined(err) }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn joined(pipe: Option<JoinHandle<String>>) -> String {
    pipe.and_then(|pipe| pipe.join().ok()).unwrap_or_default()
}

/// Resident memory of a process in bytes, as /proc tells; 0 when it is gone.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    kib * 1024
}
