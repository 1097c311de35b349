//! The bits of a sample that mean something (PS3.5 8.1.1), and nothing above them.

use crate::{ImagePixel, Sample};

/// Brings little-endian samples of `image` to the bottom of their bytes, with the sign or zero above.
///
/// What stood in the bits around them (overlays of old, PS3.5 8.1.2) is gone.
pub(super) fn settle(image: &ImagePixel, bytes: &mut [u8]) {
    settle_bits(image.sample, image.bits_stored, image.high_bit, bytes);
}

/// The same of samples whose highest bit is not as the attributes say: a codec's that knows the depth of its own.
pub(super) fn settle_bits(sample: Sample, bits: u8, high_bit: u8, bytes: &mut [u8]) {
    let allocated = match sample {
        Sample::U8 | Sample::I8 => 8,
        Sample::U16 | Sample::I16 => 16,
        Sample::U32 | Sample::I32 => 32,
        Sample::Bit | Sample::F32 | Sample::F64 => return,
    };
    // Nothing is above and nothing below.
    if bits == 0 || bits >= allocated || high_bit >= allocated || high_bit + 1 < bits {
        return;
    }
    // To the top, where what was above falls off; and down again, with the sign or zeroes.
    let (up, down) = (u32::from(allocated - 1 - high_bit), u32::from(allocated - bits));
    match sample {
        Sample::U8 => bytes.iter_mut().for_each(|byte| *byte = (*byte << up) >> down),
        Sample::I8 => {
            bytes.iter_mut().for_each(|byte| *byte = ((*byte << up).cast_signed() >> down).cast_unsigned())
        }
        Sample::U16 => each::<2>(bytes, |raw| ((u16::from_le_bytes(raw) << up) >> down).to_le_bytes()),
        Sample::I16 => each::<2>(bytes, |raw| ((i16::from_le_bytes(raw) << up) >> down).to_le_bytes()),
        Sample::U32 => each::<4>(bytes, |raw| ((u32::from_le_bytes(raw) << up) >> down).to_le_bytes()),
        Sample::I32 => each::<4>(bytes, |raw| ((i32::from_le_bytes(raw) << up) >> down).to_le_bytes()),
        Sample::Bit | Sample::F32 | Sample::F64 => {}
    }
}

/// Replaces each `N` bytes.
fn each<const N: usize>(bytes: &mut [u8], change: impl Fn([u8; N]) -> [u8; N]) {
    for sample in bytes.as_chunks_mut::<N>().0 {
        *sample = change(*sample);
    }
}

/// Turns each sample's bytes around.
pub(super) fn swap(bytes: &mut [u8], sample_bytes: usize) {
    match sample_bytes {
        2 => each::<2>(bytes, |[a, b]| [b, a]),
        4 => each::<4>(bytes, |[a, b, c, d]| [d, c, b, a]),
        8 => each::<8>(bytes, |[a, b, c, d, e, f, g, h]| [h, g, f, e, d, c, b, a]),
        _ => {}
    }
}

/// Planes one after another become pixels: R R … G G … B B … to R G B R G B ….
pub(super) fn by_pixel(planes: &[u8], samples: usize, sample_bytes: usize) -> Vec<u8> {
    let plane = planes.len() / samples;
    let mut pixels = vec![0; plane * samples];
    for (number, plane) in planes.chunks_exact(plane.max(1)).take(samples).enumerate() {
        match sample_bytes {
            1 => {
                for (pixel, sample) in pixels.chunks_exact_mut(samples).zip(plane) {
                    pixel[number] = *sample;
                }
            }
            _ => {
                let at = number * sample_bytes;
                let pixels = pixels.chunks_exact_mut(samples * sample_bytes);
                for (pixel, sample) in pixels.zip(plane.chunks_exact(sample_bytes)) {
                    pixel[at..at + sample_bytes].copy_from_slice(sample);
                }
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(sample: Sample, bits: u8, high_bit: u8, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        settle_bits(sample, bits, high_bit, &mut bytes);
        bytes
    }

    #[test]
    fn what_is_above_the_stored_bits_becomes_the_sign_or_zero() {
        // An overlay in the four highest bits.
        assert_eq!(settled(Sample::U16, 12, 11, &[0x34, 0xF2]), [0x34, 0x02]);
        assert_eq!(settled(Sample::I16, 12, 11, &[0xFF, 0x0F, 0xFF, 0xF7]), [0xFF, 0xFF, 0xFF, 0x07]);
        // Twelve bits at the top.
        assert_eq!(settled(Sample::U16, 12, 15, &[0x4F, 0x23]), [0x34, 0x02]);
        assert_eq!(settled(Sample::I16, 12, 15, &[0x4F, 0xF3]), [0x34, 0xFF]);
        assert_eq!(settled(Sample::I8, 7, 6, &[0x40, 0xBF]), [0xC0, 0x3F]);
        assert_eq!(settled(Sample::U32, 24, 23, &[1, 2, 3, 4]), [1, 2, 3, 0]);
        assert_eq!(settled(Sample::U16, 16, 15, &[1, 2]), [1, 2]);
    }

    #[test]
    fn planes_become_pixels() {
        assert_eq!(by_pixel(&[1, 2, 3, 4, 5, 6], 3, 1), [1, 3, 5, 2, 4, 6]);
        assert_eq!(by_pixel(&[1, 2, 3, 4, 5, 6], 3, 2), [1, 2, 3, 4, 5, 6]);
    }
}
