//! The shape of a pixel (PS3.3 C.7.6.3.1.7, C.7.6.16.2.1).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{
    attributes::{has, numbers},
    groups::Groups,
};

/// Height of a pixel over its width, by the distances stated or by the ratio.
pub(super) fn of(dataset: &InMemDicomObject, groups: &Groups<'_>) -> f64 {
    let spacing = groups.holder(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING);
    let stated = spacing.map(|holder| (holder, tags::PIXEL_SPACING));
    let others = [tags::IMAGER_PIXEL_SPACING, tags::NOMINAL_SCANNED_PIXEL_SPACING, tags::PIXEL_ASPECT_RATIO];
    let others = others.into_iter().map(|tag| (dataset, tag)).filter(|(dataset, tag)| has(dataset, *tag));
    let ratio = |(holder, tag)| match numbers(holder, tag)[..] {
        [height, width, ..] if height > 0.0 && width > 0.0 => Some(height / width),
        _ => None,
    };
    let aspect = stated.into_iter().chain(others).find_map(ratio).unwrap_or(1.0);
    // Of a slip of the pen no picture is made that is a line.
    if (0.02..=50.0).contains(&aspect) { aspect } else { 1.0 }
}
