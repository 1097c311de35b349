//! A second data directory that follows: fed by nothing but the bucket, it answers and serves the same bytes.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::dicom::Image;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::wait_for;

const CATCH_UP_DEADLINE: Duration = Duration::from_secs(60);
/// However much arrives.
const BEHIND_AT_MOST: Duration = Duration::from_secs(10);
/// Rows of a page of an answer.
const PAGE: usize = 1000;
/// Of those that were sent without a pause, every so manieth is read back from the follower.
const READ_EACH: usize = 50;

/// Another machine with the same buckets and a copy of the key.
fn follower_of(home: &Home) -> Home {
    Home::new()
        .with_buckets_of(home)
        .set("NODE__KEY_FILE", home.key_path().display())
        .set("NODE__ROLE", "follow")
        .set("SITE_LOG__FOLLOW_POLL_MS", 200)
        .set("SITE_LOG__FOLLOW_LIST_MS", 500)
}

fn send(home: &Home, gateway: &Gateway, folder: &Path) -> Option<i32> {
    let folder = folder.display().to_string();
    home.run(&["send", &gateway.dicom, &folder, "--aec", AE_TITLE, "--json"]).code
}

fn study_to_send(home: &Home, study: u64, images: u64) -> (Vec<Image>, std::path::PathBuf) {
    let folder = home.path().join(format!("send-{study}"));
    fs::create_dir_all(&folder).expect("make a folder");
    let images: Vec<Image> = (1..=images).map(|number| Image::of_study(study, number)).collect();
    images.iter().for_each(|image| drop(image.write(&folder)));
    (images, folder)
}

/// Every row of a search, where the gateway listens left out.
fn rows(gateway: &Gateway, of: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let page = format!("/dicomweb/{of}?limit={PAGE}&offset={}&includefield=all", all.len());
        let answer = gateway.web.get(&page, "application/dicom+json").ok();
        if answer.status == 204 {
            return all;
        }
        let text = answer.text().replace(gateway.web.address(), "HOST");
        let page: Vec<Value> = serde_json::from_str(&text).expect("rows");
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

/// Both answer the same, row for row.
fn answer_the_same(follower: &Gateway, gateway: &Gateway) {
    for of in ["studies", "series", "instances"] {
        let (there, here) = (rows(gateway, of), rows(follower, of));
        assert_eq!(here.len(), there.len(), "{of}");
        let differs = here.iter().zip(&there).find(|(here, there)| here != there);
        assert!(differs.is_none(), "{of}: {differs:?}");
    }
}

#[test]
fn a_follower_answers_and_serves_the_same_bytes() {
    let home = Home::new();
    let gateway = home.serve();
    let following = follower_of(&home);
    let follower = following.serve();
    let mut longest = Duration::ZERO;
    let (mut sent, mut last) = (0, None);
    for study in 9001..9007 {
        let (images, folder) = study_to_send(&home, study, 20);
        assert_eq!(send(&home, &gateway, &folder), Some(0));
        sent += images.len();
        gateway.settled(sent);
        let verified = Instant::now();
        wait_for("the follower has them", CATCH_UP_DEADLINE, || {
            (follower.records().len() == sent).then_some(())
        });
        longest = longest.max(verified.elapsed());
        last = images.into_iter().last();
    }
    println!("a follower was {} ms behind at most", longest.as_millis());
    assert!(longest <= BEHIND_AT_MOST);
    answer_the_same(&follower, &gateway);
    let image = last.expect("an image");
    let served = follower
        .web
        .instance(&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid)
        .expect("the instance");
    assert!(served.dataset() == image.dataset(), "the follower serves other bytes");
    let status = follower.status();
    assert!(status["follow"]["behind_ms"].as_u64().is_some(), "{status}");
    assert_eq!(status["follow"]["stopped"], serde_json::json!({}));

    // It receives nothing.
    let (_, folder) = study_to_send(&home, 9009, 1);
    assert_ne!(send(&home, &follower, &folder), Some(0));
    assert_eq!(follower.records().len(), sent);
    follower.stop();
    gateway.stop();

    // Begun again it has everything, and the house it follows is not needed for that.
    let follower = following.serve();
    let records = wait_for("it has read the logs", CATCH_UP_DEADLINE, || {
        follower.status()["follow"]["caught_up_at"].is_i64().then(|| follower.records())
    });
    assert_eq!(records.len(), sent);
    follower.stop();
}

fn verified(gateway: &Gateway) -> u64 {
    gateway.status()["states"]["verified"].as_u64().expect("a number")
}

/// Samples of how many were verified there, and how long each stayed ahead of what the follower answered.
#[derive(Default)]
struct Lag {
    ahead: VecDeque<(u64, Instant)>,
    longest: Duration,
}

impl Lag {
    fn look(&mut self, gateway: &Gateway, follower: &Gateway) {
        let there = verified(gateway);
        if self.ahead.back().is_none_or(|(last, _)| *last < there) {
            self.ahead.push_back((there, Instant::now()));
        }
        let here = verified(follower);
        while let Some((_, since)) = self.ahead.front().filter(|(reached, _)| *reached <= here) {
            self.longest = self.longest.max(since.elapsed());
            self.ahead.pop_front();
        }
    }
}

/// `FILMGATE_TEST_FOLLOW_STUDIES` makes it longer. How far behind it was at most is printed, and is bounded.
#[test]
fn a_follower_keeps_up_with_what_never_pauses() {
    let studies = std::env::var("FILMGATE_TEST_FOLLOW_STUDIES")
        .map_or(40, |studies| studies.parse().expect("a number"));
    let home = Home::new();
    let gateway = home.serve();
    let following = follower_of(&home);
    let follower = following.serve();
    let (over, mut lag) = (AtomicBool::new(false), Lag::default());
    let (home, gateway, over) = (&home, &gateway, &over);
    thread::scope(|scope| {
        scope.spawn(move || {
            for study in 0..studies {
                let (_, folder) = study_to_send(home, 20_000 + study, 10);
                assert_eq!(send(home, gateway, &folder), Some(0));
                fs::remove_dir_all(&folder).expect("tidy up");
            }
            over.store(true, Ordering::SeqCst);
        });
        wait_for("the follower has all that was sent", CATCH_UP_DEADLINE * 20, || {
            let sent = over.load(Ordering::SeqCst);
            lag.look(gateway, &follower);
            (sent && verified(&follower) == studies * 10).then_some(())
        });
    });
    println!(
        "under load a follower was {} ms behind at most, {studies} studies long",
        lag.longest.as_millis()
    );
    assert!(lag.longest <= BEHIND_AT_MOST);
    assert_eq!(verified(gateway), studies * 10);
    answer_the_same(&follower, gateway);
    let sent = (0..studies).flat_map(|study| (1..=10).map(move |number| (20_000 + study, number)));
    let mut read = 0;
    for image in sent.step_by(READ_EACH).map(|(study, number)| Image::of_study(study, number)) {
        let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
        let served = follower.web.instance(uids.0, uids.1, uids.2).expect("the instance");
        assert!(served.dataset() == image.dataset(), "the follower serves other bytes");
        read += 1;
    }
    println!("{} rows of instances are equal, {read} instances byte for byte", studies * 10);
    follower.stop();
}

#[test]
fn a_gap_stops_a_history_with_an_alarm() {
    let home = Home::new();
    let gateway = home.serve();
    for study in 9101..9104 {
        let (images, folder) = study_to_send(&home, study, 2);
        send(&home, &gateway, &folder);
        gateway.settled(images.len() * (study - 9100) as usize);
    }
    gateway.stop();
    let batches = home.store().names("v1/log/");
    assert!(batches.len() > 2, "a batch between two others");
    home.store().lose(&batches[batches.len() - 2]);

    let following = follower_of(&home);
    let mut follower = following.serve();
    follower.expect_log("cannot be read on");
    let alarms: Value = wait_for("an alarm", CATCH_UP_DEADLINE, || {
        let alarms = follower.status()["alarms"].clone();
        alarms.as_array().is_some_and(|alarms| !alarms.is_empty()).then_some(alarms)
    });
    assert_eq!(alarms[0]["kind"], "log-stopped", "{alarms}");
    assert!(follower.records().len() < 6, "nothing is skipped");
    follower.stop();
}

/// What is decided and repacked where it was received holds where it is followed.
#[test]
fn a_follower_hides_what_is_deleted_and_reads_from_new_packs() {
    let home = Home::new()
        .set("RETENTION__YEARS", 0)
        .set("DELETION__GRACE_MS", 4_000)
        .set("REPACK__SMALL_PACK_BYTES", 0)
        .set("REPACK__GRACE_MS", 100);
    let gateway = home.serve();
    let following = follower_of(&home);
    let follower = following.serve();
    let mut images = Vec::new();
    for (study, count) in [(9201, 3), (9202, 2), (9202, 4)] {
        let (sent, folder) = study_to_send(&home, study, count);
        assert_eq!(send(&home, &gateway, &folder), Some(0));
        images.extend(sent);
        gateway.settled(if images.len() == 9 { 7 } else { images.len() });
    }
    wait_for("the follower has them", CATCH_UP_DEADLINE, || (follower.records().len() == 7).then_some(()));
    let (wrong, right) = (&images[0], images.last().expect("an image"));
    let uid = wrong.study_instance_uid.as_str();
    let ask =
        |arguments: &[&str]| home.run(&[arguments, &["--as", "ann", "--json"]].concat()).ended(0).json();
    let asked = ask(&["delete", "request", uid, "--why", "wrong patient"]);
    ask(&["delete", "confirm", asked["id"].as_str().expect("an id")]);
    wait_for("it is hidden there as well", CATCH_UP_DEADLINE, || {
        let found = follower.web.get(&format!("/dicomweb/studies/{uid}/series"), "application/dicom+json");
        (!found.text().contains(uid)).then_some(())
    });
    let old = home.packs_in_bucket();
    ask(&["repack", "--study", &right.study_instance_uid]);
    wait_for("every old pack is gone", CATCH_UP_DEADLINE, || {
        let packs = home.packs_in_bucket();
        (packs.len() == 1 && !old.contains(&packs[0])).then_some(())
    });
    let status = wait_for("the follower has heard of it", CATCH_UP_DEADLINE, || {
        let status = follower.status();
        (status["states"]["deleted"] == 3).then_some(status)
    });
    assert_eq!(status["follow"]["stopped"], serde_json::json!({}));
    let served = wait_for("it reads from the new pack", CATCH_UP_DEADLINE, || {
        let served = &follower.web;
        served.instance(&right.study_instance_uid, &right.series_instance_uid, &right.sop_instance_uid).ok()
    });
    assert!(served.dataset() == right.dataset(), "the follower serves other bytes");
    answer_the_same(&follower, &gateway);

    // What is decided there would bind nobody.
    let refused = following.run(&["hold", "place", uid, "--why", "x", "--as", "ann"]);
    assert!(refused.code != Some(0) && refused.err.contains("gateway of the site"), "{}", refused.err);
    follower.stop();
    gateway.stop();
}
