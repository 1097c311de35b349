//! A picture of 8 bits a sample, as it goes to a screen.

use super::draw::{self, Side};

/// What the bytes of a [`Raster`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A byte a pixel, 0 being black.
    Gray8,
    /// Red, green, blue.
    Rgb8,
}

impl Format {
    /// Bytes of a pixel.
    #[must_use]
    pub fn pixel_bytes(self) -> usize {
        match self {
            Self::Gray8 => 1,
            Self::Rgb8 => 3,
        }
    }
}

/// A picture: rows from the top, pixels from the left, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster {
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// What the bytes are.
    pub format: Format,
    /// The pixels.
    pub bytes: Vec<u8>,
}

impl Raster {
    /// A black one.
    #[must_use]
    pub fn black(width: u32, height: u32, format: Format) -> Self {
        let bytes = vec![0; width as usize * height as usize * format.pixel_bytes()];
        Self { width, height, format, bytes }
    }

    /// Writes text in Latin letters with its upper left corner there, small on small pictures.
    pub fn write(&mut self, x: u32, y: u32, text: &str) {
        draw::text(self, (x.into(), y.into()), Side::Left, text, [255; 3]);
    }

    /// Pixels from one line of written text to the next.
    #[must_use]
    pub fn line_height(&self) -> u32 {
        draw::line_height(self)
    }

    /// Paints one pixel; what lies outside is not painted. A grey raster takes the first of the three.
    pub(super) fn paint(&mut self, x: i64, y: i64, colour: [u8; 3]) {
        if !(0..i64::from(self.width)).contains(&x) || !(0..i64::from(self.height)).contains(&y) {
            return;
        }
        let width = self.format.pixel_bytes();
        let start = (y as usize * self.width as usize + x as usize) * width;
        if let Some(pixel) = self.bytes.get_mut(start..start + width) {
            pixel.copy_from_slice(&colour[..width]);
        }
    }

    /// The pixels of a row.
    pub(super) fn row_mut(&mut self, y: u32) -> &mut [u8] {
        let row_bytes = self.width as usize * self.format.pixel_bytes();
        let start = y as usize * row_bytes;
        self.bytes.get_mut(start..start + row_bytes).unwrap_or_default()
    }
}
