//! `filmgate send`: a streaming C-STORE SCU.

mod outgoing;
mod report;
mod tls;

use std::{
    collections::{BTreeSet, VecDeque},
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use filmgate_dimse::{CONTEXTS_MAX, ProposedContext, Requested, RequestorOptions};
use filmgate_model::AeTitle;
use parking_lot::Mutex;

use self::{
    outgoing::{Found, Outgoing, Proposal, list_files},
    report::{FileResult, Report, Totals},
};
use crate::{failure, line::Line, tls::ClientTls};

/// Connections that may fail in a row before the rest is given up.
const CONNECT_FAILURES_MAX: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to send: host and port.
    #[arg(value_name = "HOST:PORT", value_parser = host_and_port)]
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
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// One line of JSON per file, and one for the whole.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tls: tls::Arguments,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let began = now();
    let tls = arguments.tls.open(&arguments.to)?;
    let report = Report::new(arguments.json);
    let mut ready = Vec::new();
    for Found { path, named } in list_files(&arguments.paths) {
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
    let sending_began = now();
    let mut connected = ready.is_empty();
    for batch in batches(ready) {
        connected |= send_batch(arguments, tls.as_ref(), batch, &report)?;
    }
    let totals = report.finish(began.elapsed(), sending_began.elapsed());
    Ok(match totals {
        _ if !connected => failure::COULD_NOT_RUN,
        Totals { failed: 0, .. } => failure::DONE,
        _ => failure::SOME_FAILED,
    })
}

/// Checked before anything is read.
fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("a port is missing: HOST:PORT")?;
    let fits = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
    if fits { Ok(text.to_owned()) } else { Err("it is not HOST:PORT".to_owned()) }
}

/// A monotonic moment, for the rate shown at the end.
fn now() -> Instant {
    Instant::now()
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
fn send_batch(
    arguments: &Arguments,
    tls: Option<&ClientTls>,
    batch: Vec<Outgoing>,
    report: &Report,
) -> anyhow::Result<bool> {
    let contexts: BTreeSet<_> = batch.iter().map(Outgoing::context).collect();
    let sender = Sender { arguments, tls, contexts, waiting: Mutex::new(batch.into()), report };
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
    tls: Option<&'a ClientTls>,
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

    fn connect(&self) -> anyhow::Result<Requested<Line>> {
        let timeout = Duration::from_secs(self.arguments.timeout);
        let mut last = anyhow::anyhow!("{} has no address", self.arguments.to);
        for address in
            self.arguments.to.to_socket_addrs().with_context(|| format!("look up {}", self.arguments.to))?
        {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    let line = self.line(stream, timeout)?;
                    return Ok(filmgate_dimse::request(line, &self.options(timeout))?);
                }
                Err(error) => last = anyhow::Error::new(error).context(format!("connect to {address}")),
            }
        }
        Err(last)
    }

    fn line(&self, stream: TcpStream, timeout: Duration) -> anyhow::Result<Line> {
        let Some(tls) = self.tls else { return Ok(Line::Plain(stream)) };
        Ok(Line::Tls(Box::new(tls.connect(stream, timeout)?)))
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
            artim: timeout.min(Duration::from_secs(10)),
            ..RequestorOptions::new(
                self.arguments.aet.clone(),
                self.arguments.aec.clone(),
                contexts.collect(),
            )
        }
    }

    /// Sends one file; the association comes back when it can be used again.
    fn send(&self, mut association: Requested<Line>, file: &Outgoing) -> Option<Requested<Line>> {
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
            Ok(dataset) => self.report.watched(dataset),
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
        tls: tls::Arguments::default(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let files = list_files(&[folder.path().to_owned()]);
        let names: Vec<_> =
            files.iter().filter_map(|file| file.path.strip_prefix(folder.path()).ok()?.to_str()).collect();
        assert_eq!(names, ["a", "b/1", "b/2", "c"]);
    }
}
