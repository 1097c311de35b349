//! What lies on the disks tells nothing: no name, no DICOM, no pixels.

use std::collections::HashMap;
use std::path::Path;

use crate::support::dicom::{File, Image};
use crate::support::gateway::{AE_TITLE, Gateway, Home};
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
    let needles = Needles::new(needles(&secret, &files));

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

/// What is looked for in one pass, by its first four bytes; a table of the first two says where to look closer.
struct Needles {
    by_start: HashMap<[u8; 4], Vec<(String, Vec<u8>)>>,
    pairs: Vec<bool>,
}

impl Needles {
    fn new(needles: Vec<(String, Vec<u8>)>) -> Self {
        let mut all = Self { by_start: HashMap::new(), pairs: vec![false; 1 << 16] };
        for (what, needle) in needles {
            let start: [u8; 4] = *needle.first_chunk().expect("four bytes at least");
            all.pairs[usize::from(u16::from_le_bytes([start[0], start[1]]))] = true;
            all.by_start.entry(start).or_default().push((what, needle));
        }
        all
    }

    /// The word for what stands in `hay`, if anything does.
    fn found_in(&self, hay: &[u8]) -> Option<&str> {
        let starts = hay
            .windows(4)
            .enumerate()
            .filter(|(_, window)| self.pairs[usize::from(u16::from_le_bytes([window[0], window[1]]))]);
        let mut candidates = starts.filter_map(|(at, window)| Some((at, self.by_start.get(window)?)));
        candidates.find_map(|(at, needles)| {
            let found = needles.iter().find(|(_, needle)| hay[at..].starts_with(needle));
            found.map(|(what, _)| what.as_str())
        })
    }
}

fn search(home: &Home, needles: &Needles, when: &str) {
    let mut searched = 0;
    for folder in [home.data_dir(), home.bucket_dir(), home.bucket_keys_dir()] {
        for path in files_below(&folder) {
            searched += search_file(&path, needles, when);
        }
    }
    assert!(searched > 100_000, "{when}: only {searched} bytes were there to search");
}

fn search_file(path: &Path, needles: &Needles, when: &str) -> usize {
    let Ok(bytes) = std::fs::read(path) else { return 0 };
    let name = path.display().to_string();
    for hay in [&bytes, name.as_bytes()] {
        if let Some(what) = needles.found_in(hay) {
            panic!("{when}: {what} lies open in {name}");
        }
    }
    bytes.len()
}

#[test]
fn the_search_finds_what_is_there() {
    let needles =
        Needles::new(vec![("one".into(), b"secret".to_vec()), ("two".into(), b"secretary".to_vec())]);
    assert_eq!(needles.found_in(b"nothing of the sort, secre"), None);
    assert_eq!(needles.found_in(b"ssesecretary"), Some("one"));
    assert_eq!(needles.found_in(b"at the end: secret"), Some("one"));
}
