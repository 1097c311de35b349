//! The keys of a site are changed on one node while others run: they take that over, or say what to do, and receive on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::nodes::Site;
use crate::support::dicom::Image;
use crate::support::gateway::{Gateway, Home};
use crate::support::{files_below, wait_for};

const SOON: Duration = Duration::from_secs(60);

fn site() -> Option<Site> {
    Site::of(|home| {
        home.set("KEYS__LEASE_MS", 10_000)
            .set("UPLOAD__RETRY_DELAY_MIN_MS", 100)
            .set("UPLOAD__RETRY_DELAY_MAX_MS", 500)
    })
}

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let files: Vec<PathBuf> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(gateway, &files);
}

fn images(study: u64) -> Vec<Image> {
    (1..=2).map(|number| Image::of_study(study, number)).collect()
}

fn gives(by: &Gateway, images: &[Image]) {
    for image in images {
        let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
        let file = by.web.instance(uids.0, uids.1, uids.2).unwrap_or_else(|why| panic!("{why}"));
        assert!(file.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
    }
}

fn alarm(gateway: &Gateway) -> Option<Value> {
    let status = gateway.status();
    let mut alarms = status["alarms"].as_array().into_iter().flatten();
    alarms.find(|alarm| alarm["kind"] == "site-keys-changed").cloned()
}

/// Puts the site's keys under another key of keys, which is in this file then.
fn change_kek(home: &Home, name: &str) -> PathBuf {
    let (key, to) = (home.path().join(format!("{name}.key")), home.path().join(format!("{name}.toml")));
    fs::write(&to, format!("[node]\nkey_file = \"{}\"\n", key.display())).expect("settings");
    home.run(&["key", "rotate", "--kek", "--to", &to.display().to_string()]).ended(0);
    key
}

/// The generations of the site's keys in the bucket.
fn generations(home: &Home, site_id: &str) -> BTreeSet<String> {
    let files = files_below(&home.bucket_keys_dir().join("v1/key").join(site_id));
    files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_owned())).collect()
}

fn bring(key: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(key, &beside).expect("copy the key file");
    fs::rename(beside, to).expect("put it in its place");
}

/// A node with a key file of its own says that another one changed, receives and verifies on, puts nothing earlier back,
/// and takes the new one over when it is brought: while it runs, and at a start.
#[test]
fn a_change_of_the_key_of_keys_reaches_the_other_node() {
    let Some(site) = site() else { return };
    let Site { homes: [first, second], database: _database } = site;
    let own_key = first.key_path();
    let (gateway, other) = (first.serve(), second.serve());
    let site_id = gateway.status()["site_id"].as_str().expect("an id").to_owned();
    send(&first, &gateway, &images(81));
    send(&second, &other, &images(82));
    gateway.settled(4);
    gateway.stop();
    other.stop();
    let key = change_kek(&first, "second");
    let first = first.set("NODE__KEY_FILE", key.display());
    let gateway = first.serve();

    let mut other = second.serve();
    other.expect_log("another node changed the keys of the site");
    let told = wait_for("it says that the key of keys was changed", SOON, || alarm(&other));
    let detail = told["detail"].as_str().expect("a detail");
    assert!(detail.contains("generation 2") && detail.contains("node.key_file"), "{detail}");
    send(&second, &other, &images(83));
    gateway.settled(6);
    gives(&gateway, &images(83));
    assert_eq!(
        generations(&first, &site_id),
        BTreeSet::from(["2".to_owned()]),
        "nothing earlier is put back"
    );

    bring(&key, &own_key);
    wait_for("it is taken over", SOON, || alarm(&other).is_none().then_some(()));
    send(&second, &other, &images(84));
    gateway.settled(8);
    other.stop();
    gateway.stop();
    second.serve().stop();

    // While it was away; the new key of keys is there when it starts.
    let key = change_kek(&first, "third");
    let first = first.set("NODE__KEY_FILE", key.display());
    bring(&key, &own_key);
    let mut other = second.serve();
    other.expect_log("its keys are taken over");
    assert!(alarm(&other).is_none());
    send(&second, &other, &images(85));
    let gateway = first.serve();
    gateway.settled(10);
    for study in 81..=85 {
        gives(&gateway, &images(study));
        gives(&other, &images(study));
    }
    gateway.stop();
    other.stop();
}

/// Two nodes that change the site's keys at once would each wrap keys under what the other replaces.
#[test]
fn one_node_at_a_time_changes_the_keys() {
    let Some(site) = site() else { return };
    let [first, second] = &site.homes;
    let (gateway, other) = (first.serve(), second.serve());
    let site_id = gateway.status()["site_id"].as_str().expect("an id").to_owned();
    send(first, &gateway, &images(86));
    send(second, &other, &images(87));
    gateway.settled(4);
    gateway.stop();
    other.stop();
    let held_since = |seconds: u32| {
        site.database.does(&format!(
            "INSERT INTO book_key_rotations VALUES ('\\x{site_id}', '\\x{}', \
             (extract(epoch FROM now()) * 1000)::bigint - {seconds}000) \
             ON CONFLICT (site_id) DO UPDATE SET node_id = excluded.node_id, held_at = excluded.held_at",
            "11".repeat(16)
        ));
    };
    held_since(10);
    for arguments in
        [&["key", "rotate"][..], &["key", "rotate", "--kek"], &["key", "rotate", "--finish", "--now"]]
    {
        let refused = first.run(arguments).ended(1);
        assert!(refused.err.contains("is changing the keys of the site"), "{}", refused.err);
    }
    assert_eq!(generations(first, &site_id), BTreeSet::from(["1".to_owned()]), "nothing was changed");
    held_since(400);

    let rotated = thread::scope(|scope| {
        let runs = [first, second].map(|home| scope.spawn(|| home.run(&["key", "rotate"])));
        runs.map(|run| run.join().expect("a run"))
    });
    assert!(rotated.iter().any(|run| run.code == Some(0)));
    for run in rotated.iter().filter(|run| run.code != Some(0)) {
        assert!(run.err.contains("is changing the keys of the site"), "{}", run.err);
    }
    for home in [first, second] {
        home.run(&["key", "rotate"]).ended(0);
        let listed = home.run(&["key", "list"]).ended(0).out;
        assert_eq!(listed.lines().count(), 2, "{listed}");
    }
    assert_eq!(generations(first, &site_id), BTreeSet::from(["1".to_owned(), "2".to_owned()]));
    second.run(&["key", "rotate", "--finish", "--now"]).ended(0);
    let (gateway, other) = (first.serve(), second.serve());
    for by in [&gateway, &other] {
        gives(by, &images(86));
        gives(by, &images(87));
    }
    gateway.stop();
    other.stop();
}

/// Instances arrive, are packed and verified all the while.
#[test]
fn the_site_key_is_changed_while_instances_arrive() {
    let home = Home::new();
    let gateway = home.serve();
    let site_id = gateway.status()["site_id"].as_str().expect("an id").to_owned();
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let more = |by: u64| {
        let until = sent.load(Ordering::SeqCst) + by;
        wait_for("more arrives", SOON, || (sent.load(Ordering::SeqCst) >= until).then_some(()));
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                send(&home, &gateway, &images(9_500 + sent.load(Ordering::SeqCst)));
                sent.fetch_add(1, Ordering::SeqCst);
            }
        });
        more(4);
        let rotated = home.run(&["key", "rotate"]).ended(0).out;
        assert!(rotated.contains("wrapped anew"), "{rotated}");
        more(4);
        let early = home.run(&["key", "rotate", "--finish"]).ended(1).err;
        assert!(early.contains("rotation_grace_ms"), "{early}");
        home.run(&["key", "rotate", "--finish", "--now"]).ended(0);
        more(4);
        over.store(true, Ordering::SeqCst);
    });
    let studies = sent.load(Ordering::SeqCst);
    gateway.settled(usize::try_from(studies * 2).expect("few"));
    (0..studies).for_each(|study| gives(&gateway, &images(9_500 + study)));
    gateway.stop();
    assert_eq!(generations(&home, &site_id), BTreeSet::from(["3".to_owned()]));
    // An upload that was under way may have put an earlier wrapping beside the newer one.
    home.run(&["key", "rotate", "--finish", "--now"]).ended(0);
    assert_eq!(home.run(&["key", "list"]).ended(0).out.lines().count(), 1);
    home.run(&["verify", "--deep"]).ended(0);
    let gateway = home.serve();
    (0..studies).for_each(|study| gives(&gateway, &images(9_500 + study)));
    gateway.stop();
}
