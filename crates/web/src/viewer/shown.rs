//! Which instances the image viewer shows. What it does not show opens in a page of ours.

/// Storage SOP classes begin so (PS3.4 B.5); others are printed, queried or private.
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

/// Storage SOP classes without an image that the viewer draws, by how they go on (PS3.4 table B.5-1).
const NOT_DRAWN: [&str; 18] = [
    // Presentation states.
    "11.", // Waveforms.
    "9.",
    // Raw data, registrations, segmentations, surfaces, tractography, real-world mappings: of no use without an image.
    "66", "67", "68.",  // Encapsulated documents and models.
    "104.", // Structured reports and key objects.
    "88.",  // Radiotherapy but for its images (481.1).
    "481.2", "481.3", "481.4", "481.5", "481.6", "481.7", "481.8", "481.9",
    // Slides, drawn by what we left out, and video.
    "77.1.6", "77.1.5.4", "78.",
];

/// Video SOP classes; any image may hold video by its transfer syntax too.
const VIDEO: [&str; 3] = ["77.1.1.1", "77.1.2.1", "77.1.4.1"];

/// MPEG-2, MPEG-4 AVC/H.264 and HEVC/H.265, whole or in fragments (PS3.5 A.4.5 to A.4.7).
const VIDEO_SYNTAXES: &str = "1.2.840.10008.1.2.4.10";
/// JPEG XL (PS3.5 A.4.12), which the viewer has no decoder for.
const JPEG_XL_SYNTAXES: &str = "1.2.840.10008.1.2.4.11";

/// True when the viewer draws an instance of this SOP class in this transfer syntax.
pub(super) fn is_drawn(sop_class_uid: &str, transfer_syntax_uid: &str) -> bool {
    let Some(class) = sop_class_uid.strip_prefix(STORAGE) else { return false };
    let drawn = !NOT_DRAWN.iter().any(|prefix| is_of(class, prefix)) && !VIDEO.contains(&class);
    let undecoded =
        [VIDEO_SYNTAXES, JPEG_XL_SYNTAXES].iter().any(|family| is_of_family(transfer_syntax_uid, family));
    drawn && !undecoded
}

/// Key Object Selection, a report that the viewer does not open as one.
const KEY_OBJECTS: &str = "88.59";

/// True for a structured report, one of which can make the viewer fail as a whole.
pub(super) fn is_report(sop_class_uid: &str) -> bool {
    let class = sop_class_uid.strip_prefix(STORAGE);
    class.is_some_and(|class| class.starts_with("88.") && class != KEY_OBJECTS)
}

/// One more digit, and perhaps ".1" for fragments.
fn is_of_family(transfer_syntax_uid: &str, family: &str) -> bool {
    transfer_syntax_uid.strip_prefix(family).is_some_and(|rest| matches!(rest.len(), 1 | 3))
}

/// `66` covers 66 and 66.4; `9.` covers 9.1.1 and not 9.
fn is_of(class: &str, prefix: &str) -> bool {
    class
        .strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('.') || rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_drawn_and_documents_are_not() {
        let native = "1.2.840.10008.1.2.1";
        for (class, drawn) in [
            ("2", true),
            ("4.1", true),
            ("6.1", true),
            ("3.1", true),
            ("7", true),
            ("7.4", true),
            ("481.1", true),
            ("128", true),
            ("77.1.1", true),
            ("77.1.1.1", false),
            ("104.1", false),
            ("9.1.1", false),
            ("88.11", false),
            ("66.4", false),
            ("11.1", false),
            ("481.5", false),
            ("77.1.6", false),
        ] {
            assert_eq!(is_drawn(&format!("{STORAGE}{class}"), native), drawn, "{class}");
        }
        assert!(!is_drawn("1.2.3", native));
        assert!(is_report("1.2.840.10008.5.1.4.1.1.88.33"));
        assert!(!is_report("1.2.840.10008.5.1.4.1.1.88.59"));
    }

    #[test]
    fn video_is_no_image_whatever_its_class() {
        let ultrasound = format!("{STORAGE}3.1");
        for (syntax, drawn) in [
            ("1.2.840.10008.1.2.4.100", false),
            ("1.2.840.10008.1.2.4.102", false),
            ("1.2.840.10008.1.2.4.107", false),
            ("1.2.840.10008.1.2.4.102.1", false),
            ("1.2.840.10008.1.2.4.110", false),
            ("1.2.840.10008.1.2.4.50", true),
            ("1.2.840.10008.1.2.4.90", true),
            ("1.2.840.10008.1.2.4.201", true),
        ] {
            assert_eq!(is_drawn(&ultrasound, syntax), drawn, "{syntax}");
        }
    }
}
