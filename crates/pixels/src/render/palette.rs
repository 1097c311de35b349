//! Palettes: from stored values to colours (PS3.3 C.7.6.3.1.5, C.7.9).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use super::{
    attributes::{bytes, has, text},
    groups::Groups,
    lut::{Descriptor, Lut},
    segments,
};
use crate::{Error, error::malformed};

/// Descriptor, data and segmented data of red, green and blue.
const CHANNELS: [[Tag; 3]; 3] = [
    [
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ],
    [
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ],
    [
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ],
];

/// A palette: three tables of which each colour is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Palette {
    channels: [Lut; 3],
}

impl Palette {
    /// The palette of one frame.
    pub(super) fn of_frame(groups: &Groups<'_>, signed: bool) -> Result<Self, Error> {
        let holder = groups.holder_anywhere(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR);
        Self::of(holder.ok_or_else(|| malformed("palette colours without a palette"))?, signed)
    }

    /// Reads a palette; `signed` says that stored values may be below zero.
    pub(super) fn of(dataset: &InMemDicomObject, signed: bool) -> Result<Self, Error> {
        let [red, green, blue] = CHANNELS.map(|channel| read(dataset, channel, signed));
        let mut channels = [red?, green?, blue?];
        // Some write entries of 8 bits as words and state 16.
        if channels.iter().all(|lut| lut.entries.iter().all(|entry| *entry < 256)) {
            channels.iter_mut().for_each(|lut| lut.bits = 8);
        }
        Ok(Self { channels })
    }

    /// The colour of a stored value.
    pub(super) fn at(&self, stored: f64) -> [u8; 3] {
        self.channels.each_ref().map(|lut| match lut.bits {
            8 => lut.at(stored) as u8,
            16 => (lut.at(stored) >> 8) as u8,
            _ => (lut.share(stored) * 255.0).round() as u8,
        })
    }

    /// True where the palette has an entry for a stored value of its own, not just its first or last.
    pub(super) fn covers(&self, stored: f64) -> bool {
        let [red, ..] = &self.channels;
        let first = red.first as f64;
        (first..first + red.entries.len() as f64).contains(&stored)
    }
}

/// True where greys are mixed with colours of a supplemental palette (PS3.3 C.8.16.2, Pixel Presentation).
pub(super) fn is_mixed(groups: &Groups<'_>) -> bool {
    let holder = groups.holder_anywhere(tags::PIXEL_PRESENTATION);
    let pixels = holder.map(|holder| text(holder, tags::PIXEL_PRESENTATION)).unwrap_or_default();
    let palette = groups.holder_anywhere(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR);
    matches!(pixels.as_str(), "COLOR" | "MIXED") && palette.is_some()
}

fn read(dataset: &InMemDicomObject, channel: [Tag; 3], signed: bool) -> Result<Lut, Error> {
    let [descriptor, data, segmented] = channel;
    if has(dataset, data) || !has(dataset, segmented) {
        return Lut::of(dataset, descriptor, data, signed);
    }
    let descriptor = Descriptor::of(dataset, descriptor, signed)?;
    let entries = segments::expand(&bytes(dataset, segmented), descriptor)?;
    Ok(Lut::of_entries(descriptor, entries))
}
