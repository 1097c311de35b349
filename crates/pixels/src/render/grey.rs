//! The grey of a stored value: modality transform, values of interest, presentation (PS3.4 N.2.1).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{
    attributes::{items, text},
    groups::Groups,
    lut::Lut,
    modality::Modality,
    padding::Padding,
    samples,
    window::Window,
};
use crate::{ImagePixel, Photometric};

/// What shows the values of interest.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Voi {
    Window(Window),
    Table(Lut),
}

impl Voi {
    /// Of one frame: the table of interest, else the first window that makes sense.
    pub(super) fn of(groups: &Groups<'_>, modality: &Modality, image: &ImagePixel) -> Option<Self> {
        let (low, high) = samples::range(image.sample, image.bits_stored);
        let (low, _) = modality.range(low, high);
        let table = || {
            let holder = groups.holder(tags::FRAME_VOILUT_SEQUENCE, tags::VOILUT_SEQUENCE)?;
            let item = items(holder, tags::VOILUT_SEQUENCE).first()?;
            Lut::of(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, low < 0.0).ok()
        };
        let is_fine = modality.is_fine() || samples::is_fractional(image.sample);
        let window = || {
            let holder = groups.holder(tags::FRAME_VOILUT_SEQUENCE, tags::WINDOW_CENTER)?;
            Window::of(holder, is_fine)
        };
        table().map(Self::Table).or_else(|| window().map(Self::Window))
    }

    /// The shade of a value, from 0 to 1.
    fn shade(&self, value: f64) -> f64 {
        match self {
            Self::Window(window) => window.shade(value),
            Self::Table(lut) => lut.share(value),
        }
    }
}

/// What makes P-values of shades.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Presentation {
    Identity,
    Inverse,
    Table(Lut),
}

impl Presentation {
    /// Of an image, whether its low values are dark: the shape says it, else the photometric interpretation.
    pub(super) fn of(dataset: &InMemDicomObject, photometric: Photometric) -> Self {
        match text(dataset, tags::PRESENTATION_LUT_SHAPE).as_str() {
            "INVERSE" => Self::Inverse,
            "IDENTITY" => Self::Identity,
            _ if photometric == Photometric::Monochrome1 => Self::Inverse,
            _ => Self::Identity,
        }
    }

    fn apply(&self, shade: f64) -> f64 {
        match self {
            Self::Identity => shade,
            Self::Inverse => 1.0 - shade,
            // All shades spread over all entries (PS3.3 C.11.4.1).
            Self::Table(lut) => lut.share(lut.first as f64 + shade * (lut.entries.len() - 1) as f64),
        }
    }
}

/// From stored values to greys.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grey {
    pub(super) modality: Modality,
    pub(super) voi: Voi,
    pub(super) presentation: Presentation,
    pub(super) padding: Option<Padding>,
}

impl Grey {
    /// The grey of a stored value, 0 being black. Padding is background whatever the rest says.
    pub(super) fn at(&self, stored: f64) -> u8 {
        if self.padding.is_some_and(|padding| padding.contains(stored)) {
            return 0;
        }
        let shade = self.voi.shade(self.modality.apply(stored));
        // Saturates; what is no number is black.
        (self.presentation.apply(shade) * 255.0 + 0.5) as u8
    }
}
