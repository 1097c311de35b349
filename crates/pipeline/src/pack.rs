//! Step 3: the records of a study leave the journal for a pack, byte for byte.
//!
//! Order, always: pack file synced → folder synced → pack known → journal freed. A crash before "known" leaves a file
//! that the next start takes away; one after it, records that the next start frees.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use filmgate_catalog::{
    Copy as KnownCopy, CopyKind, DroppedCopy, NewPack, PackedInstance, RecordToPack, StudyToPack,
};
use filmgate_model::{InstanceState, PackId, RecordId, StudyKeyId, compute};

use crate::{Error, Road, Settings, copies, error::chain, pack_file::Written};

/// What packing a study did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// Records in the new pack.
    pub records: usize,
    /// Records dropped, each the same bytes as one that stays.
    pub dropped: usize,
}

/// A pack whose file is synced, and what the catalog is to know of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pack: NewPack,
    instances: Vec<PackedInstance>,
    dropped: Vec<DroppedCopy>,
}

impl Road {
    /// Studies that are due: quiet, large or old; all of them, the oldest first, when the journal wants room.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn studies_to_pack(self: &Arc<Self>) -> Result<Vec<StudyToPack>, Error> {
        self.settle_unclear().await?;
        if self.journal.under_pressure() {
            return Ok(self.catalog.unpacked_studies().await?);
        }
        let Settings { pack_quiet, pack_size_bytes, pack_age, .. } = self.settings;
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (quiet_ms, age_ms) = (milliseconds(pack_quiet), milliseconds(pack_age));
        Ok(self.catalog.studies_to_pack(self.clock.now(), quiet_ms, pack_size_bytes, age_ms).await?)
    }

    /// Waits until a pack was made.
    pub async fn something_packed(&self) {
        self.packed.notified().await;
    }

    /// Packs what waits of one study, up to the size of a pack.
    ///
    /// # Errors
    /// When a step fails; what was written of the pack is taken away, and the records stay in the journal.
    pub async fn pack(self: &Arc<Self>, study: &StudyToPack) -> Result<Packed, Error> {
        self.settle_unclear().await?;
        let uid = &study.study_instance_uid;
        let mut waiting =
            self.catalog.records_to_pack(uid, study.quarantine, self.settings.pack_size_bytes).await?;
        if self.journal.room().kept_segments > 0 {
            // What could not be read at the start may lie there still: it waits for a start that reads it.
            waiting.retain(|record| self.journal.contains(record.record_id));
        }
        let sorted = self.sort_copies(study, waiting).await?;
        let packed = Packed { records: sorted.packed.len(), dropped: sorted.dropped.len() };
        let now = self.clock.now();
        if sorted.packed.is_empty() {
            self.catalog.record_dropped(&sorted.dropped, now).await?;
        } else {
            let study_key_id = self.study_key_for(uid, study.quarantine).await?;
            let written = self.write_pack(study.quarantine, study_key_id, &sorted.packed).await;
            if let Err(Error::Record { record_id, source }) = &written
                && source.is_permanent()
            {
                // It will not be among those that wait next time, and the others go on.
                self.catalog.mark_record_damaged(*record_id, &chain(&**source), now).await?;
            }
            let written = written?;
            if !study.quarantine
                && let Err(error) = self.catalog.record_attributes(&written.attributes).await
            {
                self.take_away(written.pack_id).await;
                return Err(error.into());
            }
            let pack = NewPack {
                pack_id: written.pack_id,
                study_instance_uid: uid.clone(),
                study_key_id,
                quarantine: study.quarantine,
                bytes: written.bytes,
                sha256: written.sha256,
                created_at: written.created_at,
            };
            self.pace.moved(written.bytes);
            let instances = packed_instances(&written, &sorted.packed);
            self.enter(Entry { pack, instances, dropped: sorted.dropped }).await?;
            return Ok(packed);
        }
        self.release(sorted.dropped.iter().map(|dropped| dropped.record_id).collect()).await?;
        Ok(packed)
    }

    /// Makes a pack known, then frees what is in it.
    async fn enter(self: &Arc<Self>, entry: Entry) -> Result<(), Error> {
        let Entry { pack, instances, dropped } = &entry;
        match self.catalog.record_packed(pack, instances, dropped, self.clock.now()).await {
            Ok(()) => {}
            Err(
                error @ (filmgate_catalog::Error::NotPackable { .. }
                | filmgate_catalog::Error::CopyGone { .. }
                | filmgate_catalog::Error::KeyShredded(_)),
            ) => {
                // Refused once more after an entry that was made without our hearing of it, the pack is known and stays.
                if self.catalog.pack(pack.pack_id).await?.is_none() {
                    self.take_away(pack.pack_id).await;
                }
                return Err(error.into());
            }
            Err(error) => {
                // It may have been entered all the same. Entering it again tells, and changes nothing if so; until then
                // the file stays.
                self.unclear.lock().push(entry);
                return Err(error.into());
            }
        }
        crate::upload::tell(&self.packed);
        let gone = instances.iter().map(|instance| instance.record_id);
        self.release(gone.chain(dropped.iter().map(|dropped| dropped.record_id)).collect()).await
    }

    /// Asks again of packs whose entry failed without an answer, before anything else is packed: their records may be
    /// waiting still, or not any more.
    async fn settle_unclear(self: &Arc<Self>) -> Result<(), Error> {
        let unclear = std::mem::take(&mut *self.unclear.lock());
        let mut failed = None;
        for entry in unclear {
            let pack_id = entry.pack.pack_id;
            match self.enter(entry).await {
                Ok(()) => tracing::info!(%pack_id, "a pack is known now"),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn sort_copies(
        self: &Arc<Self>,
        study: &StudyToPack,
        waiting: Vec<RecordToPack>,
    ) -> Result<copies::Sorted, Error> {
        if study.quarantine {
            // Nothing that could not be understood is compared with anything.
            let packed = waiting.into_iter().map(|record| (record, CopyKind::First)).collect();
            return Ok(copies::Sorted { packed, dropped: Vec::new() });
        }
        let uids: BTreeSet<&str> = waiting.iter().map(|record| record.sop_instance_uid.as_str()).collect();
        let known = self.catalog.packed_copies_of(&uids.into_iter().collect::<Vec<_>>()).await?;
        // What waits as well is sorted by its own arrival; what was not understood is compared with nothing.
        let readable = self.readable_copies(&known, &waiting).await?;
        Ok(copies::sort(waiting, &known, |record_id| readable.contains(&record_id)))
    }

    /// Of the known copies with the same bytes as a waiting record, those whose every byte opens. What another node has
    /// on its own disk only may go with that disk, so it is no reason to drop what is on ours.
    ///
    /// # Errors
    /// When one cannot be asked now: it is asked again later, unless the journal wants room.
    async fn readable_copies(
        self: &Arc<Self>,
        known: &[KnownCopy],
        waiting: &[RecordToPack],
    ) -> Result<HashSet<RecordId>, Error> {
        let arrived: HashSet<[u8; 32]> = waiting.iter().map(|record| record.dataset_sha256).collect();
        // Where the copy is now, its footer included: what is cached of it is none.
        let (mut readable, mut opened_packs) = (HashSet::new(), HashSet::new());
        let ours =
            |copy: &&KnownCopy| copy.node_id == self.node_id() || copy.state == InstanceState::Verified;
        for copy in known.iter().filter(|copy| arrived.contains(&copy.dataset_sha256)).filter(ours) {
            match self.check_deep(copy.record_id, &mut opened_packs).await {
                Ok(dataset_bytes) => {
                    self.pace.moved(dataset_bytes);
                    readable.insert(copy.record_id);
                }
                Err(error) if error.is_permanent() || self.journal.under_pressure() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(readable)
    }

    /// The key of the study on this node; one of its own for each quarantine pack.
    pub(crate) async fn study_key_for(
        self: &Arc<Self>,
        uid: &str,
        quarantine: bool,
    ) -> Result<StudyKeyId, Error> {
        if !quarantine && let Some(known) = self.catalog.study_key(uid, false).await? {
            // A study has a set of keys: one that is damaged is followed by another.
            match self.keys.study_key(known) {
                Err(error) if error.is_permanent() => {
                    tracing::error!(study_key_id = %known, error = &error as &dyn std::error::Error, "a study's key does not open");
                }
                _ => return Ok(known),
            }
        }
        self.new_study_key(uid, quarantine).await
    }

    /// Another key of the study, which its next packs are sealed under.
    pub(crate) async fn new_study_key(
        self: &Arc<Self>,
        uid: &str,
        quarantine: bool,
    ) -> Result<StudyKeyId, Error> {
        let road = Arc::clone(self);
        let made = compute(move || road.keys.new_study_key()).await??;
        if !quarantine {
            self.catalog.remember_study_key(uid, false, made, self.clock.now()).await?;
        }
        Ok(made)
    }

    async fn write_pack(
        self: &Arc<Self>,
        quarantine: bool,
        study_key_id: StudyKeyId,
        records: &[(RecordToPack, CopyKind)],
    ) -> Result<Written, Error> {
        let road = Arc::clone(self);
        // Series together, each in its order of arrival.
        let mut order: Vec<_> = records.iter().map(|(record, _)| record.clone()).collect();
        order.sort_by(|a, b| {
            (&a.series_instance_uid, a.received_at).cmp(&(&b.series_instance_uid, b.received_at))
        });
        compute(move || road.write_pack_file(quarantine, study_key_id, &order)).await?
    }

    /// Frees what is safe in a pack, and the landing keys nothing needs any more.
    pub(crate) async fn release(self: &Arc<Self>, records: Vec<RecordId>) -> Result<(), Error> {
        let road = Arc::clone(self);
        compute(move || {
            road.journal.release(&records);
            // Records may lie in segments that could not be read at the start: their keys stay.
            if !road.keys.has_older_landing() || road.journal.room().kept_segments > 0 {
                return Ok(0);
            }
            let blobs = road.journal.records();
            let in_use: Vec<_> =
                blobs.iter().filter_map(|record| road.keys.landing_key_id_of(&record.wrapped_key)).collect();
            road.keys.retire_landing(&in_use)
        })
        .await??;
        Ok(())
    }

    pub(crate) async fn take_away(self: &Arc<Self>, pack_id: PackId) {
        let road = Arc::clone(self);
        let removed = compute(move || road.packs.remove(pack_id)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%pack_id, error = &error as &dyn std::error::Error, "an unknown pack stays until the next start");
        }
    }
}

fn packed_instances(written: &Written, records: &[(RecordToPack, CopyKind)]) -> Vec<PackedInstance> {
    let offset_of =
        |record_id| written.offsets.iter().find(|(known, _)| *known == record_id).map(|(_, offset)| *offset);
    let packed = records.iter().filter_map(|(record, copy_kind)| {
        let offset = offset_of(record.record_id)?;
        Some(PackedInstance { record_id: record.record_id, offset, copy_kind: *copy_kind })
    });
    packed.collect()
}
