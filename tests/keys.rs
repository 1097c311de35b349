//! Whose a bucket is, and what happens to those who come without its keys.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use filmgate_keys::{Kek, KeyRing};
use filmgate_model::{Clock, Random, StudyKeyId};
use filmgate_spool::RealDisk;
use serde_json::Value;

use crate::support::dicom::Image;
use crate::support::files_below;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::process::Finished;
use crate::support::servers::told;
use crate::support::wait_for;

#[expect(dead_code, reason = "the tests of the keys themselves use more of it")]
#[path = "../crates/keys/tests/keepers/bao.rs"]
mod bao;

const SOON: Duration = Duration::from_secs(60);

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let folder = home.path().join("send");
    fs::create_dir_all(&folder).expect("make a folder");
    for image in images {
        image.write(&folder);
    }
    home.run(&["send", &gateway.dicom, &folder.display().to_string(), "--aec", AE_TITLE, "--json"]).ended(0);
}

/// Serves them, byte for byte.
fn gives(gateway: &Gateway, images: &[Image]) {
    for image in images {
        let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
        let file = gateway.web.instance(uids.0, uids.1, uids.2).expect("the instance");
        assert!(file.dataset() == image.dataset(), "{} changed", image.sop_instance_uid);
    }
}

fn names(home: &Home) -> (String, String) {
    let gateway = home.serve();
    let status = gateway.status();
    gateway.stop();
    let name = |key: &str| status[key].as_str().expect("a name").to_owned();
    (name("site_id"), name("node_id"))
}

/// A start that is refused: nothing was made, and the message says what to do.
fn refused(home: &Home, says: &[&str]) -> Finished {
    refused_by(home, "serve", says)
}

fn refused_by(home: &Home, command: &str, says: &[&str]) -> Finished {
    let refused = home.run(&[command, "--json"]).ended(64);
    for says in says {
        assert!(refused.err.contains(says), "it does not say {says:?}: {}", refused.err);
    }
    let left = files_below(&home.data_dir());
    assert!(left.iter().all(|file| file.ends_with("lock")), "something was made: {left:?}");
    refused
}

fn write_key_file(path: &Path, digits: &str) {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    writeln!(file.expect("a key file"), "{digits}").expect("write the key file");
}

/// An empty data directory beside a bucket that has keys.
fn move_data_dir_aside(home: &Home, number: u32) {
    fs::rename(home.data_dir(), home.path().join(format!("data-{number}"))).expect("move the data directory");
}

#[test]
fn an_empty_data_directory_joins_the_site_of_its_bucket() {
    let home = Home::new();
    let gateway = home.serve();
    let images = [Image::of_study(61, 1), Image::of_study(61, 2)];
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    gateway.stop();
    let (site, node) = names(&home);
    let object = home.bucket_keys_dir().join(format!("v1/key/{site}/1"));
    let kept = fs::read(home.data_dir().join("keys/site.key")).expect("the site key here");
    assert_eq!(fs::read(&object).expect("the site key in the bucket"), kept);

    move_data_dir_aside(&home, 1);
    let (same_site, other_node) = names(&home);
    assert_eq!(same_site, site);
    assert_ne!(other_node, node);

    // The bucket's copy is damaged: it says nothing any more, and nobody takes the bucket for an empty one.
    move_data_dir_aside(&home, 2);
    let mut damaged = kept.clone();
    damaged[40] ^= 1;
    fs::write(&object, &damaged).expect("damage it");
    refused(&home, &["cannot be read", "bring back"]);
    fs::remove_file(&object).expect("lose it");
    refused(&home, &["keys of studies", "keys.site"]);

    // The first directory puts it there again before anything is verified in it.
    fs::remove_dir_all(home.data_dir()).expect("remove");
    fs::rename(home.path().join("data-1"), home.data_dir()).expect("bring the first one back");
    let gateway = home.serve();
    send(&home, &gateway, &[Image::of_study(62, 1)]);
    gateway.settled(3);
    gateway.stop();
    assert_eq!(fs::read(&object).expect("it is there"), kept);
}

#[test]
fn nobody_takes_over_a_bucket_without_its_key() {
    let home = Home::new();
    let (site, _) = names(&home);
    move_data_dir_aside(&home, 1);
    let first_key = home.path().join("first.key");
    fs::rename(home.key_path(), &first_key).expect("lose the key file");
    refused(&home, &[&site, "node.key_file", "keys.site"]);
    assert!(!home.key_path().exists(), "no key was made");
    write_key_file(&home.key_path(), &"ab".repeat(32));
    refused(&home, &[&site, "node.key_file"]);

    // Somebody insists: two sites in one bucket, and the third comer has to say which.
    let home = home.set("KEYS__SITE", "new");
    let (second, _) = names(&home);
    assert_ne!(second, site);
    move_data_dir_aside(&home, 2);
    let home = home.set("KEYS__SITE", "");
    refused(&home, &[&site, &second, "keys.site"]);
    let home = home.set("KEYS__SITE", &site);
    refused(&home, &[&site, "node.key_file"]);
    fs::rename(&first_key, home.key_path()).expect("find the first key file");
    assert_eq!(names(&home).0, site);
    move_data_dir_aside(&home, 3);
    let home = home.set("KEYS__SITE", "00".repeat(16));
    refused(&home, &["correct it"]);
}

#[test]
fn a_bucket_that_cannot_be_asked_stops_a_first_start() {
    let home = Home::new();
    fs::write(home.bucket_keys_dir(), "a file where the folder should be").expect("put something in its way");
    refused(&home, &["cannot tell whether bucket main belongs to a site", "bucket.main"]);
    assert!(!home.key_path().exists(), "no key was made");
    fs::remove_file(home.bucket_keys_dir()).expect("clear the way");
    names(&home);
}

fn open_ring(home: &Home) -> KeyRing {
    let kek = Kek::load_file(&home.key_path()).expect("the key file");
    let keys = home.data_dir().join("keys");
    KeyRing::open(Arc::new(RealDisk), &keys, &kek, &Clock::system(), &Random::system()).expect("the keys")
}

/// Study keys as many studies would leave them: half of them here and in the bucket, half in the bucket alone.
pub(crate) fn many_study_keys(home: &Home, count: usize) -> Vec<(StudyKeyId, [u8; 32])> {
    let ring = open_ring(home);
    let make = |number: usize| {
        let id = ring.new_study_key().expect("a study key");
        let (name, object) = ring.study_key_object(id).expect("its object");
        let path = home.bucket_keys_dir().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make its folder");
        fs::write(path, object).expect("put it in the bucket");
        let key = *ring.study_key(id).expect("the key");
        if number % 2 == 1 {
            fs::remove_file(home.data_dir().join(format!("keys/study/{id}.key")))
                .expect("leave it to the bucket");
        }
        (id, key)
    };
    (0..count).map(make).collect()
}

/// Kills `filmgate key rotate` after so many lines of progress; true when it ended by itself before.
fn rotate_and_kill(home: &Home, arguments: &[&str], lines: u64) -> bool {
    let mut command = home.filmgate(&[&["key", "rotate", "--json"], arguments].concat());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start it");
    let mut said = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let over = (0..lines).any(|_| said.next().is_none());
    // Ended already is as good.
    let _ = child.kill();
    let status = child.wait().expect("its end");
    over && status.success()
}

/// The newest object of every key opens to the key it always was; `earlier`: whether those before it are still there.
pub(crate) fn check_rotated(home: &Home, keys: &[(StudyKeyId, [u8; 32])], site_keys: &[u32], earlier: bool) {
    let ring = open_ring(home);
    let numbers: Vec<u32> =
        ring.site_key_numbers().expect("open").iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, site_keys);
    for (id, key) in keys {
        let folder = home.bucket_keys_dir().join(format!("v1/key/{id}"));
        assert_eq!(folder.join("1").exists(), earlier, "{id}/1");
        let object = fs::read(folder.join("2")).unwrap_or_else(|error| panic!("{id}/2: {error}"));
        assert_eq!(ring.site_key_of(&object).expect("read"), site_keys.last().copied());
        ring.adopt_study_key(&object).expect("it opens");
        assert!(*ring.study_key(*id).expect("the key") == *key, "{id} is another key");
    }
}

/// A rotation that is killed again and again comes to its end and changes no key. 10,000 studies in `cargo xtask soak`.
#[test]
fn a_rotation_that_is_killed_goes_on_where_it_was() {
    let count =
        std::env::var("FILMGATE_TEST_ROTATED_KEYS").map_or(1000, |count| count.parse().expect("a number"));
    let home = Home::new();
    let gateway = home.serve();
    let images = [Image::of_study(63, 1), Image::of_study(63, 2)];
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    gateway.stop();
    let keys = many_study_keys(&home, count);

    let random = Random::seeded(7);
    let lines = count as u64 / 100 + 1;
    let kills = |arguments: &[&str]| {
        (0..6).filter(|_| !rotate_and_kill(&home, arguments, random.below(lines))).count()
    };
    let killed = kills(&[]);
    println!("{count} keys: rotation killed {killed} times");
    assert!(killed > 0, "it was never killed");
    home.run(&["key", "rotate", "--json"]).ended(0);
    check_rotated(&home, &keys, &[1, 2], true);
    let refused = home.run(&["key", "rotate", "--finish"]).ended(1);
    assert!(refused.err.contains("rotation_grace_ms"), "{}", refused.err);
    kills(&["--finish", "--now"]);
    home.run(&["key", "rotate", "--finish", "--now", "--json"]).ended(0);
    check_rotated(&home, &keys, &[2], false);

    // Another key of keys over all of it; the one before opens nothing any more.
    let other = home.path().join("other.key");
    let to = home.path().join("other.toml");
    fs::write(&to, format!("[node]\nkey_file = \"{}\"\n", other.display())).expect("settings");
    let changed = home.run(&["key", "rotate", "--kek", "--to", &to.display().to_string(), "--json"]).ended(0);
    assert_eq!(changed.json()["generation"], 4);
    let refused = home.run(&["key", "status"]).ended(64);
    assert!(refused.err.contains("was not made with this key"), "{}", refused.err);
    let home = home.set("NODE__KEY_FILE", other.display());
    let site = home.run(&["key", "status", "--json"]).ended(0).json();
    assert!(site["keeper"].as_str().is_some_and(|keeper| keeper.starts_with("file:")), "{site}");
    let in_bucket = files_below(&home.bucket_keys_dir());
    assert_eq!(in_bucket.iter().filter(|file| file.ends_with("4")).count(), 1, "the site's keys, once");
    let gateway = home.serve();
    gives(&gateway, &images);
    send(&home, &gateway, &[Image::of_study(64, 1)]);
    gateway.settled(3);
    gateway.stop();
    home.run(&["verify", "--deep", "--json"]).ended(0);
}

/// The key provider is away: within the lease receiving goes on, past it senders are told to come later, and when it is
/// back all goes on without a hand.
#[test]
fn receiving_outlives_the_key_provider_for_its_lease() {
    let Some(bao) = bao::Bao::start() else { return };
    let settings = bao.settings();
    let home = Home::new()
        .set("KEYS__PROVIDER", "transit")
        .set("KEYS__TRANSIT__ADDRESS", &settings.address)
        .set("KEYS__TRANSIT__TOKEN_FILE", bao.path("token").display())
        .set("KEYS__TRANSIT__TIMEOUT_MS", 2000)
        .set("KEYS__LEASE_MS", 20_000)
        .set("KEYS__RETRY_DELAY_MIN_MS", 50)
        .set("KEYS__RETRY_DELAY_MAX_MS", 500);
    outlives_its_keeper(
        &home,
        || bao.stop(),
        || {
            bao.start_again();
            bao.unseal();
        },
    );
}

/// What a gateway does while the keeper of its key of keys is away: the story is the same whoever keeps it.
pub(crate) fn outlives_its_keeper(home: &Home, leave: impl Fn(), come_back: impl Fn()) {
    let mut gateway = home.serve();
    gateway.expect_log("the key provider");
    gateway.expect_log("refused for the moment");
    let images: Vec<_> = (1..=4).map(|number| Image::of_study(65, number)).collect();
    send(home, &gateway, &images[..1]);
    leave();
    let keys = |what: &'static str, is: fn(&Value) -> bool| {
        wait_for(what, SOON, || {
            let status = gateway.status();
            is(&status["keys"]).then_some(status)
        })
    };
    let status = keys("the provider is missed", |keys| !keys["away_since"].is_null());
    assert_eq!(status["keys"]["open"], true, "{status}");
    let alarm = &status["alarms"][0];
    assert_eq!(alarm["kind"], "key-provider-away", "{status}");
    assert!(alarm["detail"].as_str().is_some_and(|detail| detail.contains("receiving stops at")), "{status}");
    send(home, &gateway, &images[1..2]);

    let status = keys("the lease ends", |keys| keys["open"] == false);
    assert_eq!(status["spool"]["accepting"], false, "{status}");
    let folder = home.path().join("late");
    fs::create_dir_all(&folder).expect("make a folder");
    images[2].write(&folder);
    let late = home.run(&["send", &gateway.dicom, &folder.display().to_string(), "--aec", AE_TITLE]);
    assert_ne!(late.code, Some(0), "it was taken without a key: {}", late.out);
    let answer = gateway.web.store(&[&images[3].file()]);
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("key provider"), "{}", answer.text());

    come_back();
    keys("the provider is heard", |keys| keys["open"] == true);
    send(home, &gateway, &images);
    gateway.settled(images.len());
    gives(&gateway, &images);
    gateway.stop();
    home.run(&["verify", "--deep", "--json"]).ended(0);

    // A start without the provider: nothing can be opened, and the message says why.
    leave();
    let refused = home.run(&["serve", "--json"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("keeps the key of keys is away"), "{}", refused.err);
}

/// The lines of the sheet, as a person types them off the page.
fn typed_sheet(home: &Home, name: &str) -> String {
    let page = home.path().join(format!("{name}.html")).display().to_string();
    home.run(&["key", "backup", "--out", &page]).ended(0);
    let html = fs::read_to_string(&page).expect("the page");
    let items = html.split("<li>").filter_map(|item| Some(item.split_once("</li>")?.0));
    let lines: Vec<&str> = items.filter(|line| line.starts_with('0')).collect();
    let typed = home.path().join(name);
    fs::write(&typed, lines.join("\n")).expect("type it");
    typed.display().to_string()
}

/// Where a recovery sheet is required nothing is called verified before it was typed back, and everywhere it is asked for
/// until then; again once the key on it has changed.
#[test]
fn nothing_is_verified_before_the_sheet_where_it_is_required() {
    let home = Home::new()
        .set("KEYS__REQUIRE_BACKUP", true)
        .set("UPLOAD__RETRY_DELAY_MIN_MS", 100)
        .set("UPLOAD__RETRY_DELAY_MAX_MS", 500);
    let gateway = home.serve();
    let nags = || home.run(&["status"]).ended(0).out.contains("no recovery sheet was confirmed");
    let warned = |line: &str| line.contains(" WARN ") && line.contains("no recovery sheet was confirmed");
    wait_for("the log says so", SOON, || gateway.log().lines().any(warned).then_some(()));
    send(&home, &gateway, &[Image::of_study(67, 1)]);
    let waits = wait_for("it says what it waits for", SOON, || {
        let status = gateway.status();
        Some(status["retrying"][0]["reason"].as_str()?.to_owned())
    });
    assert!(waits.contains("keys.require_backup") && waits.contains("filmgate key confirm"), "{waits}");
    assert!(nags());
    let notice = gateway.status()["notices"][0].clone();
    assert_eq!(notice["kind"], "no-recovery-sheet", "{notice}");
    assert_eq!(gateway.status()["states"]["verified"], 0);
    home.run(&["key", "confirm", "--from", &typed_sheet(&home, "sheet")]).ended(0);
    gateway.settled(1);
    assert!(!nags());
    gateway.stop();

    let other = home.path().join("other.key");
    let to = home.path().join("other.toml");
    fs::write(&to, format!("[node]\nkey_file = \"{}\"\n", other.display())).expect("settings");
    home.run(&["key", "rotate", "--kek", "--to", &to.display().to_string()]).ended(0);
    let home = home.set("NODE__KEY_FILE", other.display()).set("KEYS__REQUIRE_BACKUP", false);
    let gateway = home.serve();
    assert!(
        home.run(&["status"]).ended(0).out.contains("no recovery sheet was confirmed"),
        "it is another key"
    );
    send(&home, &gateway, &[Image::of_study(68, 1)]);
    gateway.settled(2);
    home.run(&["key", "confirm", "--from", &typed_sheet(&home, "next")]).ended(0);
    assert_eq!(gateway.status()["notices"].as_array().map(Vec::len), Some(0));
    gateway.stop();
}

/// The recovery sheet is printed, typed back, and brings an empty machine back to its images.
#[test]
fn a_printed_sheet_brings_a_site_back() {
    let home = Home::new();
    let gateway = home.serve();
    assert!(gateway.status()["keys"]["sheet_confirmed_at"].is_null());
    let images = [Image::of_study(66, 1), Image::of_study(66, 2)];
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    let page = home.path().join("sheet.html");
    let page = page.display().to_string();
    home.run(&["key", "backup", "--out", &page, "--name", "第一医院 & Söhne"]).ended(0);
    let html = fs::read_to_string(&page).expect("the page");
    assert!(html.contains("密钥恢复单") && html.contains("第一医院 &amp; Söhne") && html.contains("<svg"));
    assert_eq!(fs::metadata(&page).expect("the page").permissions().mode() & 0o777, 0o600);
    home.run(&["key", "backup", "--out", &page]).ended(1);
    let lines: Vec<String> =
        html.split("<li>").filter_map(|item| Some(item.split_once("</li>")?.0.to_owned())).collect();
    let lines: Vec<_> = lines.into_iter().filter(|line| line.starts_with('0')).collect();
    let typed = home.path().join("typed");
    fs::write(&typed, lines[1..].join("\n")).expect("type it");
    let typed = typed.display().to_string();
    let missing = home.run(&["key", "confirm", "--from", &typed]).ended(1);
    assert!(missing.err.contains("line 1 is missing"), "{}", missing.err);
    fs::write(&typed, lines.join("\n")).expect("type it");
    home.run(&["key", "confirm", "--from", &typed]).ended(0);
    assert!(gateway.status()["keys"]["sheet_confirmed_at"].as_i64().is_some());
    gateway.stop();
    let deep = home.run(&["verify", "--deep", "--json"]).ended(0).json();

    // Another machine: the bucket and the paper.
    let site = open_ring(&home).site_id();
    fs::remove_dir_all(home.data_dir()).expect("lose the machine");
    fs::remove_file(home.key_path()).expect("and its key");
    home.run(&["key", "restore", "--from", &typed]).ended(0);
    let rebuilt = home.run(&["rebuild", "--json"]).ended(0).json();
    assert_eq!((&rebuilt["instances"], &rebuilt["problems"]), (&2.into(), &serde_json::json!([])));
    let deep_again = home.run(&["verify", "--deep", "--json"]).ended(0).json();
    assert_eq!(
        (&deep_again["records"], &deep_again["dataset_bytes"]),
        (&deep["records"], &deep["dataset_bytes"])
    );
    let gateway = home.serve();
    gives(&gateway, &images);
    assert_eq!(gateway.status()["site_id"], site.to_string());
    let restored = open_ring(&home);
    let studies = files_below(&home.bucket_keys_dir()).into_iter().filter_map(|file| fs::read(file).ok());
    let opened = studies.filter(|object| restored.adopt_study_key(object).is_ok()).count();
    assert_eq!(opened, 1, "the study's key opens again");
    gateway.stop();
}

/// A machine is gone, and so is its key, or the one at hand is not the one that counts: nothing is brought back, nothing is made,
/// and it says what to do.
#[test]
fn nothing_is_rebuilt_without_the_key_that_counts() {
    let home = Home::new();
    refused_by(&home, "rebuild", &["nothing to bring back", "[bucket.NAME]"]);
    assert!(!home.key_path().exists(), "no key was made");
    let gateway = home.serve();
    let images = [Image::of_study(69, 1), Image::of_study(69, 2)];
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    gateway.stop();
    let (other, to) = (home.path().join("other.key"), home.path().join("other.toml"));
    fs::write(&to, format!("[node]\nkey_file = \"{}\"\n", other.display())).expect("settings");
    home.run(&["key", "rotate", "--kek", "--to", &to.display().to_string()]).ended(0);
    fs::remove_dir_all(home.data_dir()).expect("lose the machine");

    // The key file from before the key of keys was changed; none; and somebody's.
    let before = fs::read_to_string(home.key_path()).expect("the key file");
    let says = ["need another key of keys", "node.key_file", "filmgate key restore", "Nothing was made"];
    refused_by(&home, "rebuild", &says);
    assert_eq!(fs::read_to_string(home.key_path()).expect("the key file"), before, "it is as it was");
    fs::remove_file(home.key_path()).expect("lose the key as well");
    refused_by(&home, "rebuild", &says);
    assert!(!home.key_path().exists(), "no key was made");
    write_key_file(&home.key_path(), &"cd".repeat(32));
    refused_by(&home, "rebuild", &says);
    refused(&home, &says);
    // No key file at all, or a file that is none.
    fs::write(home.key_path(), "no key").expect("spoil it");
    refused_by(&home, "rebuild", &["is not a key file"]);

    let home = home.set("NODE__KEY_FILE", other.display());
    assert_eq!(home.run(&["rebuild", "--json"]).ended(0).json()["instances"], 2);
    let gateway = home.serve();
    gives(&gateway, &images);
    gateway.stop();
    // A data directory with keys, and the wrong key file beside it.
    let wrong_key = home.path().join("wrong.key");
    let home = home.set("NODE__KEY_FILE", wrong_key.display());
    let missing = home.run(&["rebuild"]).ended(64);
    assert!(
        missing.err.contains("wrong.key is missing") && missing.err.contains("key restore"),
        "{}",
        missing.err
    );
    write_key_file(&wrong_key, &"ef".repeat(32));
    let wrong = home.run(&["rebuild"]).ended(64);
    assert!(wrong.err.contains("was not made with this key"), "{}", wrong.err);
    assert!(
        wrong.err.contains("node.key_file") && wrong.err.contains("filmgate key restore"),
        "{}",
        wrong.err
    );
}
