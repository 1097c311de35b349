//! Step 3: the records of a study leave the journal for a pack, byte for byte.
//!
//! Order, always: pack file synced → folder synced → pack known → journal freed. A crash before "known" leaves a file
//! that the next start takes away; one after it, records that the next start frees.

use std::{sync::Arc, time::Duration};

use filmgate_catalog::{Copy as KnownCopy, CopyKind, NewPack, PackedInstance, RecordToPack, StudyToPack};
use filmgate_model::{PackId, RecordId, StudyKeyId, compute};
use filmgate_seal::{Class, PackKind, PackWriter, RecordKey, RecordTable};
use sha2::{Digest, Sha256};

use crate::{Error, METADATA_VERSION, Road, Settings, copies, metadata};

/// Bytes copied at a time.
const COPY_BYTES: u64 = 1024 * 1024;

/// What packing a study did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// Records in the new pack.
    pub records: usize,
    /// Records dropped, each the same bytes as one that stays.
    pub dropped: usize,
}

/// A pack as written to the local disk.
struct Written {
    pack_id: PackId,
    bytes: u64,
    sha256: [u8; 32],
    offsets: Vec<(RecordId, u64)>,
}

impl Road {
    /// Studies that are due: quiet, large or old; all of them, the oldest first, when the journal wants room.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn studies_to_pack(&self) -> Result<Vec<StudyToPack>, Error> {
        if self.journal.under_pressure() {
            return Ok(self.catalog.unpacked_studies().await?);
        }
        let Settings { pack_quiet, pack_size_bytes, pack_age, .. } = self.settings;
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (quiet_ms, age_ms) = (milliseconds(pack_quiet), milliseconds(pack_age));
        Ok(self.catalog.studies_to_pack(self.clock.now(), quiet_ms, pack_size_bytes, age_ms).await?)
    }

    /// Packs what waits of one study, up to the size of a pack.
    ///
    /// # Errors
    /// When a step fails; what was written of the pack is taken away, and the records stay in the journal.
    pub async fn pack(self: &Arc<Self>, study: &StudyToPack) -> Result<Packed, Error> {
        let uid = &study.study_instance_uid;
        let waiting =
            self.catalog.records_to_pack(uid, study.quarantine, self.settings.pack_size_bytes).await?;
        let sorted = self.sort_copies(study, waiting).await?;
        let packed = Packed { records: sorted.packed.len(), dropped: sorted.dropped.len() };
        let now = self.clock.now();
        if sorted.packed.is_empty() {
            self.catalog.record_dropped(&sorted.dropped, now).await?;
        } else {
            let study_key_id = self.study_key_for(study).await?;
            let written = self.write_pack(study.quarantine, study_key_id, &sorted.packed).await?;
            let pack = NewPack {
                pack_id: written.pack_id,
                study_instance_uid: uid.clone(),
                study_key_id,
                quarantine: study.quarantine,
                bytes: written.bytes,
                sha256: written.sha256,
                created_at: now,
            };
            let instances = packed_instances(&written, &sorted.packed);
            let known = self.catalog.record_packed(&pack, &instances, &sorted.dropped, now).await;
            if known.is_err() {
                self.take_away(written.pack_id).await;
            }
            known?;
        }
        let gone = sorted.packed.iter().map(|(record, _)| record.record_id);
        let gone: Vec<RecordId> =
            gone.chain(sorted.dropped.iter().map(|dropped| dropped.record_id)).collect();
        self.release(gone).await?;
        Ok(packed)
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
        let uids: Vec<&str> = waiting.iter().map(|record| record.sop_instance_uid.as_str()).collect();
        let mut known = self.catalog.copies_of(&uids).await?;
        known.retain(|copy| !waiting.iter().any(|record| record.record_id == copy.record_id));
        let readable = self.readable_copies(&known, &waiting).await;
        Ok(copies::sort(waiting, &known, |record_id| readable.contains(&record_id)))
    }

    /// Of the known copies with the same bytes as a waiting record, those whose every byte opens.
    async fn readable_copies(
        self: &Arc<Self>,
        known: &[KnownCopy],
        waiting: &[RecordToPack],
    ) -> Vec<RecordId> {
        let mut readable = Vec::new();
        for copy in known {
            let same = waiting.iter().any(|record| record.dataset_sha256 == copy.dataset_sha256);
            if same && self.check_record(copy.record_id).await.is_ok() {
                readable.push(copy.record_id);
            }
        }
        readable
    }

    /// The key of the study on this node; one of its own for each quarantine pack.
    async fn study_key_for(self: &Arc<Self>, study: &StudyToPack) -> Result<StudyKeyId, Error> {
        let uid = &study.study_instance_uid;
        if !study.quarantine
            && let Some(known) = self.catalog.study_key(uid, false).await?
        {
            return Ok(known);
        }
        let road = Arc::clone(self);
        let made = compute(move || road.keys.new_study_key()).await??;
        if !study.quarantine {
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

    /// Copies the records, adds the footer, syncs file and folder; blocks on the disk.
    fn write_pack_file(
        &self,
        quarantine: bool,
        study_key_id: StudyKeyId,
        records: &[RecordToPack],
    ) -> Result<Written, Error> {
        let pack_id = PackId::random(&self.random);
        let kind = if quarantine { PackKind::Quarantine } else { PackKind::Study };
        let study_key = self.keys.study_key(study_key_id)?;
        let now = self.clock.now();
        let (writer, header) =
            PackWriter::new(pack_id, self.keys.site_id(), study_key_id, &study_key, now, kind);
        let mut writer = writer.with_metadata_generator(METADATA_VERSION);
        let mut file = PackFile { file: self.packs.create(pack_id)?, digest: Sha256::new(), bytes: 0 };
        file.append(&header)?;
        let mut offsets = Vec::with_capacity(records.len());
        for record in records {
            let (key, table) = self.journaled_table(record.record_id)?;
            let metadata = self.journaled_metadata(&key, &table);
            offsets.push((record.record_id, writer.add(&table, &key, &metadata)));
            self.copy_record(record.record_id, table.record_bytes, &mut file)?;
        }
        file.append(&writer.finish())?;
        let PackFile { file, digest, bytes } = file;
        file.finish()?;
        Ok(Written { pack_id, bytes, sha256: digest.finalize().into(), offsets })
    }

    fn copy_record(&self, record_id: RecordId, record_bytes: u64, file: &mut PackFile) -> Result<(), Error> {
        let mut offset = 0;
        while offset < record_bytes {
            let end = record_bytes.min(offset + COPY_BYTES);
            file.append(&self.journal.read(record_id, offset..end)?)?;
            offset = end;
        }
        Ok(())
    }

    /// DICOM JSON for the footer; empty when the elements cannot be read, to be made anew when asked for.
    fn journaled_metadata(&self, key: &RecordKey, table: &RecordTable) -> Vec<u8> {
        let made =
            self.journaled_header(key, table).and_then(|header| metadata::metadata_json(table, &header));
        made.unwrap_or_else(|error| {
            let record_id = table.record_id;
            tracing::debug!(%record_id, error = &error as &dyn std::error::Error, "no metadata for the footer");
            Vec::new()
        })
    }

    fn journaled_header(&self, key: &RecordKey, table: &RecordTable) -> Result<Vec<u8>, Error> {
        let mut header = Vec::new();
        for (number, chunk) in table.chunks.iter().enumerate() {
            if chunk.class == Class::Header {
                let range = chunk.record_offset..chunk.record_offset + u64::from(chunk.sealed_bytes);
                let sealed = self.journal.read(table.record_id, range)?;
                let opened = filmgate_seal::open_chunk(key, table.record_id, number as u32, chunk, &sealed)?;
                header.extend_from_slice(&opened);
            }
        }
        Ok(header)
    }

    /// Frees what is safe in a pack, and the landing keys nothing needs any more.
    pub(crate) async fn release(self: &Arc<Self>, records: Vec<RecordId>) -> Result<(), Error> {
        let road = Arc::clone(self);
        compute(move || {
            road.journal.release(&records);
            let blobs = road.journal.records();
            let in_use: Vec<_> =
                blobs.iter().filter_map(|record| road.keys.landing_key_id_of(&record.wrapped_key)).collect();
            road.keys.retire_landing(&in_use)
        })
        .await??;
        Ok(())
    }

    async fn take_away(self: &Arc<Self>, pack_id: PackId) {
        let road = Arc::clone(self);
        let removed = compute(move || road.packs.remove(pack_id)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%pack_id, error = &error as &dyn std::error::Error, "an unknown pack stays until the next start");
        }
    }
}

/// A pack file under the pen.
struct PackFile {
    file: filmgate_spool::PackFile,
    digest: Sha256,
    bytes: u64,
}

impl PackFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write(bytes)?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
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
