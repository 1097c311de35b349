//! Something is away or lost — the bucket, the catalog, a disk, the local copies — and nothing that was acknowledged is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::dicom::Image;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::servers::Database;
use crate::support::{files_below, wait_for};

const IMAGES: u64 = 12;
const SOON: Duration = Duration::from_secs(60);
/// Said at a start with a catalog that is new, or older than the data directory.
const CATALOG_IS_BEHIND: &str = "the catalog lacks what this data directory stated";

fn images(study: u64) -> Vec<Image> {
    (1..=IMAGES).map(|number| Image::of_study(study, number)).collect()
}

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let folder = home.path().join("send");
    fs::create_dir_all(&folder).expect("make a folder");
    for image in images {
        image.write(&folder);
    }
    home.run(&["send", &gateway.dicom, &folder.display().to_string(), "--aec", AE_TITLE, "--json"]).ended(0);
}

/// Every image comes back as it was sent, once.
fn check(home: &Home, gateway: &Gateway, images: &[Image]) {
    for image in images {
        let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
        let file = gateway.web.instance(uids.0, uids.1, uids.2).expect("the instance");
        assert!(file.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
        assert_eq!(gateway.records_of(&image.sop_instance_uid).len(), 1);
    }
    home.run(&["verify", "--deep", "--json"]).ended(0);
}

fn states(gateway: &Gateway) -> impl Fn(&str) -> u64 {
    let status = gateway.status();
    move |state: &str| status["states"][state].as_u64().unwrap_or_default()
}

/// R7, R9: a bucket that cannot be written shows as retrying, with a reason and a next time; when it is back,
/// everything is verified without a hand.
#[test]
fn a_bucket_that_is_away_for_a_while_costs_only_time() {
    let home = Home::new().set("UPLOAD__RETRY_DELAY_MIN_MS", 50).set("UPLOAD__RETRY_DELAY_MAX_MS", 400);
    let gateway = home.serve();
    let away = home.path().join("bucket-away");
    fs::rename(home.bucket_dir(), &away).expect("take the bucket away");
    fs::write(home.bucket_dir(), "a file where the folder was").expect("put something in its way");
    let images = images(31);
    send(&home, &gateway, &images);
    let status = wait_for("the pack is being retried", SOON, || {
        let status = gateway.status();
        (status["states"]["retrying"] == IMAGES).then_some(status)
    });
    let pack = &status["retrying"][0];
    assert!(pack["reason"].as_str().is_some_and(|reason| reason.contains("bucket")), "{status}");
    assert!(pack["next_try_at"].as_i64().is_some(), "{status}");
    check(&home, &gateway, &images);

    fs::remove_file(home.bucket_dir()).expect("clear the way");
    fs::rename(&away, home.bucket_dir()).expect("bring the bucket back");
    wait_for("everything is verified", SOON, || (states(&gateway)("verified") == IMAGES).then_some(()));
    check(&home, &gateway, &images);
    gateway.stop();
}

/// The catalog is derived: without it, local packs and journal say everything again.
#[test]
fn a_catalog_that_is_gone_is_made_again() {
    let home = Home::new();
    let gateway = home.serve();
    let (packed, journaled) = (images(32), images(33));
    send(&home, &gateway, &packed);
    gateway.settled(packed.len());
    gateway.stop();

    let home = home.set("PACK__QUIET_MS", 60_000);
    let gateway = home.serve();
    fs::remove_dir_all(home.path().join("send")).expect("clear the folder");
    send(&home, &gateway, &journaled);
    gateway.kill();
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let path = home.data_dir().join(name);
        assert!(!path.exists() || fs::remove_file(&path).is_ok(), "remove {}", path.display());
    }

    let home = home.set("PACK__QUIET_MS", 200);
    let mut gateway = home.serve();
    gateway.expect_log(CATALOG_IS_BEHIND);
    gateway.settled(packed.len() + journaled.len());
    assert_eq!(states(&gateway)("verified"), 2 * IMAGES);
    check(&home, &gateway, &packed);
    check(&home, &gateway, &journaled);
    gateway.stop();
}

/// Invariant 1 with `mirror = required`: what was acknowledged outlives the loss of the whole data directory.
#[test]
fn with_a_second_directory_the_first_disk_may_be_lost() {
    let home = Home::new().set("NODE__MIRROR", "required").set("PACK__QUIET_MS", 60_000);
    let second = home.path().join("second");
    let home = home.set("NODE__SECOND_DIR", second.display());
    let gateway = home.serve();
    let images = images(34);
    send(&home, &gateway, &images);
    gateway.kill();
    fs::remove_dir_all(home.data_dir()).expect("lose the first disk");

    let home = home.set("PACK__QUIET_MS", 200);
    let mut gateway = home.serve();
    gateway.expect_log(CATALOG_IS_BEHIND);
    gateway.settled(images.len());
    check(&home, &gateway, &images);
    assert_eq!(states(&gateway)("verified"), IMAGES);
    gateway.stop();
}

/// A second directory that is required and cannot be written: no success without it.
#[test]
fn without_its_required_second_directory_nothing_is_acknowledged() {
    let home = Home::new().set("NODE__MIRROR", "required").set("NODE__SECOND_DIR", "/proc/no-such-folder");
    let ended = home.run(&["serve", "--json"]);
    assert_ne!(ended.code, Some(0));
    assert!(ended.err.contains("second directory"), "{}", ended.err);
}

/// Local packs leave when the cache has to be small, and a range of the bucket's object gives every byte again.
#[test]
fn what_left_the_local_disk_is_read_from_the_bucket() {
    let home = Home::new().set("CACHE__BYTES_MAX", 0);
    let gateway = home.serve();
    let images = images(35);
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    wait_for("the pack leaves the local disk", SOON, || {
        packs(&home.data_dir().join("packs")).is_empty().then_some(())
    });
    check(&home, &gateway, &images);
    let metadata = format!("/dicomweb/studies/{}/metadata", images[0].study_instance_uid);
    let rows: Vec<serde_json::Value> = gateway.web.get(&metadata, "application/dicom+json").ok().json();
    assert_eq!(rows.len(), images.len());
    gateway.stop();
}

/// A bucket that lost what was verified in it, an empty folder where a share should be mounted say: the last copy here
/// is not given up for it, and goes up again.
#[test]
fn the_last_copy_is_not_given_up_for_one_that_is_gone() {
    let home = Home::new();
    let gateway = home.serve();
    let images = images(36);
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    gateway.stop();
    for file in files_below(&home.bucket_dir()) {
        fs::remove_file(file).expect("lose what is in the bucket");
    }

    let home = home.set("CACHE__BYTES_MAX", 0).set("UPLOAD__RETRY_DELAY_MIN_MS", 50);
    let mut gateway = home.serve();
    gateway.expect_log("a verified object is gone");
    wait_for("the pack is in the bucket again", SOON, || {
        (!packs(&home.bucket_dir().join("v1/pack")).is_empty()).then_some(())
    });
    gateway.settled(images.len());
    check(&home, &gateway, &images);
    gateway.stop();
}

/// What rotted on the local disk is served from the bucket, and given up here.
#[test]
fn a_rotten_local_pack_is_served_from_the_bucket() {
    let home = Home::new();
    let gateway = home.serve();
    let images = images(37);
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    gateway.stop();
    for file in files_below(&home.data_dir().join("packs")) {
        let mut bytes = fs::read(&file).expect("read the pack");
        bytes.iter_mut().skip(500).step_by(997).for_each(|byte| *byte ^= 0x40);
        fs::write(&file, bytes).expect("spoil the pack");
    }

    let mut gateway = home.serve();
    gateway.expect_log("a local pack does not open");
    check(&home, &gateway, &images);
    assert!(packs(&home.data_dir().join("packs")).is_empty(), "the rotten pack is given up");
    gateway.stop();
}

/// The journal is what an answer rests on: a database that is away holds up what follows, and no success is lost.
#[test]
fn a_database_that_is_away_for_a_while_costs_only_time() {
    let Some(database) = Database::make() else { return };
    let home = Home::new().set("CATALOG__URL", database.url());
    let mut gateway = home.serve();
    let mut sent = images(40);
    send(&home, &gateway, &sent);
    gateway.settled(sent.len());
    // Each step says what it could not do.
    gateway.expect_log("catalog");
    gateway.expect_log("testing the connection on-release");
    database.take_away();
    let stored = try_to_send(&home, &gateway, &images(41));
    let answer = gateway.web.get("/api/status", "application/json");
    assert_eq!(answer.status, 503, "{}", answer.text());
    database.bring_back();
    wait_for("it answers again", SOON, || {
        (gateway.web.get("/api/status", "application/json").status == 200).then_some(())
    });
    // What was refused meanwhile is sent again, as senders do; what was taken comes a second time.
    sent.extend(images(41));
    send(&home, &gateway, &sent);
    let records = gateway.settled(sent.len());
    assert!(records.iter().all(|record| record.state == "verified"));
    check(&home, &gateway, &sent);
    println!("{stored} of {IMAGES} were taken without the database");
    gateway.stop();
}

/// How many the gateway answered for with a success.
fn try_to_send(home: &Home, gateway: &Gateway, images: &[Image]) -> usize {
    let folder = home.path().join("try");
    fs::create_dir_all(&folder).expect("make a folder");
    images.iter().for_each(|image| drop(image.write(&folder)));
    let folder = folder.display().to_string();
    let sent = home.run(&["send", &gateway.dicom, &folder, "--aec", AE_TITLE, "--json"]);
    let lines = sent.lines::<serde_json::Value>();
    lines.iter().filter(|line| line["outcome"] == "stored").count()
}

/// Wrapped study keys are in every placement too.
#[test]
fn study_keys_that_are_gone_come_back_from_the_bucket() {
    let home = Home::new();
    let gateway = home.serve();
    let images = images(38);
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    gateway.stop();
    assert!(!home.bucket_dir().join("v1/key").exists(), "keys lie with the packs");
    assert!(!home.bucket_keys_dir().join("v1/pack").exists(), "packs lie with the keys");
    for file in files_below(&home.data_dir().join("keys/study")) {
        fs::remove_file(file).expect("lose a key");
    }

    let mut gateway = home.serve();
    gateway.expect_log("was brought back from the bucket");
    check(&home, &gateway, &images);
    gateway.stop();
}

/// Damage without another copy is a state with an alarm, not only an error on reading.
#[test]
fn damage_that_is_found_is_a_state() {
    // All of it in one pack, however slowly it arrives: one byte is one damaged instance.
    let home = Home::new().set("PACK__QUIET_MS", 3_000);
    let gateway = home.serve();
    let images = images(39);
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    gateway.stop();
    for file in files_below(&home.bucket_dir().join("v1/pack"))
        .into_iter()
        .chain(files_below(&home.data_dir().join("packs")))
    {
        let mut bytes = fs::read(&file).expect("read the pack");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).expect("spoil the pack");
    }

    let gateway = home.serve();
    home.run(&["verify", "--deep", "--json"]).ended(2);
    assert_eq!(states(&gateway)("damaged"), 1);
    assert_eq!(states(&gateway)("verified"), IMAGES - 1);
    assert_eq!(gateway.status()["alarms"].as_array().map(Vec::len), Some(1));
    gateway.stop();
}

fn packs(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
