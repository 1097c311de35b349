//! The way back: a record's sealed bytes are fetched from where they are — journal, local pack, else a range of a
//! bucket's object — and opened, chunk by chunk.
//!
//! A record may move while it is read (journal → pack → bucket, or into another pack). Then it is looked up again and reading goes on
//! with the same chunk: a record's bytes are the same everywhere.
//!
//! Who says what will be read ([`OpenRecord::will_read`]) has it brought by one request where it is in a bucket.

use std::{borrow::Cow, collections::HashMap, ops::Range, sync::Arc};

use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_model::{Encoding, InstanceState, NodeId, PackId, RecordId, StudyKeyId, Tag, compute};
use filmgate_seal::{
    BulkKind, BulkValue as StoredBulk, ChunkEntry, Class, PackFooter, RecordKey, RecordTable,
};
use filmgate_spool::JournalRecord;
use futures::future::try_join_all;
use parking_lot::Mutex;
use quick_cache::Weighter;
use zeroize::Zeroizing;

use crate::{
    Error, Placement, Road,
    ranges::{Ahead, Of},
    rotate::{self, KEY_OBJECT_BYTES_MAX, KEYS},
};

/// How often a record is looked up again while it is read; it can move twice, and once more into another pack.
const MOVES_MAX: usize = 4;
/// Chunks of a range that are opened side by side.
const OPENED_AT_ONCE: usize = 4;
/// Room made for a range at first: what is asked for is not believed further than that.
const PIECE_BYTES: usize = 1024 * 1024;
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
    pub(crate) fn of(footer: PackFooter) -> (Self, HashMap<RecordId, Vec<u8>>) {
        let (mut records, mut metadata) = (HashMap::new(), HashMap::new());
        let mut records_end = 0;
        for record in footer.records {
            records_end = records_end.max(record.offset.saturating_add(record.table.record_bytes));
            if record.metadata_generator == crate::METADATA_VERSION {
                metadata.insert(record.record_id, record.metadata_json);
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

/// A record that can be read.
pub struct OpenRecord {
    road: Arc<Road>,
    key: RecordKey,
    table: Arc<RecordTable>,
    place: Mutex<Place>,
    /// What will be read of the sealed record, by its own offsets.
    expected: Mutex<Range<u64>>,
    /// What came along with what was read last: where it begins in the sealed record, and the bytes.
    at_hand: Mutex<(u64, Bytes)>,
    /// The cache is passed by: it is the copies that are looked at.
    copies_only: bool,
}

/// Where the sealed bytes of a record are.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// In this node's journal.
    Journal,
    /// In a pack, here or in a bucket.
    Pack { pack_id: PackId, offset: u64, records_end: u64 },
    /// With another node, and nowhere else yet.
    Peer { node_id: NodeId },
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

    async fn try_open(self: &Arc<Self>, record_id: RecordId) -> Result<OpenRecord, Error> {
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
        let pack_id = location.pack.as_ref().ok_or(Error::Lost(record_id))?.pack_id;
        let contents = self.pack_contents(pack_id).await?;
        let record = contents.record(record_id).ok_or(Error::Lost(record_id))?;
        let place = Place::Pack { pack_id, offset: record.offset, records_end: contents.records_end };
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

impl OpenRecord {
    fn new(road: &Arc<Road>, key: RecordKey, table: Arc<RecordTable>, place: Place) -> Self {
        Self {
            road: Arc::clone(road),
            key,
            table,
            place: Mutex::new(place),
            expected: Mutex::new(0..0),
            at_hand: Mutex::default(),
            copies_only: false,
        }
    }

    /// The same, read from where it is kept for sure and not from the cache.
    pub(crate) fn of_copies_only(mut self) -> Self {
        self.copies_only = true;
        self
    }

    /// The pack it is in, when it is in one that this node reads.
    pub(crate) fn pack_id(&self) -> Option<PackId> {
        match *self.place.lock() {
            Place::Pack { pack_id, .. } => Some(pack_id),
            Place::Journal | Place::Peer { .. } => None,
        }
    }

    /// What is known of the record.
    #[must_use]
    pub fn table(&self) -> &RecordTable {
        &self.table
    }

    /// The record's own key.
    pub(crate) fn key(&self) -> &RecordKey {
        &self.key
    }

    /// True when another node gives its bytes.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.place.lock().is_elsewhere()
    }

    /// How many chunks it has.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.table.chunks.len()
    }

    /// Says which range of the dataset will be read, from its beginning on: what of it is in a bucket is then brought by
    /// one request, or by a few where it is long (`read_bytes_max`).
    pub fn will_read(&self, range: Range<u64>) {
        let sealed_end = |chunk: &ChunkEntry| sealed_range(chunk).end;
        let mut chunks = self.table.chunks_of(range).map(|(_, chunk)| chunk);
        if let Some(first) = chunks.next() {
            let end = chunks.last().map_or(sealed_end(first), sealed_end);
            *self.expected.lock() = first.record_offset..end;
        }
    }

    /// One chunk's bytes of the dataset, opened and authenticated. `None` past the last.
    ///
    /// # Errors
    /// When its bytes cannot be fetched, or do not open.
    pub async fn chunk(&self, number: usize) -> Result<Option<Bytes>, Error> {
        let Some(sealed) = self.sealed_chunk(number).await? else { return Ok(None) };
        self.open_or_fetch(number, sealed).await.map(Some)
    }

    async fn sealed_chunk(&self, number: usize) -> Result<Option<Bytes>, Error> {
        let Some(entry) = self.table.chunks.get(number) else { return Ok(None) };
        self.sealed(sealed_range(entry)).await.map(Some)
    }

    /// Opens a chunk; what rotted on the local disk, or in the cache, may be whole in a bucket.
    async fn open_or_fetch(&self, number: usize, sealed: Bytes) -> Result<Bytes, Error> {
        let Some(entry) = self.table.chunks.get(number) else {
            return Err(Error::Lost(self.table.record_id));
        };
        let error = match self.open_chunk(number, entry.clone(), sealed).await {
            Err(error @ Error::Seal(_)) => error,
            opened => return opened,
        };
        let (pack_id, offset) = match *self.place.lock() {
            Place::Pack { pack_id, offset, .. } => (pack_id, offset),
            Place::Peer { node_id } => return Err(error.held_by(node_id, self.table.record_id)),
            Place::Journal => return Err(error),
        };
        let range = sealed_range(entry);
        let in_pack = offset + range.start..offset + range.end;
        // The cache has no part in what the copies are like.
        if !self.copies_only {
            self.forget_cached(pack_id, in_pack.clone()).await?;
        }
        let opened = self.placed_chunk(number, entry, pack_id, in_pack, error).await?;
        self.road.local_is_rotten(pack_id).await?;
        Ok(opened)
    }

    async fn forget_cached(&self, pack_id: PackId, range: Range<u64>) -> Result<(), Error> {
        *self.at_hand.lock() = Default::default();
        let road = Arc::clone(&self.road);
        if compute(move || road.cached.ranges.forget(pack_id, &range)).await? > 0 {
            tracing::warn!(%pack_id, "a range in the cache does not open; it is fetched again");
        }
        Ok(())
    }

    /// A chunk from the first placement in which it opens; `unsound` is why the placements are asked.
    async fn placed_chunk(
        &self,
        number: usize,
        entry: &ChunkEntry,
        pack_id: PackId,
        range: Range<u64>,
        mut unsound: Error,
    ) -> Result<Bytes, Error> {
        let name = pack_name(pack_id);
        for placement in &self.road.placements {
            let opened = match self.road.object_bytes(placement, &name, range.clone(), Of::Range).await {
                Ok(sealed) => self.open_chunk(number, entry.clone(), sealed).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(opened) => return Ok(opened),
                Err(error) => unsound = unsound.unless_passing(error),
            }
        }
        Err(unsound)
    }

    async fn open_chunk(&self, number: usize, entry: ChunkEntry, sealed: Bytes) -> Result<Bytes, Error> {
        let (key, record_id) = (self.key.clone(), self.table.record_id);
        let open = move || filmgate_seal::open_chunk(&key, record_id, number as u32, &entry, &sealed);
        Ok(compute(open).await??.into())
    }

    /// Every element that is not bulk data, as one run of bytes: the header chunks in order.
    ///
    /// # Errors
    /// When a chunk cannot be had; [`Error::MetadataTooLong`] when they are longer than `bytes_max`.
    pub async fn header(&self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let mut header = Vec::new();
        for number in 0..self.chunks() {
            if self.table.chunks[number].class == Class::Header
                && let Some(chunk) = self.chunk(number).await?
            {
                if header.len() + chunk.len() > bytes_max {
                    return Err(Error::MetadataTooLong(bytes_max));
                }
                header.extend_from_slice(&chunk);
            }
        }
        Ok(header)
    }

    /// Part of the dataset by offsets, opening only the chunks it needs.
    ///
    /// # Errors
    /// When a chunk cannot be had.
    pub async fn dataset_range(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.expect_at_least(&range);
        let numbers: Vec<usize> =
            self.table.chunks_of(range.clone()).map(|(number, _)| number as usize).collect();
        let mut bytes = Vec::with_capacity(
            usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0).min(PIECE_BYTES),
        );
        for some in numbers.chunks(OPENED_AT_ONCE) {
            let mut sealed = Vec::with_capacity(some.len());
            for &number in some {
                sealed.extend(self.sealed_chunk(number).await?.map(|sealed| (number, sealed)));
            }
            // Each takes a core for a while: side by side where there are several.
            let opened =
                try_join_all(sealed.into_iter().map(|(number, sealed)| self.open_or_fetch(number, sealed)));
            for (&number, chunk) in some.iter().zip(opened.await?) {
                let covers = self.table.chunks.get(number).map_or(0..0, chunk_range);
                // Both ends lie within the chunk, which is in memory.
                let start = range.start.saturating_sub(covers.start) as usize;
                let end = (range.end.min(covers.end) - covers.start) as usize;
                bytes.extend_from_slice(chunk.get(start..end).unwrap_or_default());
            }
        }
        Ok(bytes)
    }

    /// Says that a range will be read, unless more was said already.
    fn expect_at_least(&self, range: &Range<u64>) {
        let first = self.table.chunks_of(range.clone()).next().map(|(_, chunk)| chunk.record_offset);
        if first.is_some_and(|first| !self.expected.lock().contains(&first)) {
            self.will_read(range.clone());
        }
    }

    /// A range of the record's sealed bytes, looked up again when the record moved meanwhile.
    ///
    /// # Errors
    /// When they cannot be fetched; [`Error::Lost`] when they are nowhere.
    pub async fn sealed(&self, range: Range<u64>) -> Result<Bytes, Error> {
        if let Some(bytes) = self.taken_from_hand(&range) {
            return Ok(bytes);
        }
        let record_id = self.table.record_id;
        let mut last = Error::Lost(record_id);
        for _ in 0..MOVES_MAX {
            let place = *self.place.lock();
            match self.sealed_at(place, range.clone()).await {
                Err(error) if error.is_moved() => {
                    last = error;
                    let again = self.road.try_open(record_id).await?;
                    *self.place.lock() = again.place.into_inner();
                }
                Ok(bytes) => return Ok(self.put_at_hand(&range, bytes)),
                Err(error) => return Err(error),
            }
        }
        match last {
            // A share that is not mounted lacks everything: no proof that the bytes are lost.
            Error::Bucket(_) => Err(last),
            _ => Err(Error::Lost(record_id)),
        }
    }

    /// To where it is read on from this range.
    fn until(&self, range: &Range<u64>) -> u64 {
        let expected = self.expected.lock();
        if expected.contains(&range.start) { expected.end.max(range.end) } else { range.end }
    }

    fn taken_from_hand(&self, range: &Range<u64>) -> Option<Bytes> {
        let at_hand = self.at_hand.lock();
        let start = usize::try_from(range.start.checked_sub(at_hand.0)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(at_hand.0)?).ok()?;
        (start < end && end <= at_hand.1.len()).then(|| at_hand.1.slice(start..end))
    }

    /// What was wanted of what came; the rest stays at hand.
    fn put_at_hand(&self, range: &Range<u64>, bytes: Bytes) -> Bytes {
        let wanted = bytes.slice(..bytes.len().min((range.end - range.start) as usize));
        let more = bytes.len() > wanted.len();
        *self.at_hand.lock() = if more { (range.start, bytes) } else { Default::default() };
        wanted
    }

    /// The bytes of a range, and what came along behind it.
    async fn sealed_at(&self, place: Place, range: Range<u64>) -> Result<Bytes, Error> {
        match place {
            Place::Journal => {
                let (road, record_id) = (Arc::clone(&self.road), self.table.record_id);
                Ok(compute(move || road.journal.read(record_id, range)).await??.into())
            }
            Place::Pack { pack_id, offset, records_end } => {
                self.road.read.lock().insert(pack_id);
                let in_pack = offset + range.start..offset + range.end;
                let ahead = Ahead { until: offset + self.until(&range), records_end };
                if let Some(bytes) = self.road.bytes_here(pack_id, &in_pack, ahead, !self.copies_only).await?
                {
                    return Ok(bytes);
                }
                match self.copies_only {
                    true => self.road.placed_bytes(pack_id, self.road.with_ahead(&in_pack, ahead)).await,
                    false => self.road.distant_bytes(pack_id, in_pack, ahead).await,
                }
            }
            Place::Peer { node_id } => {
                self.road.ask_peer(node_id, self.table.record_id, "sealed", range).await
            }
        }
    }
}

/// True when a file is not there.
pub(crate) fn is_absent(error: &filmgate_spool::Error) -> bool {
    matches!(error, filmgate_spool::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

fn sealed_range(chunk: &ChunkEntry) -> Range<u64> {
    chunk.record_offset..chunk.record_offset + u64::from(chunk.sealed_bytes)
}

fn chunk_range(chunk: &filmgate_seal::ChunkEntry) -> Range<u64> {
    chunk.dataset_offset..chunk.dataset_offset + u64::from(chunk.raw_bytes)
}

impl Error {
    /// True when a record was not where it had just been: looking it up again may find it.
    fn is_moved(&self) -> bool {
        match self {
            Self::Spool(error) => matches!(error, filmgate_spool::Error::NotFound(_)) || is_absent(error),
            Self::Bucket(filmgate_bucket::Error::NotFound(_)) | Self::NotFound(_) | Self::Lost(_) => true,
            _ => false,
        }
    }
}

/// A bulk value's path as its metadata names it; items count from 1.
fn path_of(value: &StoredBulk) -> String {
    let name = |tag: Tag| format!("{:04X}{:04X}", tag.group(), tag.element());
    let below = value.within.iter().map(|(tag, item)| format!("{}/{}/", name(*tag), u64::from(*item) + 1));
    below.collect::<String>() + &name(value.tag)
}

/// A bulk value of a record: where it lies in the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkValue {
    /// Its bytes, by offsets in the dataset; for encapsulated pixel data the whole run of fragments with their headers.
    pub range: Range<u64>,
    /// True when it is a run of fragments.
    pub encapsulated: bool,
}

impl OpenRecord {
    /// The transfer syntax its dataset is in.
    #[must_use]
    pub fn transfer_syntax_uid(&self) -> &str {
        &self.table.provenance.transfer_syntax_uid
    }

    /// Size of the dataset in bytes.
    #[must_use]
    pub fn dataset_bytes(&self) -> u64 {
        self.table.dataset_bytes
    }

    /// SHA-256 of the dataset.
    #[must_use]
    pub fn dataset_sha256(&self) -> [u8; 32] {
        self.table.dataset_sha256
    }

    /// A bulk value by the path its metadata names: tags and item numbers with slashes between.
    #[must_use]
    pub fn bulk_value(&self, path: &str) -> Option<BulkValue> {
        // Offsets of a deflated dataset are those of the inflated one, which is not kept.
        if self.table.encoding == Some(Encoding::Deflated) {
            return None;
        }
        let value = self.table.bulk_values.iter().find(|value| path_of(value) == path)?;
        Some(BulkValue {
            range: value.dataset_offset..value.dataset_offset.saturating_add(value.bytes),
            encapsulated: value.kind == BulkKind::Encapsulated,
        })
    }
}
