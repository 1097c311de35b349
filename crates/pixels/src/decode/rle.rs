//! Run lengths, a segment for each byte of a sample (PS3.5 annex G).

use crate::{
    Error, Frame, ImagePixel, Photometric, Sample,
    decode::{native, values},
    error::malformed,
};

/// Segments that a header has room for.
const SEGMENTS_MAX: usize = 15;

pub(super) fn decode(image: &ImagePixel, bytes: &[u8]) -> Result<Frame, Error> {
    let (samples, sample_bytes) = (usize::from(image.samples), image.sample.bytes());
    let segments = segments(bytes)?;
    if image.sample == Sample::Bit {
        // Eight pixels a byte, as they stand natively.
        let [packed] = segments[..] else { return Err(wrong_number(segments.len(), 1)) };
        let mut native = Vec::new();
        expand(packed, native::stored_bytes(image) as usize, &mut native)?;
        let image = ImagePixel { planar: false, ..image.clone() };
        return native::decode_inner(&image, &native);
    }
    if segments.len() != samples * sample_bytes {
        return Err(wrong_number(segments.len(), samples * sample_bytes));
    }
    let pixels = image.rows as usize * image.columns as usize;
    let pixel_bytes = samples * sample_bytes;
    if pixel_bytes == 1 {
        let mut only = Vec::new();
        expand(segments[0], pixels, &mut only)?;
        return Ok(settled(image, only));
    }
    let mut planes = vec![Vec::new(); pixel_bytes];
    // The most significant byte of each sample comes first; in memory it stands last.
    for (number, segment) in segments.iter().enumerate() {
        let (sample, byte) = (number / sample_bytes, sample_bytes - 1 - number % sample_bytes);
        expand(segment, pixels, &mut planes[sample * sample_bytes + byte])?;
    }
    Ok(settled(image, weave(&planes, pixels)))
}

fn settled(image: &ImagePixel, mut bytes: Vec<u8>) -> Frame {
    values::settle(image, &mut bytes);
    let mut frame = Frame::of(image, bytes);
    // Planes are whole, whatever is said of them.
    if frame.photometric == Photometric::YbrFull422 {
        frame.photometric = Photometric::YbrFull;
    }
    frame
}

/// One byte of each plane in turn.
fn weave(planes: &[Vec<u8>], pixels: usize) -> Vec<u8> {
    let mut woven = vec![0; pixels * planes.len()];
    match planes {
        [low, high] => {
            for ((pair, low), high) in woven.as_chunks_mut::<2>().0.iter_mut().zip(low).zip(high) {
                *pair = [*low, *high];
            }
        }
        [red, green, blue] => {
            let pixels = woven.as_chunks_mut::<3>().0.iter_mut();
            for (((pixel, red), green), blue) in pixels.zip(red).zip(green).zip(blue) {
                *pixel = [*red, *green, *blue];
            }
        }
        more => {
            for (number, plane) in more.iter().enumerate() {
                for (pixel, byte) in woven.chunks_exact_mut(more.len()).zip(plane) {
                    pixel[number] = *byte;
                }
            }
        }
    }
    woven
}

fn wrong_number(found: usize, wanted: usize) -> Error {
    malformed(format!("a frame of run lengths has {found} segments, not {wanted}"))
}

/// What the header names: a count and where each segment begins (PS3.5 G.5).
fn segments(bytes: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let (header, _) =
        bytes.split_at_checked(64).ok_or_else(|| malformed("run lengths without their header"))?;
    let mut words = header.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word) as usize);
    let count = words.next().unwrap_or_default();
    if count == 0 || count > SEGMENTS_MAX {
        return Err(malformed(format!("{count} segments of run lengths")));
    }
    let starts: Vec<usize> = words.take(count).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let of = |(start, end): (usize, usize)| {
        let segment = (start >= 64).then(|| bytes.get(start..end)).flatten();
        segment.ok_or_else(|| malformed("a segment of run lengths is outside its frame"))
    };
    starts.iter().copied().zip(ends).map(of).collect()
}

/// Expands one segment to exactly `wanted` bytes (PS3.5 G.3.2); padding behind them is passed over.
fn expand(segment: &[u8], wanted: usize, plane: &mut Vec<u8>) -> Result<(), Error> {
    plane.reserve_exact(wanted);
    let mut rest = segment;
    while plane.len() < wanted {
        let room = wanted - plane.len();
        let short =
            || malformed(format!("a segment of run lengths ends after {} of {wanted} bytes", wanted - room));
        let (&code, after) = rest.split_first().ok_or_else(short)?;
        match code {
            // So many and one more as they are.
            0..=127 => {
                let (literal, after) = after.split_at_checked(usize::from(code) + 1).ok_or_else(short)?;
                plane.extend_from_slice(&literal[..literal.len().min(room)]);
                rest = after;
            }
            128 => rest = after,
            // The next, so many times.
            _ => {
                let (&value, after) = after.split_first().ok_or_else(short)?;
                plane.resize(plane.len() + (257 - usize::from(code)).min(room), value);
                rest = after;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::image;

    /// A frame of the given segments.
    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[0] = segments.len() as u8;
        for (number, segment) in segments.iter().enumerate() {
            let start = (bytes.len() as u32).to_le_bytes();
            bytes[4 + number * 4..8 + number * 4].copy_from_slice(&start);
            bytes.extend_from_slice(segment);
        }
        bytes
    }

    #[test]
    fn runs_and_literals_expand() {
        let image = ImagePixel { rows: 1, columns: 5, ..image(Sample::U8, 8) };
        let decoded = decode(&image, &frame(&[&[1, 7, 8, 128, 254, 9, 0]])).expect("a frame");
        assert_eq!(decoded.bytes, [7, 8, 9, 9, 9]);
    }

    #[test]
    fn the_high_byte_comes_first() {
        let image = ImagePixel { rows: 1, columns: 2, ..image(Sample::U16, 16) };
        let decoded = decode(&image, &frame(&[&[1, 1, 2], &[1, 3, 4]])).expect("a frame");
        assert_eq!(decoded.bytes, [3, 1, 4, 2]);
    }

    #[test]
    fn what_is_short_or_elsewhere_is_refused() {
        let image = ImagePixel { rows: 1, columns: 5, ..image(Sample::U8, 8) };
        for broken in [
            &[][..],
            &[0; 64],
            &frame(&[&[3, 1]]),
            &frame(&[&[254, 1]]),
            &frame(&[&[254]]),
            &frame(&[&[1; 9], &[]]),
        ] {
            assert!(decode(&image, broken).is_err(), "{broken:?}");
        }
        let mut elsewhere = frame(&[&[252, 1]]);
        elsewhere[4] = 63;
        assert!(decode(&image, &elsewhere).is_err());
    }
}
