//! A dead machine's disk in a new machine: what it had received and not uploaded is not lost, what it had decided binds, and
//! what it was to do is done.

use std::fs;
use std::time::Duration;

use crate::support::dicom::Image;
use crate::support::gateway::{Gateway, Home};
use crate::support::wait_for;

const SOON: Duration = Duration::from_secs(60);
/// So long that nothing is packed while the story lasts.
const NEVER_MS: u64 = 3_600_000;

fn home() -> Home {
    Home::new()
        .set("RETENTION__YEARS", 0)
        .set("DELETION__GRACE_MS", 100)
        .set("REPACK__SMALL_PACK_BYTES", 0)
        .set("SITE_LOG__HEARTBEAT_MS", 1_000)
}

/// Another machine of the same site, with a catalog of its own.
fn another(home: &Home) -> Home {
    self::home().with_buckets_of(home).set("NODE__KEY_FILE", home.key_path().display())
}

fn study(number: u64, images: u64) -> Vec<Image> {
    (1..=images).map(|image| Image::of_study(number, image)).collect()
}

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let files: Vec<_> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(gateway, &files);
}

fn gives_all(gateway: &Gateway, images: &[Image]) {
    for image in images {
        let uid = &image.sop_instance_uid;
        let given = gateway.web.instance(&image.study_instance_uid, &image.series_instance_uid, uid);
        assert!(given.expect("it is given").dataset() == image.dataset(), "{uid} differs");
        assert_eq!(gateway.records_of(uid).len(), 1, "{uid} is there once");
    }
}

fn ask(home: &Home, arguments: &[&str]) -> String {
    let done = home.run(&[arguments, &["--as", "ann", "--json"]].concat()).ended(0).json();
    done["id"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_dead_machines_disk_goes_on_in_a_new_one() {
    let dead = home();
    let (safe, packed, received) = (study(51, 3), study(52, 2), study(53, 4));
    let gateway = dead.serve();
    send(&dead, &gateway, &safe);
    gateway.settled(safe.len());
    gateway.stop();
    let dir = dead.data_dir().display().to_string();
    let (new, last) = (another(&dead), another(&dead));

    // The bucket goes away first, the machine second.
    let dead = dead.out_of_reach();
    let mut gateway = dead.serve();
    gateway.expect_log("WARN");
    send(&dead, &gateway, &packed);
    wait_for("they are in a pack that no bucket takes", SOON, || {
        let records = gateway.records();
        let waits = records.iter().filter(|record| record.state == "retrying").count();
        (waits == packed.len()).then_some(())
    });
    gateway.kill();
    let mut gateway = dead.serve_with(&[("PACK__QUIET_MS", NEVER_MS), ("PACK__AGE_MS", NEVER_MS)]);
    gateway.expect_log("WARN");
    send(&dead, &gateway, &received);
    gateway.kill();
    // Decided, and told to nobody.
    ask(&dead, &["hold", "place", &safe[0].study_instance_uid, "--why", "court order 51"]);

    let stranger = home();
    stranger.serve().stop();
    let refused = stranger.run(&["adopt", &dir]);
    assert!(refused.code != Some(0) && refused.err.contains("this site's key of keys"), "{}", refused.err);
    new.serve().stop();
    let adopted = new.run(&["adopt", &dir, "--json"]).ended(0).json();
    let came = |key: &str| adopted[key].as_u64().unwrap_or_default();
    // What is in a pack already may be whole in the journal as well.
    assert!(came("records") >= 4 && came("packs") > 0 && came("packs_known") > 0, "{adopted}");
    assert_eq!(came("facts"), 1, "{adopted}");
    let own = new.data_dir().display().to_string();
    let itself = new.run(&["adopt", &own]);
    assert!(itself.code != Some(0) && itself.err.contains("must not run"), "{}", itself.err);

    let gateway = new.serve();
    gateway.settled(9);
    for images in [&safe, &packed, &received] {
        gives_all(&gateway, images);
    }
    let held = &safe[0].study_instance_uid;
    let refused = new.run(&["delete", "request", held, "--as", "ann", "--why", "x"]).ended(1);
    assert!(refused.err.contains("court order 51"), "{}", refused.err);
    // Nobody waits to hear of the dead node.
    delete(&new, &dead, &packed);
    let node_id = gateway.status()["node_id"].as_str().expect("its id").to_owned();
    wait_for("the log has heard of all", SOON, || (gateway.status()["log"]["waiting"] == 0).then_some(()));
    gateway.stop();

    // That machine burns, disk and all: bucket and key are enough, and what the two had is a third one's.
    fs::remove_dir_all(new.data_dir()).expect("burn");
    assert_eq!(last.run(&["rebuild", "--json"]).ended(0).json()["instances"], 7);
    let lost = last.run(&["adopt", "--lost", &node_id, "--json"]).ended(0).json();
    assert_eq!(lost["problems"], serde_json::json!([]), "{lost}");
    let gateway = last.serve();
    gives_all(&gateway, &safe);
    gives_all(&gateway, &received);
    let refused = last.run(&["delete", "request", held, "--as", "ann", "--why", "x"]).ended(1);
    assert!(refused.err.contains("court order 51"), "{}", refused.err);
    delete(&last, &dead, &received);
    gateway.stop();
    last.run(&["verify", "--deep"]).ended(0);
}

/// … and its bytes are gone from the bucket, which the first of the machines made.
fn delete(home: &Home, first: &Home, images: &[Image]) {
    let packs = || first.packs_in_bucket().len();
    let before = packs();
    let id = ask(home, &["delete", "request", &images[0].study_instance_uid, "--why", "wrong patient"]);
    ask(home, &["delete", "confirm", &id]);
    wait_for("it is deleted", SOON, || (packs() < before).then_some(()));
}
