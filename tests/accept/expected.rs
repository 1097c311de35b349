//! What has to be answered, by the tables of PS3.18 8.7.3 and by what this gateway can make of an image.

use super::asked::{DICOM, FAMILIES, LITTLE, OCTETS, Syntax, Want};
use crate::support::test_data::Sample;

/// What any image that can be decoded is made into.
const MADE: [&str; 4] = [LITTLE, "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5"];
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// An answer that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// In parts; either, where it is nothing.
    pub(super) parts: Option<bool>,
    pub(super) media_type: &'static str,
    pub(super) what: What,
}

/// What the bytes of an answer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Part 10 files in this transfer syntax.
    Instances(String),
    /// These frames, each in this transfer syntax.
    Frames(Vec<u32>, String),
    /// The value of an element.
    Value,
    /// The stream of a video in this transfer syntax.
    Video(String),
    /// Pictures: how many, and of at most so many pixels a side.
    Pictures(u32, Option<u32>),
    Json,
}

fn is_native(uid: &str) -> bool {
    ["1.2.840.10008.1.2", LITTLE, "1.2.840.10008.1.2.1.99", BIG_ENDIAN].contains(&uid)
}

/// Whether it can be decoded here: video cannot.
fn is_decoded(sample: &Sample) -> bool {
    !sample.pixel_sha256.is_empty()
}

/// Its samples are real numbers, which are in elements of their own and never encapsulated (PS3.5 A.4).
pub(super) fn is_real(sample: &Sample) -> bool {
    sample.name.contains("float")
}

/// Whether frames of an image leave in a transfer syntax that is not the stored one.
fn is_made(sample: &Sample, uid: &str) -> bool {
    let for_codecs = matches!(sample.bits_allocated, 8 | 16);
    let made = uid == LITTLE || !is_real(sample) && (for_codecs || !uid.contains(".4."));
    MADE.contains(&uid) && is_decoded(sample) && made
}

/// The media type of frames in a transfer syntax.
fn media_type_of(uid: &str) -> &'static str {
    let (_, of_family) = FAMILIES.split_first().expect("octets first");
    let found = of_family.iter().find(|(_, holds)| holds.contains(&uid));
    match uid {
        "1.2.840.10008.1.2.4.100" => "video/mpeg",
        _ => found.map_or(OCTETS, |(media_type, _)| media_type),
    }
}

/// Of whole instances; only one alone leaves without parts.
pub(super) fn instances(sample: &Sample, alone: bool, wants: &[Want]) -> Vec<Given> {
    let stored = &sample.transfer_syntax_uid;
    let given = |want: &Want| {
        let (parts, syntax) = match *want {
            Want::This { parts, media_type, syntax } => ((media_type == DICOM).then_some(parts), syntax),
            Want::Parts => (Some(true), Syntax::Any),
            Want::Kind(_) => (None, Syntax::Any),
            Want::Anything => {
                let given = Given { parts: None, media_type: DICOM, what: What::Instances(stored.clone()) };
                return Some(given);
            }
        };
        let parts = parts.filter(|parts| *parts || alone)?;
        let syntax = match syntax {
            Syntax::Any => stored,
            Syntax::Unsaid if *stored == LITTLE || is_made(sample, LITTLE) => LITTLE,
            Syntax::Named(uid) if stored == uid || is_made(sample, uid) => uid,
            Syntax::Unsaid | Syntax::Named(_) => return None,
        };
        Some(Given { parts: Some(parts), media_type: DICOM, what: What::Instances(syntax.to_owned()) })
    };
    wants.iter().find_map(given).into_iter().collect()
}

/// Of frames; only one alone leaves without parts. Any of the answers will do. Those of a video cannot be told apart.
pub(super) fn frames(sample: &Sample, numbers: &[u32], wants: &[Want]) -> Vec<Given> {
    if !is_decoded(sample) {
        return vec![];
    }
    let stored = match is_native(&sample.transfer_syntax_uid) {
        true => LITTLE,
        false => &sample.transfer_syntax_uid,
    };
    let possible = |uid: &str| uid == stored || is_made(sample, uid);
    let made: Vec<&str> = [stored].into_iter().chain(MADE).filter(|uid| possible(uid)).collect();
    let alone = numbers.len() == 1;
    let given = |parts: Option<bool>, uid: &str| Given {
        parts,
        media_type: media_type_of(uid),
        what: What::Frames(numbers.to_vec(), uid.to_owned()),
    };
    let of_want = |want: &Want| -> Vec<Given> {
        match *want {
            Want::Anything => vec![given(None, stored)],
            Want::Parts => vec![given(Some(true), stored)],
            Want::Kind(_) if !alone => vec![],
            Want::Kind(kind) => {
                let of_kind = made.iter().filter(|uid| media_type_of(uid).split('/').next() == Some(kind));
                of_kind.map(|uid| given(Some(false), uid)).collect()
            }
            Want::This { parts, .. } if !parts && !alone => vec![],
            Want::This { parts, media_type, syntax } => {
                let holds = |uid: &&&str| media_type == OCTETS || media_type_of(uid) == media_type;
                let uid = match syntax {
                    Syntax::Unsaid if media_type == OCTETS => possible(LITTLE).then_some(LITTLE),
                    Syntax::Unsaid | Syntax::Any => made.iter().find(holds).copied(),
                    Syntax::Named(uid) => made.iter().filter(holds).find(|made| **made == uid).copied(),
                };
                uid.map(|uid| given(Some(parts), uid)).into_iter().collect()
            }
        }
    };
    wants.iter().map(of_want).find(|given| !given.is_empty()).unwrap_or_default()
}

/// Of pixel data by its path: the value as it is where that is little endian and not in fragments, else all frames.
pub(super) fn pixel_data(sample: &Sample, wants: &[Want]) -> Vec<Given> {
    if !is_decoded(sample) {
        return video(sample, wants);
    }
    let all: Vec<u32> = (1..=sample.frames).collect();
    let is_value = is_native(&sample.transfer_syntax_uid) && sample.transfer_syntax_uid != BIG_ENDIAN;
    if !is_value {
        return frames(sample, &all, wants);
    }
    let of_want = |want: &Want| -> Vec<Given> {
        let parts = match *want {
            Want::Anything => None,
            Want::Parts => Some(true),
            Want::This {
                parts,
                media_type: OCTETS,
                syntax: Syntax::Unsaid | Syntax::Any | Syntax::Named(LITTLE),
            } => Some(parts),
            _ => return frames(sample, &all, std::slice::from_ref(want)),
        };
        vec![Given { parts, media_type: OCTETS, what: What::Value }]
    };
    wants.iter().map(of_want).find(|given| !given.is_empty()).unwrap_or_default()
}

/// Of a video: all of it, as it is.
fn video(sample: &Sample, wants: &[Want]) -> Vec<Given> {
    let stored = sample.transfer_syntax_uid.as_str();
    let media_type = media_type_of(stored);
    let of_want = |want: &Want| {
        let parts = match *want {
            Want::Anything => Some(false),
            Want::Parts => Some(true),
            Want::This { parts, media_type: asked, syntax } => {
                let right = match syntax {
                    Syntax::Named(uid) => uid == stored,
                    Syntax::Any => true,
                    Syntax::Unsaid => asked != OCTETS,
                };
                (right && (asked == media_type || asked == OCTETS)).then_some(parts)
            }
            Want::Kind(kind) => media_type.starts_with(kind).then_some(false),
        };
        Some(Given { parts: Some(parts?), media_type, what: What::Video(stored.to_owned()) })
    };
    wants.iter().find_map(of_want).into_iter().collect()
}

/// Of pictures: `frames` in parts, or one.
pub(super) fn pictures(sample: &Sample, frames: u32, side_max: Option<u32>, wants: &[Want]) -> Vec<Given> {
    if !is_decoded(sample) {
        return vec![];
    }
    let of_want = |want: &Want| {
        let (parts, media_type) = match *want {
            Want::This { parts, media_type, .. } => (parts, media_type),
            Want::Kind("image") | Want::Anything => (false, "image/jpeg"),
            _ => return None,
        };
        let count = if parts { frames } else { 1 };
        Some(Given { parts: Some(parts), media_type, what: What::Pictures(count, side_max) })
    };
    wants.iter().find_map(of_want).into_iter().collect()
}

/// Of metadata.
pub(super) fn metadata(wants: &[Want]) -> Vec<Given> {
    let json = Given { parts: Some(false), media_type: "application/dicom+json", what: What::Json };
    wants.first().map(|_| json).into_iter().collect()
}

/// Of an instance by a query of WADO-URI (PS3.18 9.1.2): in the syntax asked for where it can be, else in explicit VR little endian, and
/// never in implicit VR or big endian. A video is as it is.
pub(super) fn object(sample: &Sample, syntax: Option<&str>) -> Vec<Given> {
    let stored = sample.transfer_syntax_uid.as_str();
    let able = |uid: &str| {
        let odd = uid == "1.2.840.10008.1.2" || uid == BIG_ENDIAN;
        !odd && (uid == stored || is_made(sample, uid))
    };
    let syntax = match syntax {
        Some("*") => stored,
        Some(uid) if able(uid) => uid,
        _ if able(LITTLE) => LITTLE,
        _ => stored,
    };
    vec![Given { parts: Some(false), media_type: DICOM, what: What::Instances(syntax.to_owned()) }]
}
