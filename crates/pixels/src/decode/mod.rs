//! From the bytes of a frame to its samples, by transfer syntax (PS3.5 annex A).

mod deflated;
mod jpeg;
pub(crate) mod jpeg2000;
mod jpeg_ls;
mod jpeg_xl;
mod native;
mod rle;
mod values;

use std::borrow::Cow;

use dicom_dictionary_std::uids;
use filmgate_model::transfer_syntax::EXPLICIT_VR_BIG_ENDIAN;

use crate::{Error, Frame, ImagePixel};

/// The bytes of one frame as its instance stores them.
#[derive(Debug, Clone, Default)]
pub struct FrameData<'a> {
    /// Its samples; its fragments one after another where they are encapsulated.
    pub bytes: Cow<'a, [u8]>,
    /// Where the frame begins in its first byte, from the lowest bit: native frames of one bit a pixel follow each other
    /// without a gap (PS3.5 8.1.1).
    pub first_bit: u8,
    /// Explicit VR big endian only: the VR is OW, so that the bytes of samples of 8 bits and of one stand in swapped pairs. Such
    /// a frame begins at a whole word.
    pub words: bool,
}

impl<'a> FrameData<'a> {
    /// A frame that begins at a byte, which all but some of one bit a pixel do.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), first_bit: 0, words: false }
    }
}

/// How the frames of a transfer syntax are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Samples as they are; `true` where they are big endian.
    Native { big_endian: bool },
    /// The native frame deflated.
    DeflatedFrame,
    /// Run lengths.
    Rle,
    /// JPEG: sequential DCT or lossless.
    Jpeg,
    /// JPEG-LS.
    JpegLs,
    /// JPEG 2000, High-Throughput or not.
    Jpeg2000,
    /// JPEG XL.
    JpegXl,
}

impl Family {
    pub(crate) fn of(transfer_syntax_uid: &str) -> Result<Self, Error> {
        Ok(match transfer_syntax_uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN
            | uids::EXPLICIT_VR_LITTLE_ENDIAN
            | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => Self::Native { big_endian: false },
            EXPLICIT_VR_BIG_ENDIAN => Self::Native { big_endian: true },
            uids::DEFLATED_IMAGE_FRAME_COMPRESSION => Self::DeflatedFrame,
            uids::RLE_LOSSLESS => Self::Rle,
            // Baseline, extended (also its retired number of 3 and 5), lossless process 14 in general and of selection value 1.
            "1.2.840.10008.1.2.4.50"
            | "1.2.840.10008.1.2.4.51"
            | "1.2.840.10008.1.2.4.52"
            | "1.2.840.10008.1.2.4.57"
            | "1.2.840.10008.1.2.4.70" => Self::Jpeg,
            "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => Self::JpegLs,
            "1.2.840.10008.1.2.4.90"
            | "1.2.840.10008.1.2.4.91"
            | "1.2.840.10008.1.2.4.201"
            | "1.2.840.10008.1.2.4.202"
            | "1.2.840.10008.1.2.4.203" => Self::Jpeg2000,
            "1.2.840.10008.1.2.4.110" | "1.2.840.10008.1.2.4.111" | "1.2.840.10008.1.2.4.112" => Self::JpegXl,
            other => return Err(Error::Unsupported(format!("decoding of {other}"))),
        })
    }
}

/// True for a transfer syntax whose frames can be decoded here.
#[must_use]
pub fn can_decode(transfer_syntax_uid: &str) -> bool {
    Family::of(transfer_syntax_uid).is_ok()
}

/// Decodes one frame.
///
/// What is allocated is bounded by `image`; what a codestream states of its size is compared with it first.
///
/// # Errors
/// When nothing here decodes the syntax (video and what is private), or the bytes are not what `image` says.
pub fn decode(transfer_syntax_uid: &str, image: &ImagePixel, data: FrameData<'_>) -> Result<Frame, Error> {
    match Family::of(transfer_syntax_uid)? {
        Family::Native { big_endian } => native::decode(image, data, big_endian),
        Family::DeflatedFrame => deflated::decode(image, &data.bytes),
        Family::Rle => rle::decode(image, &data.bytes),
        Family::Jpeg => jpeg::decode(image, &data.bytes),
        Family::JpegLs => jpeg_ls::decode(image, &data.bytes),
        Family::Jpeg2000 => jpeg2000::decode(image, &data.bytes),
        Family::JpegXl => jpeg_xl::decode(image, &data.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Photometric, Sample};

    /// One pixel of so many bits; tests fill in the rest.
    pub(super) fn image(sample: Sample, bits_stored: u8) -> ImagePixel {
        ImagePixel {
            rows: 1,
            columns: 1,
            samples: 1,
            photometric: Photometric::Monochrome2,
            planar: false,
            sample,
            bits_stored,
            high_bit: bits_stored - 1,
            frames: 1,
        }
    }

    #[test]
    fn video_and_the_unknown_are_refused_by_name() {
        for uid in
            ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107", "1.2.3", ""]
        {
            let refused = decode(uid, &image(Sample::U8, 8), FrameData::default());
            assert!(matches!(&refused, Err(Error::Unsupported(what)) if what.contains(uid)), "{refused:?}");
        }
    }
}
