//! Records of some packs go into a new one, byte for byte: small packs merged, an instance left out that was deleted,
//! another study key, a damaged pack made whole from another copy of it.
//!
//! Order, always: new pack synced → known, with what it is to take over → uploaded, verified and logged like any other →
//! its records are read from it → grace → the old packs go. A crash anywhere leaves either the old packs as they were or
//! both; nobody who looked a record up before the switch finds its bytes gone within the grace.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use filmgate_catalog::{Location, Move, NewPack, Pack};
use filmgate_model::{FactId, InstanceState, PackId, RecordId, StudyKeyId, Timestamp, compute};

use crate::{
    Error, Placement, Road,
    pack_file::{NewPackFile, RECORD_AT_ONCE_BYTES, RecordCopy, Written},
    retrieve::{PackedRecord, pack_name},
};

/// What is to be packed anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repack {
    /// The study.
    pub study_instance_uid: String,
    /// Quarantined records, which keep to packs of their own.
    pub quarantine: bool,
    /// The packs whose records go into a new one.
    pub packs: Vec<PackId>,
    /// Records that this deletion names stay where they are, and go with their pack.
    pub leave_out: Option<FactId>,
    /// Under a new study key.
    pub new_key: bool,
}

/// What packing anew did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repacked {
    /// Records in the new pack.
    pub records: usize,
    /// Records whose bytes open in no copy; they stay where they are.
    pub unreadable: usize,
}

/// Where a pack's bytes are read from.
enum PackSource<'a> {
    Local,
    Placed(&'a Placement),
}

/// A record to copy.
struct RecordToMove {
    location: Location,
    from: Pack,
    packed: PackedRecord,
}

impl Road {
    /// Small packs of a study that has been quiet long enough, to be merged; `None` when there are none.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn next_merge(&self) -> Result<Option<Repack>, Error> {
        let small = self.settings.small_pack_bytes;
        let quiet_since = self.clock.now().minus(self.settings.repack_after);
        let Some(uid) = self.catalog.study_to_merge(small, quiet_since).await? else { return Ok(None) };
        let packs = self.catalog.movable_packs(&uid).await?;
        let small = packs
            .into_iter()
            .filter(|pack| pack.bytes < small && !pack.quarantine && pack.state == InstanceState::Verified);
        let packs = up_to(small, self.settings.pack_size_bytes);
        let merge =
            Repack { study_instance_uid: uid, quarantine: false, packs, leave_out: None, new_key: false };
        Ok(Some(merge).filter(|merge| merge.packs.len() > 1))
    }

    /// All of a study, as a person asks for it: every pack that can be moved now, in as few as their size allows.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn repacks_of_study(&self, uid: &str, new_key: bool) -> Result<Vec<Repack>, Error> {
        let mut repacks = Vec::new();
        for quarantine in [false, true] {
            let packs = self.catalog.movable_packs(uid).await?.into_iter();
            let mut packs: Vec<_> = packs.filter(|pack| pack.quarantine == quarantine).collect();
            while !packs.is_empty() {
                let some = up_to(packs.iter().cloned(), self.settings.pack_size_bytes);
                packs.retain(|pack| !some.contains(&pack.pack_id));
                let study_instance_uid = uid.to_owned();
                repacks.push(Repack {
                    study_instance_uid,
                    quarantine,
                    packs: some,
                    leave_out: None,
                    new_key,
                });
            }
        }
        Ok(repacks)
    }

    /// Copies the records into a new pack, which then goes its way to the buckets. What no copy of opens stays where it is.
    ///
    /// # Errors
    /// When disk, bucket, keys or catalog fail: nothing has changed then.
    pub async fn repack(self: &Arc<Self>, repack: &Repack) -> Result<Repacked, Error> {
        let (mut moves, mut unreadable) = (Vec::new(), 0);
        for pack_id in &repack.packs {
            match self.records_to_move(*pack_id, repack.leave_out).await {
                Ok(mut records) => moves.append(&mut records),
                Err(error) if error.is_permanent() && !matches!(error, Error::Catalog(_)) => {
                    tracing::error!(%pack_id, error = &error as &dyn std::error::Error, "a pack cannot be packed anew");
                    unreadable += 1;
                }
                Err(error) => return Err(error),
            }
        }
        moves.sort_by(|a, b| in_order(a).cmp(&in_order(b)));
        if moves.is_empty() {
            return Ok(Repacked { records: 0, unreadable });
        }
        let study_key_id = self.key_to_repack_under(repack).await?;
        let (written, moves, lost) = self.write_moves(repack.quarantine, study_key_id, moves).await?;
        let Some(written) = written else {
            return Ok(Repacked { records: 0, unreadable: unreadable + lost });
        };
        let now = self.clock.now();
        let new = NewPack {
            pack_id: written.pack_id,
            study_instance_uid: repack.study_instance_uid.clone(),
            study_key_id,
            quarantine: repack.quarantine,
            bytes: written.bytes,
            sha256: written.sha256,
            created_at: written.created_at,
        };
        let known = self.catalog.record_repacked(&new, &moves, now).await;
        if let Err(filmgate_catalog::Error::NotPackable { .. } | filmgate_catalog::Error::KeyShredded(_)) =
            known
        {
            self.take_away(written.pack_id).await;
        }
        known?;
        self.pace.moved(written.bytes);
        self.packed.notify_one();
        metrics::counter!("filmgate_repacked_records_total").increment(moves.len() as u64);
        Ok(Repacked { records: moves.len(), unreadable: unreadable + lost })
    }

    async fn records_to_move(
        self: &Arc<Self>,
        pack_id: PackId,
        leave_out: Option<FactId>,
    ) -> Result<Vec<RecordToMove>, Error> {
        let pack = self.catalog.pack(pack_id).await?;
        let pack = pack.ok_or(Error::Differs { pack_id, what: "the catalog does not know it" })?;
        let contents = self.pack_contents(pack_id).await?;
        let rows = self.catalog.records_of_pack(pack_id).await?.into_iter().filter(|row| {
            row.state != InstanceState::Deleted && (leave_out.is_none() || row.deletion_id != leave_out)
        });
        let moves = rows.map(|location| {
            let packed = contents.record(location.record_id).ok_or(Error::Lost(location.record_id))?;
            Ok(RecordToMove { location, from: pack.clone(), packed })
        });
        moves.collect()
    }

    async fn key_to_repack_under(self: &Arc<Self>, repack: &Repack) -> Result<StudyKeyId, Error> {
        if repack.new_key && !repack.quarantine {
            return self.new_study_key(&repack.study_instance_uid, false).await;
        }
        self.study_key_for(&repack.study_instance_uid, repack.quarantine).await
    }

    /// The new pack, what stands in it and how many records are in no copy; no pack when that is all of them.
    async fn write_moves(
        self: &Arc<Self>,
        quarantine: bool,
        study_key_id: StudyKeyId,
        records: Vec<RecordToMove>,
    ) -> Result<(Option<Written>, Vec<Move>, usize), Error> {
        let road = Arc::clone(self);
        let mut file = compute(move || road.new_pack_file(quarantine, study_key_id)).await??;
        let (mut copied, mut lost) = (Vec::new(), 0);
        for record in records {
            let record_id = record.location.record_id;
            match self.readable_source(&record).await {
                Ok((source, at_hand)) => {
                    file = self.copy_packed(&record, &source, at_hand, file).await?;
                    copied.push((record_id, record.from.pack_id));
                }
                Err(error) if error.is_permanent() => {
                    tracing::error!(%record_id, error = &error as &dyn std::error::Error, "a record opens in no copy of its pack");
                    lost += 1;
                }
                Err(error) => return Err(error),
            }
        }
        if copied.is_empty() {
            return Ok((None, Vec::new(), lost));
        }
        let written = compute(move || file.finish()).await??;
        let offset_of =
            |record_id| written.offsets.iter().find(|(known, _)| *known == record_id).map(|(_, at)| *at);
        let moves = copied.into_iter().filter_map(|(record_id, from): (RecordId, PackId)| {
            Some(Move { record_id, from, offset: offset_of(record_id)? })
        });
        let moves = moves.collect();
        Ok((Some(written), moves, lost))
    }

    /// The first copy of the record's pack in which every byte of it opens; the bytes themselves when they are few.
    async fn readable_source(
        self: &Arc<Self>,
        record: &RecordToMove,
    ) -> Result<(PackSource<'_>, Option<Bytes>), Error> {
        let local = record.from.local.then_some(PackSource::Local);
        let mut last = Error::Lost(record.location.record_id);
        for source in local.into_iter().chain(self.placements.iter().map(PackSource::Placed)) {
            match self.check_in(record, &source).await {
                Ok(at_hand) => return Ok((source, at_hand)),
                // One that may be there another time is worth more than one that never will be.
                Err(error) if error.is_permanent() && !last.is_permanent() => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn check_in(
        self: &Arc<Self>,
        record: &RecordToMove,
        source: &PackSource<'_>,
    ) -> Result<Option<Bytes>, Error> {
        let mut copy = record.copy();
        let short = copy.record_bytes() <= RECORD_AT_ONCE_BYTES;
        let mut at_hand = None;
        while let Some(first) = copy.wanted() {
            let range = block(&copy, &first);
            let bytes = self.read_packed(record, source, range.clone()).await?;
            if short {
                at_hand = Some(bytes.clone());
            }
            let taken = compute(move || take_block(&mut copy, range.start, &bytes, None).map(|()| copy));
            copy = taken.await??;
        }
        Ok(at_hand)
    }

    async fn copy_packed(
        self: &Arc<Self>,
        record: &RecordToMove,
        source: &PackSource<'_>,
        at_hand: Option<Bytes>,
        mut file: NewPackFile,
    ) -> Result<NewPackFile, Error> {
        let mut copy = record.copy();
        while let Some(first) = copy.wanted() {
            let range = block(&copy, &first);
            let bytes = match &at_hand {
                Some(bytes) => bytes.clone(),
                None => self.read_packed(record, source, range.clone()).await?,
            };
            let taken = compute(move || {
                take_block(&mut copy, range.start, &bytes, Some(&mut file)).map(|()| (copy, file))
            });
            (copy, file) = taken.await??;
        }
        file.add(&copy);
        Ok(file)
    }

    async fn read_packed(
        self: &Arc<Self>,
        record: &RecordToMove,
        source: &PackSource<'_>,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let (pack_id, offset) = (record.from.pack_id, record.packed.offset);
        let range = offset + range.start..offset + range.end;
        match source {
            PackSource::Local => {
                let road = Arc::clone(self);
                Ok(compute(move || road.packs.open(pack_id)?.read(range)).await??.into())
            }
            PackSource::Placed(placement) => Ok(placement.bucket.get(&pack_name(pack_id), range).await?),
        }
    }

    /// Packs that are verified now take over the records they hold; one that turned out damaged is given up. How many
    /// records stand elsewhere than before.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn settle_repacks(&self) -> Result<u64, Error> {
        let mut moved = 0;
        for pack_id in self.catalog.packs_to_switch().await? {
            let switched = self.catalog.switch_to(pack_id, self.clock.now()).await?;
            tracing::info!(%pack_id, records = switched.records, replaced = switched.replaced.len(), "records stand in a new pack");
            moved += switched.records;
        }
        for pack_id in self.catalog.failed_repacks().await? {
            tracing::warn!(%pack_id, "a new pack is damaged; its records stay in the old ones");
            self.catalog.abandon_repack(pack_id, self.clock.now()).await?;
        }
        Ok(moved)
    }
}

impl RecordToMove {
    fn copy(&self) -> RecordCopy {
        RecordCopy::new(self.packed.key.clone(), Arc::clone(&self.packed.table))
    }
}

/// Series together, each in its order of arrival.
fn in_order(record: &RecordToMove) -> (&str, Timestamp, PackId, u64) {
    let row = &record.location;
    (&row.series_instance_uid, row.received_at, record.from.pack_id, record.packed.offset)
}

/// What is read at once: as much of the record as fits, and at least what is wanted first.
fn block(copy: &RecordCopy, first: &Range<u64>) -> Range<u64> {
    let end = first.start.saturating_add(RECORD_AT_ONCE_BYTES).min(copy.record_bytes());
    first.start..end.max(first.end)
}

/// Takes whatever of a block is wanted, piece by piece, and writes it when there is where to.
fn take_block(
    copy: &mut RecordCopy,
    starts_at: u64,
    block: &[u8],
    mut file: Option<&mut NewPackFile>,
) -> Result<(), Error> {
    let ends_at = starts_at + block.len() as u64;
    while let Some(range) = copy.wanted().filter(|range| range.end <= ends_at) {
        // Both lie within the block, which is in memory.
        let (start, end) = ((range.start - starts_at) as usize, (range.end - starts_at) as usize);
        let bytes = block.get(start..end).unwrap_or_default();
        copy.take(bytes)?;
        if let Some(file) = &mut file {
            file.append(bytes)?;
        }
    }
    Ok(())
}

/// The first packs that together are no longer than that; always one.
fn up_to(packs: impl Iterator<Item = Pack>, bytes_max: u64) -> Vec<PackId> {
    let mut bytes = 0u64;
    let fits = |pack: &Pack| {
        bytes = bytes.saturating_add(pack.bytes);
        bytes <= bytes_max || bytes == pack.bytes
    };
    packs.take_while(fits).map(|pack| pack.pack_id).collect()
}
