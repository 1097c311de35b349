//! `retrieve`: the same studies asked for over DICOMweb of Orthanc and of the gateway, by the same clients, in turns.

mod answers;
mod clients;
mod figures;
mod work;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use self::{
    clients::{Client, ClientKind, Pass},
    figures::{Load, Measured, Results, Sample},
    work::Work,
};
use crate::{
    Places,
    limits::Limits,
    loaded::{Loaded, SERVERS},
    machine::Machine,
    process::{Account, Tree},
    receivers::Target,
    report,
    rounds::{self, Contest},
    studies::Studies,
};

#[derive(Debug, Args)]
pub(crate) struct Retrieve {
    #[command(flatten)]
    places: Places,
    /// The gateway's program
    #[arg(long, value_parser = crate::existing)]
    gateway: PathBuf,
    /// The folder of test data
    #[arg(long, value_parser = crate::existing)]
    test_data: PathBuf,
    /// Python with the packages of the test peers
    #[arg(long)]
    python: PathBuf,
}

impl Retrieve {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let (work, quick) = (&self.places.work, self.places.quick);
        report::progress("CT studies: looking, making what is missing");
        let studies = Studies::prepare(quick, &self.test_data, work)?;
        let mut machine = Machine::look(work, &["Orthanc"])?;
        let before = Limits::measure(work)?;
        let loaded = Loaded::load(&self.gateway, work, studies.all())?;
        machine.versions.push(loaded.plugin.clone());
        let bench = Bench { studies, loaded, python: self.python.clone() };
        let loads = Work::ALL.into_iter().flat_map(|work| ClientKind::ALL.map(|client| (work, client)));
        let mut contests: Vec<Contest<Load, Target, Sample>> =
            loads.map(|load| Contest::new(load, SERVERS.into_iter())).collect();
        let rounds = self.places.rounds();
        rounds::run_all(&mut contests, rounds, self.places.patience, |load, server| {
            bench.sample(*load, server)
        })?;
        let results = Results {
            machine,
            limits: before.best(Limits::measure(work)?),
            rounds,
            instances: bench.studies.instances(),
            bytes: bench.studies.bytes(),
            goals: figures::goals(&contests),
            rows: figures::rows(&contests),
        };
        report::publish(&self.places, "retrieve", quick, &results, &results.tables())
    }
}

/// What is asked, and whom.
struct Bench {
    studies: Studies,
    loaded: Loaded,
    python: PathBuf,
}

impl Bench {
    /// One start of a server: what is asked for the first time, and again.
    fn sample(&self, (work, kind): Load, server: Target) -> Result<(Sample, String)> {
        let receiver = self.loaded.start(server)?;
        let (mut client, mut tree) = (kind.start(&self.python)?, Tree::new(receiver.pid()));
        let (root, passes) = (receiver.dicomweb_root(), work.passes(&self.studies));
        let (account, cpu) = (Account::open()?, tree.cpu_seconds()? + client.cpu_seconds()?);
        let mut measured = |pass: &Pass, when: &str| {
            let measured = measure(work, pass, &root, &mut client, &mut tree);
            measured.with_context(|| format!("{}, {}, {}, {when}", work.name(), kind.name(), server.name()))
        };
        let (cold, warm) = (measured(&passes.first, "cold")?, measured(&passes.again, "warm")?);
        let taken = tree.cpu_seconds()? + client.cpu_seconds()? - cpu;
        let sample = Sample { cold, warm, other_cpu_share: account.other_share(taken)? };
        receiver.end()?;
        let line = format!(
            "{}, {}, {}: cold {:.2}, warm {:.2} {}; {:.2}, {:.2} CPU s/GB",
            work.name(),
            kind.name(),
            server.name(),
            cold.figure,
            warm.figure,
            work.unit(),
            cold.server_cpu_seconds_per_gb,
            warm.server_cpu_seconds_per_gb
        );
        Ok((sample, line))
    }
}

fn measure(work: Work, pass: &Pass, root: &str, client: &mut Client, tree: &mut Tree) -> Result<Measured> {
    let before = tree.cpu_seconds()?;
    let timed = client.run(root, pass)?;
    let server_cpu_seconds = tree.cpu_seconds()? - before;
    Ok(Measured {
        figure: work.figure(pass, &timed),
        server_cpu_seconds_per_gb: server_cpu_seconds / (work::bytes(pass) / 1e9),
    })
}
