//! The samples of one frame.

use crate::{ImagePixel, Photometric, Sample};

/// One decoded frame: rows from the top, pixels from the left, the samples of a pixel next to each other (R1 G1 B1 R2 …), each
/// little endian in `sample`'s bytes, without padding. An image of one bit a pixel takes a byte (0 or 1) for each.
///
/// Bits above Bits Stored hold the sign, or zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// Samples of a pixel: 1, 3 or 4.
    pub samples: u8,
    /// How each sample is stored in `bytes`.
    pub sample: Sample,
    /// Bits of a sample that mean something.
    pub bits_stored: u8,
    /// What the samples mean now: a decoder that undid a colour transform says so here.
    pub photometric: Photometric,
    /// The samples.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// Of an image's attributes, with samples that are as those say.
    #[must_use]
    pub fn of(image: &ImagePixel, bytes: Vec<u8>) -> Self {
        Self {
            rows: image.rows,
            columns: image.columns,
            samples: image.samples,
            sample: image.sample,
            bits_stored: image.bits_stored,
            photometric: image.photometric,
            bytes,
        }
    }

    /// Pixels it has.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.rows as usize * self.columns as usize
    }
}
