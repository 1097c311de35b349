//! `spool`: how many records a second become durable, by the journal's group commit and by a file for each.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use filmgate_model::{Clock, Random, RecordId};
use filmgate_spool::{Journal, JournalOptions, RealDisk};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{
    Places,
    limits::Limits,
    machine::Machine,
    process::{Account, own_cpu_seconds},
    report::{self, median},
    rounds::{self, Contest, Shared},
};

const RECORD_BYTES: [usize; 2] = [50_000, 500_000];
const WRITERS: [usize; 3] = [1, 4, 16];
/// Written before a journal is measured as one that has been in use.
const USED_BYTES: usize = 320 << 20;
/// As long as a wrapped key is.
const KEY: [u8; 64] = [7; 64];

#[derive(Debug, Args)]
pub(crate) struct Spool {
    #[command(flatten)]
    places: Places,
}

/// How a record becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Manner {
    /// The journal over blocks written before, as it is once it has gone round; every record let go at once.
    JournalInUse,
    /// The journal in new files, as in its first minutes; no record let go.
    JournalNew,
    /// A file beside, `fdatasync`, `rename`, the folder synced: for each record.
    FileEach,
}

impl Manner {
    const ALL: [Self; 3] = [Self::JournalInUse, Self::JournalNew, Self::FileEach];

    fn name(self) -> &'static str {
        match self {
            Self::JournalInUse => "journal, blocks in use",
            Self::JournalNew => "journal, new files",
            Self::FileEach => "a file each",
        }
    }
}

/// What one run gave.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Sample {
    records_per_s: f64,
    /// 10^6 bytes of records.
    mb_per_s: f64,
    /// From a record's first byte to its being durable: half take no longer, 99 in 100.
    p50_ms: f64,
    p99_ms: f64,
    /// User and system time, the kernel's own threads not counted.
    cpu_ms_per_record: f64,
    /// Share of all cores' time that others took: other programs, the host.
    other_cpu_share: f64,
}

impl Shared for Sample {
    fn other_cpu_share(&self) -> f64 {
        self.other_cpu_share
    }
}

impl Sample {
    fn median(samples: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(&samples.iter().map(figure).collect::<Vec<_>>());
        Self {
            records_per_s: of(|sample| sample.records_per_s),
            mb_per_s: of(|sample| sample.mb_per_s),
            p50_ms: of(|sample| sample.p50_ms),
            p99_ms: of(|sample| sample.p99_ms),
            cpu_ms_per_record: of(|sample| sample.cpu_ms_per_record),
            other_cpu_share: of(|sample| sample.other_cpu_share),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    record_bytes: usize,
    writers: usize,
    manner: String,
    median: Sample,
    samples: Vec<Sample>,
}

impl Row {
    fn new(run: &Run, manner: Manner, samples: Vec<Sample>) -> Self {
        Self {
            record_bytes: run.record_bytes,
            writers: run.writers,
            manner: manner.name().to_owned(),
            median: Sample::median(&samples),
            samples,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Results {
    machine: Machine,
    limits: Limits,
    rounds: u32,
    rows: Vec<Row>,
}

impl Spool {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let machine = Machine::look(&self.places.work, &[])?;
        let limits = Limits::measure(&self.places.work)?;
        let rounds = self.places.rounds();
        let rows = self.measure(rounds)?;
        let limits = limits.best(Limits::measure(&self.places.work)?);
        let results = Results { machine, limits, rounds, rows };
        report::publish(&self.places, "spool", self.places.quick, &results, &results.tables())
    }

    fn measure(&self, rounds: u32) -> Result<Vec<Row>> {
        let span = Duration::from_millis(if self.places.quick { 300 } else { 2000 });
        let loads = RECORD_BYTES.into_iter().flat_map(|bytes| WRITERS.map(|writers| (bytes, writers)));
        let run = |(record_bytes, writers)| Run { record_bytes, writers, span };
        let mut contests: Vec<_> =
            loads.map(|load| Contest::new(run(load), Manner::ALL.into_iter())).collect();
        rounds::run_all(&mut contests, rounds, self.places.patience, |run, manner| {
            let sample = run.sample(manner, &self.places.work)?;
            Ok((sample, run.told(manner, &sample)))
        })?;
        let rows = contests.into_iter().flat_map(|contest| {
            let row = move |(manner, samples)| Row::new(&contest.load, manner, samples);
            contest.runs.into_iter().map(row)
        });
        Ok(rows.collect())
    }
}

/// So many writers, each making one record after another durable for so long.
struct Run {
    record_bytes: usize,
    writers: usize,
    span: Duration,
}

impl Run {
    fn told(&self, manner: Manner, sample: &Sample) -> String {
        let (kilobytes, writers) = (self.record_bytes / 1000, self.writers);
        format!("{kilobytes} KB, {writers} writers, {}: {:.0} records/s", manner.name(), sample.records_per_s)
    }

    fn sample(&self, manner: Manner, work: &Path) -> Result<Sample> {
        let folder = tempfile::Builder::new().prefix(crate::LEFTOVER_PREFIX).tempdir_in(work)?;
        let sample = match manner {
            Manner::FileEach => self.files(&folder),
            Manner::JournalInUse => self.journal(&folder, true),
            Manner::JournalNew => self.journal(&folder, false),
        };
        folder.close().context("empty the folder")?;
        rustix::fs::sync();
        sample
    }

    fn journal(&self, folder: &TempDir, in_use: bool) -> Result<Sample> {
        let options = JournalOptions { bytes_max: 8 << 30, ..JournalOptions::default() };
        let disk = Arc::new(RealDisk);
        let (clock, random) = (Clock::system(), Random::system());
        let (journal, _) = Journal::open(disk, folder.path(), options, &clock, &random)?;
        let records = AtomicU64::new(0);
        if in_use {
            wear_in(&journal, &records)?;
        }
        let bytes = vec![7; self.record_bytes];
        self.timed(|_, _| {
            let id = append(&journal, &records, &bytes)?;
            if in_use {
                journal.release(&[id]);
            }
            Ok(())
        })
    }

    fn files(&self, folder: &TempDir) -> Result<Sample> {
        let bytes = vec![7; self.record_bytes];
        self.timed(|writer, number| file_each(folder.path(), &format!("{writer}-{number}"), &bytes))
    }

    /// Calls `store` from every writer until the time is up.
    fn timed(&self, store: impl Fn(usize, u64) -> Result<()> + Sync) -> Result<Sample> {
        let (account, own, store) = (Account::open()?, own_cpu_seconds()?, &store);
        let started = Instant::now();
        let times = thread::scope(|scope| {
            let writers: Vec<_> = (0..self.writers)
                .map(|writer| scope.spawn(move || one_writer(started, self.span, |at| store(writer, at))))
                .collect();
            let times =
                writers.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a writer died"))?);
            times.collect::<Result<Vec<_>>>()
        })?;
        let (seconds, own) = (started.elapsed().as_secs_f64(), own_cpu_seconds()? - own);
        let mut times = times.concat();
        times.sort_by(f64::total_cmp);
        let records = times.len() as f64;
        Ok(Sample {
            records_per_s: records / seconds,
            mb_per_s: records * self.record_bytes as f64 / 1e6 / seconds,
            p50_ms: median(&times),
            p99_ms: times.get(times.len() * 99 / 100).copied().unwrap_or(0.0),
            cpu_ms_per_record: own * 1e3 / records,
            other_cpu_share: account.other_share(own)?,
        })
    }
}

/// Milliseconds of every record one writer made durable in time.
fn one_writer(started: Instant, span: Duration, store: impl Fn(u64) -> Result<()>) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while started.elapsed() < span {
        let began = Instant::now();
        store(times.len() as u64)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// One record, durable when this returns.
fn append(journal: &Arc<Journal>, records: &AtomicU64, bytes: &[u8]) -> Result<RecordId> {
    let id = RecordId(u128::from(records.fetch_add(1, Ordering::Relaxed)).to_be_bytes());
    let mut writer = journal.begin(id)?;
    writer.write(bytes)?;
    let ticket = writer.commit(&KEY)?;
    journal.wait(&ticket)?;
    Ok(id)
}

/// Fills segments and lets go of all that is in them, so that what follows overwrites blocks.
fn wear_in(journal: &Arc<Journal>, records: &AtomicU64) -> Result<()> {
    let bytes = vec![1; 4 << 20];
    let ids = (0..USED_BYTES / bytes.len()).map(|_| append(journal, records, &bytes));
    journal.release(&ids.collect::<Result<Vec<_>>>()?);
    Ok(())
}

fn file_each(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (beside, path): (PathBuf, PathBuf) = (folder.join(format!("{name}.part")), folder.join(name));
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&beside, &path)?;
    File::open(folder)?.sync_all().context("sync the folder")
}

impl Results {
    fn tables(&self) -> String {
        let mut lines = report::Table::new(&[
            "record",
            "writers",
            "manner",
            "records/s",
            "beside a file each",
            "MB/s",
            "p50, ms",
            "p99, ms",
            "CPU ms/record",
            "others",
        ]);
        for row in &self.rows {
            let same = |other: &&Row| other.record_bytes == row.record_bytes && other.writers == row.writers;
            let file_each = self.rows.iter().filter(same).find(|row| row.manner == Manner::FileEach.name());
            let file_each = file_each.map_or(f64::NAN, |row| row.median.records_per_s);
            let one = &row.median;
            lines.row(&[
                format!("{} KB", row.record_bytes / 1000),
                row.writers.to_string(),
                row.manner.clone(),
                format!("{:.0}", one.records_per_s),
                format!("{:.1} ×", one.records_per_s / file_each),
                format!("{:.0}", one.mb_per_s),
                format!("{:.2}", one.p50_ms),
                format!("{:.2}", one.p99_ms),
                format!("{:.2}", one.cpu_ms_per_record),
                format!("{:.0} %", 100.0 * one.other_cpu_share),
            ]);
        }
        let shares = self.rows.iter().flat_map(|row| &row.samples).map(|sample| sample.other_cpu_share);
        let heading = report::heading(&self.machine, &self.limits, self.rounds);
        format!("{heading}{}\n{}", report::disturbance(shares), lines.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manner_makes_records_durable() {
        let work = tempfile::tempdir().expect("a folder");
        let run = Run { record_bytes: 5000, writers: 2, span: Duration::from_millis(50) };
        for manner in Manner::ALL {
            let sample = run.sample(manner, work.path()).expect("it runs");
            assert!(sample.records_per_s > 0.0 && sample.p50_ms <= sample.p99_ms, "{manner:?}: {sample:?}");
        }
    }
}
