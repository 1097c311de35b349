//! Median edge prediction of native samples: what a sample is beyond its neighbours, as byte planes.
//!
//! The predictor is that of JPEG-LS (ISO/IEC 14495-1, A.4.1): of left `a`, above `b` and above-left `c`, each of the same
//! component, it takes `a + b - c` held between `a` and `b`. Samples outside the chunk count as zero. All arithmetic wraps
//! at the width of a sample, so any bytes whatever come back as they were.

use super::split::{Samples, Width};

/// Turns whole rows of `raw` into the planes of their residuals, high plane first.
pub(super) fn predict(raw: &[u8], samples: &Samples, planes: &mut [Vec<u8>; 2]) {
    let rows = raw.chunks_exact(samples.row_bytes);
    let row_samples = samples.row_bytes / samples.width.bytes();
    let count = rows.len() * row_samples;
    let (mut row, mut above) = (vec![0; row_samples], vec![0; row_samples]);
    let [high, low] = planes;
    // Every byte of both is written below: what stands there from the chunk before need not be cleared.
    low.resize(count, 0);
    high.resize(if samples.width == Width::Two { count } else { 0 }, 0);
    match samples.width {
        Width::One => {
            for (raw, low) in rows.zip(low.chunks_exact_mut(row_samples)) {
                load_bytes(raw, samples.signed, &mut row);
                residuals(&row, &above, samples.components, |at, residual| {
                    // Wraps at 8 bits: the difference modulo 256 is all that is needed to come back.
                    let residual = residual as i8;
                    low[at] = ((residual << 1) ^ (residual >> 7)) as u8;
                });
                std::mem::swap(&mut row, &mut above);
            }
        }
        Width::Two => {
            let planes = high.chunks_exact_mut(row_samples).zip(low.chunks_exact_mut(row_samples));
            for (raw, (high, low)) in rows.zip(planes) {
                load_words(raw, samples, &mut row);
                residuals(&row, &above, samples.components, |at, residual| {
                    let folded = (residual << 1) ^ (residual >> 15);
                    high[at] = (folded >> 8) as u8;
                    low[at] = folded as u8;
                });
                std::mem::swap(&mut row, &mut above);
            }
        }
    }
}

/// Rows are held as signed words; unsigned 16-bit samples are moved down by half their range, which changes no
/// difference between neighbours.
pub(super) fn bias(signed: bool) -> u16 {
    if signed { 0 } else { 0x8000 }
}

fn load_words(raw: &[u8], samples: &Samples, row: &mut [i16]) {
    let bias = bias(samples.signed);
    let pairs = raw.as_chunks::<2>().0.iter().zip(row);
    if samples.big_endian {
        pairs.for_each(|(bytes, word)| *word = (u16::from_be_bytes(*bytes) ^ bias) as i16);
    } else {
        pairs.for_each(|(bytes, word)| *word = (u16::from_le_bytes(*bytes) ^ bias) as i16);
    }
}

fn load_bytes(raw: &[u8], signed: bool, row: &mut [i16]) {
    if signed {
        raw.iter().zip(row).for_each(|(byte, word)| *word = i16::from(*byte as i8));
    } else {
        raw.iter().zip(row).for_each(|(byte, word)| *word = i16::from(*byte));
    }
}

/// The prediction from left, above and above-left. Never leaves the range between `a` and `b`, so nothing overflows.
fn median(a: i16, b: i16, c: i16) -> i16 {
    let (low, high) = (a.min(b), a.max(b));
    a.wrapping_add(b).wrapping_sub(c.min(high).max(low))
}

#[inline(always)]
fn residuals(row: &[i16], above: &[i16], components: usize, mut put: impl FnMut(usize, i16)) {
    for at in 0..components.min(row.len()) {
        put(at, row[at].wrapping_sub(above[at]));
    }
    // Four slices of one length: the loop has no bounds to check and becomes vectors.
    let count = row.len().saturating_sub(components);
    let (here, left) = (&row[row.len() - count..], &row[..count]);
    let (up, up_left) = (&above[above.len() - count..], &above[..count]);
    for at in 0..count {
        put(at + components, here[at].wrapping_sub(median(left[at], up[at], up_left[at])));
    }
}
