//! Step 5: key object and pack are read back from every placement; only what is equal to the last byte goes to the outbox
//! of the log, which is the last step to *verified*.

use std::{collections::HashSet, ops::Range, sync::Arc};

use filmgate_bucket::{PIECE_BYTES, Source};
use filmgate_catalog::Pack;
use filmgate_model::{InstanceState, PackId, RecordId, compute};
use sha2::{Digest, Sha256};

use crate::{Error, Placement, Road, error::chain, retrieve::pack_name};

/// How often an object is read before it is believed to be different: a reading can go wrong as well.
const LOOKS: usize = 2;

/// What became of one record under `filmgate verify`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Finding {
    /// The record.
    pub record_id: RecordId,
    /// Its state.
    pub state: InstanceState,
    /// What is wrong with it.
    pub problem: String,
}

/// What `filmgate verify` found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct VerifyReport {
    /// Records looked at.
    pub records: u64,
    /// Bytes of datasets opened and compared with their digest.
    pub dataset_bytes: u64,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

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

    /// Opens every byte of a record and compares the dataset with its digest; the dataset's size.
    ///
    /// # Errors
    /// When a byte cannot be fetched or opened, or the digest differs.
    pub async fn check_record(self: &Arc<Self>, record_id: RecordId) -> Result<u64, Error> {
        let opened = self.open(record_id).await?.of_copies_only();
        opened.will_read(0..u64::MAX);
        let mut digest = Sha256::new();
        let mut number = 0;
        while let Some(chunk) = opened.chunk(number).await? {
            digest.update(&chunk);
            number += 1;
        }
        let table = opened.table();
        if <[u8; 32]>::from(digest.finalize()) == table.dataset_sha256 {
            Ok(table.dataset_bytes)
        } else {
            Err(Error::NotAsReceived(record_id))
        }
    }

    /// The same, and that the footer of its pack opens: where the pack is now, not as it is cached.
    pub(crate) async fn check_deep(
        self: &Arc<Self>,
        record_id: RecordId,
        opened_packs: &mut HashSet<PackId>,
    ) -> Result<u64, Error> {
        let pack_id = self.open(record_id).await?.pack_id();
        if let Some(pack_id) = pack_id.filter(|pack_id| !opened_packs.contains(pack_id)) {
            self.check_footer(pack_id).await?;
            opened_packs.insert(pack_id);
        }
        self.check_record(record_id).await
    }

    /// Looks at every record the catalog knows: that it opens, and with `deep` that every byte does. One of this node that
    /// does not is damaged from then on, and raises an alarm; what is wrong with another node's is told, and is that
    /// node's to judge: it may have what this one cannot read.
    ///
    /// # Errors
    /// When the catalog cannot be asked; what is wrong with a record is a finding.
    pub async fn verify_all(self: &Arc<Self>, deep: bool) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport::default();
        let (mut after, mut opened_packs) = (None, HashSet::new());
        loop {
            let page = self.catalog.records_after(after, 500).await?;
            let Some(last) = page.last() else { return Ok(report) };
            after = Some(last.record_id);
            for row in page {
                report.records += 1;
                let checked = if deep {
                    self.check_deep(row.record_id, &mut opened_packs).await
                } else {
                    self.open(row.record_id).await.map(|_| 0)
                };
                match checked {
                    Ok(bytes) => report.dataset_bytes += bytes,
                    Err(error) => {
                        let problem = chain(&error);
                        if error.is_permanent() && row.node_id == self.node_id() {
                            self.catalog
                                .mark_record_damaged(row.record_id, &problem, self.clock.now())
                                .await?;
                        }
                        report.findings.push(Finding { record_id: row.record_id, state: row.state, problem });
                    }
                }
            }
        }
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
