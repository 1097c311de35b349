//! Overlay planes: drawings of one bit a pixel (PS3.3 C.9).

use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use super::{
    attributes::{bytes, has, number, numbers, text},
    raster::Raster,
};
use crate::Frame;

/// Elements of an overlay's group.
const ROWS: u16 = 0x0010;
const COLUMNS: u16 = 0x0011;
const FRAMES: u16 = 0x0015;
const ORIGIN: u16 = 0x0050;
const FRAME_ORIGIN: u16 = 0x0051;
const BIT_POSITION: u16 = 0x0102;
const ACTIVATION_LAYER: u16 = 0x1001;
const DATA: u16 = 0x3000;

/// The groups an overlay may have.
fn groups() -> impl Iterator<Item = u16> {
    (0x6000..=0x601E).step_by(2)
}

/// One overlay plane.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Overlay {
    /// Its group, 0x6000 to 0x601E.
    pub(super) group: u16,
    rows: u32,
    columns: u32,
    /// Where its first pixel lies in the image, counted from 0.
    top: i64,
    left: i64,
    /// The frame (from 1) of the image that its first frame is for, and how many it has; none is for all.
    frames: Option<(u32, u32)>,
    plane: Plane,
}

#[derive(Debug, Clone, PartialEq)]
enum Plane {
    /// Bits, the first being the lowest of the first byte.
    Bits(Vec<u8>),
    /// A bit of each stored sample that means nothing else (retired).
    Embedded(u32),
}

impl Overlay {
    /// All of a dataset, by their group.
    pub(super) fn all_of(dataset: &InMemDicomObject) -> Vec<Self> {
        groups().filter_map(|group| Self::of(dataset, group)).collect()
    }

    /// The plane of a group.
    pub(super) fn of(dataset: &InMemDicomObject, group: u16) -> Option<Self> {
        let count = |element| number(dataset, Tag(group, element)).filter(|number| *number >= 1.0);
        let (rows, columns) = (count(ROWS)? as u32, count(COLUMNS)? as u32);
        let (top, left) = match numbers(dataset, Tag(group, ORIGIN))[..] {
            [row, column, ..] => (row as i64 - 1, column as i64 - 1),
            _ => (0, 0),
        };
        let plane = if has(dataset, Tag(group, DATA)) {
            Plane::Bits(bytes(dataset, Tag(group, DATA)))
        } else {
            Plane::Embedded(number(dataset, Tag(group, BIT_POSITION))? as u32)
        };
        let frames = count(FRAMES).or_else(|| count(FRAME_ORIGIN).map(|_| 1.0));
        let frames = frames.map(|frames| (count(FRAME_ORIGIN).unwrap_or(1.0) as u32, frames as u32));
        Some(Self { group, rows, columns, top, left, frames, plane })
    }

    /// True where it has pixels of its own, not just a place for some.
    pub(super) fn is_drawn(&self) -> bool {
        matches!(self.plane, Plane::Bits(_))
    }

    /// Paints its pixels on the picture of a frame. `stored` are the frame's samples with all their bits, where they are at hand.
    pub(super) fn paint(
        &self,
        picture: &mut Raster,
        frame: &Frame,
        frame_number: u32,
        stored: Option<&[u8]>,
        colour: [u8; 3],
    ) {
        let Some(index) = self.index(frame_number) else { return };
        let (width, height) = (i64::from(picture.width), i64::from(picture.height));
        let rows = (-self.top).max(0)..i64::from(self.rows).min(height.saturating_sub(self.top));
        for row in rows {
            let columns = (-self.left).max(0)..i64::from(self.columns).min(width.saturating_sub(self.left));
            for column in columns {
                let (x, y) = (self.left + column, self.top + row);
                let is_set = match &self.plane {
                    Plane::Bits(bits) => self.bit(bits, index, row as u64, column as u64),
                    Plane::Embedded(bit) => {
                        stored.is_some_and(|stored| embedded(stored, frame, *bit, x as u64, y as u64))
                    }
                };
                if is_set {
                    picture.paint(x, y, colour);
                }
            }
        }
    }

    /// Which of its frames is for a frame of the image.
    fn index(&self, frame_number: u32) -> Option<u64> {
        match self.frames {
            None => Some(0),
            // One plane of an image of many frames is for all of them where no frame is named.
            Some((1, 1)) => Some(0),
            Some((first, frames)) => {
                frame_number.checked_sub(first).filter(|index| *index < frames).map(u64::from)
            }
        }
    }

    fn bit(&self, bits: &[u8], index: u64, row: u64, column: u64) -> bool {
        let frame_bits = u64::from(self.rows) * u64::from(self.columns);
        let bit = index.saturating_mul(frame_bits).saturating_add(row * u64::from(self.columns) + column);
        let byte = usize::try_from(bit / 8).ok().and_then(|byte| bits.get(byte));
        byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }
}

fn embedded(stored: &[u8], frame: &Frame, bit: u32, x: u64, y: u64) -> bool {
    let width = frame.sample.bytes();
    let Ok(pixel) = usize::try_from(y * u64::from(frame.columns) + x) else { return false };
    let byte = pixel.saturating_mul(width).saturating_add(bit as usize / 8);
    (bit as usize) < 8 * width && stored.get(byte).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

/// The overlays a presentation state shows, each with its layer: its own, else those of the image it activates.
pub(super) fn activated(state: &InMemDicomObject, of_image: &[Overlay]) -> Vec<(Overlay, String)> {
    let layer = |group| text(state, Tag(group, ACTIVATION_LAYER));
    let is_active = |group: &u16| !layer(*group).is_empty();
    let overlay = |group| {
        let own = Overlay::of(state, group).filter(Overlay::is_drawn);
        let own = own.or_else(|| of_image.iter().find(|overlay| overlay.group == group).cloned());
        own.map(|overlay| (overlay, layer(group)))
    };
    groups().filter(is_active).filter_map(overlay).collect()
}
