//! A house that burnt down: from bucket and key alone a new machine answers every query with the same bytes and serves every
//! verified instance; a directory restored from an older copy of itself loses nothing and doubles nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::dicom::Image;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::{files_below, wait_for};

const SOON: Duration = Duration::from_secs(60);
const STUDIES: u64 = 5;
const IMAGES: u64 = 6;

/// How a study's key says what it is.
const KIND_STUDY: u8 = 3;

/// Queries of all levels, with matching, fuzzy names, sorting by default and paging.
const QUERIES: [&str; 9] = [
    "/dicomweb/studies",
    "/dicomweb/studies?limit=2&offset=1",
    "/dicomweb/studies?PatientName=*&includefield=all",
    "/dicomweb/studies?ModalitiesInStudy=CT",
    "/dicomweb/series",
    "/dicomweb/series?Modality=CT&includefield=all",
    "/dicomweb/instances",
    "/dicomweb/instances?limit=7&offset=3",
    "/dicomweb/instances?includefield=all",
];

/// Studies, one instance sent twice, one in which the pixels differ under a known UID.
fn send_all(home: &Home, gateway: &Gateway) -> usize {
    let folder = home.path().join("send");
    let mut first = None;
    for study in 1..=STUDIES {
        for number in 1..=IMAGES {
            let image = Image::of_study(7000 + study, number);
            image.write(&folder_of(&folder, "1"));
            first.get_or_insert(image);
        }
    }
    let first = first.expect("an image");
    send(home, gateway, &folder_of(&folder, "1"));
    gateway.settled((STUDIES * IMAGES) as usize);
    first.write(&folder_of(&folder, "2"));
    send(home, gateway, &folder_of(&folder, "2"));
    let mut samples = first.samples.clone();
    samples[0] ^= 1;
    Image { samples, ..first }.write(&folder_of(&folder, "3"));
    send(home, gateway, &folder_of(&folder, "3"));
    // The same bytes are dropped, other content is kept.
    let kept = (STUDIES * IMAGES + 1) as usize;
    gateway.settled(kept);
    kept
}

fn folder_of(folder: &Path, name: &str) -> std::path::PathBuf {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).expect("make a folder");
    folder
}

fn send(home: &Home, gateway: &Gateway, folder: &Path) {
    home.run(&["send", &gateway.dicom, &folder.display().to_string(), "--aec", AE_TITLE, "--json"]).ended(0);
}

/// The bodies; where the gateway listens, which stands in every Retrieve URL, left out.
fn answers(gateway: &Gateway) -> Vec<String> {
    let answer = |query: &&str| gateway.web.get(query, "application/dicom+json").ok().text();
    QUERIES.iter().map(|query| answer(query).replace(gateway.web.address(), "HOST")).collect()
}

/// What `verify --deep` says of everything.
fn verified(home: &Home) -> (Value, Value) {
    let report = home.run(&["verify", "--deep", "--json"]).ended(0).json();
    (report["records"].clone(), report["dataset_bytes"].clone())
}

/// Another machine: nothing but the buckets and a copy of the key.
fn burn(home: &Home) {
    fs::remove_dir_all(home.data_dir()).expect("remove the data directory");
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("run cp");
    assert!(done.success(), "copy {}", from.display());
}

#[test]
fn an_empty_machine_with_bucket_and_key_answers_the_same() {
    let home = Home::new();
    let mut gateway = home.serve();
    gateway.expect_log("other content");
    let kept = send_all(&home, &gateway);
    let (before, states) = (answers(&gateway), states(&gateway));
    gateway.stop();
    let deep = verified(&home);
    burn(&home);

    let rebuilt = home.run(&["rebuild", "--json"]).ended(0).json();
    assert_eq!(rebuilt["problems"], serde_json::json!([]));
    assert_eq!(rebuilt["instances"], kept as u64);
    assert_eq!(rebuilt["packs_unnamed"], 0, "every verified pack is named by the log");
    assert_eq!(verified(&home), deep);
    let gateway = home.serve();
    assert_eq!(answers(&gateway), before);
    assert_eq!(self::states(&gateway), states);
    gateway.stop();

    // Again, over what is there: the same.
    let again = home.run(&["rebuild", "--json"]).ended(0).json();
    assert_eq!(again["instances"], kept as u64);
    let gateway = home.serve();
    assert_eq!(answers(&gateway), before);
    gateway.stop();
}

fn states(gateway: &Gateway) -> Vec<(String, String)> {
    let mut states: Vec<_> =
        gateway.records().into_iter().map(|record| (record.record_id, record.state)).collect();
    states.sort_unstable();
    states
}

#[test]
fn what_the_log_lost_and_what_no_key_opens_is_said() {
    let home = Home::new();
    let gateway = home.serve();
    send_all(&home, &gateway);
    let before = answers(&gateway);
    gateway.stop();
    burn(&home);

    // A flipped bit in the first batch: the log stops there, and the packs come back by themselves.
    let batch = files_below(&home.bucket_dir().join("v1/log")).into_iter().min().expect("a batch");
    let sound = fs::read(&batch).expect("read the batch");
    let mut flipped = sound.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&batch, &flipped).expect("flip a bit");
    let rebuilt = home.run(&["rebuild", "--json"]).ended(2).json();
    let problems = rebuilt["problems"].to_string();
    assert!(problems.contains("stops: batch 1"), "{problems}");
    assert_eq!(rebuilt["packs"], 0);
    let mut gateway = home.serve();
    gateway.expect_log("cannot be read on");
    gateway.settled((STUDIES * IMAGES) as usize);
    assert_eq!(answers(&gateway), before, "packs that no log names are adopted, proven and named");
    gateway.stop();
    fs::write(&batch, &sound).expect("mend it");

    // A study's key that is gone: its pack is named, with what to do, and the others come back.
    burn(&home);
    let keys = files_below(&home.bucket_keys_dir());
    let study = keys.iter().find(|path| fs::read(path).is_ok_and(|key| key[7] == KIND_STUDY));
    let study = study.expect("a study's key").parent().expect("its folder").to_owned();
    let aside = home.path().join("aside");
    fs::rename(&study, &aside).expect("lose a key");
    let rebuilt = home.run(&["rebuild", "--json"]).ended(2).json();
    let problems = rebuilt["problems"].to_string();
    let name = study.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(problems.contains(&name) && problems.contains("run rebuild again"), "{problems}");
    fs::rename(&aside, &study).expect("find it again");
    let rebuilt = home.run(&["rebuild", "--json"]).ended(0).json();
    assert_eq!(rebuilt["problems"], serde_json::json!([]));

    // Another key of keys opens nothing, and nothing is overlaid.
    burn(&home);
    fs::write(home.key_path(), "00".repeat(32)).expect("another key");
    let refused = home.run(&["rebuild", "--json"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("key of keys"), "{}", refused.err);
}

#[test]
fn a_directory_restored_from_a_copy_begins_another_history_and_loses_nothing() {
    let home = Home::new();
    let gateway = home.serve();
    let folder = home.path().join("send");
    for number in 1..=IMAGES {
        Image::of_study(8001, number).write(&folder_of(&folder, "1"));
        Image::of_study(8002, number).write(&folder_of(&folder, "2"));
    }
    send(&home, &gateway, &folder_of(&folder, "1"));
    gateway.settled(IMAGES as usize);
    gateway.stop();
    let snapshot = home.path().join("snapshot");
    copy(&home.data_dir(), &snapshot);
    let gateway = home.serve();
    send(&home, &gateway, &folder_of(&folder, "2"));
    gateway.settled(2 * IMAGES as usize);
    let (before, states) = (answers(&gateway), states(&gateway));
    gateway.stop();
    burn(&home);
    copy(&snapshot, &home.data_dir());

    let mut gateway = home.serve();
    gateway.expect_log("restored from a copy");
    assert_eq!(self::states(&gateway), states, "what it did after the copy is known again, once");
    assert_eq!(answers(&gateway), before);
    send(&home, &gateway, &folder_of(&folder, "2"));
    gateway.stop();
    let logs = files_below(&home.bucket_dir().join("v1/log"));
    let incarnations: BTreeSet<_> = logs.iter().filter_map(|path| path.parent()).collect();
    assert_eq!(incarnations.len(), 2, "another history began");
    burn(&home);
    assert_eq!(home.run(&["rebuild", "--json"]).ended(0).json()["problems"], serde_json::json!([]));
    let gateway = home.serve();
    assert_eq!(self::states(&gateway), states);
    assert_eq!(answers(&gateway), before);
    gateway.stop();
}

fn of_study(number: u64) -> String {
    Image::of_study(number, 1).study_instance_uid
}

/// What a person asks for; the id of what came of it.
fn decide(home: &Home, arguments: &[&str]) -> String {
    let done = home.run(&[arguments, &["--as", "ann", "--json"]].concat()).ended(0).json();
    done["id"].as_str().unwrap_or_default().to_owned()
}

fn delete(home: &Home, study: &str) -> String {
    let id = decide(home, &["delete", "request", study, "--why", "wrong patient"]);
    decide(home, &["delete", "confirm", &id]);
    id
}

fn deletion(home: &Home, id: &str) -> Value {
    let all = home.run(&["delete", "list", "--json"]).ended(0).json();
    all.as_array().into_iter().flatten().find(|one| one["deletion"] == id).cloned().unwrap_or_default()
}

fn finds(gateway: &Gateway, study: &str) -> bool {
    let found = gateway.web.get(&format!("/dicomweb/studies/{study}/instances"), "application/dicom+json");
    found.status == 200 && found.text().contains(study)
}

fn all_logged(gateway: &Gateway) {
    wait_for("the log has heard of it", SOON, || (gateway.status()["log"]["waiting"] == 0).then_some(()));
}

/// Nothing is kept by rule, and packs are not merged by themselves.
fn home_of_decisions() -> Home {
    Home::new()
        .set("RETENTION__YEARS", 0)
        .set("REPACK__SMALL_PACK_BYTES", 0)
        .set("REPACK__GRACE_MS", 200)
        .set("DELETION__GRACE_MS", 100)
}

#[test]
fn what_people_decided_outlives_the_house() {
    let home = home_of_decisions();
    let gateway = home.serve();
    let [held, kept, gone, hidden, back, repacked] = [8101, 8102, 8103, 8104, 8105, 8106].map(of_study);
    for study in 8101..=8106 {
        for number in 1..=2 {
            // Each in a pack of its own.
            let folder = folder_of(&home.path().join("send"), &format!("{study}-{number}"));
            Image::of_study(study, number).write(&folder);
            send(&home, &gateway, &folder);
            gateway.settled(((study - 8101) * 2 + number) as usize);
        }
    }
    let hold = decide(&home, &["hold", "place", &held, "--why", "court order 12"]);
    let over = decide(&home, &["hold", "place", &kept, "--why", "a mistake"]);
    decide(&home, &["hold", "release", &over, "--why", "it was"]);
    decide(&home, &["retention", "set", &kept, "--years", "2", "--why", "a trial"]);
    let done = delete(&home, &gone);
    wait_for("it is gone", SOON, || (deletion(&home, &done)["step"] == "done").then_some(()));
    decide(&home, &["repack", "--study", &repacked]);
    wait_for("two packs of one study became one, and two are gone", SOON, || {
        (home.packs_in_bucket().len() == 9).then_some(())
    });
    all_logged(&gateway);
    gateway.stop();
    // The other two wait for their time when the house burns down.
    let home = home.set("DELETION__GRACE_MS", 600_000);
    let gateway = home.serve();
    let waits = delete(&home, &hidden);
    let cancelled = delete(&home, &back);
    decide(&home, &["delete", "cancel", &cancelled, "--why", "it was the right one"]);
    all_logged(&gateway);
    let before = answers(&gateway);
    gateway.stop();
    let (deep, packs) = (verified(&home), home.packs_in_bucket());
    burn(&home);

    let rebuilt = home.run(&["rebuild", "--json"]).ended(0).json();
    assert_eq!(rebuilt["problems"], serde_json::json!([]));
    assert_eq!(verified(&home), deep);
    let gateway = home.serve();
    assert_eq!(answers(&gateway), before, "what was deleted does not come back, the rest is as it was");
    assert!(!finds(&gateway, &gone) && !finds(&gateway, &hidden));
    assert!([&held, &kept, &back, &repacked].into_iter().all(|study| finds(&gateway, study)));
    assert_eq!(home.packs_in_bucket(), packs);

    let refused =
        |study: &str| home.run(&["delete", "request", study, "--as", "ann", "--why", "x"]).ended(1).err;
    let why = refused(&held);
    assert!(why.contains("court order 12") && why.contains(&hold), "{why}");
    assert!(refused(&kept).contains("a trial"));
    let [done, waits, cancelled] = [&done, &waits, &cancelled].map(|id| deletion(&home, id));
    assert_eq!([&done["step"], &waits["step"], &cancelled["step"]], ["done", "confirmed", "cancelled"]);
    assert_eq!(
        (&waits["records"], &waits["confirmed_by"]),
        (&serde_json::json!(2), &serde_json::json!("ann"))
    );
    // Taken back only now, it is there again.
    decide(&home, &["delete", "cancel", waits["deletion"].as_str().expect("an id"), "--why", "it was not"]);
    assert!(finds(&gateway, &hidden));
    gateway.stop();
}

#[test]
fn a_deletion_that_was_under_way_goes_on_after_the_catalog_is_lost() {
    let home = home_of_decisions().set("DELETION__GRACE_MS", 8_000);
    let gateway = home.serve();
    let folder = folder_of(&home.path().join("send"), "1");
    for number in 1..=3 {
        Image::of_study(8201, number).write(&folder);
        Image::of_study(8202, number).write(&folder);
    }
    send(&home, &gateway, &folder);
    gateway.settled(6);
    let id = delete(&home, &of_study(8201));
    all_logged(&gateway);
    gateway.stop();
    assert_eq!(home.packs_in_bucket().len(), 2, "its time has not come");
    for file in files_below(&home.data_dir()) {
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("catalog")) {
            fs::remove_file(file).expect("lose the catalog");
        }
    }
    home.run(&["rebuild", "--json"]).ended(0);
    let gateway = home.serve();
    assert!(!finds(&gateway, &of_study(8201)) && finds(&gateway, &of_study(8202)));
    wait_for("its bytes are gone", SOON, || (home.packs_in_bucket().len() == 1).then_some(()));
    wait_for("and it is done", SOON, || (deletion(&home, &id)["step"] == "done").then_some(()));
    home.run(&["verify", "--deep"]).ended(0);
    gateway.stop();
}
