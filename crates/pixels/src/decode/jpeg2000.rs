//! JPEG 2000 (ISO/IEC 15444-1) and High-Throughput JPEG 2000 (15444-15) by OpenJPEG (PS3.5 A.4.4, A.4.12).

use jpeg2k::{DecodeParameters, Image, ImageComponent};

use crate::{Error, Frame, ImagePixel, Photometric, Sample, error::malformed};

/// A component as the main header states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Depth {
    precision: u8,
    signed: bool,
}

pub(crate) fn decode(image: &ImagePixel, bytes: &[u8]) -> Result<Frame, Error> {
    let codestream = codestream(bytes)?;
    let depth = check(image, codestream)?;
    let broken = |error| malformed(format!("JPEG 2000: {error}"));
    // Strict: what lacks its end is no image.
    let parameters = DecodeParameters::new().strict(true);
    let decoded = Image::from_bytes_with(codestream, parameters).map_err(broken)?;
    let size = (image.columns, image.rows);
    let components = decoded.components();
    if components.len() != usize::from(image.samples)
        || components.iter().any(|component| (component.width(), component.height()) != size)
    {
        return Err(malformed("JPEG 2000: components are not as their header says"));
    }
    let mut frame = Frame::of(image, by_pixel(image, depth, components));
    // The decoder undoes the codestream's own colour transform.
    match frame.photometric {
        Photometric::YbrIct | Photometric::YbrRct => frame.photometric = Photometric::Rgb,
        Photometric::YbrFull422 => frame.photometric = Photometric::YbrFull,
        _ => {}
    }
    Ok(frame)
}

/// The codestream itself, where somebody put the boxes of a file around it.
fn codestream(bytes: &[u8]) -> Result<&[u8], Error> {
    const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
    let at = match bytes.starts_with(&START) {
        true => Some(0),
        false => bytes.windows(4).position(|window| window == START),
    };
    at.map(|at| &bytes[at..]).ok_or_else(|| malformed("JPEG 2000: it does not begin as one"))
}

/// The size segment (A.5.1) against the attributes: nothing is allocated before.
fn check(image: &ImagePixel, codestream: &[u8]) -> Result<Depth, Error> {
    let cut = || malformed("JPEG 2000: its header is cut off");
    let fields = codestream.get(8..40).ok_or_else(cut)?;
    let mut fields = fields.as_chunks::<4>().0.iter().map(|field| u32::from_be_bytes(*field));
    let mut pair = || Some((fields.next()?, fields.next()?));
    let (Some(end), Some(start), Some(tile), Some(first)) = (pair(), pair(), pair(), pair()) else {
        return Err(cut());
    };
    let (count, components) = codestream[40..].split_first_chunk::<2>().ok_or_else(cut)?;
    let count = u16::from_be_bytes(*count);
    let size = (end.0.checked_sub(start.0), end.1.checked_sub(start.1));
    if size != (Some(image.columns), Some(image.rows)) || count != u16::from(image.samples) {
        let stated = (image.columns, image.rows, image.samples);
        return Err(malformed(format!(
            "JPEG 2000: {size:?} of {count} components where {stated:?} are stated"
        )));
    }
    // Each tile costs memory, however small it is.
    let tiles = |end: u32, first: u32, tile: u32| {
        u64::from(end.saturating_sub(first)).div_ceil(u64::from(tile.max(1)))
    };
    let tiles = tiles(end.0, first.0, tile.0) * tiles(end.1, first.1, tile.1);
    if tile.0 == 0
        || tile.1 == 0
        || tiles > 65_535
        || tiles > u64::from(image.rows) * u64::from(image.columns)
    {
        return Err(malformed(format!("JPEG 2000: {tiles} tiles")));
    }
    let mut depths = components.as_chunks::<3>().0.iter().take(usize::from(count));
    let depth = |&[depth, horizontal, vertical]: &[u8; 3]| {
        let depth = Depth { precision: (depth & 0x7F) + 1, signed: depth & 0x80 != 0 };
        ((horizontal, vertical) == (1, 1)).then_some(depth)
    };
    let of_first = depths.next().ok_or_else(cut)?;
    let of_first =
        depth(of_first).ok_or_else(|| Error::Unsupported("JPEG 2000 with shared colour".to_owned()))?;
    if depths.len() + 1 != usize::from(count) || depths.any(|other| depth(other) != Some(of_first)) {
        return Err(Error::Unsupported("JPEG 2000 of components that differ".to_owned()));
    }
    let allocated = image.sample.bytes() * 8;
    if matches!(image.sample, Sample::Bit | Sample::F32 | Sample::F64)
        || usize::from(of_first.precision) > allocated
    {
        return Err(malformed(format!("JPEG 2000: {} bits a sample in {allocated}", of_first.precision)));
    }
    Ok(of_first)
}

/// Brings decoded values to what the attributes state.
struct Fit {
    /// Bits above the codestream's, which say nothing when it and the attributes differ about the sign.
    unsure: Option<u32>,
    signed: bool,
    least: i32,
    most: i32,
}

impl Fit {
    fn of(image: &ImagePixel, depth: Depth) -> Self {
        let signed = image.sample.is_signed();
        let bits = u32::from(image.bits_stored.min(31));
        let unsure = (depth.signed != signed).then(|| 32 - u32::from(depth.precision.min(32)));
        match signed {
            true => Self { unsure, signed, least: -1 << (bits - 1), most: (1 << (bits - 1)) - 1 },
            false => Self { unsure, signed, least: 0, most: ((1_u32 << bits) - 1) as i32 },
        }
    }

    #[inline]
    fn value(&self, value: i32) -> i32 {
        let value = match self.unsure {
            None => value,
            Some(bits) if self.signed => value << bits >> bits,
            Some(bits) => ((value as u32) << bits >> bits) as i32,
        };
        value.clamp(self.least, self.most)
    }
}

fn by_pixel(image: &ImagePixel, depth: Depth, components: &[ImageComponent]) -> Vec<u8> {
    let fit = Fit::of(image, depth);
    match image.sample.bytes() {
        1 => interleave(components, |value| [fit.value(value) as u8]),
        2 => interleave(components, |value| (fit.value(value) as u16).to_le_bytes()),
        _ => interleave(components, |value| fit.value(value).to_le_bytes()),
    }
}

fn interleave<const N: usize>(components: &[ImageComponent], sample: impl Fn(i32) -> [u8; N]) -> Vec<u8> {
    let step = components.len();
    let mut bytes = vec![0; components.iter().map(|component| component.data().len()).sum::<usize>() * N];
    for (number, component) in components.iter().enumerate() {
        let places = bytes.as_chunks_mut::<N>().0.iter_mut();
        if step == 1 {
            places.zip(component.data()).for_each(|(place, value)| *place = sample(*value));
        } else {
            let places = places.skip(number).step_by(step);
            places.zip(component.data()).for_each(|(place, value)| *place = sample(*value));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::image;

    #[test]
    fn a_sign_that_only_one_side_knows_is_settled_by_the_attributes() {
        let signed = Fit::of(&image(Sample::I16, 13), Depth { precision: 13, signed: false });
        assert_eq!(signed.value(0x1FFF), -1);
        let unsigned = Fit::of(&image(Sample::U16, 13), Depth { precision: 13, signed: true });
        assert_eq!(unsigned.value(-1), 0x1FFF);
        let same = Fit::of(&image(Sample::U16, 12), Depth { precision: 16, signed: false });
        assert_eq!((same.value(4096), same.value(7)), (4095, 7));
    }

    #[test]
    fn a_codestream_of_another_size_is_refused_before_it_is_read() {
        let mut header = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
        for field in [9_u32, 9, 0, 0, 9, 9, 0, 0] {
            header.extend(field.to_be_bytes());
        }
        header.extend([0, 1, 7, 1, 1]);
        let same = ImagePixel { rows: 9, columns: 9, ..image(Sample::U8, 8) };
        assert_eq!(check(&same, &header), Ok(Depth { precision: 8, signed: false }));
        assert!(matches!(check(&image(Sample::U8, 8), &header), Err(Error::Malformed(_))));
        for length in 0..header.len() {
            assert!(check(&same, &header[..length]).is_err(), "{length}");
        }
        // A tile for each pixel and more.
        header[24..28].copy_from_slice(&0_u32.to_be_bytes());
        assert!(check(&same, &header).is_err());
    }
}
