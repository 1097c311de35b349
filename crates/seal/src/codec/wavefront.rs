//! The way back from residuals to samples, eight rows at once.
//!
//! A sample needs its left neighbour, so a row alone is a chain. Eight rows run in the lanes of a vector, each as many
//! samples behind the one above as there are components: what is above a lane is then the vector before, moved by one
//! lane, and what is above-left is what was above before.

use bytemuck::cast;
use wide::{i16x8, u16x8};

use super::{
    predict::bias,
    split::{Samples, Width},
};

const LANES: usize = 8;

/// Eight rows in skewed form: row `k` begins `k * components` words in, between zeros.
struct Rows {
    words: Vec<u16>,
    /// Words of one row, its skew and padding included; a multiple of eight.
    stride: usize,
    row_samples: usize,
    components: usize,
}

impl Rows {
    fn new(row_samples: usize, components: usize) -> Self {
        let stride = (row_samples + (LANES - 1) * components).next_multiple_of(LANES);
        Self { words: vec![0; stride * LANES], stride, row_samples, components }
    }

    fn row(&mut self, lane: usize) -> &mut [u16] {
        let start = lane * (self.stride + self.components);
        &mut self.words[start..start + self.row_samples]
    }
}

/// Appends the samples whose residuals stand in `planes` (the high one empty for single bytes) as raw bytes.
pub(super) fn restore(high: &[u8], low: &[u8], samples: &Samples, raw: &mut Vec<u8>) {
    let row_samples = samples.row_bytes / samples.width.bytes();
    let mut rows = Rows::new(row_samples, samples.components);
    // Above the first row are zeros, and behind the last sample too.
    let mut above = vec![0; rows.stride];
    let block = row_samples * LANES;
    for start in (0..low.len()).step_by(block) {
        let end = low.len().min(start + block);
        let count = (end - start) / row_samples;
        match samples.width {
            Width::One => load_bytes(&low[start..end], &mut rows),
            Width::Two => load_words(&high[start..end], &low[start..end], &mut rows),
        }
        match samples.components {
            1 => sweep::<1>(&mut rows, &above, samples),
            2 => sweep::<2>(&mut rows, &above, samples),
            3 => sweep::<3>(&mut rows, &above, samples),
            _ => sweep::<4>(&mut rows, &above, samples),
        }
        for lane in 0..count {
            store(rows.row(lane), samples, raw);
        }
        above[..row_samples].copy_from_slice(rows.row(count - 1));
    }
}

fn load_words(high: &[u8], low: &[u8], rows: &mut Rows) {
    let row_samples = rows.row_samples;
    let planes = high.chunks_exact(row_samples).zip(low.chunks_exact(row_samples));
    for (lane, (high, low)) in planes.enumerate() {
        for ((word, high), low) in rows.row(lane).iter_mut().zip(high).zip(low) {
            let folded = u16::from(*high) << 8 | u16::from(*low);
            *word = (folded >> 1) ^ (folded & 1).wrapping_neg();
        }
    }
}

fn load_bytes(low: &[u8], rows: &mut Rows) {
    let row_samples = rows.row_samples;
    for (lane, low) in low.chunks_exact(row_samples).enumerate() {
        for (word, folded) in rows.row(lane).iter_mut().zip(low) {
            *word = u16::from((folded >> 1) ^ (folded & 1).wrapping_neg());
        }
    }
}

fn store(row: &[u16], samples: &Samples, raw: &mut Vec<u8>) {
    let bias = bias(samples.signed);
    match (samples.width, samples.big_endian) {
        (Width::One, _) => raw.extend(row.iter().map(|word| *word as u8)),
        (Width::Two, false) => extend_words(row, raw, |word| (word ^ bias).to_le_bytes()),
        (Width::Two, true) => extend_words(row, raw, |word| (word ^ bias).to_be_bytes()),
    }
}

#[inline(always)]
fn extend_words(row: &[u16], raw: &mut Vec<u8>, bytes: impl Fn(u16) -> [u8; 2]) {
    let start = raw.len();
    raw.resize(start + row.len() * 2, 0);
    for (place, word) in raw[start..].as_chunks_mut::<2>().0.iter_mut().zip(row) {
        *place = bytes(*word);
    }
}

/// Replaces residuals by samples, in place.
fn sweep<const C: usize>(rows: &mut Rows, above: &[u16], samples: &Samples) {
    match (samples.width, samples.signed) {
        (Width::Two, _) => run::<C>(rows, above, |sample| sample),
        (Width::One, false) => run::<C>(rows, above, |sample| sample & i16x8::splat(0xff)),
        (Width::One, true) => run::<C>(rows, above, |sample| (sample << 8) >> 8),
    }
}

/// `wrap` brings a sum back into the range of a sample.
#[inline(always)]
fn run<const C: usize>(rows: &mut Rows, above: &[u16], wrap: impl Fn(i16x8) -> i16x8) {
    let stride = rows.stride;
    // Of the last C steps: what a lane made and what was above it.
    let mut left = [i16x8::ZERO; C];
    let mut up_left = [i16x8::ZERO; C];
    let mut phase = 0;
    for start in (0..stride).step_by(LANES) {
        let mut tile = [u16x8::ZERO; LANES];
        for (lane, vector) in tile.iter_mut().enumerate() {
            *vector = load(&rows.words, lane * stride + start);
        }
        let mut steps = u16x8::transpose(tile);
        for (step, vector) in steps.iter_mut().enumerate() {
            let residual: i16x8 = cast(*vector);
            let a = left[phase];
            let b = below_each(a, above[start + step] as i16);
            let c = up_left[phase];
            let (low, high) = (a.min(b), a.max(b));
            let sample = wrap(residual + a + b - c.min(high).max(low));
            left[phase] = sample;
            up_left[phase] = b;
            phase = if phase + 1 == C { 0 } else { phase + 1 };
            *vector = cast(sample);
        }
        for (lane, vector) in u16x8::transpose(steps).iter().enumerate() {
            let place = lane * stride + start;
            rows.words[place..place + LANES].copy_from_slice(vector.as_array());
        }
    }
}

fn load(words: &[u16], at: usize) -> u16x8 {
    words[at..].first_chunk().map_or(u16x8::ZERO, |lanes| u16x8::new(*lanes))
}

/// What is above each lane: the lane before, and `first` above the first.
fn below_each(lanes: i16x8, first: i16) -> i16x8 {
    let [l0, l1, l2, l3, l4, l5, l6, _] = lanes.to_array();
    i16x8::new([first, l0, l1, l2, l3, l4, l5, l6])
}
