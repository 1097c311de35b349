//! What became of each file: progress for people, lines for programs.

use std::{fs::File, io::Read, path::PathBuf, time::Duration};

use filmgate_dimse::Status;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use super::outgoing::Outgoing;
use crate::failure;

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Stored,
    Warning,
    Refused,
    Failed,
    Unreadable,
}

#[derive(Debug, Serialize)]
pub(super) struct FileResult {
    path: PathBuf,
    sop_instance_uid: String,
    status: Option<String>,
    outcome: Outcome,
    error: Option<String>,
    #[serde(skip)]
    bytes: u64,
}

impl FileResult {
    fn of(file: &Outgoing, outcome: Outcome, status: Option<Status>, error: Option<String>) -> Self {
        Self {
            path: file.path.clone(),
            sop_instance_uid: file.sop_instance_uid.clone(),
            status: status.map(|status| format!("0x{:04X}", status.0)),
            outcome,
            error,
            bytes: if outcome == Outcome::Stored { file.dataset_bytes } else { 0 },
        }
    }

    pub(super) fn failed(file: &Outgoing, error: String) -> Self {
        Self::of(file, Outcome::Failed, None, Some(error))
    }

    pub(super) fn refused(file: &Outgoing, status: Option<Status>, error: String) -> Self {
        Self::of(file, Outcome::Refused, status, Some(error))
    }

    pub(super) fn unreadable(path: PathBuf, error: &anyhow::Error) -> Self {
        let error = Some(format!("{error:#}"));
        Self {
            path,
            sop_instance_uid: String::new(),
            status: None,
            outcome: Outcome::Unreadable,
            error,
            bytes: 0,
        }
    }

    pub(super) fn answered(file: &Outgoing, status: Status) -> Self {
        if status == Status::SUCCESS {
            return Self::of(file, Outcome::Stored, Some(status), None);
        }
        if status.is_stored() {
            return Self::of(file, Outcome::Warning, Some(status), Some(status.to_string()));
        }
        Self::refused(file, Some(status), status.to_string())
    }
}

/// Progress for people, lines for programs.
pub(super) struct Report {
    json: bool,
    bar: ProgressBar,
    totals: Mutex<Totals>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    files: u64,
    stored: u64,
    pub(super) failed: u64,
    skipped: u64,
    bytes: u64,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let style =
            ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { json, bar, totals: Mutex::default() }
    }

    /// How many bytes there are to send.
    pub(super) fn expect(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    /// A dataset whose reading shows as progress.
    pub(super) fn watched(&self, dataset: File) -> impl Read + use<> {
        self.bar.wrap_read(dataset)
    }

    pub(super) fn skip(&self) {
        self.totals.lock().skipped += 1;
    }

    pub(super) fn tell(&self, result: FileResult) {
        {
            let mut totals = self.totals.lock();
            totals.files += 1;
            totals.bytes += result.bytes;
            match result.outcome {
                Outcome::Stored | Outcome::Warning => totals.stored += 1,
                _ => totals.failed += 1,
            }
        }
        if self.json {
            failure::print_json(&json!(result));
        } else if let Some(error) = &result.error {
            let line = format!("{}: {error}", result.path.display());
            self.bar.suspend(|| failure::eprint(&line));
        }
    }

    /// `took` from the start, `sending` of that after every file was looked into.
    pub(super) fn finish(&self, took: Duration, sending: Duration) -> Totals {
        self.bar.finish_and_clear();
        let totals = *self.totals.lock();
        let Totals { files, stored, failed, skipped, bytes } = totals;
        let seconds = took.as_secs_f64();
        if self.json {
            let summary = json!({
                "event": "summary",
                "files": files,
                "stored": stored,
                "failed": failed,
                "skipped": skipped,
                "bytes": bytes,
                "seconds": seconds,
                "sending_seconds": sending.as_secs_f64(),
            });
            failure::print_json(&summary);
        } else {
            let rate = bytes as f64 / 1e6 / seconds.max(1e-3);
            if skipped > 0 {
                failure::print(&format!("{skipped} files are no DICOM instances and were left out"));
            }
            failure::print(&format!(
                "{stored} of {files} files stored, {failed} failed: {:.1} MB in {seconds:.1} s, {rate:.0} MB/s",
                bytes as f64 / 1e6
            ));
        }
        totals
    }
}
