//! What is sent: made-up images, whole and cut off.

use std::sync::Arc;

use filmgate_model::{Door, NodeId, Provenance, Random, Timestamp, uids};

/// One instance as it was sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) sop_instance_uid: String,
    pub(super) study_instance_uid: String,
    pub(super) dataset: Arc<[u8]>,
    /// Cut off inside an element.
    pub(super) broken: bool,
}

/// A made-up image, its samples random, sometimes without any.
pub(super) fn dataset(random: &Random, study: &str, sop: &str) -> Arc<[u8]> {
    let samples = match random.below(8) {
        0..6 => 2 * random.below(6_000),
        6 => 2 * random.below(40_000),
        _ => 0,
    };
    let mut pixels = vec![0; samples as usize];
    random.fill(&mut pixels);
    explicit_little(&[
        (0x0008_0016, *b"UI", uids::CT_IMAGE_STORAGE.as_bytes()),
        (0x0008_0018, *b"UI", sop.as_bytes()),
        (0x0008_0060, *b"CS", b"CT"),
        (0x0010_0010, *b"PN", b"Made^Up"),
        (0x0020_000d, *b"UI", study.as_bytes()),
        (0x0020_000e, *b"UI", format!("{study}.7").as_bytes()),
        (0x7fe0_0010, *b"OW", &pixels),
    ])
    .into()
}

/// How a C-STORE announces it.
pub(super) fn provenance(sent: &Sent, now: Timestamp, node: NodeId) -> Provenance {
    Provenance {
        received_at: now,
        door: Door::CStore,
        calling_ae: "CT_1".to_owned(),
        called_ae: "FILMGATE".to_owned(),
        peer: "127.0.0.1:1".to_owned(),
        node,
        transfer_syntax_uid: uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(),
        sop_class_uid: uids::CT_IMAGE_STORAGE.to_owned(),
        sop_instance_uid: sent.sop_instance_uid.clone(),
        file_meta: Vec::new(),
    }
}

/// Elements as explicit VR little endian (PS3.5 7.1.2), padded to even length.
fn explicit_little(elements: &[(u32, [u8; 2], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &(tag, vr, value) in elements {
        let length = value.len().next_multiple_of(2);
        bytes.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
        bytes.extend_from_slice(&(tag as u16).to_le_bytes());
        bytes.extend_from_slice(&vr);
        if vr == *b"OW" {
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&(length as u32).to_le_bytes());
        } else {
            bytes.extend_from_slice(&(length as u16).to_le_bytes());
        }
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len() + length - value.len(), if vr == *b"UI" { 0 } else { b' ' });
    }
    bytes
}
