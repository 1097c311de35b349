//! Every file of the test data: sealed, opened, and read as its manifest says.

use std::{collections::BTreeMap, fs, path::PathBuf};

use filmgate_model::{Tag, part10, tags};
use filmgate_seal::{Reading, SealOptions};

use crate::support::*;

/// Where the test data lies; its absence is a failure in continuous integration only.
fn folder() -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("FILMGATE_TEST_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| workspace.join("../shared/data"));
    let there = folder.join("MANIFEST.tsv").is_file();
    let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(there || !required, "no test data in {}", folder.display());
    there.then_some(folder)
}

type Row = BTreeMap<String, String>;

fn rows(folder: &PathBuf) -> Vec<Row> {
    let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).expect("the manifest");
    let mut lines = manifest.lines();
    let names: Vec<_> = lines.next().expect("column names").split('\t').collect();
    let row = |line: &str| {
        names.iter().map(|name| (*name).to_owned()).zip(line.split('\t').map(str::to_owned)).collect()
    };
    lines.map(row).collect()
}

/// What is made of the malformed files, each with its reason.
const BROKEN: &[(&str, &str)] = &[];

fn seal_file(bytes: &[u8]) -> (Sealed, usize) {
    // A file that shows no sign of a head is a bare dataset of unknown syntax.
    let head = part10::read_file_head(bytes).unwrap_or_default();
    let dataset = &bytes[head.dataset_offset..];
    let sealed = seal_in(dataset, &head.transfer_syntax_uid, &SealOptions::default(), &[1000, 1, 70_000, 13]);
    sealed.check(dataset);
    (sealed, dataset.len())
}

#[test]
fn every_file_comes_back_and_reads_as_its_manifest_says() {
    let Some(folder) = folder() else { return };
    let mut readings = Vec::new();
    for row in rows(&folder) {
        let path = &row["path"];
        let bytes = fs::read(folder.join(path)).expect("a file of the manifest");
        let (sealed, _) = seal_file(&bytes);
        match &sealed.table.reading {
            Reading::Read => check_facts(&row, &sealed),
            other => readings.push(format!("{path}: {other:?}")),
        }
        if !sealed.table.oddities.is_empty() {
            readings.push(format!("{path}: {:?}", sealed.table.oddities));
        }
    }
    let expected: Vec<String> = BROKEN.iter().map(|(path, what)| format!("{path}: {what}")).collect();
    assert_eq!(readings, expected, "{readings:#?}");
}

fn check_facts(row: &Row, sealed: &Sealed) {
    let texts = [
        ("sop_class_uid", tags::SOP_CLASS_UID),
        ("modality", tags::MODALITY),
        ("charset", tags::SPECIFIC_CHARACTER_SET),
        ("photometric", tags::PHOTOMETRIC_INTERPRETATION),
        ("study_instance_uid", tags::STUDY_INSTANCE_UID),
        ("series_instance_uid", tags::SERIES_INSTANCE_UID),
        ("sop_instance_uid", tags::SOP_INSTANCE_UID),
    ];
    for (column, tag) in texts {
        let fact = sealed.table.facts.text(tag).unwrap_or_default();
        assert_eq!(fact, row[column], "{column} of {}", row["path"]);
    }
    // The manifest counts the one frame of an image that does not say so.
    let frames = sealed.table.facts.text(tags::NUMBER_OF_FRAMES);
    assert!(frames.as_deref().unwrap_or("1") == row["frames"] || row["frames"].is_empty(), "{}", row["path"]);
    let numbers: [(&str, Tag); 5] = [
        ("rows", tags::ROWS),
        ("columns", tags::COLUMNS),
        ("samples", tags::SAMPLES_PER_PIXEL),
        ("bits_allocated", tags::BITS_ALLOCATED),
        ("bits_stored", tags::BITS_STORED),
    ];
    for (column, tag) in numbers {
        let fact = sealed.table.facts.number(tag).map(|number| number.to_string()).unwrap_or_default();
        assert_eq!(fact, row[column], "{column} of {}", row["path"]);
    }
}
