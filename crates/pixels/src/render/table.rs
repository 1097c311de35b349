//! What shows each value of a frame, made once and used for every pixel.

use super::{
    grey::Grey,
    palette::Palette,
    raster::{Format, Raster},
    samples::{bits, integer, values, words},
};
use crate::{Error, Frame, Sample};

/// From the samples of a frame to greys or colours: for samples of up to 16 bits a table of all their values.
///
/// It can be kept: the same for all frames of an image whose window does not come from the frame (see
/// [`super::Rendering::is_of_frame`]) and whose functional groups say the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    sample: Sample,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// Greys by the word of a sample.
    Greys(Vec<u8>),
    /// Colours by the word of a sample.
    Colours(Vec<[u8; 3]>),
    /// Samples of more than 16 bits, and of fractions, are taken one by one.
    Computed(Box<Grey>),
    /// The samples are colours.
    Rgb,
}

impl Table {
    /// For frames of three samples a pixel.
    pub(super) fn rgb(frame: &Frame) -> Self {
        Self { sample: frame.sample, kind: Kind::Rgb }
    }

    /// For frames of greys.
    pub(super) fn grey(frame: &Frame, grey: Grey) -> Self {
        let kind = match frame.sample.bytes() {
            1 | 2 => Kind::Greys(by_word(frame, |value| grey.at(value))),
            _ => Kind::Computed(Box::new(grey)),
        };
        Self { sample: frame.sample, kind }
    }

    /// For frames of numbers in a palette.
    pub(super) fn palette(frame: &Frame, palette: &Palette) -> Result<Self, Error> {
        narrow(frame)?;
        let kind = Kind::Colours(by_word(frame, |value| palette.at(value)));
        Ok(Self { sample: frame.sample, kind })
    }

    /// For frames of greys, some of which are colours of a palette (PS3.3 C.7.6.19).
    pub(super) fn supplemented(frame: &Frame, grey: &Grey, palette: &Palette) -> Result<Self, Error> {
        narrow(frame)?;
        let colour = |value| if palette.covers(value) { palette.at(value) } else { [grey.at(value); 3] };
        Ok(Self { sample: frame.sample, kind: Kind::Colours(by_word(frame, colour)) })
    }

    /// Bytes it takes, for caches.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.kind {
                Kind::Greys(greys) => greys.len(),
                Kind::Colours(colours) => 3 * colours.len(),
                Kind::Computed(_) => size_of::<Grey>(),
                Kind::Rgb => 0,
            }
    }

    /// The picture of a frame, as large as the frame.
    pub(super) fn picture(&self, frame: &Frame) -> Result<Raster, Error> {
        if frame.sample != self.sample || (frame.samples == 1) == (self.kind == Kind::Rgb) {
            return Err(Error::Malformed("a table of other samples".to_owned()));
        }
        let (format, bytes) = match &self.kind {
            Kind::Greys(greys) => (Format::Gray8, greys_of(frame, greys)),
            Kind::Colours(colours) => (Format::Rgb8, colours_of(frame, colours)),
            Kind::Computed(grey) => (Format::Gray8, values(frame, 1).map(|value| grey.at(value)).collect()),
            Kind::Rgb => (Format::Rgb8, super::colour::to_rgb(frame)?),
        };
        Ok(Raster { width: frame.columns, height: frame.rows, format, bytes })
    }
}

fn narrow(frame: &Frame) -> Result<(), Error> {
    match frame.sample.bytes() {
        1 | 2 => Ok(()),
        _ => Err(Error::Unsupported(format!("a palette for samples of {:?}", frame.sample))),
    }
}

/// What each word of a sample shows: bits above those stored change nothing.
fn by_word<T: Copy>(frame: &Frame, show: impl Fn(f64) -> T) -> Vec<T> {
    let (sample, bits) = (frame.sample, bits(frame));
    let words = 1_u32 << (8 * sample.bytes()).min(16);
    let stored = 1_u32 << bits.min(16);
    let shown: Vec<T> = (0..stored.min(words)).map(|word| show(integer(word, sample, bits) as f64)).collect();
    // Both are powers of two.
    shown.repeat(words as usize / shown.len())
}

fn greys_of(frame: &Frame, greys: &[u8]) -> Vec<u8> {
    // Of fixed length, so that no index is checked.
    if let Ok(greys) = <&[u8; 1 << 16]>::try_from(greys) {
        let words = frame.bytes.chunks_exact(2).take(frame.pixels());
        return words.map(|word| greys[usize::from(u16::from_le_bytes([word[0], word[1]]))]).collect();
    }
    if let Ok(greys) = <&[u8; 1 << 8]>::try_from(greys) {
        return frame.bytes.iter().take(frame.pixels()).map(|byte| greys[usize::from(*byte)]).collect();
    }
    Vec::new()
}

fn colours_of(frame: &Frame, colours: &[[u8; 3]]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(frame.pixels() * 3);
    for word in words(frame, 1) {
        rgb.extend_from_slice(colours.get(usize::from(word)).unwrap_or(&[0; 3]));
    }
    rgb
}
