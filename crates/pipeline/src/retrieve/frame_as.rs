//! A frame as it is stored, as samples, or in another transfer syntax.

use std::sync::Arc;

use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_model::{VR, tags, transfer_syntax, uids};
use filmgate_pixels::{Frame, ImagePixel, Sample};

use super::{frames::StoredFrame, imaged::Imaged, kept::FrameKey};
use crate::{Error, FrameBytes, Road};

/// How frames are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameSyntax {
    /// As they are stored; native samples as little endian.
    Stored,
    /// Decoded, and encoded in this transfer syntax.
    As(&'static str),
}

/// JPEG-LS lossless.
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
/// High-Throughput JPEG 2000, lossless only.
const HTJ2K: &str = "1.2.840.10008.1.2.4.201";

impl FrameSyntax {
    /// The transfer syntaxes that frames are encoded in, the one that every client can read first.
    pub const ENCODED: [&'static str; 4] =
        [uids::EXPLICIT_VR_LITTLE_ENDIAN, JPEG_LS, HTJ2K, uids::RLE_LOSSLESS];

    /// Those of [`Self::ENCODED`] that hold the samples of an image: codecs of images take whole numbers of 8 or 16 bits, and real
    /// numbers are in elements that are never encapsulated (PS3.5 A.4).
    #[must_use]
    pub fn encoded_of(image: &ImagePixel) -> &'static [&'static str] {
        const ALL: &[&str] = &FrameSyntax::ENCODED;
        match image.sample {
            Sample::U8 | Sample::I8 | Sample::U16 | Sample::I16 => ALL,
            Sample::Bit | Sample::U32 | Sample::I32 => &[uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::RLE_LOSSLESS],
            Sample::F32 | Sample::F64 => &[uids::EXPLICIT_VR_LITTLE_ENDIAN],
        }
    }
}

impl Imaged {
    /// True when a frame is sent as it is stored, byte for byte: samples that lie the other way round are not.
    fn goes_as_stored(&self) -> bool {
        let bits = self.image.sample == Sample::Bit && self.frames.count > 1;
        self.transfer_syntax_uid != transfer_syntax::EXPLICIT_VR_BIG_ENDIAN && !(bits && self.is_native())
    }

    fn is_native(&self) -> bool {
        transfer_syntax::is_native(&self.transfer_syntax_uid)
    }

    /// The samples of a frame with all bits that are stored, where those that mean nothing else may hold overlays: native ones
    /// (PS3.5 8.1.2, retired). The other way round they are not looked for.
    pub(super) fn all_bits(&self, stored: &StoredFrame) -> Option<Vec<Bytes>> {
        (self.is_native() && self.goes_as_stored()).then(|| stored.pieces.clone())
    }

    /// What a decoder is told of a stored frame.
    pub(super) fn data(&self, stored: StoredFrame) -> FrameBytes {
        let pixel_data = self.dataset.elements.get(tags::PIXEL_DATA);
        let words = pixel_data.is_some_and(|element| element.vr() == VR::OW);
        FrameBytes { pieces: stored.pieces, first_bit: stored.first_bit, words }
    }
}

impl Road {
    /// One frame in pieces, from memory when it was opened not long ago; frames count from 1.
    ///
    /// # Errors
    /// [`Error::NoSuchFrame`]; [`Error::Pixels`] when it cannot be decoded or encoded; or when its bytes cannot be had.
    pub async fn frame(
        self: &Arc<Self>,
        location: &Location,
        imaged: &Arc<Imaged>,
        frame: u32,
        syntax: FrameSyntax,
    ) -> Result<Vec<Bytes>, Error> {
        let target = match syntax {
            FrameSyntax::Stored if imaged.goes_as_stored() => {
                return Ok(self.stored_frame(location, imaged, frame).await?.pieces);
            }
            FrameSyntax::Stored => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            FrameSyntax::As(uid) => uid,
        };
        let key = FrameKey { record_id: imaged.record_id, frame, transfer_syntax_uid: Some(target) };
        let make = async {
            let decoded = self.decoded(location, imaged, frame).await?;
            Ok(StoredFrame { pieces: vec![self.encoded(decoded, target).await?], first_bit: 0 })
        };
        self.kept.frames.get_or_insert_async(&key, make).await.map(|frame| frame.pieces)
    }

    /// One frame as it is stored, from memory when it was opened not long ago.
    pub(super) async fn stored_frame(
        self: &Arc<Self>,
        location: &Location,
        imaged: &Imaged,
        frame: u32,
    ) -> Result<StoredFrame, Error> {
        let key = FrameKey { record_id: imaged.record_id, frame, transfer_syntax_uid: None };
        let make = async { self.open_found(location).await?.stored_frame(&imaged.frames, frame).await };
        self.kept.frames.get_or_insert_async(&key, make).await
    }

    /// The samples of a frame.
    ///
    /// # Errors
    /// As [`Road::frame`].
    pub async fn decoded(
        self: &Arc<Self>,
        location: &Location,
        imaged: &Arc<Imaged>,
        frame: u32,
    ) -> Result<Frame, Error> {
        let stored = self.stored_frame(location, imaged, frame).await?;
        Ok(self.decoding.decode(&imaged.transfer_syntax_uid, &imaged.image, imaged.data(stored)).await?)
    }

    /// Samples in a transfer syntax.
    pub(super) async fn encoded(&self, frame: Frame, target: &'static str) -> Result<Bytes, Error> {
        Ok(self.decoding.encode(target, frame).await?.into())
    }
}
