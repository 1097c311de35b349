//! Studies whose keys are destroyed: what anybody copied of them before opens with nothing that any place still has.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use filmgate_keys::{Kek, KeyRing};
use filmgate_model::{Clock, Random, StudyKeyId};
use filmgate_spool::RealDisk;
use serde_json::{Value, json};

use crate::nodes::Site;
use crate::support::dicom::Image;
use crate::support::gateway::{Gateway, Home};
use crate::support::servers::S3;
use crate::support::{Dice, files_below, wait_for};

const SOON: Duration = Duration::from_secs(60);
/// How a study's key says what it is.
const KIND_STUDY: u8 = 3;
/// Said at a start with a catalog that is new, or older than the data directory.
const CATALOG_IS_BEHIND: &str = "the catalog lacks what this data directory stated";

/// Nothing is kept by rule; deletions have their grace of days, which a shredding must not wait for.
fn home() -> Home {
    Home::new().set("RETENTION__YEARS", 0).set("REPACK__SMALL_PACK_BYTES", 0).set("REPACK__GRACE_MS", 200)
}

fn study(number: u64, images: u64) -> Vec<Image> {
    (1..=images).map(|image| Image::of_study(number, image)).collect()
}

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let files: Vec<PathBuf> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(gateway, &files);
}

fn is_served(gateway: &Gateway, image: &Image) -> bool {
    let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
    let served = gateway.web.instance(uids.0, uids.1, uids.2);
    served.is_ok_and(|file| file.dataset() == image.dataset())
}

/// Packs and keys as somebody took them aside.
struct Taken {
    packs: Vec<Vec<u8>>,
    cached_keys: Vec<(PathBuf, Vec<u8>)>,
}

impl Taken {
    fn of(home: &Home) -> Self {
        let mut packs = files_below(&home.bucket_dir().join("v1/pack"));
        packs.extend(files_below(&home.data_dir().join("packs")));
        let read = |path: PathBuf| (path.clone(), fs::read(path).expect("read it"));
        Self {
            packs: packs.into_iter().map(|path| read(path).1).collect(),
            cached_keys: files_below(&home.data_dir().join("keys/study")).into_iter().map(read).collect(),
        }
    }

    /// How many of the packs open with what the node and the bucket of keys have now.
    fn opening(&self, home: &Home) -> usize {
        let aside = tempfile::tempdir().expect("a folder");
        let from = home.data_dir().join("keys");
        for file in files_below(&from) {
            let to = aside.path().join(file.strip_prefix(&from).expect("it is below"));
            fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder");
            fs::copy(file, to).expect("copy it");
        }
        let kek = Kek::load_file(&home.key_path()).expect("the key file");
        let ring = KeyRing::open(Arc::new(RealDisk), aside.path(), &kek, &Clock::system(), &Random::system());
        let ring = ring.expect("the keys");
        for object in files_below(&home.bucket_keys_dir()).iter().filter_map(|path| fs::read(path).ok()) {
            // Most are no study's.
            let _ = ring.adopt_study_key(&object);
        }
        self.packs.iter().filter(|pack| opens(&ring, pack)).count()
    }
}

fn key_of(pack: &[u8]) -> StudyKeyId {
    filmgate_seal::pack_header(&pack[..filmgate_seal::PACK_HEADER_BYTES]).expect("a header").study_key_id
}

fn opens(ring: &KeyRing, pack: &[u8]) -> bool {
    let header = filmgate_seal::pack_header(&pack[..filmgate_seal::PACK_HEADER_BYTES]).expect("a header");
    let Ok(key) = ring.study_key(header.study_key_id) else { return false };
    let trailer = &pack[pack.len() - filmgate_seal::PACK_TRAILER_BYTES..];
    let range = filmgate_seal::footer_range(pack.len() as u64, trailer).expect("a footer");
    let footer =
        &pack[usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small")];
    filmgate_seal::open_footer(&key, &header, footer).is_ok()
}

fn ask(home: &Home, study: &str) -> String {
    let asked =
        home.run(&["key", "shred", "--study", study, "--why", "a court's order", "--as", "ann", "--json"]);
    asked.ended(0).json()["id"].as_str().expect("an id").to_owned()
}

fn confirm(home: &Home, deletion: &str) {
    home.run(&["delete", "confirm", deletion, "--as", "ben"]).ended(0);
}

fn report(home: &Home, study: &str) -> Value {
    let shown = home.run(&["key", "shredded", "--study", study, "--json"]).ended(0).json();
    shown[0].clone()
}

/// Every place of every key whose name begins so.
fn places(report: &Value, of: &str) -> Vec<Value> {
    let keys = report["keys"].as_array().into_iter().flatten();
    let places = keys.flat_map(|key| key["places"].as_array().into_iter().flatten());
    places.filter(|place| place["place"].as_str().is_some_and(|name| name.starts_with(of))).cloned().collect()
}

fn are_done(report: &Value, of: &str) -> bool {
    let places = places(report, of);
    !places.is_empty() && places.iter().all(|place| place["done"] == true)
}

/// Until buckets and key caches are done; a journal has its days.
fn wait_until_shredded(home: &Home, study: &str) -> Value {
    wait_for("its keys are gone from buckets and nodes", SOON, || {
        let report = report(home, study);
        let waits = report["waits_for"].as_array().is_none_or(|waits| !waits.is_empty());
        (!waits && are_done(&report, "bucket:") && are_done(&report, "node:")).then_some(report)
    })
}

#[test]
fn a_shredded_study_opens_from_no_copy() {
    let home = home();
    let gateway = home.serve();
    let (gone, kept) = (study(71, 3), study(72, 2));
    let uid = gone[0].study_instance_uid.as_str();
    send(&home, &gateway, &gone);
    send(&home, &gateway, &kept);
    gateway.settled(5);
    let taken = Taken::of(&home);
    assert_eq!((taken.packs.len(), taken.opening(&home)), (4, 4), "in the bucket and on the local disk");

    let id = ask(&home, uid);
    assert!(gone.iter().all(|image| is_served(&gateway, image)), "asking changes nothing");
    assert!(report(&home, uid).is_null());
    confirm(&home, &id);
    let told = wait_until_shredded(&home, uid);
    assert_eq!(taken.opening(&home), 2, "only what is not of that study");
    assert_eq!(
        (&told["keys"][0]["who"], &told["keys"][0]["why"]),
        (&json!("ann"), &json!("a court's order"))
    );
    let journal = places(&told, "journal:");
    assert_eq!(journal.len(), 1);
    assert!(journal[0]["why"].as_str().is_some_and(|why| why.contains("landing keys")), "{journal:?}");
    assert_eq!(told["done"], false, "not before the journal is");
    assert!(gone.iter().all(|image| !is_served(&gateway, image)));
    assert!(kept.iter().all(|image| is_served(&gateway, image)));
    assert!(gateway.log().contains("shredding-confirmed") && gateway.log().contains("key-shredded"));

    // It comes again: under another key, and with nothing that was destroyed.
    send(&home, &gateway, &gone);
    wait_for("it is verified again", SOON, || (gateway.status()["states"]["verified"] == 5).then_some(()));
    assert!(gone.iter().all(|image| is_served(&gateway, image)));
    gateway.stop();
    let old: Vec<_> = taken.packs.iter().map(|pack| key_of(pack)).collect();
    let again = Taken::of(&home);
    assert_eq!(again.opening(&home), again.packs.len());
    assert_eq!(again.packs.iter().filter(|pack| !old.contains(&key_of(pack))).count(), 2);

    // A copy of the data directory brings the cached key back: the next start takes it away.
    for (path, bytes) in &taken.cached_keys {
        fs::write(path, bytes).expect("bring it back");
    }
    assert_eq!(taken.opening(&home), 4);
    home.serve().stop();
    assert_eq!(taken.opening(&home), 2);
    home.run(&["key", "rotate", "--json"]).ended(0);
    home.run(&["key", "rotate", "--finish", "--now", "--json"]).ended(0);
    assert_eq!(taken.opening(&home), 2, "a rotation brings nothing back");
    home.run(&["verify", "--deep"]).ended(0);
}

#[test]
fn what_is_held_or_kept_is_not_shredded_and_a_deletion_shreds() {
    let home = home().set("DELETION__GRACE_MS", 300);
    let gateway = home.serve();
    let images = study(73, 2);
    let uid = images[0].study_instance_uid.as_str();
    send(&home, &gateway, &images);
    gateway.settled(2);
    let taken = Taken::of(&home);
    let shred = |says: &str| {
        let refused = home.run(&["key", "shred", "--study", uid, "--why", "x", "--as", "ann"]).ended(1);
        assert!(refused.err.contains(says), "{}", refused.err);
    };
    let hold = home.run(&["hold", "place", uid, "--why", "court order 12", "--as", "ann", "--json"]).ended(0);
    shred("court order 12");
    let hold = hold.json()["id"].as_str().expect("an id").to_owned();
    home.run(&["hold", "release", &hold, "--why", "settled", "--as", "ann"]).ended(0);
    let id = ask(&home, uid);
    let hold = home.run(&["hold", "place", uid, "--why", "court order 13", "--as", "ann", "--json"]).ended(0);
    let refused = home.run(&["delete", "confirm", &id, "--as", "ben"]).ended(1);
    assert!(refused.err.contains("court order 13"), "{}", refused.err);
    let hold = hold.json()["id"].as_str().expect("an id").to_owned();
    home.run(&["hold", "release", &hold, "--why", "settled", "--as", "ann"]).ended(0);
    home.run(&["delete", "cancel", &id, "--why", "another way", "--as", "ann"]).ended(0);
    assert_eq!(taken.opening(&home), taken.packs.len());

    // The end of a deletion takes the keys as well.
    let asked = home.run(&["delete", "request", uid, "--why", "wrong patient", "--as", "ann", "--json"]);
    confirm(&home, asked.ended(0).json()["id"].as_str().expect("an id"));
    let told = wait_until_shredded(&home, uid);
    assert_eq!(taken.opening(&home), 0);
    assert_eq!(told["keys"][0]["why"], "wrong patient");
    shred("nothing of");
    gateway.stop();

    let home = home.set("RETENTION__YEARS", 30);
    let gateway = home.serve();
    let kept = study(74, 1);
    send(&home, &gateway, &kept);
    wait_for("it is verified", SOON, || (gateway.status()["states"]["verified"] == 1).then_some(()));
    let asked =
        home.run(&["key", "shred", "--study", &kept[0].study_instance_uid, "--why", "x", "--as", "ann"]);
    assert!(asked.ended(1).err.contains("retention.years = 30"));
    gateway.stop();
}

/// Killed at whatever moment, it goes on to its end.
#[test]
fn a_shredding_that_is_killed_goes_on() {
    let home = home();
    let mut dice = Dice(75);
    let gateway = home.serve();
    let studies: Vec<Vec<Image>> = (0..6).map(|number| study(7_500 + number, 1)).collect();
    studies.iter().for_each(|images| send(&home, &gateway, images));
    gateway.settled(studies.len());
    let taken = Taken::of(&home);
    assert_eq!(taken.opening(&home), taken.packs.len());
    let mut gateway = Some(gateway);
    for images in &studies {
        let id = ask(&home, &images[0].study_instance_uid);
        confirm(&home, &id);
        std::thread::sleep(Duration::from_millis(dice.below(1_500)));
        gateway.take().expect("it runs").kill();
        gateway = Some(home.serve());
    }
    for images in &studies {
        wait_until_shredded(&home, &images[0].study_instance_uid);
    }
    assert_eq!(taken.opening(&home), 0);
    assert_eq!(files_below(&home.data_dir().join("keys/study")), Vec::<PathBuf>::new());
    gateway.take().expect("it runs").stop();
}

/// Each node drops the copy in its own cache; one that never answers is waited for, and the bucket with it.
#[test]
fn every_node_destroys_its_own_copy() {
    let Some(site) = Site::of(|home| home.set("RETENTION__YEARS", 0).set("SITE_LOG__HEARTBEAT_MS", 1_000))
    else {
        return;
    };
    let [first, second] = &site.homes;
    let (images, later) = (study(76, 2), study(78, 1));
    let (gateway, other) = (first.serve(), second.serve());
    send(first, &gateway, &images);
    send(first, &gateway, &later);
    gateway.settled(3);
    let cached = |home: &Home| files_below(&home.data_dir().join("keys/study")).len();
    for image in [&images[0], &later[0]] {
        assert!(is_served(&other, image), "from the bucket, with the key it has from then on");
    }
    assert_eq!((cached(first), cached(second)), (2, 2));
    let uid = images[0].study_instance_uid.as_str();
    confirm(first, &ask(first, uid));
    wait_until_shredded(first, uid);
    assert_eq!((cached(first), cached(second)), (1, 1));
    assert!(is_served(&other, &later[0]));

    // A node that once announced itself, and may have any key.
    let site_id = gateway.status()["site_id"].as_str().expect("an id").to_owned();
    let absent = "11".repeat(16);
    site.database.does(&format!(
        "INSERT INTO book_nodes (site_id, node_id, started_at, last_seen_at) VALUES ('\\x{site_id}', '\\x{absent}', 1, 1)"
    ));
    let uid = later[0].study_instance_uid.as_str();
    confirm(second, &ask(second, uid));
    let told = wait_for("the others are done", SOON, || {
        let told = report(first, uid);
        let done = places(&told, "node:").iter().filter(|place| place["done"] == true).count();
        (done == 2 && places(&told, "bucket:")[0]["why"].as_str().is_some_and(|why| why.contains(&absent)))
            .then_some(told)
    });
    let waiting = places(&told, &format!("node:{absent}"));
    assert!(waiting[0]["why"].as_str().is_some_and(|why| why.contains("waits for node")), "{told}");
    assert_eq!((cached(first), cached(second)), (0, 0));
    gateway.stop();
    other.stop();
}

/// A bucket of keys that began to keep versions: what was deleted there is not gone, and the report says so.
#[test]
fn versions_left_behind_are_not_called_done() {
    let Some(s3) = S3::told().filter(|s3| s3.has("versions")) else { return };
    let (packs, keys) = (s3.make_bucket(), s3.make_bucket());
    let home = home()
        .set("BUCKET__MAIN__KIND", "s3")
        .set("BUCKET__MAIN__BUCKET", &packs)
        .set("BUCKET__MAIN__KEYS_BUCKET", &keys)
        .set("BUCKET__MAIN__ENDPOINT", &s3.endpoint)
        .set("BUCKET__MAIN__REGION", &s3.region)
        .set("BUCKET__MAIN__ACCESS_KEY_ID", &s3.access_key)
        .set("BUCKET__MAIN__SECRET_ACCESS_KEY", &s3.secret_key);
    let gateway = home.serve();
    let images = study(77, 1);
    let uid = images[0].study_instance_uid.as_str();
    send(&home, &gateway, &images);
    gateway.settled(1);
    s3.keep_versions(&keys);
    let id = ask(&home, uid);
    confirm(&home, &id);
    let told = wait_for("it is said that a version is left", SOON, || {
        let told = report(&home, uid);
        let why = places(&told, "bucket:").first()?["why"].as_str()?.to_owned();
        why.contains("earlier versions").then_some(told)
    });
    assert!(!are_done(&told, "bucket:"));
    assert!(are_done(&told, "node:"));
    let said = home.run(&["key", "shredded", "--study", uid]).ended(0).out;
    assert!(said.contains("NOT DONE") && said.contains("by hand"), "{said}");
    gateway.stop();
}

/// A follower drops its copy when it reads of it in the log; a machine made anew from bucket and key knows what was
/// destroyed, and misses nothing.
#[test]
fn followers_and_rebuilt_machines_know_what_was_shredded() {
    let home = home();
    let gateway = home.serve();
    let (gone, kept) = (study(79, 2), study(80, 2));
    send(&home, &gateway, &gone);
    send(&home, &gateway, &kept);
    gateway.settled(4);
    let following = Home::new()
        .set("BUCKET__MAIN__PATH", home.bucket_dir().display())
        .set("NODE__KEY_FILE", home.key_path().display())
        .set("NODE__ROLE", "follow")
        .set("SITE_LOG__FOLLOW_POLL_MS", 200)
        .set("SITE_LOG__FOLLOW_LIST_MS", 500);
    let follower = following.serve();
    wait_for("the follower has both", SOON, || {
        (is_served(&follower, &gone[0]) && is_served(&follower, &kept[0])).then_some(())
    });
    let cached = || files_below(&following.data_dir().join("keys/study")).len();
    assert_eq!(cached(), 2);
    let uid = gone[0].study_instance_uid.as_str();
    confirm(&home, &ask(&home, uid));
    wait_until_shredded(&home, uid);
    wait_for("the follower has no copy of the key", SOON, || (cached() == 1).then_some(()));
    wait_for("it says so itself", SOON, || are_done(&report(&following, uid), "node:").then_some(()));
    assert!(!is_served(&follower, &gone[0]));
    assert!(is_served(&follower, &kept[0]));
    follower.stop();
    gateway.stop();

    fs::remove_dir_all(home.data_dir()).expect("lose the machine");
    home.run(&["rebuild"]).ended(0);
    let told = home.run(&["key", "shredded", "--json"]).ended(0).json();
    assert_eq!(told[0]["keys"].as_array().map(Vec::len), Some(1), "{told}");
    let gateway = home.serve();
    assert!(kept.iter().all(|image| is_served(&gateway, image)));
    assert!(gone.iter().all(|image| !is_served(&gateway, image)));
    home.run(&["verify", "--deep"]).ended(0);
    gateway.stop();
}

/// Two placements and a second directory: each is a place of its own in the report, and none keeps anything that opens.
#[test]
fn every_place_of_a_node_is_shredded() {
    let home = home().set("NODE__MIRROR", "required");
    let (second, other) = (home.path().join("second"), home.path().join("other"));
    let home = home.set("NODE__SECOND_DIR", second.display()).set("BUCKET__OTHER__PATH", other.display());
    let gateway = home.serve();
    let (gone, kept) = (study(82, 2), study(83, 2));
    send(&home, &gateway, &gone);
    send(&home, &gateway, &kept);
    gateway.settled(4);
    let keys_of = |folder: PathBuf| {
        let objects = files_below(&folder).into_iter().filter_map(|path| fs::read(path).ok());
        objects.filter(|key| key.get(7) == Some(&KIND_STUDY)).count()
    };
    let other_keys = home.path().join("other-keys");
    let counted = || {
        let cached = |folder: &PathBuf| files_below(&folder.join("keys/study")).len();
        let folders = [home.bucket_keys_dir(), other_keys.clone()];
        (folders.map(keys_of), cached(&home.data_dir()), cached(&second))
    };
    assert_eq!(counted(), ([2, 2], 2, 2), "a key of each study everywhere");
    let taken = Taken::of(&home);
    assert_eq!(taken.opening(&home), taken.packs.len());
    let uid = gone[0].study_instance_uid.as_str();
    confirm(&home, &ask(&home, uid));
    let told = wait_until_shredded(&home, uid);
    let buckets: Vec<_> = places(&told, "bucket:").iter().map(|place| place["place"].clone()).collect();
    assert_eq!(buckets.len(), 2, "{told}");
    assert_eq!(counted(), ([1, 1], 1, 1));
    assert_eq!(taken.opening(&home), taken.packs.len() / 2);
    assert!(gone.iter().all(|image| !is_served(&gateway, image)));
    assert!(kept.iter().all(|image| is_served(&gateway, image)));
    wait_for("the log says so", SOON, || (gateway.status()["log"]["waiting"] == 0).then_some(()));
    gateway.stop();
    home.run(&["verify", "--deep"]).ended(0);

    // The first disk is lost, and the catalog with it; the second one brings no key back.
    fs::remove_dir_all(home.data_dir()).expect("lose the first disk");
    let mut gateway = home.serve();
    gateway.expect_log(CATALOG_IS_BEHIND);
    assert!(gone.iter().all(|image| !is_served(&gateway, image)));
    assert!(kept.iter().all(|image| is_served(&gateway, image)));
    gateway.stop();
    assert_eq!(taken.opening(&home), taken.packs.len() / 2, "only what is not of that study");
}

/// The second directory holds what the journal has not overwritten yet: of a study that was shredded nothing of it is
/// served, nothing of it goes up, and the shredding goes on where it was. What was sent twice and dropped once lies there
/// as well.
#[test]
fn what_was_shredded_does_not_come_back_with_the_second_directory() {
    let home = home().set("NODE__MIRROR", "required");
    let second = home.path().join("second");
    let home = home.set("NODE__SECOND_DIR", second.display());
    let gateway = home.serve();
    let (gone, kept) = (study(86, 2), study(87, 2));
    send(&home, &gateway, &gone);
    send(&home, &gateway, &kept);
    gateway.settled(4);
    send(&home, &gateway, &gone);
    wait_for("the copies are dropped", SOON, || (gateway.status()["copies_dropped"] == 2).then_some(()));
    let uid = gone[0].study_instance_uid.as_str();
    confirm(&home, &ask(&home, uid));
    wait_until_shredded(&home, uid);
    wait_for("the log says so", SOON, || (gateway.status()["log"]["waiting"] == 0).then_some(()));
    gateway.stop();

    fs::remove_dir_all(home.data_dir()).expect("lose the first disk");
    let mut gateway = home.serve();
    gateway.expect_log(CATALOG_IS_BEHIND);
    assert!(gone.iter().all(|image| !is_served(&gateway, image)), "from the first moment");
    assert!(kept.iter().all(|image| is_served(&gateway, image)));
    let told = wait_until_shredded(&home, uid);
    assert!(!places(&told, "bucket:").is_empty() && !places(&told, "journal:").is_empty(), "{told}");
    let again = study(88, 1);
    send(&home, &gateway, &again);
    wait_for("what comes now is verified", SOON, || {
        (gateway.status()["states"]["verified"] == 3).then_some(())
    });
    assert!(gone.iter().all(|image| !is_served(&gateway, image)));
    assert_eq!(home.packs_in_bucket().len(), 2, "nothing of it went up again");
    gateway.stop();

    // The same while no bucket can be asked what was decided: what comes is received, and what was there waits.
    fs::remove_dir_all(home.data_dir()).expect("lose the first disk again");
    swap_buckets(&home, true);
    let mut gateway = home.serve();
    // Each step says that it waits for the bucket.
    gateway.expect_log("");
    let late = study(89, 1);
    send(&home, &gateway, &late);
    assert!(gone.iter().all(|image| !is_served(&gateway, image)), "nobody can tell whether it may be");
    swap_buckets(&home, false);
    wait_for("all that was not shredded is verified", SOON, || {
        (gateway.status()["states"]["verified"] == 4).then_some(())
    });
    assert!(kept.iter().chain(&again).chain(&late).all(|image| is_served(&gateway, image)));
    assert!(gone.iter().all(|image| !is_served(&gateway, image)));
    gateway.stop();
    home.run(&["verify", "--deep"]).ended(0);
}

/// Takes both buckets away, or brings them back.
fn swap_buckets(home: &Home, away: bool) {
    for bucket in [home.bucket_dir(), home.bucket_keys_dir()] {
        let aside = bucket.with_extension("away");
        if away {
            fs::rename(&bucket, &aside).expect("take it away");
            fs::write(&bucket, "a file where the folder was").expect("put something in its way");
        } else {
            fs::remove_file(&bucket).expect("clear the way");
            fs::rename(&aside, &bucket).expect("bring it back");
        }
    }
}

/// A data directory is brought back from before its study was shredded, and does not hear of that while the bucket is
/// away: what arrives then is sealed under the key that is gone elsewhere, and this is the only copy.
#[test]
fn a_key_that_a_restored_node_needs_again_is_not_destroyed_there() {
    let home = home().set("UPLOAD__RETRY_DELAY_MIN_MS", 100).set("UPLOAD__RETRY_DELAY_MAX_MS", 500);
    let gateway = home.serve();
    let (gone, came) = (study(81, 2), study(81, 3).split_off(2));
    send(&home, &gateway, &gone);
    gateway.settled(2);
    gateway.stop();
    let copy = home.path().join("copy");
    let copied = |from: PathBuf, to: PathBuf| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
        assert!(status.success());
    };
    copied(home.data_dir(), copy.clone());
    let gateway = home.serve();
    let uid = gone[0].study_instance_uid.as_str();
    confirm(&home, &ask(&home, uid));
    wait_until_shredded(&home, uid);
    wait_for("the log says so", SOON, || (gateway.status()["log"]["waiting"] == 0).then_some(()));
    gateway.stop();

    fs::remove_dir_all(home.data_dir()).expect("lose the data directory");
    copied(copy, home.data_dir());
    swap_buckets(&home, true);
    let mut gateway = home.serve();
    // Each step says that it waits for the bucket.
    gateway.expect_log("");
    send(&home, &gateway, &came);
    wait_for("it is packed", SOON, || {
        let record = gateway.records_of(&came[0].sop_instance_uid).into_iter().next()?;
        (record.state == "retrying").then_some(())
    });
    gateway.stop();
    swap_buckets(&home, false);

    home.run(&["rebuild"]).ended(0);
    let mut gateway = home.serve();
    gateway.expect_log("restored from");
    wait_for("what came is verified", SOON, || {
        let record = gateway.records_of(&came[0].sop_instance_uid).into_iter().next()?;
        (record.state == "verified").then_some(())
    });
    assert!(is_served(&gateway, &came[0]));
    let alarms = gateway.status()["alarms"].to_string();
    assert!(alarms.contains("key-still-needed"), "{alarms}");
    gateway.stop();
}
