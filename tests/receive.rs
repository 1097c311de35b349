//! Instances arriving: who may send, what is answered, when it can be seen, where it goes from there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::support::dicom::{CT_IMAGE, EXPLICIT_LE, File, Image};
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::peers::{self, Recorder, host_and_port};
use crate::support::process::finish;
use crate::support::wire::{self, Reaction, Wire};
use crate::support::{Dice, files_below, fixtures, root, wait_for};

const SUCCESS: &str = "0x0000";
/// Promised is 1 s on an idle machine; tests share theirs.
const VISIBLE_WITHIN: Duration = Duration::from_secs(3);
const PEER_DEADLINE: Duration = Duration::from_secs(60);

/// A line of `filmgate send --json`.
#[derive(Debug, Deserialize)]
struct Sent {
    path: Option<PathBuf>,
    sop_instance_uid: Option<String>,
    status: Option<String>,
    outcome: Option<String>,
}

fn send(home: &Home, gateway: &Gateway, files: &[PathBuf]) -> Vec<Sent> {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut arguments = vec!["send", &gateway.dicom];
    arguments.extend(files.iter().map(String::as_str));
    arguments.extend(["--aec", AE_TITLE, "--json"]);
    let mut lines: Vec<Sent> = home.run(&arguments).lines();
    lines.retain(|line| line.path.is_some());
    lines
}

fn send_image(home: &Home, gateway: &Gateway, image: &Image) {
    let sent = send(home, gateway, &[image.write(home.path())]);
    assert_eq!(sent[0].status.as_deref(), Some(SUCCESS), "{sent:?}");
}

fn fetch(gateway: &Gateway, image: &Image) -> Result<File, String> {
    gateway.web.instance(&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid)
}

/// The same within the time an instance may take to become visible.
fn fetch_soon(gateway: &Gateway, image: &Image) -> File {
    wait_for("the instance can be fetched", VISIBLE_WITHIN, || fetch(gateway, image).ok())
}

fn qido(gateway: &Gateway, query: &str) -> Vec<Value> {
    let answer = gateway.web.get(&format!("/dicomweb/{query}"), "application/dicom+json");
    if answer.status == 204 { Vec::new() } else { answer.ok().json() }
}

#[test]
fn the_fixtures_arrive_and_reach_the_bucket() {
    let home = Home::new();
    let gateway = home.serve();
    let files = fixtures();
    for sent in send(&home, &gateway, &files) {
        assert_eq!(sent.outcome.as_deref(), Some("stored"), "{sent:?}");
        assert!(sent.sop_instance_uid.is_some(), "{sent:?}");
    }
    let records = gateway.settled(files.len());
    assert_eq!(records.len(), files.len());
    assert!(records.iter().all(|record| record.state == "verified"), "{records:?}");
    let states = gateway.status()["states"].clone();
    assert_eq!(states["verified"], files.len(), "{states}");
    assert_eq!(home.run(&["status", "--json"]).ended(0).json()["states"]["verified"], files.len());
    home.run(&["verify", "--deep", "--json"]).ended(0);
    gateway.stop();
}

#[test]
fn an_answered_instance_is_visible_at_once() {
    let home = Home::new().set("PACK__QUIET_MS", 60_000);
    let gateway = home.serve();
    let image = Image::of_study(1, 1);
    send_image(&home, &gateway, &image);
    let answered = Instant::now();
    assert_eq!(fetch_soon(&gateway, &image).dataset(), image.dataset());
    let found = qido(&gateway, &format!("studies?PatientID={}", image.patient_id));
    assert_eq!(found.len(), 1, "{:?} after the answer", answered.elapsed());
    assert_eq!(gateway.records()[0].state, "received");
    gateway.stop();
}

#[test]
fn unknown_callers_and_wrong_titles_are_refused() {
    let home = Home::new().set("DICOM__ACCEPT_UNKNOWN_CALLERS", false);
    let mut gateway = home.serve();
    gateway.expect_log("refused");
    gateway.expect_log("rejected");
    assert_ne!(peers::echoscu(&gateway.dicom, "STRANGER", AE_TITLE).code, Some(0));
    let image = Image::of_study(2, 1).write(home.path()).display().to_string();
    home.run(&["send", &gateway.dicom, &image, "--aec", AE_TITLE, "--json"]).ended(1);
    assert!(gateway.records().is_empty());
    gateway.stop();

    let home = Home::new();
    let mut open = home.serve();
    open.expect_log("refused");
    open.expect_log("rejected");
    assert_eq!(peers::echoscu(&open.dicom, "STRANGER", AE_TITLE).code, Some(0));
    assert_ne!(peers::echoscu(&open.dicom, "STRANGER", "SOMEONE_ELSE").code, Some(0));
    open.stop();
}

#[test]
fn the_same_bytes_again_change_nothing() {
    let home = Home::new();
    let gateway = home.serve();
    let image = Image::of_study(3, 1);
    send_image(&home, &gateway, &image);
    gateway.settled(1);
    send_image(&home, &gateway, &image);
    wait_for("the second copy is dropped", Duration::from_secs(60), || {
        (gateway.status()["copies_dropped"] == 1).then_some(())
    });
    let records = gateway.records_of(&image.sop_instance_uid);
    assert_eq!(records.len(), 1, "{records:?}");
    let instances = format!("studies/{}/instances", image.study_instance_uid);
    assert_eq!(qido(&gateway, &instances).len(), 1);
    assert_eq!(fetch(&gateway, &image).expect("the instance").dataset(), image.dataset());
    gateway.stop();
}

#[test]
fn other_content_under_a_known_uid_keeps_both_and_serves_the_first() {
    let home = Home::new();
    let mut gateway = home.serve();
    gateway.expect_log("content");
    let first = Image::of_study(4, 1);
    send_image(&home, &gateway, &first);
    gateway.settled(1);
    let second = Image { samples: Dice(4).bytes(first.samples.len()), ..first.clone() };
    send_image(&home, &gateway, &second);
    gateway.settled(2);
    let records = gateway.records_of(&first.sop_instance_uid);
    assert_eq!(records.len(), 2, "{records:?}");
    let status = gateway.status();
    assert_eq!(status["alarms"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(fetch(&gateway, &first).expect("the instance").dataset(), first.dataset());
    let instances = format!("studies/{}/instances", first.study_instance_uid);
    assert_eq!(qido(&gateway, &instances).len(), 1);
    let mut kept: Vec<Vec<u8>> = records
        .iter()
        .map(|record| gateway.web.get(&format!("/api/records/{}", record.record_id), "*/*").ok().body)
        .map(|bytes| File::new(bytes).dataset().to_vec())
        .collect();
    let mut wanted = vec![first.dataset(), second.dataset()];
    kept.sort();
    wanted.sort();
    assert!(kept == wanted, "the two contents are not the two that were sent");
    gateway.stop();
}

#[test]
fn a_command_that_disagrees_with_its_dataset_is_answered_so_and_kept() {
    let home = Home::new();
    let mut gateway = home.serve();
    gateway.expect_log("quarantine");
    let image = Image::of_study(5, 1);
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    assert_eq!(wire.store(CT_IMAGE, "1.2.3.4", &image.dataset()), Reaction::Status(0xA900));
    assert_eq!(wire.store(CT_IMAGE, &image.sop_instance_uid, &image.dataset()), Reaction::Status(0));
    wire.release();
    let records = gateway.settled(2);
    let quarantined: Vec<_> = records.iter().filter(|record| record.state == "quarantined").collect();
    assert_eq!(quarantined.len(), 1, "{records:?}");
    assert!(quarantined[0].reason.as_deref().is_some_and(|reason| !reason.is_empty()));
    let kept = gateway.web.get(&format!("/api/records/{}", quarantined[0].record_id), "*/*").ok();
    assert!(File::new(kept.body).dataset() == image.dataset());
    gateway.stop();
}

#[test]
fn a_syntax_nobody_knows_is_kept_as_it_came() {
    let home = Home::new();
    let gateway = home.serve();
    let image = Image::of_study(6, 1);
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, "1.2.826.0.1.3680043.10.1543.99.1");
    assert_eq!(wire.store(CT_IMAGE, &image.sop_instance_uid, &image.dataset()), Reaction::Status(0));
    let noise = Dice(6).bytes(100_000);
    assert_eq!(wire.store(CT_IMAGE, "1.2.826.0.1.3680043.10.1543.6.2", &noise), Reaction::Status(0));
    wire.release();
    let records = gateway.settled(2);
    assert_eq!(records.len(), 2, "{records:?}");
    let sent = [image.dataset(), noise];
    for record in records {
        let kept = gateway.web.get(&format!("/api/records/{}", record.record_id), "*/*").ok();
        assert!(sent.contains(&File::new(kept.body).dataset().to_vec()), "{record:?}");
    }
    gateway.stop();
}

#[test]
fn no_room_is_answered_and_what_was_answered_stays() {
    let home = Home::new().set("SPOOL__BYTES_MAX", 256 << 20).set("PACK__QUIET_MS", 600_000);
    let mut gateway = home.serve();
    gateway.expect_log("room");
    gateway.expect_log("not taken");
    let small = Image::of_study(7, 1);
    send_image(&home, &gateway, &small);
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    let big = Image { samples: Dice(7).bytes(200 << 20), ..Image::of_study(7, 2) };
    assert_eq!(wire.store(CT_IMAGE, &big.sop_instance_uid, &big.dataset()), Reaction::Status(0xA700));
    wire.release();
    assert!(gateway.records_of(&big.sop_instance_uid).is_empty());
    assert_eq!(fetch_soon(&gateway, &small).dataset(), small.dataset());
    send_image(&home, &gateway, &Image::of_study(7, 3));
    gateway.stop();
}

#[test]
fn an_instance_past_one_segment_comes_back() {
    let home = Home::new();
    let gateway = home.serve();
    let image = Image { samples: Dice(8).bytes(150 << 20), ..Image::of_study(8, 1) };
    let before = gateway.resident_bytes();
    send_image(&home, &gateway, &image);
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "receiving 150 MiB took {grown} bytes of memory");
    assert!(fetch_soon(&gateway, &image).dataset() == image.dataset());
    gateway.settled(1);
    assert!(fetch(&gateway, &image).expect("the instance").dataset() == image.dataset());
    gateway.stop();
}

#[test]
fn what_is_verified_outlives_a_restart() {
    let home = Home::new();
    let gateway = home.serve();
    let images: Vec<Image> = (1..=5).map(|number| Image::of_study(9, number)).collect();
    images.iter().for_each(|image| send_image(&home, &gateway, image));
    gateway.settled(images.len());
    gateway.stop();
    let out = home.path().join("out");
    let study = &images[0].study_instance_uid;
    home.run(&["export", "--study", study, "--out", &out.display().to_string(), "--json"]).ended(0);
    let gateway = home.serve();
    for image in &images {
        assert_eq!(fetch(&gateway, image).expect("the instance").dataset(), image.dataset());
    }
    let exported = crate::support::files_below(&out);
    assert_eq!(exported.len(), images.len());
    for path in exported {
        let file = File::read(&path);
        assert!(images.iter().any(|image| image.dataset() == file.dataset()), "{}", path.display());
    }
    gateway.stop();
}

#[test]
fn filmgate_send_reaches_a_foreign_receiver_byte_for_byte() {
    let recorder = Recorder::start();
    let home = Home::new();
    let files = fixtures();
    let mut arguments = vec!["send".to_owned(), recorder.address.clone()];
    arguments.extend(files.iter().map(|file| file.display().to_string()));
    arguments.extend(["--aec", "RECORDER", "--associations", "2", "--json"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let sent: Vec<Sent> = home.run(&arguments).ended(0).lines();
    for line in sent.iter().filter(|line| line.path.is_some()) {
        let uid = line.sop_instance_uid.as_deref().expect("a sent file has its UID");
        let path = line.path.as_deref().expect("a line per file");
        assert!(recorder.received(uid).as_deref() == Some(File::read(path).dataset()), "{}", path.display());
    }
}

#[test]
fn dicomweb_client_stores_finds_and_fetches() {
    let home = Home::new();
    let gateway = home.serve();
    let image = Image { patient_name: "Wang^XiaoDong=王^小东".into(), ..Image::of_study(10, 1) };
    let path = image.write(home.path()).display().to_string();
    let mut client = peers::python("dicomweb.py", &[&gateway.web.url("/dicomweb"), &path]);
    let said = finish(&mut client, PEER_DEADLINE).ended(0).json();
    assert_eq!(said["studies"], 1, "{said}");
    assert_eq!(said["by_patient"], 1, "{said}");
    assert_eq!(said["series"], 1, "{said}");
    assert_eq!(said["instances"], serde_json::json!([image.sop_instance_uid]), "{said}");
    assert_eq!(said["same_dataset"], true, "{said}");
    assert_eq!(said["metadata_rows"], 1, "{said}");
    assert_eq!(said["patient_name"], "Wang^XiaoDong", "{said}");
    assert!(said["ways"].as_u64().is_some_and(|ways| ways >= 27), "{said}");
    assert_eq!(said["in_pages"], 1, "{said}");
    assert_eq!(said["photometric"], "MONOCHROME2", "{said}");
    gateway.stop();
}

/// Its whole API: the script fails over a method, or an argument of one, that it does not use.
#[test]
fn dicomweb_client_is_answered_whatever_it_asks() {
    let home = Home::new();
    let gateway = home.serve();
    let folder = root().join("fixtures/dicom");
    let frames = folder.join("us-30-frames-jpeg.dcm").display().to_string();
    let mut series = files_below(&folder.join("ct-head-phantom"));
    series.sort();
    let base = gateway.web.url("/dicomweb");
    let mut client = peers::python("dicomweb_api.py", &[&base, &frames]);
    let used = finish(client.args(series), PEER_DEADLINE).ended(0).json();
    assert!(used.as_object().is_some_and(|used| used.len() >= 26), "{used}");
    gateway.stop();
}

#[test]
fn storescu_and_a_slow_association_do_not_hinder_each_other() {
    let home = Home::new();
    let gateway = home.serve();
    let image = Image::of_study(11, 1);
    let (half, rest) = (image.dataset(), Image::of_study(11, 2));
    let mut slow = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    slow.send(&wire::p_data(wire::CONTEXT, 3, &wire::store_command(1, CT_IMAGE, &image.sop_instance_uid)))
        .expect("send the command");
    slow.send(&wire::p_data(wire::CONTEXT, 0, &half[..1000])).expect("send a first part");
    let sent = peers::storescu(&gateway.dicom, EXPLICIT_LE, &rest.write(home.path()));
    assert_eq!(sent.code, Some(0), "{}", sent.err);
    slow.send(&wire::p_data(wire::CONTEXT, 2, &half[1000..])).expect("send the rest");
    assert_eq!(slow.reaction(), Reaction::Status(0));
    slow.release();
    assert_eq!(gateway.settled(2).len(), 2);
    let (host, _) = host_and_port(&gateway.dicom);
    assert_eq!(host, "127.0.0.1");
    gateway.stop();
}
