//! JPEG (ISO/IEC 10918-1): sequential DCT of 8 and 12 bits, and lossless (PS3.5 A.4.1, A.4.2).
//!
//! Ours, because what hospitals hold goes beyond what the web needs: 12 bits, lossless of any predictor, colours that must not be
//! converted. Safe throughout; a codestream that lacks its end is an error and never half a picture.
//!
//! | module | what |
//! | --- | --- |
//! | `segments` | markers, and the entropy-coded bytes between them |
//! | `huffman`, `bits` | codes to symbols, bits to codes |
//! | `scans` | what the headers say, put together |
//! | `sequential`, `dct` | blocks of coefficients to samples |
//! | `lossless` | differences to samples |
//! | `widen` | shared colour brought to full width |

mod bits;
mod dct;
mod huffman;
mod lossless;
mod scans;
mod segments;
mod sequential;
mod widen;

use crate::{Error, Frame, ImagePixel, Photometric, Sample, decode::values, error::malformed};
use scans::{Header, Process, Samples};

pub(super) fn decode(image: &ImagePixel, bytes: &[u8]) -> Result<Frame, Error> {
    if !matches!(image.sample, Sample::U8 | Sample::I8 | Sample::U16 | Sample::I16) {
        return Err(Error::Unsupported(format!("JPEG of {} bytes a sample", image.sample.bytes())));
    }
    let (header, samples) = scans::decode(image, bytes)?;
    let mut frame = Frame::of(image, into_bytes(image, &header, samples));
    frame.photometric = photometric(image, &header);
    Ok(frame)
}

/// Samples in the width that the attributes state.
fn into_bytes(image: &ImagePixel, header: &Header, samples: Samples) -> Vec<u8> {
    let narrow = image.sample.bytes() == 1;
    let mut bytes: Vec<u8> = match narrow {
        true => samples.iter().map(|sample| *sample as u8).collect(),
        false => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
    };
    if header.process == Process::Lossless {
        values::settle_bits(image.sample, image.bits_stored, image.bits_stored - 1, &mut bytes);
    } else if image.sample.is_signed() {
        values::settle_bits(
            image.sample,
            header.precision.min(image.bits_stored),
            header.precision.min(image.bits_stored) - 1,
            &mut bytes,
        );
    }
    bytes
}

/// What the samples mean: what the codestream says where it does, as its writer knew best; else what the attributes state.
fn photometric(image: &ImagePixel, header: &Header) -> Photometric {
    let stated = match image.photometric {
        // At full width now.
        Photometric::YbrFull422 | Photometric::YbrPartial422 | Photometric::YbrPartial420 => {
            Photometric::YbrFull
        }
        other => other,
    };
    let colours = matches!(stated, Photometric::Rgb | Photometric::YbrFull);
    if image.samples != 3 || !colours || header.process == Process::Lossless {
        return stated;
    }
    match header.adobe_transform {
        Some(0) => Photometric::Rgb,
        Some(_) => Photometric::YbrFull,
        None if header.ids_are(b"RGB") => Photometric::Rgb,
        None if header.jfif => Photometric::YbrFull,
        None => stated,
    }
}

/// Shorthand for what is wrong with a codestream.
fn broken(what: &str) -> Error {
    malformed(format!("JPEG: {what}"))
}
