//! A browser that is told a visit in a line and answers with what it saw in one.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;

use crate::process::{Owned, Tree};

const SCRIPT: &str = include_str!("browser.mjs");

/// A headless Chromium, by Playwright.
pub(super) struct Browser {
    tree: Tree,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Owned,
}

/// What was seen.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Seen {
    pub(super) first_pixels_ms: f64,
    pub(super) all_frames_ms: f64,
    pub(super) requests: u64,
    pub(super) frame_bytes: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Seen(Seen),
    Failed { error: String },
}

impl Browser {
    /// `packages` is where Playwright is installed.
    pub(super) fn start(packages: &Path) -> Result<Self> {
        let mut node = Command::new("node");
        node.args(["--input-type=module", "--eval", SCRIPT]).env("FILMGATE_TEST_BROWSER", packages);
        let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start node")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let process = Owned::new(child);
        let (input, mut output) =
            (input.context("its input")?, BufReader::new(output.context("its output")?));
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("the browser does not start");
        }
        Ok(Self { tree: Tree::new(process.pid()), input, output, _process: process })
    }

    /// Opens a page that is to show so many frames.
    ///
    /// # Errors
    /// When it did not show them all.
    pub(super) fn visit(&mut self, url: &str, frames: usize) -> Result<Seen> {
        writeln!(self.input, "{}", json!({ "url": url, "frames": frames }))?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        match serde_json::from_str(&line).context("what the browser says")? {
            Answer::Seen(seen) => Ok(seen),
            Answer::Failed { error } => bail!("{error}"),
        }
    }

    /// User and system time it took so far.
    pub(super) fn cpu_seconds(&mut self) -> Result<f64> {
        self.tree.cpu_seconds()
    }
}
