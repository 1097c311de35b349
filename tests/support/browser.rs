//! A browser that opens pages of the gateway, driven by `tests/browser/visit.mjs`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::root;
use super::servers::told;
use super::web::Web;

/// What is drawn, and not of one colour.
pub(crate) const PIXELS: &str = "pixels";

/// A page to open.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Visit {
    pub(crate) name: String,
    url: String,
    width: u32,
    height: u32,
    waits: String,
    acts: Vec<Value>,
    language: Option<&'static str>,
}

impl Visit {
    /// Opens a page and waits for an element by its selector, or for [`PIXELS`].
    pub(crate) fn to(name: impl Into<String>, url: impl Into<String>, waits: &str) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            width: 1280,
            height: 900,
            waits: waits.to_owned(),
            acts: Vec::new(),
            language: None,
        }
    }

    /// In a window of this size.
    pub(crate) fn sized(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// Then does this; see `perform` in the script.
    pub(crate) fn then(mut self, act: Value) -> Self {
        self.acts.push(act);
        self
    }

    /// By somebody who chose this language.
    pub(crate) fn in_language(mut self, language: &'static str) -> Self {
        self.language = Some(language);
        self
    }
}

/// What was seen.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) seen_ms: Option<u64>,
    pub(crate) acted: Value,
    /// The page's text.
    pub(crate) text: String,
    /// How much wider than its window the page is.
    pub(crate) overflow: i64,
    /// Where it led to: path and query.
    pub(crate) address: String,
    pub(crate) error: Option<String>,
    /// Errors on its console.
    pub(crate) console: Vec<String>,
    /// Requests for other hosts.
    pub(crate) foreign: Vec<String>,
    /// Answers that were none.
    pub(crate) failed: Vec<String>,
}

impl Seen {
    /// Panics unless what was waited for was seen, without an error and without asking another host.
    pub(crate) fn well(&self) -> &Self {
        let well = self.error.is_none()
            && self.seen_ms.is_some()
            && self.failed.is_empty()
            && self.console.is_empty()
            && self.foreign.is_empty();
        assert!(well, "{self:#?}");
        self
    }
}

/// Where screenshots go.
pub(crate) fn screenshots() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("screenshots");
    std::fs::create_dir_all(&folder).expect("make the folder of screenshots");
    folder
}

/// The prepared viewer; `None` where nobody prepared one.
pub(crate) fn viewer() -> Option<String> {
    told("FILMGATE_TEST_VIEWER")
}

/// Opens each page, one after the other in one browser; `None` where there is no browser.
pub(crate) fn visit(web: &Web, visits: &[Visit]) -> Option<Vec<Seen>> {
    let packages = told("FILMGATE_TEST_BROWSER")?;
    let asked = json!({ "base": web.url(""), "screenshots": screenshots(), "visits": visits });
    let mut node = Command::new("node")
        .arg(root().join("tests/browser/visit.mjs"))
        .env("FILMGATE_TEST_BROWSER", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start node");
    node.stdin.take().expect("piped").write_all(asked.to_string().as_bytes()).expect("say what to open");
    let ended = node.wait_with_output().expect("wait for node");
    let lines = String::from_utf8(ended.stdout).expect("UTF-8");
    let seen: Vec<Seen> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(seen.len(), visits.len(), "the browser ended with {}", ended.status);
    for each in &seen {
        println!("{:<24} seen after {:?} ms at {}", each.name, each.seen_ms, each.address);
    }
    Some(seen)
}
