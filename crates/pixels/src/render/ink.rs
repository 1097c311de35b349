//! What shutters and drawings are painted with: a grey or a colour of a presentation state.

use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use super::{
    attributes::{number, words},
    raster::Format,
};

/// A grey, and the colour to take where there are colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ink {
    grey: u8,
    colour: [u8; 3],
}

impl Ink {
    pub(super) const BLACK: Self = Self { grey: 0, colour: [0; 3] };
    pub(super) const WHITE: Self = Self { grey: 255, colour: [255; 3] };

    /// By a P-value of 16 bits and a CIELab value of which one or both may be missing.
    pub(super) fn of(dataset: &InMemDicomObject, grey: Tag, lab: Tag, otherwise: Self) -> Self {
        let grey = number(dataset, grey).map(|value| (value as u16 >> 8) as u8);
        let colour = match words(dataset, lab)[..] {
            [lightness, a, b] => Some(srgb(lightness as u16, a as u16, b as u16)),
            _ => None,
        };
        match (grey, colour) {
            (None, None) => otherwise,
            (Some(grey), None) => Self { grey, colour: [grey; 3] },
            (grey, Some(colour)) => {
                // Luminance as of YBR_FULL.
                let [red, green, blue] = colour.map(f64::from);
                let luminance = (0.299 * red + 0.587 * green + 0.114 * blue).round() as u8;
                Self { grey: grey.unwrap_or(luminance), colour }
            }
        }
    }

    /// What to paint with on a picture.
    pub(super) fn on(self, format: Format) -> [u8; 3] {
        match format {
            Format::Gray8 => [self.grey; 3],
            Format::Rgb8 => self.colour,
        }
    }
}

/// From CIELab as DICOM writes it (PS3.3 C.10.7.1.1), of D50, to sRGB.
fn srgb(lightness: u16, a: u16, b: u16) -> [u8; 3] {
    let lightness = f64::from(lightness) / 65_535.0 * 100.0;
    let difference = |word: u16| f64::from(word) / 257.0 - 128.0;
    let y = (lightness + 16.0) / 116.0;
    let (x, z) = (y + difference(a) / 500.0, y - difference(b) / 200.0);
    let linear =
        |t: f64| if t > 6.0 / 29.0 { t * t * t } else { 3.0 * (6.0_f64 / 29.0).powi(2) * (t - 4.0 / 29.0) };
    let [x, y, z] = [0.964_22 * linear(x), linear(y), 0.825_21 * linear(z)];
    let rgb = [
        3.133_856_1 * x - 1.616_866_7 * y - 0.490_614_6 * z,
        -0.978_768_4 * x + 1.916_141_5 * y + 0.033_454_0 * z,
        0.071_945_3 * x - 0.228_991_4 * y + 1.405_242_7 * z,
    ];
    rgb.map(|part| {
        let part = part.clamp(0.0, 1.0);
        let part = if part <= 0.003_130_8 { 12.92 * part } else { 1.055 * part.powf(1.0 / 2.4) - 0.055 };
        (part * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::srgb;

    #[test]
    fn white_black_and_red() {
        assert_eq!(srgb(0xFFFF, 0x8080, 0x8080), [255, 255, 255]);
        assert_eq!(srgb(0, 0x8080, 0x8080), [0, 0, 0]);
        // Red of sRGB is L 54.29, a 80.81, b 69.89 under D50.
        let [lightness, a, b] = [54.29 / 100.0 * 65_535.0, (80.81 + 128.0) * 257.0, (69.89 + 128.0) * 257.0];
        let [red, green, blue] = srgb(lightness as u16, a as u16, b as u16);
        assert!(red >= 254 && green <= 3 && blue <= 3, "{red} {green} {blue}");
    }
}
