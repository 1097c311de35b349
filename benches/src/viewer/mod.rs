//! `viewer`: the same study opened in the same viewer, OHIF, on the gateway and on Orthanc, by the same browser, in turns.

mod browser;
mod orthanc_site;

use std::{cell::RefCell, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use self::{
    browser::{Browser, Seen},
    orthanc_site::{Files, Site},
};
use crate::{
    Places,
    goals::Goal,
    loaded::{Loaded, SERVERS},
    machine::Machine,
    process::{self, Account, Tree},
    receivers::{Receiver, Target},
    report::{self, median},
    rounds::{self, Contest, Shared},
    studies::Study,
};

/// Slices of the study.
const SLICES: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct Viewer {
    #[command(flatten)]
    places: Places,
    /// The gateway's program; its environment tells it where the viewer is
    #[arg(long, value_parser = crate::existing)]
    gateway: PathBuf,
    /// The folder of test data
    #[arg(long, value_parser = crate::existing)]
    test_data: PathBuf,
    /// The prepared viewer
    #[arg(long, value_parser = crate::existing)]
    viewer: PathBuf,
    /// Where what drives the browser is installed
    #[arg(long, value_parser = crate::existing)]
    browser: PathBuf,
}

/// What two visits of a server that was started anew gave, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Sample {
    first: Times,
    again: Times,
    frame_bytes: u64,
    requests: u64,
    other_cpu_share: f64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Times {
    first_pixels_ms: f64,
    all_frames_ms: f64,
    server_cpu_seconds: f64,
}

impl Shared for Sample {
    fn other_cpu_share(&self) -> f64 {
        self.other_cpu_share
    }
}

/// All runs of one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    server: String,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Results {
    machine: Machine,
    rounds: u32,
    slices: usize,
    goals: Vec<Goal>,
    rows: Vec<Row>,
}

impl Viewer {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let work = &self.places.work;
        let study = Study::prepare("usual-0", 0..SLICES, &self.test_data, work)?;
        let mut machine = Machine::look(work, &["Orthanc", "chromium"])?;
        let loaded = Loaded::load(&self.gateway, work, std::iter::once(&study))?;
        machine.versions.push(loaded.plugin.clone());
        let browser = RefCell::new(Browser::start(&self.browser)?);
        let bench = Bench { files: Arc::new(self.files(&loaded)?), loaded, study, browser };
        let mut contests = [Contest::new((), SERVERS.into_iter())];
        let rounds = self.places.rounds();
        rounds::run_all(&mut contests, rounds, self.places.patience, |(), server| bench.sample(server))?;
        let [contest] = contests;
        let row =
            |(server, samples): (Target, Vec<Sample>)| Row { server: server.name().to_owned(), samples };
        let goals = goals(&contest.runs);
        let rows = contest.runs.into_iter().map(row).collect();
        let results = Results { machine, rounds, slices: SLICES, goals, rows };
        report::publish(&self.places, "viewer", self.places.quick, &results, &results.tables())
    }

    /// The viewer's files as Orthanc's site has them: set up as the gateway sets it up.
    fn files(&self, loaded: &Loaded) -> Result<Files> {
        let gateway = loaded.start(Target::Filmgate)?;
        let url = format!("http://{}/ohif/app-config.js", gateway.web_address());
        let mut answer = ureq::get(&url).call().context("ask the gateway how the viewer is set up")?;
        let config = answer.body_mut().read_to_vec()?;
        gateway.end()?;
        Files::read(&self.viewer, config)
    }
}

struct Bench {
    files: Arc<Files>,
    loaded: Loaded,
    study: Study,
    browser: RefCell<Browser>,
}

impl Bench {
    /// One start of a server, visited twice.
    fn sample(&self, server: Target) -> Result<(Sample, String)> {
        let receiver = self.loaded.start(server)?;
        let (site, origin) = self.origin(server, &receiver)?;
        let mut tree = Tree::new(receiver.pid());
        let mut browser = self.browser.borrow_mut();
        let url = format!("http://{origin}/ohif/viewer?StudyInstanceUIDs={}", self.study.study_instance_uid);
        let all = |browser: &mut Browser, tree: &mut Tree| {
            anyhow::Ok(tree.cpu_seconds()? + browser.cpu_seconds()? + process::own_cpu_seconds()?)
        };
        let (account, cpu) = (Account::open()?, all(&mut browser, &mut tree)?);
        let mut visit = || -> Result<(Times, Seen)> {
            let before = tree.cpu_seconds()?;
            let seen = browser
                .visit(&url, SLICES)
                .with_context(|| format!("open the study on {}", server.name()))?;
            let times = Times {
                first_pixels_ms: seen.first_pixels_ms,
                all_frames_ms: seen.all_frames_ms,
                server_cpu_seconds: tree.cpu_seconds()? - before,
            };
            Ok((times, seen))
        };
        let (first, _) = visit()?;
        let (again, seen) = visit()?;
        let other_cpu_share = account.other_share(all(&mut browser, &mut tree)? - cpu)?;
        drop(site);
        receiver.end()?;
        let line = format!(
            "{}: first pixels {:.0}, {:.0} ms; all frames {:.0}, {:.0} ms",
            server.name(),
            first.first_pixels_ms,
            again.first_pixels_ms,
            first.all_frames_ms,
            again.all_frames_ms
        );
        let (frame_bytes, requests) = (seen.frame_bytes, seen.requests);
        Ok((Sample { first, again, frame_bytes, requests, other_cpu_share }, line))
    }

    /// Where the viewer is: the gateway has it itself.
    fn origin(&self, server: Target, receiver: &Receiver) -> Result<(Option<Site>, SocketAddr)> {
        if server == Target::Filmgate {
            return Ok((None, receiver.web_address()));
        }
        let site = Site::start(Arc::clone(&self.files), receiver.web_address())?;
        let address = site.address;
        Ok((Some(site), address))
    }
}

/// A figure of a sample, by name.
type Figure = (&'static str, fn(&Sample) -> f64);

const FIGURES: [Figure; 4] = [
    ("first pixels, server just started", |sample| sample.first.first_pixels_ms),
    ("all frames, server just started", |sample| sample.first.all_frames_ms),
    ("first pixels, again", |sample| sample.again.first_pixels_ms),
    ("all frames, again", |sample| sample.again.all_frames_ms),
];

fn middle(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    median(&samples.iter().map(of).collect::<Vec<_>>())
}

/// Ours is ahead in all.
fn goals(runs: &[(Target, Vec<Sample>)]) -> Vec<Goal> {
    let of = |server| runs.iter().find(|(of, _)| *of == server).map(|(_, samples)| samples.as_slice());
    let pair = of(Target::Filmgate).zip(of(Target::OrthancDicomweb));
    let goal = |(what, of): Figure| Goal {
        what: format!("{what}: times as fast"),
        at_least: true,
        bound: 1.0,
        unit: "×".to_owned(),
        measured: pair.map(|(ours, other)| middle(other, of) / middle(ours, of)),
    };
    FIGURES.map(goal).to_vec()
}

impl Results {
    fn tables(&self) -> String {
        let names = self.rows.iter().map(|row| row.server.as_str());
        let mut lines = report::Table::new(&std::iter::once("").chain(names).collect::<Vec<_>>());
        for (what, of) in FIGURES {
            lines.row(&self.line(what, |samples| {
                let figures = samples.iter().map(of);
                let (least, most) =
                    (figures.clone().fold(f64::INFINITY, f64::min), figures.fold(0.0, f64::max));
                format!("{:.0} ms ({least:.0} to {most:.0})", middle(samples, of))
            }));
        }
        let cpu = |samples: &[Sample]| {
            format!("{:.2} s", middle(samples, |sample| sample.first.server_cpu_seconds))
        };
        lines.row(&self.line("server CPU, server just started", cpu));
        let bytes = |samples: &[Sample]| {
            format!("{:.1} MB", middle(samples, |sample| sample.frame_bytes as f64) / 1e6)
        };
        lines.row(&self.line("frames on the wire", bytes));
        let requests =
            |samples: &[Sample]| format!("{:.0}", middle(samples, |sample| sample.requests as f64));
        lines.row(&self.line("requests of DICOMweb", requests));
        let mut goals = report::Table::new(&["goal, beside Orthanc", "wanted", "measured", ""]);
        for goal in &self.goals {
            goals.row(&goal.cells());
        }
        let machine = &self.machine;
        let versions = machine.versions.iter().map(|one| format!("{} {}", one.program, one.version));
        let shares = self.rows.iter().flat_map(|row| &row.samples).map(|sample| sample.other_cpu_share);
        format!(
            "{} (UTC). {}, {} cores, Linux {}. Load before: {:.1}. Rounds: {}. {} slices.\n{}.\n{}\n{}\n{}",
            machine.measured_at,
            machine.cpu,
            machine.cores,
            machine.kernel,
            machine.load_before,
            self.rounds,
            self.slices,
            versions.collect::<Vec<_>>().join("; "),
            report::disturbance(shares),
            lines.text(),
            goals.text()
        )
    }

    fn line(&self, what: &str, cell: impl Fn(&[Sample]) -> String) -> Vec<String> {
        let cells = self.rows.iter().map(|row| cell(&row.samples));
        std::iter::once(what.to_owned()).chain(cells).collect()
    }
}
