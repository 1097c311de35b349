//! Lines, areas and text on a raster.

use std::convert::Infallible;

use embedded_graphics::{
    Drawable, Pixel,
    geometry::{Dimensions, OriginDimensions, Point, Size},
    mono_font::{MonoFont, MonoTextStyle, iso_8859_1},
    pixelcolor::BinaryColor,
    prelude::DrawTarget,
    text::{Alignment, Baseline, Text, TextStyleBuilder},
};

use super::{polygon, raster::Raster};

/// A line between two points.
pub(super) fn line(raster: &mut Raster, from: (f64, f64), to: (f64, f64), colour: [u8; 3]) {
    let Some((from, to)) = clip(raster, from, to) else { return };
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let steps = across.abs().max(down.abs()).ceil().max(1.0);
    for step in 0..=steps as u64 {
        let share = step as f64 / steps;
        let (x, y) = (from.0 + across * share, from.1 + down * share);
        raster.paint(x.floor() as i64, y.floor() as i64, colour);
    }
}

/// Lines from each point to the next.
pub(super) fn lines(raster: &mut Raster, points: &[(f64, f64)], colour: [u8; 3]) {
    for pair in points.windows(2) {
        line(raster, pair[0], pair[1], colour);
    }
}

/// The inside of a polygon.
pub(super) fn area(raster: &mut Raster, corners: &[(f64, f64)], colour: [u8; 3]) {
    let width = f64::from(raster.width);
    for y in 0..raster.height {
        for (from, to) in polygon::spans(corners, f64::from(y) + 0.5) {
            let (from, to) = (from.clamp(0.0, width).round() as i64, to.clamp(0.0, width).round() as i64);
            for x in from..to {
                raster.paint(x, y.into(), colour);
            }
        }
    }
}

/// Where text stands to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Centre,
    Right,
}

/// Text of one or more lines from a point downwards, black behind it so that it reads on any grey. Characters outside Latin-1
/// become question marks.
pub(super) fn text(raster: &mut Raster, at: (f64, f64), side: Side, text: &str, colour: [u8; 3]) {
    let font = font(raster);
    let alignment = match side {
        Side::Left => Alignment::Left,
        Side::Centre => Alignment::Center,
        Side::Right => Alignment::Right,
    };
    let style = TextStyleBuilder::new().alignment(alignment).baseline(Baseline::Top).build();
    let far = |length: f64| length.clamp(-100_000.0, 100_000.0) as i32;
    let at = Point::new(far(at.0), far(at.1));
    for (shift, colour) in [(1, [0; 3]), (0, colour)] {
        let glyphs = MonoTextStyle::new(font, BinaryColor::On);
        let placed = Text::with_text_style(text, at + Point::new(shift, shift), glyphs, style);
        let Ok(_) = placed.draw(&mut Canvas { raster: &mut *raster, colour });
    }
}

/// Pixels from one line of text to the next.
pub(super) fn line_height(raster: &Raster) -> u32 {
    font(raster).character_size.height
}

/// Larger on larger pictures.
fn font(raster: &Raster) -> &'static MonoFont<'static> {
    match raster.width.min(raster.height) {
        0..256 => &iso_8859_1::FONT_6X10,
        256..600 => &iso_8859_1::FONT_7X13,
        600..1200 => &iso_8859_1::FONT_9X15,
        _ => &iso_8859_1::FONT_10X20,
    }
}

struct Canvas<'a> {
    raster: &'a mut Raster,
    colour: [u8; 3],
}

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(self.raster.width, self.raster.height)
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        let seen = self.bounding_box();
        for Pixel(point, is_set) in pixels {
            if is_set.is_on() && seen.contains(point) {
                self.raster.paint(point.x.into(), point.y.into(), self.colour);
            }
        }
        Ok(())
    }
}

/// The part of a line that can be seen (Liang and Barsky's way), so that no line takes longer than the raster is wide.
fn clip(raster: &Raster, from: (f64, f64), to: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let (right, bottom) = (f64::from(raster.width), f64::from(raster.height));
    if !(across.is_finite() && down.is_finite()) {
        return None;
    }
    let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
    let edges = [(-across, from.0), (across, right - from.0), (-down, from.1), (down, bottom - from.1)];
    for (towards, room) in edges {
        if towards == 0.0 && room < 0.0 {
            return None;
        }
        if towards < 0.0 {
            enters = enters.max(room / towards);
        } else if towards > 0.0 {
            leaves = leaves.min(room / towards);
        }
    }
    let at = |share: f64| (from.0 + across * share, from.1 + down * share);
    (enters <= leaves).then(|| (at(enters), at(leaves)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::raster::Format;

    fn black(width: u32, height: u32) -> Raster {
        Raster::black(width, height, Format::Gray8)
    }

    #[test]
    fn a_line_is_cut_at_the_edges() {
        let mut raster = black(4, 3);
        line(&mut raster, (-1e9, 1.5), (1e9, 1.5), [9; 3]);
        assert_eq!(raster.bytes, [0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0]);
        line(&mut raster, (-5.0, -5.0), (-1.0, 8.0), [7; 3]);
        line(&mut raster, (f64::NAN, 0.0), (1.0, 1.0), [7; 3]);
        assert!(!raster.bytes.contains(&7));
    }

    #[test]
    fn an_area_is_filled() {
        let mut raster = black(4, 4);
        area(&mut raster, &[(1.0, 1.0), (3.0, 1.0), (3.0, 9.0), (1.0, 9.0)], [9; 3]);
        assert_eq!(raster.bytes, [0, 0, 0, 0, 0, 9, 9, 0, 0, 9, 9, 0, 0, 9, 9, 0]);
    }

    #[test]
    fn text_is_seen_and_cut_at_the_edges() {
        let mut raster = black(40, 12);
        text(&mut raster, (1.0, 1.0), Side::Left, "Rö 片", [255; 3]);
        assert!(raster.bytes.iter().filter(|grey| **grey == 255).count() > 20);
        text(&mut raster, (1e12, -1e12), Side::Right, "far away", [255; 3]);
    }
}
