//! Step 5: key object and pack are read back from every placement; only what is equal to the last byte goes to the outbox
//! of the log, which is the last step to *verified*.

use std::{ops::Range, sync::Arc};

use filmgate_bucket::{PIECE_BYTES, Source};
use filmgate_catalog::Pack;
use filmgate_model::{PackId, compute};
use sha2::{Digest, Sha256};

use crate::{Error, Placement, Road, retrieve::pack_name};

/// How often an object is read before it is believed to be different: a reading can go wrong as well.
const LOOKS: usize = 2;

impl Road {
    /// The next pack that was put in a placement and is not verified there, leaving out those at work.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn next_to_verify(
        &self,
        placement: &Placement,
        at_work: &[PackId],
    ) -> Result<Option<Pack>, Error> {
        Ok(self.catalog.claim_verification(&placement.name, self.clock.now(), at_work).await?)
    }

    /// Reads a pack and its key object back from a placement; true when both are equal. What differs is deleted there and
    /// uploaded again.
    ///
    /// # Errors
    /// When the catalog cannot be written; a bucket's failure is no error here.
    pub async fn verify(self: &Arc<Self>, placement: &Placement, pack: &Pack) -> Result<bool, Error> {
        match self.try_verify(placement, pack).await {
            Ok(()) => Ok(true),
            Err(error @ Error::Catalog(_)) => Err(error),
            // Another copy may repair it; this one leads nowhere.
            Err(Error::LocalDiffers(_)) => Ok(false),
            Err(error) => {
                if is_no_copy(&error) {
                    self.put_off_anew(placement, pack, &error).await?;
                } else {
                    self.put_off(placement, pack, &error).await?;
                }
                Ok(false)
            }
        }
    }

    async fn try_verify(self: &Arc<Self>, placement: &Placement, pack: &Pack) -> Result<(), Error> {
        if self.settings.require_backup && self.keys.sheet_confirmed_at().is_none() {
            return Err(Error::NoBackup);
        }
        self.place_site_key(placement).await?;
        self.compare_key(placement, pack).await?;
        self.compare_pack(placement, pack).await?;
        let required = self.placement_names();
        let (fact, now) = (self.fact_of(pack)?, self.clock.now());
        if self.catalog.record_proven(pack.pack_id, &placement.name, &required, &fact, now).await? {
            self.tell_log();
        }
        Ok(())
    }

    /// A key object that does not open to the study's key is made anew at once: every pack of its study needs it. Another
    /// node's wrapping of the same key is as good, and one that a site key opens which is not here yet is nobody's to delete.
    async fn compare_key(self: &Arc<Self>, placement: &Placement, pack: &Pack) -> Result<(), Error> {
        let (road, study_key_id) = (Arc::clone(self), pack.study_key_id);
        let (name, expected) = compute(move || road.keys.study_key_object(study_key_id)).await??;
        let bucket = &placement.keys;
        for _ in 0..LOOKS {
            let read = bucket.get(&name, 0..expected.len() as u64).await?;
            if read.as_ref() == expected.as_slice() || self.is_same_key(&expected, &read)? {
                return Ok(());
            }
        }
        tracing::warn!(
            placement = placement.name,
            object = name,
            "a key object came back different and is made anew"
        );
        bucket.delete(&name).await?;
        bucket.put(&name, &Source::from_bytes(expected)).await?;
        Err(Error::Differs { pack_id: pack.pack_id, what: "its key object came back different" })
    }

    fn is_same_key(&self, ours: &[u8], theirs: &[u8]) -> Result<bool, Error> {
        self.keys.is_same_key(ours, theirs).map_err(|error| self.noticed(error.into()))
    }

    /// A pack that differs twice is taken away there: it must not be taken for a copy, and its bytes are still here.
    async fn compare_pack(self: &Arc<Self>, placement: &Placement, pack: &Pack) -> Result<(), Error> {
        let name = pack_name(pack.pack_id);
        for _ in 0..LOOKS {
            if self.digest_in(placement, &name, pack).await? == pack.sha256 {
                return Ok(());
            }
        }
        self.check_local(pack).await?;
        tracing::warn!(
            placement = placement.name,
            object = name,
            "a pack came back different and is uploaded again"
        );
        placement.bucket.delete(&name).await?;
        Err(Error::Differs { pack_id: pack.pack_id, what: "it came back different" })
    }

    async fn digest_in(&self, placement: &Placement, name: &str, pack: &Pack) -> Result<[u8; 32], Error> {
        let mut digest = Sha256::new();
        for piece in pieces(pack.bytes) {
            self.rest_for(piece.end - piece.start, pack.created_at).await;
            let _flight = self.flight.take(piece.end - piece.start).await;
            let bytes = placement.bucket.get(name, piece).await?;
            digest = compute(move || digest.chain_update(&bytes)).await?;
        }
        Ok(digest.finalize().into())
    }

    /// A local pack that is not what was written any more: uploading it again would not help.
    async fn check_local(self: &Arc<Self>, pack: &Pack) -> Result<(), Error> {
        let (road, pack_id) = (Arc::clone(self), pack.pack_id);
        let bytes = pack.bytes;
        let local = compute(move || {
            let file = road.packs.open(pack_id)?;
            let mut digest = Sha256::new();
            for piece in pieces(bytes) {
                digest.update(file.read(piece)?);
            }
            Ok::<[u8; 32], filmgate_spool::Error>(digest.finalize().into())
        });
        if local.await?? == pack.sha256 {
            return Ok(());
        }
        let what = "its local file is not what was written";
        self.catalog.mark_damaged(pack_id, what, self.clock.now()).await?;
        Err(Error::LocalDiffers(pack_id))
    }
}

/// True when what is in the placement is not the pack: it was taken away, or was not there.
fn is_no_copy(error: &Error) -> bool {
    use filmgate_bucket::Error as BucketError;
    matches!(
        error,
        Error::Differs { .. } | Error::Bucket(BucketError::NotFound(_) | BucketError::Short { .. })
    )
}

pub(crate) fn pieces(bytes: u64) -> impl Iterator<Item = Range<u64>> {
    (0..bytes.div_ceil(PIECE_BYTES)).map(move |n| n * PIECE_BYTES..bytes.min((n + 1) * PIECE_BYTES))
}
