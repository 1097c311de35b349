//! An opened record: its chunks are fetched and opened as they are asked for, wherever they are by then.
//!
//! A record may move while it is read (journal → pack → bucket, or into another pack). Then it is looked up again and
//! reading goes on with the same chunk: a record's bytes are the same everywhere. Who says what will be read
//! ([`OpenRecord::will_read`]) has it brought by one request where it is in a bucket.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use filmgate_model::{Encoding, NodeId, PackId, RecordId, Tag, compute, text::Hint};
use filmgate_seal::{BulkKind, BulkValue as StoredBulk, ChunkEntry, Class, RecordKey, RecordTable};
use parking_lot::Mutex;

use crate::{
    Error, Road,
    ranges::{Ahead, Of},
    retrieve::{MOVES_MAX, pack_name},
};

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
    /// In a pack, here or in a bucket; `local` when it was here as the record was looked up.
    Pack { pack_id: PackId, offset: u64, records_end: u64, local: bool },
    /// With another node, and nowhere else yet.
    Peer { node_id: NodeId },
}

impl OpenRecord {
    pub(crate) fn new(road: &Arc<Road>, key: RecordKey, table: Arc<RecordTable>, place: Place) -> Self {
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

    pub(crate) fn copies_only(&self) -> bool {
        self.copies_only
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

    /// What is known of its text besides what it states.
    pub(crate) fn hint(&self) -> Hint {
        self.road.settings.texts.hint(&self.table.provenance)
    }

    /// The record's own key.
    pub(crate) fn key(&self) -> &RecordKey {
        &self.key
    }

    /// The way its bytes are read by.
    pub(crate) fn road(&self) -> &Arc<Road> {
        &self.road
    }

    /// Where its bytes were last.
    pub(crate) fn place(&self) -> Place {
        *self.place.lock()
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

    pub(crate) async fn sealed_chunk(&self, number: usize) -> Result<Option<Bytes>, Error> {
        let Some(entry) = self.table.chunks.get(number) else { return Ok(None) };
        self.sealed(sealed_range(entry)).await.map(Some)
    }

    /// Opens a chunk; what rotted on the local disk, or in the cache, may be whole in a bucket.
    pub(crate) async fn open_or_fetch(&self, number: usize, sealed: Bytes) -> Result<Bytes, Error> {
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
        let open = move || open_chunk(&key, record_id, number as u32, &entry, &sealed);
        Ok(compute(open).await??.into())
    }

    /// Every element that is not bulk data, as one run of bytes: the header chunks in order.
    ///
    /// # Errors
    /// When a chunk cannot be had; [`Error::MetadataTooLong`] when they are longer than `bytes_max`.
    pub async fn header(&self, bytes_max: usize) -> Result<Vec<u8>, Error> {
        let numbers: Vec<usize> = self.table.header_chunks().map(|(number, _)| number as usize).collect();
        let (mut header, mut left) = (Vec::new(), numbers.as_slice());
        while !left.is_empty() {
            let some = self.some_chunks(left).await?;
            for chunk in &some {
                if header.len() + chunk.len() > bytes_max {
                    return Err(Error::MetadataTooLong(bytes_max));
                }
                header.extend_from_slice(chunk);
            }
            left = left.get(some.len().max(1)..).unwrap_or_default();
        }
        Ok(header)
    }

    /// Part of the dataset by offsets, opening only the chunks it needs.
    ///
    /// # Errors
    /// When a chunk cannot be had.
    pub async fn dataset_range(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let mut pieces = self.dataset_pieces(range).await?;
        match pieces.as_slice() {
            [] | [_] => Ok(pieces.pop().unwrap_or_default()),
            _ => Ok(pieces.concat().into()),
        }
    }

    /// The same as it comes: a piece of each chunk, in order.
    ///
    /// # Errors
    /// When a chunk cannot be had.
    pub async fn dataset_pieces(&self, range: Range<u64>) -> Result<Vec<Bytes>, Error> {
        self.expect_at_least(&range);
        let numbers: Vec<usize> =
            self.table.chunks_of(range.clone()).map(|(number, _)| number as usize).collect();
        let (mut pieces, mut left) = (Vec::with_capacity(numbers.len()), numbers.as_slice());
        while !left.is_empty() {
            let some = self.some_chunks(left).await?;
            for (&number, chunk) in left.iter().zip(&some) {
                let covers = self.table.chunks.get(number).map_or(0..0, chunk_range);
                // Both ends lie within the chunk.
                let start = range.start.saturating_sub(covers.start) as usize;
                let end = (range.end.min(covers.end) - covers.start) as usize;
                pieces.push(piece_of(chunk, start..end));
            }
            left = left.get(some.len().max(1)..).unwrap_or_default();
        }
        Ok(pieces)
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
                Ok(bytes) => {
                    let wanted = bytes.slice(..bytes.len().min((range.end - range.start) as usize));
                    // What was wanted and no more is read once.
                    let more = bytes.len() > wanted.len();
                    self.put_at_hand(range.start, if more { bytes } else { Bytes::new() });
                    return Ok(wanted);
                }
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
    pub(crate) fn until(&self, range: &Range<u64>) -> u64 {
        let expected = self.expected.lock();
        if expected.contains(&range.start) { expected.end.max(range.end) } else { range.end }
    }

    fn taken_from_hand(&self, range: &Range<u64>) -> Option<Bytes> {
        let at_hand = self.at_hand.lock();
        let start = usize::try_from(range.start.checked_sub(at_hand.0)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(at_hand.0)?).ok()?;
        (start < end && end <= at_hand.1.len()).then(|| at_hand.1.slice(start..end))
    }

    pub(crate) fn is_at_hand(&self, range: &Range<u64>) -> bool {
        self.taken_from_hand(range).is_some()
    }

    /// Keeps what came last, and where it begins in the sealed record.
    pub(crate) fn put_at_hand(&self, start: u64, bytes: Bytes) {
        *self.at_hand.lock() = (start, bytes);
    }

    /// The bytes of a range, and what came along behind it.
    async fn sealed_at(&self, place: Place, range: Range<u64>) -> Result<Bytes, Error> {
        match place {
            Place::Journal => {
                let (road, record_id) = (Arc::clone(&self.road), self.table.record_id);
                Ok(compute(move || road.journal.read(record_id, range)).await??.into())
            }
            Place::Pack { pack_id, offset, records_end, .. } => {
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

/// A part of an opened chunk. A small one is copied, so that who keeps it does not keep the whole chunk in memory.
fn piece_of(chunk: &Bytes, range: Range<usize>) -> Bytes {
    let end = range.end.min(chunk.len());
    let piece = chunk.slice(range.start.min(end)..end);
    if piece.len() < chunk.len() / 2 { Bytes::copy_from_slice(&piece) } else { piece }
}

/// Opens and authenticates a chunk; counted by what it holds.
pub(crate) fn open_chunk(
    key: &RecordKey,
    record_id: RecordId,
    number: u32,
    chunk: &ChunkEntry,
    sealed: &[u8],
) -> Result<Vec<u8>, Error> {
    let of = if chunk.class == Class::Header { "header" } else { "bulk" };
    metrics::counter!("filmgate_opened_chunks_total", "of" => of).increment(1);
    Ok(filmgate_seal::open_chunk(key, record_id, number, chunk, sealed)?)
}

pub(crate) fn sealed_range(chunk: &ChunkEntry) -> Range<u64> {
    chunk.record_offset..chunk.record_offset + u64::from(chunk.sealed_bytes)
}

fn chunk_range(chunk: &filmgate_seal::ChunkEntry) -> Range<u64> {
    chunk.dataset_offset..chunk.dataset_offset + u64::from(chunk.raw_bytes)
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
    /// Its bytes, by offsets as [`OpenRecord::value_range`] takes them; for encapsulated pixel data the whole run of fragments with their headers.
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

    /// True when the whole dataset is deflated: offsets of its values are those of the inflated one.
    #[must_use]
    pub fn is_deflated(&self) -> bool {
        self.table.encoding == Some(Encoding::Deflated)
    }

    /// A bulk value by the path its metadata names: tags and item numbers with slashes between.
    #[must_use]
    pub fn bulk_value(&self, path: &str) -> Option<BulkValue> {
        let value = self.table.bulk_values.iter().find(|value| path_of(value) == path)?;
        Some(BulkValue {
            range: value.dataset_offset..value.dataset_offset.saturating_add(value.bytes),
            encapsulated: value.kind == BulkKind::Encapsulated,
        })
    }
}
