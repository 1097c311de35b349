//! Who may lose what: holds, retention, deletions in two steps, and packs made anew under readers' eyes.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::dicom::{Image, element};
use crate::support::gateway::{Gateway, Home};
use crate::support::process::Finished;
use crate::support::wait_for;
use crate::support::web::find;

const SOON: Duration = Duration::from_secs(60);

/// Nothing is kept by rule, packs are not merged by themselves, and what was deleted goes after `grace_ms`.
fn home(grace_ms: u64) -> Home {
    Home::new()
        .set("RETENTION__YEARS", 0)
        .set("DELETION__GRACE_MS", grace_ms)
        .set("REPACK__SMALL_PACK_BYTES", 0)
        .set("REPACK__GRACE_MS", 200)
}

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let files: Vec<PathBuf> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(gateway, &files);
}

fn study(number: u64, images: u64) -> Vec<Image> {
    (1..=images).map(|image| Image::of_study(number, image)).collect()
}

/// Is found and served, byte for byte.
fn is_there(gateway: &Gateway, image: &Image) -> bool {
    let found = gateway.web.get(&instances(image), "application/dicom+json");
    let found = found.status == 200 && found.text().contains(&format!("\"{}\"", image.sop_instance_uid));
    let served =
        gateway.web.instance(&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
    match served {
        Ok(file) => {
            assert_eq!(file.dataset(), image.dataset(), "other bytes are served");
            assert!(found, "it is served and not found");
            true
        }
        Err(_) => {
            assert!(!found, "it is found and not served");
            false
        }
    }
}

fn instances(image: &Image) -> String {
    format!("/dicomweb/studies/{}/instances", image.study_instance_uid)
}

fn ask(home: &Home, arguments: &[&str]) -> Finished {
    home.run(&[arguments, &["--as", "ann", "--json"]].concat())
}

/// Asks to delete, and the deletion's id.
fn request(home: &Home, image: &Image, only_this: bool) -> String {
    let mut arguments = vec!["delete", "request", &image.study_instance_uid, "--why", "wrong patient"];
    if only_this {
        arguments.extend(["--instance", &image.sop_instance_uid]);
    }
    ask(home, &arguments).ended(0).json()["id"].as_str().expect("an id").to_owned()
}

fn confirm(home: &Home, deletion: &str) -> Finished {
    home.run(&["delete", "confirm", deletion, "--as", "ben"])
}

fn deletion(home: &Home, id: &str) -> Value {
    let all = home.run(&["delete", "list", "--json"]).ended(0).json();
    all.as_array().into_iter().flatten().find(|one| one["deletion"] == id).cloned().expect("it is listed")
}

fn wait_until_done(home: &Home, id: &str) {
    wait_for("the deletion is carried out", SOON, || (deletion(home, id)["step"] == "done").then_some(()));
}

#[test]
fn a_study_is_hidden_at_once_and_gone_after_its_grace() {
    let home = home(4_000);
    let gateway = home.serve();
    let (wrong, right) = (study(31, 3), study(32, 2));
    send(&home, &gateway, &wrong);
    send(&home, &gateway, &right);
    let records = gateway.settled(5);
    let packs = home.packs_in_bucket().len();
    let id = request(&home, &wrong[0], false);
    assert!(is_there(&gateway, &wrong[0]), "asking changes nothing");
    confirm(&home, &id).ended(0);
    assert!(wrong.iter().all(|image| !is_there(&gateway, image)), "hidden at once");
    assert_eq!(gateway.status()["hidden"], 3);
    let hidden = records
        .iter()
        .find(|record| record.study_instance_uid.as_ref() == Some(&wrong[0].study_instance_uid));
    let by_id = format!("/api/records/{}", hidden.expect("a record of it").record_id);
    assert_eq!(gateway.web.get(&by_id, "*/*").status, 404, "not by its record either");
    assert_eq!(home.packs_in_bucket().len(), packs, "and all there while the grace lasts");
    wait_until_done(&home, &id);
    wait_for("its packs are gone", SOON, || (home.packs_in_bucket().len() < packs).then_some(()));
    let told = deletion(&home, &id);
    for (key, is) in [("who", "ann"), ("why", "wrong patient"), ("confirmed_by", "ben")] {
        assert_eq!(told[key], is, "{told}");
    }
    assert_eq!((&told["records"], &told["records_gone"]), (&json!(3), &json!(3)));
    assert_eq!(gateway.status()["states"]["deleted"], 3, "they stay visible as deleted");
    assert!(right.iter().all(|image| is_there(&gateway, image)));
    home.run(&["verify", "--deep"]).ended(0);
    gateway.stop();
    let gateway = home.serve();
    assert!(right.iter().all(|image| is_there(&gateway, image)));
    assert!(wrong.iter().all(|image| !is_there(&gateway, image)));
    gateway.stop();
}

/// A long answer is on its way for minutes: what is deleted meanwhile does not go out in it any more.
#[test]
fn what_is_deleted_while_an_answer_is_on_its_way_stays_behind() {
    let home = home(600_000);
    let gateway = home.serve();
    // More than the sockets between hold, whoever takes nothing.
    let mut images = study(45, 99);
    images.iter_mut().for_each(|image| image.samples = image.samples.repeat(8));
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    let study = &images[0].study_instance_uid;
    let paths = [format!("/dicomweb/studies/{study}"), format!("/api/studies/{study}/zip")];
    let mut answers = paths.map(|path| {
        let mut answer = gateway.web.stream(&path);
        let mut begun = vec![0; 1000];
        answer.read_exact(&mut begun).expect("its beginning");
        (answer, begun)
    });
    // The last of them, by the order of text.
    let gone = images.iter().max_by_key(|image| &image.sop_instance_uid).expect("images");
    confirm(&home, &request(&home, gone, true)).ended(0);
    for (answer, begun) in &mut answers {
        answer.read_to_end(begun).expect("the answer ends as it should");
        for image in &images {
            let (uid, mut says) = (&image.sop_instance_uid, Vec::new());
            element(&mut says, 0x0008_0018, b"UI", uid.as_bytes());
            assert_eq!(find(begun, &says).is_some(), uid != &gone.sop_instance_uid, "{uid}");
        }
    }
    gateway.stop();
}

#[test]
fn one_instance_goes_and_its_neighbours_stay() {
    let home = home(300);
    let gateway = home.serve();
    let images = study(33, 4);
    send(&home, &gateway, &images);
    gateway.settled(4);
    let before = home.packs_in_bucket();
    let id = request(&home, &images[1], true);
    confirm(&home, &id).ended(0);
    wait_until_done(&home, &id);
    wait_for("only new packs are left", SOON, || {
        home.packs_in_bucket().iter().all(|pack| !before.contains(pack)).then_some(())
    });
    assert_eq!(home.packs_in_bucket().len(), 1, "what stays is in one pack");
    for image in &images {
        assert_eq!(is_there(&gateway, image), image.sop_instance_uid != images[1].sop_instance_uid);
    }
    home.run(&["verify", "--deep"]).ended(0);
    gateway.stop();
}

#[test]
fn a_deletion_can_be_taken_back() {
    let home = home(600_000);
    let gateway = home.serve();
    let images = study(34, 2);
    send(&home, &gateway, &images);
    gateway.settled(2);
    let id = request(&home, &images[0], false);
    confirm(&home, &id).ended(0);
    assert!(!is_there(&gateway, &images[0]));
    ask(&home, &["delete", "cancel", &id, "--why", "it was the right one"]).ended(0);
    assert!(images.iter().all(|image| is_there(&gateway, image)), "as before");
    let late = confirm(&home, &id).ended(1);
    assert!(late.err.contains("ask for it again"), "{}", late.err);
    assert_eq!(deletion(&home, &id)["cancelled_why"], "it was the right one");
    gateway.stop();
}

/// Whatever was asked before, whoever asks, by the command line or over the web, before and after a restart.
#[test]
fn nothing_goes_under_a_hold() {
    let home = home(300);
    let gateway = home.serve();
    let images = study(35, 2);
    let uid = images[0].study_instance_uid.as_str();
    send(&home, &gateway, &images);
    gateway.settled(2);
    let place = ["hold", "place", uid, "--why", "court order 12"];
    let hold = ask(&home, &place).ended(0).json()["id"].as_str().expect("an id").to_owned();
    let asked = ask(&home, &["delete", "request", uid, "--why", "wrong patient"]).ended(1);
    assert!(asked.err.contains("court order 12") && asked.err.contains("hold release"), "{}", asked.err);
    let over_the_web =
        json!({ "change": "request-deletion", "study": uid, "why": "x", "as": "administrator" });
    let answer = gateway.web.post("/api/custody", &over_the_web);
    assert_eq!(answer.status, 409, "{}", answer.text());
    ask(&home, &["hold", "release", &hold, "--why", "settled"]).ended(0);

    // Asked for and confirmed before the next hold comes.
    let id = request(&home, &images[0], false);
    ask(&home, &place).ended(0);
    assert!(confirm(&home, &id).ended(1).err.contains("court order 12"));
    let held = home.run(&["hold", "list", "--study", uid, "--json"]).ended(0).json();
    let held = held[0]["hold"].as_str().expect("it stands first").to_owned();
    ask(&home, &["hold", "release", &held, "--why", "settled"]).ended(0);
    gateway.stop();

    // No grace to speak of, and the hold is placed while no gateway runs.
    let slow = home.set("DELETION__GRACE_MS", 3_000);
    let gateway = slow.serve();
    confirm(&slow, &id).ended(0);
    gateway.stop();
    let last = ask(&slow, &place).ended(0).json()["id"].as_str().expect("an id").to_owned();
    let gateway = slow.serve();
    let waits = wait_for("it is due, and held back", SOON, || {
        deletion(&slow, &id)["waits_for"].as_str().map(str::to_owned)
    });
    assert!(waits.contains("court order 12"), "{waits}");
    slow.run(&["repack", "--study", uid, "--as", "ann"]).ended(0);
    wait_for("its records stand in a new pack", SOON, || (slow.packs_in_bucket().len() == 1).then_some(()));
    assert_eq!(deletion(&slow, &id)["records_gone"], 0);
    assert!(!slow.packs_in_bucket().is_empty());
    ask(&slow, &["delete", "cancel", &id, "--why", "it is held"]).ended(0);
    assert!(images.iter().all(|image| is_there(&gateway, image)), "every byte of it was kept");
    let again = request_refused(&slow, uid);
    assert!(again.contains("court order 12"), "{again}");
    ask(&slow, &["hold", "release", &last, "--why", "settled"]).ended(0);
    gateway.stop();
}

/// More of them than one round of deleting looks at.
#[test]
fn deletions_that_wait_hold_up_none_behind_them() {
    let home = home(1);
    let gateway = home.serve();
    let held: Vec<Image> = (0..17).map(|number| Image::of_study(3_000 + number, 1)).collect();
    let last = Image::of_study(3_100, 1);
    send(&home, &gateway, &held);
    send(&home, &gateway, std::slice::from_ref(&last));
    gateway.settled(18);
    let ids: Vec<String> = held.iter().chain([&last]).map(|image| request(&home, image, false)).collect();
    gateway.stop();

    // Nobody carries anything out before all the holds stand.
    for (id, image) in ids.iter().zip(held.iter().chain([&last])) {
        confirm(&home, id).ended(0);
        if image.study_instance_uid != last.study_instance_uid {
            let uid = &image.study_instance_uid;
            ask(&home, &["hold", "place", uid, "--why", "court order 12"]).ended(0);
        }
    }
    let gateway = home.serve();
    wait_for("the one that nothing binds is carried out", SOON, || {
        (deletion(&home, &ids[17])["step"] == "done").then_some(())
    });
    for id in &ids[..17] {
        assert_ne!(deletion(&home, id)["step"], "done");
    }
    wait_for("the last of those held says why", SOON, || {
        deletion(&home, &ids[16])["waits_for"].as_str().filter(|why| why.contains("court order 12")).map(drop)
    });
    gateway.stop();
}

fn request_refused(home: &Home, uid: &str) -> String {
    ask(home, &["delete", "request", uid, "--why", "wrong patient"]).ended(1).err
}

#[test]
fn what_must_be_kept_is_not_deleted() {
    let home = home(300).set("RETENTION__YEARS", 30);
    let gateway = home.serve();
    let images = study(36, 1);
    let uid = images[0].study_instance_uid.as_str();
    send(&home, &gateway, &images);
    gateway.settled(1);
    let refused = request_refused(&home, uid);
    assert!(
        refused.contains("retention.years = 30") && refused.contains("must be kept until 205"),
        "{refused}"
    );
    gateway.stop();

    let home = home.set("RETENTION__YEARS", 0);
    let gateway = home.serve();
    let set = |years: &str| ask(&home, &["retention", "set", uid, "--years", years, "--why", "a trial"]);
    set("2").ended(0);
    assert!(set("1").ended(1).err.contains("only be prolonged"));
    assert!(request_refused(&home, uid).contains("a trial"));
    let listed = home.run(&["retention", "list", "--json"]).ended(0).json();
    assert_eq!((&listed[0]["who"], &listed[0]["why"]), (&json!("ann"), &json!("a trial")));
    assert!(is_there(&gateway, &images[0]));
    gateway.stop();
}

#[test]
fn two_people_delete_where_two_must() {
    let home = home(300).set("DELETION__TWO_PEOPLE", true);
    let gateway = home.serve();
    let images = study(37, 1);
    send(&home, &gateway, &images);
    gateway.settled(1);
    let id = request(&home, &images[0], false);
    assert!(ask(&home, &["delete", "confirm", &id]).ended(1).err.contains("somebody else"));
    assert!(is_there(&gateway, &images[0]));
    confirm(&home, &id).ended(0);
    wait_until_done(&home, &id);
    assert!(
        ask(&home, &["delete", "request", &images[0].study_instance_uid, "--why", " "])
            .ended(1)
            .err
            .contains("say why")
    );
    gateway.stop();
}

/// Its packs are evicted, merged and made anew all the while.
#[test]
fn a_study_that_is_read_while_it_is_repacked_reads() {
    let home = home(300).set("CACHE__BYTES_MAX", 0).set("REPACK__GRACE_MS", 50);
    let gateway = home.serve();
    let mut images = Vec::new();
    for image in study(38, 6) {
        send(&home, &gateway, std::slice::from_ref(&image));
        images.push(image);
        gateway.settled(images.len());
    }
    let (over, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    for image in &images {
                        assert!(is_there(&gateway, image), "{} is not there", image.sop_instance_uid);
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..3 {
            let before = home.packs_in_bucket();
            let uid = images[0].study_instance_uid.as_str();
            home.run(&["repack", "--study", uid, "--new-key", "--as", "ann"]).ended(0);
            wait_for("the old packs are gone", SOON, || {
                let now = home.packs_in_bucket();
                (!now.is_empty() && now.iter().all(|pack| !before.contains(pack))).then_some(())
            });
        }
        let read = reads.load(Ordering::SeqCst);
        wait_for("it is read to the end", SOON, || (reads.load(Ordering::SeqCst) > read + 12).then_some(()));
        over.store(true, Ordering::SeqCst);
    });
    assert_eq!(home.packs_in_bucket().len(), 1, "six packs became one");
    home.run(&["verify", "--deep"]).ended(0);
    gateway.stop();
}

/// Nobody asks for it: what came in five pieces is one pack when the study has been quiet for long enough.
#[test]
fn small_packs_of_a_quiet_study_become_one_by_themselves() {
    let home = Home::new().set("REPACK__GRACE_MS", 100).set("CACHE__BYTES_MAX", 0);
    let gateway = home.serve();
    let images = study(3_201, 5);
    for (sent, image) in images.iter().enumerate() {
        send(&home, &gateway, std::slice::from_ref(image));
        gateway.settled(sent + 1);
    }
    let before = home.packs_in_bucket();
    assert_eq!(before.len(), 5, "the study is not quiet for long enough");
    gateway.stop();

    let home = home.set("REPACK__AFTER_MS", 500);
    let gateway = home.serve();
    // Small packs are looked for once a minute.
    wait_for("five packs have become one", 4 * SOON, || {
        let now = home.packs_in_bucket();
        (now.len() == 1 && !before.contains(&now[0])).then_some(())
    });
    assert_eq!(gateway.settled(5).len(), 5);
    assert!(images.iter().all(|image| is_there(&gateway, image)));
    home.run(&["verify", "--deep"]).ended(0);
    gateway.stop();
}

/// The first disk is lost, and the catalog with it: what was decided stands, also of what the journal in the second directory
/// still holds, and no rebuild is asked for.
#[test]
fn what_was_decided_outlives_the_first_disk() {
    let home = home(300).set("NODE__MIRROR", "required");
    let second = home.path().join("second");
    let home = home.set("NODE__SECOND_DIR", second.display());
    let gateway = home.serve();
    let (held, kept, gone, thinned) = (study(41, 2), study(42, 2), study(43, 2), study(44, 3));
    for images in [&held, &kept, &gone, &thinned] {
        send(&home, &gateway, images);
    }
    gateway.settled(9);
    let uid = |images: &[Image]| images[0].study_instance_uid.clone();
    ask(&home, &["hold", "place", &uid(&held), "--why", "court order 41"]).ended(0);
    ask(&home, &["retention", "set", &uid(&kept), "--years", "2", "--why", "a trial"]).ended(0);
    for (images, only_this) in [(&gone, false), (&thinned, true)] {
        let id = request(&home, &images[0], only_this);
        confirm(&home, &id).ended(0);
        wait_until_done(&home, &id);
    }
    wait_for("the log has heard of it", SOON, || (gateway.status()["log"]["waiting"] == 0).then_some(()));
    gateway.stop();

    std::fs::remove_dir_all(home.data_dir()).expect("lose the first disk");
    let mut gateway = home.serve();
    gateway.expect_log("the catalog lacks what this data directory stated");
    assert!(gone.iter().chain(&thinned[..1]).all(|image| !is_there(&gateway, image)));
    assert!(held.iter().chain(&kept).chain(&thinned[1..]).all(|image| is_there(&gateway, image)));
    assert!(request_refused(&home, &uid(&held)).contains("court order 41"));
    assert!(request_refused(&home, &uid(&kept)).contains("a trial"));
    gateway.settled(6);
    assert!(gone.iter().chain(&thinned[..1]).all(|image| !is_there(&gateway, image)));
    home.run(&["verify", "--deep"]).ended(0);
    gateway.stop();
}

/// Two gateways of one site, each with a catalog of its own: what one of them knows binds the other before bytes go.
#[test]
fn a_hold_at_another_node_stops_a_deletion() {
    let home = home(3_000).set("SITE_LOG__HEARTBEAT_MS", 1_000);
    let gateway = home.serve();
    let images = study(39, 2);
    let uid = images[0].study_instance_uid.as_str();
    send(&home, &gateway, &images);
    gateway.settled(2);
    let other = self::home(3_000)
        .set("SITE_LOG__HEARTBEAT_MS", 1_000)
        .with_buckets_of(&home)
        .set("NODE__KEY_FILE", home.key_path().display());
    let elsewhere = other.serve();
    let id = request(&home, &images[0], false);
    confirm(&home, &id).ended(0);
    let place = ["hold", "place", uid, "--why", "court order 39"];
    let hold = ask(&other, &place).ended(0).json()["id"].as_str().expect("an id").to_owned();
    let held = home.run(&["hold", "list", "--study", uid, "--json"]).ended(0).json();
    assert_eq!(held, json!([]), "this node's own catalog knows nothing of it");
    let waits = wait_for("it is due, and held back", SOON, || {
        let waits = deletion(&home, &id)["waits_for"].as_str().map(str::to_owned);
        waits.filter(|waits| waits.contains("court order 39"))
    });
    assert!(waits.contains("another node's log holds the study"), "{waits}");
    assert_eq!(home.packs_in_bucket().len(), 1, "every byte of it is there");
    assert_eq!(deletion(&home, &id)["records_gone"], 0);

    // A node that cannot be heard of may hold it as well.
    ask(&other, &["hold", "release", &hold, "--why", "settled"]).ended(0);
    wait_until_done(&home, &id);
    wait_for("its pack is gone", SOON, || home.packs_in_bucket().is_empty().then_some(()));
    elsewhere.stop();
    let again = study(40, 1);
    send(&home, &gateway, &again);
    wait_for("it is verified", SOON, || (gateway.status()["states"]["verified"] == 1).then_some(()));
    let id = request(&home, &again[0], false);
    confirm(&home, &id).ended(0);
    wait_for("it waits for the node that is away", SOON, || {
        let waits = deletion(&home, &id)["waits_for"].as_str().map(str::to_owned);
        waits.filter(|waits| waits.contains("start that node"))
    });
    assert_eq!(home.packs_in_bucket().len(), 1);
    gateway.stop();
}
