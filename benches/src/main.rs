//! Benchmarks beside peers: `cargo xtask bench` builds what they need and calls this.
//!
//! - `ingest`: DCMTK, Orthanc and the gateway receive the same files from the same senders, in turns.
//! - `cold`: a frame of a pack that is only in S3, beside a plain range GET.
//! - `qido`: how long a search takes among many studies, in both databases and in Orthanc.
//! - `rebuild`: instances a second that come back from bucket and keys alone.
//! - `retrieve`: Orthanc with its DICOMweb plugin and the gateway are asked for the same studies, in turns.
//! - `seal`: what a core seals and opens in a second, beside plain zstd.
//! - `spool`: the journal's group commit beside a synced file for each instance.
//! - `upload`: packs to S3 beside a plain copy, beside an object an instance, and while receiving.
//! - `viewer`: a study opened in OHIF on the gateway and on Orthanc, by the same browser.
//!
//! Every figure is a median over rounds in which all contenders take their turn, and stands beside what the machine
//! can do at most, measured in the same run. A run whose count of instances is wrong is an error, never a figure.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark speaks to whoever runs it")]

mod beside;
mod cloud;
mod cloud_gateway;
mod cold;
mod data;
mod figures;
mod goals;
mod ingest;
mod limits;
mod loaded;
mod machine;
mod noise;
mod part10;
mod process;
mod qido;
mod qido_orthanc;
mod qido_people;
mod rebuild;
mod receivers;
mod report;
mod retrieve;
mod rounds;
mod seal;
mod senders;
mod spool;
mod station;
mod studies;
mod upload;
mod viewer;

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

/// How the names of folders begin that last for one run.
const LEFTOVER_PREFIX: &str = "run-";

#[derive(Debug, Parser)]
#[command(name = "filmgate-bench", about = "Benchmarks beside peers")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A frame of a pack that is only in S3, beside a plain range GET
    Cold(cold::Cold),
    /// Receiving by C-STORE, beside DCMTK and Orthanc
    Ingest(ingest::Ingest),
    /// Searches among many studies, in SQLite and PostgreSQL
    Qido(qido::Qido),
    /// Bringing a catalog back from bucket and keys
    Rebuild(rebuild::Rebuild),
    /// Asking over DICOMweb, beside Orthanc
    Retrieve(retrieve::Retrieve),
    /// Sealing and opening, what a core does in a second
    Seal(seal::Seal),
    /// Making records durable: the journal beside a file for each
    Spool(spool::Spool),
    /// Packs to S3, beside a plain copy and an object for each instance, and while receiving
    Upload(upload::Upload),
    /// A study opened in the viewer, beside the same viewer on Orthanc
    Viewer(viewer::Viewer),
}

/// Where things lie, and how long to measure.
#[derive(Debug, Args)]
struct Places {
    /// Files made, receivers' folders, partial results: on the disk to be measured
    #[arg(long, value_parser = folder)]
    work: PathBuf,
    /// The folder of the benchmarks, whose README and results are written
    #[arg(long, value_parser = existing)]
    benches: PathBuf,
    /// Rounds in which every contender takes its turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// One round with few files, to see that all works; the committed results stay as they are
    #[arg(long)]
    quick: bool,
    /// Show the figures, and leave the committed results as they are
    #[arg(long)]
    partial: bool,
    /// How often a run is repeated in which others took more than a tenth of the cores
    #[arg(long, default_value_t = 0)]
    patience: u32,
}

/// A whole path, of a folder made where it is missing: what is started works in folders of its own.
fn folder(text: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(text)?;
    existing(text)
}

/// A whole path of what is there.
fn existing(text: &str) -> io::Result<PathBuf> {
    fs::canonicalize(text)
}

impl Places {
    /// Waits until no other benchmark measures here, and takes away what one that was killed left behind.
    fn take_turn(&self) -> anyhow::Result<File> {
        let lock = File::create(self.work.join("lock"))?;
        if lock.try_lock().is_err() {
            report::progress("another benchmark is running: waiting for its end");
            lock.lock()?;
        }
        for entry in fs::read_dir(&self.work)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(LEFTOVER_PREFIX.as_bytes()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(lock)
    }

    fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().bench {
        Bench::Cold(cold) => cold.run(),
        Bench::Ingest(ingest) => ingest.run(),
        Bench::Qido(qido) => qido.run(),
        Bench::Rebuild(rebuild) => rebuild.run(),
        Bench::Retrieve(retrieve) => retrieve.run(),
        Bench::Seal(seal) => seal.run(),
        Bench::Spool(spool) => spool.run(),
        Bench::Upload(upload) => upload.run(),
        Bench::Viewer(viewer) => viewer.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("filmgate-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
