//! `rebuild`: how many instances a second come back from bucket and keys alone. The instances are small and many; they go the
//! whole road once, and then each round begins on an empty machine.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Places,
    goals::Goal,
    machine::Machine,
    part10::{self, CT_IMAGE},
    process::{Account, Owned, ended_children_cpu_seconds},
    report::{self, median},
};

const AE_TITLE: &str = "FILMGATE";
const INSTANCES_OF_STUDY: u64 = 200;
const INSTANCES_OF_SERIES: u64 = 100;
const QUICK_INSTANCES: u64 = 2000;
/// From the last answer until all is verified.
const DRAIN_WITHIN: Duration = Duration::from_secs(900);
/// What the build is meant to reach.
const GOAL_INSTANCES_PER_S: f64 = 20_000.0;
/// Rows of a page of an answer (`web.query_results_max`).
const PAGE: u64 = 1000;
/// Of the pages of a long answer, about so many are compared.
const PAGES: u64 = 20;
/// Queries of all levels, with matching and paging; the same before and after.
const QUERIES: [&str; 7] = [
    "/dicomweb/studies?limit=1000&includefield=all",
    "/dicomweb/studies?PatientName=Phantom^Number1*&limit=1000",
    "/dicomweb/studies?StudyDate=20250314&ModalitiesInStudy=CT&limit=100&offset=50",
    "/dicomweb/studies?AccessionNumber=A7",
    "/dicomweb/series?limit=1000&includefield=all",
    "/dicomweb/series?Modality=CT&limit=200&offset=100",
    "/dicomweb/instances?InstanceNumber=777&includefield=all",
];

#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    #[command(flatten)]
    places: Places,
    /// The gateway's program
    #[arg(long)]
    gateway: PathBuf,
    /// Instances to make
    #[arg(long, default_value_t = 100_000)]
    instances: u64,
}

/// One rebuild.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Round {
    instances: u64,
    packs: u64,
    seconds: f64,
    cpu_seconds: f64,
    /// Share of all cores' time that went to others.
    other_cpu_share: f64,
}

impl Round {
    fn instances_per_s(&self) -> f64 {
        self.instances as f64 / self.seconds
    }
}

/// What is known of everything before and after.
#[derive(Debug, PartialEq)]
struct Known {
    /// Answers to searches; where the gateway listens left out.
    answers: Vec<(String, String)>,
    /// What `verify --deep` says: records, and bytes of datasets opened and compared.
    records: u64,
    dataset_bytes: u64,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Results {
    machine: Machine,
    rounds: Vec<Round>,
    goal: Goal,
    /// Answers compared before and after, and what `verify --deep` opened both times.
    answers: usize,
    records: u64,
    dataset_bytes: u64,
}

impl Rebuild {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let instances = if self.places.quick { QUICK_INSTANCES } else { self.instances };
        let files = make_files(&self.places.work, instances)?;
        let folder = tempfile::Builder::new().prefix(crate::LEFTOVER_PREFIX).tempdir_in(&self.places.work)?;
        let home = Home { gateway: &self.gateway, folder: folder.path() };
        let before = home.fill(&files, instances)?;
        ensure!(before.records == instances, "{} of {instances} instances are there", before.records);
        let machine = Machine::look(&self.places.work, &[])?;
        let mut rounds = Vec::new();
        for number in 1..=self.places.rounds() {
            let round = home.rebuild()?;
            ensure!(round.instances == instances, "{} of {instances} instances came back", round.instances);
            report::progress(&format!(
                "round {number}: {} instances of {} packs in {:.2} s: {:.0} instances/s, {:.2} s of CPU",
                round.instances,
                round.packs,
                round.seconds,
                round.instances_per_s(),
                round.cpu_seconds
            ));
            rounds.push(round);
        }
        home.is_as_before(&before)?;
        let results = Results::new(machine, rounds, &before);
        let partial = self.places.quick || self.instances < 100_000;
        report::publish(&self.places, "rebuild", partial, &results, &results.tables())
    }
}

impl Results {
    fn new(machine: Machine, rounds: Vec<Round>, before: &Known) -> Self {
        let rates: Vec<f64> = rounds.iter().map(Round::instances_per_s).collect();
        let goal = Goal {
            what: "instances a second back from a local bucket".to_owned(),
            at_least: true,
            bound: GOAL_INSTANCES_PER_S,
            unit: "instances/s".to_owned(),
            measured: Some(median(&rates)),
        };
        let (answers, records, dataset_bytes) = (before.answers.len(), before.records, before.dataset_bytes);
        Self { machine, rounds, goal, answers, records, dataset_bytes }
    }

    fn tables(&self) -> String {
        let machine = &self.machine;
        let mut rounds =
            report::Table::new(&["round", "instances", "packs", "s", "instances/s", "CPU s", "others"]);
        for (number, round) in (1..).zip(&self.rounds) {
            rounds.row(&[
                format!("{number}"),
                format!("{}", round.instances),
                format!("{}", round.packs),
                format!("{:.2}", round.seconds),
                format!("{:.0}", round.instances_per_s()),
                format!("{:.2}", round.cpu_seconds),
                format!("{:.0} %", 100.0 * round.other_cpu_share),
            ]);
        }
        let mut goal = report::Table::new(&["goal (median)", "wanted", "measured", ""]);
        goal.row(&self.goal.cells());
        format!(
            "{} (UTC). {}, {} cores, Linux {}, {}. Load before: {:.1}.\n{}\n{}\n{}\n\
             {} answers to searches are the same as before; `verify --deep` opened {} records, {} bytes of datasets, both \
             times.\n",
            machine.measured_at,
            machine.cpu,
            machine.cores,
            machine.kernel,
            machine.file_system,
            machine.load_before,
            report::disturbance(self.rounds.iter().map(|round| round.other_cpu_share)),
            rounds.text(),
            goal.text(),
            self.answers,
            self.records,
            self.dataset_bytes
        )
    }
}

/// A gateway's folder: data directory, buckets and key.
struct Home<'a> {
    gateway: &'a Path,
    folder: &'a Path,
}

impl Home<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.gateway);
        command.args(arguments).current_dir(self.folder).stdin(Stdio::null());
        for (key, value) in [
            ("NODE__DATA_DIR", "data"),
            ("BUCKET__MAIN__PATH", "bucket"),
            ("DICOM__BIND", "127.0.0.1:0"),
            ("WEB__BIND", "127.0.0.1:0"),
            ("DICOM__ACCEPT_UNKNOWN_CALLERS", "true"),
            ("LOG__FILTER", "error"),
        ] {
            command.env(format!("FILMGATE__{key}"), value);
        }
        command
    }

    /// Starts it; the process, and where it listens for associations and for the web.
    fn serve(&self) -> Result<(Owned, String, String)> {
        let mut serve = self.command(&["serve", "--json"]).stdout(Stdio::piped()).spawn()?;
        let told = first_line(&mut serve)?;
        let door = |name: &str| told[name].as_str().map(str::to_owned).context("where it listens");
        Ok((Owned::new(serve), door("dicom")?, door("web")?))
    }

    /// Receives everything and waits until it is verified; what is known of it then.
    fn fill(&self, files: &Path, instances: u64) -> Result<Known> {
        report::progress("receiving");
        let (serve, dicom, web) = self.serve()?;
        let files = files.display().to_string();
        let arguments = ["send", &dicom, &files, "--aec", AE_TITLE, "--associations", "4", "--json"];
        let sent = self.command(&arguments).stdout(Stdio::null()).status()?;
        ensure!(sent.success(), "not everything was sent");
        report::progress("waiting until all is verified");
        let since = Instant::now();
        while self.json(&["status", "--json"])?["states"]["verified"].as_u64() != Some(instances) {
            ensure!(since.elapsed() < DRAIN_WITHIN, "not everything was verified in time");
            thread::sleep(Duration::from_secs(1));
        }
        let answers = answers(&web, instances)?;
        serve.end()?;
        self.known(answers)
    }

    /// Searches are answered as before, and every byte opens as before.
    fn is_as_before(&self, before: &Known) -> Result<()> {
        let (serve, _, web) = self.serve()?;
        let answers = answers(&web, before.records)?;
        serve.end()?;
        let after = self.known(answers)?;
        for ((query, before), (_, after)) in before.answers.iter().zip(&after.answers) {
            ensure!(before == after, "{query} is answered otherwise than before");
        }
        ensure!(after == *before, "{} records of {} bytes open", after.records, after.dataset_bytes);
        Ok(())
    }

    fn known(&self, answers: Vec<(String, String)>) -> Result<Known> {
        report::progress("opening every byte");
        let deep = self.json(&["verify", "--deep", "--json"])?;
        let number = |key: &str| deep[key].as_u64().with_context(|| format!("{key} in {deep}"));
        Ok(Known { answers, records: number("records")?, dataset_bytes: number("dataset_bytes")? })
    }

    /// Takes the data directory away and makes the catalog anew.
    fn rebuild(&self) -> Result<Round> {
        fs::remove_dir_all(self.folder.join("data"))?;
        rustix::fs::sync();
        let (before, account) = (ended_children_cpu_seconds()?, Account::open()?);
        let answer = self.json(&["rebuild", "--json"])?;
        let cpu_seconds = ended_children_cpu_seconds()? - before;
        let other_cpu_share = account.other_share(cpu_seconds)?;
        let number = |key: &str| answer[key].as_u64().with_context(|| format!("{key} in {answer}"));
        Ok(Round {
            instances: number("instances")?,
            packs: number("packs")?,
            seconds: answer["seconds"].as_f64().context("seconds")?,
            cpu_seconds,
            other_cpu_share,
        })
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.command(arguments).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn first_line(serve: &mut Child) -> Result<Value> {
    let mut line = String::new();
    BufReader::new(serve.stdout.take().context("its output")?).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// What searches give: those of [`QUERIES`], and pages from all over the list of instances.
fn answers(web: &str, instances: u64) -> Result<Vec<(String, String)>> {
    report::progress("searching");
    let step = PAGE.max(instances.div_ceil(PAGES).next_multiple_of(PAGE));
    let pages = (0..instances).step_by(usize::try_from(step)?);
    let pages =
        pages.map(|offset| format!("/dicomweb/instances?limit={PAGE}&offset={offset}&includefield=all"));
    let agent = ureq::agent();
    let ask = |query: String| {
        let asked =
            agent.get(format!("http://{web}{query}")).header("accept", "application/dicom+json").call();
        let mut answer = asked.with_context(|| format!("ask for {query}"))?;
        let body = answer.body_mut().with_config().limit(1 << 30).read_to_string()?;
        Ok((query, body.replace(web, "HOST")))
    };
    QUERIES.iter().map(|query| (*query).to_owned()).chain(pages).map(ask).collect()
}

/// Files of about 800 bytes, without pixels: what is measured is rows, not bytes. Made once.
fn make_files(work: &Path, instances: u64) -> Result<PathBuf> {
    let folder = work.join(format!("small-{instances}"));
    let done = work.join(format!("small-{instances}.done"));
    if done.exists() {
        return Ok(folder);
    }
    report::progress("making files");
    for number in 0..instances {
        let study = number / INSTANCES_OF_STUDY;
        let series = number / INSTANCES_OF_SERIES;
        let of_study = folder.join(study.to_string());
        if number % INSTANCES_OF_STUDY == 0 {
            fs::create_dir_all(&of_study)?;
        }
        fs::write(of_study.join(format!("{number}.dcm")), small_file(study, series, number))?;
    }
    File::create(&done)?.write_all(b"done")?;
    // It is no DICOM file, and the sender takes only those.
    Ok(folder)
}

fn small_file(study: u64, series: u64, number: u64) -> Vec<u8> {
    const ROOT: &str = "1.2.826.0.1.3680043.10.1543.99";
    let sop = format!("{ROOT}.3.{number}");
    let elements: [(u32, &[u8; 2], String); 12] = [
        (0x0008_0005, b"CS", "ISO_IR 192".to_owned()),
        (0x0008_0016, b"UI", CT_IMAGE.to_owned()),
        (0x0008_0018, b"UI", sop.clone()),
        (0x0008_0020, b"DA", "20250314".to_owned()),
        (0x0008_0050, b"SH", format!("A{study}")),
        (0x0008_0060, b"CS", "CT".to_owned()),
        (0x0008_1030, b"LO", "Thorax".to_owned()),
        (0x0010_0010, b"PN", format!("Phantom^Number{study}")),
        (0x0010_0020, b"LO", format!("P{study}")),
        (0x0020_000D, b"UI", format!("{ROOT}.1.{study}")),
        (0x0020_000E, b"UI", format!("{ROOT}.2.{series}")),
        (0x0020_0013, b"IS", number.to_string()),
    ];
    let elements: Vec<_> = elements.iter().map(|(tag, vr, value)| (*tag, *vr, value.as_bytes())).collect();
    part10::file(CT_IMAGE, &sop, &elements)
}
