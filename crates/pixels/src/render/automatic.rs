//! A window for images that come without one.

use super::{
    modality::Modality,
    padding::Padding,
    samples::{bits, integer, values, words},
    window::Window,
};
use crate::Frame;

/// Samples looked at, evenly spread over the frame.
const SAMPLES_MAX: usize = 1 << 18;

/// Share of the samples at each end that may be outliers (dead pixels, burned-in marks).
const OUTLIERS: f64 = 0.001;

/// From the darkest to the brightest value of a frame, without outliers and padding.
pub(super) fn window(frame: &Frame, modality: &Modality, padding: Option<&Padding>) -> Window {
    let step = frame.pixels().div_ceil(SAMPLES_MAX);
    let (low, high) = match frame.sample.bytes() {
        1 | 2 => counted(frame, step, padding),
        _ => sorted(frame, step, padding),
    };
    let (low, high) = modality.range(low, high);
    match modality {
        Modality::Linear { .. } => Window::between(low, high),
        Modality::Table(lut) => {
            let outputs = lut.entries.iter().map(|entry| f64::from(*entry));
            let (low, high) =
                outputs.fold((high, low), |(low, high), output| (low.min(output), high.max(output)));
            Window::between(low, high)
        }
    }
}

/// By a count of each word.
fn counted(frame: &Frame, step: usize, padding: Option<&Padding>) -> (f64, f64) {
    let (sample, bits) = (frame.sample, bits(frame));
    let mut counts = vec![0_u32; 1 << 16];
    let mask = (1_u32 << bits.min(16)) - 1;
    for word in words(frame, step) {
        if let Some(count) = counts.get_mut((u32::from(word) & mask) as usize) {
            *count += 1;
        }
    }
    let number = |(word, count): (usize, &u32)| (integer(word as u32, sample, bits) as f64, *count);
    let seen = counts.iter().enumerate().filter(|(_, count)| **count > 0).map(number);
    let mut seen: Vec<_> =
        seen.filter(|(value, _)| !padding.is_some_and(|padding| padding.contains(*value))).collect();
    seen.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let total: u64 = seen.iter().map(|(_, count)| u64::from(*count)).sum();
    let outliers = (total as f64 * OUTLIERS) as u64;
    let low = past(seen.iter(), outliers);
    let high = past(seen.iter().rev(), outliers);
    let (Some((first, _)), Some((last, _))) = (seen.first(), seen.last()) else {
        return (0.0, 0.0);
    };
    if low < high { (low, high) } else { (*first, *last) }
}

/// The value at which more than so many samples have been passed.
fn past<'a>(seen: impl Iterator<Item = &'a (f64, u32)>, outliers: u64) -> f64 {
    let mut passed = 0;
    for (value, count) in seen {
        passed += u64::from(*count);
        if passed > outliers {
            return *value;
        }
    }
    0.0
}

/// By sorting the values.
fn sorted(frame: &Frame, step: usize, padding: Option<&Padding>) -> (f64, f64) {
    let is_seen = |value: &f64| value.is_finite() && !padding.is_some_and(|padding| padding.contains(*value));
    let mut seen: Vec<f64> = values(frame, step).filter(is_seen).collect();
    seen.sort_unstable_by(f64::total_cmp);
    let outliers = (seen.len() as f64 * OUTLIERS) as usize;
    let (Some(&first), Some(&last)) = (seen.first(), seen.last()) else {
        return (0.0, 0.0);
    };
    let low = seen.get(outliers).copied().unwrap_or(first);
    let high = seen.get(seen.len() - 1 - outliers).copied().unwrap_or(last);
    if low < high { (low, high) } else { (first, last) }
}
