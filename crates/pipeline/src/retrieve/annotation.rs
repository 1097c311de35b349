//! Words in a picture (PS3.18 8.3.5.1.1), for who takes it out of its study.

use dicom_object::InMemDicomObject;
use filmgate_model::{Tag, tags};

/// Characters of one value that are written.
const CHARACTERS_MAX: usize = 64;

/// What is written into a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Annotation {
    /// Whose it is: name, ID, birth date, sex.
    pub patient: bool,
    /// How it was made: modality, date, description, numbers, place.
    pub technique: bool,
}

impl Annotation {
    /// The lines, the upper first. Only Latin letters can be drawn: a name in others is said to be one, not to be none.
    pub(super) fn lines(self, dataset: &InMemDicomObject, frame: u32, frames: u32) -> Vec<String> {
        let mut lines = Vec::new();
        if self.patient {
            lines.push(name(dataset));
            lines.push(labelled("ID", &latin(dataset, tags::PATIENT_ID)));
            let born = labelled("born", &date(dataset, tags::PATIENT_BIRTH_DATE));
            lines.push(joined([born, latin(dataset, tags::PATIENT_SEX)]));
        }
        if self.technique {
            let day = date(dataset, tags::STUDY_DATE);
            lines.push(joined([latin(dataset, tags::MODALITY), day, time(dataset, tags::STUDY_TIME)]));
            lines.push(latin(dataset, tags::SERIES_DESCRIPTION));
            let frame = if frames > 1 { format!("frame {frame} of {frames}") } else { String::new() };
            let series = labelled("series", &latin(dataset, tags::SERIES_NUMBER));
            lines.push(joined([series, labelled("image", &latin(dataset, tags::INSTANCE_NUMBER)), frame]));
            lines.push(labelled("slice at", &latin(dataset, tags::SLICE_LOCATION)));
        }
        lines.retain(|line| !line.is_empty());
        lines
    }
}

/// The alphabetic group of Patient's Name (PS3.5 6.2.1.1).
fn name(dataset: &InMemDicomObject) -> String {
    let whole = text(dataset, tags::PATIENT_NAME);
    let alphabetic = whole.split('=').next().unwrap_or_default().replace('^', " ");
    let name = alphabetic.split_whitespace().collect::<Vec<_>>().join(" ");
    match (is_latin(&name) && !name.is_empty(), whole.is_empty()) {
        (true, _) => short(&name),
        (false, true) => String::new(),
        (false, false) => "(name not in Latin letters)".to_owned(),
    }
}

/// A value, when it can be drawn.
fn latin(dataset: &InMemDicomObject, tag: Tag) -> String {
    let text = text(dataset, tag);
    if is_latin(&text) { short(&text) } else { String::new() }
}

/// A date (DA) as ISO 8601 writes it; another value as it stands.
fn date(dataset: &InMemDicomObject, tag: Tag) -> String {
    let text = latin(dataset, tag);
    match (text.get(..4), text.get(4..6), text.get(6..)) {
        (Some(year), Some(month), Some(day)) if day.len() == 2 => format!("{year}-{month}-{day}"),
        _ => text,
    }
}

/// A time (TM) to the minute; another value as it stands.
fn time(dataset: &InMemDicomObject, tag: Tag) -> String {
    let text = latin(dataset, tag);
    match (text.get(..2), text.get(2..4)) {
        (Some(hours), Some(minutes)) => format!("{hours}:{minutes}"),
        _ => text,
    }
}

fn text(dataset: &InMemDicomObject, tag: Tag) -> String {
    let text = dataset.get(tag).and_then(|element| element.to_str().ok()).unwrap_or_default();
    text.trim().to_owned()
}

fn is_latin(text: &str) -> bool {
    text.chars().all(|character| u32::from(character) <= 0xff && !character.is_control())
}

fn short(text: &str) -> String {
    text.chars().take(CHARACTERS_MAX).collect()
}

fn labelled(label: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{label} {text}") }
}

fn joined<const N: usize>(texts: [String; N]) -> String {
    let said: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, PrimitiveValue, VR};

    use super::*;

    fn dataset(values: &[(Tag, VR, &str)]) -> InMemDicomObject {
        let element =
            |(tag, vr, text): &(Tag, VR, &str)| DataElement::new(*tag, *vr, PrimitiveValue::from(*text));
        InMemDicomObject::from_element_iter(values.iter().map(element))
    }

    #[test]
    fn a_picture_says_whose_it_is_and_how_it_was_made() {
        let image = dataset(&[
            (tags::PATIENT_NAME, VR::PN, "Müller^Anne^^Dr.=王^小东"),
            (tags::PATIENT_ID, VR::LO, "P-7"),
            (tags::PATIENT_BIRTH_DATE, VR::DA, "19700131"),
            (tags::PATIENT_SEX, VR::CS, "F"),
            (tags::MODALITY, VR::CS, "MR"),
            (tags::STUDY_DATE, VR::DA, "20260102"),
            (tags::STUDY_TIME, VR::TM, "101112.5"),
            (tags::SERIES_DESCRIPTION, VR::LO, "头部"),
            (tags::SERIES_NUMBER, VR::IS, "3"),
            (tags::INSTANCE_NUMBER, VR::IS, "25"),
        ]);
        let patient = Annotation { patient: true, technique: false };
        assert_eq!(patient.lines(&image, 1, 1), ["Müller Anne Dr.", "ID P-7", "born 1970-01-31, F"]);
        let technique = Annotation { patient: false, technique: true };
        assert_eq!(
            technique.lines(&image, 2, 10),
            ["MR, 2026-01-02, 10:11", "series 3, image 25, frame 2 of 10"]
        );
        assert!(Annotation::default().lines(&image, 1, 1).is_empty());
    }

    /// Question marks in place of a name could be anybody's.
    #[test]
    fn a_name_that_cannot_be_drawn_is_not_taken_for_none() {
        let lines = |name| {
            let image = dataset(&[(tags::PATIENT_NAME, VR::PN, name), (tags::PATIENT_ID, VR::LO, "7")]);
            Annotation { patient: true, technique: false }.lines(&image, 1, 1)
        };
        for name in ["王^小东", "=王^小东"] {
            assert_eq!(lines(name), ["(name not in Latin letters)", "ID 7"], "{name}");
        }
        assert_eq!(lines(""), ["ID 7"]);
    }
}
