//! A softcopy presentation state as it is for one frame of one image (PS3.3 A.33, C.10, C.11; PS3.4 N.2).
//!
//! What it does not say is not done, even where the image itself says it (PS3.4 N.2).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{
    annotation::Drawing,
    attributes::{has, items, number, numbers, text},
    grey::{Presentation, Voi},
    ink::Ink,
    lut::Lut,
    overlay::{self, Overlay},
    raster::Raster,
    shutter::Shutter,
    view::{Region, View},
    window::Window,
};

/// Frames by Referenced Frame Number (0008,1160), none for all of them; `None` when a number cannot be read: then nobody knows which
/// are meant, and not all.
#[must_use]
pub fn referenced_frames(text: &str) -> Option<Vec<u32>> {
    let text = text.trim_matches([' ', '\0']);
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split('\\').map(|number| number.trim().parse().ok()).collect()
}

/// A presentation state, and the frame it is to be applied to.
#[derive(Clone, Copy)]
pub(super) struct State<'a> {
    pub(super) dataset: &'a InMemDicomObject,
    pub(super) sop_instance_uid: &'a str,
    pub(super) frame_number: u32,
}

impl<'a> State<'a> {
    /// True for an item that names this frame, or none. Numbers that cannot be read name no frame.
    fn concerns(&self, item: &InMemDicomObject) -> bool {
        let images = items(item, tags::REFERENCED_IMAGE_SEQUENCE);
        let names = |image: &InMemDicomObject| {
            let frames = referenced_frames(&text(image, tags::REFERENCED_FRAME_NUMBER));
            text(image, tags::REFERENCED_SOP_INSTANCE_UID) == self.sop_instance_uid
                && frames.is_some_and(|frames| frames.is_empty() || frames.contains(&self.frame_number))
        };
        images.is_empty() || images.iter().any(names)
    }

    /// The table or window of interest.
    pub(super) fn voi(&self, low: f64, is_fine: bool) -> Option<Voi> {
        let of_frame = items(self.dataset, tags::SOFTCOPY_VOILUT_SEQUENCE).iter();
        let of_frame = of_frame.filter(|item| self.concerns(item));
        let table = |item: &InMemDicomObject| {
            let table = items(item, tags::VOILUT_SEQUENCE).first()?;
            Lut::of(table, tags::LUT_DESCRIPTOR, tags::LUT_DATA, low < 0.0).ok()
        };
        let interest = |item: &InMemDicomObject| {
            table(item).map(Voi::Table).or_else(|| Window::of(item, is_fine).map(Voi::Window))
        };
        of_frame.map(interest).next().flatten()
    }

    /// What makes P-values; the image's photometric interpretation has no say (PS3.4 N.2.1.4).
    pub(super) fn presentation(&self) -> Presentation {
        let table = items(self.dataset, tags::PRESENTATION_LUT_SEQUENCE).first();
        let table = table.and_then(|item| Lut::of(item, tags::LUT_DESCRIPTOR, tags::LUT_DATA, false).ok());
        match table {
            Some(table) => Presentation::Table(table),
            None if text(self.dataset, tags::PRESENTATION_LUT_SHAPE) == "INVERSE" => Presentation::Inverse,
            None => Presentation::Identity,
        }
    }

    /// Quarter turns clockwise, and whether it is mirrored after them (PS3.3 C.10.6).
    pub(super) fn turns(&self) -> (u8, bool) {
        let degrees = number(self.dataset, tags::IMAGE_ROTATION).unwrap_or(0.0);
        let turns = (degrees / 90.0).round().rem_euclid(4.0) as u8;
        (turns, text(self.dataset, tags::IMAGE_HORIZONTAL_FLIP) == "Y")
    }

    /// The part of the image to show, and the height of a pixel over its width (PS3.3 C.10.4).
    pub(super) fn area(&self) -> Option<(Region, f64)> {
        let areas = items(self.dataset, tags::DISPLAYED_AREA_SELECTION_SEQUENCE);
        let area = areas.iter().find(|item| self.concerns(item))?;
        let corner = |tag| match numbers(area, tag)[..] {
            [column, row, ..] => Some((column, row)),
            _ => None,
        };
        let one = corner(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER)?;
        let other = corner(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER)?;
        let region = Region {
            x: one.0.min(other.0) - 1.0,
            y: one.1.min(other.1) - 1.0,
            width: (one.0 - other.0).abs() + 1.0,
            height: (one.1 - other.1).abs() + 1.0,
        };
        let ratio = |tag| match numbers(area, tag)[..] {
            [height, width, ..] if height > 0.0 && width > 0.0 => Some(height / width),
            _ => None,
        };
        let aspect = ratio(tags::PRESENTATION_PIXEL_SPACING);
        let aspect = aspect.or_else(|| ratio(tags::PRESENTATION_PIXEL_ASPECT_RATIO)).unwrap_or(1.0);
        Some((region, aspect))
    }

    /// What is not to be seen.
    pub(super) fn shutter(&self) -> Option<Shutter> {
        Shutter::of(self.dataset)
    }

    /// The overlays to draw, each with its ink; one that serves as a shutter is none.
    pub(super) fn overlays(&self, of_image: &[Overlay], shutter: Option<&Shutter>) -> Vec<(Overlay, Ink)> {
        let shutter = shutter.and_then(Shutter::group);
        let drawn = overlay::activated(self.dataset, of_image).into_iter();
        let drawn = drawn.filter(|(overlay, _)| Some(overlay.group) != shutter);
        drawn.map(|(overlay, layer)| (overlay, self.layer(&layer).1)).collect()
    }

    /// Draws its graphics and texts, the lowest layer first.
    pub(super) fn annotate(&self, raster: &mut Raster, view: View) {
        let annotations = items(self.dataset, tags::GRAPHIC_ANNOTATION_SEQUENCE).iter();
        let ordered = |item: &'a InMemDicomObject| (self.layer(&text(item, tags::GRAPHIC_LAYER)), item);
        let mut ordered: Vec<_> = annotations.filter(|item| self.concerns(item)).map(ordered).collect();
        ordered.sort_by(|((one, _), _), ((other, _), _)| one.total_cmp(other));
        let mut drawing = Drawing::on(raster, view);
        for ((_, ink), annotation) in ordered {
            drawing.annotate(annotation, ink);
        }
    }

    /// The order and the ink of a layer.
    fn layer(&self, name: &str) -> (f64, Ink) {
        let layers = items(self.dataset, tags::GRAPHIC_LAYER_SEQUENCE).iter();
        let mut layers = layers.filter(|layer| has(layer, tags::GRAPHIC_LAYER));
        match layers.find(|layer| text(layer, tags::GRAPHIC_LAYER) == name) {
            None => (0.0, Ink::WHITE),
            Some(layer) => {
                let grey = tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_GRAYSCALE_VALUE;
                let lab = tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_CIE_LAB_VALUE;
                let order = number(layer, tags::GRAPHIC_LAYER_ORDER).unwrap_or(0.0);
                (order, Ink::of(layer, grey, lab, Ink::WHITE))
            }
        }
    }
}
