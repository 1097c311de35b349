//! One chunk on its way from raw to sealed: by the thread that cut it, or by a helper.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{self, Receiver, TryRecvError},
    },
};

use aes_gcm::Aes256Gcm;
use filmgate_model::RecordId;

use super::{
    associated::{Associated, Domain},
    table::{ChunkEntry, Class, SampleShape},
};
use crate::{aead, codec};

/// Smaller chunks are sealed where they are cut: handing them over would cost more than it brings.
const HAND_OVER_BYTES_MIN: usize = 64 * 1024;

/// Chunks of one record that are sealed beside it at most: what it may hold more than its own.
const HANDED_OVER_MAX: usize = 2;

/// Cores with nothing to do.
pub trait Helpers: Send + Sync {
    /// Takes a piece of work, if a helper is free to begin it now.
    ///
    /// # Errors
    /// Gives the work back when none is.
    fn offer(&self, work: Work) -> Result<(), Work>;
}

/// A piece of work for one of [`Helpers`].
pub type Work = Box<dyn FnOnce() + Send>;

/// A chunk that is cut and not sealed yet.
pub(crate) struct ChunkWork {
    pub(crate) record_id: RecordId,
    pub(crate) number: u32,
    pub(crate) last: bool,
    pub(crate) class: Class,
    pub(crate) dataset_offset: u64,
    pub(crate) shape: Option<SampleShape>,
    /// Level of zstd; `None` for what is not worth trying.
    pub(crate) level: Option<i32>,
    pub(crate) raw: ChunkBuffer,
}

impl ChunkWork {
    /// Appends the sealed chunk. Where it begins in the record is for its order to say.
    pub(crate) fn seal(&self, cipher: &Aes256Gcm, out: &mut Vec<u8>) -> ChunkEntry {
        let start = out.len();
        let raw = self.raw.filled();
        let mut shape = self.shape.clone();
        let codec = match (&mut shape, self.level) {
            (Some(shape), Some(level)) => codec::encode_samples(raw, shape, level, out),
            (_, level) => codec::encode(raw, level, out),
        };
        let raw_bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        let associated = Associated {
            domain: Domain::Chunk,
            record_id: self.record_id,
            number: self.number,
            last: self.last,
            codec,
            raw_bytes,
        };
        aead::seal_tail(cipher, associated.nonce(), &associated.bytes(), out, start);
        ChunkEntry {
            class: self.class,
            codec,
            dataset_offset: self.dataset_offset,
            raw_bytes,
            record_offset: 0,
            sealed_bytes: u32::try_from(out.len() - start).unwrap_or(u32::MAX),
            last: self.last,
            shape,
        }
    }
}

/// A chunk that was sealed beside its record.
struct Sealed {
    entry: ChunkEntry,
    bytes: Vec<u8>,
    /// Back to the thread it came from, for the next chunk.
    _raw: ChunkBuffer,
}

/// Chunks of one record in their order, some of them under way with helpers.
pub(crate) struct HandOver {
    helpers: Arc<dyn Helpers>,
    waiting: VecDeque<Receiver<Sealed>>,
}

impl HandOver {
    pub(crate) fn new(helpers: Arc<dyn Helpers>) -> Self {
        Self { helpers, waiting: VecDeque::new() }
    }

    /// True when the chunk may overtake nobody by being sealed at once.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True for a chunk worth handing over: long enough, and not the one its record waits for.
    pub(crate) fn suits(work: &ChunkWork) -> bool {
        !work.last && work.raw.filled().len() >= HAND_OVER_BYTES_MIN
    }

    /// Has a chunk sealed: by a helper, or here when none is free.
    pub(crate) fn take(&mut self, work: ChunkWork, cipher: &Aes256Gcm) {
        let (give, sealed) = mpsc::sync_channel(1);
        let (suits, cipher) = (Self::suits(&work), cipher.clone());
        let work: Work = Box::new(move || {
            let mut bytes = Vec::new();
            let entry = work.seal(&cipher, &mut bytes);
            // Nobody waits any more when the record was given up meanwhile.
            let _ = give.send(Sealed { entry, bytes, _raw: work.raw });
        });
        let refused = if suits { self.helpers.offer(work).err() } else { Some(work) };
        if let Some(work) = refused {
            work();
        }
        self.waiting.push_back(sealed);
    }

    /// Appends the next chunk in order to `out`, if it is sealed, or is waited for because too many are under way or
    /// `all` are wanted.
    ///
    /// # Panics
    /// When a helper has.
    pub(crate) fn next(&mut self, all: bool, out: &mut Vec<u8>) -> Option<ChunkEntry> {
        let first = self.waiting.front()?;
        let sealed = if all || self.waiting.len() > HANDED_OVER_MAX {
            first.recv().ok()
        } else {
            match first.try_recv() {
                Err(TryRecvError::Empty) => return None,
                sealed => sealed.ok(),
            }
        };
        let sealed = sealed.expect("a helper seals what it took");
        self.waiting.pop_front();
        out.extend_from_slice(&sealed.bytes);
        Some(sealed.entry)
    }

    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.waiting.len()
    }
}

/// The raw bytes of a chunk.
///
/// The room is a whole chunk's from the start, so that a socket can read into it; a thread keeps the last ones it used,
/// since most records need one after the other.
pub(crate) struct ChunkBuffer {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) filled: usize,
}

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

impl ChunkBuffer {
    pub(crate) fn new(bytes: usize) -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop).filter(|spare| spare.len() == bytes);
        Self { bytes: spare.unwrap_or_else(|| vec![0; bytes].into_boxed_slice()), filled: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for ChunkBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < HANDED_OVER_MAX {
                spare.push(bytes);
            }
        });
    }
}
