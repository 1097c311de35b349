//! The head of a Part 10 file: preamble and file meta information (PS3.10 7.1), read as files in the field are.
//!
//! Files without preamble, without group 0002, without its group length or its transfer syntax are all met;
//! none of it is a reason to refuse the dataset behind.

use dicom_core::{Tag, dictionary::UidDictionary};
use dicom_dictionary_std::{StandardSopClassDictionary, tags, uids};
use dicom_object::FileMetaTableBuilder;

use crate::transfer_syntax::EXPLICIT_VR_BIG_ENDIAN;

/// Bytes at the beginning of a file in which its meta information must end.
pub const FILE_META_BYTES_MAX: usize = 64 * 1024;

const PREAMBLE_BYTES: usize = 128;
const MAGIC: &[u8] = b"DICM";

/// What the head of a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileHead {
    /// Where the dataset begins, in bytes from the start of the file.
    pub dataset_offset: usize,
    /// True when the file began with a preamble and `DICM`.
    pub has_preamble: bool,
    /// Media Storage SOP Class UID (0002,0002); empty when not stated.
    pub sop_class_uid: String,
    /// Media Storage SOP Instance UID (0002,0003); empty when not stated.
    pub sop_instance_uid: String,
    /// Transfer Syntax UID (0002,0010); guessed from the first element when not stated.
    pub transfer_syntax_uid: String,
}

/// Reads the head from the first bytes of a file: all of it, or at least [`FILE_META_BYTES_MAX`].
/// `None` when it is no DICOM file by any sign.
#[must_use]
pub fn read_file_head(bytes: &[u8]) -> Option<FileHead> {
    let magic_end = PREAMBLE_BYTES + MAGIC.len();
    let has_preamble = bytes.get(PREAMBLE_BYTES..magic_end) == Some(MAGIC);
    let mut head = FileHead { has_preamble, ..FileHead::default() };
    let mut offset = if has_preamble { magic_end } else { 0 };
    while let Some((tag, value, next)) = meta_element(bytes, offset) {
        let uid = || String::from_utf8_lossy(value).trim_matches([' ', '\0']).to_owned();
        match tag {
            tags::MEDIA_STORAGE_SOP_CLASS_UID => head.sop_class_uid = uid(),
            tags::MEDIA_STORAGE_SOP_INSTANCE_UID => head.sop_instance_uid = uid(),
            tags::TRANSFER_SYNTAX_UID => head.transfer_syntax_uid = uid(),
            _ => {}
        }
        offset = next;
    }
    head.dataset_offset = offset;
    let guess = guess_transfer_syntax(bytes.get(offset..).unwrap_or_default());
    if head.transfer_syntax_uid.is_empty() {
        head.transfer_syntax_uid = guess.unwrap_or(uids::IMPLICIT_VR_LITTLE_ENDIAN).to_owned();
    }
    let nothing = !has_preamble && offset == 0 && guess.is_none();
    (!nothing).then_some(head)
}

/// One element of group 0002 (always explicit VR little endian): tag, value, where the next begins.
fn meta_element(bytes: &[u8], offset: usize) -> Option<(Tag, &[u8], usize)> {
    let head: &[u8; 8] = bytes.get(offset..)?.first_chunk()?;
    let group = u16::from_le_bytes([head[0], head[1]]);
    let element = u16::from_le_bytes([head[2], head[3]]);
    if group != 0x0002 {
        return None;
    }
    let long = matches!(&head[4..6], b"OB" | b"OW" | b"UN" | b"SQ" | b"UT" | b"OF" | b"UC" | b"UR");
    let (length, start) = if long {
        let length = bytes.get(offset + 8..)?.first_chunk().map(|word| u32::from_le_bytes(*word))?;
        (usize::try_from(length).ok()?, offset + 12)
    } else {
        (usize::from(u16::from_le_bytes([head[6], head[7]])), offset + 8)
    };
    let end = start.checked_add(length)?;
    Some((Tag(group, element), bytes.get(start..end)?, end))
}

/// The plain syntax the first element of a dataset looks like, where nothing states it.
fn guess_transfer_syntax(dataset: &[u8]) -> Option<&'static str> {
    let head: &[u8; 8] = dataset.first_chunk()?;
    let explicit = head[4].is_ascii_uppercase() && head[5].is_ascii_uppercase();
    let little = u16::from_le_bytes([head[0], head[1]]);
    let big = u16::from_be_bytes([head[0], head[1]]);
    match (explicit, little, big) {
        (true, 0x0001..=0x0010, _) => Some(uids::EXPLICIT_VR_LITTLE_ENDIAN),
        (true, _, 0x0001..=0x0010) => Some(EXPLICIT_VR_BIG_ENDIAN),
        (false, 0x0001..=0x0010, _) => Some(uids::IMPLICIT_VR_LITTLE_ENDIAN),
        _ => None,
    }
}

/// Preamble and file meta information for a dataset that came without.
///
/// # Errors
/// When the parts are no file meta information (a UID that cannot be one).
pub fn write_file_head(
    transfer_syntax_uid: &str,
    sop_class_uid: &str,
    sop_instance_uid: &str,
    source_ae: &str,
) -> Result<Vec<u8>, dicom_object::meta::Error> {
    let mut builder = FileMetaTableBuilder::new()
        .transfer_syntax(transfer_syntax_uid)
        .media_storage_sop_class_uid(sop_class_uid)
        .media_storage_sop_instance_uid(sop_instance_uid)
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name(IMPLEMENTATION_VERSION_NAME);
    if !source_ae.is_empty() {
        builder = builder.source_application_entity_title(source_ae);
    }
    let mut bytes = vec![0; PREAMBLE_BYTES];
    bytes.extend_from_slice(MAGIC);
    builder.build()?.write(&mut bytes)?;
    Ok(bytes)
}

/// Who wrote a file or opened an association (PS3.7 D.3.3.2): a UUID-derived root of our own.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.104737551386237412918765520397613542287";
/// The version beside it, 16 characters at most.
pub const IMPLEMENTATION_VERSION_NAME: &str = "FILMGATE_0_1";

/// True when the dictionary knows the UID as a Storage SOP class (PS3.4 B.5), retired ones too.
#[must_use]
pub fn is_storage_sop_class(uid: &str) -> bool {
    let name = StandardSopClassDictionary.by_uid(uid).map(|entry| entry.name.to_owned());
    name.is_some_and(|name| {
        name.contains("Storage")
            && !name.contains("Storage Commitment")
            && !name.contains("Media Storage Directory")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_head_reads_back() {
        let head = write_file_head("1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.3", "CT_1")
            .expect("a head");
        let mut file = head.clone();
        file.extend_from_slice(&[8, 0, 5, 0, b'C', b'S', 0, 0]);
        let read = read_file_head(&file).expect("a DICOM file");
        assert_eq!(read.dataset_offset, head.len());
        assert_eq!(read.transfer_syntax_uid, "1.2.840.10008.1.2.1");
        assert_eq!(read.sop_instance_uid, "1.2.3");
        assert!(read.has_preamble);
    }

    #[test]
    fn a_bare_dataset_is_recognised_by_its_first_element() {
        let explicit = [8, 0, 5, 0, b'C', b'S', 0, 0];
        let implicit = [8, 0, 5, 0, 0, 0, 0, 0];
        let big = [0, 8, 0, 5, b'C', b'S', 0, 0];
        let syntax = |bytes: &[u8]| read_file_head(bytes).map(|head| head.transfer_syntax_uid);
        assert_eq!(syntax(&explicit).as_deref(), Some("1.2.840.10008.1.2.1"));
        assert_eq!(syntax(&implicit).as_deref(), Some("1.2.840.10008.1.2"));
        assert_eq!(syntax(&big).as_deref(), Some("1.2.840.10008.1.2.2"));
        assert_eq!(syntax(b"hello, world"), None);
        assert_eq!(syntax(b""), None);
    }

    #[test]
    fn storage_classes_are_told_from_others() {
        assert!(is_storage_sop_class("1.2.840.10008.5.1.4.1.1.2"));
        assert!(is_storage_sop_class("1.2.840.10008.5.1.4.1.1.104.1"));
        assert!(!is_storage_sop_class("1.2.840.10008.1.1"));
        assert!(!is_storage_sop_class("1.2.840.10008.1.20.1"));
        assert!(!is_storage_sop_class("1.2.840.10008.1.3.10"));
    }
}
