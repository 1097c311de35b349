//! Samples as they are (PS3.5 8.1).

use std::borrow::Cow;

use crate::{
    Error, Frame, ImagePixel, Photometric, Sample,
    decode::{FrameData, values},
    error::malformed,
};

/// Bytes that a native frame of `image` takes at its place; of one bit a pixel, without what stands before its first bit.
pub(super) fn stored_bytes(image: &ImagePixel) -> u64 {
    match image.sample {
        Sample::Bit => image.frame_bytes().div_ceil(8),
        _ if is_halved(image) => image.frame_bytes() / 3 * 2,
        _ => image.frame_bytes(),
    }
}

/// Two pixels share their colour differences: Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2).
fn is_halved(image: &ImagePixel) -> bool {
    let shared = matches!(image.photometric, Photometric::YbrFull422 | Photometric::YbrPartial422);
    shared && image.samples == 3 && image.columns.is_multiple_of(2) && image.sample != Sample::Bit
}

pub(super) fn decode(image: &ImagePixel, data: FrameData<'_>, big_endian: bool) -> Result<Frame, Error> {
    let FrameData { mut bytes, first_bit, words } = data;
    if big_endian && words && matches!(image.sample, Sample::Bit | Sample::U8 | Sample::I8) {
        values::swap(bytes.to_mut(), 2);
    }
    match image.sample {
        Sample::Bit => bits(image, &bytes, first_bit),
        _ => samples(image, bytes, big_endian),
    }
}

/// One bit a pixel, the first in the lowest bit.
fn bits(image: &ImagePixel, bytes: &[u8], first_bit: u8) -> Result<Frame, Error> {
    let (pixels, first) = (image.frame_bytes() as usize, usize::from(first_bit));
    if first > 7 || bytes.len() * 8 < pixels + first {
        return Err(short(image, bytes.len()));
    }
    let mut samples = Vec::with_capacity(pixels);
    let (before, rest) = if first == 0 { (&bytes[..0], bytes) } else { bytes.split_at(1) };
    samples.extend(before.iter().flat_map(|byte| bits_of(*byte)).skip(first).take(pixels));
    for byte in rest {
        let left = pixels - samples.len();
        if left == 0 {
            break;
        }
        samples.extend_from_slice(&bits_of(*byte)[..left.min(8)]);
    }
    Ok(Frame::of(image, planes(image, samples)))
}

fn bits_of(byte: u8) -> [u8; 8] {
    std::array::from_fn(|bit| byte >> bit & 1)
}

fn samples(image: &ImagePixel, bytes: Cow<'_, [u8]>, big_endian: bool) -> Result<Frame, Error> {
    let (full, stored) = (image.frame_bytes() as usize, stored_bytes(image) as usize);
    let mut frame = if bytes.len() >= full {
        // Some state that colour is shared and store all of it; their frames are half as long again.
        Frame::of(image, planes(image, first(bytes, full)))
    } else {
        let halved = bytes.get(..stored).ok_or_else(|| short(image, bytes.len()))?;
        Frame::of(image, to_full_width(halved, image.sample.bytes()))
    };
    if frame.photometric == Photometric::YbrFull422 {
        frame.photometric = Photometric::YbrFull;
    }
    if big_endian {
        values::swap(&mut frame.bytes, image.sample.bytes());
    }
    values::settle(image, &mut frame.bytes);
    Ok(frame)
}

/// The first bytes, copied unless they are one's own.
fn first(bytes: Cow<'_, [u8]>, count: usize) -> Vec<u8> {
    match bytes {
        Cow::Borrowed(bytes) => bytes.get(..count).unwrap_or_default().to_vec(),
        Cow::Owned(mut bytes) => {
            bytes.truncate(count);
            bytes
        }
    }
}

fn short(image: &ImagePixel, bytes: usize) -> Error {
    malformed(format!("a frame has {bytes} of {} bytes", stored_bytes(image)))
}

fn planes(image: &ImagePixel, bytes: Vec<u8>) -> Vec<u8> {
    // Where colour is shared, planes are not allowed (PS3.3 C.7.6.3.1.3).
    if image.planar && !is_halved(image) {
        return values::by_pixel(&bytes, usize::from(image.samples), image.sample.bytes());
    }
    bytes
}

/// Gives each pixel the colour differences of its pair.
fn to_full_width(halved: &[u8], sample_bytes: usize) -> Vec<u8> {
    let mut full = Vec::with_capacity(halved.len() / 2 * 3);
    if sample_bytes == 1 {
        for &[first, second, blue, red] in halved.as_chunks::<4>().0 {
            full.extend_from_slice(&[first, blue, red, second, blue, red]);
        }
        return full;
    }
    for pair in halved.chunks_exact(4 * sample_bytes) {
        let (luminance, colour) = pair.split_at(2 * sample_bytes);
        for luminance in luminance.chunks_exact(sample_bytes) {
            full.extend_from_slice(luminance);
            full.extend_from_slice(colour);
        }
    }
    full
}

/// Of frames that a lossless container holds: the same samples, always little endian.
pub(super) fn decode_inner(image: &ImagePixel, bytes: &[u8]) -> Result<Frame, Error> {
    decode(image, FrameData::of(bytes), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::image;

    #[test]
    fn bits_follow_each_other_over_frames() {
        let image = ImagePixel { rows: 1, columns: 5, ..image(Sample::Bit, 1) };
        let data = FrameData { first_bit: 4, ..FrameData::of(&[0b1011_0000, 0b1]) };
        assert_eq!(decode(&image, data, false).expect("a frame").bytes, [1, 1, 0, 1, 1]);
        assert!(decode(&image, FrameData { first_bit: 4, ..FrameData::of(&[0xFF]) }, false).is_err());
    }

    #[test]
    fn pairs_of_pixels_share_their_colour() {
        let mut image = ImagePixel { rows: 1, columns: 2, samples: 3, ..image(Sample::U8, 8) };
        image.photometric = Photometric::YbrFull422;
        let frame = decode(&image, FrameData::of(&[1, 2, 8, 9]), false).expect("a frame");
        assert_eq!(
            (frame.bytes.as_slice(), frame.photometric),
            (&[1, 8, 9, 2, 8, 9][..], Photometric::YbrFull)
        );
        let full = decode(&image, FrameData::of(&[1, 8, 9, 2, 6, 7]), false).expect("a frame");
        assert_eq!(full.bytes, [1, 8, 9, 2, 6, 7]);
        assert!(decode(&image, FrameData::of(&[1, 2, 3]), false).is_err());
    }

    #[test]
    fn words_of_big_endian_bytes_are_turned_around() {
        let image = ImagePixel { rows: 1, columns: 4, ..image(Sample::U8, 8) };
        let data = FrameData { words: true, ..FrameData::of(&[2, 1, 4, 3]) };
        assert_eq!(decode(&image, data.clone(), true).expect("a frame").bytes, [1, 2, 3, 4]);
        assert_eq!(decode(&image, data, false).expect("a frame").bytes, [2, 1, 4, 3]);
    }

    #[test]
    fn big_endian_samples_become_little_endian() {
        let image = ImagePixel { rows: 1, columns: 2, ..image(Sample::I16, 12) };
        let frame = decode(&image, FrameData::of(&[0x0F, 0xFE, 0x00, 0x03]), true).expect("a frame");
        assert_eq!(frame.bytes, [0xFE, 0xFF, 3, 0]);
    }
}
