//! The whole road — receive, index, pack, upload, verify, log, evict, recover, retrieve — as `serve` runs it, over a crashing
//! disk, a faulty bucket and a jumping clock, against a plain model of what was acknowledged.

mod custody;
mod named;
mod rebuilt;
mod rest;
mod sent;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod yielding;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use filmgate_bucket::{Bucket, Fault, FaultyBucket, MemoryBucket, Operation};
use filmgate_catalog::{Catalog, CatalogOptions};
use filmgate_keys::{Kek, KeyRing};
use filmgate_model::{Clock, Random, RecordId, Timestamp};
use filmgate_pipeline::{
    Cached, Committing, Error, OpenRecord, Parts, Placement, Received, Receiving, Road, Settings, Verdict,
    Yielding,
};
use filmgate_seal::SealOptions;
use filmgate_spool::{Admission, Journal, JournalOptions, PackFolder, Reserve};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use self::custody::Custody;
use self::sent::{Sent, dataset, provenance};
pub use self::tally::RoadTally;
use crate::{Faults, Violation, machine::Machine};

/// Folders of the data directory.
const FOLDERS: [&str; 8] =
    ["journal", "packs", "log", "keys", "keys/landing", "keys/study", "keys/log", "keys/signing"];
const STEPS: u64 = 200;
const ARRIVING_MAX: usize = 4;
/// How long a confirmed deletion can be taken back.
const DELETION_GRACE: Duration = Duration::from_secs(30);
/// Rounds of every step within which everything has to be verified once nothing fails any more.
const ROUNDS_TO_REST: u64 = 400;

/// Runs the road by `seed`.
///
/// # Errors
/// The first promise that was broken.
pub fn road_tally(seed: u64) -> Result<RoadTally, Violation> {
    let start = |what: String| Violation { seed, step: 0, what };
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(|error| start(error.to_string()))?;
    let mut run = Run::new(seed, runtime).map_err(start)?;
    run.play().map_err(|what| Violation { seed, step: run.step, what })?;
    Ok(run.tally)
}

type Check = Result<(), String>;

struct Arriving {
    receiving: Receiving,
    sent: Sent,
    given: usize,
}

struct Run {
    seed: u64,
    runtime: Runtime,
    random: Random,
    clock: Clock,
    disk: Machine,
    faults: Faults,
    catalog: Arc<Catalog>,
    /// Made with the keys at the first start that gets so far.
    has_keys: bool,
    /// Those of the last start.
    keys: Option<Arc<KeyRing>>,
    store: Arc<MemoryBucket>,
    key_store: Arc<MemoryBucket>,
    placement: Placement,
    /// Calls of the bucket that fail, in 100.
    bucket_faults: Arc<Mutex<u64>>,
    road: Option<Arc<Road>>,
    arriving: Vec<Arriving>,
    committing: Vec<(Committing, Sent)>,
    acknowledged: BTreeMap<RecordId, Sent>,
    sent: Vec<Sent>,
    step: u64,
    tally: RoadTally,
    yielding: Yielding,
    custody: Custody,
    /// The latest time the clock showed before it was last set.
    latest_seen: Timestamp,
}

impl Run {
    fn new(seed: u64, runtime: Runtime) -> Result<Self, String> {
        let random = Random::seeded(seed);
        let bucket_faults = Arc::new(Mutex::new(random.below(30)));
        // Every other history takes packs in parts; a part is small enough for each pack to have some.
        let store = if seed.is_multiple_of(2) { MemoryBucket::in_parts() } else { MemoryBucket::default() };
        let (store, key_store) = (Arc::new(store), Arc::new(MemoryBucket::default()));
        let faults = match random.below(3) {
            0 => Faults::default(),
            1 => Faults { sync: 60, ..Faults::default() },
            _ => {
                Faults { read: random.below(100), write: random.below(40), full: random.below(40), sync: 20 }
            }
        };
        // The ids of the node are in its keys; those are made by the same seed, so the catalog can be there first.
        let options = catalog_options(seed);
        let catalog = runtime.block_on(Catalog::in_memory(&options)).map_err(|error| error.to_string())?;
        Ok(Self {
            seed,
            runtime,
            clock: Clock::manual(Timestamp(1_700_000_000_000)),
            disk: Machine::new(&random, 64 << 20, seed % 5 == 4),
            faults,
            catalog: Arc::new(catalog),
            has_keys: false,
            keys: None,
            placement: faulty(&random, &store, &key_store, &bucket_faults),
            store,
            key_store,
            bucket_faults,
            random,
            custody: Custody::default(),
            latest_seen: Timestamp::default(),
            road: None,
            arriving: Vec::new(),
            committing: Vec::new(),
            acknowledged: BTreeMap::new(),
            sent: Vec::new(),
            step: 0,
            tally: RoadTally::default(),
            yielding: Yielding { bytes_per_second: 256 << 10, ..Yielding::default() },
        })
    }

    fn play(&mut self) -> Check {
        self.restart()?;
        while self.step < STEPS {
            self.step += 1;
            self.act()?;
            if self.disk.power_is_off() {
                self.restart()?;
            }
        }
        self.come_to_rest()
    }

    fn road(&self) -> Result<Arc<Road>, String> {
        self.road.clone().ok_or_else(|| "no road".to_owned())
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn act(&mut self) -> Check {
        match self.random.below(112) {
            100.. => self.take_custody(),
            0..14 => self.begin(),
            14..40 => self.push(),
            40..54 => self.sync_round(),
            54..60 => self.index(),
            60..70 => self.pack(),
            70..78 => self.upload(),
            78..83 => self.verify(),
            83..87 => self.log(),
            87..89 => self.evict(),
            89..93 => self.read_any(),
            93..95 => {
                // Clocks are set, forwards and back.
                self.latest_seen = self.latest_seen.max(self.clock.now());
                self.clock.shift_ms(self.random.below(200_000) as i64 - 40_000);
                Ok(())
            }
            95..98 => {
                self.disk.cut_power_in(1 + self.random.below(40));
                Ok(())
            }
            98 => {
                self.disk.cut_power();
                Ok(())
            }
            _ => {
                self.disk.kill_process();
                self.restart()
            }
        }
    }

    fn begin(&mut self) -> Check {
        if self.arriving.len() >= ARRIVING_MAX {
            return Ok(());
        }
        let sent = self.next_sent();
        match self.road()?.receive(provenance(&sent, self.clock.now(), node_of(self.seed))) {
            Ok(receiving) => self.arriving.push(Arriving { receiving, sent, given: 0 }),
            Err(error) => self.refuse(&error),
        }
        Ok(())
    }

    /// A new instance, or one sent before: the same, or with other content.
    fn next_sent(&mut self) -> Sent {
        let known = self.sent.get(self.random.below(self.sent.len() as u64) as usize).cloned();
        let sent = match (self.random.below(10), known) {
            (0..2, Some(again)) => return again,
            (2, Some(known)) => {
                let dataset = dataset(&self.random, &known.study_instance_uid, &known.sop_instance_uid);
                Sent { dataset, broken: false, ..known }
            }
            (3, _) => {
                let whole = self.new_sent();
                let cut = whole.dataset.len() - 3;
                Sent { dataset: whole.dataset[..cut].into(), broken: true, ..whole }
            }
            _ => self.new_sent(),
        };
        self.sent.push(sent.clone());
        sent
    }

    fn new_sent(&self) -> Sent {
        let study_instance_uid = format!("1.2.{}", 1 + self.random.below(3));
        let sop_instance_uid = format!("1.2.3.{}", self.sent.len());
        let dataset = dataset(&self.random, &study_instance_uid, &sop_instance_uid);
        Sent { sop_instance_uid, study_instance_uid, dataset, broken: false }
    }

    /// The next bytes of one of the arriving; after the last, its commit.
    fn push(&mut self) -> Check {
        let number = self.random.below(self.arriving.len() as u64) as usize;
        if number >= self.arriving.len() {
            return Ok(());
        }
        let mut arriving = self.arriving.swap_remove(number);
        let rest = arriving.sent.dataset.get(arriving.given..).unwrap_or_default();
        let piece = &rest[..rest.len().min(1 + self.random.below(16_000) as usize)];
        let pushed = arriving.receiving.push(piece);
        arriving.given += piece.len();
        match pushed {
            Err(error) => self.refuse(&error),
            Ok(()) if arriving.given < arriving.sent.dataset.len() => self.arriving.push(arriving),
            Ok(()) => match arriving.receiving.finish() {
                Ok(committing) => self.committing.push((committing, arriving.sent)),
                Err(error) => self.refuse(&error),
            },
        }
        Ok(())
    }

    fn refuse(&mut self, _error: &Error) {
        // Nothing was promised; what caused it is the disk's business.
        self.tally.refused += 1;
    }

    fn sync_round(&mut self) -> Check {
        self.road()?.journal().sync_round();
        for (committing, sent) in std::mem::take(&mut self.committing) {
            match committing.poll() {
                Err(waiting) => self.committing.push((waiting, sent)),
                Ok(Err(error)) => self.refuse(&error),
                Ok(Ok(received)) => self.acknowledge(&received, sent)?,
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, received: &Received, sent: Sent) -> Check {
        if (received.verdict == Verdict::Accepted) == sent.broken {
            return Err(format!("record {} was judged {:?}", received.record_id, received.verdict));
        }
        self.tally.acknowledged += 1;
        self.tally.quarantined += u64::from(sent.broken);
        self.acknowledged.insert(received.record_id, sent);
        Ok(())
    }

    fn index(&mut self) -> Check {
        let road = self.road()?;
        self.tolerate(self.wait(road.index_received()).map(|_| ()))
    }

    fn pack(&mut self) -> Check {
        let road = self.road()?;
        let due = self.wait(road.studies_to_pack());
        // The order of packing is what a crash in the midst of it shows.
        if self.step < STEPS && self.random.below(3) == 0 {
            match self.random.below(8) {
                // Between a pack's last sync and its row nothing is written that could be cut by number.
                0 => self.disk.cut_power_at_folder_sync(),
                _ => self.disk.cut_power_in(1 + self.random.below(80)),
            }
        }
        for study in due.map_err(|error| error.to_string())? {
            if !self.has_rested(study.oldest_at)? {
                break;
            }
            match self.wait(road.pack(&study)) {
                Ok(packed) => {
                    self.tally.packs += u64::from(packed.records > 0);
                    self.tally.dropped += packed.dropped as u64;
                }
                Err(error) => self.tolerate(Err(error))?,
            }
            if self.disk.power_is_off() {
                break;
            }
        }
        Ok(())
    }

    /// As a worker rests before a unit of work: a while, then it asks again.
    fn has_rested(&mut self, since: Timestamp) -> Result<bool, String> {
        let rest = self.road()?.rest_before(since);
        self.clock.shift_ms(rest.min(Duration::from_millis(200)).as_millis() as i64);
        self.tally.yielded += u64::from(!rest.is_zero());
        Ok(rest.is_zero())
    }

    fn upload(&mut self) -> Check {
        let road = self.road()?;
        let Some(job) =
            self.wait(road.next_upload(&self.placement, &[])).map_err(|error| error.to_string())?
        else {
            return Ok(());
        };
        if !self.has_rested(job.created_at)? {
            return Ok(());
        }
        match self.wait(road.upload(&self.placement, &job)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.tally.put_off += 1;
                Ok(())
            }
            Err(error) => self.tolerate(Err(error)),
        }
    }

    fn verify(&mut self) -> Check {
        let road = self.road()?;
        let Some(job) =
            self.wait(road.next_to_verify(&self.placement, &[])).map_err(|error| error.to_string())?
        else {
            return Ok(());
        };
        if !self.has_rested(job.created_at)? {
            return Ok(());
        }
        match self.wait(road.verify(&self.placement, &job)) {
            Ok(verified) => {
                self.tally.verified += u64::from(verified);
                if verified { self.check_in_store(&job) } else { Ok(()) }
            }
            Err(error) => self.tolerate(Err(error)),
        }
    }

    /// Verified means: in the store itself, behind all faults, equal to the last byte, and its key beside it.
    fn check_in_store(&self, pack: &filmgate_catalog::Pack) -> Check {
        let name = format!("v1/pack/{}", pack.pack_id);
        let stored =
            self.wait(self.store.get(&name, 0..pack.bytes)).map_err(|error| format!("verified: {error}"))?;
        if <[u8; 32]>::from(Sha256::digest(&stored)) != pack.sha256 {
            return Err(format!("{name} is verified and different"));
        }
        let key = self.wait(self.key_store.head(&format!("v1/key/{}/1", pack.study_key_id)));
        match key {
            Ok(Some(_)) => Ok(()),
            _ => Err(format!("{name} is verified and its key is not there")),
        }
    }

    fn log(&mut self) -> Check {
        let road = self.road()?;
        // The order of the log is what a crash in the midst of it shows.
        if self.step < STEPS && self.random.below(12) == 0 {
            self.disk.cut_power_in(1 + self.random.below(12));
        }
        match self.wait(road.write_log()) {
            Ok(logged) => {
                self.tally.logged += logged.packs;
                self.check_named()
            }
            Err(error) => self.tolerate(Err(error)),
        }
    }

    fn evict(&mut self) -> Check {
        let road = self.road()?;
        match self.wait(road.evict()) {
            Ok(evicted) => {
                self.tally.evicted += evicted as u64;
                Ok(())
            }
            Err(error) => self.tolerate(Err(error)),
        }
    }

    /// Disk and bucket may fail a step while they are meant to; the catalog never has a reason to.
    fn tolerate(&self, step: Result<(), Error>) -> Check {
        let nothing_fails = self.faults == Faults::default() && *self.bucket_faults.lock() == 0;
        match step {
            Err(error)
                if matches!(error, Error::Catalog(_)) || nothing_fails && !self.disk.power_is_off() =>
            {
                Err(format!("{error}: {:?}", std::error::Error::source(&error)))
            }
            _ => Ok(()),
        }
    }

    fn read_any(&mut self) -> Check {
        let number = self.random.below(self.acknowledged.len() as u64) as usize;
        let Some((&record_id, sent)) = self.acknowledged.iter().nth(number) else { return Ok(()) };
        let sent = sent.clone();
        if self.custody.is_gone(record_id) {
            return Ok(());
        }
        match self.wait(self.read_back(record_id, &sent)) {
            Ok(()) => {
                self.tally.read += 1;
                Ok(())
            }
            Err(Unread::Different(what)) => Err(what),
            // Only what has no cause is a violation, and causes are gone when the run comes to rest.
            Err(Unread::Failed(_)) => Ok(()),
        }
    }

    async fn read_back(&self, record_id: RecordId, sent: &Sent) -> Result<(), Unread> {
        let road = self.road().map_err(Unread::Failed)?;
        match road.open(record_id).await {
            Ok(opened) => compare(&opened, sent).await,
            // Dropped: another record with the same bytes stands for it.
            Err(Error::NotFound(_)) => self.read_kept_copy(&road, sent).await,
            Err(error) => Err(Unread::Failed(format!("record {record_id}: {error}"))),
        }
    }

    async fn read_kept_copy(&self, road: &Arc<Road>, sent: &Sent) -> Result<(), Unread> {
        let failed = |error: &dyn std::error::Error| Unread::Failed(error.to_string());
        let sha256: [u8; 32] = Sha256::digest(&sent.dataset).into();
        let copies =
            self.catalog.copies_of(&[&sent.sop_instance_uid]).await.map_err(|error| failed(&error))?;
        let Some(kept) = copies.iter().find(|copy| copy.dataset_sha256 == sha256) else {
            let uid = &sent.sop_instance_uid;
            return Err(Unread::Failed(format!("instance {uid} was acknowledged and is not known")));
        };
        compare(&road.open(kept.record_id).await.map_err(|error| failed(&error))?, sent).await
    }

    /// The process ended, by a power cut or by a kill: starts it again until it comes up.
    fn restart(&mut self) -> Check {
        self.tally.restarts += 1;
        self.arriving.clear();
        self.committing.clear();
        self.road = None;
        for attempt in 0.. {
            if self.disk.power_is_off() {
                self.disk.power_on();
            }
            self.disk.set_faults(if attempt < 2 { self.faults } else { Faults::default() });
            if attempt == 0 && self.step < STEPS && self.random.below(6) == 0 {
                self.disk.cut_power_in(1 + self.random.below(60));
            }
            match self.open() {
                Ok(road) if !self.disk.power_is_off() => {
                    self.disk.set_faults(self.faults);
                    self.road = Some(road);
                    return Ok(());
                }
                Err(error) if attempt > 4 && !self.disk.power_is_off() => {
                    return Err(format!("does not start: {error}"));
                }
                _ => self.disk.kill_process(),
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<Arc<Road>, String> {
        let told = |error: &dyn std::error::Error| format!("{error} {:?}", error.source());
        let disk = self.disk.open(&FOLDERS).map_err(|error| told(&error))?;
        let random = Random::seeded(self.random.u64());
        let kek = Kek::random(&Random::seeded(!self.seed));
        let keys_dir = self.disk.folder("keys");
        if !self.has_keys && !KeyRing::exists(&*disk, &keys_dir).map_err(|error| told(&error))? {
            // By the seed alone, so that site and node are what the catalog was told.
            let by_seed = Random::seeded(self.seed);
            KeyRing::create(Arc::clone(&disk), &keys_dir, &kek, &self.clock, &by_seed)
                .map_err(|error| told(&error))?;
        }
        let keys = KeyRing::open(Arc::clone(&disk), &keys_dir, &kek, &self.clock, &random);
        let keys = keys.map_err(|error| told(&error))?;
        self.has_keys = true;
        let keys = Arc::new(keys);
        self.keys = Some(Arc::clone(&keys));
        let (journal, _) = Journal::open(
            Arc::clone(&disk),
            &self.disk.folder("journal"),
            journal_options(),
            &self.clock,
            &random,
        )
        .map_err(|error| told(&error))?;
        let packs = PackFolder::open_folder(Arc::clone(&disk), &self.disk.folder("packs"));
        // So small that what is read comes from everywhere.
        let cached = Cached::open(&disk, &self.disk.folder("cache"), 256 << 10, 256 << 10);
        let road = Road::new(Parts {
            idle_cores: None,
            decoding: filmgate_pipeline::Decoding::default(),
            peers: filmgate_pipeline::Peers::default(),
            clock: self.clock.clone(),
            random,
            journal,
            data_dir: self.disk.folder("packs"),
            log_dir: self.disk.folder("log"),
            disk,
            packs: packs.map_err(|error| told(&error))?,
            cached,
            keys,
            catalog: Arc::clone(&self.catalog),
            placements: vec![self.placement.clone()],
            admission: Admission::new(Reserve::default()),
            seal: SealOptions { chunk_size_bytes: 8192, ..SealOptions::default() },
            settings: Settings { yielding: self.yielding, ..road_settings() },
        });
        self.check_named()?;
        let settled = self.wait(road.settle()).map_err(|error| told(&error))?;
        // Only a catalog that was lost waits for the bucket, and that happens when nothing fails any more.
        let recovered = settled.ok_or("it waits for the bucket")?;
        self.tally.settled += (recovered.packs_removed + recovered.packs_adopted) as u64;
        Ok(road)
    }
}

/// Why an acknowledged instance was not read.
enum Unread {
    /// Other bytes came.
    Different(String),
    /// None came.
    Failed(String),
}

async fn compare(opened: &OpenRecord, sent: &Sent) -> Result<(), Unread> {
    let mut bytes = Vec::new();
    for number in 0..opened.chunks() {
        let chunk = opened.chunk(number).await.map_err(|error| Unread::Failed(error.to_string()))?;
        bytes.extend_from_slice(&chunk.unwrap_or_default());
    }
    if bytes == *sent.dataset {
        return Ok(());
    }
    Err(Unread::Different(format!("record {} reads other bytes", opened.table().record_id)))
}

/// Both buckets draw their faults from one sequence.
fn faulty(
    random: &Random,
    store: &Arc<MemoryBucket>,
    key_store: &Arc<MemoryBucket>,
    faults: &Arc<Mutex<u64>>,
) -> Placement {
    let random = Arc::new(Random::seeded(random.u64()));
    let wrap = |inner: &Arc<MemoryBucket>| {
        let (random, faults) = (Arc::clone(&random), Arc::clone(faults));
        Arc::new(FaultyBucket::new(Arc::clone(inner) as Arc<dyn Bucket>, move |operation, _| {
            if random.below(100) >= *faults.lock() {
                return Fault::None;
            }
            match (random.below(3), operation) {
                (0, _) => Fault::Before,
                (1, Operation::Put | Operation::PutPart | Operation::Get) => Fault::Corrupt,
                _ => Fault::After,
            }
        }))
    };
    Placement { name: "main".to_owned(), bucket: wrap(store), keys: wrap(key_store) }
}

fn journal_options() -> JournalOptions {
    JournalOptions {
        segment_bytes: 256 << 10,
        bytes_max: 4 << 20,
        frame_payload_bytes_max: 32 << 10,
        own_chain_past_bytes: 64 << 10,
        ready_segments: 0,
        pressure_free_percent: 40,
    }
}

/// A catalog that is empty, and told like that of a gateway.
fn catalog_options(seed: u64) -> CatalogOptions {
    let teller = Some(filmgate_pipeline::tell as filmgate_catalog::Teller);
    CatalogOptions { blocking: true, teller, ..CatalogOptions::new(site_of(seed), node_of(seed)) }
}

fn road_settings() -> Settings {
    Settings {
        pack_quiet: Duration::from_secs(10),
        pack_size_bytes: 96 << 10,
        pack_age: Duration::from_secs(60),
        retry_delay_max: Duration::from_secs(20),
        part_size_bytes: 8 << 10,
        cache_free_bytes_min: 0,
        cache_bytes_max: 64 << 10,
        small_pack_bytes: 64 << 10,
        repack_after: Duration::from_secs(20),
        repack_grace: Duration::from_secs(5),
        deletion_grace: DELETION_GRACE,
        // Rules of years are for the tests of the catalog; here nothing would ever be deleted.
        retention_years: 0,
        ..Settings::default()
    }
}

/// What [`KeyRing::create`] draws first and second from the run's seed.
fn site_of(seed: u64) -> filmgate_model::SiteId {
    filmgate_model::SiteId::random(&Random::seeded(seed))
}

fn node_of(seed: u64) -> filmgate_model::NodeId {
    let random = Random::seeded(seed);
    let _site = filmgate_model::SiteId::random(&random);
    filmgate_model::NodeId::random(&random)
}
