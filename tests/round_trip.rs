//! Every readable file of the test data, in by four doors and back by two ways, equal to what crossed the wire.
//!
//! Files that share a SOP Instance UID go in different rounds, each with a fresh data directory. What crossed the wire
//! is taken by a tap between sender and gateway. The outcome is `target/round-trip.tsv`: file × door × way back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::support::dicom::File;
use crate::support::gateway::{AE_TITLE, Gateway, Home, Record};
use crate::support::peers;
use crate::support::tap::Tap;
use crate::support::test_data::{self, Sample};
use crate::support::{root, wait_for};

/// Files per STOW-RS request.
const STOW_BATCH: usize = 16;
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// Cut off or broken inside an element: kept, but apart, with the reason.
const BROKEN: &[&str] = &["malformed/mr-truncated-pixel-data.dcm", "malformed/rtplan-truncated.dcm"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Send,
    Chunked,
    Storescu,
    Stow,
}

impl Door {
    const ALL: [Self; 4] = [Self::Send, Self::Chunked, Self::Storescu, Self::Stow];

    fn name(self) -> &'static str {
        match self {
            Self::Send => "filmgate send",
            Self::Chunked => "pynetdicom, chunked",
            Self::Storescu => "DCMTK storescu",
            Self::Stow => "STOW-RS",
        }
    }

    /// It hands on the file's own dataset bytes; storescu reads and writes them anew.
    fn sends_as_is(self) -> bool {
        self != Self::Storescu
    }

    /// The SOP Instance UID it announces is that of the file's head, not that of the dataset.
    fn announces_the_head(self) -> bool {
        self == Self::Chunked
    }
}

/// A file to send, and what is expected to come back.
struct Subject {
    sample: Sample,
    file: File,
}

impl Subject {
    fn uids(&self) -> [&str; 2] {
        [&self.sample.sop_instance_uid, &self.file.sop_instance_uid]
    }

    /// What is filed under either of its UIDs.
    fn record<'a>(&self, records: &'a [Record]) -> Option<&'a Record> {
        let uids = self.uids().into_iter().filter(|uid| !uid.is_empty());
        uids.into_iter()
            .find_map(|uid| records.iter().find(|record| record.sop_instance_uid.as_deref() == Some(uid)))
    }

    fn may_be_quarantined(&self, door: Door) -> bool {
        let [of_dataset, of_head] = self.uids();
        BROKEN.contains(&self.sample.name.as_str()) || (door.announces_the_head() && of_dataset != of_head)
    }
}

/// What became of one file at one door.
struct Row {
    file: String,
    door: Door,
    export: String,
    wado: String,
}

#[test]
fn every_file_comes_back_by_every_door() {
    let Some(samples) = test_data::samples() else { return };
    let rounds = rounds(samples);
    let rows: Vec<Row> = thread::scope(|scope| {
        let doors = Door::ALL.map(|door| {
            let rounds = &rounds;
            scope.spawn(move || rounds.iter().flat_map(|round| run_round(door, round)).collect::<Vec<Row>>())
        });
        doors.into_iter().flat_map(|door| door.join().expect("a door's rounds")).collect()
    });
    let files: usize = rounds.iter().map(Vec::len).sum();
    assert!(files > 200, "only {files} files");
    assert_eq!(rows.len(), files * Door::ALL.len());
    write_table(rows.iter());
    let wrong: Vec<String> = rows.iter().filter(|row| !row.holds(&rounds)).map(Row::line).collect();
    assert!(wrong.is_empty(), "{} of {} rows are wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Spreads the files so that no SOP Instance UID, of a dataset or of a head, stands twice in a round.
fn rounds(samples: Vec<Sample>) -> Vec<Vec<Subject>> {
    let mut rounds: Vec<(HashSet<String>, Vec<Subject>)> = Vec::new();
    for sample in samples {
        if !sample.readable || sample.sop_instance_uid.is_empty() {
            continue;
        }
        let subject = Subject { file: File::read(&sample.path), sample };
        let uids = subject.uids().map(str::to_owned);
        let free = rounds.iter().position(|(taken, _)| !uids.iter().any(|uid| taken.contains(uid)));
        let round = free.unwrap_or_else(|| {
            rounds.push(Default::default());
            rounds.len() - 1
        });
        rounds[round].0.extend(uids.into_iter().filter(|uid| !uid.is_empty()));
        rounds[round].1.push(subject);
    }
    rounds.into_iter().map(|(_, subjects)| subjects).collect()
}

/// Sends a round's files to a fresh gateway by one door and fetches them back by both ways.
fn run_round(door: Door, subjects: &[Subject]) -> Vec<Row> {
    let home = Home::new().set("DICOM__PRIVATE_SOP_CLASSES", test_data::PRIVATE_SOP_CLASS);
    let mut gateway = home.serve();
    gateway.expect_log("quarantine");
    let tap = Tap::before(&gateway.dicom);
    let refused = deliver(door, &home, &gateway, &tap, subjects);
    let crossed: Vec<Option<Vec<u8>>> = subjects
        .iter()
        .map(|subject| match door {
            Door::Stow => Some(subject.file.dataset().to_vec()),
            _ => tap.crossed(&subject.uids()),
        })
        .collect();
    let early = fetch_all(&gateway, subjects, &crossed);
    gateway.settled(crossed.iter().flatten().count());
    let late = fetch_all(&gateway, subjects, &crossed);
    let exports = Exports::of(&home, &gateway, subjects);
    let records = gateway.records();
    let rows = subjects.iter().enumerate().map(|(index, subject)| {
        let row =
            |export: String, wado: String| Row { file: subject.sample.name.clone(), door, export, wado };
        let Some(crossed) = &crossed[index] else {
            let why = refused.get(&subject.sample.path).map_or("it sent nothing", String::as_str);
            let cell = format!("sender refuses: {why}");
            return row(cell.clone(), cell);
        };
        let record = subject.record(&records);
        let compare = |back: &Result<Vec<u8>, String>| compare(crossed, subject.file.dataset(), back, record);
        let wado = match (compare(&early[index]), compare(&late[index])) {
            _ if subject.sample.study_instance_uid.is_empty() => {
                "no Study Instance UID: by export alone".to_owned()
            }
            (early, late) if early == late => late,
            (early, late) => format!("different answers: {early}, then {late}"),
        };
        row(compare(&exports.file_of(subject, record)), wado)
    });
    let rows = rows.collect();
    gateway.stop();
    rows
}

/// One cell of the table.
fn compare(crossed: &[u8], own: &[u8], back: &Result<Vec<u8>, String>, record: Option<&Record>) -> String {
    let quarantined = record.filter(|record| record.state == "quarantined");
    match back {
        Ok(back) if back != crossed => {
            format!("different: {} bytes crossed, {} came back", crossed.len(), back.len())
        }
        Err(_) | Ok(_) if quarantined.is_some() => {
            let reason = quarantined.and_then(|record| record.reason.clone()).unwrap_or_default();
            if reason.is_empty() {
                "quarantined without a reason".into()
            } else {
                format!("quarantined: {reason}")
            }
        }
        Ok(_) if crossed == own => "equal".into(),
        Ok(_) => "re-encoded by sender".into(),
        Err(why) => format!("missing: {why}"),
    }
}

impl Row {
    fn line(&self) -> String {
        let clean = |cell: &str| cell.replace(['\t', '\n', '\r'], " ");
        format!("{}\t{}\t{}\t{}", self.file, self.door.name(), clean(&self.export), clean(&self.wado))
    }

    fn holds(&self, rounds: &[Vec<Subject>]) -> bool {
        let subject =
            rounds.iter().flatten().find(|subject| subject.sample.name == self.file).expect("its subject");
        [&self.export, &self.wado].into_iter().all(|cell| match cell.split(':').next().unwrap_or_default() {
            "equal" | "no Study Instance UID" => true,
            "re-encoded by sender" => !self.door.sends_as_is(),
            "sender refuses" => !matches!(self.door, Door::Send | Door::Stow),
            "quarantined" => subject.may_be_quarantined(self.door),
            _ => false,
        })
    }
}

fn write_table<'a>(rows: impl Iterator<Item = &'a Row>) {
    let mut lines: Vec<String> = rows.map(Row::line).collect();
    lines.sort();
    let target = root().join("target");
    fs::create_dir_all(&target).expect("make the folder of the table");
    let path = target.join("round-trip.tsv");
    fs::write(&path, format!("file\tdoor\texport\tWADO-RS\n{}\n", lines.join("\n")))
        .expect("write the table");
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in &lines {
        let cells: Vec<&str> = line.split('\t').collect();
        for (way, cell) in [("export", cells[2]), ("WADO-RS", cells[3])] {
            let kind = cell.split(':').next().unwrap_or_default();
            *kinds.entry((format!("{}, {way}", cells[1]), kind.to_owned())).or_default() += 1;
        }
    }
    let mut summary = String::new();
    for ((way, kind), count) in kinds {
        let _ = writeln!(summary, "{count:>5}  {way}: {kind}");
    }
    println!("{}:\n{summary}", path.display());
}

/// Sends the files by a door; why it would not send some of them.
fn deliver(
    door: Door,
    home: &Home,
    gateway: &Gateway,
    tap: &Tap,
    subjects: &[Subject],
) -> HashMap<PathBuf, String> {
    let files: Vec<&Path> = subjects.iter().map(|subject| subject.sample.path.as_path()).collect();
    match door {
        Door::Send => send(home, &tap.address, &files),
        Door::Chunked => {
            let sent = peers::send_chunked(&tap.address, &files, home.path());
            sent.into_iter().filter_map(|sent| Some((sent.path, sent.error?))).collect()
        }
        Door::Storescu => subjects
            .iter()
            .filter_map(|subject| {
                let sample = &subject.sample;
                let sent = peers::storescu(&tap.address, &sample.transfer_syntax_uid, &sample.path);
                let complaints =
                    sent.err.lines().filter(|line| line.starts_with("E:") || line.starts_with("F:"));
                let why = complaints
                    .collect::<Vec<_>>()
                    .join(" ")
                    .replace(&sample.path.display().to_string(), "it");
                (sent.code != Some(0)).then(|| (sample.path.clone(), why))
            })
            .collect(),
        Door::Stow => {
            for batch in subjects.chunks(STOW_BATCH) {
                let files: Vec<&File> = batch.iter().map(|subject| &subject.file).collect();
                let answer = gateway.web.store(&files);
                let taken = matches!(answer.status, 200 | 202 | 409);
                assert!(taken, "STOW-RS answered {}: {}", answer.status, answer.text());
            }
            HashMap::new()
        }
    }
}

fn send(home: &Home, address: &str, files: &[&Path]) -> HashMap<PathBuf, String> {
    #[derive(Deserialize)]
    struct Line {
        path: Option<PathBuf>,
        error: Option<String>,
    }
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut arguments = vec!["send", address];
    arguments.extend(files.iter().map(String::as_str));
    arguments.extend(["--aec", AE_TITLE, "--associations", "2", "--json"]);
    let lines: Vec<Line> = home.run(&arguments).lines();
    lines.into_iter().filter_map(|line| Some((line.path?, line.error?))).collect()
}

/// Every file by WADO-RS; those that crossed and are not quarantined may take a moment to be visible.
fn fetch_all(
    gateway: &Gateway,
    subjects: &[Subject],
    crossed: &[Option<Vec<u8>>],
) -> Vec<Result<Vec<u8>, String>> {
    let arrived: Vec<&Subject> = subjects
        .iter()
        .zip(crossed)
        .filter(|(_, crossed)| crossed.is_some())
        .map(|(subject, _)| subject)
        .collect();
    wait_for("everything that was sent is listed", VISIBLE_WITHIN, || {
        let records = gateway.records();
        arrived.iter().all(|subject| subject.record(&records).is_some()).then_some(())
    });
    let fetch = |subject: &Subject| {
        let sample = &subject.sample;
        if sample.study_instance_uid.is_empty() {
            return Err("no Study Instance UID".to_owned());
        }
        let uids = (&sample.study_instance_uid, &sample.series_instance_uid, &sample.sop_instance_uid);
        gateway.web.instance(uids.0, uids.1, uids.2).map(|file| file.dataset().to_vec())
    };
    subjects.iter().map(fetch).collect()
}

/// A line of `filmgate export --json`.
#[derive(Deserialize)]
struct Exported {
    record_id: String,
    path: PathBuf,
    dataset_offset_bytes: usize,
    dataset_bytes: usize,
}

/// What export gave, by record.
struct Exports(HashMap<String, Vec<u8>>);

impl Exports {
    /// Exports every study by its UID, and by record what no study has or what is quarantined.
    fn of(home: &Home, gateway: &Gateway, subjects: &[Subject]) -> Self {
        let mut exports = Self(HashMap::new());
        let studies: HashSet<&str> =
            subjects.iter().map(|subject| &*subject.sample.study_instance_uid).collect();
        let records = gateway.records();
        for study in studies.into_iter().filter(|study| !study.is_empty()) {
            let filed = |record: &Record| record.study_instance_uid.as_deref() == Some(study);
            if records.iter().any(|record| filed(record) && record.state != "quarantined") {
                exports.add(home, "--study", study);
            }
        }
        for record in &records {
            if !exports.0.contains_key(&record.record_id) {
                exports.add(home, "--record", &record.record_id);
            }
        }
        exports
    }

    fn add(&mut self, home: &Home, what: &str, id: &str) {
        let out = home.path().join("out").join(id).display().to_string();
        let lines: Vec<Exported> = home.run(&["export", what, id, "--out", &out, "--json"]).ended(0).lines();
        for line in lines {
            let file =
                fs::read(&line.path).unwrap_or_else(|error| panic!("{}: {error}", line.path.display()));
            assert_eq!(file.get(128..132), Some(&b"DICM"[..]), "{} is no Part 10 file", line.path.display());
            let dataset = file[line.dataset_offset_bytes..].to_vec();
            assert_eq!(dataset.len(), line.dataset_bytes);
            assert!(
                File::new(file).dataset() == dataset,
                "{}: the offset is not the dataset's",
                line.path.display()
            );
            self.0.insert(line.record_id, dataset);
        }
    }

    fn file_of(&self, subject: &Subject, record: Option<&Record>) -> Result<Vec<u8>, String> {
        let record = record.ok_or_else(|| format!("no record of {}", subject.sample.sop_instance_uid))?;
        self.0.get(&record.record_id).cloned().ok_or_else(|| format!("{} was not exported", record.record_id))
    }
}
