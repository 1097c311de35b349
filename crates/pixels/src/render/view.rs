//! What part of a picture is seen, which way up, and how large.

use super::raster::Raster;
use crate::{Error, error::malformed};

/// The room a picture is scaled to, its proportions kept (PS3.18 8.3.5.1.3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    /// Pixels at most in a row.
    pub width: u32,
    /// Rows at most.
    pub height: u32,
    /// The part of the image to show; all of it when there is none.
    pub region: Option<Region>,
}

/// A part of an image, in its pixels, its upper left corner being 0, 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Pixels to the right; below zero they are mirrored.
    pub width: f64,
    /// Pixels down; below zero they are mirrored.
    pub height: f64,
}

impl Region {
    fn is_some(&self) -> bool {
        let Self { x, y, width, height } = *self;
        let sides = width.is_finite() && height.is_finite() && width != 0.0 && height != 0.0;
        sides && x.is_finite() && y.is_finite()
    }
}

/// From the pixels of an image to those of a raster: a region of it, turned, mirrored, scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    /// The part of the image; its sides are above zero.
    pub(super) region: Region,
    /// Quarter turns clockwise.
    pub(super) turns: u8,
    /// Left becomes right, once turned.
    pub(super) mirrored: bool,
    /// Up becomes down, once turned.
    pub(super) upended: bool,
    /// Pixels of a row of the raster.
    pub(super) width: u32,
    /// Rows of the raster.
    pub(super) height: u32,
}

/// How a region is to be laid out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    /// The height of an image's pixel over its width.
    pub(super) aspect: f64,
    /// Quarter turns clockwise.
    pub(super) turns: u8,
    /// Left becomes right.
    pub(super) mirrored: bool,
    /// Pixels a side of the raster may have.
    pub(super) side_max: u32,
}

impl View {
    /// Of a region of an image, in a viewport or (one pixel for one) without.
    pub(super) fn of(region: Region, viewport: Option<Viewport>, layout: Layout) -> Result<Self, Error> {
        let region = viewport.and_then(|viewport| viewport.region).unwrap_or(region);
        if !region.is_some() {
            return Err(malformed("the region to show has no pixels"));
        }
        let (width, height) = (region.width.abs(), region.height.abs());
        let Layout { aspect, turns, mirrored, side_max } = layout;
        let aspect = if viewport.is_some() { aspect } else { 1.0 };
        let turned = |width, height| if turns % 2 == 1 { (height, width) } else { (width, height) };
        let (across, down) = turned(width, height * aspect);
        let room = viewport.map_or((side_max, side_max), |viewport| (viewport.width, viewport.height));
        let room = (f64::from(room.0.clamp(1, side_max)), f64::from(room.1.clamp(1, side_max)));
        let fitting = (room.0 / across).min(room.1 / down);
        let scale = if viewport.is_some() { fitting } else { fitting.min(1.0) };
        let pixels = |length: f64, most: f64| (length * scale).round().clamp(1.0, most) as u32;
        let (width_out, height_out) = (pixels(across, room.0), pixels(down, room.1));
        Ok(Self {
            region: Region { x: region.x, y: region.y, width, height },
            turns: turns % 4,
            mirrored: mirrored != (region.width < 0.0),
            upended: region.height < 0.0,
            width: width_out,
            height: height_out,
        })
    }

    /// Where a point of the image comes to lie in the raster.
    pub(super) fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = (x - self.region.x) / self.region.width;
        let down = (y - self.region.y) / self.region.height;
        let (across, down) = match self.turns {
            1 => (1.0 - down, across),
            2 => (1.0 - across, 1.0 - down),
            3 => (down, 1.0 - across),
            _ => (across, down),
        };
        let across = if self.mirrored { 1.0 - across } else { across };
        let down = if self.upended { 1.0 - down } else { down };
        (across * f64::from(self.width), down * f64::from(self.height))
    }

    /// Width and height before it is turned.
    pub(super) fn upright(&self) -> (u32, u32) {
        if self.turns % 2 == 1 { (self.height, self.width) } else { (self.width, self.height) }
    }

    /// Turns and mirrors what has been scaled.
    pub(super) fn turn(&self, scaled: Raster) -> Raster {
        if self.turns == 0 && !self.mirrored && !self.upended {
            return scaled;
        }
        let mut turned = Raster::black(self.width, self.height, scaled.format);
        let pixel_bytes = scaled.format.pixel_bytes();
        let (across, down) = (scaled.width as usize, scaled.height as usize);
        let (width, height) = (self.width as usize, self.height as usize);
        for y in 0..height {
            for x in 0..width {
                let x_turned = if self.mirrored { width - 1 - x } else { x };
                let y_turned = if self.upended { height - 1 - y } else { y };
                let (from_x, from_y) = match self.turns {
                    1 => (y_turned, down - 1 - x_turned),
                    2 => (across - 1 - x_turned, down - 1 - y_turned),
                    3 => (across - 1 - y_turned, x_turned),
                    _ => (x_turned, y_turned),
                };
                let (from, to) = ((from_y * across + from_x) * pixel_bytes, (y * width + x) * pixel_bytes);
                let (from, to) = (from..from + pixel_bytes, to..to + pixel_bytes);
                turned.bytes[to].copy_from_slice(&scaled.bytes[from]);
            }
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::raster::Format;

    const ALL: Region = Region { x: 0.0, y: 0.0, width: 400.0, height: 200.0 };
    const PLAIN: Layout = Layout { aspect: 1.0, turns: 0, mirrored: false, side_max: 4096 };

    fn viewport(width: u32, height: u32) -> Option<Viewport> {
        Some(Viewport { width, height, region: None })
    }

    fn size(viewport: Option<Viewport>, layout: Layout) -> (u32, u32) {
        let view = View::of(ALL, viewport, layout).unwrap();
        (view.width, view.height)
    }

    #[test]
    fn proportions_are_kept_within_the_viewport() {
        assert_eq!(size(None, PLAIN), (400, 200));
        assert_eq!(size(viewport(100, 100), PLAIN), (100, 50));
        assert_eq!(size(viewport(1000, 600), PLAIN), (1000, 500));
        assert_eq!(size(viewport(100, 100), Layout { turns: 1, ..PLAIN }), (50, 100));
        // Pixels twice as high as wide make a square of it.
        assert_eq!(size(viewport(100, 100), Layout { aspect: 2.0, ..PLAIN }), (100, 100));
        // Nothing is larger than it may be, nor without a pixel.
        assert_eq!(size(viewport(u32::MAX, u32::MAX), PLAIN), (4096, 2048));
        assert_eq!(size(viewport(1, 1), PLAIN), (1, 1));
        assert_eq!(size(None, Layout { side_max: 40, ..PLAIN }), (40, 20));
    }

    #[test]
    fn a_point_of_the_image_lies_where_its_pixel_does() {
        for turns in 0..4 {
            for mirrored in [false, true] {
                let region = Region { x: 0.0, y: 0.0, width: 3.0, height: 2.0 };
                let view = View::of(region, None, Layout { turns, mirrored, ..PLAIN }).unwrap();
                let picture = Raster { width: 3, height: 2, format: Format::Gray8, bytes: (1..=6).collect() };
                let turned = view.turn(picture);
                let (x, y) = view.place((2.5, 0.5));
                assert_eq!(turned.bytes[y as usize * turned.width as usize + x as usize], 3, "{turns}");
            }
        }
    }

    #[test]
    fn a_quarter_turn_is_clockwise_and_comes_before_the_mirror() {
        let region = Region { x: 0.0, y: 0.0, width: 2.0, height: 2.0 };
        let picture = Raster { width: 2, height: 2, format: Format::Gray8, bytes: vec![1, 2, 3, 4] };
        let turned = |turns, mirrored| {
            let view = View::of(region, None, Layout { turns, mirrored, ..PLAIN }).unwrap();
            view.turn(picture.clone()).bytes
        };
        assert_eq!(turned(1, false), [3, 1, 4, 2]);
        assert_eq!(turned(2, false), [4, 3, 2, 1]);
        assert_eq!(turned(3, false), [2, 4, 1, 3]);
        assert_eq!(turned(1, true), [1, 3, 2, 4]);
    }

    #[test]
    fn regions_of_nothing_are_refused() {
        for region in [Region { width: 0.0, ..ALL }, Region { x: f64::NAN, ..ALL }] {
            let viewport = Viewport { width: 10, height: 10, region: Some(region) };
            assert!(View::of(ALL, Some(viewport), PLAIN).is_err());
        }
    }
}
