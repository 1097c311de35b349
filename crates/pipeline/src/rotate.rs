//! Another key of keys, another site key: every key object is wrapped anew as its next generation, put in every placement
//! and read back there; only then the generation before it may go. No image is rewritten.
//!
//! Nothing is written down of how far it came: the objects themselves say. A process that is killed anywhere goes on where
//! it was when it is started again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use filmgate_bucket::{Error as BucketError, ObjectInfo, Source};
use filmgate_keys::{Kek, SiteObject};
use filmgate_model::compute;
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::{Error, Placement, Road, site_key::put_and_read_back};

/// A node that changes the site's keys and gave no sign for so long was cut off.
const ROTATOR_GONE_AFTER: Duration = Duration::from_secs(5 * 60);
/// How often it gives one.
const ROTATOR_SIGN_EVERY: Duration = Duration::from_secs(20);
/// Key objects under way at a time.
const AT_A_TIME: usize = 8;
/// How often an object is put and read back before it is given up.
const LOOKS: usize = 3;
/// Below it stand all keys of a bucket.
pub(crate) const KEYS: &str = "v1/key/";
/// Bytes of a key object at most.
pub(crate) const KEY_OBJECT_BYTES_MAX: u64 = 4096;

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// Key objects there are.
    pub keys: usize,
    /// Of them, those looked at.
    pub done: usize,
    /// Of them, those wrapped anew.
    pub rewrapped: usize,
    /// Objects of earlier generations that were deleted.
    pub deleted: usize,
}

/// The generations of one key, and the placements that have each.
type Generations = BTreeMap<u32, BTreeSet<usize>>;

impl Road {
    /// Puts the site's keys under another key of keys: the next generation in every placement, then here, and only then
    /// the earlier ones go, for they open with the one before.
    ///
    /// # Errors
    /// [`Error::RotatedElsewhere`]; or when a placement cannot be written or read; running it again goes on.
    pub async fn change_kek(self: &Arc<Self>, kek: &Arc<Kek>) -> Result<Arc<SiteObject>, Error> {
        self.hold_rotation().await?;
        let changed = self.change_kek_alone(kek).await;
        self.catalog.release_rotation().await?;
        changed
    }

    async fn change_kek_alone(self: &Arc<Self>, kek: &Arc<Kek>) -> Result<Arc<SiteObject>, Error> {
        let before = self.keys.site_object().generation();
        self.take_newest_site_keys(kek).await?;
        // Another node came before with the same key of keys.
        if self.keys.site_object().generation() > before {
            return Ok(self.keys.site_object());
        }
        let (road, asked) = (Arc::clone(self), Arc::clone(kek));
        let next = compute(move || road.keys.site_under(&asked)).await??;
        self.bring_site_keys(kek, next).await?;
        self.delete_earlier_site_keys().await?;
        Ok(self.keys.site_object())
    }

    /// Makes another site key, unless that was begun already, and wraps every key of the site anew under it.
    ///
    /// # Errors
    /// As [`Road::change_kek`].
    pub async fn rotate_site_key(
        self: &Arc<Self>,
        kek: &Arc<Kek>,
        told: impl Fn(Rotation),
    ) -> Result<Rotation, Error> {
        self.hold_rotation().await?;
        let rotated = self.rotate_alone(kek, told).await;
        self.catalog.release_rotation().await?;
        rotated
    }

    async fn rotate_alone(
        self: &Arc<Self>,
        kek: &Arc<Kek>,
        told: impl Fn(Rotation),
    ) -> Result<Rotation, Error> {
        self.take_newest_site_keys(kek).await?;
        if self.keys.site_key_numbers()?.len() == 1 {
            let (road, asked) = (Arc::clone(self), Arc::clone(kek));
            let next = compute(move || road.keys.site_with_new_key(&asked)).await??;
            self.bring_site_keys(kek, next).await?;
        } else {
            self.place_site_keys().await?;
        }
        self.rewrap_all(false, told).await
    }

    /// Ends a rotation: what is left under an earlier site key is wrapped anew, earlier generations go, and with them the
    /// earlier site keys. Whatever of them anybody kept opens no more.
    ///
    /// # Errors
    /// As [`Road::change_kek`].
    pub async fn finish_rotation(
        self: &Arc<Self>,
        kek: &Arc<Kek>,
        told: impl Fn(Rotation),
    ) -> Result<Rotation, Error> {
        self.hold_rotation().await?;
        let finished = self.finish_alone(kek, told).await;
        self.catalog.release_rotation().await?;
        finished
    }

    async fn finish_alone(
        self: &Arc<Self>,
        kek: &Arc<Kek>,
        told: impl Fn(Rotation),
    ) -> Result<Rotation, Error> {
        self.take_newest_site_keys(kek).await?;
        let rotation = self.rewrap_all(true, told).await?;
        if self.keys.site_key_numbers()?.len() > 1 {
            let (road, asked) = (Arc::clone(self), Arc::clone(kek));
            let next = compute(move || road.keys.site_without_old_keys(&asked)).await??;
            self.bring_site_keys(kek, next).await?;
        }
        self.delete_earlier_site_keys().await?;
        Ok(rotation)
    }

    /// No other node changes the site's keys from now on, until this one says that it is done or is gone.
    async fn hold_rotation(&self) -> Result<(), Error> {
        let now = self.clock.now();
        match self.catalog.hold_rotation(now.minus(ROTATOR_GONE_AFTER), now).await? {
            Some(other) => Err(Error::RotatedElsewhere { node_id: other.node_id, held_at: other.held_at }),
            None => Ok(()),
        }
    }

    /// In every placement and read back, then here.
    async fn bring_site_keys(self: &Arc<Self>, kek: &Arc<Kek>, next: SiteObject) -> Result<(), Error> {
        self.hold_rotation().await?;
        for placement in &self.placements {
            if !put_and_read_back(placement, &next).await? {
                return Err(Error::SiteKeyDiffers(next.name()));
            }
        }
        let (road, asked) = (Arc::clone(self), Arc::clone(kek));
        Ok(compute(move || road.keys.take_site(&asked, &next)).await??)
    }

    /// Takes over the site's keys of a later generation that another node brought.
    pub(crate) async fn take_newest_site_keys(self: &Arc<Self>, kek: &Arc<Kek>) -> Result<(), Error> {
        for placement in &self.placements {
            let ours = self.keys.site_object().generation();
            match self.newest_listed(placement).await? {
                // A follower writes nothing where nothing is to be done.
                Some((generation, _)) if generation == ours => {}
                Some((generation, object)) if generation > ours => {
                    let newer = read_site_keys(placement, &object).await?;
                    if !kek.is(newer.kek()) {
                        return Err(Error::SiteKeysChanged { generation, kek: newer.kek().to_string() });
                    }
                    self.take_site_keys(kek, newer).await?;
                }
                _ => self.place_site_key(placement).await?,
            }
        }
        Ok(())
    }

    async fn take_site_keys(self: &Arc<Self>, kek: &Arc<Kek>, newer: SiteObject) -> Result<(), Error> {
        let (road, asked, generation) = (Arc::clone(self), Arc::clone(kek), newer.generation());
        compute(move || {
            road.keys.take_site(&asked, &newer)?;
            road.keys.rewrap_local()
        })
        .await??;
        tracing::info!(generation, "another node changed the site's keys; they are taken over");
        Ok(())
    }

    /// The latest generation of the site's keys that a placement lists.
    async fn newest_listed(&self, placement: &Placement) -> Result<Option<(u32, ObjectInfo)>, Error> {
        let found = placement.keys.list(&format!("{KEYS}{}/", self.keys.site_id())).await?;
        let generations = found.into_iter().filter_map(|object| Some((parse(&object.name)?.1, object)));
        Ok(generations.max_by_key(|(generation, _)| *generation))
    }

    /// The site's keys as a placement has them, when they are of a later generation than those here.
    pub(crate) async fn newer_site_keys(&self, placement: &Placement) -> Result<Option<SiteObject>, Error> {
        let listed = self.newest_listed(placement).await?;
        let ours = self.keys.site_object().generation();
        match listed.filter(|(generation, _)| *generation > ours) {
            Some((_, object)) => read_site_keys(placement, &object).await.map(Some),
            None => Ok(None),
        }
    }

    async fn delete_earlier_site_keys(&self) -> Result<(), Error> {
        self.place_site_keys().await?;
        let ours = self.keys.site_object();
        for placement in &self.placements {
            for object in placement.keys.list(&format!("{KEYS}{}/", ours.site_id())).await? {
                if parse(&object.name).is_some_and(|(_, generation)| generation < ours.generation()) {
                    placement.keys.delete(&object.name).await?;
                }
            }
        }
        Ok(())
    }

    async fn rewrap_all(
        self: &Arc<Self>,
        delete_earlier: bool,
        told: impl Fn(Rotation),
    ) -> Result<Rotation, Error> {
        let keys = self.key_generations().await?;
        let mut rotation = Rotation { keys: keys.len(), ..Rotation::default() };
        told(rotation);
        let work = keys.into_iter().map(|(id, generations)| self.rewrap_one(id, generations, delete_earlier));
        let mut work = stream::iter(work).buffer_unordered(AT_A_TIME);
        let mut sign_at = self.clock.now();
        while let Some(done) = work.next().await {
            if self.clock.now().since(sign_at) >= ROTATOR_SIGN_EVERY {
                self.hold_rotation().await?;
                sign_at = self.clock.now();
            }
            let (rewrapped, deleted) = done?;
            rotation.done += 1;
            rotation.rewrapped += usize::from(rewrapped);
            rotation.deleted += deleted;
            told(rotation);
        }
        drop(work);
        let road = Arc::clone(self);
        compute(move || road.keys.rewrap_local()).await??;
        Ok(rotation)
    }

    /// Every key of the buckets and of the local key cache but the site's own.
    async fn key_generations(self: &Arc<Self>) -> Result<BTreeMap<String, Generations>, Error> {
        let mut keys: BTreeMap<String, Generations> = BTreeMap::new();
        for (number, placement) in self.placements.iter().enumerate() {
            for object in placement.keys.list(KEYS).await? {
                if let Some((id, generation)) = parse(&object.name)
                    && !SiteObject::may_have_length(object.bytes)
                {
                    keys.entry(id).or_default().entry(generation).or_default().insert(number);
                }
            }
        }
        let road = Arc::clone(self);
        for (id, generation) in compute(move || road.keys.cached_keys()).await?? {
            keys.entry(id).or_default().entry(generation).or_default();
        }
        Ok(keys)
    }

    /// Wraps one key anew if it has to be; whether it had, and how many earlier objects went. What cannot be read or is
    /// not of this site stays as it is.
    async fn rewrap_one(
        self: &Arc<Self>,
        id: String,
        generations: Generations,
        delete_earlier: bool,
    ) -> Result<(bool, usize), Error> {
        let Some((newest, placed)) = generations.last_key_value() else { return Ok((false, 0)) };
        let Some(object) = self.newest_object(&id, *newest, placed).await? else {
            tracing::error!(key_id = id, "a key cannot be read anywhere and is left as it is");
            return Ok((false, 0));
        };
        let (road, bytes) = (Arc::clone(self), object.clone());
        let rewrapped = match compute(move || road.keys.rewrap(&bytes)).await? {
            Ok(rewrapped) => rewrapped,
            Err(error) if error.is_permanent() => {
                tracing::error!(
                    key_id = id,
                    error = &error as &dyn std::error::Error,
                    "a key is left as it is"
                );
                return Ok((false, 0));
            }
            Err(error) => return Err(error.into()),
        };
        let was_old = rewrapped.is_some();
        let (name, bytes) = match rewrapped {
            Some(rewrapped) => (rewrapped.name, Bytes::from(rewrapped.bytes)),
            None => (format!("{KEYS}{id}/{newest}"), object),
        };
        // What is cached is what stands in a bucket: another node may have wrapped the same key anew before.
        let mut standing = bytes.clone();
        for placement in &self.placements {
            standing = self.put_key(placement, &name, &bytes).await?;
        }
        let road = Arc::clone(self);
        compute(move || road.keys.replace_cached(&standing)).await??;
        let mut deleted = 0;
        if delete_earlier {
            let kept = parse(&name).map_or(*newest, |(_, generation)| generation);
            deleted = self.delete_earlier(&id, &generations, kept).await?;
        }
        Ok((was_old, deleted))
    }

    /// Puts a key object and reads it back; one that is there and damaged is replaced. What stands there then.
    async fn put_key(&self, placement: &Placement, name: &str, bytes: &Bytes) -> Result<Bytes, Error> {
        let (bucket, content) = (&placement.keys, Source::from_bytes(bytes.clone()));
        for _ in 0..LOOKS {
            match bucket.put(name, &content).await {
                Ok(()) | Err(BucketError::Exists(_)) => {}
                Err(error) => return Err(error.into()),
            }
            match bucket.get(name, 0..content.bytes()).await {
                Ok(read) if read == *bytes => return Ok(read),
                // Another wrapping of the same key under the newest site key, by another node: as good.
                Ok(read) if self.keys.is_same_key(bytes, &read)? => match self.keys.rewrap(&read)? {
                    None => return Ok(read),
                    Some(_) => bucket.delete(name).await?,
                },
                Ok(_) | Err(BucketError::Short { .. }) => bucket.delete(name).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::SiteKeyDiffers(name.to_owned()))
    }

    async fn delete_earlier(&self, id: &str, generations: &Generations, kept: u32) -> Result<usize, Error> {
        let mut deleted = 0;
        for (generation, placed) in generations.range(..kept) {
            for number in placed {
                self.placements[*number].keys.delete(&format!("{KEYS}{id}/{generation}")).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// The bytes of a key's newest generation: from a placement that has it, else from the local key cache.
    async fn newest_object(
        self: &Arc<Self>,
        id: &str,
        generation: u32,
        placed: &BTreeSet<usize>,
    ) -> Result<Option<Bytes>, Error> {
        let name = format!("{KEYS}{id}/{generation}");
        for number in placed {
            let bytes = self.placements[*number].keys.get(&name, 0..filmgate_keys::STORED_KEY_BYTES).await;
            if let Ok(bytes) = bytes
                && self.keys.site_key_of(&bytes).is_ok()
            {
                return Ok(Some(bytes));
            }
        }
        let (road, id) = (Arc::clone(self), id.to_owned());
        let cached = compute(move || road.keys.cached_object(&id)).await??;
        Ok(cached.map(Bytes::from))
    }
}

async fn read_site_keys(placement: &Placement, object: &ObjectInfo) -> Result<SiteObject, Error> {
    let bytes = placement.keys.get(&object.name, 0..object.bytes.min(KEY_OBJECT_BYTES_MAX)).await?;
    Ok(SiteObject::read(&bytes, Path::new(&object.name))?)
}

/// Identifier and generation of an object below `v1/key/`.
pub(crate) fn parse(name: &str) -> Option<(String, u32)> {
    let (id, generation) = name.strip_prefix(KEYS)?.split_once('/')?;
    Some((id.to_owned(), generation.parse().ok()?))
}
