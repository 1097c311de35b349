//! The logs of a site, read from the bucket: each incarnation in order from its first batch, none skipped.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use filmgate_bucket::Error as BucketError;
use filmgate_log::{BATCH_BYTES_MAX, Batch, BatchHead, Chain, LogKey, Merge, Place, Stated};
use filmgate_model::{IncarnationId, LogKeyId, compute};
use futures::{StreamExt, stream};

use crate::{Error, Placement, Road};

/// Below it stand the batches of every incarnation.
const LOGS: &str = "v1/log/";
/// Batches fetched at a time.
const READS: usize = 16;
/// Bytes of a key object at most.
const KEY_OBJECT_BYTES_MAX: u64 = 4096;

/// What was read of the site's logs.
#[derive(Default)]
pub(crate) struct SiteLogs {
    /// How far each incarnation was read.
    pub(crate) chains: BTreeMap<IncarnationId, Chain>,
    /// What all of it comes to.
    pub(crate) merge: Merge,
    /// Batches read.
    pub(crate) batches: u64,
    /// Incarnations that cannot be read further, and why: a person has to look.
    pub(crate) stopped: BTreeMap<IncarnationId, String>,
    /// Read beside other work: what cannot be read is no failure of it.
    pub(crate) aside: bool,
}

impl SiteLogs {
    pub(crate) fn take(&mut self, batch: Batch) {
        self.batches += 1;
        for fact in batch.facts {
            self.merge.take(&Stated { fact, author: batch.author });
        }
    }

    pub(crate) fn stop(&mut self, place: Place, error: &Error) {
        let why = format!("batch {}: {}", place.sequence, crate::error::chain(error));
        if self.aside {
            tracing::info!(incarnation = %place.incarnation, why, "a log in the bucket is not read on");
            self.stopped.insert(place.incarnation, why);
            return;
        }
        tracing::error!(incarnation = %place.incarnation, sequence = place.sequence, why, "a log in the bucket cannot be read on");
        self.stopped.insert(place.incarnation, why);
    }
}

/// Every incarnation of these batches, and the last of its numbers.
fn last_batches<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<IncarnationId, u64> {
    let mut last: BTreeMap<IncarnationId, u64> = BTreeMap::new();
    for place in names.filter_map(|name| Place::of_object(name)) {
        let known = last.entry(place.incarnation).or_default();
        *known = (*known).max(place.sequence);
    }
    last
}

impl Road {
    /// Reads every log to its end, as far as it is sound. An incarnation with a gap, a forged or a damaged batch is read up
    /// to there and said to be stopped.
    ///
    /// # Errors
    /// When no placement can be asked.
    pub(crate) async fn read_logs(self: &Arc<Self>) -> Result<SiteLogs, Error> {
        let mut logs = SiteLogs::default();
        for (incarnation, last) in self.incarnations().await? {
            self.read_incarnation(&mut logs, incarnation, last).await?;
        }
        Ok(logs)
    }

    /// Every incarnation any placement holds a batch of, and the last of its numbers.
    pub(crate) async fn incarnations(&self) -> Result<BTreeMap<IncarnationId, u64>, Error> {
        Ok(last_batches(self.list_everywhere(LOGS).await?.keys()))
    }

    /// The same of the placements that can be asked now, which may be none.
    pub(crate) async fn incarnations_at_hand(&self) -> BTreeMap<IncarnationId, u64> {
        let mut names = Vec::new();
        for placement in &self.placements {
            let listed = placement.bucket.list(LOGS).await.unwrap_or_default();
            names.extend(listed.into_iter().map(|object| object.name));
        }
        last_batches(names.iter())
    }

    /// Names of the placements that hold each object whose name begins so, and its length. A placement that cannot be asked
    /// is left out, as long as another can.
    pub(crate) async fn list_everywhere(
        &self,
        prefix: &str,
    ) -> Result<BTreeMap<String, Vec<(&Placement, u64)>>, Error> {
        let (mut found, mut failed, mut asked) = (BTreeMap::<String, Vec<_>>::new(), None, false);
        for placement in &self.placements {
            match placement.bucket.list(prefix).await {
                Ok(objects) => {
                    asked = true;
                    for object in objects {
                        found.entry(object.name).or_default().push((placement, object.bytes));
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        placement = placement.name,
                        error = &error as &dyn std::error::Error,
                        "a placement cannot be asked"
                    );
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if !asked => Err(error.into()),
            _ => Ok(found),
        }
    }

    pub(crate) async fn read_incarnation(
        self: &Arc<Self>,
        logs: &mut SiteLogs,
        incarnation: IncarnationId,
        last: u64,
    ) -> Result<(), Error> {
        let mut chain =
            logs.chains.remove(&incarnation).unwrap_or_else(|| Chain::new(self.keys.site_id(), incarnation));
        let places = (chain.next().sequence..=last).map(|sequence| Place { incarnation, sequence });
        let mut objects = stream::iter(places)
            .map(|place| async move { (place, self.fetch_batch(place).await) })
            .buffered(READS);
        while let Some((place, fetched)) = objects.next().await {
            let read = match fetched {
                Ok(copies) => self.read_batch(&mut chain, &copies).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(batch) => logs.take(batch),
                Err(error) => {
                    logs.stop(place, &error);
                    break;
                }
            }
        }
        drop(objects);
        logs.chains.insert(incarnation, chain);
        Ok(())
    }

    /// A batch from every placement that has it; the first sound one counts.
    pub(crate) async fn fetch_batch(&self, place: Place) -> Result<Vec<Bytes>, Error> {
        let name = place.object_name();
        let (mut copies, mut failed) = (Vec::new(), None);
        for placement in &self.placements {
            let fetched = async {
                let object = placement.bucket.head(&name).await?;
                let object = object.ok_or_else(|| BucketError::NotFound(name.clone()))?;
                placement.bucket.get(&name, 0..object.bytes.min(BATCH_BYTES_MAX as u64 + 1)).await
            };
            match fetched.await {
                Ok(bytes) => copies.push(bytes),
                // What could not be asked may have it.
                Err(error) if !matches!(failed, Some(BucketError::Unavailable { .. })) => {
                    failed = Some(error)
                }
                Err(_) => {}
            }
        }
        match failed {
            Some(error) if copies.is_empty() => Err(error.into()),
            _ => Ok(copies),
        }
    }

    /// Reads the next batch of a chain from the first copy that is sound.
    pub(crate) async fn read_batch(
        self: &Arc<Self>,
        chain: &mut Chain,
        copies: &[Bytes],
    ) -> Result<Batch, Error> {
        let mut last = None;
        for copy in copies {
            match self.read_copy(chain, copy).await {
                Ok(batch) => return Ok(batch),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::NotPlaced { name: chain.next().object_name() }))
    }

    async fn read_copy(self: &Arc<Self>, chain: &mut Chain, bytes: &[u8]) -> Result<Batch, Error> {
        let head = chain.head(bytes)?;
        let key = self.log_key_of(&head).await?;
        Ok(chain.read(bytes, &key)?)
    }

    /// The key a batch is sealed under: this node's copy, else that of a bucket of keys, which is kept here from then on.
    async fn log_key_of(self: &Arc<Self>, head: &BatchHead) -> Result<LogKey, Error> {
        self.log_key_by(head.log_key_id, head.log_key_generation).await
    }

    /// The same by its name.
    pub(crate) async fn log_key_by(self: &Arc<Self>, id: LogKeyId, generation: u32) -> Result<LogKey, Error> {
        let road = Arc::clone(self);
        let mut problem = match compute(move || road.keys.log_key(id)).await? {
            Ok(key) => return Ok(LogKey { id, generation, key }),
            Err(error) => Error::from(error),
        };
        let prefix = format!("v1/key/{id}/");
        for placement in &self.placements {
            // Its latest wrapping; older ones are under keys that may be gone.
            let Ok(objects) = placement.keys.list(&prefix).await else { continue };
            for object in objects.iter().rev() {
                let Ok(bytes) =
                    placement.keys.get(&object.name, 0..object.bytes.min(KEY_OBJECT_BYTES_MAX)).await
                else {
                    continue;
                };
                let road = Arc::clone(self);
                let adopted = compute(move || {
                    road.keys.adopt_log_key(&bytes)?;
                    road.keys.log_key(id)
                });
                match adopted.await? {
                    Ok(key) => return Ok(LogKey { id, generation, key }),
                    Err(error) => problem = error.into(),
                }
            }
        }
        Err(problem)
    }
}
