//! DICOM files: read just far enough to tell the dataset from its head, and small ones made from nothing.
//!
//! Written apart from the product's own reader, so that the two check each other.

use std::fs;
use std::path::Path;

pub(crate) const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(crate) const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
pub(crate) const IMPLICIT_LE: &str = "1.2.840.10008.1.2";

/// A file and what its head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    dataset_offset: usize,
    /// (0002,0002), empty when the head has none.
    pub(crate) sop_class_uid: String,
    /// (0002,0003), empty when the head has none.
    pub(crate) sop_instance_uid: String,
    /// (0002,0010), empty when the head has none.
    pub(crate) transfer_syntax_uid: String,
}

impl File {
    pub(crate) fn read(path: &Path) -> Self {
        Self::new(fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display())))
    }

    /// Finds where the file meta information ends (PS3.10 7.1); without any, the file is all dataset.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut at = if bytes.get(128..132) == Some(b"DICM") { 132 } else { 0 };
        let mut uids = [const { String::new() }; 3];
        while bytes.get(at..at + 2) == Some(&[0x02, 0x00]) {
            let element = u16::from_le_bytes([bytes[at + 2], bytes[at + 3]]);
            let long = matches!(&bytes[at + 4..at + 6], b"OB" | b"UN" | b"OW" | b"SQ" | b"UT");
            let (value, length) = if long {
                let length = bytes[at + 8..at + 12].try_into().map(u32::from_le_bytes).expect("four bytes");
                (at + 12, length as usize)
            } else {
                (at + 8, usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]])))
            };
            let text = || {
                String::from_utf8_lossy(&bytes[value..value + length])
                    .trim_end_matches(['\0', ' '])
                    .to_owned()
            };
            match element {
                0x0002 => uids[0] = text(),
                0x0003 => uids[1] = text(),
                0x0010 => uids[2] = text(),
                _ => {}
            }
            at = value + length;
        }
        let [sop_class_uid, sop_instance_uid, transfer_syntax_uid] = uids;
        Self { bytes, dataset_offset: at, sop_class_uid, sop_instance_uid, transfer_syntax_uid }
    }

    /// Everything behind the head.
    pub(crate) fn dataset(&self) -> &[u8] {
        &self.bytes[self.dataset_offset..]
    }
}

/// A small CT image in explicit little endian.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) patient_name: String,
    pub(crate) patient_id: String,
    /// Left out when it is empty.
    pub(crate) accession_number: String,
    pub(crate) study_instance_uid: String,
    pub(crate) series_instance_uid: String,
    pub(crate) sop_instance_uid: String,
    /// 16-bit samples, an even number of bytes, one row.
    pub(crate) samples: Vec<u8>,
}

impl Image {
    /// One of a study, its samples a ramp that `number` shifts.
    pub(crate) fn of_study(study: u64, number: u64) -> Self {
        let root = format!("1.2.826.0.1.3680043.10.1543.{study}");
        let ramp = |index: u64| ((index * 7 + number * 131) % 4096) as u16;
        Self {
            patient_name: format!("Phantom^Study{study}"),
            patient_id: format!("FG{study}"),
            accession_number: String::new(),
            series_instance_uid: format!("{root}.1"),
            sop_instance_uid: format!("{root}.1.{number}"),
            study_instance_uid: root,
            samples: (0..16 * 1024).flat_map(|index| ramp(index).to_le_bytes()).collect(),
        }
    }

    pub(crate) fn dataset(&self) -> Vec<u8> {
        let mut dataset = Vec::new();
        let columns = u16::try_from(self.samples.len() / 2).unwrap_or(u16::MAX);
        element(&mut dataset, 0x0008_0005, b"CS", b"ISO_IR 192");
        element(&mut dataset, 0x0008_0016, b"UI", CT_IMAGE.as_bytes());
        element(&mut dataset, 0x0008_0018, b"UI", self.sop_instance_uid.as_bytes());
        element(&mut dataset, 0x0008_0020, b"DA", b"20250314");
        if !self.accession_number.is_empty() {
            element(&mut dataset, 0x0008_0050, b"SH", self.accession_number.as_bytes());
        }
        element(&mut dataset, 0x0008_0060, b"CS", b"CT");
        element(&mut dataset, 0x0010_0010, b"PN", self.patient_name.as_bytes());
        element(&mut dataset, 0x0010_0020, b"LO", self.patient_id.as_bytes());
        element(&mut dataset, 0x0020_000D, b"UI", self.study_instance_uid.as_bytes());
        element(&mut dataset, 0x0020_000E, b"UI", self.series_instance_uid.as_bytes());
        element(&mut dataset, 0x0028_0002, b"US", &1_u16.to_le_bytes());
        element(&mut dataset, 0x0028_0004, b"CS", b"MONOCHROME2");
        element(&mut dataset, 0x0028_0010, b"US", &1_u16.to_le_bytes());
        element(&mut dataset, 0x0028_0011, b"US", &columns.to_le_bytes());
        element(&mut dataset, 0x0028_0100, b"US", &16_u16.to_le_bytes());
        element(&mut dataset, 0x0028_0101, b"US", &16_u16.to_le_bytes());
        element(&mut dataset, 0x0028_0102, b"US", &15_u16.to_le_bytes());
        element(&mut dataset, 0x0028_0103, b"US", &0_u16.to_le_bytes());
        element(&mut dataset, 0x7FE0_0010, b"OW", &self.samples);
        dataset
    }

    /// As a Part 10 file.
    pub(crate) fn file(&self) -> File {
        File::new(part10(EXPLICIT_LE, CT_IMAGE, &self.sop_instance_uid, &self.dataset()))
    }

    /// Writes the file into a folder and says where.
    pub(crate) fn write(&self, folder: &Path) -> std::path::PathBuf {
        let path = folder.join(format!("{}.dcm", self.sop_instance_uid));
        fs::write(&path, self.file().bytes).expect("write a file to send");
        path
    }
}

/// Preamble, file meta information and the dataset behind.
pub(crate) fn part10(syntax: &str, sop_class: &str, sop_instance: &str, dataset: &[u8]) -> Vec<u8> {
    let mut meta = Vec::new();
    element(&mut meta, 0x0002_0001, b"OB", &[0, 1]);
    element(&mut meta, 0x0002_0002, b"UI", sop_class.as_bytes());
    element(&mut meta, 0x0002_0003, b"UI", sop_instance.as_bytes());
    element(&mut meta, 0x0002_0010, b"UI", syntax.as_bytes());
    element(&mut meta, 0x0002_0012, b"UI", b"1.2.826.0.1.3680043.10.1543");
    let mut bytes = vec![0; 128];
    bytes.extend_from_slice(b"DICM");
    element(&mut bytes, 0x0002_0000, b"UL", &(meta.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&meta);
    bytes.extend_from_slice(dataset);
    bytes
}

/// Appends one element in explicit little endian, its value padded to even length.
pub(crate) fn element(out: &mut Vec<u8>, tag: u32, vr: &[u8; 2], value: &[u8]) {
    out.extend_from_slice(&((tag >> 16) as u16).to_le_bytes());
    out.extend_from_slice(&(tag as u16).to_le_bytes());
    out.extend_from_slice(vr);
    let padded = value.len().next_multiple_of(2);
    if matches!(vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(padded as u32).to_le_bytes());
    } else {
        out.extend_from_slice(&(padded as u16).to_le_bytes());
    }
    out.extend_from_slice(value);
    if padded > value.len() {
        out.push(if vr == b"UI" || vr == b"OB" { 0 } else { b' ' });
    }
}
