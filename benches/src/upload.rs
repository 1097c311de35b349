//! `upload`: packs to S3 beside a plain copy of the same bytes, beside an object for each instance, and while receiving.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use filmgate_pipeline::Settings;
use tokio::runtime::Runtime;

use crate::{
    Places,
    beside::{Pair, Results},
    cloud::{Plain, Server, bucket_name},
    cloud_gateway::{Home, Running},
    data::{self, Files, Kind, Set},
    machine::Machine,
    noise, report,
    senders::{Sender, Senders},
    station::Station,
};

const NOISE: usize = 6000;
const QUICK_NOISE: usize = 500;
/// CT slices of each receipt: some seconds of it, against the moment in which what was on its way when it began still goes out.
const RECEIPT: usize = 2400;
const QUICK_RECEIPT: usize = 160;
/// Packs the gateway uploads at a time (`upload.packs_in_flight`).
const PACKS_IN_FLIGHT: usize = 4;
const ASSOCIATIONS: u8 = 4;

#[derive(Debug, Args)]
pub(crate) struct Upload {
    #[command(flatten)]
    places: Places,
    /// The gateway's program
    #[arg(long, value_parser = crate::existing)]
    gateway: PathBuf,
    /// The folder of test data
    #[arg(long, value_parser = crate::existing)]
    test_data: PathBuf,
}

/// Files, server and runtime, ready.
struct Bench<'a> {
    upload: &'a Upload,
    runtime: Runtime,
    server: Server,
    plain: Plain,
    ct: Set,
    receipts: [Files; 2],
    noise: PathBuf,
}

impl Upload {
    pub(crate) fn run(&self) -> Result<()> {
        let _turn = self.places.take_turn()?;
        let (server, quick) = (Server::told()?, self.places.quick);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let slices = if quick { QUICK_RECEIPT } else { RECEIPT };
        let receipt = |at: usize| {
            let name = format!("receipt-{at}-{slices}");
            data::study(&name, at * slices..(at + 1) * slices, &self.test_data, &self.places.work)
        };
        let bench = Bench {
            upload: self,
            plain: runtime.block_on(async { server.plain() }),
            runtime,
            server,
            ct: Set::prepare(Kind::Ct, quick, &self.test_data, &self.places.work)?,
            receipts: [receipt(0)?, receipt(1)?],
            noise: noise::prepare(&self.places.work, if quick { QUICK_NOISE } else { NOISE })?,
        };
        let machine = Machine::look(&self.places.work, &["radosgw"])?;
        let results = bench.measure(machine)?;
        report::publish(&self.places, "upload", quick, &results, &results.tables())
    }
}

impl Bench<'_> {
    fn measure(&self, machine: Machine) -> Result<Results> {
        let rounds = self.upload.places.rounds();
        let mut copy = Pair::new("packed CT, 4 parts in flight", "plain multipart copy", "MB/s", true, 0.8);
        let mut each = Pair::new("200 KB instances, in packs", "an object each", "instances/s", true, 2.5);
        let mut receipt = Pair::new("receipt of CT while uploading", "receipt alone", "MB/s", true, 0.8);
        let mut notes = Vec::new();
        // The first writes of a fresh server are slow: a lot that does not count goes before.
        self.copy(&mut copy.clone(), true)?;
        for round in 0..rounds {
            let ours_first = round % 2 == 0;
            self.copy(&mut copy, ours_first)?;
            let note = self.each(&mut each, ours_first)?;
            let drain = self.receipt(&mut receipt, ours_first)?;
            notes.extend([note, drain]);
        }
        Ok(Results { machine, rounds, pairs: vec![copy, each, receipt], notes })
    }

    /// The same packs, both ways.
    fn copy(&self, pair: &mut Pair, ours_first: bool) -> Result<()> {
        let mut files = paths(&self.ct.measured);
        files.append(&mut paths(&self.ct.warm_up));
        let (station, packs) = self.packed(files)?;
        let megabytes = packs.iter().map(Bytes::len).sum::<usize>() as f64 / 1e6;
        let (ours, plain) = self.both(ours_first, &station, &packs, |plain, bucket| {
            let settings = Settings::default();
            let (part, flight) = (settings.part_size_bytes as usize, settings.parts_in_flight);
            self.runtime.block_on(plain.copy_in_parts(bucket, &packs, part, flight))
        })?;
        pair.add(megabytes / ours, megabytes / plain);
        Ok(())
    }

    /// As many sealed bytes: in packs, and cut into an object for each instance.
    fn each(&self, pair: &mut Pair, ours_first: bool) -> Result<String> {
        let files = files_in(&self.noise)?;
        let instances = files.len();
        let (station, packs) = self.packed(files)?;
        let bytes: usize = packs.iter().map(Bytes::len).sum();
        let whole: Bytes = packs.concat().into();
        let size = bytes.div_ceil(instances);
        let objects: Vec<Bytes> =
            (0..instances).map(|n| whole.slice((n * size).min(bytes)..((n + 1) * size).min(bytes))).collect();
        let settings = Settings::default();
        let (ours, plain) = self.both(ours_first, &station, &packs, |plain, bucket| {
            self.runtime.block_on(plain.put_each(bucket, &objects, settings.parts_in_flight))
        })?;
        pair.add(instances as f64 / ours, instances as f64 / plain);
        let parts: usize =
            packs.iter().map(|pack| pack.len().div_ceil(settings.part_size_bytes as usize)).sum();
        Ok(format!(
            "{instances} instances of {} KB in {} packs: {:.0} instances for each PUT of a part",
            size / 1000,
            packs.len(),
            instances as f64 / parts as f64
        ))
    }

    fn packed(&self, files: Vec<PathBuf>) -> Result<(Station, Vec<Bytes>)> {
        let work = &self.upload.places.work;
        let station = self.runtime.block_on(async {
            let station = Station::new(work, &self.server, &self.plain).await?;
            station.receive(files).await?;
            Ok::<_, anyhow::Error>(station)
        })?;
        rustix::fs::sync();
        let packs = station.packs()?;
        Ok((station, packs))
    }

    /// Seconds of our upload and of `plainly`, one after the other.
    fn both(
        &self,
        ours_first: bool,
        station: &Station,
        packs: &[Bytes],
        plainly: impl Fn(&Plain, &str) -> Result<()>,
    ) -> Result<(f64, f64)> {
        let bucket = bucket_name("plain");
        self.runtime.block_on(self.plain.make_bucket(&bucket))?;
        let ours = || {
            let began = Instant::now();
            let uploaded = self.runtime.block_on(station.upload(PACKS_IN_FLIGHT))?;
            ensure!(uploaded == packs.len(), "{uploaded} of {} packs were uploaded", packs.len());
            Ok(began.elapsed().as_secs_f64())
        };
        let plain = || {
            let began = Instant::now();
            plainly(&self.plain, &bucket)?;
            Ok::<_, anyhow::Error>(began.elapsed().as_secs_f64())
        };
        if ours_first {
            let ours = ours()?;
            return Ok((ours, plain()?));
        }
        let plain = plain()?;
        Ok((ours()?, plain))
    }

    /// The program itself: receiving with its bucket away, and with a backlog on its way there.
    fn receipt(&self, pair: &mut Pair, ours_first: bool) -> Result<String> {
        let places = &self.upload.places;
        let home = Home::new(&self.upload.gateway, &places.work, &self.server, &self.plain);
        let home = self.runtime.block_on(home)?.set("UPLOAD__RETRY_DELAY_MAX_MS", 1000);
        home.serve(true)?.end()?;
        let backlog = Files::in_folder(&self.noise)?;
        let all = backlog.instances() + self.receipts.iter().map(Files::instances).sum::<u64>();
        let gateway = home.serve(false)?;
        self.sent(&backlog, &gateway)?;
        gateway.wait_packed(backlog.instances())?;
        gateway.end()?;
        let [first, second] = &self.receipts;
        let (alone, (meanwhile, put, drained)) = if ours_first {
            let meanwhile = self.while_uploading(&home, first, backlog.instances() + first.instances())?;
            (self.alone(&home, second, second.instances())?, meanwhile)
        } else {
            let alone = self.alone(&home, first, backlog.instances() + first.instances())?;
            (alone, self.while_uploading(&home, second, all)?)
        };
        pair.add(meanwhile, alone);
        Ok(format!(
            "received at {meanwhile:.0} MB/s while {put} parts went out; drained {drained:.1} s after the last answer, {} MB \
             of files in all",
            (backlog.bytes + first.bytes + second.bytes) / 1_000_000
        ))
    }

    /// MB/s of what is received with the bucket away; then so many instances wait for it.
    fn alone(&self, home: &Home, files: &Files, waiting: u64) -> Result<f64> {
        rustix::fs::sync();
        let gateway = home.serve(false)?;
        let rate = self.sent(files, &gateway)?;
        gateway.wait_packed(waiting)?;
        gateway.end()?;
        Ok(rate)
    }

    /// MB/s of what is received while all that waits goes out, parts that went out meanwhile, and the seconds from the last
    /// answer until so many instances are verified.
    fn while_uploading(&self, home: &Home, files: &Files, verified: u64) -> Result<(f64, u64, f64)> {
        rustix::fs::sync();
        let gateway = home.serve(true)?;
        let rate = self.sent(files, &gateway)?;
        let put = gateway.counter("filmgate_uploaded_parts_total")?;
        let drained = gateway.wait_verified(verified)?;
        gateway.end()?;
        Ok((rate, put, drained.as_secs_f64()))
    }

    /// Sends files; MB/s.
    fn sent(&self, files: &Files, gateway: &Running) -> Result<f64> {
        let senders = Senders::new(&self.upload.gateway, &self.upload.places.work)?;
        let sent = senders.send(Sender::Own, ASSOCIATIONS, files, gateway.dicom_port)?;
        Ok(files.bytes as f64 / 1e6 / sent.seconds)
    }
}

fn paths(files: &Files) -> Vec<PathBuf> {
    files.names.iter().map(|name| files.folder.join(name)).collect()
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
