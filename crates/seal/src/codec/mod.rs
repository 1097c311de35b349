//! How a piece is compressed before it is sealed, and its bounded way back.

mod predict;
mod split;
#[cfg(test)]
mod tests;
mod wavefront;
mod zstd;

use std::cell::RefCell;

use self::{
    split::{Planes, Samples},
    zstd::Zstd,
};
use crate::{
    error::{Error, malformed},
    record::SampleShape,
};

/// How the bytes of a chunk, a table or a footer block are written before they are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Stored = 0,
    /// One zstd frame.
    Zstd = 1,
    /// Median edge prediction, zigzag and byte planes of native samples.
    SplitPredictor = 2,
}

impl Codec {
    /// Its number in stored formats.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The codec of a number.
    ///
    /// # Errors
    /// [`Error::Newer`] for a number this version does not know.
    pub fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Stored),
            1 => Ok(Self::Zstd),
            2 => Ok(Self::SplitPredictor),
            _ => Err(Error::Newer { what: "codec", number: number.into() }),
        }
    }
}

/// Bytes of a chunk that are looked at to see whether they repeat.
const GLANCE_BYTES: usize = 2 * 1024;

/// What a thread keeps from piece to piece.
#[derive(Default)]
struct Contexts {
    zstd: Zstd,
    planes: Planes,
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// Appends `raw` to `out`, compressed when that makes it smaller; which of the two is returned.
pub(crate) fn encode(raw: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Codec {
    if let Some(level) = level
        && CONTEXTS.with_borrow_mut(|contexts| contexts.zstd.compress(raw, level, out))
    {
        return Codec::Zstd;
    }
    out.extend_from_slice(raw);
    Codec::Stored
}

/// Appends native samples to `out` by the codec that makes least of them, which is returned, and notes the coders of its
/// planes in `shape`. `level` is zstd's. Nothing is encrypted: this is the first half of sealing a chunk.
pub fn encode_samples(raw: &[u8], shape: &mut SampleShape, level: i32, out: &mut Vec<u8>) -> Codec {
    let Some(samples) = Samples::of(shape).filter(|samples| raw.len() >= samples.row_bytes) else {
        return encode(raw, Some(level), out);
    };
    CONTEXTS.with_borrow_mut(|contexts| contexts.encode_samples(raw, &samples, shape, level, out))
}

impl Contexts {
    fn encode_samples(
        &mut self,
        raw: &[u8],
        samples: &Samples,
        shape: &mut SampleShape,
        level: i32,
        out: &mut Vec<u8>,
    ) -> Codec {
        let start = out.len();
        let coders = split::encode(raw, samples, &mut self.planes, &mut self.zstd, level, out);
        let split_bytes = out.len() - start;
        if self.repeats(raw, split_bytes) {
            let mut plain = Vec::new();
            if self.zstd.compress(raw, level, &mut plain) && plain.len() < split_bytes {
                out.truncate(start);
                out.append(&mut plain);
                return Codec::Zstd;
            }
        }
        if split_bytes < raw.len() {
            shape.plane_coders = coders;
            return Codec::SplitPredictor;
        }
        out.truncate(start);
        out.extend_from_slice(raw);
        Codec::Stored
    }

    /// True when a piece from the middle shrinks more by what repeats in it, at a glance, than the whole did by
    /// prediction: drawings, text, test patterns. Then the full search is worth its time.
    fn repeats(&mut self, raw: &[u8], split_bytes: usize) -> bool {
        let glance_bytes = raw.len().min(GLANCE_BYTES);
        let start = (raw.len() - glance_bytes) / 2;
        let piece = raw.get(start..start + glance_bytes).unwrap_or_default();
        self.zstd.glance(piece).is_some_and(|bytes| bytes * raw.len() < split_bytes * glance_bytes)
    }
}

/// The raw bytes of an opened piece. `raw_bytes` must have been checked against the format's limit.
pub(crate) fn decode(codec: Codec, packed: Vec<u8>, raw_bytes: usize) -> Result<Vec<u8>, Error> {
    match codec {
        Codec::Stored if packed.len() == raw_bytes => Ok(packed),
        Codec::Stored => Err(malformed("stored piece", "has another length than stated")),
        Codec::Zstd => CONTEXTS.with_borrow_mut(|contexts| {
            let mut raw = Vec::new();
            contexts.zstd.decompress(&packed, raw_bytes, &mut raw).map(|()| raw)
        }),
        Codec::SplitPredictor => Err(malformed("piece", "is predicted, and no samples")),
    }
}

/// The raw bytes of a chunk, which may hold native samples: the second half of opening it. `raw_bytes`, which are
/// allocated, must be within [`crate::CHUNK_BYTES_MAX`].
///
/// # Errors
/// When the packed bytes are damaged, or in a way of writing this version does not know.
pub fn decode_samples(
    codec: Codec,
    packed: Vec<u8>,
    raw_bytes: usize,
    shape: Option<&SampleShape>,
) -> Result<Vec<u8>, Error> {
    if codec != Codec::SplitPredictor {
        return decode(codec, packed, raw_bytes);
    }
    let unfit = malformed("split predictor chunk", "has samples that are not predicted");
    let shape = shape.ok_or(unfit.clone())?;
    let samples = Samples::of(shape).filter(|samples| samples.row_bytes <= raw_bytes).ok_or(unfit)?;
    CONTEXTS.with_borrow_mut(|Contexts { zstd, planes }| {
        split::decode(&packed, &samples, &shape.plane_coders, raw_bytes, planes, zstd)
    })
}
