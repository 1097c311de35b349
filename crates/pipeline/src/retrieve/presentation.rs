//! Softcopy presentation states (PS3.3 A.33): which images of their study they are for, and what shows those.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use dicom_object::InMemDicomObject;
use filmgate_catalog::Location;
use filmgate_model::{RecordId, Tag, tags};
use filmgate_pixels::render::referenced_frames;

use crate::{Error, Road};

/// Greyscale and Color Softcopy Presentation State Storage (PS3.4 B.5): those that only say how each image is shown.
const CLASSES: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.11.2"];

/// A presentation state, read.
pub struct PresentationState {
    record_id: RecordId,
    elements: InMemDicomObject,
    /// By SOP Instance UID, the frames it is for, as often as it says so; none for all.
    images: BTreeMap<String, Vec<Vec<u32>>>,
    /// Bytes of the header it was read from.
    header_bytes: u64,
}

/// Its record says which it is: pictures are known by it.
impl fmt::Debug for PresentationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentationState({})", self.record_id)
    }
}

impl PresentationState {
    /// True for a SOP class of which images can be shown by. What others do to colours, and to several images at a time, is not
    /// done here.
    #[must_use]
    pub fn is_class(sop_class_uid: &str) -> bool {
        CLASSES.contains(&sop_class_uid)
    }

    /// True when it is for an image, or for some frames of it.
    #[must_use]
    pub fn is_for(&self, sop_instance_uid: &str) -> bool {
        self.images.contains_key(sop_instance_uid)
    }

    /// True when it is for a frame of an image.
    #[must_use]
    pub fn is_for_frame(&self, sop_instance_uid: &str, frame: u32) -> bool {
        let mut named = self.images.get(sop_instance_uid).into_iter().flatten();
        named.any(|frames| frames.is_empty() || frames.contains(&frame))
    }

    /// The frames it is for of an image that has so many, in their order.
    #[must_use]
    pub fn frames(&self, sop_instance_uid: &str, count: u32) -> Vec<u32> {
        let Some(named) = self.images.get(sop_instance_uid) else { return Vec::new() };
        if named.iter().any(Vec::is_empty) {
            return (1..=count).collect();
        }
        let frames: BTreeSet<u32> = named.iter().flatten().copied().collect();
        frames.range(1..=count).copied().collect()
    }

    /// What it says of how images are shown.
    pub(super) fn elements(&self) -> &InMemDicomObject {
        &self.elements
    }

    /// What it takes in memory, about: an element takes several times what it is written in.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.header_bytes.saturating_mul(6)
    }
}

impl Road {
    /// An instance as a presentation state, kept for the next picture by it.
    ///
    /// # Errors
    /// When its header cannot be had.
    pub async fn presentation_state(
        self: &Arc<Self>,
        location: &Location,
    ) -> Result<Arc<PresentationState>, Error> {
        let make = async {
            let record = self.open_found(location).await?;
            let elements = record.dataset().await?.elements;
            Ok(Arc::new(PresentationState {
                record_id: location.record_id,
                images: images(&elements),
                header_bytes: record.header_bytes(),
                elements,
            }))
        };
        self.kept.states.get_or_insert_async(&location.record_id, make).await
    }
}

/// The images of the Presentation State Relationship Module (PS3.3 C.11.11).
fn images(state: &InMemDicomObject) -> BTreeMap<String, Vec<Vec<u32>>> {
    let series = items(state, tags::REFERENCED_SERIES_SEQUENCE).iter();
    let images = series.flat_map(|series| items(series, tags::REFERENCED_IMAGE_SEQUENCE));
    let image = |image: &InMemDicomObject| {
        let uid = image.get(tags::REFERENCED_SOP_INSTANCE_UID)?.to_str().ok()?;
        let frames = image.get(tags::REFERENCED_FRAME_NUMBER);
        let frames = frames.and_then(|frames| frames.to_str().ok()).unwrap_or_default();
        Some((uid.trim_matches([' ', '\0']).to_owned(), referenced_frames(&frames)?))
    };
    let mut named: BTreeMap<String, Vec<Vec<u32>>> = BTreeMap::new();
    for (uid, frames) in images.filter_map(image) {
        named.entry(uid).or_default().push(frames);
    }
    named
}

fn items(dataset: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    dataset.get(tag).and_then(|element| element.items()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, PrimitiveValue, VR, value::DataSetSequence};

    use super::*;

    fn text(dataset: &mut InMemDicomObject, tag: Tag, vr: VR, text: &str) {
        dataset.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
    }

    fn sequence(dataset: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
        dataset.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
    }

    #[test]
    fn it_is_for_the_images_and_frames_it_names() {
        let image = |uid: &str, frames: Option<&str>| {
            let mut image = InMemDicomObject::new_empty();
            text(&mut image, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid);
            if let Some(frames) = frames {
                text(&mut image, tags::REFERENCED_FRAME_NUMBER, VR::IS, frames);
            }
            image
        };
        let mut series = InMemDicomObject::new_empty();
        let listed = vec![
            image("1.2.3\0", None),
            image("1.2.4", Some("2\\5")),
            image("1.2.4", Some("7")),
            image("1.2.3", Some("1")),
            image("1.2.6", Some("first")),
            image("1.2.7", Some("")),
        ];
        sequence(&mut series, tags::REFERENCED_IMAGE_SEQUENCE, listed);
        let mut elements = InMemDicomObject::new_empty();
        sequence(&mut elements, tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
        let state = PresentationState {
            record_id: RecordId([7; 16]),
            images: images(&elements),
            elements,
            header_bytes: 0,
        };
        assert!(state.is_for_frame("1.2.3", 9) && state.is_for_frame("1.2.4", 5));
        assert!(state.is_for_frame("1.2.4", 7));
        assert_eq!((state.frames("1.2.3", 2), state.frames("1.2.4", 6)), (vec![1, 2], vec![2, 5]));
        assert!(state.is_for("1.2.4") && !state.is_for_frame("1.2.4", 1));
        assert!(!state.is_for("1.2.5"));
        // A number that is none is not taken for all frames.
        assert!(!state.is_for("1.2.6") && state.is_for_frame("1.2.7", 3));
        assert!(images(&InMemDicomObject::new_empty()).is_empty());
    }
}
