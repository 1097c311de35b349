//! Step 4: a pack's key object, then the pack, go to every placement, to each on its own: one that is slow or away holds up
//! no other.
//!
//! A failed upload is tried again after a delay that doubles and is never quite the same; when and why is written down.
//! An answer that got lost is asked for: an object of the right size under the name counts as uploaded, and step 5
//! finds out whether it is the right one.

use std::{io, sync::Arc, time::Duration};

use filmgate_bucket::{Bucket, Error as BucketError, Source};
use filmgate_catalog::Pack;
use filmgate_model::{PackId, Timestamp, compute};
use tokio::sync::Notify;

use crate::{Error, Placement, Road, error::chain, retrieve::pack_name};

impl Road {
    /// The next pack that is due for upload to a placement, oldest first, leaving out those at work.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn next_upload(
        &self,
        placement: &Placement,
        at_work: &[PackId],
    ) -> Result<Option<Pack>, Error> {
        Ok(self.catalog.claim_upload(&placement.name, self.clock.now(), at_work).await?)
    }

    /// When the next retry in a placement is due; `None` when no pack waits for one.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn next_retry_at(&self, placement: &Placement) -> Result<Option<Timestamp>, Error> {
        Ok(self.catalog.next_retry_at(&placement.name).await?)
    }

    /// Waits until a pack was put in a placement.
    pub async fn something_uploaded(&self) {
        self.uploaded.notified().await;
    }

    /// Puts a pack in a placement. A failure is written down with the time of the next try.
    ///
    /// # Errors
    /// When the catalog cannot be written; a bucket's failure is no error here.
    pub async fn upload(self: &Arc<Self>, placement: &Placement, pack: &Pack) -> Result<bool, Error> {
        match self.place(placement, pack).await {
            Ok(()) => {
                let required = self.placement_names();
                self.catalog
                    .record_uploaded(pack.pack_id, &placement.name, &required, self.clock.now())
                    .await?;
                tell(&self.uploaded);
                Ok(true)
            }
            Err(error) => {
                self.put_off(placement, pack, &error).await?;
                Ok(false)
            }
        }
    }

    /// The key first: a pack nobody could open is no copy.
    async fn place(self: &Arc<Self>, placement: &Placement, pack: &Pack) -> Result<(), Error> {
        self.probe(placement).await?;
        let (road, study_key_id) = (Arc::clone(self), pack.study_key_id);
        let (key_name, key_object) = compute(move || road.keys.study_key_object(study_key_id)).await??;
        let key = Source::from_bytes(key_object);
        // The first pack of a study brings it; the others find it there.
        if !is_there(&placement.keys, &key_name, key.bytes()).await? {
            put_once(&placement.keys, &key_name, &key).await?;
        }
        let (road, pack_id) = (Arc::clone(self), pack.pack_id);
        let content = Source::new(pack.bytes, move |range| {
            let read = road.packs.open(pack_id).and_then(|pack| pack.read(range));
            read.map(Into::into).map_err(io::Error::other)
        });
        match placement.bucket.parts() {
            Some(store) if pack.bytes > self.settings.part_size_bytes => {
                self.put_in_parts(placement, store, pack, &content).await
            }
            _ => {
                self.rest_for(pack.bytes, pack.created_at).await;
                let _flight = self.flight.take(pack.bytes).await;
                put_once(&placement.bucket, &pack_name(pack_id), &content).await
            }
        }
    }

    /// Writes down why a pack waits for a placement and until when.
    pub(crate) async fn put_off(
        &self,
        placement: &Placement,
        pack: &Pack,
        error: &Error,
    ) -> Result<(), Error> {
        let (next_try_at, reason) = self.tell_of_failure(placement, pack, error);
        let (pack_id, now) = (pack.pack_id, self.clock.now());
        Ok(self.catalog.upload_failed(pack_id, &placement.name, &reason, next_try_at, now).await?)
    }

    /// The same of a placement whose copy is none: it is uploaded again.
    pub(crate) async fn put_off_anew(
        &self,
        placement: &Placement,
        pack: &Pack,
        error: &Error,
    ) -> Result<(), Error> {
        let (next_try_at, reason) = self.tell_of_failure(placement, pack, error);
        let (pack_id, now) = (pack.pack_id, self.clock.now());
        Ok(self.catalog.placement_failed(pack_id, &placement.name, &reason, next_try_at, now).await?)
    }

    /// With several placements it is said which.
    fn reason(&self, placement: &Placement, error: &Error) -> String {
        let reason = chain(error);
        if self.placements.len() == 1 { reason } else { format!("{}: {reason}", placement.name) }
    }

    /// When it is tried again, and why it has to be; both are in the log, too.
    fn tell_of_failure(&self, placement: &Placement, pack: &Pack, error: &Error) -> (Timestamp, String) {
        let next_try_at = self.next_try_at(placement, pack, error);
        let reason = self.reason(placement, error);
        let (pack_id, placement, attempts) =
            (pack.pack_id, &placement.name, pack.attempts_in(&placement.name) + 1);
        tracing::info!(%pack_id, placement, attempts, %next_try_at, reason, "upload put off");
        metrics::counter!("filmgate_upload_failures_total").increment(1);
        (next_try_at, reason)
    }

    fn next_try_at(&self, placement: &Placement, pack: &Pack, error: &Error) -> Timestamp {
        let asked = match error {
            Error::Bucket(error) => error.retry_after(),
            _ => None,
        };
        let asked = asked.unwrap_or_default().min(self.settings.retry_delay_max);
        let delay = asked.max(self.retry_delay(pack.attempts_in(&placement.name)));
        self.clock.now().plus(delay)
    }

    /// Twice as long each time, up to the limit, and between half and the whole of it at random, so that many packs
    /// do not come back in one moment.
    pub(crate) fn retry_delay(&self, attempts: u64) -> Duration {
        let (min, max) = (self.settings.retry_delay_min, self.settings.retry_delay_max);
        let whole = min.saturating_mul(1u32 << attempts.min(20)).min(max).max(Duration::from_millis(2));
        let half = whole / 2;
        half + Duration::from_millis(self.random.below(half.as_millis() as u64 + 1))
    }
}

/// Wakes all who wait, and the next to come if nobody does.
pub(crate) fn tell(news: &Notify) {
    news.notify_waiters();
    news.notify_one();
}

/// True when an object of this name and size is there.
pub(crate) async fn is_there(bucket: &Arc<dyn Bucket>, name: &str, bytes: u64) -> Result<bool, Error> {
    Ok(bucket.head(name).await?.is_some_and(|object| object.bytes == bytes))
}

/// Puts an object whose name is its own for ever: one that is there already, in the right size, is an earlier try's.
async fn put_once(bucket: &Arc<dyn Bucket>, name: &str, content: &Source) -> Result<(), Error> {
    match bucket.put(name, content).await {
        Ok(()) => Ok(()),
        Err(BucketError::Exists(_)) if is_there(bucket, name, content.bytes()).await? => Ok(()),
        // Something shorter stands under the name: a cut-off try on a store that shows such things. It is nobody's.
        Err(BucketError::Exists(_)) => {
            bucket.delete(name).await?;
            Ok(bucket.put(name, content).await?)
        }
        // It may have got through.
        Err(error)
            if error.is_unclear() && is_there(bucket, name, content.bytes()).await.unwrap_or(false) =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
