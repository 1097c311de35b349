//! What was deleted goes, after its grace: packs of which nothing else is left, everywhere they are; others once what
//! stays of them is verified in a pack of its own.
//!
//! What may go is decided by the catalog, in the transaction that says so (`give_up_pack`); only then are bytes touched. A
//! crash between the two leaves bytes nothing names, which the next round takes away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use filmgate_catalog::{Deletion, Pack, PackToDelete, Stays};
use filmgate_model::{InstanceState, PackId, Timestamp, compute};

use crate::{Error, Repack, Road, error::chain, retrieve::pack_name};

/// Of each kind, how many are looked at in one round.
const ROUND: u32 = 16;

/// What one round of deleting did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Packs whose bytes may go: nothing names them any more.
    pub given_up: usize,
    /// Packs whose bytes are gone from everywhere.
    pub gone: usize,
    /// Records that were copied because what they stood beside goes.
    pub copied: usize,
    /// Places a study's key is gone from.
    pub shredded: usize,
}

impl Deleted {
    /// True when there was nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the lists go on in the next round, so that what cannot go now holds up nothing behind it.
#[derive(Debug, Default)]
pub(crate) struct Deleting {
    deletions: Turn,
    replaced: Turn,
}

/// How many at the head of a list are known to wait.
#[derive(Debug, Default)]
struct Turn(AtomicU32);

impl Turn {
    fn skip(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// `looked_at` were on the list and `waiting` of them are on it still; at its end it begins anew.
    fn looked_at(&self, looked_at: usize, waiting: usize) {
        let is_over = looked_at < ROUND as usize;
        let skip = if is_over { 0 } else { self.skip().saturating_add(waiting as u32) };
        self.0.store(skip, Ordering::Relaxed);
    }
}

/// Why a pack does not go now.
enum Waits {
    For(String),
    NoMore,
}

impl Road {
    /// Carries out what is due, gives up packs whose records stand elsewhere, and takes away the bytes of those given up.
    ///
    /// # Errors
    /// When catalog or disk fails. What a bucket refuses, or a hold forbids, is written down and no error.
    pub async fn delete_due(self: &Arc<Self>) -> Result<Deleted, Error> {
        let (mut done, mut waiting) = (Deleted::default(), 0);
        let now = self.clock.now();
        let due = self.catalog.deletions_due(now, self.deleting.deletions.skip(), ROUND).await?;
        let looked_at = due.len();
        for deletion in due {
            let waits = match self.carry_out(&deletion, &mut done).await {
                Ok(Waits::For(what)) => Some(what),
                Ok(Waits::NoMore) => None,
                // A bucket that is away is asked again in the next round, as what a hold forbids is.
                Err(error) if matches!(error, Error::Bucket(_)) || error.is_permanent() => {
                    Some(chain(&error))
                }
                Err(error) => return Err(error),
            };
            self.catalog.deletion_waits(deletion.deletion_id, waits.as_deref()).await?;
            waiting += usize::from(waits.is_some());
        }
        self.deleting.deletions.looked_at(looked_at, waiting);
        self.give_up_replaced(now, &mut done).await?;
        for pack in self.catalog.packs_going(now, ROUND).await? {
            done.gone += usize::from(self.take_bytes_away(&pack).await?);
        }
        for pack_id in self.catalog.stale_copies(ROUND).await? {
            self.remove_local(pack_id).await?;
            self.catalog.forget_cached(pack_id).await?;
        }
        done.shredded = self.shred_due().await?;
        Ok(done)
    }

    async fn give_up_replaced(&self, now: Timestamp, done: &mut Deleted) -> Result<(), Error> {
        let before = now.minus(self.settings.repack_grace);
        let replaced = self.catalog.replaced_packs(before, self.deleting.replaced.skip(), ROUND).await?;
        let (looked_at, given_up) = (replaced.len(), done.given_up);
        for pack_id in replaced {
            done.given_up += usize::from(self.give_up(pack_id).await?.is_none());
        }
        self.deleting.replaced.looked_at(looked_at, looked_at - (done.given_up - given_up));
        Ok(())
    }

    async fn carry_out(self: &Arc<Self>, deletion: &Deletion, done: &mut Deleted) -> Result<Waits, Error> {
        if let Some(why) = self.others_may_object(deletion).await? {
            return Ok(Waits::For(why));
        }
        let years = self.settings.retention_years;
        let unpacked = self.catalog.delete_unpacked(deletion.deletion_id, years, self.clock.now()).await?;
        if !unpacked.is_empty() {
            self.release(unpacked).await?;
        }
        let mut waits = Waits::NoMore;
        for pack in self.catalog.packs_of_deletion(deletion.deletion_id).await? {
            if let Some(why) = self.delete_from(deletion, &pack, done).await? {
                waits = Waits::For(format!("pack {}: {why}", pack.pack_id));
            }
        }
        Ok(waits)
    }

    /// What of a pack the deletion names goes with the pack, when nothing else is in it; why it does not go now.
    async fn delete_from(
        self: &Arc<Self>,
        deletion: &Deletion,
        pack: &PackToDelete,
        done: &mut Deleted,
    ) -> Result<Option<&'static str>, Error> {
        if pack.others == 0 {
            let stays = self.give_up(pack.pack_id).await?;
            done.given_up += usize::from(stays.is_none());
            return Ok(stays.map(why));
        }
        let settled = matches!(pack.state, InstanceState::Verified | InstanceState::Damaged);
        if pack.moving || !settled {
            return Ok(Some(why(if pack.moving { Stays::Moving } else { Stays::OnItsWay })));
        }
        let repacked = self
            .repack(&Repack {
                study_instance_uid: deletion.study_instance_uid.clone(),
                quarantine: self.catalog.pack(pack.pack_id).await?.is_some_and(|pack| pack.quarantine),
                packs: vec![pack.pack_id],
                leave_out: Some(deletion.deletion_id),
                // What stays of a study that goes is not to keep the key that goes with it.
                new_key: deletion.sop_instance_uid.is_none(),
            })
            .await?;
        done.copied += repacked.records;
        Ok(Some(match repacked.unreadable {
            0 => why(Stays::Moving),
            _ => "it also holds what opens in no copy, and nothing is deleted that a record may need",
        }))
    }

    async fn give_up(&self, pack_id: PackId) -> Result<Option<Stays>, Error> {
        let (years, grace) = (self.settings.retention_years, milliseconds(self.settings.repack_grace));
        let stays = self.catalog.give_up_pack(pack_id, years, grace, self.clock.now()).await?;
        if stays.is_none() {
            self.contents.remove(&pack_id);
            tracing::info!(%pack_id, "nothing names this pack any more; its bytes go");
        }
        Ok(stays)
    }

    /// True when the bytes of a given-up pack are gone from everywhere they could be.
    async fn take_bytes_away(self: &Arc<Self>, pack: &Pack) -> Result<bool, Error> {
        match self.try_take_away(pack.pack_id).await {
            Ok(()) => {
                self.catalog.record_gone(pack.pack_id, self.clock.now()).await?;
                metrics::counter!("filmgate_deleted_packs_total").increment(1);
                Ok(true)
            }
            Err(error @ Error::Catalog(_)) => Err(error),
            Err(error) => {
                let next = self.clock.now().plus(self.retry_delay(pack.attempts));
                let reason = chain(&error);
                tracing::warn!(pack_id = %pack.pack_id, reason, "a deleted pack is not gone yet");
                self.catalog.going_failed(pack.pack_id, &reason, next).await?;
                Ok(false)
            }
        }
    }

    async fn try_take_away(self: &Arc<Self>, pack_id: PackId) -> Result<(), Error> {
        let name = pack_name(pack_id);
        for placement in &self.placements {
            placement.bucket.delete(&name).await?;
            if placement.bucket.head(&name).await?.is_some() {
                return Err(Error::Differs { pack_id, what: "it is still there after it was deleted" });
            }
        }
        self.remove_local(pack_id).await
    }

    async fn remove_local(self: &Arc<Self>, pack_id: PackId) -> Result<(), Error> {
        let road = Arc::clone(self);
        let removed = compute(move || match road.packs.contains(pack_id)? {
            true => road.packs.remove(pack_id),
            false => Ok(()),
        });
        removed.await??;
        self.forget_pack(pack_id).await
    }
}

fn why(stays: Stays) -> &'static str {
    match stays {
        Stays::OnItsWay => "it is on its way to a bucket, or another node's; it goes once it is verified",
        Stays::Moving => "what stays of it is on its way into another pack",
        Stays::Named => "a record in it is not deleted",
        Stays::Grace => "its records have just moved, and readers may still be at it",
        Stays::ReplacementUnsure => "the pack that took its records over is not verified now",
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
