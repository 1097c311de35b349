//! Files to be sent: found, read so far as to say what they are, opened at their dataset.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use filmgate_model::{Facts, Provenance, RecordId, part10, tags, uids};
use filmgate_seal::{RecordKey, RecordSealer, SealOptions};

/// SOP class and transfer syntax.
pub(super) type Proposal = (String, String);

/// A file to send.
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Named on the command line, not found in a folder: something other than an instance is an error then.
    pub(super) named: bool,
}

/// Files named and files in folders named, in order. What cannot be opened is among them, to be told where it fails.
pub(super) fn list_files(paths: &[PathBuf]) -> Vec<Found> {
    let mut files = Vec::new();
    let mut waiting: Vec<Found> =
        paths.iter().rev().map(|path| Found { path: path.clone(), named: true }).collect();
    while let Some(found) = waiting.pop() {
        match list_folder(&found.path) {
            Ok(inside) => waiting.extend(inside.into_iter().rev().map(|path| Found { path, named: false })),
            Err(_) => files.push(found),
        }
    }
    files
}

/// What is in a folder, in order; an error for a file and for what cannot be listed.
fn list_folder(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    let mut inside: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    inside.sort();
    Ok(inside)
}

/// A file that can be sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) path: PathBuf,
    pub(super) dataset_offset: u64,
    pub(super) dataset_bytes: u64,
    pub(super) sop_class_uid: String,
    pub(super) sop_instance_uid: String,
    pub(super) transfer_syntax_uid: String,
}

impl Outgoing {
    /// Reads the head of a file; where it does not say what the dataset is, the dataset does.
    /// `None` for what is no instance: another kind of file, or the directory of a file-set (PS3.10 8.6).
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut begin = Vec::new();
        Read::by_ref(&mut file).take(4 * part10::FILE_META_BYTES_MAX as u64).read_to_end(&mut begin)?;
        let Some(head) = part10::read_file_head(&begin) else { return Ok(None) };
        if head.sop_class_uid == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
            return Ok(None);
        }
        let dataset = begin.get(head.dataset_offset..).unwrap_or_default();
        let facts = facts_of(dataset, &head.transfer_syntax_uid);
        let stated = |tag, announced: String| facts.text(tag).unwrap_or(announced);
        let outgoing = Self {
            path: path.to_owned(),
            dataset_offset: head.dataset_offset as u64,
            dataset_bytes: bytes.saturating_sub(head.dataset_offset as u64),
            sop_class_uid: stated(tags::SOP_CLASS_UID, head.sop_class_uid),
            sop_instance_uid: stated(tags::SOP_INSTANCE_UID, head.sop_instance_uid),
            transfer_syntax_uid: head.transfer_syntax_uid,
        };
        anyhow::ensure!(!outgoing.sop_class_uid.is_empty(), "it has no SOP Class UID");
        anyhow::ensure!(!outgoing.sop_instance_uid.is_empty(), "it has no SOP Instance UID");
        Ok(Some(outgoing))
    }

    pub(super) fn context(&self) -> Proposal {
        (self.sop_class_uid.clone(), self.transfer_syntax_uid.clone())
    }

    pub(super) fn open(&self) -> io::Result<File> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.dataset_offset))?;
        Ok(file)
    }
}

/// What the beginning of a dataset says of itself: read as a receiver would read it, the sealed bytes thrown away.
fn facts_of(beginning: &[u8], transfer_syntax_uid: &str) -> Facts {
    let provenance = Provenance::untold(transfer_syntax_uid);
    let key = RecordKey::from_bytes([0; 32]);
    let mut sealer = RecordSealer::new(RecordId([0; 16]), key, provenance, &SealOptions::default());
    let mut thrown_away = Vec::new();
    sealer.push(beginning, &mut thrown_away);
    sealer.finish(&mut thrown_away).facts
}
