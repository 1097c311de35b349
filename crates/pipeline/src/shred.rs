//! The keys of what was deleted are destroyed: what an object lock, an old version, a backup of a bucket or a disk that
//! was replaced still holds of a study opens no more.
//!
//! The catalog gives a key up (`give_up_keys`), in a transaction that finds nothing living sealed under it; from then on
//! nobody uses it. Then every place is emptied, and says so for itself: each node's key cache and journal, which only that
//! node can speak for, and the bucket of keys of each placement, whose word counts once no node is left that could put
//! the key back. Nothing is done in one step: a process that is killed goes on where the places say it was.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use filmgate_catalog::{Because, Outgoing, PlaceOfKey, PlaceToEmpty, ShredPlace, ShreddedKey};
use filmgate_log::{Body, Place};
use filmgate_model::{FactId, IncarnationId, NodeId, StudyKeyId, Timestamp, compute};
use serde::Serialize;

use crate::{
    Error, Placement, Road,
    error::chain,
    log::{Heard, SiteLogs},
    rotate::{KEYS, parse},
};

/// Deletions and places looked at in one round.
const ROUND: u32 = 64;
/// Keys loaded at a time.
const PAGE: u32 = 4096;
/// Rows of a report at most.
const ROWS_MAX: u32 = 10_000;
/// How often a place is looked at again that waits for something slow.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// … and one that waits for another node.
const NODE_EVERY: Duration = Duration::from_secs(5);
/// Other nodes' logs are read on after so many heartbeats.
const HEAR_EVERY_BEATS: u32 = 10;

/// How the shredding of a study stands.
#[derive(Debug, Serialize)]
pub struct ShredShown {
    /// The study; empty for keys that only another node's log knows.
    pub study: String,
    /// True when nothing of any key is left in any place.
    pub done: bool,
    /// Deletions of the study whose keys still stand, and what each waits for.
    pub waits_for: Vec<String>,
    /// Its keys that were given up.
    pub keys: Vec<KeyShown>,
}

/// A key that was given up.
#[derive(Debug, Serialize)]
pub struct KeyShown {
    /// The key.
    pub key: StudyKeyId,
    /// Who asked for it.
    pub who: String,
    /// Why.
    pub why: String,
    /// Since when nothing is sealed under it.
    pub since: String,
    /// Each place that may hold it.
    pub places: Vec<PlaceShown>,
}

/// A place that may hold a key.
#[derive(Debug, Serialize)]
pub struct PlaceShown {
    /// The place, as `bucket:NAME`, `node:ID` or `journal:ID`.
    pub place: String,
    /// True when nothing of the key is left there.
    pub done: bool,
    /// When that was found.
    pub done_at: Option<String>,
    /// Why it is not.
    pub why: Option<String>,
}

/// What was found in a bucket of keys, after what was there was deleted.
enum Emptied {
    /// It was empty before anything was deleted.
    WasEmpty,
    Now,
    Not(String),
}

impl Road {
    /// Tells the ring of keys which are destroyed, and takes away what a copy brought back of them: before anything else
    /// is done with them.
    ///
    /// # Errors
    /// When disk or catalog fails.
    pub(crate) async fn load_shredded(self: &Arc<Self>) -> Result<(), Error> {
        let mut after = None;
        loop {
            let keys = self.catalog.shredded_key_ids(after, PAGE).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(*last);
            let road = Arc::clone(self);
            compute(move || road.keys.shred_again(&keys)).await??;
        }
    }

    /// Gives up keys of studies that were deleted, and empties places of those given up; how many places that were.
    ///
    /// # Errors
    /// When disk or catalog fails. What a bucket refuses is written down and no error.
    pub(crate) async fn shred_due(self: &Arc<Self>) -> Result<usize, Error> {
        self.hear_others().await?;
        let placements = self.placement_names();
        let years = self.settings.retention_years;
        for deletion_id in self.catalog.deletions_with_keys(ROUND).await? {
            if let Some(why) = self.keys_stay(deletion_id).await? {
                self.catalog.keys_wait(deletion_id, &why, self.clock.now()).await?;
                continue;
            }
            let given_up =
                self.catalog.give_up_keys(deletion_id, &placements, years, self.clock.now()).await?;
            for study_key_id in given_up.keys {
                tracing::info!(target: "audit", event = "key-given-up", %study_key_id, deletion = %deletion_id);
            }
        }
        self.shred_places().await
    }

    /// Why the keys of a deleted study stay for now; what a bucket cannot tell is a reason as well.
    async fn keys_stay(self: &Arc<Self>, deletion_id: FactId) -> Result<Option<String>, Error> {
        let Some(deletion) = self.catalog.deletion(deletion_id).await? else { return Ok(None) };
        match self.keys_may_be_needed(&deletion).await {
            Err(error @ Error::Bucket(_)) => Ok(Some(chain(&error))),
            told => told,
        }
    }

    /// Empties the places this node can see to that are due; how many were.
    pub(crate) async fn shred_places(self: &Arc<Self>) -> Result<usize, Error> {
        let mut emptied = 0;
        // This node's own copies first: only then a bucket can be done.
        for place in self.catalog.places_to_empty(self.clock.now(), ROUND).await? {
            if let ShredPlace::Node(_) = place.place {
                emptied += usize::from(self.empty_cache(&place).await?);
            }
        }
        for place in self.catalog.places_to_empty(self.clock.now(), ROUND).await? {
            let done = match &place.place {
                ShredPlace::Node(_) => false,
                ShredPlace::Journal(_) => self.empty_journal(&place).await?,
                ShredPlace::Bucket(name) => self.empty_bucket(name, &place).await?,
            };
            emptied += usize::from(done);
        }
        Ok(emptied)
    }

    async fn empty_cache(self: &Arc<Self>, place: &PlaceToEmpty) -> Result<bool, Error> {
        let (road, study_key_id) = (Arc::clone(self), place.study_key_id);
        let is_whole = compute(move || road.keys.shred_study_key(study_key_id)).await??;
        // Record keys of its packs.
        self.contents.clear();
        if !is_whole {
            let why = "the second directory was dropped and may hold it; it is caught up at the next start";
            return self.waits(place, why, LOOK_EVERY).await;
        }
        let fact = self.shredded_fact(place)?;
        let fact = (!self.is_follower()).then_some(&fact);
        self.catalog.place_emptied(study_key_id, &place.place, fact, self.clock.now()).await?;
        self.tell_log();
        tracing::info!(target: "audit", event = "key-shredded", %study_key_id, place = %place.place);
        Ok(true)
    }

    /// What the journal has not overwritten yet of the study is wrapped under landing keys, which go by themselves.
    async fn empty_journal(self: &Arc<Self>, place: &PlaceToEmpty) -> Result<bool, Error> {
        let road = Arc::clone(self);
        compute(move || road.keys.turn_landing()).await??;
        self.release(Vec::new()).await?;
        if self.keys.has_landing_before(place.shredded_at) {
            let why = "what it overwrites last opens with landing keys made before; the last of them goes by itself within two \
                       days";
            return self.waits(place, why, LOOK_EVERY).await;
        }
        let now = self.clock.now();
        self.catalog.place_emptied(place.study_key_id, &place.place, None, now).await?;
        Ok(true)
    }

    async fn empty_bucket(&self, name: &str, place: &PlaceToEmpty) -> Result<bool, Error> {
        let Some(placement) = self.placements.iter().find(|placement| placement.name == name) else {
            let why = format!(
                "this node has no placement {name} any more: bring bucket.{name} back into its settings"
            );
            return self.waits(place, &why, LOOK_EVERY).await;
        };
        match (empty_of_key(placement, place.study_key_id).await, &place.node_before) {
            (Ok(Emptied::WasEmpty), None) => {
                let now = self.clock.now();
                self.catalog.place_emptied(place.study_key_id, &place.place, None, now).await?;
                tracing::info!(
                    target: "audit", event = "key-shredded", study_key_id = %place.study_key_id, place = %place.place
                );
                Ok(true)
            }
            (Ok(Emptied::WasEmpty | Emptied::Now), Some(node)) => {
                let why =
                    format!("it is empty; looked at again when {node} has no copy that could come back");
                self.waits(place, &why, NODE_EVERY).await
            }
            (Ok(Emptied::Now), None) => {
                let why = "it is empty; looked at once more";
                self.waits(place, why, Duration::ZERO).await
            }
            (Ok(Emptied::Not(why)), _) => self.waits(place, &why, LOOK_EVERY).await,
            (Err(error), _) => self.waits(place, &chain(&error), self.settings.retry_delay_max).await,
        }
    }

    async fn waits(&self, place: &PlaceToEmpty, why: &str, after: Duration) -> Result<bool, Error> {
        let next = self.clock.now().plus(after);
        self.catalog.place_waits(place.study_key_id, &place.place, why, next).await?;
        Ok(false)
    }

    fn shredded_fact(&self, place: &PlaceToEmpty) -> Result<Outgoing, Error> {
        let Because { who, why } = place.because.clone();
        let why = filmgate_log::Why { who, reason: why };
        let body = Body::KeyShredded { study_key_id: place.study_key_id, why };
        Ok(Outgoing {
            fact_id: FactId::random(&self.random),
            kind: body.kind(),
            body: body.to_bytes()?,
            pack_id: None,
            goes: None,
        })
    }

    /// Nodes with a catalog of their own hear of each other by the logs alone.
    async fn hear_others(self: &Arc<Self>) -> Result<(), Error> {
        if self.catalog.is_shared() {
            return Ok(());
        }
        let mut heard = self.log.heard.lock().await;
        let now = self.clock.now();
        let every = self.settings.log_heartbeat * HEAR_EVERY_BEATS;
        if heard.at.is_some_and(|last| now >= last && now.since(last) < every) {
            return Ok(());
        }
        heard.at = Some(now);
        heard.logs.aside = true;
        if let Err(error) = self.read_others(&mut heard).await {
            tracing::info!(error = chain(&error), "the logs of other nodes were not read");
            return Ok(());
        }
        self.hear_rules(&heard.logs.merge).await?;
        self.hear_shredded(&heard.logs).await
    }

    async fn read_others(self: &Arc<Self>, heard: &mut Heard) -> Result<(), Error> {
        let own = self.log.told.lock().map(|(incarnation, _)| incarnation);
        for (incarnation, last) in self.incarnations_at_hand().await {
            let is_over =
                heard.logs.stopped.contains_key(&incarnation) || heard.foreign.contains(&incarnation);
            if Some(incarnation) == own || is_over {
                continue;
            }
            let is_ours = match heard.logs.chains.contains_key(&incarnation) {
                true => Ok(true),
                false => self.is_ours(incarnation).await,
            };
            match is_ours {
                Ok(true) => self.read_incarnation(&mut heard.logs, incarnation, last).await?,
                Ok(false) => _ = heard.foreign.insert(incarnation),
                // Asked again the next time.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// True for a log of this site, by what its first batch calls itself: a bucket may hold several sites.
    async fn is_ours(&self, incarnation: IncarnationId) -> Result<bool, Error> {
        let copies = self.fetch_batch(Place { incarnation, sequence: 1 }).await?;
        let of_site = |copy: &Bytes| {
            filmgate_log::batch_head(copy).is_ok_and(|head| head.site_id == self.keys.site_id())
        };
        Ok(copies.iter().any(of_site))
    }

    /// Keys that any log names as destroyed are so here; nodes that only the logs know are waited for.
    pub(crate) async fn hear_shredded(self: &Arc<Self>, logs: &SiteLogs) -> Result<(), Error> {
        let mut in_use = None;
        // Whoever knows sees to the buckets: the node that began may be lost. A follower only reads them.
        let placements = if self.is_follower() { Vec::new() } else { self.placement_names() };
        for (study_key_id, why) in logs.merge.shredded_keys() {
            if !self.keys.is_shredded(study_key_id) {
                let in_use = match &mut in_use {
                    Some(in_use) => in_use,
                    none => none.insert(self.keys_in_use(logs).await?),
                };
                if in_use.contains(&study_key_id) {
                    self.key_is_needed(study_key_id).await?;
                    continue;
                }
                let study = logs.merge.study_of_key(study_key_id).unwrap_or_default();
                let because = Because { who: why.who.clone(), why: why.reason.clone() };
                let now = self.clock.now();
                if self.catalog.hear_shredded(study_key_id, study, &because, &placements, now).await? {
                    tracing::info!(target: "audit", event = "key-shredded-elsewhere", %study_key_id);
                }
                self.keys.note_shredded(&[study_key_id]);
            }
        }
        let mut others = logs.merge.nodes();
        others.remove(&self.node_id());
        if self.is_follower() || others.is_empty() {
            return Ok(());
        }
        for key in self.catalog.shredded_keys(None, ROWS_MAX).await? {
            let confirmed = logs.merge.shredded(key.study_key_id);
            for node in &others {
                self.hear_node(&key, *node, confirmed.contains(node)).await?;
            }
        }
        Ok(())
    }

    async fn hear_node(&self, key: &ShreddedKey, node: NodeId, confirmed: bool) -> Result<(), Error> {
        let place = ShredPlace::Node(node);
        let known = key.places.iter().find(|known| known.place == place);
        if known.is_some_and(|known| known.done_at.is_some()) {
            return Ok(());
        }
        if known.is_none() {
            self.catalog.wait_for_node(key.study_key_id, node).await?;
        }
        if confirmed {
            self.catalog.place_emptied(key.study_key_id, &place, None, self.clock.now()).await?;
        }
        Ok(())
    }

    /// How far the shredding of studies is, place by place; of one study when asked so.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn show_shredded(&self, study: Option<&str>) -> Result<Vec<ShredShown>, Error> {
        let mut shown: BTreeMap<String, ShredShown> = BTreeMap::new();
        for key in self.catalog.shredded_keys(study, ROWS_MAX).await? {
            let of_study = of(&mut shown, &key.study_instance_uid);
            of_study.done &= key.places.iter().all(|place| place.done_at.is_some());
            of_study.keys.push(KeyShown::from(key));
        }
        for deletion in self.catalog.deletions(study, ROWS_MAX).await? {
            let is_open = deletion.confirmed.is_some() && deletion.cancelled.is_none();
            if deletion.sop_instance_uid.is_some() || !is_open || deletion.keys_gone_at.is_some() {
                continue;
            }
            let of_study = of(&mut shown, &deletion.study_instance_uid);
            of_study.done = false;
            let why = match (&deletion.done_at, deletion.keys_wait_for, deletion.waits_for) {
                (Some(_), Some(why), _) | (None, _, Some(why)) => why,
                (Some(_), None, _) => "its turn".to_owned(),
                (None, _, None) => {
                    format!("what it names goes after {}", deletion.due_at.unwrap_or(Timestamp(0)))
                }
            };
            of_study.waits_for.push(format!("deletion {}: {why}", deletion.deletion_id));
        }
        Ok(shown.into_values().collect())
    }
}

fn of<'a>(shown: &'a mut BTreeMap<String, ShredShown>, study: &str) -> &'a mut ShredShown {
    let none = || ShredShown { study: study.to_owned(), done: true, waits_for: Vec::new(), keys: Vec::new() };
    shown.entry(study.to_owned()).or_insert_with(none)
}

impl From<ShreddedKey> for KeyShown {
    fn from(key: ShreddedKey) -> Self {
        Self {
            key: key.study_key_id,
            who: key.because.who,
            why: key.because.why,
            since: key.shredded_at.to_string(),
            places: key.places.into_iter().map(PlaceShown::from).collect(),
        }
    }
}

impl From<PlaceOfKey> for PlaceShown {
    fn from(place: PlaceOfKey) -> Self {
        let waits = || match &place.place {
            ShredPlace::Bucket(_) => "not looked at yet".to_owned(),
            ShredPlace::Node(node) | ShredPlace::Journal(node) => {
                format!("waits for node {node}, which does it once it runs and hears of it")
            }
        };
        Self {
            done: place.done_at.is_some(),
            done_at: place.done_at.map(|at| at.to_string()),
            why: place.done_at.is_none().then(|| place.reason.clone().unwrap_or_else(waits)),
            place: place.place.to_string(),
        }
    }
}

/// Deletes every generation of a key in a placement's bucket of keys, and looks what that left.
async fn empty_of_key(placement: &Placement, study_key_id: StudyKeyId) -> Result<Emptied, Error> {
    let prefix = format!("{KEYS}{study_key_id}/");
    let found = placement.keys.list(&prefix).await?;
    for object in found.iter().filter(|object| parse(&object.name).is_some()) {
        placement.keys.delete(&object.name).await?;
    }
    if let Some(left) = placement.keys.list(&prefix).await?.first() {
        return Ok(Emptied::Not(format!(
            "{} is still there after it was deleted: does something lock objects of this bucket?",
            left.name
        )));
    }
    let versions = placement.keys.versions_left(&prefix).await?;
    if versions > 0 {
        return Ok(Emptied::Not(format!(
            "the bucket keeps {versions} earlier versions of it, which open what was sealed: delete the versions below {prefix} \
             by hand, and give keys a bucket that never had versioning (keys_bucket)"
        )));
    }
    Ok(if found.is_empty() { Emptied::WasEmpty } else { Emptied::Now })
}
