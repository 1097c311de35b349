//! `filmgate send`: a streaming C-STORE SCU.

use std::{
    collections::{BTreeSet, VecDeque},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use filmgate_dimse::{CONTEXTS_MAX, ProposedContext, Requested, RequestorOptions, Status};
use filmgate_model::{AeTitle, Door, Facts, NodeId, Provenance, RecordId, Timestamp, part10, tags, uids};
use filmgate_seal::{RecordKey, RecordSealer, SealOptions};
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;

use crate::failure;

/// Connections that may fail in a row before the rest is given up.
const CONNECT_FAILURES_MAX: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to send: host and port.
    #[arg(value_name = "HOST:PORT")]
    to: String,
    /// Files, or folders with files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The AE title of the receiver.
    #[arg(long, value_name = "AET")]
    aec: AeTitle,
    /// Our AE title.
    #[arg(long, value_name = "AET", default_value = "FILMGATE_SCU")]
    aet: AeTitle,
    /// Associations at a time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    associations: u8,
    /// How long the receiver may take to answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// One line of JSON per file, and one for the whole.
    #[arg(long)]
    json: bool,
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Stored,
    Warning,
    Refused,
    Failed,
    Unreadable,
}

#[derive(Debug, Serialize)]
struct FileResult {
    path: PathBuf,
    sop_instance_uid: String,
    status: Option<String>,
    outcome: Outcome,
    error: Option<String>,
    #[serde(skip)]
    bytes: u64,
}

/// SOP class and transfer syntax.
type Proposal = (String, String);

/// A file that can be sent.
#[derive(Debug, Clone)]
struct Outgoing {
    path: PathBuf,
    dataset_offset: u64,
    dataset_bytes: u64,
    sop_class_uid: String,
    sop_instance_uid: String,
    transfer_syntax_uid: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let began = now();
    let report = Report::new(arguments.json);
    let mut ready = Vec::new();
    for Found { path, named } in list_files(&arguments.paths)? {
        match Outgoing::read(&path) {
            Ok(Some(outgoing)) => ready.push(outgoing),
            Ok(None) if !named => report.skip(),
            Ok(None) => {
                report.tell(FileResult::unreadable(path, &anyhow::anyhow!("this is no DICOM instance")))
            }
            Err(error) => report.tell(FileResult::unreadable(path, &error)),
        }
    }
    report.expect(ready.iter().map(|file| file.dataset_bytes).sum());
    let mut connected = ready.is_empty();
    for batch in batches(ready) {
        connected |= send_batch(arguments, batch, &report)?;
    }
    let totals = report.finish(began.elapsed());
    Ok(match totals {
        _ if !connected => failure::COULD_NOT_RUN,
        Totals { failed: 0, .. } => failure::DONE,
        _ => failure::SOME_FAILED,
    })
}

/// A monotonic moment, for the rate shown at the end.
fn now() -> Instant {
    Instant::now()
}

/// A file to send.
struct Found {
    path: PathBuf,
    /// Named on the command line, not found in a folder: something other than an instance is an error then.
    named: bool,
}

fn list_files(paths: &[PathBuf]) -> anyhow::Result<Vec<Found>> {
    let mut files = Vec::new();
    let mut waiting: Vec<Found> =
        paths.iter().rev().map(|path| Found { path: path.clone(), named: true }).collect();
    while let Some(found) = waiting.pop() {
        let path = &found.path;
        let what = fs::metadata(path).with_context(|| format!("open {}", path.display()))?;
        if !what.is_dir() {
            files.push(found);
            continue;
        }
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut inside: Vec<_> = entries
            .with_context(|| format!("list {}", path.display()))?
            .iter()
            .map(fs::DirEntry::path)
            .collect();
        inside.sort();
        waiting.extend(inside.into_iter().rev().map(|path| Found { path, named: false }));
    }
    Ok(files)
}

/// Runs of files whose presentation contexts fit one association.
fn batches(files: Vec<Outgoing>) -> Vec<Vec<Outgoing>> {
    let mut batches: Vec<(BTreeSet<Proposal>, Vec<Outgoing>)> = Vec::new();
    for file in files {
        let context = file.context();
        let fits = |known: &BTreeSet<_>| known.contains(&context) || known.len() < CONTEXTS_MAX;
        match batches.last_mut() {
            Some((known, batch)) if fits(known) => {
                known.insert(context);
                batch.push(file);
            }
            _ => batches.push((BTreeSet::from([context]), vec![file])),
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
}

/// Sends a batch over as many associations as asked for; false when none could be had.
fn send_batch(arguments: &Arguments, batch: Vec<Outgoing>, report: &Report) -> anyhow::Result<bool> {
    let contexts: BTreeSet<_> = batch.iter().map(Outgoing::context).collect();
    let sender = Sender { arguments, contexts, waiting: Mutex::new(batch.into()), report };
    let mut any = false;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.associations).map(|_| scope.spawn(|| sender.run())).collect();
        for thread in threads {
            any |= thread.join().map_err(|_| anyhow::anyhow!("a sending thread died"))?;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(any)
}

/// Several associations that take files from one queue.
struct Sender<'a> {
    arguments: &'a Arguments,
    contexts: BTreeSet<Proposal>,
    waiting: Mutex<VecDeque<Outgoing>>,
    report: &'a Report,
}

impl Sender<'_> {
    /// Sends until the queue is empty; true when an association could be had.
    fn run(&self) -> bool {
        let (mut association, mut connected, mut failures) = (None, false, 0);
        while let Some(file) = self.next() {
            let open = match association.take().map_or_else(|| self.connect(), Ok) {
                Ok(open) => open,
                Err(error) => {
                    self.report.tell(FileResult::failed(&file, format!("{error:#}")));
                    failures += 1;
                    if failures == CONNECT_FAILURES_MAX {
                        self.give_up(&format!("{error:#}"));
                    }
                    continue;
                }
            };
            (connected, failures) = (true, 0);
            association = self.send(open, &file);
        }
        if let Some(association) = association
            && let Err(error) = association.release()
        {
            failure::eprint(&format!("filmgate: the association was not released: {error}"));
        }
        connected
    }

    fn next(&self) -> Option<Outgoing> {
        self.waiting.lock().pop_front()
    }

    fn give_up(&self, error: &str) {
        while let Some(file) = self.next() {
            self.report.tell(FileResult::failed(&file, error.to_owned()));
        }
    }

    fn connect(&self) -> anyhow::Result<Requested<TcpStream>> {
        let timeout = Duration::from_secs(self.arguments.timeout);
        let mut last = anyhow::anyhow!("{} has no address", self.arguments.to);
        for address in
            self.arguments.to.to_socket_addrs().with_context(|| format!("look up {}", self.arguments.to))?
        {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => return Ok(filmgate_dimse::request(stream, &self.options(timeout))?),
                Err(error) => last = anyhow::Error::new(error).context(format!("connect to {address}")),
            }
        }
        Err(last)
    }

    fn options(&self, timeout: Duration) -> RequestorOptions {
        let contexts = self.contexts.iter().map(|(abstract_syntax, transfer_syntax)| ProposedContext {
            abstract_syntax: abstract_syntax.clone(),
            transfer_syntaxes: vec![transfer_syntax.clone()],
        });
        RequestorOptions {
            negotiation_timeout: timeout,
            response_timeout: timeout,
            write_timeout: timeout,
            ..RequestorOptions::new(
                self.arguments.aet.clone(),
                self.arguments.aec.clone(),
                contexts.collect(),
            )
        }
    }

    /// Sends one file; the association comes back when it can be used again.
    fn send(&self, mut association: Requested<TcpStream>, file: &Outgoing) -> Option<Requested<TcpStream>> {
        let Some(context) = association.accepted_context(&file.sop_class_uid, &file.transfer_syntax_uid)
        else {
            let why = format!(
                "the receiver does not take SOP class {} in transfer syntax {}",
                file.sop_class_uid, file.transfer_syntax_uid
            );
            self.report.tell(FileResult::refused(file, None, why));
            return Some(association);
        };
        let mut dataset = match file.open() {
            Ok(dataset) => Counting { inner: dataset, report: self.report },
            Err(error) => {
                self.report.tell(FileResult::unreadable(file.path.clone(), &error.into()));
                return Some(association);
            }
        };
        match association.store(context, &file.sop_class_uid, &file.sop_instance_uid, &mut dataset) {
            Ok(status) => {
                self.report.tell(FileResult::answered(file, status));
                Some(association)
            }
            Err(error) => {
                self.report.tell(FileResult::failed(file, format!("{:#}", anyhow::Error::new(error))));
                None
            }
        }
    }
}

impl Outgoing {
    /// Reads the head of a file; where it does not say what the dataset is, the dataset does.
    /// `None` for what is no instance: another kind of file, or the directory of a file-set (PS3.10 8.6).
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut begin = Vec::new();
        Read::by_ref(&mut file).take(4 * part10::FILE_META_BYTES_MAX as u64).read_to_end(&mut begin)?;
        let Some(head) = part10::read_file_head(&begin) else { return Ok(None) };
        if head.sop_class_uid == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
            return Ok(None);
        }
        let dataset = begin.get(head.dataset_offset..).unwrap_or_default();
        let facts = facts_of(dataset, &head.transfer_syntax_uid);
        let stated = |tag, announced: String| facts.text(tag).unwrap_or(announced);
        let outgoing = Self {
            path: path.to_owned(),
            dataset_offset: head.dataset_offset as u64,
            dataset_bytes: bytes.saturating_sub(head.dataset_offset as u64),
            sop_class_uid: stated(tags::SOP_CLASS_UID, head.sop_class_uid),
            sop_instance_uid: stated(tags::SOP_INSTANCE_UID, head.sop_instance_uid),
            transfer_syntax_uid: head.transfer_syntax_uid,
        };
        anyhow::ensure!(!outgoing.sop_class_uid.is_empty(), "it has no SOP Class UID");
        anyhow::ensure!(!outgoing.sop_instance_uid.is_empty(), "it has no SOP Instance UID");
        Ok(Some(outgoing))
    }

    fn context(&self) -> Proposal {
        (self.sop_class_uid.clone(), self.transfer_syntax_uid.clone())
    }

    fn open(&self) -> io::Result<File> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.dataset_offset))?;
        Ok(file)
    }
}

/// What the beginning of a dataset says of itself: read as a receiver would read it, the sealed bytes thrown away.
fn facts_of(beginning: &[u8], transfer_syntax_uid: &str) -> Facts {
    let provenance = Provenance {
        received_at: Timestamp::default(),
        door: Door::CStore,
        calling_ae: String::new(),
        called_ae: String::new(),
        peer: String::new(),
        node: NodeId([0; 16]),
        transfer_syntax_uid: transfer_syntax_uid.to_owned(),
        sop_class_uid: String::new(),
        sop_instance_uid: String::new(),
        file_meta: Vec::new(),
    };
    let key = RecordKey::from_bytes([0; 32]);
    let mut sealer = RecordSealer::new(RecordId([0; 16]), key, provenance, &SealOptions::default());
    let mut thrown_away = Vec::new();
    sealer.push(beginning, &mut thrown_away);
    sealer.finish(&mut thrown_away).facts
}

/// Counts what is read towards the progress.
struct Counting<'a> {
    inner: File,
    report: &'a Report,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.report.bar.inc(read as u64);
        Ok(read)
    }
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

    fn failed(file: &Outgoing, error: String) -> Self {
        Self::of(file, Outcome::Failed, None, Some(error))
    }

    fn refused(file: &Outgoing, status: Option<Status>, error: String) -> Self {
        Self::of(file, Outcome::Refused, status, Some(error))
    }

    fn unreadable(path: PathBuf, error: &anyhow::Error) -> Self {
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

    fn answered(file: &Outgoing, status: Status) -> Self {
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
struct Report {
    json: bool,
    bar: ProgressBar,
    totals: Mutex<Totals>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    files: u64,
    stored: u64,
    failed: u64,
    skipped: u64,
    bytes: u64,
}

impl Report {
    fn new(json: bool) -> Self {
        let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let style =
            ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { json, bar, totals: Mutex::default() }
    }

    fn expect(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    fn skip(&self) {
        self.totals.lock().skipped += 1;
    }

    fn tell(&self, result: FileResult) {
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

    fn finish(&self, took: Duration) -> Totals {
        self.bar.finish_and_clear();
        let totals = *self.totals.lock();
        let Totals { files, stored, failed, skipped, bytes } = totals;
        let seconds = took.as_secs_f64();
        if self.json {
            let summary = json!({"event": "summary", "files": files, "stored": stored, "failed": failed, "skipped": skipped, "bytes": bytes, "seconds": seconds});
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

/// Sends what `demo` shows: the same as the command, in this process.
pub(crate) fn send_paths(to: &str, aec: &AeTitle, aet: &AeTitle, paths: Vec<PathBuf>) -> anyhow::Result<u8> {
    run(&Arguments {
        to: to.to_owned(),
        paths,
        aec: aec.clone(),
        aet: aet.clone(),
        associations: 2,
        timeout: 60,
        json: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(class: usize) -> Outgoing {
        Outgoing {
            path: PathBuf::from("x"),
            dataset_offset: 0,
            dataset_bytes: 0,
            sop_class_uid: format!("1.2.{class}"),
            sop_instance_uid: "1".into(),
            transfer_syntax_uid: "1.2.840.10008.1.2".into(),
        }
    }

    #[test]
    fn a_batch_has_no_more_contexts_than_an_association() {
        let batches = batches((0..300).map(|n| outgoing(n % 150)).collect());
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 300);
        for batch in &batches {
            let contexts: BTreeSet<_> = batch.iter().map(Outgoing::context).collect();
            assert!(contexts.len() <= CONTEXTS_MAX);
        }
    }

    #[test]
    fn folders_are_walked_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("b")).expect("folder");
        for name in ["c", "a", "b/2", "b/1"] {
            fs::write(folder.path().join(name), "x").expect("write");
        }
        let files = list_files(&[folder.path().to_owned()]).expect("listed");
        let names: Vec<_> =
            files.iter().filter_map(|file| file.path.strip_prefix(folder.path()).ok()?.to_str()).collect();
        assert_eq!(names, ["a", "b/1", "b/2", "c"]);
    }
}
