//! What a crash left, put in order before the doors open.
//!
//! The journal and the packs on disk are the truth; the catalog is brought up to them, never the other way round.

use std::{collections::BTreeSet, sync::Arc};

use filmgate_catalog::{CopyKind, FoundPack, NewPack, PackedInstance, ReceivedInstance, Standing};
use filmgate_model::{InstanceState, PackId, RecordId, compute};
use filmgate_seal::{PackFooter, PackKind};
use sha2::{Digest, Sha256};

use crate::{Error, Road, copies, error::chain, index};

/// What was found and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records of the journal that the catalog lacked.
    pub indexed: usize,
    /// Records of the journal that were in a known pack already.
    pub freed: usize,
    /// Packs on the local disk that had been given up, or whose key is destroyed: taken away.
    pub packs_removed: usize,
    /// Packs on the local disk that nobody knew: entered.
    pub packs_adopted: usize,
    /// Packs that should be on the local disk and are not.
    pub packs_missing: usize,
    /// Records that should be in the journal and are not.
    pub records_missing: usize,
}

impl Road {
    /// What comes before anything but receiving: a catalog that was lost or brought back from an older copy, like a data
    /// directory that was, hears from the buckets what was decided since, and then journal, local packs and catalog are put
    /// in agreement. `None` when no bucket can be asked and must be: what lies on the disk may have been deleted, so it
    /// waits, and this is to be called again.
    ///
    /// # Errors
    /// When disk, keys or catalog fails; nothing is lost then, and the next call tries again.
    pub async fn settle(self: &Arc<Self>) -> Result<Option<Recovered>, Error> {
        if !self.is_follower()
            && let Err(error) = self.open_log().await
        {
            let error = chain(&error);
            if self.catalog_is_behind().await? {
                tracing::warn!(
                    error,
                    "the catalog lacks what this data directory stated, and no bucket can be asked; what comes is received, \
                     all else waits for a bucket"
                );
                return Ok(None);
            }
            tracing::info!(
                error,
                "the bucket cannot be asked what it knows of this data directory; it is asked again"
            );
        }
        let recovered = self.recover().await?;
        self.settled.send_replace(true);
        Ok(Some(recovered))
    }

    /// True once what the last run left is in order.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// Waits for that.
    pub async fn until_settled(&self) {
        // The road holds the other end.
        let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// Puts journal, local packs and catalog in agreement. Running it again finds nothing to do.
    ///
    /// # Errors
    /// When disk or catalog fails; nothing is lost then, and the next start tries again.
    pub async fn recover(self: &Arc<Self>) -> Result<Recovered, Error> {
        self.load_shredded().await?;
        let (packs_removed, packs_adopted) = self.settle_unknown_packs().await?;
        let packs_missing = self.settle_missing_packs().await?;
        let mut freed = self.free_packed_records().await?;
        let indexed = self.index_missing().await?;
        let records_missing = self.settle_missing_records().await?;
        if self.catalog.restore_deletions(self.clock.now()).await? > 0 {
            // What was deleted before it was packed came out of the journal again, and goes from there as well.
            freed += self.free_packed_records().await?;
        }
        Ok(Recovered { indexed, freed, packs_removed, packs_adopted, packs_missing, records_missing })
    }

    /// Records the catalog takes for journaled that are not there. An acknowledged record is never one of them: a disk
    /// that failed a sync and then lost power can take away what an earlier start found and nobody was told of.
    async fn settle_missing_records(self: &Arc<Self>) -> Result<usize, Error> {
        let mut missing = 0;
        if self.journal.room().kept_segments > 0 {
            tracing::error!(
                "parts of the journal cannot be read; what lies in them waits for a start that reads them"
            );
            return Ok(missing);
        }
        for study in self.catalog.unpacked_studies().await? {
            let uid = &study.study_instance_uid;
            for record in self.catalog.records_to_pack(uid, study.quarantine, u64::MAX).await? {
                if !self.journal.contains(record.record_id) {
                    missing += 1;
                    let reason = "the journal does not have it any more";
                    self.catalog.mark_record_damaged(record.record_id, reason, self.clock.now()).await?;
                }
            }
        }
        Ok(missing)
    }

    /// Records that a crash kept in the journal after their pack was known, or after they were dropped.
    async fn free_packed_records(self: &Arc<Self>) -> Result<usize, Error> {
        let in_journal: Vec<RecordId> =
            self.journal.records().iter().map(|record| record.record_id).collect();
        let standings = self.catalog.standing_of(&in_journal).await?;
        let mut packed = Vec::new();
        for (record_id, _) in standings.into_iter().filter(|(_, standing)| *standing == Standing::Settled) {
            // What its pack has lost, the journal keeps.
            let location = self.catalog.locate(record_id).await?;
            if location.is_none_or(|location| location.state != InstanceState::Damaged) {
                packed.push(record_id);
            }
        }
        let freed = packed.len();
        if freed > 0 {
            self.release(packed).await?;
        }
        Ok(freed)
    }

    async fn settle_unknown_packs(self: &Arc<Self>) -> Result<(usize, usize), Error> {
        let (mut removed, mut adopted) = (0, 0);
        for pack_id in self.oldest_packs_first()? {
            match self.catalog.pack(pack_id).await? {
                Some(known) if known.local => {}
                // Given up: its bytes go everywhere at once.
                Some(known) if known.state == InstanceState::Deleted => {}
                // Evicted: the crash came between "known as gone" and the unlink.
                Some(_) => {
                    self.packs.remove(pack_id)?;
                    removed += 1;
                }
                None => match self.adopt(pack_id).await {
                    Ok(true) => adopted += 1,
                    Ok(false) => removed += 1,
                    // Of a study that was deleted: it opens nowhere any more.
                    Err(Error::Keys(filmgate_keys::Error::Shredded(_))) => {
                        self.packs.remove(pack_id)?;
                        removed += 1;
                    }
                    // It stays where it is, and the doors open all the same.
                    Err(error) if error.is_permanent() => {
                        tracing::error!(%pack_id, error = &error as &dyn std::error::Error, "a local pack nobody knows cannot be read");
                    }
                    Err(error) => return Err(error),
                },
            }
        }
        Ok((removed, adopted))
    }

    /// Local packs by the time they were made, so that what came first is entered first.
    fn oldest_packs_first(&self) -> Result<Vec<PackId>, Error> {
        let mut packs = Vec::new();
        for (pack_id, bytes) in self.packs.list()? {
            let header =
                self.packs.open(pack_id)?.read(0..bytes.min(filmgate_seal::PACK_HEADER_BYTES as u64))?;
            let created_at = filmgate_seal::pack_header(&header).map(|header| header.created_at);
            packs.push((created_at.unwrap_or_default(), pack_id));
        }
        packs.sort_unstable();
        Ok(packs.into_iter().map(|(_, pack_id)| pack_id).collect())
    }

    /// Packs the catalog takes for local whose file is gone: safe when verified, else an alarm.
    async fn settle_missing_packs(self: &Arc<Self>) -> Result<usize, Error> {
        let mut missing = 0;
        for pack in self
            .catalog
            .known_packs()
            .await?
            .into_iter()
            .filter(|pack| pack.local && pack.state != InstanceState::Deleted)
        {
            if self.packs.contains(pack.pack_id)? {
                continue;
            }
            missing += 1;
            if !pack.own {
                // A copy of another node's: that node answers for it.
                self.catalog.forget_cached(pack.pack_id).await?;
            } else if pack.state == InstanceState::Verified {
                self.catalog.record_evicted(pack.pack_id).await?;
            } else {
                let reason = "its local file is gone and no bucket has it verified";
                self.catalog.mark_damaged(pack.pack_id, reason, self.clock.now()).await?;
            }
        }
        Ok(missing)
    }

    /// Enters a pack the catalog does not know: a crash came before it was known, or the catalog is a new one. It is whole,
    /// or it would not bear its name; what the journal still holds of it is freed after.
    /// False when other packs hold all of it, as of one that was being made of them when the crash came: it goes from here, and
    /// from the buckets it may have come to.
    async fn adopt(self: &Arc<Self>, pack_id: PackId) -> Result<bool, Error> {
        let road = Arc::clone(self);
        let (footer, kind, pack) = compute(move || road.read_unknown_pack(pack_id)).await??;
        let records: Vec<RecordId> = footer.records.iter().map(|record| record.record_id).collect();
        let elsewhere = self.catalog.count_packed_elsewhere(&records, pack_id).await?;
        if elsewhere > 0 && elsewhere == records.len() as u64 {
            let found = FoundPack {
                pack,
                node_id: self.node_id(),
                state: InstanceState::Deleted,
                placements: self.placement_names().into_iter().map(str::to_owned).collect(),
                instances: Vec::new(),
            };
            self.catalog.record_leaving(&found, None, self.clock.now()).await?;
            return Ok(false);
        }
        let rows: Vec<_> = footer
            .records
            .iter()
            .map(|record| self.held_here(index::received_instance(&record.table, &self.settings.texts)))
            .collect();
        self.catalog.record_recovered(&rows, self.clock.now()).await?;
        if kind == PackKind::Study
            && let Some(first) = rows.first()
        {
            let uid = &first.identity.study_instance_uid;
            self.catalog.remember_study_key(uid, false, pack.study_key_id, pack.created_at).await?;
        }
        self.record_told(self.told_in(pack_id, &footer)).await?;
        let instances = self.adopted_instances(&footer, &rows, kind).await?;
        self.catalog.record_packed(&pack, &instances, &[], self.clock.now()).await?;
        Ok(true)
    }

    /// What each record of an adopted pack is beside the copies that are known.
    async fn adopted_instances(
        &self,
        footer: &PackFooter,
        rows: &[ReceivedInstance],
        kind: PackKind,
    ) -> Result<Vec<PackedInstance>, Error> {
        let uids: BTreeSet<&str> = rows.iter().map(|row| row.identity.sop_instance_uid.as_str()).collect();
        let mut kinds =
            copies::Kinds::of(&self.catalog.packed_copies_of(&uids.into_iter().collect::<Vec<_>>()).await?);
        let mut instances = Vec::with_capacity(rows.len());
        for (record, row) in footer.records.iter().zip(rows) {
            let copy_kind = match kind {
                PackKind::Study => kinds.next(row),
                PackKind::Quarantine => CopyKind::First,
            };
            instances.push(PackedInstance { record_id: record.record_id, offset: record.offset, copy_kind });
        }
        Ok(instances)
    }

    /// Everything the catalog must know of a pack, from the pack alone; blocks on the disk.
    fn read_unknown_pack(&self, pack_id: PackId) -> Result<(PackFooter, PackKind, NewPack), Error> {
        let file = self.packs.open(pack_id)?;
        let bytes = file.pack_bytes();
        let header_end = (filmgate_seal::PACK_HEADER_BYTES as u64).min(bytes);
        let header = filmgate_seal::pack_header(&file.read(0..header_end)?)?;
        let trailer_start = bytes.saturating_sub(filmgate_seal::PACK_TRAILER_BYTES as u64);
        let trailer = file.read(trailer_start..bytes)?;
        let footer = file.read(filmgate_seal::footer_range(bytes, &trailer)?)?;
        let study_key = self.keys.study_key(header.study_key_id)?;
        let footer = filmgate_seal::open_footer(&study_key, &header, &footer)?;
        let mut digest = Sha256::new();
        let mut offset = 0;
        while offset < bytes {
            let end = bytes.min(offset + 1024 * 1024);
            digest.update(&file.read(offset..end)?);
            offset = end;
        }
        let study_instance_uid = footer
            .records
            .first()
            .map(|record| index::received_instance(&record.table, &self.settings.texts).identity);
        let pack = NewPack {
            pack_id,
            study_instance_uid: study_instance_uid
                .map(|identity| identity.study_instance_uid)
                .unwrap_or_default(),
            study_key_id: header.study_key_id,
            quarantine: header.kind == PackKind::Quarantine,
            bytes,
            sha256: digest.finalize().into(),
            created_at: header.created_at,
        };
        Ok((footer, header.kind, pack))
    }
}
