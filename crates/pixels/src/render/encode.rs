//! Pictures as JPEG and PNG.

use super::raster::{Format, Raster};
use crate::{Error, error::malformed};

impl Raster {
    /// As baseline JPEG; greys stay one component. `quality` is 1 to 100; what is outside is taken as the nearest.
    ///
    /// # Errors
    /// When it has more than 65,535 pixels on a side, or none.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>, Error> {
        let side = |pixels: u32| {
            let side = u16::try_from(pixels).ok().filter(|side| *side > 0);
            side.ok_or_else(|| Error::Unsupported(format!("a JPEG of {}x{} pixels", self.width, self.height)))
        };
        let (width, height) = (side(self.width)?, side(self.height)?);
        let colours = match self.format {
            Format::Gray8 => jpeg_encoder::ColorType::Luma,
            Format::Rgb8 => jpeg_encoder::ColorType::Rgb,
        };
        let mut jpeg = Vec::with_capacity(self.bytes.len() / 4 + 1024);
        let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, quality.clamp(1, 100));
        // Colour edges of overlays and of burned-in text survive at high quality only when colour is not halved.
        let sampling = match quality {
            90.. => jpeg_encoder::SamplingFactor::R_4_4_4,
            _ => jpeg_encoder::SamplingFactor::R_4_2_0,
        };
        encoder.set_sampling_factor(sampling);
        let encoded = encoder.encode(&self.bytes, width, height, colours);
        encoded.map_err(|error| malformed(format!("JPEG: {error}")))?;
        Ok(jpeg)
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
