//! What the attributes of an image become when its frames are encoded anew (PS3.5 8.2).

use crate::{Error, Frame, Photometric, Sample, encode::Way};

/// The Image Pixel attributes that describe an encoded frame. What says that an image once lost something (Lossy Image
/// Compression and what goes with it) stays as it is: nothing here loses anything, and nothing lost comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Planar Configuration (0028,0006): 0 where there are several samples, absent else.
    pub planar: Option<u16>,
    /// Bits Allocated (0028,0100).
    pub bits_allocated: u16,
    /// Bits Stored (0028,0101).
    pub bits_stored: u16,
    /// High Bit (0028,0102).
    pub high_bit: u16,
    /// Pixel Representation (0028,0103).
    pub pixel_representation: u16,
}

/// Those of `frame` in a transfer syntax; of samples in floating point, which have but Bits Allocated, the others mean nothing.
///
/// # Errors
/// When nothing here encodes the syntax.
pub fn attributes(transfer_syntax_uid: &str, frame: &Frame) -> Result<Attributes, Error> {
    Way::of(transfer_syntax_uid)?;
    let photometric = match frame.photometric {
        // A decoded frame has its colour at full width.
        Photometric::YbrFull422 => Photometric::YbrFull,
        other => other,
    };
    Ok(Attributes {
        photometric,
        planar: (frame.samples > 1).then_some(0),
        bits_allocated: match frame.sample {
            Sample::Bit => 1,
            other => other.bytes() as u16 * 8,
        },
        bits_stored: frame.bits_stored.into(),
        high_bit: u16::from(frame.bits_stored).saturating_sub(1),
        pixel_representation: frame.sample.is_signed().into(),
    })
}
