//! `ingest`: the same files from the same senders to every receiver, in turns.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    Places,
    data::{Kind, Set},
    figures::{Results, Row, Sample, SetFacts},
    goals::goals,
    limits::Limits,
    machine::Machine,
    process::{Account, Tree, Watch},
    receivers::{Receiver, Target},
    report,
    rounds::{self, Contest},
    senders::{Sender, Senders},
};

/// Associations of the sending that gets a receiver going; always our own sender, the quickest.
const WARM_UP_ASSOCIATIONS: u8 = 4;

#[derive(Debug, Args)]
pub(crate) struct Ingest {
    #[command(flatten)]
    places: Places,
    /// The gateway's program
    #[arg(long, value_parser = crate::existing)]
    gateway: PathBuf,
    /// The folder of test data
    #[arg(long, value_parser = crate::existing)]
    test_data: PathBuf,
    /// Only these receivers
    #[arg(long, value_enum, value_name = "RECEIVER", value_delimiter = ',')]
    only: Vec<Target>,
    /// Only this kind of files
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only this sender
    #[arg(long, value_enum)]
    sender: Option<Sender>,
    /// Only with so many associations
    #[arg(long)]
    associations: Option<u8>,
}

/// One way of sending a set.
#[derive(Debug, Clone, Copy)]
struct Way {
    kind: Kind,
    sender: Sender,
    associations: u8,
    /// Whether the slow and the additional receivers take part.
    all: bool,
}

const fn way(kind: Kind, sender: Sender, associations: u8, all: bool) -> Way {
    Way { kind, sender, associations, all }
}

const WAYS: [Way; 8] = [
    way(Kind::Ct, Sender::Storescu, 1, false),
    way(Kind::Ct, Sender::Storescu, 4, true),
    way(Kind::Ct, Sender::Storescu, 16, false),
    way(Kind::Ct, Sender::Own, 4, false),
    way(Kind::Mr, Sender::Storescu, 1, false),
    way(Kind::Mr, Sender::Storescu, 4, true),
    way(Kind::Mr, Sender::Storescu, 16, false),
    way(Kind::Mr, Sender::Own, 4, false),
];

impl Way {
    fn takes_part(self, target: Target) -> bool {
        self.all || matches!(target, Target::Storescp | Target::Orthanc | Target::Filmgate)
    }
}

impl Ingest {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let bench = Bench::prepare(self)?;
        let machine = Machine::look(&self.places.work, &["storescp", "Orthanc"])?;
        let limits = Limits::measure(&self.places.work)?;
        let (sets, rounds) = (bench.set_facts(), self.places.rounds());
        let rows = self.measure(&bench, rounds)?;
        let limits = limits.best(Limits::measure(&self.places.work)?);
        let results = Results { machine, limits, rounds, sets, goals: goals(&rows), rows };
        report::publish(&self.places, "ingest", self.is_partial(), &results, &results.tables())
    }

    fn measure(&self, bench: &Bench, rounds: u32) -> Result<Vec<Row>> {
        let ways = WAYS.into_iter().filter(|way| bench.has(way.kind) && self.wants(*way));
        let mut contests: Vec<_> = ways.map(|way| Contest::new(way, self.targets(way))).collect();
        rounds::run_all(&mut contests, rounds, self.places.patience, |way, target| {
            let sample = bench.sample(*way, target).with_context(|| Bench::name(*way, target))?;
            Ok((sample, told(*way, target, &sample)))
        })?;
        let rows = contests.into_iter().flat_map(|contest| {
            contest.runs.into_iter().map(move |(target, samples)| row(contest.load, target, samples))
        });
        Ok(rows.collect())
    }

    fn wants(&self, way: Way) -> bool {
        self.sender.is_none_or(|sender| sender == way.sender)
            && self.associations.is_none_or(|associations| associations == way.associations)
    }

    fn targets(&self, way: Way) -> impl Iterator<Item = Target> {
        let wanted = |target: &Target| self.only.is_empty() || self.only.contains(target);
        Target::ALL.into_iter().filter(wanted).filter(move |target| way.takes_part(*target))
    }

    fn is_partial(&self) -> bool {
        let some_ways = self.kind.is_some() || self.sender.is_some() || self.associations.is_some();
        self.places.quick || some_ways || !self.only.is_empty()
    }
}

fn row(way: Way, target: Target, samples: Vec<Sample>) -> Row {
    Row {
        files: way.kind.name().to_owned(),
        sender: way.sender.name().to_owned(),
        associations: way.associations,
        receiver: target.name().to_owned(),
        median: Sample::median(&samples),
        samples,
    }
}

fn told(way: Way, target: Target, sample: &Sample) -> String {
    format!(
        "{}: {:.0} MB/s, {:.0} instances/s, {:.2} CPU s/GB",
        Bench::name(way, target),
        sample.mb_per_s,
        sample.instances_per_s,
        sample.receiver_cpu_seconds_per_gb
    )
}

/// Files and programs, ready.
struct Bench {
    sets: Vec<Set>,
    senders: Senders,
    gateway: PathBuf,
    work: PathBuf,
}

impl Bench {
    fn prepare(ingest: &Ingest) -> Result<Self> {
        let places = &ingest.places;
        let kinds = Kind::ALL.into_iter().filter(|kind| ingest.kind.is_none_or(|only| only == *kind));
        let mut sets = Vec::new();
        for kind in kinds {
            report::progress(&format!("{} files: looking, making what is missing", kind.name()));
            sets.push(Set::prepare(kind, places.quick, &ingest.test_data, &places.work)?);
        }
        Ok(Self {
            sets,
            senders: Senders::new(&ingest.gateway, &places.work)?,
            gateway: ingest.gateway.clone(),
            work: places.work.clone(),
        })
    }

    fn has(&self, kind: Kind) -> bool {
        self.sets.iter().any(|set| set.kind == kind)
    }

    fn set_facts(&self) -> Vec<SetFacts> {
        let facts = |set: &Set| SetFacts {
            files: set.kind.name().to_owned(),
            instances: set.measured.instances(),
            bytes: set.measured.bytes,
            studies: set.studies,
        };
        self.sets.iter().map(facts).collect()
    }

    fn name(way: Way, target: Target) -> String {
        format!("{}, {} x {}, {}", way.kind.name(), way.sender.name(), way.associations, target.name())
    }

    /// One run: a fresh receiver, a lot of files to get it going, what the disk owes written, then the measured lot.
    fn sample(&self, way: Way, target: Target) -> Result<Sample> {
        let set = self.sets.iter().find(|set| set.kind == way.kind).context("the files")?;
        let receiver = Receiver::start(target, &self.gateway, &self.work)?;
        let first =
            self.senders.send(Sender::Own, WARM_UP_ASSOCIATIONS, &set.warm_up, receiver.dicom_port)?;
        receiver.settle(set.warm_up.instances())?;
        rustix::fs::sync();

        let (mut tree, watch) = (Tree::new(receiver.pid()), Watch::start(receiver.pid()));
        let (account, cpu) = (Account::open()?, tree.cpu_seconds()?);
        let sent = self.senders.send(way.sender, way.associations, &set.measured, receiver.dicom_port)?;
        let (answered, received_cpu) = (Instant::now(), tree.cpu_seconds()?);
        let other_cpu_share = account.other_share(received_cpu - cpu + sent.cpu_seconds)?;
        let memory = watch.finish()?;
        receiver.settle(set.warm_up.instances() + set.measured.instances())?;
        let (drain_seconds, drained_cpu) = (answered.elapsed().as_secs_f64(), tree.cpu_seconds()?);
        receiver.end()?;

        let (bytes, drains) = (set.measured.bytes as f64, target == Target::Filmgate);
        Ok(Sample {
            seconds: sent.seconds,
            mb_per_s: bytes / 1e6 / sent.seconds,
            instances_per_s: set.measured.instances() as f64 / sent.seconds,
            receiver_cpu_seconds_per_gb: (received_cpu - cpu) / (bytes / 1e9),
            sender_cpu_seconds_per_gb: sent.cpu_seconds / (bytes / 1e9),
            other_cpu_share,
            peak_resident_bytes: memory.resident_bytes as f64,
            peak_anonymous_bytes: memory.anonymous_bytes as f64,
            first_lot_mb_per_s: set.warm_up.bytes as f64 / 1e6 / first.seconds,
            drain_seconds: if drains { drain_seconds } else { 0.0 },
            drain_cpu_seconds_per_gb: if drains { (drained_cpu - received_cpu) / (bytes / 1e9) } else { 0.0 },
        })
    }
}
