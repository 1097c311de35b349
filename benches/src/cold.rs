//! `cold`: a frame of a pack that is only in S3, through the web door, beside a plain range GET of as many bytes.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use filmgate_model::Random;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    Places,
    beside::{Pair, Results},
    cloud::{Plain, Server},
    cloud_gateway::{Home, Running},
    data::{Kind, Set},
    machine::Machine,
    report::{self, median},
    senders::{Sender, Senders},
};

const ASSOCIATIONS: u8 = 4;
const READS: &str = "filmgate_object_reads_total{of=\"range\"}";
const FOOTER_READS: &str = "filmgate_object_reads_total{of=\"footer\"}";
/// Of the frames, so many must have been cold: one that was read ahead with another costs no request, and no time.
const COLD_SHARE_MIN: f64 = 0.8;
const READ_BYTES: &str = "filmgate_object_read_bytes_total{of=\"range\"}";

#[derive(Debug, Args)]
pub(crate) struct Cold {
    #[command(flatten)]
    places: Places,
    /// The gateway's program
    #[arg(long, value_parser = crate::existing)]
    gateway: PathBuf,
    /// The folder of test data
    #[arg(long, value_parser = crate::existing)]
    test_data: PathBuf,
}

impl Cold {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let server = Server::told()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let plain = runtime.block_on(async { server.plain() });
        let set = Set::prepare(Kind::Ct, self.places.quick, &self.test_data, &self.places.work)?;
        let machine = Machine::look(&self.places.work, &["radosgw"])?;
        let rounds = self.places.rounds();
        let mut pair =
            Pair::new("cold CT frame through the web door, p50", "plain range GET", "ms", false, 1.3);
        let mut notes = Vec::new();
        for _ in 0..rounds {
            let home = runtime.block_on(Home::new(&self.gateway, &self.places.work, &server, &plain))?;
            // Packs leave as soon as they may, and stay as they are.
            let home = home.set("CACHE__BYTES_MAX", 0).set("REPACK__SMALL_PACK_BYTES", 0);
            let gateway = home.serve(true)?;
            self.fill(&gateway, &set)?;
            notes.push(measure(&runtime, &plain, &home, &gateway, &mut pair)?);
            gateway.end()?;
        }
        let results = Results { machine, rounds, pairs: vec![pair], notes };
        report::publish(&self.places, "cold", self.places.quick, &results, &results.tables())
    }

    fn fill(&self, gateway: &Running, set: &Set) -> Result<()> {
        let senders = Senders::new(&self.gateway, &self.places.work)?;
        senders.send(Sender::Own, ASSOCIATIONS, &set.measured, gateway.dicom_port)?;
        gateway.wait_verified(set.measured.instances())?;
        gateway.wait_cold().map(drop)
    }
}

/// Each frame once, in no order, a plain GET behind each. A cold one costs one request for a range and nothing else; one that
/// costs none, since it was read ahead, is not counted.
fn measure(
    runtime: &Runtime,
    plain: &Plain,
    home: &Home,
    gateway: &Running,
    pair: &mut Pair,
) -> Result<String> {
    let random = Random::system();
    let mut frames = frames(gateway)?;
    shuffle(&mut frames, &random);
    let packs = runtime.block_on(plain.list(&home.bucket, "v1/pack/"))?;
    ensure!(!packs.is_empty(), "no packs in the bucket");
    let agent = ureq::agent();
    // Footers are opened, connections made.
    for frame in &frames {
        let series = frame.rsplit_once("/instances/").context("an instance's path")?.0;
        gateway.get(&agent, &format!("{series}/metadata"), "application/dicom+json")?;
        runtime.block_on(plain.get(&home.bucket, &packs[0].0, 0, 1000))?;
        if frames.iter().all(|other| other.starts_with(series)) {
            break;
        }
    }
    let (mut ours, mut others, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut body = Vec::new();
    let footers = gateway.counter(FOOTER_READS)?;
    for frame in &frames {
        let (reads_before, bytes_before) = (gateway.counter(READS)?, gateway.counter(READ_BYTES)?);
        let began = Instant::now();
        gateway.get_into(
            &agent,
            &format!("{frame}/bulkdata/7FE00010"),
            "application/octet-stream",
            &mut body,
        )?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        let reads = gateway.counter(READS)? - reads_before;
        ensure!(reads <= 1, "{frame} took {reads} requests");
        if reads == 0 {
            continue;
        }
        ours.push(took);
        let read = gateway.counter(READ_BYTES)? - bytes_before;
        let (name, size) = &packs[random.below(packs.len() as u64) as usize];
        let read = read.clamp(1, *size);
        let start = random.below(size - read + 1);
        let began = Instant::now();
        runtime.block_on(plain.get(&home.bucket, name, start, read))?;
        others.push(began.elapsed().as_secs_f64() * 1e3);
        bytes.push(read as f64);
    }
    let footers = gateway.counter(FOOTER_READS)? - footers;
    ensure!(footers == 0, "{footers} footers were read on the way");
    let cold = ours.len();
    ensure!(
        cold as f64 >= COLD_SHARE_MIN * frames.len() as f64,
        "only {cold} of {} frames were cold",
        frames.len()
    );
    pair.add(median(&ours), median(&others));
    Ok(format!(
        "{cold} of {} frames were cold and took one request each, of {:.0} KB; the others had been read ahead",
        frames.len(),
        median(&bytes) / 1e3
    ))
}

/// The paths of all instances.
fn frames(gateway: &Running) -> Result<Vec<String>> {
    let rows = gateway.json("/dicomweb/instances?limit=1000")?;
    let rows = rows.as_array().context("a list of instances")?;
    let uid = |row: &Value, tag: &str| {
        row[tag]["Value"][0].as_str().map(str::to_owned).with_context(|| format!("{tag} of an instance"))
    };
    let path = |row| {
        let (study, series, instance) = (uid(row, "0020000D")?, uid(row, "0020000E")?, uid(row, "00080018")?);
        Ok(format!("/dicomweb/studies/{study}/series/{series}/instances/{instance}"))
    };
    rows.iter().map(path).collect()
}

fn shuffle(frames: &mut [String], random: &Random) {
    for at in (1..frames.len()).rev() {
        frames.swap(at, random.below(at as u64 + 1) as usize);
    }
}
