//! Attributes as people and query strings name them (PS3.18 8.3.4.1): by number, by keyword, by a path through sequences.

use dicom_core::{
    Tag, VR,
    dictionary::{DataDictionary, DataDictionaryEntry},
};
use dicom_dictionary_std::StandardDataDictionary;

/// Steps of a path at most.
const STEPS_MAX: usize = 8;

/// `PatientAge`, `00101010`, `00400275.00400009`, `RequestAttributesSequence.ScheduledProcedureStepID`: the tags from the
/// dataset down to the attribute. `None` when a step names nothing.
#[must_use]
pub fn attribute_named(name: &str) -> Option<Vec<Tag>> {
    let steps: Vec<&str> = name.split('.').collect();
    if steps.len() > STEPS_MAX {
        return None;
    }
    steps.into_iter().map(tag_named).collect()
}

fn tag_named(name: &str) -> Option<Tag> {
    if name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let number = u32::from_str_radix(name, 16).ok()?;
        return Some(Tag((number >> 16) as u16, (number & 0xffff) as u16));
    }
    StandardDataDictionary.by_name(name).map(DataDictionaryEntry::tag)
}

/// How the dictionary says the values of an attribute are written; `None` for private ones and where it depends.
#[must_use]
pub fn vr_of(tag: Tag) -> Option<VR> {
    StandardDataDictionary.by_tag(tag).and_then(|entry| entry.vr.exact())
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;

    use super::*;

    #[test]
    fn attributes_are_named_by_keyword_number_or_path() {
        assert_eq!(attribute_named("StudyInstanceUID"), Some(vec![tags::STUDY_INSTANCE_UID]));
        assert_eq!(attribute_named("0020000d"), Some(vec![tags::STUDY_INSTANCE_UID]));
        let path = Some(vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::SCHEDULED_PROCEDURE_STEP_ID]);
        assert_eq!(attribute_named("00400275.00400009"), path);
        assert_eq!(attribute_named("RequestAttributesSequence.ScheduledProcedureStepID"), path);
        for nothing in ["studyinstanceuid", "00400275.", "", "0020000g"] {
            assert_eq!(attribute_named(nothing), None, "{nothing}");
        }
        assert_eq!((vr_of(tags::PATIENT_AGE), vr_of(Tag(9, 0x1001))), (Some(VR::AS), None));
    }
}
