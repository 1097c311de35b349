//! Role `follow`: a data directory that receives nothing, reads every node's log from the bucket as it grows, fills its own
//! catalog by it and serves from the bucket.
//!
//! Batch n+1 of each incarnation is asked for; none is skipped. One that is missing while a later one is there, or is not
//! sound, stops its incarnation with an alarm until a person has looked; the others go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use filmgate_bucket::Error as BucketError;
use filmgate_catalog::AlarmKind;
use filmgate_log::{Batch, Body, Chain, PackStanding, Place};
use filmgate_model::{IncarnationId, PackId, Timestamp};
use parking_lot::Mutex;
use serde::Serialize;

use crate::{Error, Road, Role, error::chain, log::SiteLogs, rebuild::Rebuilt};

/// How a follower stands.
#[derive(Debug, Clone, Serialize)]
pub struct FollowStatus {
    /// When it last had read everything there was; what came after may be missing here.
    pub caught_up_at: Option<Timestamp>,
    /// How long ago that is, in milliseconds.
    pub behind_ms: Option<u64>,
    /// Batches read since it started.
    pub batches: u64,
    /// Histories that cannot be read on, and why.
    pub stopped: BTreeMap<String, String>,
}

/// What a follower has read.
#[derive(Default)]
pub struct Following {
    logs: SiteLogs,
    listed_at: Option<Timestamp>,
    /// Packs that are stated and could not be entered yet.
    waiting: Vec<PackId>,
    /// Packs of which it is stated that they were replaced or go, and that could not be followed yet.
    leaving: BTreeSet<PackId>,
    /// Studies of which something was decided that is not entered yet.
    decided: BTreeSet<String>,
    /// Packs that could not be entered, and in how many calls in a row.
    troubled: BTreeMap<PackId, u32>,
}

/// A connection that broke is no news; a pack that cannot be entered in so many calls in a row is one.
const TROUBLE_TOLD_AT: u32 = 3;

/// What the follower last said of itself.
#[derive(Default)]
pub(crate) struct Told(Mutex<Option<FollowStatus>>);

impl Road {
    /// True when this node follows others and does nothing by itself.
    #[must_use]
    pub fn is_follower(&self) -> bool {
        self.settings.roles.has(Role::Follow)
    }

    /// Reads what the logs say since the last call and enters it; how many batches.
    ///
    /// # Errors
    /// When a bucket or the catalog fails; the next call goes on.
    pub async fn follow(self: &Arc<Self>, following: &mut Following) -> Result<u64, Error> {
        let began = self.clock.now();
        let before = following.logs.batches;
        self.look_for_histories(following, began).await?;
        let incarnations: Vec<IncarnationId> = following.logs.chains.keys().copied().collect();
        for incarnation in incarnations {
            self.read_on(following, incarnation).await?;
        }
        self.enter_stated(following).await?;
        self.enter_decided(following).await?;
        // What is gone is out of sight before its key is.
        if following.logs.batches > before {
            self.hear_shredded(&following.logs).await?;
        }
        self.shred_places().await?;
        self.tell_follow(following, began);
        Ok(following.logs.batches - before)
    }

    /// New histories are listed now and then, and at once in the beginning.
    async fn look_for_histories(
        self: &Arc<Self>,
        following: &mut Following,
        now: Timestamp,
    ) -> Result<(), Error> {
        let since = following.listed_at.map(|last| Duration::from_millis(now.0.abs_diff(last.0)));
        if since.is_some_and(|since| since < self.settings.follow_list) {
            return Ok(());
        }
        for (incarnation, last) in self.incarnations().await? {
            let site_id = self.keys.site_id();
            let chain =
                following.logs.chains.entry(incarnation).or_insert_with(|| Chain::new(site_id, incarnation));
            let next = chain.next().sequence;
            // What is listed beyond the next must not be all there is.
            if next < last && self.fetch_batch(chain.next()).await.is_err_and(|error| is_absent(&error)) {
                let error = Error::LogGap { name: chain.next().object_name() };
                let place = Place { incarnation, sequence: next };
                self.stop_history(following, place, &error).await?;
            }
        }
        following.listed_at = Some(now);
        Ok(())
    }

    /// Reads one history to its end.
    async fn read_on(
        self: &Arc<Self>,
        following: &mut Following,
        incarnation: IncarnationId,
    ) -> Result<(), Error> {
        while !following.logs.stopped.contains_key(&incarnation) {
            let Some(mut chain) = following.logs.chains.remove(&incarnation) else { return Ok(()) };
            let place = chain.next();
            let read = match self.fetch_batch(place).await {
                Ok(copies) => self.read_batch(&mut chain, &copies).await,
                Err(error) => Err(error),
            };
            following.logs.chains.insert(incarnation, chain);
            match read {
                Ok(batch) => {
                    following.waiting.extend(packs_of(&batch));
                    following.leaving.extend(leaving_of(&batch));
                    let bodies: Vec<Body> = batch.facts.iter().map(|fact| fact.body.clone()).collect();
                    following.logs.take(batch);
                    let studies = bodies.iter().filter_map(|body| following.logs.merge.study_of(body));
                    following.decided.extend(studies.map(str::to_owned));
                }
                Err(error) if is_absent(&error) => return Ok(()),
                Err(error @ Error::Bucket(_)) => return Err(error),
                Err(error) => self.stop_history(following, place, &error).await?,
            }
        }
        Ok(())
    }

    async fn stop_history(
        &self,
        following: &mut Following,
        place: Place,
        error: &Error,
    ) -> Result<(), Error> {
        following.logs.stop(place, error);
        let (subject, detail) =
            (place.incarnation.to_string(), format!("batch {}: {}", place.sequence, chain(error)));
        Ok(self.catalog.raise_alarm(AlarmKind::LogStopped, &subject, &detail, self.clock.now()).await?)
    }

    /// Enters packs that count by now. One that cannot be read yet waits for the next call.
    async fn enter_stated(self: &Arc<Self>, following: &mut Following) -> Result<(), Error> {
        let mut packs = Vec::new();
        for pack_id in std::mem::take(&mut following.waiting) {
            match following.logs.merge.pack(pack_id) {
                PackStanding::Live(pack)
                    if following.logs.merge.shredded(pack.study_key_id).is_empty()
                        && self.catalog.pack(pack_id).await?.is_none() =>
                {
                    packs.push(pack.clone())
                }
                _ => {}
            }
        }
        let wanted: Vec<PackId> = packs.iter().map(|pack| pack.pack_id).collect();
        let mut rebuilt = Rebuilt::default();
        if let Err(error) = self.enter_named(packs, &mut rebuilt).await {
            following.waiting.extend(wanted);
            return Err(error);
        }
        for pack_id in wanted {
            if self.catalog.pack(pack_id).await?.is_none() {
                following.waiting.push(pack_id);
            }
        }
        let before = std::mem::take(&mut following.troubled);
        for &pack_id in &following.waiting {
            let calls = before.get(&pack_id).map_or(1, |calls| calls.saturating_add(1));
            following.troubled.insert(pack_id, calls);
            let name = pack_id.to_string();
            let problem = rebuilt.problems.iter().find(|problem| problem.contains(&name));
            match calls {
                TROUBLE_TOLD_AT => tracing::error!(%pack_id, problem, "a pack of the log cannot be entered"),
                _ => tracing::info!(%pack_id, problem, "a pack of the log waits to be entered"),
            }
        }
        Ok(())
    }

    /// Packs first: a record must be where it is before it is hidden there.
    async fn enter_decided(self: &Arc<Self>, following: &mut Following) -> Result<(), Error> {
        let leaving = following.leaving.clone();
        following.leaving = self.follow_packs(&following.logs.merge, leaving).await?;
        let decided: Vec<&str> = following.decided.iter().map(String::as_str).collect();
        self.enter_custody(&following.logs.merge, &decided).await?;
        following.decided.clear();
        Ok(())
    }

    fn tell_follow(&self, following: &Following, began: Timestamp) {
        let text = |(incarnation, why): (&IncarnationId, &String)| (incarnation.to_string(), why.clone());
        let caught_up = following.waiting.is_empty();
        let mut told = self.followed.0.lock();
        let before = told.as_ref().and_then(|told| told.caught_up_at);
        *told = Some(FollowStatus {
            caught_up_at: if caught_up { Some(began) } else { before },
            behind_ms: None,
            batches: following.logs.batches,
            stopped: following.logs.stopped.iter().map(text).collect(),
        });
    }

    /// How the follower stands; `None` where nothing is followed.
    pub(crate) fn follow_status(&self) -> Option<FollowStatus> {
        let now = self.clock.now();
        let mut told = self.followed.0.lock().clone()?;
        let behind = told.caught_up_at.map(|at| now.since(at).as_millis());
        told.behind_ms = behind.map(|behind| u64::try_from(behind).unwrap_or(u64::MAX));
        Some(told)
    }

    /// How long a follower rests between two calls.
    #[must_use]
    pub fn follow_poll(&self) -> Duration {
        self.settings.follow_poll
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Bucket(BucketError::NotFound(_)))
}

fn packs_of(batch: &Batch) -> Vec<PackId> {
    let packs = batch.facts.iter().filter_map(|fact| match &fact.body {
        Body::PackVerified(pack) => Some(pack.pack_id),
        _ => None,
    });
    packs.collect()
}

fn leaving_of(batch: &Batch) -> Vec<PackId> {
    let packs = batch.facts.iter().flat_map(|fact| match &fact.body {
        Body::PackReplaced { replaced, .. } => replaced.clone(),
        Body::PackDeleted { pack_id, .. } => vec![*pack_id],
        _ => Vec::new(),
    });
    packs.collect()
}
