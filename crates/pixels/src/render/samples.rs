//! The samples of a frame as numbers.

use crate::{Error, Frame, Sample, error::malformed};

/// Errs where a frame has fewer bytes than its shape needs, or a shape that is none.
pub(super) fn check(frame: &Frame) -> Result<(), Error> {
    let pixels = u64::from(frame.rows) * u64::from(frame.columns);
    let bytes = pixels * u64::from(frame.samples) * frame.sample.bytes() as u64;
    if pixels == 0 || !matches!(frame.samples, 1 | 3 | 4) {
        return Err(malformed("a frame without pixels"));
    }
    if (frame.bytes.len() as u64) < bytes {
        return Err(malformed(format!("a frame of {} bytes, not {bytes}", frame.bytes.len())));
    }
    Ok(())
}

/// Bits of a sample that mean something.
pub(super) fn bits(frame: &Frame) -> u8 {
    match frame.sample {
        Sample::Bit => 1,
        sample => frame.bits_stored.clamp(1, 8 * sample.bytes() as u8),
    }
}

/// The lowest and the highest value that a sample of so many bits can have.
pub(super) fn range(sample: Sample, bits: u8) -> (f64, f64) {
    let values = (bits.min(32) as f64).exp2();
    if sample.is_signed() { (-values / 2.0, values / 2.0 - 1.0) } else { (0.0, values - 1.0) }
}

/// The number that the lower bits of a word stand for.
pub(super) fn integer(word: u32, sample: Sample, bits: u8) -> i64 {
    let shift = 32 - u32::from(bits.clamp(1, 32));
    let upper = word << shift;
    if sample.is_signed() { i64::from((upper as i32) >> shift) } else { i64::from(upper >> shift) }
}

/// The words of a frame of samples of 8 or 16 bits, one of every `step`, as they index a table.
pub(super) fn words(frame: &Frame, step: usize) -> impl Iterator<Item = u16> + '_ {
    let width = frame.sample.bytes();
    let samples = frame.bytes.chunks_exact(width).take(frame.pixels()).step_by(step.max(1));
    samples.map(|sample| match *sample {
        [byte] => u16::from(byte),
        [low, high, ..] => u16::from_le_bytes([low, high]),
        [] => 0,
    })
}

/// The values of a frame of whatever samples, one of every `step`.
pub(super) fn values(frame: &Frame, step: usize) -> impl Iterator<Item = f64> + '_ {
    let (sample, bits) = (frame.sample, bits(frame));
    let samples = frame.bytes.chunks_exact(sample.bytes()).take(frame.pixels()).step_by(step.max(1));
    samples.map(move |bytes| match (sample, bytes) {
        (Sample::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
        (Sample::F64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        (_, &[a, b, c, d]) => integer(u32::from_le_bytes([a, b, c, d]), sample, bits) as f64,
        (_, &[a, b]) => integer(u16::from_le_bytes([a, b]).into(), sample, bits) as f64,
        (_, &[a]) => integer(a.into(), sample, bits) as f64,
        _ => f64::NAN,
    })
}

/// True for samples that are no whole numbers.
pub(super) fn is_fractional(sample: Sample) -> bool {
    matches!(sample, Sample::F32 | Sample::F64)
}
