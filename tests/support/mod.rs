//! What the stories share: a gateway to talk to, peers that talk to it, and bytes to send.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod cloud;
pub(crate) mod dicom;
pub(crate) mod gateway;
pub(crate) mod generated;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod servers;
pub(crate) mod store;
pub(crate) mod tap;
pub(crate) mod test_data;
pub(crate) mod tls_front;
pub(crate) mod web;
pub(crate) mod wire;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Asks again and again until there is an answer; panics, saying what it waited for, after the deadline.
pub(crate) fn wait_for<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let gateway = Path::new(env!("CARGO_MANIFEST_DIR"));
    gateway.ancestors().nth(2).expect("the workspace holds crates/gateway").to_owned()
}

/// The files of `fixtures/dicom`, sorted.
pub(crate) fn fixtures() -> Vec<PathBuf> {
    let mut files = files_below(&root().join("fixtures/dicom"));
    files.sort();
    assert!(!files.is_empty(), "fixtures/dicom is empty");
    files
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Pseudo-random numbers that repeat with their seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.roll().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
