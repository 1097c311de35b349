//! The steps that run by themselves: one task a step, each doing one unit of work at a time.
//!
//! Packing, upload and verification yield to receipt: they run at a lower priority and rest between two units as the road
//! asks them to.

use std::{future::Future, sync::Arc, time::Duration};

use filmgate_catalog::{Pack, StudyToPack};
use filmgate_keys::Kek;
use filmgate_model::{PackId, Timestamp, spawn};
use filmgate_pipeline::{Callers, Error, Following, Placement, Road};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::sleep,
};

use crate::{
    background::Background,
    config::{Settings, milliseconds},
    kek,
};

/// How long a step rests at least when it found nothing to do, and while instances arrive.
const REST: Duration = Duration::from_millis(200);
const REST_WHILE_RECEIVING: Duration = Duration::from_secs(1);
/// A step that has to look rests so many times as long as its look took.
const REST_PER_LOOK: u32 = 20;
/// … but no longer than this: what looks long may be a clock that was set, or a machine that slept.
const REST_LONGEST: Duration = Duration::from_secs(2);
/// How long a step waits to be told that there is something to do before it looks by itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often uploads that lead nowhere are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long it rests after a failure of its own.
const REST_AFTER_ERROR: Duration = Duration::from_secs(2);
/// How often a step that yields asks whether it still has to.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often room on the disk is looked at.
const EVICT_EVERY: Duration = Duration::from_secs(10);

/// How often unknown callers are written down.
const WRITE_DOWN_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked for what is to be deleted, or to be read from another pack.
const CUSTODY_EVERY: Duration = Duration::from_secs(1);
/// How often small packs are looked for, when none were found.
const MERGE_EVERY: Duration = Duration::from_secs(60);

/// A key that no site key here opens has the keeper asked and the buckets looked at no sooner than so long after the last time.
const TEND_KEYS_AFTER: Duration = Duration::from_secs(1);

/// Told to every worker when it should end.
pub(crate) type Stop = watch::Receiver<bool>;

/// The key of keys that the settings name, as it was read last.
pub(crate) struct HeldKek(parking_lot::Mutex<Arc<Kek>>);

impl HeldKek {
    pub(crate) fn new(kek: Arc<Kek>) -> Arc<Self> {
        Arc::new(Self(parking_lot::Mutex::new(kek)))
    }

    fn get(&self) -> Arc<Kek> {
        Arc::clone(&self.0.lock())
    }

    fn set(&self, kek: Arc<Kek>) {
        *self.0.lock() = kek;
    }
}

/// Changes the site key when it is asked for. Cut off at any moment, it goes on when it is asked for again.
pub(crate) async fn rotate(road: Arc<Road>, held: Arc<HeldKek>, settings: Settings, mut stop: Stop) {
    let grace = milliseconds(settings.keys.rotation_grace_ms);
    let work = async {
        loop {
            let asked = road.rotation_asked().await;
            road.rotate_as_asked(&held.get(), asked, grace).await;
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

/// Asks the keeper of the key of keys in good time, and looks after the site's keys in the buckets. When another node put
/// these under another key of keys, the one the settings name is read again: it may have been brought since.
pub(crate) async fn tend_keys(road: Arc<Road>, held: Arc<HeldKek>, settings: Settings, mut stop: Stop) {
    let times = settings.keys.lease();
    while !*stop.borrow() {
        let mut rest = road.tend_keys(&held.get(), &times).await;
        if road.kek_wanted()
            && let Some(brought) = read_kek(&settings).await
        {
            held.set(brought);
            rest = road.tend_keys(&held.get(), &times).await;
        }
        tokio::select! {
            biased;
            _ = stop.changed() => {}
            () = sleep(rest) => {}
            () = async { sleep(TEND_KEYS_AFTER).await; road.site_keys_wanted().await } => {}
        }
    }
}

async fn read_kek(settings: &Settings) -> Option<Arc<Kek>> {
    let settings = settings.clone();
    match filmgate_model::compute(move || kek::open(&settings)).await {
        Ok(Ok(read)) => read.map(Arc::new),
        Ok(Err(error)) => {
            tracing::warn!(error = &*error as &dyn std::error::Error, "the key of keys cannot be read again");
            None
        }
        Err(_) => None,
    }
}

/// Starts every step; all but the log wait until what the last run left is in order, which the log sees to. The handles end
/// soon after `stop` turns true; one that ends before is a fault.
pub(crate) fn start(
    road: &Arc<Road>,
    background: Background,
    packs_in_flight: usize,
    stop: &Stop,
) -> Vec<(&'static str, JoinHandle<()>)> {
    let background = Arc::new(background);
    let worker = |name| Worker {
        name,
        road: Arc::clone(road),
        background: Arc::clone(&background),
        stop: stop.clone(),
    };
    if road.is_follower() {
        return vec![("follow", spawn(worker("follow").follow()))];
    }
    let mut workers = vec![
        ("index", once_settled(road, stop, worker("index").index())),
        ("pack", once_settled(road, stop, worker("pack").pack())),
        ("evict", once_settled(road, stop, worker("evict").evict())),
        ("tidy", once_settled(road, stop, worker("tidy").tidy())),
        ("log", spawn(worker("log").log())),
        ("repack", once_settled(road, stop, worker("repack").repack())),
        ("announce", once_settled(road, stop, worker("announce").announce())),
        ("book", once_settled(road, stop, worker("book").book())),
    ];
    for placement in road.placements() {
        let (uploading, verifying) = (AtWork::default(), AtWork::default());
        for _ in 0..packs_in_flight {
            let (to, from) = (placement.clone(), placement.clone());
            let upload = worker("upload").upload(to, uploading.clone());
            let verify = worker("verify").verify(from, verifying.clone());
            workers.push(("upload", once_settled(road, stop, upload)));
            workers.push(("verify", once_settled(road, stop, verify)));
        }
    }
    workers
}

/// Starts a step once what the last run left is in order.
fn once_settled(
    road: &Arc<Road>,
    stop: &Stop,
    step: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let (road, mut stop) = (Arc::clone(road), stop.clone());
    spawn(async move {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = road.until_settled() => {}
        }
        step.await;
    })
}

/// Packs that the tasks of one step have in hand; claimed one after the other, so that no two take the same.
#[derive(Clone, Default)]
struct AtWork(Arc<Mutex<Vec<PackId>>>);

impl AtWork {
    async fn done(&self, pack_id: PackId) {
        self.0.lock().await.retain(|at_work| *at_work != pack_id);
    }
}

/// Writes down who called and is not known, and reads what another node of the site has decided, until `stop`.
pub(crate) async fn callers(callers: Arc<Callers>, mut stop: Stop) {
    let mut is_over = false;
    while !is_over {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => is_over = true,
            () = sleep(WRITE_DOWN_EVERY) => {}
        }
        if let Err(error) = callers.keep().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "who called is not written down");
        }
    }
}

/// One step.
struct Worker {
    name: &'static str,
    road: Arc<Road>,
    background: Arc<Background>,
    stop: Stop,
}

impl Worker {
    fn is_over(&self) -> bool {
        *self.stop.borrow()
    }

    /// What was received is entered at once, or with what else arrives in the same moment.
    async fn index(mut self) {
        while !self.is_over() {
            self.gather().await;
            match self.road.index_received().await {
                Ok(0) => {
                    let road = Arc::clone(&self.road);
                    self.wait_for(road.something_received(), LOOK_EVERY).await;
                }
                Ok(_) => {}
                Err(error) => self.rest_after(&error).await,
            }
        }
    }

    async fn gather(&mut self) {
        let since = self.road.clock().now();
        loop {
            let more = self.road.gather_on(since);
            if more.is_zero() || self.is_over() {
                return;
            }
            self.rest(more).await;
        }
    }

    async fn pack(mut self) {
        while !self.is_over() {
            let began = self.road.clock().now();
            let packed = match self.road.studies_to_pack().await {
                Ok(due) if due.is_empty() => {
                    self.rest_between_looks(began).await;
                    Ok(())
                }
                Ok(due) => match self.pack_all(due).await {
                    Ok(0) => {
                        self.rest_between_looks(began).await;
                        Ok(())
                    }
                    packed => packed.map(|_| ()),
                },
                Err(error) => Err(error),
            };
            self.rest_if_failed(packed).await;
        }
    }

    /// How many records found their place. One study that cannot be packed does not hold up the others.
    async fn pack_all(&mut self, due: Vec<StudyToPack>) -> Result<usize, Error> {
        let (mut failed, mut done) = (None, 0);
        for study in due {
            let (road, since) = (Arc::clone(&self.road), study.oldest_at);
            let packed = self.unit(since, async move {
                let packed = road.pack(&study).await?;
                if packed.records > 0 && !study.quarantine {
                    road.warm(&study.study_instance_uid).await?;
                }
                Ok(packed)
            });
            let packed = packed.await;
            match packed {
                Ok(packed) => done += packed.map_or(0, |packed| packed.records + packed.dropped),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(done), Err)
    }

    async fn upload(mut self, placement: Placement, at_work: AtWork) {
        while !self.is_over() {
            let uploaded = match self.claim_upload(&placement, &at_work).await {
                Ok(Some(job)) => {
                    let (road, to) = (Arc::clone(&self.road), placement.clone());
                    let (since, pack_id) = (job.created_at, job.pack_id);
                    let done = self.unit(since, async move { road.upload(&to, &job).await }).await;
                    at_work.done(pack_id).await;
                    done.map(drop)
                }
                Ok(None) => self.wait_for_upload(&placement).await,
                Err(error) => Err(error),
            };
            self.rest_if_failed(uploaded).await;
        }
    }

    async fn claim_upload(&self, placement: &Placement, at_work: &AtWork) -> Result<Option<Pack>, Error> {
        let mut at_work = at_work.0.lock().await;
        let job = self.road.next_upload(placement, &at_work).await?;
        at_work.extend(job.as_ref().map(|job| job.pack_id));
        Ok(job)
    }

    /// Until a pack is made or the next retry is due.
    async fn wait_for_upload(&mut self, placement: &Placement) -> Result<(), Error> {
        let next = self.road.next_retry_at(placement).await?;
        let until_next = next.map_or(LOOK_EVERY, |next| next.since(self.road.clock().now()));
        let road = Arc::clone(&self.road);
        self.wait_for(road.something_packed(), until_next.clamp(REST, LOOK_EVERY)).await;
        Ok(())
    }

    async fn verify(mut self, placement: Placement, at_work: AtWork) {
        while !self.is_over() {
            let verified = match self.claim_verification(&placement, &at_work).await {
                Ok(Some(job)) => {
                    let (road, from) = (Arc::clone(&self.road), placement.clone());
                    let (since, pack_id) = (job.created_at, job.pack_id);
                    let done = self.unit(since, async move { road.verify(&from, &job).await }).await;
                    at_work.done(pack_id).await;
                    done.map(drop)
                }
                Ok(None) => {
                    let road = Arc::clone(&self.road);
                    self.wait_for(road.something_uploaded(), LOOK_EVERY).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            self.rest_if_failed(verified).await;
        }
    }

    async fn claim_verification(
        &self,
        placement: &Placement,
        at_work: &AtWork,
    ) -> Result<Option<Pack>, Error> {
        let mut at_work = at_work.0.lock().await;
        let job = self.road.next_to_verify(placement, &at_work).await?;
        at_work.extend(job.as_ref().map(|job| job.pack_id));
        Ok(job)
    }

    async fn tidy(mut self) {
        while !self.is_over() {
            let tidied = self.road.tidy_uploads().await.map(drop);
            self.rest_if_failed(tidied).await;
            self.rest(TIDY_EVERY).await;
        }
    }

    /// What is safe in every bucket is said so at once, or with what else is within a moment.
    async fn log(mut self) {
        while !self.is_over() && !self.road.is_settled() {
            match self.road.settle().await {
                Ok(Some(recovered)) => tracing::info!(?recovered, "what the last run left is in order"),
                Ok(None) => self.rest(REST_AFTER_ERROR).await,
                Err(error) => self.rest_after(&error).await,
            }
        }
        while !self.is_over() {
            match self.road.name_unlogged().await {
                Ok(_) => break,
                Err(error) => self.rest_after(&error).await,
            }
        }
        while !self.is_over() {
            match self.road.write_log().await {
                Ok(logged) if logged.put_off => self.rest(REST_AFTER_ERROR).await,
                Ok(_) => {
                    let road = Arc::clone(&self.road);
                    self.wait_for(road.something_proven(), LOOK_EVERY).await;
                    if !self.is_over() {
                        self.rest(self.road.log_gather()).await;
                    }
                }
                Err(error) => self.rest_after(&error).await,
            }
        }
    }

    /// What only the catalog holds goes into every bucket, a while after it changed.
    async fn book(mut self) {
        while !self.is_over() {
            match self.road.export_book().await {
                Ok(_) => self.rest(self.road.book_look()).await,
                Err(error) => self.rest_after(&error).await,
            }
        }
    }

    /// Reads what the others say.
    async fn follow(mut self) {
        let mut following = Following::default();
        while !self.is_over() {
            match self.road.follow(&mut following).await {
                Ok(_) => self.rest(self.road.follow_poll()).await,
                Err(error) => self.rest_after(&error).await,
            }
        }
    }

    async fn evict(mut self) {
        while !self.is_over() {
            match self.road.evict().await {
                Ok(0) => self.rest(EVICT_EVERY).await,
                Ok(_) => {}
                Err(error) => self.rest_after(&error).await,
            }
        }
    }

    /// Packs made of packs, and what was deleted: both move records of one study at a time, so they take turns.
    async fn repack(mut self) {
        let mut looked_at = None;
        while !self.is_over() {
            let busy = self.settle_and_delete().await;
            let now = self.road.clock().now();
            let looks = looked_at.is_none_or(|looked: Timestamp| now.since(looked) >= MERGE_EVERY);
            let merged = match busy {
                Ok(false) if looks => self.merge_small_packs().await,
                busy => busy,
            };
            if looks && matches!(merged, Ok(false)) {
                looked_at = Some(now);
            }
            match merged {
                Ok(true) => {}
                Ok(false) => self.rest(CUSTODY_EVERY).await,
                Err(error) => self.rest_after(&error).await,
            }
        }
    }

    async fn settle_and_delete(&mut self) -> Result<bool, Error> {
        let (settles, deletes) = (Arc::clone(&self.road), Arc::clone(&self.road));
        let settled = settles.settle_repacks().await?;
        let pressed = self.road.is_pressed();
        let deleted = self.background.run(pressed, async move { deletes.delete_due().await }).await?;
        Ok(settled > 0 || !deleted.is_nothing())
    }

    async fn merge_small_packs(&mut self) -> Result<bool, Error> {
        let Some(merge) = self.road.next_merge().await? else { return Ok(false) };
        let (road, since) = (Arc::clone(&self.road), self.road.clock().now());
        let merged = self.unit(since, async move { road.repack(&merge).await }).await?;
        Ok(merged.is_some_and(|merged| merged.records > 0))
    }

    /// The other nodes of the site hear that this one is here.
    async fn announce(mut self) {
        while !self.is_over() {
            match self.road.announce().await {
                Ok(()) => self.rest(self.road.announce_every()).await,
                Err(error) => self.rest_after(&error).await,
            }
        }
    }

    /// Rests as long as receipt asks for, then does one unit of work on something that waits since `since`; `None` when
    /// the end came first.
    async fn unit<T, F>(&mut self, since: Timestamp, work: F) -> Result<Option<T>, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        loop {
            let rest = self.road.rest_before(since);
            if self.is_over() {
                return Ok(None);
            }
            if rest.is_zero() {
                break;
            }
            self.rest(rest.min(ASK_EVERY)).await;
        }
        self.background.run(self.road.is_pressed(), work).await.map(Some)
    }

    async fn rest_between_looks(&mut self, began: Timestamp) {
        let looked = self.road.clock().now().since(began);
        let least = if self.road.is_receiving() { REST_WHILE_RECEIVING } else { REST };
        self.rest(least.max(looked * REST_PER_LOOK).min(REST_LONGEST)).await;
    }

    async fn rest_if_failed(&mut self, done: Result<(), Error>) {
        if let Err(error) = done {
            self.rest_after(&error).await;
        }
    }

    async fn rest_after(&mut self, error: &Error) {
        let worker = self.name;
        if error.is_locked() {
            // Told once, by who waits for the key provider.
            return self.rest(REST_AFTER_ERROR).await;
        }
        tracing::error!(worker, error = error as &dyn std::error::Error, "a step failed and is tried again");
        metrics::counter!("filmgate_worker_failures_total", "worker" => worker).increment(1);
        self.rest(REST_AFTER_ERROR).await;
    }

    async fn rest(&mut self, rest: Duration) {
        self.wait_for(std::future::pending(), rest).await;
    }

    /// A unit is never cut; what is waited for between two always can be.
    async fn wait_for(&mut self, event: impl Future<Output = ()>, at_most: Duration) {
        tokio::select! {
            biased;
            _ = self.stop.changed() => {}
            () = event => {}
            () = sleep(at_most) => {}
        }
    }
}
