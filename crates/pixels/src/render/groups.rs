//! Where the attributes of one frame stand (PS3.3 C.7.6.16).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use super::attributes::{has, items};

/// The attributes of one frame: in its own functional groups, in those all frames share, or in the dataset itself.
#[derive(Clone, Copy)]
pub(super) struct Groups<'a> {
    dataset: &'a InMemDicomObject,
    own: Option<&'a InMemDicomObject>,
    shared: Option<&'a InMemDicomObject>,
}

impl<'a> Groups<'a> {
    /// Of the frame with that number, the first being 1.
    pub(super) fn of(dataset: &'a InMemDicomObject, frame_number: u32) -> Self {
        let index = frame_number.saturating_sub(1) as usize;
        Self {
            dataset,
            own: items(dataset, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(index),
            shared: items(dataset, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first(),
        }
    }

    /// What holds an attribute: an item of a macro's sequence, the frame's own before the shared one, else the dataset.
    pub(super) fn holder(&self, sequence: Tag, attribute: Tag) -> Option<&'a InMemDicomObject> {
        let groups = [self.own, self.shared].into_iter().flatten();
        let macros = groups.filter_map(|group| items(group, sequence).first());
        macros.chain([self.dataset]).find(|holder| has(holder, attribute))
    }

    /// What holds an attribute in whatever macro, else the dataset.
    pub(super) fn holder_anywhere(&self, attribute: Tag) -> Option<&'a InMemDicomObject> {
        let groups = [self.own, self.shared].into_iter().flatten();
        let macros = groups.flat_map(|group| group.iter()).filter_map(|element| element.items()?.first());
        macros.chain([self.dataset]).find(|holder| has(holder, attribute))
    }
}
