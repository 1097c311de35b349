//! The same instance again, at every moment of the first one's life: nothing that was acknowledged is ever lost by it, and
//! the bucket holds exactly what it should. Elsewhere a re-sent instance has deleted the stored one: old and new shared a
//! name, and the clean-up of the old one took both.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::dicom::{EXPLICIT_LE, File, IMPLICIT_LE, Image};
use crate::support::gateway::{Gateway, Home};
use crate::support::peers;
use crate::support::{Dice, wait_for};

const SOON: Duration = Duration::from_secs(60);
/// A new pack goes its way to the bucket and the old ones leave it.
const MOVED_WITHIN: Duration = Duration::from_secs(5);

/// What comes the second time under the same SOP Instance UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// The very same bytes.
    Same,
    /// The same image in another transfer syntax.
    Rewrapped,
    /// Other samples.
    Other,
}

const ALL: [Again; 3] = [Again::Same, Again::Rewrapped, Again::Other];

/// An image, what is sent of it first and what after that.
struct Twice {
    again: Again,
    image: Image,
    first: PathBuf,
    second: PathBuf,
}

impl Twice {
    fn new(home: &Home, again: Again, number: u64) -> Self {
        let image = Image::of_study(number, 1);
        let first = image.write(home.path());
        let second = home.path().join(format!("second-{number}.dcm"));
        match again {
            Again::Same => drop(std::fs::copy(&first, &second).expect("copy")),
            Again::Rewrapped => drop(peers::dcmconv("+ti", &first, &second).ended(0)),
            Again::Other => {
                let other = Image { samples: Dice(number).bytes(image.samples.len()), ..image.clone() };
                std::fs::write(&second, other.file().bytes).expect("write");
            }
        }
        let syntax = File::read(&second).transfer_syntax_uid;
        assert_eq!(syntax == IMPLICIT_LE, again == Again::Rewrapped, "{again:?} is in {syntax}");
        Self { again, image, first, second }
    }

    /// How many records stay once both are settled.
    fn kept(&self) -> usize {
        if self.again == Again::Same { 1 } else { 2 }
    }

    fn datasets(&self) -> [Vec<u8>; 2] {
        [&self.first, &self.second].map(|path| File::read(path).dataset().to_vec())
    }

    /// Both came and nothing was deleted: the first answers, every content is kept, and the bucket holds that and no more.
    fn check_whole(&self, home: &Home, gateway: &Gateway) {
        let records = wait_for("both are settled", SOON, || {
            let records = gateway.records_of(&self.image.sop_instance_uid);
            let verified = records.iter().all(|record| record.state == "verified");
            (verified && records.len() == self.kept() && gateway.status()["waiting"]["instances"] == 0)
                .then_some(records)
        });
        assert_eq!(self.served(gateway), self.datasets()[0], "the first from the modality is served");
        let mut kept: Vec<Vec<u8>> =
            records.iter().map(|record| record_bytes(gateway, &record.record_id)).collect();
        let mut expected = self.datasets().to_vec();
        expected.dedup();
        kept.sort();
        expected.sort();
        assert_eq!(kept, expected, "{:?}", self.again);
        let status = gateway.status();
        let told = (count(&status, "variants"), count(&status, "conflicts"), alarms(&status));
        let expected = match self.again {
            Again::Same => (0, 0, 0),
            Again::Rewrapped => (1, 0, 0),
            Again::Other => (0, 1, 1),
        };
        assert_eq!(told, expected, "{:?}: variants, conflicts, alarms", self.again);
        home.run(&["verify", "--deep"]).ended(0);
    }

    /// Only what was sent the second time is left.
    fn check_only_second(&self, home: &Home, gateway: &Gateway) {
        wait_for("the second is verified", SOON, || {
            let records = gateway.records_of(&self.image.sop_instance_uid);
            (records.len() == 1 && records[0].state == "verified").then_some(())
        });
        assert_eq!(self.served(gateway), self.datasets()[1], "what came later stays");
        wait_for("the bucket holds it and nothing else", SOON, || {
            (home.packs_in_bucket().len() == 1).then_some(())
        });
        home.run(&["verify", "--deep"]).ended(0);
    }

    fn served(&self, gateway: &Gateway) -> Vec<u8> {
        let Image { study_instance_uid, series_instance_uid, sop_instance_uid, .. } = &self.image;
        wait_for("it is served", SOON, || {
            gateway.web.instance(study_instance_uid, series_instance_uid, sop_instance_uid).ok()
        })
        .dataset()
        .to_vec()
    }
}

fn record_bytes(gateway: &Gateway, record_id: &str) -> Vec<u8> {
    let answer = gateway.web.get(&format!("/api/records/{record_id}"), "*/*").ok();
    File::new(answer.body).dataset().to_vec()
}

fn count(status: &Value, key: &str) -> u64 {
    status[key].as_u64().expect("a count")
}

fn alarms(status: &Value) -> usize {
    status["alarms"].as_array().map_or(0, Vec::len)
}

fn home() -> Home {
    home_as_told(Home::new())
}

/// Nothing is kept by rule, nothing is merged by itself, and what goes goes soon.
fn home_as_told(home: Home) -> Home {
    home.set("RETENTION__YEARS", 0)
        .set("DELETION__GRACE_MS", 300)
        .set("REPACK__SMALL_PACK_BYTES", 0)
        .set("REPACK__GRACE_MS", 100)
        .set("PACK__QUIET_MS", 100)
}

/// A gateway that has what comes first, verified.
fn with_first(home: &Home, again: Again, number: u64) -> (Gateway, Twice) {
    let twice = Twice::new(home, again, number);
    let mut gateway = home.serve();
    gateway.expect_log("content");
    home.send(&gateway, &[&twice.first]);
    gateway.settled(1);
    (gateway, twice)
}

fn delete(home: &Home, twice: &Twice) -> String {
    let uid = twice.image.study_instance_uid.as_str();
    let asked = home.run(&["delete", "request", uid, "--why", "wrong patient", "--as", "ann", "--json"]);
    asked.ended(0).json()["id"].as_str().expect("an id").to_owned()
}

fn confirm(home: &Home, deletion: &str) {
    home.run(&["delete", "confirm", deletion, "--as", "ben"]).ended(0);
}

fn wait_until_done(home: &Home, deletion: &str) {
    wait_for("the deletion is carried out", SOON, || {
        let all = home.run(&["delete", "list", "--json"]).ended(0).json();
        all.as_array()?.iter().any(|one| one["deletion"] == deletion && one["step"] == "done").then_some(())
    });
}

#[test]
fn twice_at_once_on_two_associations() {
    for (number, again) in (51..).zip(ALL) {
        let home = home();
        let twice = Twice::new(&home, again, number);
        let mut gateway = home.serve();
        gateway.expect_log("content");
        // The first is answered before the second begins, so that it is known which is first; both long before either is
        // packed.
        for (path, syntax) in
            [(&twice.first, EXPLICIT_LE), (&twice.second, &File::read(&twice.second).transfer_syntax_uid)]
        {
            peers::storescu(&gateway.dicom, syntax, path).ended(0);
        }
        twice.check_whole(&home, &gateway);
        gateway.stop();
    }
}

/// Over and over, faster than any step ends: some arrive while the first is packed, some while it is uploaded or verified.
#[test]
fn again_and_again_while_the_first_is_on_its_way() {
    for (number, again) in (54..).zip(ALL) {
        let home = home().set("PACK__QUIET_MS", 1);
        let twice = Twice::new(&home, again, number);
        let mut gateway = home.serve();
        gateway.expect_log("content");
        home.send(&gateway, &[&twice.first]);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..4).for_each(|_| home.send(&gateway, &[&twice.second])));
            }
        });
        twice.check_whole(&home, &gateway);
        gateway.stop();
    }
}

#[test]
fn again_after_it_was_verified_and_after_it_was_evicted() {
    for (number, again) in (57..).zip(ALL) {
        for evicted in [false, true] {
            let home = if evicted { home().set("CACHE__BYTES_MAX", 0) } else { home() };
            let (gateway, twice) = with_first(&home, again, number);
            if evicted {
                wait_for("its pack is evicted", SOON, || {
                    (gateway.status()["spool"]["packs_bytes"] == 0).then_some(())
                });
            }
            home.send(&gateway, &[&twice.second]);
            twice.check_whole(&home, &gateway);
            assert_eq!(home.packs_in_bucket().len(), twice.kept());
            gateway.stop();
        }
    }
}

#[test]
fn again_while_the_bucket_is_away() {
    for (number, again) in (60..).zip(ALL) {
        let home = home().set("UPLOAD__RETRY_DELAY_MAX_MS", 1000);
        let twice = Twice::new(&home, again, number);
        let mut gateway = home.serve();
        for complaint in home.store().take_away() {
            gateway.expect_log(complaint);
        }
        home.send(&gateway, &[&twice.first]);
        wait_for("it is tried again", SOON, || {
            (gateway.records().first()?.state == "retrying").then_some(())
        });
        home.send(&gateway, &[&twice.second]);
        wait_for("the second is packed or dropped", SOON, || {
            let records = gateway.records();
            (records.len() == twice.kept() && records.iter().all(|one| one.state != "received")).then_some(())
        });
        home.store().bring_back();
        twice.check_whole(&home, &gateway);
        gateway.stop();
    }
}

#[test]
fn again_while_it_is_repacked() {
    for (number, again) in (63..).zip(ALL) {
        let home = home();
        let (gateway, twice) = with_first(&home, again, number);
        let uid = twice.image.study_instance_uid.as_str();
        thread::scope(|scope| {
            scope.spawn(|| {
                (0..3).for_each(|_| drop(home.run(&["repack", "--study", uid, "--as", "ann"]).ended(0)))
            });
            scope.spawn(|| (0..3).for_each(|_| home.send(&gateway, &[&twice.second])));
        });
        twice.check_whole(&home, &gateway);
        // What is on its way from one pack to another cannot be moved, so it may take asking more than once.
        let is_one = || home.packs_in_bucket().len() == 1;
        wait_for("all of it is in one pack", SOON, || {
            gateway.settled(1);
            home.run(&["repack", "--study", uid, "--as", "ann"]).ended(0);
            let asked = Instant::now();
            while !is_one() && asked.elapsed() < MOVED_WITHIN {
                thread::sleep(Duration::from_millis(20));
            }
            is_one().then_some(())
        });
        twice.check_whole(&home, &gateway);
        gateway.stop();
    }
}

#[test]
fn again_while_its_deletion_is_asked_for_confirmed_and_done() {
    for (number, again) in (66..).zip(ALL) {
        for asked_only in [true, false] {
            let home = home().set("DELETION__GRACE_MS", if asked_only { 300 } else { 4_000 });
            let (gateway, twice) = with_first(&home, again, number);
            let deletion = delete(&home, &twice);
            if !asked_only {
                confirm(&home, &deletion);
            }
            home.send(&gateway, &[&twice.second]);
            if asked_only {
                wait_for("it is kept beside the first", SOON, || {
                    (gateway.records_of(&twice.image.sop_instance_uid).len() == 2).then_some(())
                });
                confirm(&home, &deletion);
            }
            wait_until_done(&home, &deletion);
            twice.check_only_second(&home, &gateway);
            gateway.stop();
        }
    }
}

#[test]
fn again_after_it_was_deleted() {
    for (number, again) in (69..).zip(ALL) {
        let home = home();
        let (gateway, twice) = with_first(&home, again, number);
        let deletion = delete(&home, &twice);
        confirm(&home, &deletion);
        wait_until_done(&home, &deletion);
        home.send(&gateway, &[&twice.second]);
        twice.check_only_second(&home, &gateway);
        assert_eq!(alarms(&gateway.status()), 0, "nothing is known under that UID any more");
        gateway.stop();
    }
}

/// The old deletion is carried out by another process, long after the second was verified, at the same time as the second
/// is deleted and that taken back.
#[test]
fn an_old_deletion_takes_nothing_that_came_later() {
    for (number, again) in (72..).zip(ALL) {
        let home = home().set("DELETION__GRACE_MS", 3_000);
        let (gateway, twice) = with_first(&home, again, number);
        let old = delete(&home, &twice);
        confirm(&home, &old);
        home.send(&gateway, &[&twice.second]);
        wait_for("the second is verified", SOON, || {
            let records = gateway.records_of(&twice.image.sop_instance_uid);
            (records.len() == 2 && records.iter().all(|record| record.state == "verified")).then_some(())
        });
        let new = delete(&home, &twice);
        confirm(&home, &new);
        home.run(&["delete", "cancel", &new, "--why", "the other one was meant", "--as", "ann"]).ended(0);
        gateway.kill();
        let mut gateway = home.serve();
        gateway.expect_log("content");
        wait_until_done(&home, &old);
        twice.check_only_second(&home, &gateway);
        gateway.stop();
    }
}

/// Where a bucket keeps versions, a re-sent instance elsewhere has left a mark of deletion on the only copy. Here nothing is
/// ever replaced, so there is no mark and no lost version; and what is deleted goes with all its versions.
#[test]
fn on_a_bucket_that_keeps_versions() {
    for (number, again) in (75..).zip(ALL) {
        for evicted in [false, true] {
            let Some(home) = Home::on_s3() else { return };
            if !home.store().has("versions") {
                return;
            }
            let home = home_as_told(home).set("CACHE__BYTES_MAX", if evicted { 0_u64 } else { 1 << 40 });
            home.store().keep_versions();
            let (gateway, twice) = with_first(&home, again, number);
            let (first, marks) = home.store().versions("v1/pack/");
            assert_eq!((first.len(), marks), (1, 0));
            for _ in 0..3 {
                home.send(&gateway, &[&twice.second]);
                twice.check_whole(&home, &gateway);
                let (now, marks) = home.store().versions("v1/pack/");
                assert!(first.iter().all(|version| now.contains(version)), "a version is lost: {now:?}");
                assert_eq!((now.len(), marks), (twice.kept(), 0), "{again:?}: versions, marks of deletion");
            }
            let deletion = delete(&home, &twice);
            confirm(&home, &deletion);
            wait_until_done(&home, &deletion);
            wait_for("every version is gone, and no mark stays", SOON, || {
                (home.store().versions("v1/pack/") == (Vec::new(), 0)).then_some(())
            });
            gateway.stop();
        }
    }
}
