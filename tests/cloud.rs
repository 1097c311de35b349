//! A real S3 server behind a proxy that spoils requests: what goes out arrives whole, once, and without a hand.
//!
//! The server is told by the environment (`cargo xtask test`). `FILMGATE_TEST_CLOUD_BYTES` makes the long outage longer.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use filmgate_faults::{Fault, Passed, Request, Seeded};
use serde_json::Value;

use crate::support::cloud::Cloud;
use crate::support::dicom::Image;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::generated::Generated;
use crate::support::wait_for;

const SOON: Duration = Duration::from_secs(120);
const PART_BYTES: u64 = 5 << 20;
/// Frames of an instance whose pack has some parts.
const FRAMES_OF_SOME_PARTS: usize = 128;
/// What is received while the server is away.
const OUTAGE_BYTES: u64 = 512 << 20;
/// How much more memory it takes to upload and read back whatever waits: parts in flight, not packs.
const UPLOADING_BYTES_MAX: u64 = 96 << 20;

impl Cloud {
    /// Settings of a gateway that puts its packs there in parts.
    fn home(&self) -> Home {
        self.set(Home::new(), "MAIN").set("UPLOAD__PART_SIZE_BYTES", PART_BYTES)
    }

    /// Nothing begun in parts is left on the server.
    fn check_nothing_is_left(&self) {
        let uploads = self.s3.ask("GET", &format!("/{}?uploads=", self.packs));
        assert!(uploads.contains("ListMultipartUploadsResult"), "{uploads}");
        assert!(!uploads.contains("<UploadId>"), "{uploads}");
    }

    /// Parts that went well, and how often each did.
    fn parts_put(&self) -> BTreeMap<u64, usize> {
        let mut put = BTreeMap::new();
        for passed in self.proxy.passed() {
            if let Some(number) = part_number(&passed.request).filter(|_| passed.status == Some(200)) {
                *put.entry(number).or_default() += 1;
            }
        }
        put
    }
}

/// The number of the part a request puts.
fn part_number(request: &Request) -> Option<u64> {
    request.parameter("partNumber").filter(|_| request.method == "PUT")?.parse().ok()
}

/// A gateway that is used to a server that does not answer.
fn serve(home: &Home) -> Gateway {
    let mut gateway = home.serve();
    gateway.expect_log("the site's keys in the buckets were not looked at");
    gateway.expect_log("a local pack stays");
    gateway
}

fn state_count(gateway: &Gateway, state: &str) -> u64 {
    gateway.status()["states"][state].as_u64().unwrap_or_default()
}

fn wait_verified(gateway: &Gateway, instances: u64) {
    wait_for("everything is verified", SOON, || {
        (state_count(gateway, "verified") == instances).then_some(())
    });
}

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let folder = home.path().join(format!("send-{}", images[0].sop_instance_uid));
    fs::create_dir_all(&folder).expect("make a folder");
    for image in images {
        image.write(&folder);
    }
    home.run(&["send", &gateway.dicom, &folder.display().to_string(), "--aec", AE_TITLE, "--json"]).ended(0);
}

fn check(gateway: &Gateway, images: &[Image]) {
    for image in images {
        let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
        let file = gateway.web.instance(uids.0, uids.1, uids.2).expect("the instance");
        assert!(file.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
        assert_eq!(gateway.records_of(&image.sop_instance_uid).len(), 1);
    }
}

/// The server is away for a whole receipt. What waits is shown with a reason and a next time; when the server is back,
/// all is verified without a hand.
#[test]
fn a_server_that_is_away_for_a_whole_receipt_costs_only_time() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.home();
    let gateway = serve(&home);
    cloud.proxy.always(Fault::Refuse);
    let bytes = std::env::var("FILMGATE_TEST_CLOUD_BYTES").ok().and_then(|bytes| bytes.parse().ok());
    let mut left: u64 = bytes.unwrap_or(OUTAGE_BYTES);
    let mut sent = Vec::new();
    while left > 0 {
        let generated = Generated::new(500 + sent.len() as u64, FRAMES_OF_SOME_PARTS);
        generated.send(&gateway.dicom);
        left = left.saturating_sub(generated.dataset_bytes());
        sent.push(generated);
    }
    let count = sent.len() as u64;
    let status = wait_for("all are packed and wait", SOON, || {
        let status = gateway.status();
        (status["states"]["retrying"] == count).then_some(status)
    });
    let pack = &status["retrying"][0];
    assert!(pack["next_try_at"].as_i64().is_some(), "{status}");
    assert!(pack["reason"].as_str().is_some_and(|reason| reason.contains("unavailable")), "{status}");
    let (before, mut most) = (gateway.resident_bytes(), 0);
    cloud.proxy.always(Fault::Pass);
    wait_for("everything is verified", SOON * 5, || {
        most = most.max(gateway.resident_bytes());
        (state_count(&gateway, "verified") == count).then_some(())
    });
    let grown = most.saturating_sub(before);
    println!(
        "{} MB went out; memory grew from {} MB by {} MB",
        sent_bytes(&sent) >> 20,
        before >> 20,
        grown >> 20
    );
    assert!(grown < UPLOADING_BYTES_MAX, "memory grew by {grown} bytes");
    cloud.check_nothing_is_left();
    for generated in &sent {
        assert_eq!(generated.digest_kept_by(&gateway), generated.digest());
    }
    gateway.stop();
}

fn sent_bytes(sent: &[Generated]) -> u64 {
    sent.iter().map(Generated::dataset_bytes).sum()
}

/// An upload is cut within each of its parts in turn: the rest arrives, and no part that arrived is sent again.
#[test]
fn an_upload_cut_at_any_part_goes_on_there() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.home();
    let gateway = serve(&home);
    let mut parts = 1;
    for at in 1.. {
        if at > parts {
            break;
        }
        cloud.proxy.forget();
        let mut cut = false;
        cloud.proxy.plan(move |request| match part_number(request) {
            Some(number) if number == at && !cut => {
                cut = true;
                Fault::CutRequest(PART_BYTES / 3)
            }
            _ => Fault::Pass,
        });
        Generated::new(600 + at, FRAMES_OF_SOME_PARTS).send(&gateway.dicom);
        wait_verified(&gateway, at);
        let put = cloud.parts_put();
        parts = put.len() as u64;
        assert!(parts >= 3, "{put:?}");
        assert!(put.values().all(|times| *times == 1), "cut at {at}, each part once: {put:?}");
        assert!(cloud.proxy.passed().iter().any(|passed| matches!(passed.fault, Fault::CutRequest(_))));
    }
    cloud.check_nothing_is_left();
    gateway.stop();
}

/// The gateway is killed while parts are on their way; the next run sends what is missing, and only that.
#[test]
fn a_gateway_killed_amid_an_upload_goes_on_after_it() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.home();
    let gateway = serve(&home);
    let killed = Arc::new(AtomicBool::new(false));
    let is_killed = Arc::clone(&killed);
    // The third part is taken and never answered, until the gateway is dead.
    cloud.proxy.plan(move |request| match part_number(request) {
        Some(3) if !is_killed.load(Ordering::SeqCst) => Fault::Stall(SOON),
        _ => Fault::Pass,
    });
    let generated = Generated::new(700, FRAMES_OF_SOME_PARTS);
    generated.send(&gateway.dicom);
    wait_for("all other parts are there", SOON, || (cloud.parts_put().len() >= 3).then_some(()));
    killed.store(true, Ordering::SeqCst);
    gateway.kill();

    let gateway = serve(&home);
    wait_verified(&gateway, 1);
    let put = cloud.parts_put();
    assert!(put.len() >= 4 && put.values().all(|times| *times == 1), "each part once: {put:?}");
    cloud.check_nothing_is_left();
    assert_eq!(generated.digest_kept_by(&gateway), generated.digest());
    gateway.stop();
}

/// Storms of 503, cut connections, late answers, and answers that are lost after the server did what was asked.
#[test]
fn whatever_becomes_of_requests_all_arrives_once() {
    let Some(cloud) = Cloud::told() else { return };
    let faults = [
        Fault::Refuse,
        Fault::SlowDown(1),
        Fault::Swallow,
        Fault::CutRequest(100_000),
        Fault::CutAnswer(100),
        Fault::Delay(Duration::from_millis(300)),
        Fault::Stall(Duration::from_secs(1)),
        Fault::Crawl(8 << 20),
    ];
    // Local copies go as soon as they may: what is read in the end is the server's.
    let home = cloud.home().set("CACHE__BYTES_MAX", 0);
    let gateway = serve(&home);
    let mut verified = 0;
    for seed in 1..=4_u64 {
        println!("seed {seed}");
        cloud.proxy.forget();
        let mut seeded = Seeded::new(seed, 25, &faults);
        cloud.proxy.plan(move |request| seeded.fault_of(request));
        let images: Vec<_> = (1..=4).map(|number| Image::of_study(800 + seed, number)).collect();
        send(&home, &gateway, &images);
        let generated = Generated::new(820 + seed, FRAMES_OF_SOME_PARTS);
        generated.send(&gateway.dicom);
        verified += images.len() as u64 + 1;
        wait_verified(&gateway, verified);
        cloud.proxy.always(Fault::Pass);
        cloud.check_nothing_is_left();
        check(&gateway, &images);
        assert_eq!(generated.digest_kept_by(&gateway), generated.digest(), "seed {seed}");
        let spoiled = cloud.proxy.passed().iter().filter(|passed| passed.fault != Fault::Pass).count();
        assert!(spoiled > 0, "seed {seed} spoils nothing");
    }
    home.run(&["verify", "--deep", "--json"]).ended(0);
    gateway.stop();
}

/// An answer that is lost behind the last step of an upload: the object is there, and is found, not made again.
#[test]
fn a_completion_whose_answer_is_lost_is_asked_for() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.home();
    let gateway = serve(&home);
    let mut lost = 0;
    cloud.proxy.plan(move |request| {
        let begins = request.method == "POST" && request.parameter("uploads").is_some();
        let completes = request.method == "POST" && request.parameter("uploadId").is_some();
        lost += u64::from(begins || completes);
        if (begins || completes) && lost <= 3 { Fault::Swallow } else { Fault::Pass }
    });
    Generated::new(900, FRAMES_OF_SOME_PARTS).send(&gateway.dicom);
    wait_verified(&gateway, 1);
    let put = cloud.parts_put();
    assert!(put.len() >= 3 && put.values().all(|times| *times == 1), "each part once: {put:?}");
    let is_completion =
        |passed: &&Passed| passed.request.method == "POST" && passed.request.parameter("uploadId").is_some();
    assert_eq!(
        cloud.proxy.passed().iter().filter(is_completion).count(),
        1,
        "it was asked for, not tried again"
    );
    cloud.check_nothing_is_left();
    gateway.stop();
}

/// Of two placements one is away: the other is complete and told so, the pack waits with a visible next time, and is
/// verified when the placement is back.
#[test]
fn a_placement_that_is_away_holds_up_no_other() {
    let (Some(cloud), Some(other)) = (Cloud::told(), Cloud::told()) else { return };
    let home = other.set(cloud.home(), "SECOND");
    let gateway = serve(&home);
    cloud.proxy.always(Fault::Refuse);
    let images: Vec<_> = (1..=5).map(|number| Image::of_study(950, number)).collect();
    send(&home, &gateway, &images);
    let placements = wait_for("the other placement is complete", SOON, || {
        let placements = gateway.status()["retrying"][0]["placements"].clone();
        (placements[1]["verified"] == true).then_some(placements)
    });
    assert_eq!((&placements[0]["name"], &placements[1]["name"]), (&"main".into(), &"second".into()));
    assert_eq!(placements[0]["uploaded"], false);
    wait_for("it is tried again", SOON, || {
        let main = gateway.status()["retrying"][0]["placements"][0].clone();
        let waits = main["next_try_at"].is_i64() && main["attempts"].as_u64() >= Some(2);
        waits.then_some(())
    });
    assert_eq!(state_count(&gateway, "retrying"), 5, "not verified before it is everywhere");
    let shown = home.run(&["status"]).ended(0).out;
    assert!(shown.contains("it is verified in second"), "{shown}");
    assert!(shown.contains("main: use the bucket"), "{shown}");
    let replaces = if cloud.s3.has("conditions") { ", does not replace objects" } else { "" };
    let found = shown.lines().find(|line| line.contains("Placement     second checks"));
    assert!(found.is_some_and(|line| line.contains("MD5") && line.contains(replaces)), "{shown}");
    cloud.proxy.always(Fault::Pass);
    wait_verified(&gateway, 5);
    check(&gateway, &images);
    gateway.stop();
}

/// A bucket that does not do what is required of it ends the start, and what to do is said; one that does not answer
/// does not.
#[test]
fn a_bucket_is_tried_before_it_is_used() {
    let Some(cloud) = Cloud::told() else { return };
    let refused = cloud.home().set("BUCKET__MAIN__REQUIRE_OBJECT_LOCK", true).run(&["serve"]).ended(1);
    assert!(refused.err.contains("require_object_lock asks for it"), "{}", refused.err);

    let home = cloud.home();
    let gateway = serve(&home);
    let probe = &gateway.status()["placements"][0]["probe"];
    assert_eq!(
        (&probe["packs"]["checks_md5"], &probe["keys"]["keeps_versions"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    gateway.stop();
    cloud.proxy.always(Fault::Refuse);
    let mut gateway = serve(&home);
    gateway.expect_log("a placement cannot be used now");
    assert_eq!(gateway.status()["placements"][0]["probe"], Value::Null);
    let images = [Image::of_study(960, 1)];
    send(&home, &gateway, &images);
    wait_for("it waits", SOON, || (state_count(&gateway, "retrying") == 1).then_some(()));
    cloud.proxy.always(Fault::Pass);
    wait_verified(&gateway, 1);
    assert_eq!(gateway.status()["placements"][0]["probe"]["packs"]["checks_md5"], true);
    gateway.stop();
}
