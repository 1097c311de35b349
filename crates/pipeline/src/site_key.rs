//! The site's keys, as an object, stand in every placement: read back equal before anything there may be verified, for
//! without them a bucket is rubble.

use std::{collections::BTreeMap, path::Path};

use filmgate_bucket::{Error as BucketError, Source};
use filmgate_keys::SiteObject;
use parking_lot::Mutex;

use crate::{Error, Placement, Road};

/// How often an object is read before it is believed to be different: a reading can go wrong as well.
const LOOKS: usize = 2;

/// The generation each placement was seen to have, by this process.
#[derive(Default)]
pub(crate) struct Placed(Mutex<BTreeMap<String, u32>>);

impl Placed {
    fn has(&self, placement: &Placement, generation: u32) -> bool {
        self.0.lock().get(&placement.name) == Some(&generation)
    }

    fn remember(&self, placement: &Placement, generation: u32) {
        self.0.lock().insert(placement.name.clone(), generation);
    }
}

impl Road {
    /// Puts the site's keys in every placement that lacks them and reads them back.
    ///
    /// # Errors
    /// The first placement's failure; the others are tried all the same.
    pub async fn place_site_keys(&self) -> Result<(), Error> {
        let mut failed = None;
        for placement in &self.placements {
            if let Err(error) = self.place_site_key(placement).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The same for one placement; nothing to do when this process has seen them there. Where another node's of a later
    /// generation stand, an earlier one is never put back: it would bring a key of keys back that was given up.
    pub(crate) async fn place_site_key(&self, placement: &Placement) -> Result<(), Error> {
        let object = self.keys.site_object();
        if self.site_key_placed.has(placement, object.generation()) {
            return Ok(());
        }
        if let Some(newer) = self.newer_site_keys(placement).await? {
            let error = self.met_newer(&newer);
            if !newer.holds_keys_of(&object) {
                return Err(error);
            }
        } else if !put_and_read_back(placement, &object).await? {
            return Err(Error::SiteKeyDiffers(object.name()));
        }
        self.site_key_placed.remember(placement, object.generation());
        Ok(())
    }

    /// Looks again, before the last local copy of something is given up: keys that are gone are put there anew.
    pub(crate) async fn site_key_stands(&self, placement: &Placement) -> Result<(), Error> {
        let object = self.keys.site_object();
        let found = placement.keys.head(&object.name()).await?;
        if found.is_some_and(|found| found.bytes == object.bytes().len() as u64)
            || self.newer_site_keys(placement).await?.is_some_and(|newer| newer.holds_keys_of(&object))
        {
            return Ok(());
        }
        tracing::error!(placement = placement.name, "the keys of the site are gone and are put there again");
        self.site_key_placed.0.lock().remove(&placement.name);
        self.place_site_key(placement).await
    }
}

/// True when the placement holds exactly these bytes. What is cut off or damaged there is replaced; whole keys of this
/// generation that are other bytes are somebody's, and stay.
pub(crate) async fn put_and_read_back(placement: &Placement, object: &SiteObject) -> Result<bool, Error> {
    let (bucket, name) = (&placement.keys, object.name());
    let content = Source::from_bytes(object.bytes().to_vec());
    match bucket.put(&name, &content).await {
        Ok(()) | Err(BucketError::Exists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    for _ in 0..LOOKS {
        let Some(found) = bucket.head(&name).await? else { return Ok(false) };
        let bytes_max = object.bytes().len().max(4096) as u64;
        let bytes = bucket.get(&name, 0..found.bytes.min(bytes_max)).await?;
        if bytes.as_ref() == object.bytes() {
            return Ok(true);
        }
        if SiteObject::read(&bytes, Path::new(&name)).is_ok() {
            tracing::error!(
                placement = placement.name,
                object = name,
                "other keys of the site stand under this name: was the key changed on two nodes at a time?"
            );
            return Ok(false);
        }
    }
    tracing::warn!(
        placement = placement.name,
        object = name,
        "the keys of the site came back damaged and are made anew"
    );
    bucket.delete(&name).await?;
    bucket.put(&name, &content).await?;
    Ok(bucket.get(&name, 0..content.bytes()).await?.as_ref() == object.bytes())
}
