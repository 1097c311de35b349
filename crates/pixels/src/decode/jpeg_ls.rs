//! JPEG-LS (ISO/IEC 14495-1) by CharLS (PS3.5 A.4.3).

use charls::{CharLS, InterleaveMode};

use crate::{Error, Frame, ImagePixel, Photometric, Sample, decode::values, error::malformed};

/// What the headers of a codestream say.
struct Header {
    precision: u8,
    /// Rows, columns, components.
    size: (usize, usize, usize),
    interleave: InterleaveMode,
}

pub(super) fn decode(image: &ImagePixel, bytes: &[u8]) -> Result<Frame, Error> {
    let header = header(bytes).ok_or_else(|| malformed("JPEG-LS: its headers are cut off"))?;
    let stated = (image.rows as usize, image.columns as usize, usize::from(image.samples));
    if header.size != stated {
        let found = header.size;
        return Err(malformed(format!(
            "JPEG-LS: {found:?} rows, columns and components where {stated:?} are stated"
        )));
    }
    let allocated = image.sample.bytes() * 8;
    if !matches!(image.sample, Sample::U8 | Sample::I8 | Sample::U16 | Sample::I16)
        || !(2..=16).contains(&header.precision)
        || usize::from(header.precision) > allocated
    {
        return Err(malformed(format!("JPEG-LS: {} bits a sample in {allocated}", header.precision)));
    }
    let broken = |error| malformed(format!("JPEG-LS: {error}"));
    let mut samples = CharLS::default().decode(bytes).map_err(broken)?;
    let coded_bytes = if header.precision > 8 { 2 } else { 1 };
    if samples.len() != stated.0 * stated.1 * stated.2 * coded_bytes {
        return Err(malformed(format!("JPEG-LS: {} bytes of samples", samples.len())));
    }
    if stated.2 > 1 && header.interleave == InterleaveMode::None {
        samples = values::by_pixel(&samples, stated.2, coded_bytes);
    }
    if coded_bytes < image.sample.bytes() {
        samples = samples.iter().flat_map(|sample| [*sample, 0]).collect();
    }
    values::settle_bits(image.sample, image.bits_stored, image.bits_stored - 1, &mut samples);
    let mut frame = Frame::of(image, samples);
    if frame.photometric == Photometric::YbrFull422 {
        frame.photometric = Photometric::YbrFull;
    }
    Ok(frame)
}

/// Reads up to the first scan (ISO/IEC 14495-1 annex C).
fn header(bytes: &[u8]) -> Option<Header> {
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8])?;
    let mut frame = None;
    loop {
        let (&marker, after) = rest.strip_prefix(&[0xFF])?.split_first()?;
        // Fill bytes.
        if marker == 0xFF {
            rest = &rest[1..];
            continue;
        }
        let (length, after) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).checked_sub(2)?;
        let (body, after) = after.split_at_checked(length)?;
        match (marker, body) {
            (0xF7, &[precision, a, b, c, d, components, ..]) if frame.is_none() => {
                let number = |high, low| usize::from(u16::from_be_bytes([high, low]));
                frame = Some((precision, (number(a, b), number(c, d), usize::from(components))));
            }
            (0xDA, _) => {
                let (precision, size) = frame?;
                let components = usize::from(*body.first()?);
                let interleave = match body.get(2 + components * 2)? {
                    0 => InterleaveMode::None,
                    1 => InterleaveMode::Line,
                    _ => InterleaveMode::Sample,
                };
                return Some(Header { precision, size, interleave });
            }
            _ => {}
        }
        rest = after;
    }
}
