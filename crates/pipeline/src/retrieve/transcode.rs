//! An instance in another transfer syntax than it is stored in: its elements written anew, its frames decoded and encoded, one at a
//! time. No more than a frame is ever in memory.
//!
//! What it shows stays the same, so it stays the same instance (PS3.18 8.7.3.5.2, PS3.4 B.4.1.4): encoding is lossless, and whatever
//! was said of an earlier loss stays said.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use filmgate_catalog::Location;
use filmgate_model::{Encoding, Tag, VR, part10, tags, transfer_syntax, uids};
use filmgate_pixels::{Attributes, NativeFrames, Photometric, Sample};
use filmgate_seal::unit_bytes;

use super::{
    frame_as::FrameSyntax,
    imaged::Imaged,
    rewritten::{Changed, Piece, rewritten, write_head, write_item_head, write_sequence_end},
};
use crate::{Error, OpenRecord, Road, metadata::HEADER_BYTES_MAX};

/// Bytes of a stored value that are handed on at a time.
const PIECE_BYTES: u64 = 1024 * 1024;

/// An instance on its way out in another transfer syntax.
pub struct Transcoded {
    road: Arc<Road>,
    location: Location,
    record: OpenRecord,
    imaged: Option<Arc<Imaged>>,
    target: &'static str,
    /// The first frame, encoded ahead: it says what the attributes become.
    first: Option<Bytes>,
    /// Preamble and file meta information, until they are handed on.
    head: Option<Bytes>,
    pieces: std::vec::IntoIter<Piece>,
    /// What the piece at hand has left.
    left: Left,
}

enum Left {
    Nothing,
    /// Of a stored value: where it goes on, where it ends, and the bytes of each number that is turned.
    Stored {
        from: u64,
        to: u64,
        unit: usize,
    },
    /// Frames, from this one on.
    Frames {
        next: u32,
        count: u32,
    },
}

impl Road {
    /// Begins to write an instance in another transfer syntax, one of [`crate::FrameSyntax::ENCODED`]. An instance without pixels is
    /// written as explicit VR little endian, whatever is asked.
    ///
    /// # Errors
    /// [`Error::Pixels`] when it cannot be decoded or encoded; or when its bytes cannot be had.
    pub async fn transcoded(
        self: &Arc<Self>,
        location: &Location,
        target: &'static str,
    ) -> Result<Transcoded, Error> {
        let record = self.open_found(location).await?;
        let imaged = match self.imaged(location).await {
            Ok(imaged) => Some(imaged),
            Err(error) if error.is_no_image() => None,
            Err(error) => return Err(error),
        };
        let target = if imaged.is_some() { target } else { uids::EXPLICIT_VR_LITTLE_ENDIAN };
        if let Some(imaged) = &imaged
            && !FrameSyntax::encoded_of(&imaged.image).contains(&target)
        {
            let what = format!("{:?} samples in transfer syntax {target}", imaged.image.sample);
            return Err(filmgate_pixels::Error::Unsupported(what).into());
        }
        let copies = transfer_syntax::is_native(record.transfer_syntax_uid())
            && target == uids::EXPLICIT_VR_LITTLE_ENDIAN;
        let (mut first, mut changed) = (None, Vec::new());
        if let Some(imaged) = imaged.as_ref().filter(|_| !copies) {
            let frame = self.decoded(location, imaged, 1).await?;
            changed = changes(imaged, filmgate_pixels::attributes(target, &frame)?);
            first = Some(self.encoded(frame, target).await?);
        }
        let header = record.header(HEADER_BYTES_MAX).await?;
        let pieces = rewritten(record.table(), &header, changed)?;
        let identity = record.identity();
        let head = part10::write_file_head(
            target,
            &identity.sop_class_uid,
            &identity.sop_instance_uid,
            &record.table().provenance.calling_ae,
        );
        Ok(Transcoded {
            road: Arc::clone(self),
            location: location.clone(),
            record,
            imaged: imaged.filter(|_| !copies),
            target,
            first,
            head: Some(head.unwrap_or_default().into()),
            pieces: pieces.into_iter(),
            left: Left::Nothing,
        })
    }
}

impl Transcoded {
    /// The transfer syntax it is written in.
    #[must_use]
    pub fn transfer_syntax_uid(&self) -> &'static str {
        self.target
    }

    /// The next bytes of the Part 10 file; `None` at its end.
    ///
    /// # Errors
    /// When a frame cannot be decoded or encoded, or bytes cannot be had.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        match self.left {
            Left::Stored { from, to, unit } => {
                let end = to.min(from.saturating_add(PIECE_BYTES));
                self.left = if end < to { Left::Stored { from: end, to, unit } } else { Left::Nothing };
                let bytes = self.record.value_range(from..end).await?;
                return Ok(Some(turned(bytes, unit)));
            }
            Left::Frames { next, count } if next <= count => {
                self.left = Left::Frames { next: next + 1, count };
                return self.frame(next).await.map(Some);
            }
            Left::Frames { .. } => {
                self.left = Left::Nothing;
                let end = self.end_of_pixels();
                if !end.is_empty() {
                    return Ok(Some(end.into()));
                }
            }
            Left::Nothing => {}
        }
        let Some(piece) = self.pieces.next() else { return Ok(None) };
        Ok(Some(match piece {
            Piece::Bytes(bytes) => bytes.into(),
            Piece::Stored { range, unit } => {
                self.left = Left::Stored { from: range.start, to: range.end, unit };
                Bytes::new()
            }
            Piece::Pixels { tag, vr, range } => match self.imaged.clone() {
                Some(imaged) => self.begin_pixels(tag, &imaged)?.into(),
                None => self.begin_samples(tag, vr, range)?.into(),
            },
        }))
    }

    /// Native samples stay what they are.
    fn begin_samples(&mut self, tag: Tag, vr: VR, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let bytes = range.end - range.start;
        let length = u32::try_from(bytes).map_err(|_| too_long())?;
        let mut head = Vec::new();
        write_head(&mut head, tag, vr, length);
        let big_endian = self.record.table().encoding == Some(Encoding::ExplicitBig);
        let unit = if big_endian { unit_bytes(vr) } else { 1 };
        self.left = Left::Stored { from: range.start, to: range.end, unit };
        Ok(head)
    }

    fn is_native(&self) -> bool {
        self.target == uids::EXPLICIT_VR_LITTLE_ENDIAN
    }

    fn begin_pixels(&mut self, tag: Tag, imaged: &Imaged) -> Result<Vec<u8>, Error> {
        let count = imaged.frames.count;
        let mut head = Vec::new();
        if self.is_native() {
            let total = native_bytes(imaged);
            let length = u32::try_from(total + total % 2).map_err(|_| too_long())?;
            let wide = imaged.image.sample.bytes() > 1;
            write_head(&mut head, tag, if wide { VR::OW } else { VR::OB }, length);
        } else {
            // Fragments, and an offset table without entries (PS3.5 A.4).
            write_head(&mut head, tags::PIXEL_DATA, VR::OB, u32::MAX);
            write_item_head(&mut head, 0);
        }
        self.left = Left::Frames { next: 1, count };
        Ok(head)
    }

    /// One frame, as it stands in the pixel data.
    async fn frame(&mut self, number: u32) -> Result<Bytes, Error> {
        let Some(imaged) = self.imaged.clone() else { return Ok(Bytes::new()) };
        if self.is_native() && imaged.image.sample == Sample::Bit {
            self.left = Left::Frames { next: imaged.frames.count + 1, count: imaged.frames.count };
            return self.all_bits(&imaged).await;
        }
        let bytes = match self.first.take().filter(|_| number == 1) {
            Some(first) => first,
            None => {
                let frame = self.road.decoded(&self.location, &imaged, number).await?;
                self.road.encoded(frame, self.target).await?
            }
        };
        if self.is_native() {
            return Ok(bytes);
        }
        let mut item = Vec::with_capacity(bytes.len() + 9);
        let length = bytes.len() + bytes.len() % 2;
        write_item_head(&mut item, u32::try_from(length).map_err(|_| too_long())?);
        item.extend_from_slice(&bytes);
        item.resize(8 + length, 0);
        Ok(item.into())
    }

    /// Frames of single bits share bytes, so they are joined: an eighth of a byte for each pixel.
    async fn all_bits(&self, imaged: &Arc<Imaged>) -> Result<Bytes, Error> {
        let mut frames = NativeFrames::default();
        for number in 1..=imaged.frames.count {
            frames.push(&self.road.decoded(&self.location, imaged, number).await?);
        }
        Ok(frames.finish().into())
    }

    fn end_of_pixels(&self) -> Vec<u8> {
        let mut end = Vec::new();
        if !self.is_native() {
            write_sequence_end(&mut end);
        } else if let Some(imaged) = &self.imaged
            && imaged.image.sample != Sample::Bit
            && native_bytes(imaged) % 2 == 1
        {
            end.push(0);
        }
        end
    }
}

/// Bytes of all frames as native samples.
fn native_bytes(imaged: &Imaged) -> u64 {
    let bytes = imaged.image.frame_bytes() * u64::from(imaged.frames.count);
    if imaged.image.sample == Sample::Bit { bytes.div_ceil(8) } else { bytes }
}

fn too_long() -> Error {
    Error::NoFrames("its pixel data is longer than 4 GiB once decoded: it can only be given as it is stored")
}

/// Attributes that say something else of the samples as they are written than of those stored.
fn changes(imaged: &Imaged, new: Attributes) -> Vec<Changed> {
    let image = &imaged.image;
    if matches!(image.sample, Sample::F32 | Sample::F64) {
        return Vec::new();
    }
    let mut changed = Vec::new();
    if new.photometric != image.photometric && new.photometric != Photometric::Other {
        let value = new.photometric.as_str().as_bytes().to_vec();
        changed.push(Changed { tag: tags::PHOTOMETRIC_INTERPRETATION, vr: VR::CS, value });
    }
    let mut number = |tag, stored: u16, value: u16| {
        if stored != value {
            changed.push(Changed { tag, vr: VR::US, value: value.to_le_bytes().to_vec() });
        }
    };
    if let Some(planar) = new.planar {
        number(tags::PLANAR_CONFIGURATION, u16::MAX, planar);
    }
    number(tags::BITS_STORED, image.bits_stored.into(), new.bits_stored);
    number(tags::HIGH_BIT, image.high_bit.into(), new.high_bit);
    changed
}

/// Numbers of so many bytes the other way round.
fn turned(bytes: Bytes, unit: usize) -> Bytes {
    if unit == 1 {
        return bytes;
    }
    let mut bytes = bytes.to_vec();
    bytes.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    bytes.into()
}
