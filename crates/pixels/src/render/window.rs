//! Windows: from values to shades (PS3.3 C.11.2.1.2, C.11.2.1.3).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attributes::{number, text};

/// What a window does between its ends (VOI LUT Function).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Function {
    /// A line over width - 1 values around centre - 0.5: windows of whole numbers.
    #[default]
    Linear,
    /// A line over the width around the centre.
    LinearExact,
    /// A logistic curve.
    Sigmoid,
}

impl Function {
    /// By the defined term; one that is not known is a line.
    #[must_use]
    pub fn of(term: &str) -> Self {
        match term.trim().to_ascii_uppercase().as_str() {
            "LINEAR_EXACT" => Self::LinearExact,
            "SIGMOID" => Self::Sigmoid,
            _ => Self::Linear,
        }
    }
}

/// A window of values, those that the modality transform gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Window Center (0028,1050).
    pub center: f64,
    /// Window Width (0028,1051).
    pub width: f64,
    /// VOI LUT Function (0028,1056).
    pub function: Function,
}

impl Window {
    /// The first window of a dataset or of an item, if it makes sense there. `is_fine` says that values differ by less than
    /// one from each other.
    pub(super) fn of(dataset: &InMemDicomObject, is_fine: bool) -> Option<Self> {
        let center = number(dataset, tags::WINDOW_CENTER)?;
        let width = number(dataset, tags::WINDOW_WIDTH)?;
        let function = Function::of(&text(dataset, tags::VOILUT_FUNCTION));
        Self { center, width, function }.sensible(is_fine)
    }

    /// The window, or nothing where its width is none. A line narrower than 1 is against the standard; of values that differ by
    /// less than that it is meant as an exact one.
    pub(super) fn sensible(self, is_fine: bool) -> Option<Self> {
        let finite = self.center.is_finite() && self.width.is_finite();
        match self.function {
            _ if !finite || self.width <= 0.0 => None,
            Function::Linear if self.width < 1.0 && !is_fine => None,
            Function::Linear if self.width < 1.0 => Some(Self { function: Function::LinearExact, ..self }),
            _ => Some(self),
        }
    }

    /// A window that begins and ends at two values.
    pub(super) fn between(low: f64, high: f64) -> Self {
        if high > low {
            let (center, width) = (low / 2.0 + high / 2.0, high - low);
            return Self { center, width, function: Function::LinearExact };
        }
        // One value only: it is black.
        Self { center: low + 0.5, width: 1.0, function: Function::LinearExact }
    }

    /// The shade of a value, from 0 to 1.
    pub(super) fn shade(&self, value: f64) -> f64 {
        let Self { center, width, function } = *self;
        match function {
            Function::Linear if value <= center - 0.5 - (width - 1.0) / 2.0 => 0.0,
            Function::Linear if value > center - 0.5 + (width - 1.0) / 2.0 => 1.0,
            Function::Linear => (value - (center - 0.5)) / (width - 1.0) + 0.5,
            Function::LinearExact if value <= center - width / 2.0 => 0.0,
            Function::LinearExact if value > center + width / 2.0 => 1.0,
            Function::LinearExact => (value - center) / width + 0.5,
            Function::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        }
    }
}
