//! The folder of real-world files and its manifest.

use std::fs;
use std::path::PathBuf;

use super::root;

/// A SOP class of someone's own that one of the files has; such a class is taken when it is configured.
pub(crate) const PRIVATE_SOP_CLASS: &str = "2.25.152752519834663263826301420581341174218";

/// One line of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Relative to the folder.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) transfer_syntax_uid: String,
    pub(crate) study_instance_uid: String,
    pub(crate) series_instance_uid: String,
    pub(crate) sop_instance_uid: String,
    /// Other readers read it without being forced.
    pub(crate) readable: bool,
    /// Its transfer syntax loses something, or may.
    pub(crate) lossy: bool,
    pub(crate) frames: u32,
    pub(crate) bits_allocated: u32,
    pub(crate) photometric: String,
    /// SHA-256 of all its samples, and how many bytes they are; nothing where nobody decoded them.
    pub(crate) pixel_sha256: String,
    pub(crate) pixel_bytes: u64,
}

/// Every file of the test data; `None` when the folder is not there, which in CI is a failure.
pub(crate) fn samples() -> Option<Vec<Sample>> {
    let set = std::env::var_os("FILMGATE_TEST_DATA").map(PathBuf::from);
    let folder = set.unwrap_or_else(|| root().join("../shared/data"));
    let Ok(manifest) = fs::read_to_string(folder.join("MANIFEST.tsv")) else {
        let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!in_ci, "no test data in {}: set FILMGATE_TEST_DATA", folder.display());
        return None;
    };
    let mut lines = manifest.lines();
    let header: Vec<&str> = lines.next().expect("the manifest names its columns").split('\t').collect();
    let column = |name| header.iter().position(|title| *title == name).expect("the manifest has the column");
    let (path, readable) = (column("path"), column("readable"));
    let uids =
        ["transfer_syntax_uid", "study_instance_uid", "series_instance_uid", "sop_instance_uid"].map(column);
    let sample = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let text = |name| cells[column(name)].to_owned();
        // Empty where the file states none, and `1A` in one of them.
        let number = |name| text(name).parse::<u64>().unwrap_or(0);
        let [transfer_syntax_uid, study_instance_uid, series_instance_uid, sop_instance_uid] =
            uids.map(|column| cells[column].to_owned());
        Sample {
            name: cells[path].to_owned(),
            path: folder.join(cells[path]),
            transfer_syntax_uid,
            study_instance_uid,
            series_instance_uid,
            sop_instance_uid,
            readable: cells[readable] == "yes",
            lossy: text("lossy") == "yes",
            frames: number("frames").max(1) as u32,
            bits_allocated: number("bits_allocated") as u32,
            photometric: text("photometric"),
            pixel_sha256: text("pixel_sha256"),
            pixel_bytes: number("pixel_bytes"),
        }
    };
    Some(lines.map(sample).collect())
}
