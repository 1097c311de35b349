//! The split predictor: native samples as planes of residuals, each plane by the coder that suits it.
//!
//! The low bytes of residuals are mostly noise: searching them for matches costs more than anything else and finds
//! nothing, so they are only Huffman coded. The high bytes are mostly zeros: there matches pay. Both are ordinary zstd
//! frames; which way a plane was coded is of no concern to its reader.

use super::{predict, wavefront, zstd::Zstd};
use crate::{
    error::{Error, malformed},
    record::SampleShape,
};

/// Components of a pixel at most: grey, grey with alpha, RGB or YBR, with alpha.
const COMPONENTS_MAX: u8 = 4;

/// A plane in which so many of 100 bytes are zero has runs worth a search.
const RUNS_PERCENT: usize = 85;

/// A plane that shrinks by so much through its entropy alone has few different bytes, and so runs of another byte than
/// zero: worth a search too.
const FEW_SYMBOLS_RATIO: usize = 6;

/// Bytes in front of a plane that another follows: its length.
const PLANE_LENGTH_BYTES: usize = 4;

/// How a plane is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum PlaneCoder {
    /// As it is.
    Stored = 0,
    /// One zstd frame.
    Zstd = 1,
    /// Not at all: every byte is zero.
    Zeros = 2,
}

/// Bytes of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    One,
    Two,
}

impl Width {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// Samples the predictor understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Samples {
    pub(super) width: Width,
    pub(super) signed: bool,
    pub(super) big_endian: bool,
    /// Samples between a sample and its left neighbour's.
    pub(super) components: usize,
    /// Not zero, and whole samples.
    pub(super) row_bytes: usize,
}

impl Samples {
    /// `None` for samples that are left to other codecs.
    pub(super) fn of(shape: &SampleShape) -> Option<Self> {
        let width = match shape.sample_bytes {
            1 => Width::One,
            2 => Width::Two,
            _ => return None,
        };
        let row_bytes = usize::try_from(shape.row_bytes).ok()?;
        let fits = row_bytes > 0
            && row_bytes.is_multiple_of(width.bytes())
            && (1..=COMPONENTS_MAX).contains(&shape.components);
        fits.then_some(Self {
            width,
            signed: shape.signed,
            big_endian: shape.big_endian,
            components: shape.components.into(),
            row_bytes,
        })
    }
}

/// Planes kept from chunk to chunk, so that they are allocated once a thread.
#[derive(Default)]
pub(super) struct Planes([Vec<u8>; 2]);

/// Appends the coded planes of `raw`, and the bytes behind its last whole row as they are. The coders are returned.
pub(super) fn encode(
    raw: &[u8],
    samples: &Samples,
    planes: &mut Planes,
    zstd: &mut Zstd,
    level: i32,
    out: &mut Vec<u8>,
) -> Vec<u8> {
    predict::predict(raw, samples, &mut planes.0);
    let [high, low] = &planes.0;
    let mut coders = Vec::with_capacity(2);
    if samples.width == Width::Two {
        let start = out.len();
        out.extend_from_slice(&[0; PLANE_LENGTH_BYTES]);
        coders.push(encode_plane(high, zstd, level, out) as u8);
        let bytes = (out.len() - start - PLANE_LENGTH_BYTES) as u32;
        out[start..start + PLANE_LENGTH_BYTES].copy_from_slice(&bytes.to_le_bytes());
    }
    coders.push(encode_plane(low, zstd, level, out) as u8);
    out.extend_from_slice(&raw[raw.len() - raw.len() % samples.row_bytes..]);
    coders
}

fn encode_plane(plane: &[u8], zstd: &mut Zstd, level: i32, out: &mut Vec<u8>) -> PlaneCoder {
    let zeros = count_zeros(plane);
    if zeros == plane.len() {
        return PlaneCoder::Zeros;
    }
    let has_runs = zeros * 100 >= plane.len() * RUNS_PERCENT;
    let start = out.len();
    let shrank = if has_runs { zstd.compress(plane, level, out) } else { zstd.compress_entropy(plane, out) };
    if !shrank {
        out.extend_from_slice(plane);
        return PlaneCoder::Stored;
    }
    let bytes = out.len() - start;
    if !has_runs && bytes * FEW_SYMBOLS_RATIO < plane.len() && zstd.compress(plane, level, out) {
        keep_shorter(out, start, start + bytes);
    }
    PlaneCoder::Zstd
}

/// Of two ways to write the same, one behind the other, leaves the shorter.
fn keep_shorter(out: &mut Vec<u8>, start: usize, second: usize) {
    if out.len() - second < second - start {
        out.drain(start..second);
    } else {
        out.truncate(second);
    }
}

fn count_zeros(plane: &[u8]) -> usize {
    // In pieces whose count fits a byte: sixteen and more of them are then counted at once.
    let count = |piece: &[u8]| piece.iter().map(|byte| u8::from(*byte == 0)).sum::<u8>();
    plane.chunks(usize::from(u8::MAX)).map(|piece| usize::from(count(piece))).sum()
}

/// The way back. `raw_bytes` must have been checked against the format's limit.
pub(super) fn decode(
    packed: &[u8],
    samples: &Samples,
    coders: &[u8],
    raw_bytes: usize,
    planes: &mut Planes,
    zstd: &mut Zstd,
) -> Result<Vec<u8>, Error> {
    const WHAT: &str = "split predictor chunk";
    let tail_bytes = raw_bytes % samples.row_bytes;
    let plane_bytes = (raw_bytes - tail_bytes) / samples.width.bytes();
    let cut = malformed(WHAT, "ends early");
    let (packed, tail) = packed.split_at(packed.len().checked_sub(tail_bytes).ok_or(cut.clone())?);
    let [high, low] = &mut planes.0;
    let (low_coder, packed_low) = match (samples.width, coders) {
        (Width::One, [coder]) => {
            high.clear();
            (*coder, packed)
        }
        (Width::Two, [high_coder, coder]) => {
            let (length, rest) = packed.split_first_chunk::<PLANE_LENGTH_BYTES>().ok_or(cut.clone())?;
            let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut.clone())?;
            let (packed_high, packed_low) = rest.split_at_checked(length).ok_or(cut)?;
            decode_plane(packed_high, *high_coder, plane_bytes, zstd, high)?;
            (*coder, packed_low)
        }
        _ => return Err(malformed(WHAT, "has another number of planes than its samples")),
    };
    decode_plane(packed_low, low_coder, plane_bytes, zstd, low)?;
    let mut raw = Vec::with_capacity(raw_bytes);
    wavefront::restore(high, low, samples, &mut raw);
    raw.extend_from_slice(tail);
    Ok(raw)
}

fn decode_plane(
    packed: &[u8],
    coder: u8,
    plane_bytes: usize,
    zstd: &mut Zstd,
    plane: &mut Vec<u8>,
) -> Result<(), Error> {
    plane.clear();
    match coder {
        0 => plane.extend_from_slice(packed),
        1 => zstd.decompress(packed, plane_bytes, plane)?,
        2 if packed.is_empty() => plane.resize(plane_bytes, 0),
        2 => return Err(malformed("plane of zeros", "is followed by bytes")),
        _ => return Err(Error::Newer { what: "plane coder", number: coder.into() }),
    }
    if plane.len() == plane_bytes {
        Ok(())
    } else {
        Err(malformed("plane", "has another length than stated"))
    }
}
