//! Display shutters: what lies outside is not shown (PS3.3 C.7.6.11, C.7.6.15).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{
    attributes::{number, numbers, text},
    ink::Ink,
    overlay::Overlay,
    polygon,
    raster::Raster,
};
use crate::Frame;

/// Corners of a polygon that are looked at.
const VERTICES_MAX: usize = 4096;

/// A shutter of one or several shapes; what is seen lies within all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shutter {
    shapes: Vec<Shape>,
    bitmap: Option<Overlay>,
    ink: Ink,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Columns and rows from and to, as edges of pixels.
    Rectangle { left: f64, right: f64, upper: f64, lower: f64 },
    /// Centre and radius, in pixels of a row.
    Circle { x: f64, y: f64, radius: f64 },
    /// Corners.
    Polygon(Vec<(f64, f64)>),
}

impl Shutter {
    /// Of an image, an item of its functional groups, or a presentation state.
    pub(super) fn of(dataset: &InMemDicomObject) -> Option<Self> {
        let terms = text(dataset, tags::SHUTTER_SHAPE);
        let shapes = terms.split('\\').filter_map(|term| Shape::of(dataset, term.trim())).collect::<Vec<_>>();
        let group = number(dataset, tags::SHUTTER_OVERLAY_GROUP).map(|group| group as u16);
        let bitmap = group.and_then(|group| Overlay::of(dataset, group));
        let ink = Ink::of(
            dataset,
            tags::SHUTTER_PRESENTATION_VALUE,
            tags::SHUTTER_PRESENTATION_COLOR_CIE_LAB_VALUE,
            Ink::BLACK,
        );
        (!shapes.is_empty() || bitmap.is_some()).then_some(Self { shapes, bitmap, ink })
    }

    /// The group of the overlay that serves as a shutter and is no drawing.
    pub(super) fn group(&self) -> Option<u16> {
        self.bitmap.as_ref().map(|overlay| overlay.group)
    }

    /// Covers what lies outside.
    pub(super) fn cover(&self, picture: &mut Raster, frame: &Frame, frame_number: u32, aspect: f64) {
        let colour = self.ink.on(picture.format);
        let mut seen = vec![true; picture.width as usize];
        for y in 0..picture.height {
            seen.fill(true);
            for shape in &self.shapes {
                shape.narrow(&mut seen, f64::from(y) + 0.5, aspect);
            }
            let pixel_bytes = picture.format.pixel_bytes();
            for (pixel, seen) in picture.row_mut(y).chunks_exact_mut(pixel_bytes).zip(&seen) {
                if !seen {
                    pixel.copy_from_slice(&colour[..pixel_bytes]);
                }
            }
        }
        if let Some(bitmap) = &self.bitmap {
            bitmap.paint(picture, frame, frame_number, None, colour);
        }
    }
}

impl Shape {
    fn of(dataset: &InMemDicomObject, term: &str) -> Option<Self> {
        match term {
            "RECTANGULAR" => Some(Self::Rectangle {
                left: number(dataset, tags::SHUTTER_LEFT_VERTICAL_EDGE)? - 1.0,
                right: number(dataset, tags::SHUTTER_RIGHT_VERTICAL_EDGE)?,
                upper: number(dataset, tags::SHUTTER_UPPER_HORIZONTAL_EDGE)? - 1.0,
                lower: number(dataset, tags::SHUTTER_LOWER_HORIZONTAL_EDGE)?,
            }),
            "CIRCULAR" => match numbers(dataset, tags::CENTER_OF_CIRCULAR_SHUTTER)[..] {
                [row, column, ..] => Some(Self::Circle {
                    x: column - 0.5,
                    y: row - 0.5,
                    radius: number(dataset, tags::RADIUS_OF_CIRCULAR_SHUTTER)?,
                }),
                _ => None,
            },
            "POLYGONAL" => {
                let vertices = numbers(dataset, tags::VERTICES_OF_THE_POLYGONAL_SHUTTER);
                let vertices = vertices.chunks_exact(2).take(VERTICES_MAX);
                let corners: Vec<_> = vertices.map(|vertex| (vertex[1] - 0.5, vertex[0] - 0.5)).collect();
                (corners.len() > 2).then_some(Self::Polygon(corners))
            }
            _ => None,
        }
    }

    /// Takes from a row what lies outside; `y` is the middle of the row.
    fn narrow(&self, seen: &mut [bool], y: f64, aspect: f64) {
        let spans = match self {
            Self::Rectangle { left, right, upper, lower } if (*upper..*lower).contains(&y) => {
                vec![(*left, *right)]
            }
            Self::Rectangle { .. } => Vec::new(),
            Self::Circle { x, y: middle, radius } => {
                let down = (y - middle) * aspect;
                let half = (radius * radius - down * down).max(0.0).sqrt();
                if down.abs() <= *radius { vec![(x - half, x + half)] } else { Vec::new() }
            }
            Self::Polygon(corners) => polygon::spans(corners, y),
        };
        for (column, seen) in seen.iter_mut().enumerate() {
            let x = column as f64 + 0.5;
            *seen &= spans.iter().any(|(from, to)| (*from..=*to).contains(&x));
        }
    }
}
