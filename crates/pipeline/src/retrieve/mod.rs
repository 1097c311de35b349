//! The way back: a record's sealed bytes are fetched from where they are — journal, local pack, else a range of a
//! bucket's object — and opened, chunk by chunk.

mod annotation;
mod dataset;
mod frame_as;
mod frames;
mod imaged;
mod kept;
mod presentation;
mod rendered;
mod rewritten;
mod transcode;
mod warm;

use std::{borrow::Cow, collections::HashMap, ops::Range, sync::Arc};

use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_model::{InstanceState, PackId, RecordId, StudyKeyId, compute};
use filmgate_seal::{PackFooter, RecordKey, RecordTable};
use filmgate_spool::JournalRecord;
use quick_cache::Weighter;
use zeroize::Zeroizing;

use crate::{
    Error, OpenRecord, Placement, Road, Texts,
    open_record::Place,
    rotate::{self, KEY_OBJECT_BYTES_MAX, KEYS},
    texts,
};

pub use annotation::Annotation;
pub use dataset::Dataset;
pub use frame_as::FrameSyntax;
pub use frames::{Frames, StoredFrame};
pub use imaged::Imaged;
pub(crate) use kept::Kept;
pub use kept::KeptSettings;
pub use presentation::PresentationState;
pub use rendered::{Picture, PictureFormat, Rendered};
pub use transcode::Transcoded;

/// How often a record is looked up again while it is read; it can move twice, and once more into another pack.
pub(crate) const MOVES_MAX: usize = 4;
/// Keys that are brought from a bucket at a time, about.
pub(crate) const KEY_GATES: usize = 16;

/// Where the records of a pack are, and their keys.
pub(crate) struct PackContents {
    records: HashMap<RecordId, PackedRecord>,
    /// Where the last of them ends in the pack.
    records_end: u64,
}

/// Weighs the contents of a pack by what they take in memory: records and their chunks.
#[derive(Clone)]
pub(crate) struct Weigh;

impl Weighter<PackId, Arc<PackContents>> for Weigh {
    fn weight(&self, _: &PackId, contents: &Arc<PackContents>) -> u64 {
        let of_record = |record: &PackedRecord| 16 + record.table.chunks.len() as u64;
        contents.records.values().map(of_record).sum::<u64>().max(1)
    }
}

impl PackContents {
    /// What a footer says of where the records are, and the metadata it has of them.
    pub(crate) fn of(footer: PackFooter, texts: &Texts) -> (Self, HashMap<RecordId, Bytes>) {
        let (mut records, mut metadata) = (HashMap::new(), HashMap::new());
        let mut records_end = 0;
        for record in footer.records {
            records_end = records_end.max(record.offset.saturating_add(record.table.record_bytes));
            let hint = texts.hint(&record.table.provenance);
            if record.metadata_generator == texts::stamp(&record.table, hint) {
                metadata.insert(record.record_id, record.metadata_json.into());
            }
            let packed =
                PackedRecord { offset: record.offset, key: record.key, table: Arc::new(record.table) };
            records.insert(record.record_id, packed);
        }
        (Self { records, records_end }, metadata)
    }

    /// A record of the pack.
    pub(crate) fn record(&self, record_id: RecordId) -> Option<PackedRecord> {
        self.records.get(&record_id).cloned()
    }
}

/// A record as its pack's footer has it.
#[derive(Clone)]
pub(crate) struct PackedRecord {
    /// Where it begins in the pack.
    pub(crate) offset: u64,
    pub(crate) key: RecordKey,
    pub(crate) table: Arc<RecordTable>,
}

impl Road {
    /// Opens a record wherever it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no such record is known, [`Error::Lost`] when its bytes are nowhere.
    pub async fn open(self: &Arc<Self>, record_id: RecordId) -> Result<OpenRecord, Error> {
        let mut last = Error::NotFound(record_id);
        for _ in 0..MOVES_MAX {
            match self.try_open(record_id).await {
                Ok(opened) => return Ok(opened),
                Err(error) if error.is_moved() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The same of a record that has just been looked up; it is looked up again when it is not there any more.
    ///
    /// # Errors
    /// As [`Road::open`].
    pub async fn open_found(self: &Arc<Self>, location: &Location) -> Result<OpenRecord, Error> {
        match self.open_located(location).await {
            Ok(opened) => Ok(opened),
            Err(_) => self.open(location.record_id).await,
        }
    }

    pub(crate) async fn try_open(self: &Arc<Self>, record_id: RecordId) -> Result<OpenRecord, Error> {
        if self.journal.contains(record_id) {
            return self.open_in_journal(record_id).await;
        }
        let location = self.catalog.locate(record_id).await?.ok_or(Error::NotFound(record_id))?;
        self.open_located(&location).await
    }

    async fn open_located(self: &Arc<Self>, location: &Location) -> Result<OpenRecord, Error> {
        let record_id = location.record_id;
        if self.journal.contains(record_id) {
            return self.open_in_journal(record_id).await;
        }
        if location.state == InstanceState::Deleted {
            return Err(Error::NotFound(record_id));
        }
        if self.is_held_elsewhere(location) {
            let node_id = location.node_id;
            let (key, table) = self.held_elsewhere(record_id, node_id).await?;
            return Ok(OpenRecord::new(self, key, Arc::new(table), Place::Peer { node_id }));
        }
        let pack = location.pack.as_ref().ok_or(Error::Lost(record_id))?;
        let (pack_id, local) = (pack.pack_id, pack.local);
        let contents = self.pack_contents(pack_id).await?;
        let record = contents.record(record_id).ok_or(Error::Lost(record_id))?;
        let records_end = contents.records_end;
        let place = Place::Pack { pack_id, offset: record.offset, records_end, local };
        Ok(OpenRecord::new(self, record.key, record.table, place))
    }

    async fn open_in_journal(self: &Arc<Self>, record_id: RecordId) -> Result<OpenRecord, Error> {
        let road = Arc::clone(self);
        let (key, table) = compute(move || road.journaled_table(record_id)).await??;
        Ok(OpenRecord::new(self, key, Arc::new(table), Place::Journal))
    }

    /// Key and table of a journaled record; blocks on the disk.
    pub(crate) fn journaled_table(&self, record_id: RecordId) -> Result<(RecordKey, RecordTable), Error> {
        let record = self.journal.record(record_id).ok_or(Error::NotFound(record_id))?;
        self.table_of(&record, |range| Ok(self.journal.read(record_id, range)?.into()))
    }

    /// The same of a record that `read` gives ranges of.
    pub(crate) fn table_of<'a>(
        &self,
        record: &JournalRecord,
        read: impl Fn(Range<u64>) -> Result<Cow<'a, [u8]>, Error>,
    ) -> Result<(RecordKey, RecordTable), Error> {
        let (record_id, end) = (record.record_id, record.record_bytes);
        let key = self.keys.unwrap_landing(record_id, &record.wrapped_key)?;
        let trailer = read(end.saturating_sub(filmgate_seal::TRAILER_BYTES as u64)..end)?;
        let range = filmgate_seal::table_range(end, &trailer)?;
        let sealed = read(range)?;
        let table = filmgate_seal::open_table(&key, record_id, &sealed)?;
        Ok((key, table))
    }

    /// A study's key: this node's copy, else a placement's, which is this node's again from then on.
    pub(crate) async fn study_key(self: &Arc<Self>, id: StudyKeyId) -> Result<Zeroizing<[u8; 32]>, Error> {
        let road = Arc::clone(self);
        match compute(move || road.keys.study_key(id)).await? {
            Ok(key) => return Ok(key),
            // No bucket is asked for what is not to come back.
            Err(error @ filmgate_keys::Error::Shredded(_)) => return Err(error.into()),
            Err(_) => {}
        }
        // One brings it, the others wait: packs of a study are often opened together.
        let _turn = self.key_gates[usize::from(id.0[0]) % KEY_GATES].lock().await;
        let road = Arc::clone(self);
        let mut error = match compute(move || road.keys.study_key(id)).await? {
            Ok(key) => return Ok(key),
            Err(error) => Error::from(error),
        };
        for placement in &self.placements {
            match self.placed_study_key(placement, id).await {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => {}
                Err(wrong @ Error::Keys(filmgate_keys::Error::Wrong { .. })) => {
                    error = self.noticed(wrong).unless_passing(error);
                }
                Err(placed) => error = error.unless_passing(placed),
            }
        }
        Err(self.noticed(error))
    }

    /// A study's key as a placement has it, which is this node's from then on; `None` when there is none.
    async fn placed_study_key(
        self: &Arc<Self>,
        placement: &Placement,
        id: StudyKeyId,
    ) -> Result<Option<Zeroizing<[u8; 32]>>, Error> {
        let found = placement.keys.list(&format!("{KEYS}{id}/")).await?;
        let newest =
            found.iter().max_by_key(|object| rotate::parse(&object.name).map(|(_, generation)| generation));
        let Some(newest) = newest else { return Ok(None) };
        let object = placement.keys.get(&newest.name, 0..newest.bytes.min(KEY_OBJECT_BYTES_MAX)).await?;
        let road = Arc::clone(self);
        let adopted = compute(move || {
            road.keys.adopt_study_key(&object)?;
            road.keys.study_key(id)
        });
        let key = adopted.await??;
        tracing::info!(study_key_id = %id, placement = placement.name, "a study's key was taken from the bucket of keys");
        Ok(Some(key))
    }

    /// A local pack does not open and a bucket's copy does: the local one goes when it is verified elsewhere.
    pub(crate) async fn local_is_rotten(self: &Arc<Self>, pack_id: PackId) -> Result<(), Error> {
        let road = Arc::clone(self);
        let is_here = compute(move || road.packs.contains(pack_id)).await??;
        if is_here && self.catalog.record_evicted(pack_id).await? {
            tracing::error!(%pack_id, "a local pack does not open and was given up; the bucket's copy serves");
            let road = Arc::clone(self);
            compute(move || road.packs.remove(pack_id)).await??;
        }
        Ok(())
    }

    /// Only a simulation and a test should want this: opens what the journal holds, without the catalog.
    pub(crate) async fn open_journaled(&self, record_id: RecordId) -> Result<Journaled, Error> {
        let (_, table) = self.journaled_table(record_id)?;
        Ok(Journaled { table })
    }
}

/// A record's table as read from the journal.
pub(crate) struct Journaled {
    table: RecordTable,
}

impl Journaled {
    pub(crate) fn table(&self) -> &RecordTable {
        &self.table
    }
}

/// The name of a pack's object.
pub(crate) fn pack_name(pack_id: PackId) -> String {
    format!("v1/pack/{pack_id}")
}

/// True when a file is not there.
pub(crate) fn is_absent(error: &filmgate_spool::Error) -> bool {
    matches!(error, filmgate_spool::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

impl Error {
    /// True when a record was not where it had just been: looking it up again may find it.
    pub(crate) fn is_moved(&self) -> bool {
        match self {
            Self::Spool(error) => matches!(error, filmgate_spool::Error::NotFound(_)) || is_absent(error),
            Self::Bucket(filmgate_bucket::Error::NotFound(_)) | Self::NotFound(_) | Self::Lost(_) => true,
            _ => false,
        }
    }
}
