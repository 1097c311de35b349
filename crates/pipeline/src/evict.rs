//! Step 6: verified packs leave the local disk, the least recently read first, when room is needed and only then. What was
//! cached of others leaves before them, and what opens their records stays behind.

use std::sync::{Arc, atomic::Ordering};

use filmgate_model::{PackId, compute};

use crate::{Error, Road, retrieve::pack_name};

/// Packs given up between two looks at the free space.
const BATCH: u32 = 8;

/// One look for room.
#[derive(Default)]
struct Round {
    evicted: usize,
    /// Packs that could not be given up; they are the first on the list again.
    stay: u32,
    /// Nothing is left to give up, or a placement is away: no pack can be asked for there.
    is_over: bool,
}

impl Road {
    /// Makes room where it is needed: first in the quarantine, then on the disk; how many packs were given up.
    ///
    /// # Errors
    /// When disk or catalog fails.
    pub async fn evict(self: &Arc<Self>) -> Result<usize, Error> {
        // First of all, and without the catalog: it may be away while receipt goes on.
        self.give_up_cached(true).await?;
        self.note_reads().await?;
        let mut of_quarantine = Round::default();
        while !of_quarantine.is_over && self.quarantine_is_full().await? {
            self.evict_some(true, &mut of_quarantine).await?;
        }
        self.quarantine_full.store(self.quarantine_is_full().await?, Ordering::SeqCst);
        let mut of_all = Round::default();
        while !of_all.is_over && self.cache_is_full().await? {
            self.evict_some(false, &mut of_all).await?;
        }
        self.give_up_cached(false).await?;
        let evicted = of_quarantine.evicted + of_all.evicted;
        metrics::counter!("filmgate_evicted_packs_total").increment(evicted as u64);
        Ok(evicted)
    }

    /// Which packs were read is written down before it matters, not at each reading.
    async fn note_reads(&self) -> Result<(), Error> {
        let read = std::mem::take(&mut *self.read.lock());
        if read.is_empty() {
            return Ok(());
        }
        let read: Vec<PackId> = read.into_iter().collect();
        Ok(self.catalog.record_read(&read, self.clock.now()).await?)
    }

    async fn evict_some(self: &Arc<Self>, quarantined: bool, round: &mut Round) -> Result<(), Error> {
        let packs = self.catalog.evictable(quarantined, round.stay, BATCH).await?;
        round.is_over = packs.is_empty();
        for pack in packs {
            let pack_id = pack.pack_id;
            let given_up = match self.is_everywhere(pack_id).await {
                Ok(everywhere) => everywhere && self.give_up_local(pack_id).await?,
                Err(error @ Error::Catalog(_)) => return Err(error),
                // What cannot be asked for cannot be relied on: this copy stays, others may go.
                Err(error) => {
                    tracing::warn!(%pack_id, error = &error as &dyn std::error::Error, "a local pack stays");
                    round.is_over = matches!(&error, Error::Bucket(bucket) if bucket.is_unclear());
                    false
                }
            };
            round.evicted += usize::from(given_up);
            round.stay += u32::from(!given_up);
            if round.is_over {
                break;
            }
        }
        Ok(())
    }

    /// False when it is not verified any more: then it stays.
    async fn give_up_local(self: &Arc<Self>, pack_id: PackId) -> Result<bool, Error> {
        let road = Arc::clone(self);
        compute(move || road.keep_footer_here(pack_id)).await?;
        // Known as gone first: after a crash between the two, the next start unlinks what is left over.
        if !self.catalog.record_evicted(pack_id).await? {
            return Ok(false);
        }
        let road = Arc::clone(self);
        compute(move || road.packs.remove(pack_id)).await??;
        Ok(true)
    }

    /// Looks for pack and key in every placement before the last copy here is given up. One that is missing, or an
    /// empty folder where a share should be mounted, puts the pack back among those to be uploaded.
    async fn is_everywhere(self: &Arc<Self>, pack_id: PackId) -> Result<bool, Error> {
        let Some(pack) = self.catalog.pack(pack_id).await? else { return Ok(false) };
        let (road, study_key_id) = (Arc::clone(self), pack.study_key_id);
        let (key_name, key) = compute(move || road.keys.study_key_object(study_key_id)).await??;
        for placement in &self.placements {
            self.site_key_stands(placement).await?;
            let pack_object = (&placement.bucket, pack_name(pack_id), pack.bytes);
            let key_object = (&placement.keys, key_name.clone(), key.len() as u64);
            for (bucket, name, bytes) in [pack_object, key_object] {
                if bucket.head(&name).await?.is_none_or(|object| object.bytes != bytes) {
                    tracing::error!(
                        placement = placement.name,
                        object = name,
                        "a verified object is gone; its pack is uploaded again"
                    );
                    let now = self.clock.now();
                    let reason = format!("{name} was verified and is gone from {}", placement.name);
                    self.catalog.placement_failed(pack_id, &placement.name, &reason, now, now).await?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn quarantine_is_full(&self) -> Result<bool, Error> {
        Ok(self.catalog.totals().await?.quarantine_bytes >= self.settings.quarantine_bytes_max)
    }

    async fn cache_is_full(&self) -> Result<bool, Error> {
        let short = self.short_bytes()? > 0;
        Ok(short || self.catalog.totals().await?.local_pack_bytes > self.settings.cache_bytes_max)
    }

    /// What receipt lacks of free room on the disk.
    fn short_bytes(&self) -> Result<u64, Error> {
        Ok(self.free_bytes_for_receipt().saturating_sub(self.disk_free_bytes()?))
    }

    /// Ranges of packs that are elsewhere leave when room is needed; their footers only when that and the packs do not do.
    async fn give_up_cached(self: &Arc<Self>, ranges: bool) -> Result<(), Error> {
        let short = self.short_bytes()?;
        if short > 0 {
            let road = Arc::clone(self);
            let given_up = compute(move || match ranges {
                true => road.cached.ranges.give_up(short),
                false => road.cached.footers.give_up(short),
            });
            let bytes = given_up.await?;
            tracing::debug!(bytes, "the cache gave way");
        }
        Ok(())
    }
}
