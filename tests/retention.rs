//! How long studies are kept is the site's matter: a node whose own settings keep nothing, and that has not heard yet what the
//! others keep or hold, deletes and shreds nothing of it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::nodes::Site;
use crate::support::dicom::Image;
use crate::support::gateway::{Gateway, Home};
use crate::support::process::Finished;
use crate::support::{files_below, wait_for};

const SOON: Duration = Duration::from_secs(60);

/// A node that keeps every study for so many years by its own settings.
fn keeping(home: Home, years: u32) -> Home {
    home.set("RETENTION__YEARS", years)
        .set("DELETION__GRACE_MS", 2_000)
        .set("REPACK__SMALL_PACK_BYTES", 0)
        .set("REPACK__GRACE_MS", 200)
        .set("SITE_LOG__HEARTBEAT_MS", 1_000)
}

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let files: Vec<PathBuf> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(gateway, &files);
}

fn ask(home: &Home, arguments: &[&str]) -> Finished {
    home.run(&[arguments, &["--as", "ann", "--json"]].concat())
}

fn id_of(done: Finished) -> String {
    done.ended(0).json()["id"].as_str().expect("an id").to_owned()
}

fn confirm(home: &Home, deletion: &str) {
    home.run(&["delete", "confirm", deletion, "--as", "ben"]).ended(0);
}

fn deletion(home: &Home, id: &str) -> Value {
    let all = home.run(&["delete", "list", "--json"]).ended(0).json();
    all.as_array().into_iter().flatten().find(|one| one["deletion"] == id).cloned().unwrap_or_default()
}

fn waits_for(home: &Home, id: &str, what: &str) {
    wait_for(&format!("it waits for {what:?}"), SOON, || {
        deletion(home, id)["waits_for"].as_str().filter(|why| why.contains(what)).map(drop)
    });
}

fn is_served(gateway: &Gateway, image: &Image) -> bool {
    let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
    let served = gateway.web.instance(uids.0, uids.1, uids.2);
    served.is_ok_and(|file| file.dataset() == image.dataset())
}

/// Each with a catalog of its own: what binds is in the logs alone.
#[test]
fn a_node_that_keeps_nothing_is_bound_by_one_that_does() {
    let home = keeping(Home::new(), 0);
    let gateway = home.serve();
    let (kept, held) = (Image::of_study(9401, 1), Image::of_study(9402, 1));
    let (kept_uid, held_uid) = (kept.study_instance_uid.as_str(), held.study_instance_uid.as_str());
    send(&home, &gateway, &[kept.clone(), held.clone()]);
    gateway.settled(2);
    let keys = files_below(&home.bucket_keys_dir()).len();
    let other =
        keeping(Home::new(), 30).with_buckets_of(&home).set("NODE__KEY_FILE", home.key_path().display());
    let elsewhere = other.serve();
    ask(&other, &["hold", "place", held_uid, "--why", "court order 94"]).ended(0);

    // Said in the bucket, and not read by the node that deletes.
    wait_for("the other's log has said all of it", SOON, || {
        let log = elsewhere.status()["log"].clone();
        (log["waiting"] == 0 && log["sequence"].as_u64() > Some(0)).then_some(())
    });

    // It knows nothing of all this when it is asked, and finds it out before anything goes.
    let deleted = id_of(ask(&home, &["delete", "request", kept_uid, "--why", "wrong patient"]));
    let shredded = id_of(ask(&home, &["key", "shred", "--study", held_uid, "--why", "an order"]));
    confirm(&home, &deleted);
    confirm(&home, &shredded);
    waits_for(&home, &deleted, "retention.years = 30 of node");
    wait_for("the shredding is held back", SOON, || {
        let why = deletion(&home, &shredded)["waits_for"].as_str().map(str::to_owned)?;
        (why.contains("court order 94") || why.contains("retention.years = 30")).then_some(())
    });
    for id in [&deleted, &shredded] {
        assert_eq!(deletion(&home, id)["records_gone"], 0);
    }
    assert_eq!(home.packs_in_bucket().len(), 2, "every byte of them is there");
    assert!(files_below(&home.bucket_keys_dir()).len() >= keys, "and every key");
    for id in [&deleted, &shredded] {
        ask(&home, &["delete", "cancel", id, "--why", "it is kept"]).ended(0);
    }
    assert!(is_served(&gateway, &kept) && is_served(&gateway, &held));

    // From now on it says so at once, to whoever asks, and after a restart.
    let refused = |home: &Home| {
        for asked in [
            ask(home, &["delete", "request", kept_uid, "--why", "wrong patient"]),
            ask(home, &["key", "shred", "--study", kept_uid, "--why", "an order"]),
        ] {
            let told = asked.ended(1).err;
            assert!(told.contains("retention.years = 30 of node") && told.contains("until 205"), "{told}");
        }
    };
    refused(&home);
    gateway.stop();
    refused(&home);
    let gateway = home.serve();
    refused(&home);

    // The other gives it up: its last word counts, and the deletion is carried out.
    elsewhere.stop();
    let other = other.set("RETENTION__YEARS", 0);
    let elsewhere = other.serve();
    let deleted = wait_for("the other's new word is heard", SOON, || {
        let asked = ask(&home, &["delete", "request", kept_uid, "--why", "wrong patient"]);
        (asked.code == Some(0)).then(|| id_of(asked))
    });
    confirm(&home, &deleted);
    wait_for("it is carried out", SOON, || (deletion(&home, &deleted)["step"] == "done").then_some(()));
    assert!(!is_served(&gateway, &kept));
    elsewhere.stop();
    gateway.stop();
}

/// With one catalog for both nothing is even hidden.
#[test]
fn nodes_of_one_catalog_keep_what_the_longest_rule_keeps() {
    let Some(site) = Site::of(|home| keeping(home, 0)) else { return };
    let [first, second] = site.homes;
    let (image, mut first) = (Image::of_study(9403, 1), first.set("RETENTION__YEARS", 30));
    let gateway = first.serve();
    send(&first, &gateway, std::slice::from_ref(&image));
    gateway.settled(1);
    let elsewhere = second.serve();
    let request = ["delete", "request", image.study_instance_uid.as_str(), "--why", "wrong patient"];
    let told = ask(&second, &request).ended(1).err;
    assert!(told.contains("retention.years = 30 of node"), "{told}");
    assert!(is_served(&gateway, &image) && is_served(&elsewhere, &image));
    // A node that is away is bound, and binds.
    gateway.stop();
    let told = ask(&second, &request).ended(1).err;
    assert!(told.contains("retention.years = 30 of node"), "{told}");
    first = first.set("RETENTION__YEARS", 0);
    let gateway = first.serve();
    wait_for("its last word counts", SOON, || (ask(&second, &request).code == Some(0)).then_some(()));
    elsewhere.stop();
    gateway.stop();
}
