//! Scaling: areas are averaged on the way down, curves laid through pixels on the way up.

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};

use super::{
    raster::{Format, Raster},
    view::{Region, View},
};
use crate::{Error, error::malformed};

/// The part of a picture that a view shows, in its size, not yet turned. Black lies where the picture does not reach.
pub(super) fn scale(picture: Raster, view: &View) -> Result<Raster, Error> {
    let (width, height) = view.upright();
    let all = Region { x: 0.0, y: 0.0, width: f64::from(picture.width), height: f64::from(picture.height) };
    if (width, height) == (picture.width, picture.height) && view.region == all {
        return Ok(picture);
    }
    let (across, down) = (
        Stretch::of(view.region.x, view.region.width, picture.width, width),
        Stretch::of(view.region.y, view.region.height, picture.height, height),
    );
    let (Some(across), Some(down)) = (across, down) else {
        return Ok(Raster::black(width, height, picture.format));
    };
    let seen = resize(&picture, &across, &down)?;
    if (seen.width, seen.height) == (width, height) {
        return Ok(seen);
    }
    let mut raster = Raster::black(width, height, picture.format);
    let row_bytes = seen.width as usize * seen.format.pixel_bytes();
    let start = across.to as usize * seen.format.pixel_bytes();
    for (y, row) in (down.to..).zip(seen.bytes.chunks_exact(row_bytes)) {
        if let Some(part) = raster.row_mut(y).get_mut(start..start + row_bytes) {
            part.copy_from_slice(row);
        }
    }
    Ok(raster)
}

/// What part of a side is seen, and where.
#[derive(Debug)]
struct Stretch {
    from: f64,
    length: f64,
    to: u32,
    pixels: u32,
}

impl Stretch {
    /// Of a side of `side` pixels, of which `length` from `start` on become `pixels`; nothing where none is seen.
    fn of(start: f64, length: f64, side: u32, pixels: u32) -> Option<Self> {
        let (from, end) = (start.max(0.0), (start + length).min(f64::from(side)));
        if end <= from {
            return None;
        }
        let place = |at: f64| ((at - start) / length * f64::from(pixels)).round();
        let to = place(from).clamp(0.0, f64::from(pixels - 1)) as u32;
        let past = place(end).clamp(f64::from(to + 1), f64::from(pixels)) as u32;
        Some(Self { from, length: end - from, to, pixels: past - to })
    }
}

fn resize(picture: &Raster, across: &Stretch, down: &Stretch) -> Result<Raster, Error> {
    let pixel = match picture.format {
        Format::Gray8 => PixelType::U8,
        Format::Rgb8 => PixelType::U8x3,
    };
    let failed = |error: &dyn std::fmt::Display| malformed(format!("scaling: {error}"));
    let source = ImageRef::new(picture.width, picture.height, &picture.bytes, pixel);
    let source = source.map_err(|error| failed(&error))?;
    let mut scaled = Image::new(across.pixels, down.pixels, pixel);
    let is_larger = f64::from(across.pixels) > across.length || f64::from(down.pixels) > down.length;
    let filter = if is_larger { FilterType::CatmullRom } else { FilterType::Bilinear };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(
        across.from,
        down.from,
        across.length,
        down.length,
    );
    let resized = Resizer::new().resize(&source, &mut scaled, &options);
    resized.map_err(|error| failed(&error))?;
    let (width, height, format) = (across.pixels, down.pixels, picture.format);
    Ok(Raster { width, height, format, bytes: scaled.into_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::view::{Layout, Viewport};

    fn shown(picture: Raster, viewport: (u32, u32), region: Region) -> Raster {
        let viewport = Viewport { width: viewport.0, height: viewport.1, region: Some(region) };
        let layout = Layout { aspect: 1.0, turns: 0, mirrored: false, side_max: 4096 };
        let view = View::of(region, Some(viewport), layout).unwrap();
        scale(picture, &view).unwrap()
    }

    /// Left half black, right half white.
    fn halves(side: u32) -> Raster {
        let row = (0..side).map(|x| if x < side / 2 { 0 } else { 255 });
        let bytes = (0..side).flat_map(|_| row.clone()).collect();
        Raster { width: side, height: side, format: Format::Gray8, bytes }
    }

    #[test]
    fn areas_are_averaged() {
        let lines: Vec<u8> = (0..64 * 64).map(|pixel| if pixel % 2 == 0 { 0 } else { 255 }).collect();
        let picture = Raster { width: 64, height: 64, format: Format::Gray8, bytes: lines };
        let all = Region { x: 0.0, y: 0.0, width: 64.0, height: 64.0 };
        let small = shown(picture, (8, 8), all);
        assert_eq!((small.width, small.height), (8, 8));
        assert!(small.bytes.iter().all(|grey| (118..=138).contains(grey)), "{:?}", small.bytes);
    }

    #[test]
    fn a_region_is_cut_out() {
        let right = Region { x: 32.0, y: 0.0, width: 32.0, height: 32.0 };
        let cut = shown(halves(64), (32, 32), right);
        assert_eq!(cut.bytes, vec![255; 32 * 32]);
    }

    #[test]
    fn black_lies_where_the_picture_does_not_reach() {
        let past = Region { x: 32.0, y: -32.0, width: 64.0, height: 64.0 };
        let raster = shown(halves(64), (64, 64), past);
        for (index, grey) in raster.bytes.iter().enumerate() {
            let seen = index % 64 < 32 && index / 64 >= 32;
            assert_eq!(*grey, if seen { 255 } else { 0 }, "pixel {index}");
        }
        let beyond = Region { x: 1e12, y: 0.0, width: 4.0, height: 4.0 };
        assert_eq!(shown(halves(64), (4, 4), beyond).bytes, [0; 16]);
    }

    #[test]
    fn colours_are_scaled_apart() {
        let picture = Raster { width: 2, height: 1, format: Format::Rgb8, bytes: vec![255, 0, 0, 255, 0, 9] };
        let all = Region { x: 0.0, y: 0.0, width: 2.0, height: 1.0 };
        let large = shown(picture, (8, 4), all);
        assert_eq!(large.bytes.len(), 8 * 4 * 3);
        assert!(large.bytes.chunks_exact(3).all(|pixel| pixel[0] == 255 && pixel[1] == 0 && pixel[2] <= 11));
    }
}
