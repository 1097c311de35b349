//! The head of one element: tag, VR, length (PS3.5 7.1). Shared by everything that reads a dataset here.

use dicom_dictionary_std::StandardDataDictionary;
use filmgate_model::{Tag, VR, tags, transfer_syntax::Encoding};

use dicom_core::dictionary::{DataDictionary, VirtualVr};

/// Bytes of the shortest head, and of every item and delimiter.
pub(crate) const HEAD_BYTES_MIN: usize = 8;
/// Bytes of an explicit head with a 32-bit length.
pub(crate) const HEAD_BYTES_MAX: usize = 12;

/// Item and its delimiters (PS3.5 7.5.1); no element of the dictionary.
pub(crate) const ITEM: Tag = Tag(0xfffe, 0xe000);
pub(crate) const ITEM_DELIMITER: Tag = Tag(0xfffe, 0xe00d);
pub(crate) const SEQUENCE_DELIMITER: Tag = Tag(0xfffe, 0xe0dd);

const UNDEFINED_LENGTH: u32 = 0xffff_ffff;

/// How an element's head was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As its dataset's encoding says.
    Regular,
    /// Without VR where the encoding wants one.
    ImplicitInExplicit,
    /// With two letters for a VR that the standard does not know.
    UnknownVr,
}

/// A decoded head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) tag: Tag,
    /// As written, or by the dictionary where none is written; `None` for items and delimiters.
    pub(crate) vr: Option<VR>,
    /// True when the VR was written.
    pub(crate) is_stated: bool,
    /// `None`: undefined.
    pub(crate) length: Option<u32>,
    pub(crate) bytes: usize,
    pub(crate) form: Form,
}

/// Decodes the head at the front of `bytes` (at least [`HEAD_BYTES_MIN`]); `None` when it takes
/// [`HEAD_BYTES_MAX`] and there are fewer.
pub(crate) fn decode(bytes: &[u8], encoding: Encoding) -> Option<Head> {
    let first: &[u8; HEAD_BYTES_MIN] = bytes.first_chunk()?;
    let tag = tag_at(first, encoding);
    // Items and delimiters have no VR in any encoding (PS3.5 7.5).
    if tag.group() == 0xfffe || !encoding.is_explicit() {
        let vr = (tag.group() != 0xfffe).then(|| dictionary_vr(tag));
        return Some(plain(tag, vr, first, encoding, Form::Regular));
    }
    let letters = [first[4], first[5]];
    match VR::from_binary(letters) {
        Some(vr) if has_long_length(vr) => long(tag, vr, bytes, encoding, Form::Regular),
        Some(vr) => Some(short(tag, vr, first, encoding, Form::Regular)),
        // VRs added later have a 32-bit length behind two reserved bytes (PS3.5 7.1.2); writers that put something
        // else in those bytes mean a 16-bit length.
        None if letters.iter().all(u8::is_ascii_uppercase) && first[6..8] == [0, 0] => {
            long(tag, VR::UN, bytes, encoding, Form::UnknownVr)
        }
        None if letters.iter().all(u8::is_ascii_uppercase) || matches!(&letters, b"??" | b"  " | b"--") => {
            Some(short(tag, VR::UN, first, encoding, Form::UnknownVr))
        }
        // No letters: an element written as in an implicit VR dataset.
        None => Some(plain(tag, Some(dictionary_vr(tag)), first, encoding, Form::ImplicitInExplicit)),
    }
}

fn tag_at(first: &[u8; HEAD_BYTES_MIN], encoding: Encoding) -> Tag {
    let word = |at: usize| match encoding {
        Encoding::ExplicitBig => u16::from_be_bytes([first[at], first[at + 1]]),
        _ => u16::from_le_bytes([first[at], first[at + 1]]),
    };
    Tag(word(0), word(2))
}

fn plain(tag: Tag, vr: Option<VR>, first: &[u8; HEAD_BYTES_MIN], encoding: Encoding, form: Form) -> Head {
    let length = long_length([first[4], first[5], first[6], first[7]], encoding);
    Head { tag, vr, is_stated: false, length, bytes: HEAD_BYTES_MIN, form }
}

fn short(tag: Tag, vr: VR, first: &[u8; HEAD_BYTES_MIN], encoding: Encoding, form: Form) -> Head {
    let length = match encoding {
        Encoding::ExplicitBig => u16::from_be_bytes([first[6], first[7]]),
        _ => u16::from_le_bytes([first[6], first[7]]),
    };
    Head { tag, vr: Some(vr), is_stated: true, length: Some(length.into()), bytes: HEAD_BYTES_MIN, form }
}

fn long(tag: Tag, vr: VR, bytes: &[u8], encoding: Encoding, form: Form) -> Option<Head> {
    let length = long_length(*bytes.get(HEAD_BYTES_MIN..)?.first_chunk()?, encoding);
    Some(Head { tag, vr: Some(vr), is_stated: true, length, bytes: HEAD_BYTES_MAX, form })
}

fn long_length(word: [u8; 4], encoding: Encoding) -> Option<u32> {
    let length = match encoding {
        Encoding::ExplicitBig => u32::from_be_bytes(word),
        _ => u32::from_le_bytes(word),
    };
    (length != UNDEFINED_LENGTH).then_some(length)
}

/// VRs whose explicit head has a 32-bit length (PS3.5 7.1.2).
fn has_long_length(vr: VR) -> bool {
    use VR::*;
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

/// VR of a tag by the dictionary (PS3.6); UN for private and unknown ones.
pub(crate) fn dictionary_vr(tag: Tag) -> VR {
    if tag.element() == 0 {
        return VR::UL;
    }
    if tag.group() % 2 == 1 {
        // A private creator reserves its block by name (PS3.5 7.8.1).
        return if (0x10..=0xff).contains(&tag.element()) { VR::LO } else { VR::UN };
    }
    StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| match entry.vr {
        VirtualVr::Exact(vr) => vr,
        other => other.relaxed(),
    })
}

/// True for tags whose values are signed when pixels are (US or SS in PS3.6).
pub(crate) fn follows_pixel_sign(tag: Tag) -> bool {
    StandardDataDictionary.by_tag(tag).is_some_and(|entry| entry.vr == VirtualVr::Xs)
}

/// True when the standard's dictionary lists the tag, or it is a group length.
pub(crate) fn is_known(tag: Tag) -> bool {
    let is_public = tag.group().is_multiple_of(2);
    tag.element() == 0 || is_public && StandardDataDictionary.by_tag(tag).is_some()
}

/// True for elements that hold pixels at the top level (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25).
pub(crate) fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}

/// Bytes of one number of a VR, where a big-endian value must be turned; 1 for all others (PS3.5 7.3).
#[must_use]
pub fn unit_bytes(vr: VR) -> usize {
    use VR::*;
    match vr {
        US | SS | OW | AT => 2,
        UL | SL | FL | OF | OL => 4,
        FD | OD | OV | SV | UV => 8,
        _ => 1,
    }
}
