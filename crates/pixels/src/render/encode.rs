//! Pictures as JPEG and PNG.

use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::raster::{Format, Raster};
use crate::{Error, error::malformed};

/// Pixels of a JPEG's side that libjpeg-turbo writes (`JPEG_MAX_DIMENSION`).
const JPEG_SIDE_MAX: u32 = 65_500;

impl Raster {
    /// As baseline JPEG; greys stay one component. `quality` is 1 to 100; what is outside is taken as the nearest.
    ///
    /// # Errors
    /// When it has more than 65,500 pixels on a side, or none; or fewer bytes than pixels.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, Error> {
        let sides = [self.width, self.height];
        if sides.iter().any(|side| !(1..=JPEG_SIDE_MAX).contains(side)) {
            return Err(Error::Unsupported(format!("a JPEG of {}x{} pixels", self.width, self.height)));
        }
        let [width, height] = sides.map(|side| side as usize);
        // Colour edges of overlays and of burned-in text survive at high quality only when colour is not halved.
        let (format, sampling) = match (self.format, quality) {
            (Format::Gray8, _) => (PixelFormat::GRAY, Subsamp::Gray),
            (Format::Rgb8, 90..) => (PixelFormat::RGB, Subsamp::None),
            (Format::Rgb8, _) => (PixelFormat::RGB, Subsamp::Sub2x2),
        };
        let pitch = width * self.format.pixel_bytes();
        let pixels = self.bytes.as_slice();
        if pixels.len() < pitch * height {
            return Err(malformed(format!("a picture of {} bytes, not {}", pixels.len(), pitch * height)));
        }
        let written = || {
            let mut compressor = Compressor::new()?;
            compressor.set_quality(quality.clamp(1, 100).into())?;
            compressor.set_subsamp(sampling)?;
            compressor.compress_to_vec(Image { pixels, width, pitch, height, format })
        };
        written().map_err(|error| malformed(format!("JPEG: {error}")))
    }

    /// As PNG.
    ///
    /// # Errors
    /// When it has no pixels.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        let mut encoded = Vec::with_capacity(self.bytes.len() / 2 + 1024);
        let mut encoder = png::Encoder::new(&mut encoded, self.width, self.height);
        encoder.set_color(match self.format {
            Format::Gray8 => png::ColorType::Grayscale,
            Format::Rgb8 => png::ColorType::Rgb,
        });
        encoder.set_compression(png::Compression::Fast);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&self.bytes)?;
            writer.finish()
        });
        written.map_err(|error| malformed(format!("PNG: {error}")))?;
        Ok(encoded)
    }
}
