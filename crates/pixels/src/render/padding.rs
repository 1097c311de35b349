//! Values that are no part of the image (PS3.3 C.7.5.1.1.2).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use super::attributes::{number, words};
use crate::Sample;

/// The stored values that pad an image out to its rectangle, ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Padding {
    low: f64,
    high: f64,
}

impl Padding {
    /// Of an image whose samples are such.
    pub(super) fn of(dataset: &InMemDicomObject, sample: Sample) -> Option<Self> {
        let read = |tag| match sample {
            Sample::F32 | Sample::F64 => number(dataset, tag),
            _ => stored(dataset, tag, sample),
        };
        let (value, limit) = match sample {
            Sample::F32 => (tags::FLOAT_PIXEL_PADDING_VALUE, tags::FLOAT_PIXEL_PADDING_RANGE_LIMIT),
            Sample::F64 => {
                (tags::DOUBLE_FLOAT_PIXEL_PADDING_VALUE, tags::DOUBLE_FLOAT_PIXEL_PADDING_RANGE_LIMIT)
            }
            _ => (tags::PIXEL_PADDING_VALUE, tags::PIXEL_PADDING_RANGE_LIMIT),
        };
        let value = read(value)?;
        let limit = read(limit).unwrap_or(value);
        Some(Self { low: value.min(limit), high: value.max(limit) })
    }

    /// True for a stored value that is padding.
    pub(super) fn contains(&self, stored: f64) -> bool {
        (self.low..=self.high).contains(&stored)
    }
}

/// A word written as signed or not, as the samples would have it: some write it the other way.
fn stored(dataset: &InMemDicomObject, tag: Tag, sample: Sample) -> Option<f64> {
    let value = *words(dataset, tag).first()?;
    Some(match sample {
        Sample::I8 if value > 127 => value - 256,
        Sample::I16 if value > 32_767 => value - 65_536,
        Sample::U8 if value < 0 => value + 256,
        Sample::U16 if value < 0 => value + 65_536,
        _ => value,
    } as f64)
}
