//! From samples to the bytes of a frame in another transfer syntax, losing nothing; and what the attributes become.

mod attributes;
mod htj2k;
mod jpeg_ls;
mod native;
mod rle;

use dicom_dictionary_std::uids;

use crate::{Error, Frame, Sample, error::malformed};
pub use attributes::{Attributes, attributes};
pub use native::NativeFrames;

/// High-Throughput JPEG 2000, lossless (PS3.5 A.4.12).
pub const HTJ2K_LOSSLESS: &str = "1.2.840.10008.1.2.4.201";

/// The ways to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Little endian, as it is; native or encapsulated.
    Native,
    /// The same, deflated.
    DeflatedFrame,
    /// Run lengths.
    Rle,
    /// JPEG-LS without loss.
    JpegLs,
    /// High-Throughput JPEG 2000 without loss.
    Htj2k,
}

impl Way {
    pub(crate) fn of(transfer_syntax_uid: &str) -> Result<Self, Error> {
        Ok(match transfer_syntax_uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN
            | uids::EXPLICIT_VR_LITTLE_ENDIAN
            | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => Self::Native,
            uids::DEFLATED_IMAGE_FRAME_COMPRESSION => Self::DeflatedFrame,
            uids::RLE_LOSSLESS => Self::Rle,
            uids::JPEGLS_LOSSLESS => Self::JpegLs,
            HTJ2K_LOSSLESS => Self::Htj2k,
            other => return Err(Error::Unsupported(format!("encoding of {other}"))),
        })
    }
}

/// Encodes one frame; what is encapsulated has an even number of bytes.
///
/// Frames of a native syntax that are not whole bytes long are joined by [`NativeFrames`] instead.
///
/// # Errors
/// When nothing here encodes the syntax without loss, or not such samples.
pub fn encode(transfer_syntax_uid: &str, frame: &Frame) -> Result<Vec<u8>, Error> {
    let way = Way::of(transfer_syntax_uid)?;
    let samples = frame.pixels() as u64 * u64::from(frame.samples);
    if samples * frame.sample.bytes() as u64 != frame.bytes.len() as u64 || frame.bytes.is_empty() {
        return Err(malformed(format!("{samples} samples are in {} bytes", frame.bytes.len())));
    }
    let mut bytes = match way {
        Way::Native => return Ok(native::encode(frame)),
        Way::DeflatedFrame => native::deflate(frame)?,
        Way::Rle => rle::encode(frame)?,
        Way::JpegLs => jpeg_ls::encode(frame)?,
        Way::Htj2k => htj2k::encode(frame)?,
    };
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    Ok(bytes)
}

/// Samples that a codec of images takes: whole numbers of 8 or 16 bits.
fn whole_numbers(frame: &Frame, codec: &str) -> Result<(), Error> {
    match frame.sample {
        Sample::U8 | Sample::I8 | Sample::U16 | Sample::I16 => Ok(()),
        other => Err(Error::Unsupported(format!("{codec} of {other:?} samples"))),
    }
}
