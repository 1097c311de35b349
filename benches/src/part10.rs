//! Small made-up instances as files (PS3.10 7.1), in explicit VR little endian.

/// What most of them are said to be.
pub(crate) const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT_VR_LITTLE_ENDIAN: &[u8] = b"1.2.840.10008.1.2.1";
/// What a file begins with behind its preamble: the prefix, and the head of File Meta Information Group Length.
const PREFIX: &[u8] = b"DICM\x02\x00\x00\x00UL\x04\x00";

/// A file of an instance; its elements with their tags, in the order of those.
pub(crate) fn file(
    sop_class_uid: &str,
    sop_instance_uid: &str,
    elements: &[(u32, &[u8; 2], &[u8])],
) -> Vec<u8> {
    let mut meta = Vec::new();
    element(&mut meta, 0x0002_0002, b"UI", sop_class_uid.as_bytes());
    element(&mut meta, 0x0002_0003, b"UI", sop_instance_uid.as_bytes());
    element(&mut meta, 0x0002_0010, b"UI", EXPLICIT_VR_LITTLE_ENDIAN);
    let mut file = vec![0; 128];
    file.extend_from_slice(PREFIX);
    file.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    file.extend_from_slice(&meta);
    for (tag, vr, value) in elements {
        element(&mut file, *tag, vr, value);
    }
    file
}

/// An element (PS3.5 7.1.2), padded to even length.
fn element(out: &mut Vec<u8>, tag: u32, vr: &[u8; 2], value: &[u8]) {
    out.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
    out.extend_from_slice(&(tag as u16).to_le_bytes());
    out.extend_from_slice(vr);
    let length = value.len().next_multiple_of(2);
    if vr == b"OB" {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(length as u32).to_le_bytes());
    } else {
        out.extend_from_slice(&(length as u16).to_le_bytes());
    }
    out.extend_from_slice(value);
    if length > value.len() {
        out.push(if vr == b"UI" { 0 } else { b' ' });
    }
}
