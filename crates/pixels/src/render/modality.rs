//! From stored values to values of the modality (PS3.3 C.11.1).

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::{
    attributes::{items, number, text},
    groups::Groups,
    lut::Lut,
};

/// The modality transform.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Modality {
    Linear { slope: f64, intercept: f64 },
    Table(Lut),
}

impl Modality {
    /// Nothing is done.
    pub(super) const IDENTITY: Self = Self::Linear { slope: 1.0, intercept: 0.0 };

    /// Of one frame. A broken table is none: the picture without it says more than no picture.
    pub(super) fn of(dataset: &InMemDicomObject, groups: &Groups<'_>, signed: bool) -> Self {
        if is_for_measuring(dataset) {
            return Self::IDENTITY;
        }
        let holder = groups.holder(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tags::RESCALE_SLOPE);
        Self::in_item(dataset, signed).or_else(|| holder.and_then(linear)).unwrap_or(Self::IDENTITY)
    }

    /// Of a presentation state, whose own transform replaces the image's even where it has none (PS3.4 N.2).
    pub(super) fn of_presentation(state: &InMemDicomObject, signed: bool) -> Self {
        Self::in_item(state, signed).or_else(|| linear(state)).unwrap_or(Self::IDENTITY)
    }

    fn in_item(dataset: &InMemDicomObject, signed: bool) -> Option<Self> {
        let item = items(dataset, tags::MODALITY_LUT_SEQUENCE).first()?;
        Lut::of(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, signed).ok().map(Self::Table)
    }

    /// The value of a stored one.
    pub(super) fn apply(&self, stored: f64) -> f64 {
        match self {
            Self::Linear { slope, intercept } => stored * slope + intercept,
            Self::Table(lut) => f64::from(lut.at(stored)),
        }
    }

    /// What it can make of stored values between two.
    pub(super) fn range(&self, low: f64, high: f64) -> (f64, f64) {
        match self {
            Self::Linear { .. } => {
                let (one, other) = (self.apply(low), self.apply(high));
                (one.min(other), one.max(other))
            }
            Self::Table(lut) => (0.0, lut.full()),
        }
    }

    /// True where its values may differ by less than one.
    pub(super) fn is_fine(&self) -> bool {
        matches!(self, Self::Linear { slope, .. } if slope.abs() < 1.0)
    }
}

fn linear(dataset: &InMemDicomObject) -> Option<Modality> {
    // A slope of 0 would make one grey of everything.
    let slope = number(dataset, tags::RESCALE_SLOPE).filter(|slope| *slope != 0.0)?;
    let intercept = number(dataset, tags::RESCALE_INTERCEPT).unwrap_or(0.0);
    Some(Modality::Linear { slope, intercept })
}

/// Projection X-ray with values that are already for display, or logarithmic: its table makes them linear to the beam
/// again, for measuring and subtracting, not for showing (PS3.3 C.8.7.1.1.2).
fn is_for_measuring(dataset: &InMemDicomObject) -> bool {
    let projection = [
        uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE,
        uids::X_RAY_RADIOFLUOROSCOPIC_IMAGE_STORAGE,
        "1.2.840.10008.5.1.4.1.1.12.3",
    ];
    projection.contains(&text(dataset, tags::SOP_CLASS_UID).as_str())
        && matches!(text(dataset, tags::PIXEL_INTENSITY_RELATIONSHIP).as_str(), "LOG" | "DISP")
}
