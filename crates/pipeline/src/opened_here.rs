//! Several chunks of a record read and opened at one go where its bytes are on this node's disk. Each way off the async threads and back
//! costs about as much as opening a tenth of a chunk, and more on a busy machine; chunk by chunk there are two for each.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use filmgate_model::compute;
use filmgate_seal::ChunkEntry;
use filmgate_spool::PackReader;
use futures::future::{join, try_join_all};

use crate::{
    Error, OpenRecord,
    open_record::{Place, open_chunk, sealed_range},
    ranges::Ahead,
    retrieve::is_absent,
};

/// Bytes of chunks that are opened at one go: four as they are cut.
const AT_ONE_GO_BYTES: u64 = 1024 * 1024;
/// And no more chunks than so many, however short they are.
const AT_ONE_GO_CHUNKS: usize = 64;

impl OpenRecord {
    /// The next chunks from this one on, opened: one at least, and none past the last.
    ///
    /// # Errors
    /// As [`OpenRecord::chunk`].
    pub async fn next_chunks(&self, number: usize) -> Result<Vec<Bytes>, Error> {
        let next: Vec<usize> = (number..self.chunks()).take(AT_ONE_GO_CHUNKS).collect();
        self.some_chunks(&next).await
    }

    /// The first of these chunks, opened: as many as one go takes, and one at least where one is asked for.
    pub(crate) async fn some_chunks(&self, numbers: &[usize]) -> Result<Vec<Bytes>, Error> {
        let some = self.one_go(numbers);
        match self.is_elsewhere_for_sure(some) {
            true => self.bring(some).await,
            false => match self.opened_here(some).await {
                Opened::Here(opened) => return Ok(opened),
                Opened::Elsewhere => self.bring(some).await,
                Opened::Unsound => {}
            },
        }
        let mut sealed = Vec::with_capacity(some.len());
        for &number in some {
            sealed.extend(self.sealed_chunk(number).await?.map(|sealed| (number, sealed)));
        }
        // Each takes a core for a while: side by side where there are several.
        try_join_all(sealed.into_iter().map(|(number, sealed)| self.open_or_fetch(number, sealed))).await
    }

    fn one_go<'a>(&self, numbers: &'a [usize]) -> &'a [usize] {
        let mut bytes = 0;
        let fits = |number: &&usize| {
            bytes += self.table().chunks.get(**number).map_or(0, |chunk| u64::from(chunk.raw_bytes));
            bytes <= AT_ONE_GO_BYTES
        };
        let count = numbers.iter().take_while(fits).count();
        numbers.get(..count.max(1)).unwrap_or_default()
    }

    /// True when the disk need not be asked: the pack is not here, as was known a moment ago, and nothing of it is kept.
    fn is_elsewhere_for_sure(&self, numbers: &[usize]) -> bool {
        let Place::Pack { pack_id, offset, local: false, .. } = self.place() else { return false };
        let run = sealed_run(numbers.iter().filter_map(|&number| self.table().chunks.get(number)));
        !self.road().cached.ranges.holds(pack_id, &(offset + run.start..offset + run.end))
    }

    /// These chunks from this node's disk, opened: in two halves side by side while nothing else is opened, for then a core is idle.
    async fn opened_here(&self, numbers: &[usize]) -> Opened {
        let turn = self.road().opening.begin();
        let (first, second) = numbers.split_at(numbers.len() / 2);
        if first.is_empty() || !turn.is_alone {
            return self.opened_in_turn(numbers).await;
        }
        match join(self.opened_in_turn(first), self.opened_in_turn(second)).await {
            (Opened::Here(mut opened), Opened::Here(more)) => {
                opened.extend(more);
                Opened::Here(opened)
            }
            (Opened::Elsewhere, _) | (_, Opened::Elsewhere) => Opened::Elsewhere,
            _ => Opened::Unsound,
        }
    }

    /// These chunks from this node's disk, opened one after another.
    async fn opened_in_turn(&self, numbers: &[usize]) -> Opened {
        let chunks: Option<Vec<(u32, ChunkEntry)>> = numbers
            .iter()
            .map(|&number| Some((u32::try_from(number).ok()?, self.table().chunks.get(number)?.clone())))
            .collect();
        let Some(chunks) = chunks.filter(|chunks| !chunks.is_empty()) else { return Opened::Unsound };
        let (place, road, copies_only) = (self.place(), Arc::clone(self.road()), self.copies_only());
        if let Place::Pack { pack_id, .. } = place {
            road.read.lock().insert(pack_id);
        }
        let (key, record_id) = (self.key().clone(), self.table().record_id);
        let open = move || -> Result<Opened, Error> {
            let whole = sealed_run(chunks.iter().map(|(_, chunk)| chunk));
            let source = match place {
                Place::Peer { .. } => return Ok(Opened::Unsound),
                Place::Journal => Source::Journal,
                Place::Pack { pack_id, offset, .. } => match road.packs.open(pack_id) {
                    Ok(pack) => Source::Pack(pack, offset),
                    Err(error) if !is_absent(&error) => return Err(error.into()),
                    Err(_) if copies_only => return Ok(Opened::Elsewhere),
                    Err(_) => {
                        let in_pack = offset + whole.start..offset + whole.end;
                        match road.kept_bytes(pack_id, &in_pack, in_pack.end) {
                            Some(kept) => Source::Cache(kept),
                            None => return Ok(Opened::Elsewhere),
                        }
                    }
                },
            };
            let opened = |(number, chunk): (u32, ChunkEntry)| {
                let range = sealed_range(&chunk);
                let sealed = match &source {
                    Source::Journal => road.journal.read(record_id, range)?.into(),
                    Source::Pack(pack, offset) => pack.read(offset + range.start..offset + range.end)?.into(),
                    // As long as the run, in which the chunk lies.
                    Source::Cache(kept) => {
                        kept.slice((range.start - whole.start) as usize..(range.end - whole.start) as usize)
                    }
                };
                Ok(Bytes::from(open_chunk(&key, record_id, number, &chunk, &sealed)?))
            };
            chunks.into_iter().map(opened).collect::<Result<_, Error>>().map(Opened::Here)
        };
        match compute(open).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_)) | Err(_) => Opened::Unsound,
        }
    }

    /// Has these chunks brought from a bucket by one request, or the beginning of them, so that they are at hand. What fails is
    /// told when they are asked for one by one.
    async fn bring(&self, numbers: &[usize]) {
        let Place::Pack { pack_id, offset, records_end, .. } = self.place() else { return };
        let chunks = numbers.iter().filter_map(|&number| self.table().chunks.get(number));
        let range = sealed_run(chunks);
        if self.copies_only() || range.is_empty() || self.is_at_hand(&range) {
            return;
        }
        self.road().read.lock().insert(pack_id);
        let ahead = Ahead { until: offset + self.until(&range), records_end };
        let in_pack = offset + range.start..offset + range.end;
        if let Ok(bytes) = self.road().distant_bytes(pack_id, in_pack, ahead).await {
            self.put_at_hand(range.start, bytes);
        }
    }
}

/// Goes at chunks that are under way.
#[derive(Debug, Default)]
pub(crate) struct Opening(AtomicUsize);

/// One of them.
struct Turn<'a> {
    all: &'a Opening,
    /// Nothing else was opened when it began.
    is_alone: bool,
}

impl Opening {
    fn begin(&self) -> Turn<'_> {
        Turn { is_alone: self.0.fetch_add(1, Ordering::Relaxed) == 0, all: self }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.all.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What came of looking for chunks on this node's disk.
enum Opened {
    Here(Vec<Bytes>),
    /// Their bytes are in a bucket alone.
    Elsewhere,
    /// They do not open, or cannot be read: one by one they are found wherever they are sound.
    Unsound,
}

/// Where sealed bytes are read.
enum Source {
    Journal,
    /// A local pack, and where the record begins in it.
    Pack(PackReader, u64),
    /// What the cache has of the run of chunks.
    Cache(Bytes),
}

/// From the first of these chunks to the last, with what may lie between.
fn sealed_run<'a>(chunks: impl Iterator<Item = &'a ChunkEntry>) -> Range<u64> {
    chunks
        .map(sealed_range)
        .reduce(|run, range| run.start.min(range.start)..run.end.max(range.end))
        .unwrap_or(0..0)
}
