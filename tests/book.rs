//! What only the catalog holds: it is in every bucket a while after it changed, sealed, and a machine that comes to nothing but
//! buckets and key knows who may come in, and who may not any more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nodes::Site;
use crate::support::dicom::Image;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::{Dice, files_below, peers, wait_for};

const SOON: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse 电池";
/// So long nothing may change before all is said to be exported: several looks.
const QUIET: Duration = Duration::from_millis(1500);

/// A gateway that lets in whom it knows, and exports soon.
fn home() -> Home {
    exporting(Home::new())
        .set("DICOM__ACCEPT_UNKNOWN_CALLERS", false)
        .set("WEB__OPEN_TO", "nobody")
        .set("WEB__PASSWORD_MEMORY_KIB", 8192)
}

fn exporting(home: Home) -> Home {
    home.set("BOOK__EXPORT_AFTER_MS", 200)
}

/// What status says of the export, once nothing more is exported.
fn exported(home: &Home) -> Value {
    let mut last: Option<(Value, Instant)> = None;
    wait_for("all that was decided is exported", SOON, || {
        let book = home.run(&["status", "--json"]).ended(0).json()["book"].clone();
        match &last {
            Some((known, since)) if known["object"] == book["object"] && book["changed_at"].is_null() => {
                (since.elapsed() > QUIET && !book["object"].is_null()).then_some(book)
            }
            _ => {
                last = Some((book, Instant::now()));
                None
            }
        }
    })
}

/// Exports in the bucket, oldest first.
fn exports(home: &Home) -> Vec<PathBuf> {
    let mut files = files_below(&home.bucket_dir().join("v1/book"));
    files.sort();
    files
}

/// Another machine: nothing but the buckets and a copy of the key.
fn burn(home: &Home) {
    fs::remove_dir_all(home.data_dir()).expect("remove the data directory");
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("run cp");
    assert!(done.success(), "copy {}", from.display());
}

fn rebuilt(home: &Home) -> Value {
    let rebuilt = home.run(&["rebuild", "--json"]).ended(0).json();
    assert_eq!(rebuilt["problems"], json!([]));
    rebuilt
}

fn token(home: &Home, name: &str) -> String {
    let made = home.run(&["token", "create", name, "--scope", "read", "--json"]).ended(0).json();
    made["token"].as_str().expect("a token").to_owned()
}

/// The status of an answer to who brings this.
fn answered(gateway: &Gateway, header: &str, value: &str) -> u16 {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let asked = agent.get(gateway.web.url("/api/status")).header(header, value).call();
    asked.expect("an answer").status().as_u16()
}

fn bearing(gateway: &Gateway, token: &str) -> u16 {
    answered(gateway, "authorization", &format!("Bearer {token}"))
}

fn echoes(gateway: &Gateway, calling: &str) -> bool {
    peers::echoscu(&gateway.dicom, calling, AE_TITLE).code == Some(0)
}

fn set_up_secret(home: &Home) -> String {
    let told = home.run(&["set-up"]).ended(0).out;
    let behind = told.split("/set-up#").nth(1).unwrap_or_else(|| panic!("no link in {told}"));
    behind.chars().take_while(char::is_ascii_hexdigit).collect()
}

fn log_in(gateway: &Gateway) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let asked = agent.post(gateway.web.url("/api/login")).header("content-type", "application/json");
    let answer = asked.send(json!({ "password": PASSWORD }).to_string()).expect("an answer");
    let cookie = answer.headers().get("set-cookie").and_then(|value| value.to_str().ok());
    let pair = cookie.and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
    (answer.status().as_u16(), pair)
}

/// The recovery sheet, printed and typed back.
fn confirm_sheet(home: &Home) {
    let page = home.path().join("sheet.html").display().to_string();
    home.run(&["key", "backup", "--out", &page]).ended(0);
    let html = fs::read_to_string(&page).expect("the page");
    let items = html.split("<li>").filter_map(|item| Some(item.split_once("</li>")?.0));
    let lines: Vec<&str> = items.filter(|line| line.starts_with('0')).collect();
    let typed = home.path().join("typed");
    fs::write(&typed, lines.join("\n")).expect("type it");
    home.run(&["key", "confirm", "--from", &typed.display().to_string()]).ended(0);
}

/// Who may come in and who may not, the administrator, the sheet: all as before on a machine that had nothing. Log-ins and
/// links are not.
#[test]
fn who_may_come_in_is_known_on_an_empty_machine() {
    let home = home();
    let mut gateway = home.serve();
    for expected in ["association-refused", "a request was refused", "a wrong password, link or token"] {
        gateway.expect_log(expected);
    }
    home.run(&["ae", "allow", "CT_1"]).ended(0);
    home.run(&["ae", "allow", "CT_2"]).ended(0);
    home.run(&["ae", "deny", "CT_3"]).ended(0);
    home.run(&["ae", "forget", "CT_2"]).ended(0);
    let (viewer, lost) = (token(&home, "viewer"), token(&home, "lost"));
    home.run(&["token", "revoke", "lost"]).ended(0);
    let secret = set_up_secret(&home);
    let set_up = |secret: &str| {
        gateway.web.post("/api/set-up", &json!({ "secret": secret, "password": PASSWORD })).status
    };
    assert_eq!(set_up(&secret), 200);
    let (status, session) = log_in(&gateway);
    assert_eq!((status, answered(&gateway, "cookie", &session)), (200, 200));
    let open_link = set_up_secret(&home);
    confirm_sheet(&home);
    let image = Image::of_study(9301, 1);
    let file = image.write(home.path()).display().to_string();
    home.run(&["send", &gateway.dicom, &file, "--aec", AE_TITLE, "--aet", "CT_1"]).ended(0);
    let book = exported(&home);
    assert_eq!(book["placements"], json!(["main"]), "{book}");
    let told = home.run(&["status"]).ended(0).out;
    assert!(told.contains("Book          exported at") && told.contains("to main as v1/book/"), "{told}");
    wait_for("the image is verified", SOON, || {
        (home.run(&["status", "--json"]).ended(0).json()["states"]["verified"] == 1).then_some(())
    });
    let rules = home.run(&["ae", "list", "--json"]).ended(0).json()["rules"].clone();
    let known: Vec<Vec<u8>> = exports(&home).iter().map(|path| fs::read(path).expect("an export")).collect();
    for secret in ["CT_1", "viewer", "argon2id"] {
        let is_there = |bytes: &Vec<u8>| bytes.windows(secret.len()).any(|it| it == secret.as_bytes());
        assert!(!known.iter().any(is_there), "{secret} can be read in the bucket");
    }
    gateway.kill();
    burn(&home);

    assert_eq!(rebuilt(&home)["books"], 1);
    // Again, over what is there: the same.
    rebuilt(&home);
    let mut gateway = home.serve();
    for expected in ["association-refused", "a request was refused", "a wrong password, link or token"] {
        gateway.expect_log(expected);
    }
    assert_eq!(home.run(&["ae", "list", "--json"]).ended(0).json()["rules"], rules);
    assert!(echoes(&gateway, "CT_1"), "it was allowed");
    assert!(!echoes(&gateway, "CT_2") && !echoes(&gateway, "CT_3"), "one was forgotten, one denied");
    assert_eq!(bearing(&gateway, &viewer), 200);
    assert_eq!(bearing(&gateway, &lost), 401, "revoked is revoked");
    assert_eq!(log_in(&gateway).0, 200);
    assert_eq!(answered(&gateway, "cookie", &session), 401, "a log-in is of its machine");
    let again = json!({ "secret": open_link, "password": "an altogether new one" });
    assert_eq!(gateway.web.post("/api/set-up", &again).status, 403, "and so is a link");
    let status = home.run(&["status", "--json"]).ended(0).json();
    assert!(status["keys"]["sheet_confirmed_at"].is_i64(), "the sheet was typed back: {status}");
    assert_eq!(status["states"]["verified"], 1);
    // The new machine tells on, under a history of its own.
    exported(&home);
    let mut histories: Vec<_> =
        exports(&home).iter().filter_map(|path| path.parent().map(Path::to_owned)).collect();
    histories.dedup();
    assert_eq!(histories.len(), 2);
    home.run(&["token", "revoke", "viewer"]).ended(0);
    exported(&home);
    gateway.kill();
    burn(&home);
    assert_eq!(rebuilt(&home)["books"], 2);
    let mut gateway = home.serve();
    gateway.expect_log("a request was refused");
    assert_eq!(bearing(&gateway, &viewer), 401, "the older history knows it as good");
    gateway.stop();
}

/// The last few are kept. One that is damaged, of a later version or of another site stops nothing, is told, and the one before
/// it counts.
#[test]
fn an_export_that_does_not_open_is_told_and_the_one_before_counts() {
    let home = home();
    let mut gateway = home.serve();
    gateway.expect_log("association-refused");
    for number in 1..=7 {
        home.run(&["ae", "allow", &format!("CT_{number}")]).ended(0);
        exported(&home);
    }
    let kept = exports(&home);
    assert_eq!(kept.len(), 4, "{kept:?}");
    let images = [Image::of_study(9302, 1), Image::of_study(9302, 2)];
    for image in &images {
        let file = image.write(home.path()).display().to_string();
        home.run(&["send", &gateway.dicom, &file, "--aec", AE_TITLE, "--aet", "CT_1"]).ended(0);
    }
    wait_for("they are verified", SOON, || {
        (home.run(&["status", "--json"]).ended(0).json()["states"]["verified"] == 2).then_some(())
    });
    gateway.stop();
    let newest = &kept[3];
    let name = newest.file_name().expect("a name").to_string_lossy().into_owned();
    let sound = fs::read(newest).expect("the newest");
    // The version of its form, a bit of what is sealed, its end, its site, and another one's bytes under its name.
    let spoilt = [
        ([&sound[..4], &[9], &sound[5..]].concat(), "made by a newer version"),
        ([&sound[..100], &[sound[100] ^ 1], &sound[101..]].concat(), "damaged, or not under this key"),
        (sound[..sound.len() - 9].to_vec(), "length is wrong"),
        ([&sound[..8], &[0xEE; 16], &sound[24..]].concat(), "it is of site eeee"),
        (fs::read(&kept[2]).expect("the one before"), "stands where another belongs"),
    ];
    for (bytes, why) in spoilt {
        fs::write(newest, bytes).expect("spoil it");
        burn(&home);
        let rebuilt = home.run(&["rebuild", "--json"]).ended(2).json();
        let problems = rebuilt["problems"].to_string();
        assert!(problems.contains(&name) && problems.contains(why), "not {why:?}: {problems}");
        assert_eq!((&rebuilt["books"], &rebuilt["instances"]), (&json!(1), &json!(2)), "all else came back");
        let rules = home.run(&["ae", "list", "--json"]).ended(0).json()["rules"].clone();
        assert_eq!(rules.as_array().map(Vec::len), Some(6), "what the one before says: {rules}");
    }
    fs::write(newest, &sound).expect("mend it");
    burn(&home);
    rebuilt(&home);
    let gateway = home.serve();
    assert!(echoes(&gateway, "CT_7"));
    // One that disappears from a bucket is made anew, under a name that was never used.
    gateway.stop();
    let gateway = home.serve();
    exported(&home);
    gateway.stop();
    let last = exports(&home).into_iter().filter(|path| !kept.contains(path)).max().expect("an export");
    fs::remove_file(&last).expect("lose it");
    let gateway = home.serve();
    wait_for("it is exported anew", SOON, || exports(&home).iter().any(|path| *path > last).then_some(()));
    assert!(!last.exists());
    gateway.stop();
}

/// Killed at any moment, whatever is under way: what was decided is exported in the end, and no half export is taken for one.
#[test]
fn a_gateway_that_is_killed_exports_in_the_end() {
    let (home, mut dice) = (home(), Dice(9303));
    for number in 1..=6 {
        let gateway = home.serve();
        home.run(&["ae", "allow", &format!("CT_{number}")]).ended(0);
        std::thread::sleep(Duration::from_millis(dice.below(500)));
        gateway.kill();
    }
    let gateway = home.serve();
    exported(&home);
    gateway.kill();
    burn(&home);
    rebuilt(&home);
    let rules = home.run(&["ae", "list", "--json"]).ended(0).json()["rules"].clone();
    let rules: Vec<&str> =
        rules.as_array().into_iter().flatten().filter_map(|rule| rule["calling_ae"].as_str()).collect();
    assert_eq!(rules, ["CT_1", "CT_2", "CT_3", "CT_4", "CT_5", "CT_6"]);
}

/// A directory restored from an older copy of itself must not let in again who was sent away since.
#[test]
fn a_copy_from_before_a_revocation_hears_of_it() {
    let home = home();
    let gateway = home.serve();
    let (viewer, lost) = (token(&home, "viewer"), token(&home, "lost"));
    home.run(&["ae", "allow", "CT_1"]).ended(0);
    exported(&home);
    gateway.stop();
    let snapshot = home.path().join("snapshot");
    copy(&home.data_dir(), &snapshot);
    let gateway = home.serve();
    home.run(&["token", "revoke", "lost"]).ended(0);
    home.run(&["ae", "deny", "CT_1"]).ended(0);
    exported(&home);
    gateway.stop();
    burn(&home);
    copy(&snapshot, &home.data_dir());

    let mut gateway = home.serve();
    for expected in ["restored from a copy", "is known again", "association-refused", "a request was refused"]
    {
        gateway.expect_log(expected);
    }
    assert_eq!((bearing(&gateway, &viewer), bearing(&gateway, &lost)), (200, 401));
    wait_for("the rule is known again", SOON, || (!echoes(&gateway, "CT_1")).then_some(()));
    gateway.stop();
}

/// One export for both, whoever decided.
#[test]
fn two_nodes_of_one_catalog_export_once() {
    let Some(site) = Site::of(exporting) else { return };
    let [first, second] = &site.homes;
    let gateways = [first.serve(), second.serve()];
    let count = || exports(first).len();
    assert_eq!(count(), 0, "nothing was decided");
    first.run(&["ae", "allow", "CT_1"]).ended(0);
    let told = exported(second);
    assert_eq!(exported(first), told, "both say the same");
    assert_eq!(count(), 1);
    second.run(&["ae", "allow", "CT_2"]).ended(0);
    let told = exported(first);
    assert_eq!(exported(second)["object"], told["object"]);
    assert_eq!(count(), 2);
    // A sheet that was typed back at one of them is no reason for the other to say something else.
    confirm_sheet(first);
    exported(second);
    exported(first);
    assert_eq!(count(), 3);
    gateways.into_iter().for_each(Gateway::stop);
}
