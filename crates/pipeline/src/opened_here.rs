//! Several chunks of a record read and opened at one go where its bytes are on this node's disk. Each way off the async threads and back
//! costs about as much as opening a tenth of a chunk, and more on a busy machine; chunk by chunk there are two for each.

use std::sync::Arc;

use bytes::Bytes;
use filmgate_model::compute;
use filmgate_seal::ChunkEntry;
use futures::future::try_join_all;

use crate::{
    Error, OpenRecord,
    open_record::{Place, open_chunk, sealed_range},
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
        if let Some(opened) = self.opened_here(some).await {
            return Ok(opened);
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

    /// These chunks, opened; `None` where their bytes are not here, or do not open: one by one they are found wherever they are sound.
    async fn opened_here(&self, numbers: &[usize]) -> Option<Vec<Bytes>> {
        let chunks: Option<Vec<(u32, ChunkEntry)>> = numbers
            .iter()
            .map(|&number| Some((u32::try_from(number).ok()?, self.table().chunks.get(number)?.clone())))
            .collect();
        let chunks = chunks.filter(|chunks| !chunks.is_empty())?;
        let (place, road) = (self.place(), Arc::clone(self.road()));
        if let Place::Pack { pack_id, .. } = place {
            road.read.lock().insert(pack_id);
        }
        let (key, record_id) = (self.key().clone(), self.table().record_id);
        let open = move || -> Result<Vec<Bytes>, Error> {
            let pack = match place {
                Place::Pack { pack_id, offset, .. } => Some((road.packs.open(pack_id)?, offset)),
                Place::Journal => None,
                Place::Peer { .. } => return Err(Error::Lost(record_id)),
            };
            let sealed = |chunk: &ChunkEntry| {
                let range = sealed_range(chunk);
                match &pack {
                    Some((pack, offset)) => pack.read(offset + range.start..offset + range.end),
                    None => road.journal.read(record_id, range),
                }
            };
            let opened = |(number, chunk): (u32, ChunkEntry)| {
                let opened = open_chunk(&key, record_id, number, &chunk, &sealed(&chunk)?)?;
                Ok(Bytes::from(opened))
            };
            chunks.into_iter().map(opened).collect()
        };
        compute(open).await.ok()?.ok()
    }
}
