//! The next batch of this node's log: gathered from the outbox, sealed, signed, kept here, put everywhere.

use std::sync::Arc;

use filmgate_catalog::{LogPosition, Outgoing};
use filmgate_log::{
    Author, BATCH_BYTES_MAX, BATCH_FACTS_MAX, Batch, Body, Chain, Fact, HybridClock, LogKey, NewBatch, Place,
    Stamp, Stated, Tip,
};
use filmgate_model::{FactId, IncarnationId, LogKeyId, Timestamp, compute};

use super::{SiteLogs, incarnation::Incarnation, placing::place_exactly};
use crate::{Error, Placement, Road};

/// Facts gathered into one batch: about half of what a batch holds by count.
const FACTS_MAX: usize = BATCH_FACTS_MAX / 2;
/// Bytes of bodies gathered into one batch; the rest is left for what each fact costs beside.
const BODY_BYTES_MAX: usize = BATCH_BYTES_MAX / 2;
/// A key's first wrapping, which is the one in the bucket until it is rotated.
const FIRST_GENERATION: u32 = 1;

/// Where this node's log stands.
pub(crate) struct Writer {
    incarnation: Incarnation,
    verifying: [u8; 32],
    key: LogKey,
    /// The last batch made.
    tip: Tip,
    /// It, until every placement is known to have accepted it.
    pending: Option<Pending>,
    clock: HybridClock,
    heartbeat_at: Option<Timestamp>,
    /// How long this node keeps every study was said; once by each process, for it is a setting.
    rule_stated: bool,
    /// The key the batches are sealed under is in every bucket of keys.
    key_placed: bool,
}

struct Pending {
    place: Place,
    bytes: Vec<u8>,
    facts: Vec<FactId>,
}

/// The last batch that is kept here.
struct Kept {
    place: Place,
    bytes: Vec<u8>,
    batch: Batch,
    tip: Tip,
}

impl Writer {
    /// Of a history of which nothing was written yet.
    fn new(incarnation: Incarnation, verifying: [u8; 32], key: LogKey) -> Self {
        Self {
            incarnation,
            verifying,
            key,
            tip: Tip::default(),
            pending: None,
            clock: HybridClock::default(),
            heartbeat_at: None,
            rule_stated: false,
            key_placed: false,
        }
    }

    pub(crate) fn incarnation(&self) -> IncarnationId {
        self.incarnation.incarnation
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The last batch that every placement accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.tip.sequence - u64::from(self.pending.is_some())
    }

    pub(crate) fn pending_facts(&self) -> &[FactId] {
        self.pending.as_ref().map_or(&[], |pending| pending.facts.as_slice())
    }

    /// The pending batch is accepted everywhere; its place.
    pub(crate) fn settled(&mut self) -> Place {
        self.pending = None;
        Place { incarnation: self.incarnation(), sequence: self.tip.sequence }
    }

    /// The last batch that every placement accepted, in its run.
    pub(crate) fn position(&self) -> LogPosition {
        LogPosition { incarnation: self.incarnation(), sequence: self.accepted() }
    }

    /// The last batch made.
    pub(crate) fn last(&self) -> LogPosition {
        LogPosition { incarnation: self.incarnation(), sequence: self.tip.sequence }
    }

    fn next(&self) -> Place {
        Place { incarnation: self.incarnation(), sequence: self.tip.sequence + 1 }
    }
}

impl Road {
    /// Goes on with the run this data directory writes. When the bucket knows more of it than is known here, the directory
    /// was restored from a copy, and another run begins.
    pub(super) async fn open_writer(self: &Arc<Self>) -> Result<Writer, Error> {
        let road = Arc::clone(self);
        let Some(writer) = compute(move || road.load_writer()).await?? else {
            return self.begin_anew(None).await;
        };
        let next = writer.next().object_name();
        for placement in &self.placements {
            if placement.bucket.head(&next).await?.is_some() {
                let incarnation = writer.incarnation();
                tracing::warn!(%incarnation, "the bucket knows more of this data directory than it does itself: it was restored from a copy; a new history begins");
                return self.begin_anew(Some(incarnation)).await;
            }
        }
        if self.is_behind(writer.position()).await? {
            let incarnation = writer.incarnation();
            tracing::warn!(%incarnation, "the catalog lacks what this data directory stated: it was lost, or brought back from a copy; what the logs say is entered first");
            self.enter_own_past().await?;
            self.catalog.note_log_position(writer.position()).await?;
        }
        Ok(writer)
    }

    /// True when the catalog lacks what this data directory stated: it is a new one, or an older copy of itself.
    ///
    /// # Errors
    /// When disk, keys or the catalog fails.
    pub(crate) async fn catalog_is_behind(self: &Arc<Self>) -> Result<bool, Error> {
        let road = Arc::clone(self);
        match compute(move || road.load_writer()).await?? {
            Some(writer) => self.is_behind(writer.position()).await,
            None => Ok(false),
        }
    }

    async fn is_behind(&self, accepted: LogPosition) -> Result<bool, Error> {
        let entered = self.catalog.log_position().await?;
        let knows = |entered: LogPosition| {
            entered.incarnation == accepted.incarnation && entered.sequence >= accepted.sequence
        };
        Ok(!entered.is_some_and(knows))
    }

    /// The logs and the catalog are of one mind, as after a rebuild.
    pub(crate) async fn note_past_entered(self: &Arc<Self>) -> Result<(), Error> {
        let road = Arc::clone(self);
        match compute(move || road.load_writer()).await?? {
            Some(writer) => Ok(self.catalog.note_log_position(writer.position()).await?),
            None => Ok(()),
        }
    }

    /// What the last batch here decides counts, whether a bucket has it by now or not. That packs are verified is said
    /// only by a batch that is there.
    pub(crate) async fn take_pending(self: &Arc<Self>, logs: &mut SiteLogs) -> Result<(), Error> {
        let road = Arc::clone(self);
        let kept = compute(move || match road.log.folder.load()? {
            Some(incarnation) => road.load_last(&road.writer_of(incarnation)?),
            None => Ok(None),
        });
        if let Some(Kept { batch, .. }) = kept.await?? {
            let author = batch.author;
            for fact in batch.facts.into_iter().filter(|fact| !matches!(fact.body, Body::PackVerified(_))) {
                logs.merge.take(&Stated { fact, author });
            }
        }
        Ok(())
    }

    /// What is here of the run; `None` when there is none, or it cannot be gone on with. Blocks on the disk.
    fn load_writer(&self) -> Result<Option<Writer>, Error> {
        let Some(incarnation) = self.log.folder.load()? else { return Ok(None) };
        let mut writer = self.writer_of(incarnation)?;
        let Some(Kept { place, bytes, batch, tip }) = self.load_last(&writer)? else {
            return Ok(Some(writer));
        };
        // It was synced, and may have been put; whether everybody accepted it is found out by putting it again.
        writer.tip = tip;
        let last = batch.facts.iter().map(|fact| fact.stamp).max().unwrap_or_default();
        writer.clock = HybridClock::after(last);
        writer.pending = Some(Pending { place, bytes, facts: batch.fact_ids().collect() });
        Ok(Some(writer))
    }

    fn writer_of(&self, incarnation: Incarnation) -> Result<Writer, Error> {
        let verifying = self.keys.verifying_key(incarnation.incarnation)?;
        Ok(Writer::new(incarnation, verifying, self.log_key(incarnation.log_key)?))
    }

    /// The last batch of a run that is here; blocks on the disk.
    fn load_last(&self, writer: &Writer) -> Result<Option<Kept>, Error> {
        let Some((place, bytes)) = self.log.folder.last(writer.incarnation())? else { return Ok(None) };
        let head = filmgate_log::batch_head(&bytes)?;
        let after = Tip { sequence: place.sequence.saturating_sub(1), digest: head.predecessor };
        let mut chain = self.own_chain(writer, after)?;
        let batch = chain.read(&bytes, &writer.key)?;
        Ok(Some(Kept { place, bytes, batch, tip: chain.tip() }))
    }

    fn own_chain(&self, writer: &Writer, after: Tip) -> Result<Chain, Error> {
        let chain = Chain::resumed(self.keys.site_id(), writer.incarnation(), after, &writer.verifying);
        chain.ok_or(Error::Log(filmgate_log::Error::NotSigned { sequence: after.sequence + 1 }))
    }

    pub(crate) fn log_key(&self, id: LogKeyId) -> Result<LogKey, Error> {
        Ok(LogKey { id, generation: FIRST_GENERATION, key: self.keys.log_key(id)? })
    }

    /// Begins a run with keys of its own, durable here when this returns; not before what the bucket knows of an earlier
    /// one is known here.
    pub(super) async fn begin_anew(self: &Arc<Self>, before: Option<IncarnationId>) -> Result<Writer, Error> {
        if before.is_some() {
            self.enter_own_past().await?;
        }
        let (road, id) = (Arc::clone(self), IncarnationId::random(&self.random));
        // The catalog first: it must not be taken for one that lacks something.
        self.catalog.note_log_position(LogPosition { incarnation: id, sequence: 0 }).await?;
        let begun = compute(move || {
            let verifying = road.keys.new_signing_key(id)?;
            let log_key = road.keys.new_log_key()?;
            let incarnation = Incarnation::new(id, log_key);
            road.log.folder.begin(&incarnation)?;
            Ok::<_, Error>((incarnation, verifying, road.log_key(log_key)?))
        });
        let (incarnation, verifying, key) = begun.await??;
        tracing::info!(incarnation = %incarnation.incarnation, "a history of this data directory begins in the bucket's log");
        Ok(Writer::new(incarnation, verifying, key))
    }

    /// The key first: a batch nobody could open says nothing.
    pub(super) async fn place_log_key(self: &Arc<Self>, writer: &mut Writer) -> Result<(), Error> {
        if writer.key_placed {
            return Ok(());
        }
        let (road, id) = (Arc::clone(self), writer.key.id);
        let (name, object) = compute(move || road.keys.log_key_object(id)).await??;
        for placement in &self.placements {
            place_exactly(&*placement.keys, &name, &object, |_| Ok(())).await?;
        }
        writer.key_placed = true;
        Ok(())
    }

    /// Makes the next batch and keeps it here, synced. False when there is nothing to state.
    pub(super) async fn make_batch(self: &Arc<Self>, writer: &mut Writer) -> Result<bool, Error> {
        let now = self.clock.now();
        let limit = u32::try_from(FACTS_MAX).unwrap_or(u32::MAX);
        let waiting = self.catalog.outgoing(limit).await?;
        let all = waiting.len();
        let outgoing = at_most(waiting, BODY_BYTES_MAX);
        // A heartbeat says that everything before it is told: it comes after the last of it.
        let is_all = outgoing.len() == all && all < FACTS_MAX;
        let beat_due = is_all
            && writer.heartbeat_at.is_none_or(|last| {
                u128::from(now.0.abs_diff(last.0)) >= self.settings.log_heartbeat.as_millis()
            });
        if outgoing.is_empty() && !beat_due {
            return Ok(false);
        }
        let mut facts = Vec::with_capacity(outgoing.len() + 1);
        for fact in &outgoing {
            facts.push(stated(fact, writer.clock.stamp(now))?);
        }
        if beat_due && !writer.rule_stated {
            let body = Body::RetentionRule { years: self.settings.retention_years };
            let (id, stamp) = (FactId::random(&self.random), writer.clock.stamp(now));
            facts.push(Fact { id, stamp, supersedes: Vec::new(), body });
        }
        if beat_due {
            let body = Body::Heartbeat { read: Vec::new() };
            let (id, stamp) = (FactId::random(&self.random), writer.clock.stamp(now));
            facts.push(Fact { id, stamp, supersedes: Vec::new(), body });
        }
        let pending = self.seal_batch(writer, facts).await?;
        writer.tip = writer.tip.then(&pending.bytes);
        writer.pending = Some(pending);
        if beat_due {
            writer.heartbeat_at = Some(now);
            writer.rule_stated = true;
        }
        Ok(true)
    }

    async fn seal_batch(self: &Arc<Self>, writer: &Writer, facts: Vec<Fact>) -> Result<Pending, Error> {
        let (road, key, verifying) = (Arc::clone(self), writer.key.clone(), writer.verifying);
        let (incarnation, after, place) = (writer.incarnation, writer.tip, writer.next());
        let sealed = compute(move || {
            let author = Author {
                node: road.keys.node_id(),
                incarnation: incarnation.incarnation,
                roles: road.settings.roles,
            };
            let batch = NewBatch { site_id: road.keys.site_id(), author, after, facts: &facts };
            let unsigned = batch.seal(&key, &verifying, &road.random)?;
            let signature = road.keys.sign(incarnation.incarnation, unsigned.to_sign())?;
            let bytes = unsigned.signed(&signature);
            road.log.folder.keep(place, &bytes)?;
            let facts = facts.iter().map(|fact| fact.id).collect();
            Ok::<_, Error>(Pending { place, bytes, facts })
        });
        sealed.await?
    }

    /// Puts the pending batch in a placement.
    ///
    /// # Errors
    /// [`Error::Forked`] when a sound batch of ours stands there that is not this one.
    pub(super) async fn place_batch(&self, writer: &Writer, placement: &Placement) -> Result<(), Error> {
        let Some(pending) = &writer.pending else { return Ok(()) };
        let sequence = pending.place.sequence;
        // Signed with our key, whatever it follows, and not by us as we are now.
        let foreign = |other: &[u8]| match self.reads_as_ours(writer, pending.place, other) {
            true => Err(Error::Forked { sequence }),
            false => Ok(()),
        };
        place_exactly(&*placement.bucket, &pending.place.object_name(), &pending.bytes, foreign).await
    }
}

impl Road {
    fn reads_as_ours(&self, writer: &Writer, place: Place, bytes: &[u8]) -> bool {
        let Ok(head) = filmgate_log::batch_head(bytes) else { return false };
        let after = Tip { sequence: place.sequence.saturating_sub(1), digest: head.predecessor };
        self.own_chain(writer, after).is_ok_and(|mut chain| chain.read(bytes, &writer.key).is_ok())
    }
}

/// The first of them, as many as fit.
fn at_most(mut outgoing: Vec<Outgoing>, bytes_max: usize) -> Vec<Outgoing> {
    let mut bytes = 0;
    let fit = outgoing.iter().take_while(|fact| {
        bytes += fact.body.len();
        bytes <= bytes_max
    });
    let fit = fit.count();
    outgoing.truncate(fit);
    outgoing
}

fn stated(outgoing: &Outgoing, stamp: Stamp) -> Result<Fact, Error> {
    let body = Body::from_bytes(outgoing.kind, &outgoing.body)?;
    Ok(Fact { id: outgoing.fact_id, stamp, supersedes: Vec::new(), body })
}
