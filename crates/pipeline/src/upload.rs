//! Step 4: a pack's key object, then the pack, go to every placement.
//!
//! A failed upload is tried again after a delay that doubles and is never quite the same; when and why is written down.
//! An answer that got lost is asked for: an object of the right size under the name counts as uploaded, and step 5
//! finds out whether it is the right one.

use std::{io, sync::Arc, time::Duration};

use filmgate_bucket::{Bucket, Error as BucketError, Source};
use filmgate_catalog::Pack;
use filmgate_model::{PackId, Timestamp, compute};

use crate::{Error, Placement, Road, error::chain, retrieve::pack_name};

impl Road {
    /// The next pack that is due for upload, oldest first, leaving out those at work.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn next_upload(&self, at_work: &[PackId]) -> Result<Option<Pack>, Error> {
        Ok(self.catalog.claim_upload(self.clock.now(), at_work).await?)
    }

    /// When the next retry is due; `None` when no pack waits for one.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn next_retry_at(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.catalog.next_retry_at().await?)
    }

    /// Waits until a pack was put in every placement.
    pub async fn something_uploaded(&self) {
        self.uploaded.notified().await;
    }

    /// Uploads a pack to every placement that lacks it. A failure is written down with the time of the next try.
    ///
    /// # Errors
    /// When the catalog cannot be written; a bucket's failure is no error here.
    pub async fn upload(self: &Arc<Self>, pack: &Pack) -> Result<bool, Error> {
        match self.try_upload(pack).await {
            Ok(()) => Ok(true),
            Err(error) => {
                self.put_off(pack, &error).await?;
                Ok(false)
            }
        }
    }

    async fn try_upload(self: &Arc<Self>, pack: &Pack) -> Result<(), Error> {
        let required = self.placement_names();
        for placement in &self.placements {
            self.place(placement, pack).await?;
            self.pace.moved(pack.bytes);
            self.catalog.record_uploaded(pack.pack_id, &placement.name, &required, self.clock.now()).await?;
        }
        self.uploaded.notify_one();
        Ok(())
    }

    /// The key first: a pack nobody could open is no copy.
    async fn place(self: &Arc<Self>, placement: &Placement, pack: &Pack) -> Result<(), Error> {
        let (road, study_key_id) = (Arc::clone(self), pack.study_key_id);
        let (key_name, key_object) = compute(move || road.keys.study_key_object(study_key_id)).await??;
        put_once(&placement.keys, &key_name, &Source::from_bytes(key_object)).await?;
        let (road, pack_id) = (Arc::clone(self), pack.pack_id);
        let content = Source::new(pack.bytes, move |range| {
            let read = road.packs.open(pack_id).and_then(|pack| pack.read(range));
            read.map(Into::into).map_err(io::Error::other)
        });
        put_once(&placement.bucket, &pack_name(pack_id), &content).await
    }

    /// Writes down why a pack waits and until when.
    pub(crate) async fn put_off(&self, pack: &Pack, error: &Error) -> Result<(), Error> {
        let asked = match error {
            Error::Bucket(error) => error.retry_after(),
            _ => None,
        };
        let asked = asked.unwrap_or_default().min(self.settings.retry_delay_max);
        let delay = asked.max(self.retry_delay(pack.attempts));
        let now = self.clock.now();
        let reason = chain(error);
        tracing::info!(pack_id = %pack.pack_id, attempts = pack.attempts + 1, delay_ms = delay.as_millis() as u64, reason, "upload put off");
        metrics::counter!("filmgate_upload_failures_total").increment(1);
        Ok(self.catalog.upload_failed(pack.pack_id, &reason, now.plus(delay), now).await?)
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

/// Puts an object whose name is its own for ever: one that is there already, in the right size, is an earlier try's.
async fn put_once(bucket: &Arc<dyn Bucket>, name: &str, content: &Source) -> Result<(), Error> {
    if bucket.head(name).await?.is_some_and(|object| object.bytes == content.bytes()) {
        return Ok(());
    }
    match bucket.put(name, content).await {
        Ok(()) => Ok(()),
        // Something shorter stands under the name: a cut-off try on a store that shows such things. It is nobody's.
        Err(BucketError::Exists(_)) => {
            bucket.delete(name).await?;
            Ok(bucket.put(name, content).await?)
        }
        Err(error) => Err(error.into()),
    }
}
