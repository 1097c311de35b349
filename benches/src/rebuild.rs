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
use serde_json::Value;

use crate::{Places, process::Owned, process::ended_children_cpu_seconds, report};

const AE_TITLE: &str = "FILMGATE";
const INSTANCES_OF_STUDY: u64 = 200;
const INSTANCES_OF_SERIES: u64 = 100;
const QUICK_INSTANCES: u64 = 2000;
const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
/// From the last answer until all is verified.
const DRAIN_WITHIN: Duration = Duration::from_secs(900);

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
struct Round {
    instances: u64,
    packs: u64,
    seconds: f64,
    cpu_seconds: f64,
}

impl Rebuild {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let instances = if self.places.quick { QUICK_INSTANCES } else { self.instances };
        let files = make_files(&self.places.work, instances)?;
        let folder = tempfile::Builder::new().prefix(crate::LEFTOVER_PREFIX).tempdir_in(&self.places.work)?;
        let home = Home { gateway: &self.gateway, folder: folder.path() };
        home.fill(&files, instances)?;
        for number in 1..=self.places.rounds() {
            let round = home.rebuild()?;
            ensure!(round.instances == instances, "{} of {instances} instances came back", round.instances);
            println!(
                "round {number}: {} instances of {} packs in {:.2} s: {:.0} instances/s, {:.2} s of CPU",
                round.instances,
                round.packs,
                round.seconds,
                round.instances as f64 / round.seconds,
                round.cpu_seconds
            );
        }
        Ok(())
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

    /// Receives everything and waits until it is verified.
    fn fill(&self, files: &Path, instances: u64) -> Result<()> {
        report::progress("receiving");
        let mut serve = self.command(&["serve", "--json"]).stdout(Stdio::piped()).spawn()?;
        let address = address_of(&mut serve)?;
        let serve = Owned::new(serve);
        let files = files.display().to_string();
        let arguments = ["send", &address, &files, "--aec", AE_TITLE, "--associations", "4", "--json"];
        let sent = self.command(&arguments).stdout(Stdio::null()).status()?;
        ensure!(sent.success(), "not everything was sent");
        report::progress("waiting until all is verified");
        let since = Instant::now();
        while self.json(&["status", "--json"])?["states"]["verified"].as_u64() != Some(instances) {
            ensure!(since.elapsed() < DRAIN_WITHIN, "not everything was verified in time");
            thread::sleep(Duration::from_secs(1));
        }
        serve.end()
    }

    /// Takes the data directory away and makes the catalog anew.
    fn rebuild(&self) -> Result<Round> {
        fs::remove_dir_all(self.folder.join("data"))?;
        let before = ended_children_cpu_seconds()?;
        let answer = self.json(&["rebuild", "--json"])?;
        let number = |key: &str| answer[key].as_u64().with_context(|| format!("{key} in {answer}"));
        Ok(Round {
            instances: number("instances")?,
            packs: number("packs")?,
            seconds: answer["seconds"].as_f64().context("seconds")?,
            cpu_seconds: ended_children_cpu_seconds()? - before,
        })
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.command(arguments).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn address_of(serve: &mut Child) -> Result<String> {
    let mut line = String::new();
    BufReader::new(serve.stdout.take().context("its output")?).read_line(&mut line)?;
    let told: Value = serde_json::from_str(&line)?;
    Ok(told["dicom"].as_str().context("where it listens")?.to_owned())
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
    let mut meta = Vec::new();
    element(&mut meta, 0x0002_0002, b"UI", CT_IMAGE);
    element(&mut meta, 0x0002_0003, b"UI", &sop);
    element(&mut meta, 0x0002_0010, b"UI", "1.2.840.10008.1.2.1");
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM\x02\x00\x00\x00UL\x04\x00");
    file.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    file.extend_from_slice(&meta);
    for (tag, vr, value) in [
        (0x0008_0005, b"CS", "ISO_IR 192".to_owned()),
        (0x0008_0016, b"UI", CT_IMAGE.to_owned()),
        (0x0008_0018, b"UI", sop),
        (0x0008_0020, b"DA", "20250314".to_owned()),
        (0x0008_0050, b"SH", format!("A{study}")),
        (0x0008_0060, b"CS", "CT".to_owned()),
        (0x0008_1030, b"LO", "Thorax".to_owned()),
        (0x0010_0010, b"PN", format!("Phantom^Number{study}")),
        (0x0010_0020, b"LO", format!("P{study}")),
        (0x0020_000D, b"UI", format!("{ROOT}.1.{study}")),
        (0x0020_000E, b"UI", format!("{ROOT}.2.{series}")),
        (0x0020_0013, b"IS", number.to_string()),
    ] {
        element(&mut file, tag, vr, &value);
    }
    file
}

/// An element in explicit little endian with a short length (PS3.5 7.1.2).
fn element(out: &mut Vec<u8>, tag: u32, vr: &[u8; 2], value: &str) {
    out.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
    out.extend_from_slice(&(tag as u16).to_le_bytes());
    out.extend_from_slice(vr);
    let length = value.len().next_multiple_of(2);
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
    if length > value.len() {
        out.push(if vr == b"UI" { 0 } else { b' ' });
    }
}
