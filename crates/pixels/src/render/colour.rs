//! From the samples of colour images to red, green, blue of 8 bits (PS3.3 C.7.6.3.1.2).

use crate::{Error, Frame, Photometric, Sample};

/// The pixels of a frame of three (or four, of which the last is left) samples.
pub(super) fn to_rgb(frame: &Frame) -> Result<Vec<u8>, Error> {
    let eight;
    let samples: &[u8] = if frame.sample == Sample::U8 && frame.bits_stored == 8 {
        &frame.bytes
    } else {
        eight = to_eight_bits(frame)?;
        &eight
    };
    match frame.photometric {
        Photometric::YbrFull | Photometric::YbrFull422 | Photometric::YbrIct => {
            Ok(convert(frame, samples, full_range))
        }
        Photometric::YbrPartial422 | Photometric::YbrPartial420 => Ok(convert(frame, samples, partial_range)),
        Photometric::YbrRct => Ok(convert(frame, samples, reversible)),
        // An interpretation of one sample on an image of three is a slip on what is meant as red, green, blue.
        Photometric::Rgb | Photometric::Monochrome1 | Photometric::Monochrome2 if frame.samples == 3 => {
            Ok(samples.to_vec())
        }
        Photometric::Rgb => Ok(convert(frame, samples, |rgb| rgb)),
        _ => {
            let term = frame.photometric.as_str();
            Err(Error::Unsupported(format!("photometric {term:?} of {} samples", frame.samples)))
        }
    }
}

fn convert(frame: &Frame, samples: &[u8], to_rgb: impl Fn([u8; 3]) -> [u8; 3]) -> Vec<u8> {
    let mut rgb = vec![0; frame.pixels() * 3];
    let pixels = samples.chunks_exact(usize::from(frame.samples));
    for (rgb, pixel) in rgb.chunks_exact_mut(3).zip(pixels) {
        if let [first, second, third, ..] = *pixel {
            rgb.copy_from_slice(&to_rgb([first, second, third]));
        }
    }
    rgb
}

/// Samples of any width, scaled to 8 bits by the bits they have.
fn to_eight_bits(frame: &Frame) -> Result<Vec<u8>, Error> {
    let full = ((1_u64 << frame.bits_stored.min(32)) - 1).max(1);
    let scale = |sample: u64| ((sample.min(full) * 255 + full / 2) / full) as u8;
    let scaled = match frame.sample {
        Sample::Bit | Sample::U8 => frame.bytes.iter().map(|&sample| scale(sample.into())).collect(),
        Sample::U16 => {
            let words = frame.bytes.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
            words.map(|sample| scale(sample.into())).collect()
        }
        Sample::U32 => {
            let words = frame.bytes.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
            words.map(|sample| scale(u32::from_le_bytes(sample).into())).collect()
        }
        _ => return Err(Error::Unsupported(format!("colour in samples of {:?}", frame.sample))),
    };
    Ok(scaled)
}

/// Fractional bits of the factors below.
const FRACTION: i32 = 16;

fn factor(number: f64) -> i32 {
    (number * f64::from(1 << FRACTION)).round() as i32
}

fn byte(fixed: i32) -> u8 {
    ((fixed + (1 << (FRACTION - 1))) >> FRACTION).clamp(0, 255) as u8
}

/// YBR_FULL, and YBR_ICT with its differences shifted to be positive.
fn full_range([y, blue, red]: [u8; 3]) -> [u8; 3] {
    let (y, blue, red) = (i32::from(y) << FRACTION, i32::from(blue) - 128, i32::from(red) - 128);
    [
        byte(y + factor(1.402) * red),
        byte(y - factor(0.344_136) * blue - factor(0.714_136) * red),
        byte(y + factor(1.772) * blue),
    ]
}

/// YBR_PARTIAL: luminance from 16 to 235, differences from 16 to 240.
fn partial_range([y, blue, red]: [u8; 3]) -> [u8; 3] {
    let y = factor(1.164_384) * (i32::from(y) - 16);
    let (blue, red) = (i32::from(blue) - 128, i32::from(red) - 128);
    [
        byte(y + factor(1.596_027) * red),
        byte(y - factor(0.391_762) * blue - factor(0.812_968) * red),
        byte(y + factor(2.017_232) * blue),
    ]
}

/// YBR_RCT with its differences shifted to be positive.
fn reversible([y, blue, red]: [u8; 3]) -> [u8; 3] {
    let (y, blue, red) = (i32::from(y), i32::from(blue) - 128, i32::from(red) - 128);
    let green = y - (blue + red).div_euclid(4);
    [red + green, green, blue + green].map(|sample| sample.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(photometric: Photometric, sample: Sample, bits_stored: u8, bytes: &[u8]) -> Frame {
        let columns = (bytes.len() / 3 / sample.bytes()) as u32;
        Frame { rows: 1, columns, samples: 3, sample, bits_stored, photometric, bytes: bytes.to_vec() }
    }

    fn rgb(photometric: Photometric, bytes: &[u8]) -> Vec<u8> {
        to_rgb(&frame(photometric, Sample::U8, 8, bytes)).unwrap()
    }

    #[test]
    fn full_range_by_hand() {
        // Grey; red as PS3.3 C.7.6.3.1.2 makes it (76.2 → 76, 84.97 → 85, 255); green; blue.
        assert_eq!(rgb(Photometric::YbrFull, &[90, 128, 128]), [90, 90, 90]);
        assert_eq!(rgb(Photometric::YbrFull, &[76, 85, 255]), [254, 0, 0]);
        assert_eq!(rgb(Photometric::YbrFull422, &[150, 44, 21]), [0, 255, 1]);
        assert_eq!(rgb(Photometric::YbrIct, &[29, 255, 107]), [0, 0, 254]);
    }

    #[test]
    fn partial_range_by_hand() {
        assert_eq!(rgb(Photometric::YbrPartial422, &[16, 128, 128]), [0, 0, 0]);
        assert_eq!(rgb(Photometric::YbrPartial422, &[235, 128, 128]), [255, 255, 255]);
        // Red of television: 81, 90, 240.
        assert_eq!(rgb(Photometric::YbrPartial420, &[81, 90, 240]), [254, 0, 0]);
    }

    #[test]
    fn the_reversible_transform_is_undone() {
        // Red 100, green 120, blue 90: luminance (100 + 240 + 90) / 4 = 107, differences -30 and -20.
        assert_eq!(rgb(Photometric::YbrRct, &[107, 98, 108]), [100, 120, 90]);
    }

    #[test]
    fn wide_samples_are_scaled_by_their_bits() {
        let wide = frame(Photometric::Rgb, Sample::U16, 16, &[0, 0, 0xFF, 0xFF, 0, 0x80]);
        assert_eq!(to_rgb(&wide).unwrap(), [0, 255, 128]);
        let twelve = frame(Photometric::Rgb, Sample::U16, 12, &[0xFF, 0x0F, 0, 0x08, 1, 0]);
        assert_eq!(to_rgb(&twelve).unwrap(), [255, 128, 0]);
        let widest =
            frame(Photometric::Rgb, Sample::U32, 32, &[255, 255, 255, 255, 0, 0, 0, 128, 0, 0, 0, 0]);
        assert_eq!(to_rgb(&widest).unwrap(), [255, 128, 0]);
    }
}
