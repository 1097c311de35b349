//! The way out to a folder or a client: a record as a Part 10 file.

use std::{
    collections::HashSet,
    io::{self, Write},
};

use bytes::Bytes;
use filmgate_model::{Identity, RecordId, part10};
use sha2::{Digest, Sha256};

use crate::{Error, OpenRecord};

/// A record written out.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Exported {
    /// The record.
    pub record_id: RecordId,
    /// Its study.
    pub study_instance_uid: String,
    /// Its instance.
    pub sop_instance_uid: String,
    /// Where the dataset begins in the file.
    pub dataset_offset_bytes: u64,
    /// Size of the dataset.
    pub dataset_bytes: u64,
    /// SHA-256 of the dataset, as written.
    pub dataset_sha256: String,
}

impl OpenRecord {
    /// What the record is filed under.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let table = self.table();
        Identity::of(table.record_id, &table.facts, &table.provenance)
    }

    /// Preamble and file meta information: as received, else written for what was received.
    #[must_use]
    pub fn file_head(&self) -> Bytes {
        let provenance = &self.table().provenance;
        if !provenance.file_meta.is_empty() {
            return provenance.file_meta.clone().into();
        }
        let identity = self.identity();
        let class_uid = &identity.sop_class_uid;
        let ae = &provenance.calling_ae;
        let written = part10::write_file_head(
            &provenance.transfer_syntax_uid,
            class_uid,
            &identity.sop_instance_uid,
            ae,
        );
        // A head that cannot be written is left away: the dataset behind is what counts.
        written.unwrap_or_default().into()
    }

    /// Writes the record as a Part 10 file, checking the dataset against its digest on the way.
    ///
    /// # Errors
    /// When a byte cannot be fetched, opened or written, or the digest differs.
    pub async fn write_file(&self, out: &mut (dyn Write + Send)) -> Result<Exported, Error> {
        let head = self.file_head();
        out.write_all(&head)?;
        self.will_read(0..u64::MAX);
        let mut digest = Sha256::new();
        let mut number = 0;
        while let Some(chunk) = self.chunk(number).await? {
            digest.update(&chunk);
            out.write_all(&chunk)?;
            number += 1;
        }
        let table = self.table();
        let sha256: [u8; 32] = digest.finalize().into();
        if sha256 != table.dataset_sha256 {
            return Err(io::Error::other("the dataset does not match its digest").into());
        }
        let identity = self.identity();
        Ok(Exported {
            record_id: table.record_id,
            study_instance_uid: identity.study_instance_uid,
            sop_instance_uid: identity.sop_instance_uid,
            dataset_offset_bytes: head.len() as u64,
            dataset_bytes: table.dataset_bytes,
            dataset_sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

/// File names for an export: the SOP Instance UID's, and the record id beside it where that is taken or no file name.
#[derive(Debug, Default)]
pub struct FileNames(HashSet<String>);

impl FileNames {
    /// A name no other record of this export has.
    pub fn name(&mut self, sop_instance_uid: &str, record_id: RecordId) -> String {
        let plain = !sop_instance_uid.is_empty()
            && sop_instance_uid.len() <= 64
            && sop_instance_uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && !sop_instance_uid.starts_with('.');
        let name = if plain { format!("{sop_instance_uid}.dcm") } else { format!("{record_id}.dcm") };
        if self.0.insert(name.clone()) {
            return name;
        }
        let name = format!("{sop_instance_uid}.{record_id}.dcm");
        self.0.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_unique_and_stay_in_their_folder() {
        let mut names = FileNames::default();
        let (a, b) = (RecordId([1; 16]), RecordId([2; 16]));
        assert_eq!(names.name("1.2.3", a), "1.2.3.dcm");
        assert_eq!(names.name("1.2.3", b), format!("1.2.3.{b}.dcm"));
        assert_eq!(names.name("../../etc", a), format!("{a}.dcm"));
        assert_eq!(names.name("", b), format!("{b}.dcm"));
    }
}
