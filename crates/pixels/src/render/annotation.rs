//! Graphic annotations of a presentation state (PS3.3 C.10.5), drawn on the scaled picture so that lines stay thin.

use std::f64::consts::TAU;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use super::{
    attributes::{items, numbers, text},
    draw::{self, Side},
    ink::Ink,
    raster::Raster,
    view::View,
};

/// Points of graphics that are drawn for one picture.
const POINTS_MAX: usize = 50_000;

/// Characters of a text that are drawn.
const CHARACTERS_MAX: usize = 1024;

/// Points of a circle or an ellipse, and between two of a curve.
const CIRCLE_POINTS: usize = 90;
const CURVE_POINTS: usize = 8;

type Point = (f64, f64);

/// Draws on a raster what it shows by a view.
pub(super) struct Drawing<'a> {
    raster: &'a mut Raster,
    view: View,
    points_left: usize,
}

impl<'a> Drawing<'a> {
    pub(super) fn on(raster: &'a mut Raster, view: View) -> Self {
        Self { raster, view, points_left: POINTS_MAX }
    }

    /// Draws an item of the Graphic Annotation Sequence.
    pub(super) fn annotate(&mut self, annotation: &InMemDicomObject, ink: Ink) {
        let colour = ink.on(self.raster.format);
        for object in items(annotation, tags::GRAPHIC_OBJECT_SEQUENCE) {
            self.graphic(object, colour);
        }
        for object in items(annotation, tags::TEXT_OBJECT_SEQUENCE) {
            self.text(object, colour);
        }
    }

    fn graphic(&mut self, object: &InMemDicomObject, colour: [u8; 3]) {
        let data = numbers(object, tags::GRAPHIC_DATA);
        let points = data.chunks_exact(2).take(self.points_left).map(|point| (point[0], point[1]));
        let points: Vec<Point> = points.collect();
        let outline = match (text(object, tags::GRAPHIC_TYPE).as_str(), &points[..]) {
            ("POLYLINE", points) => points.to_vec(),
            ("INTERPOLATED", points) => curve(points),
            ("CIRCLE", [centre, edge, ..]) => {
                let radius = (edge.0 - centre.0).hypot(edge.1 - centre.1);
                ellipse(*centre, (radius, 0.0), (0.0, radius))
            }
            ("ELLIPSE", [one, other, above, below, ..]) => {
                let half = |(from, to): (Point, Point)| ((to.0 - from.0) / 2.0, (to.1 - from.1) / 2.0);
                let major = half((*one, *other));
                ellipse((one.0 + major.0, one.1 + major.1), major, half((*above, *below)))
            }
            ("POINT", [point, ..]) => {
                let (x, y) = self.place(object, tags::GRAPHIC_ANNOTATION_UNITS, *point);
                draw::lines(self.raster, &[(x - 3.0, y), (x + 3.0, y)], colour);
                draw::lines(self.raster, &[(x, y - 3.0), (x, y + 3.0)], colour);
                return;
            }
            _ => return,
        };
        self.points_left = self.points_left.saturating_sub(outline.len().max(1));
        let place = |point| self.place(object, tags::GRAPHIC_ANNOTATION_UNITS, point);
        let outline: Vec<Point> = outline.into_iter().map(place).collect();
        if text(object, tags::GRAPHIC_FILLED) == "Y" {
            draw::area(self.raster, &outline, colour);
        }
        draw::lines(self.raster, &outline, colour);
    }

    fn text(&mut self, object: &InMemDicomObject, colour: [u8; 3]) {
        let place = |tag, units| match numbers(object, tag)[..] {
            [x, y, ..] => Some(self.place(object, units, (x, y))),
            _ => None,
        };
        let box_units = tags::BOUNDING_BOX_ANNOTATION_UNITS;
        let corner = place(tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER, box_units);
        let opposite = place(tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER, box_units).or(corner);
        let anchor = place(tags::ANCHOR_POINT, tags::ANCHOR_POINT_ANNOTATION_UNITS);
        self.points_left = self.points_left.saturating_sub(1);
        if self.points_left == 0 {
            return;
        }
        let (side, at) = match (corner.zip(opposite), anchor) {
            (Some((one, other)), _) => {
                let (left, right) = (one.0.min(other.0), one.0.max(other.0));
                let top = one.1.min(other.1);
                match text(object, tags::BOUNDING_BOX_TEXT_HORIZONTAL_JUSTIFICATION).as_str() {
                    "RIGHT" => (Side::Right, (right, top)),
                    "CENTER" => (Side::Centre, ((left + right) / 2.0, top)),
                    _ => (Side::Left, (left, top)),
                }
            }
            (None, Some(anchor)) => (Side::Left, anchor),
            (None, None) => return,
        };
        if let Some(anchor) = anchor.filter(|_| corner.is_some())
            && text(object, tags::ANCHOR_POINT_VISIBILITY) == "Y"
        {
            draw::line(self.raster, anchor, at, colour);
        }
        let words: String = text(object, tags::UNFORMATTED_TEXT_VALUE).chars().take(CHARACTERS_MAX).collect();
        draw::text(self.raster, at, side, &words.replace('\r', ""), colour);
    }

    /// A point of the image, or a share of what is displayed, on the raster.
    fn place(&self, object: &InMemDicomObject, units: Tag, (x, y): Point) -> Point {
        match text(object, units).as_str() {
            "DISPLAY" => (x * f64::from(self.view.width), y * f64::from(self.view.height)),
            _ => self.view.place((x, y)),
        }
    }
}

/// A closed line around a centre by two half axes.
fn ellipse(centre: Point, major: Point, minor: Point) -> Vec<Point> {
    let point = |step: usize| {
        let (sine, cosine) = (step as f64 / CIRCLE_POINTS as f64 * TAU).sin_cos();
        (centre.0 + major.0 * cosine + minor.0 * sine, centre.1 + major.1 * cosine + minor.1 * sine)
    };
    (0..=CIRCLE_POINTS).map(point).collect()
}

/// A smooth curve through points (Catmull and Rom's).
fn curve(points: &[Point]) -> Vec<Point> {
    let Some(&last) = points.last() else { return Vec::new() };
    let at = |index: usize| points.get(index).copied().unwrap_or(last);
    let mut curve = Vec::new();
    for index in 0..points.len().saturating_sub(1) {
        let ends = [at(index.saturating_sub(1)), at(index), at(index + 1), at(index + 2)];
        for step in 0..CURVE_POINTS {
            let t = step as f64 / CURVE_POINTS as f64;
            let blend = |[a, b, c, d]: [f64; 4]| {
                let (linear, square, cube) = (c - a, 2.0 * a - 5.0 * b + 4.0 * c - d, 3.0 * (b - c) + d - a);
                b + 0.5 * t * (linear + t * (square + t * cube))
            };
            curve.push((blend(ends.map(|point| point.0)), blend(ends.map(|point| point.1))));
        }
    }
    curve.push(last);
    curve
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_through_its_points() {
        let points = [(0.0, 0.0), (4.0, 8.0), (8.0, 0.0)];
        let curve = curve(&points);
        assert!(points.iter().all(|point| curve.contains(point)));
        assert_eq!(curve.len(), 2 * CURVE_POINTS + 1);
    }

    #[test]
    fn an_ellipse_reaches_its_axes() {
        let ellipse = ellipse((10.0, 10.0), (4.0, 0.0), (0.0, 2.0));
        let reach = |axis: fn(&Point) -> f64| ellipse.iter().map(axis).fold(0.0, f64::max);
        assert!((reach(|point| point.0) - 14.0).abs() < 0.01 && (reach(|point| point.1) - 12.0).abs() < 0.01);
    }
}
