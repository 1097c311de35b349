//! What lies on the disks tells nothing: no name, no DICOM, no pixels.

use std::path::Path;

use crate::support::dicom::{File, Image};
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::web::find;
use crate::support::{Dice, files_below, fixtures};

/// Bytes of a dataset that count as a run of plaintext.
const RUN_BYTES: usize = 24;
/// Runs of fewer different bytes than this stand in any file.
const DISTINCT_BYTES_MIN: usize = 12;

#[test]
fn nothing_readable_lies_in_journal_packs_catalog_or_bucket() {
    let home = Home::new();
    let secret = Image {
        patient_name: "Zimmermann^Anneliese=王^小东".into(),
        patient_id: "ID-48151623".into(),
        samples: Dice(42).bytes(64 * 1024),
        ..Image::of_study(500, 1)
    };
    let mut files = fixtures();
    files.push(secret.write(home.path()));
    let needles = needles(&secret, &files);

    // While records are in the journal and the catalog's log is open.
    let busy = home.serve();
    send(&home, &busy, &files);
    search(&home, &needles, "journal");
    busy.kill();
    search(&home, &needles, "killed");

    // After they were packed, uploaded and verified.
    let gateway = home.serve();
    assert_eq!(gateway.settled(files.len()).len(), files.len());
    search(&home, &needles, "packs and bucket");
    gateway.stop();
    search(&home, &needles, "stopped");
}

fn send(home: &Home, gateway: &Gateway, files: &[std::path::PathBuf]) {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut arguments = vec!["send", &gateway.dicom];
    arguments.extend(files.iter().map(String::as_str));
    arguments.extend(["--aec", AE_TITLE, "--json"]);
    home.run(&arguments).ended(0);
}

/// What must not be found, each with a word for it.
fn needles(secret: &Image, files: &[std::path::PathBuf]) -> Vec<(String, Vec<u8>)> {
    let mut needles: Vec<(String, Vec<u8>)> = [
        // The magic with the group that follows it: four bytes alone stand somewhere in any large ciphertext.
        "DICM\u{2}\0",
        "Zimmermann",
        "Anneliese",
        "王^小东",
        "ID-48151623",
        "CompressedSamples",
        "Lestrade",
        "Yamada",
        "Wang^XiaoDong",
        "HEAD PLASTIC",
        "ANON2339",
        &secret.study_instance_uid,
        &secret.sop_instance_uid,
    ]
    .iter()
    .map(|text| ((*text).to_owned(), text.as_bytes().to_vec()))
    .collect();
    for path in files {
        let file = File::read(path);
        let dataset = file.dataset();
        let runs =
            (0..40).map(|step| dataset.len() / 40 * step).filter_map(|at| dataset.get(at..at + RUN_BYTES));
        let telling = runs.filter(|run| distinct(run) >= DISTINCT_BYTES_MIN);
        needles.extend(telling.map(|run| (format!("bytes of {}", path.display()), run.to_vec())));
    }
    needles
}

fn distinct(run: &[u8]) -> usize {
    let mut bytes = run.to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    bytes.len()
}

fn search(home: &Home, needles: &[(String, Vec<u8>)], when: &str) {
    let mut searched = 0;
    for folder in [home.data_dir(), home.bucket_dir()] {
        for path in files_below(&folder) {
            searched += search_file(&path, needles, when);
        }
    }
    assert!(searched > 100_000, "{when}: only {searched} bytes were there to search");
}

fn search_file(path: &Path, needles: &[(String, Vec<u8>)], when: &str) -> usize {
    let Ok(bytes) = std::fs::read(path) else { return 0 };
    let name = path.display().to_string();
    for (what, needle) in needles {
        assert!(find(&bytes, needle).is_none(), "{when}: {what} lies open in {name}");
        assert!(find(name.as_bytes(), needle).is_none(), "{when}: {what} stands in the name {name}");
    }
    bytes.len()
}
