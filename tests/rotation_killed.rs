//! The keys of a site are changed under a gateway that receives, and both are killed again and again: the change comes to its
//! end, nothing that was acknowledged is lost, and nothing is left of what was given up.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::keys::{check_rotated, many_study_keys};
use crate::support::dicom::Image;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::{Dice, wait_for};

const SOON: Duration = Duration::from_secs(120);
/// Rounds in which the gateway is killed, at most.
const KILLS: usize = 5;

fn count() -> usize {
    std::env::var("FILMGATE_TEST_ROTATED_KEYS").map_or(1000, |count| count.parse().expect("a number"))
}

/// Its DICOM door stays where it is over restarts, so that a sender need not know of them.
fn home() -> (Home, String) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let home = Home::new()
        .set("DICOM__BIND", port)
        .set("UPLOAD__RETRY_DELAY_MIN_MS", 100)
        .set("UPLOAD__RETRY_DELAY_MAX_MS", 500);
    (home, port.to_string())
}

/// Sends one image after the other, whoever is there, until it is told to stop; those that were acknowledged.
struct Sender<'a> {
    home: &'a Home,
    to: &'a str,
    over: &'a AtomicBool,
    acknowledged: Mutex<BTreeMap<String, Image>>,
    tried: AtomicU64,
}

impl Sender<'_> {
    fn run(&self, study: u64) {
        let folder = self.home.path().join("send");
        fs::create_dir_all(&folder).expect("make a folder");
        for number in 1.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let image = Image::of_study(study + number % 7, number);
            let file = image.write(&folder).display().to_string();
            self.tried.fetch_add(1, Ordering::SeqCst);
            let sent =
                self.home.run(&["send", self.to, &file, "--aec", AE_TITLE, "--json", "--timeout", "5"]);
            if sent.lines::<Value>().iter().any(|line| line["outcome"] == "stored") {
                self.acknowledged.lock().expect("the list").insert(image.sop_instance_uid.clone(), image);
            }
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("the list").len()
    }
}

/// Asks the gateway for a change of its keys, and kills it a moment after the change began; the gateway, when the change came to its
/// end before, or is not to be killed.
fn killed_amid(
    home: &Home,
    gateway: Gateway,
    arguments: &[&str],
    moment: Option<Duration>,
) -> Option<Gateway> {
    let mut command = home.filmgate(&[&["key", "rotate", "--json"], arguments].concat());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start it");
    let mut said = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let Some(moment) = moment else {
        said.for_each(drop);
        assert!(child.wait().expect("its end").success(), "the change did not come to its end");
        return Some(gateway);
    };
    let first: Option<Value> =
        said.next().and_then(Result::ok).and_then(|line| serde_json::from_str(&line).ok());
    let began = first.is_some_and(|line| line["event"] == "under");
    if !began && child.wait().expect("its end").success() {
        return Some(gateway);
    }
    thread::sleep(moment);
    gateway.kill();
    // Whom it asked is gone.
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn serve(home: &Home) -> Gateway {
    let mut gateway = home.serve();
    for expected in ["content", "was aborted", "the site key was not changed", "association"] {
        gateway.expect_log(expected);
    }
    gateway
}

/// Until the change is over, killed on the way; how often it was.
fn until_over(home: &Home, arguments: &[&str], dice: &mut Dice) -> usize {
    let mut killed = 0;
    loop {
        let gateway = serve(home);
        let moment = (killed < KILLS).then(|| Duration::from_millis(dice.below(400)));
        match killed_amid(home, gateway, arguments, moment) {
            Some(gateway) => {
                gateway.stop();
                return killed;
            }
            None => killed += 1,
        }
    }
}

fn gives_all(gateway: &Gateway, images: &BTreeMap<String, Image>) {
    for image in images.values() {
        let uid = &image.sop_instance_uid;
        let file = gateway.web.instance(&image.study_instance_uid, &image.series_instance_uid, uid);
        assert!(file.expect("it is given").dataset() == image.dataset(), "{uid} differs");
    }
}

/// 10,000 keys in `cargo xtask soak`.
#[test]
fn a_gateway_that_is_killed_amid_a_rotation_goes_on_and_loses_nothing() {
    let ((home, to), mut dice) = (home(), Dice(9601));
    home.serve().stop();
    let keys = many_study_keys(&home, count());
    let over = AtomicBool::new(false);
    let sender = Sender {
        home: &home,
        to: &to,
        over: &over,
        acknowledged: Mutex::default(),
        tried: AtomicU64::new(0),
    };
    let (rotated, finished) = thread::scope(|scope| {
        scope.spawn(|| sender.run(9_610));
        let rotated = until_over(&home, &[], &mut dice);
        check_rotated(&home, &keys, &[1, 2], true);
        let finished = until_over(&home, &["--finish", "--now"], &mut dice);
        // What arrives between the changes is sealed under the new key.
        let gateway = serve(&home);
        let before = sender.count();
        wait_for("it receives on", SOON, || (sender.count() > before + 2).then_some(()));
        over.store(true, Ordering::SeqCst);
        gateway.stop();
        (rotated, finished)
    });
    let (acknowledged, tried) = (sender.count(), sender.tried.load(Ordering::SeqCst));
    println!(
        "{} keys: killed {rotated} times amid a rotation, {finished} amid its end; {acknowledged} of {tried} images \
         acknowledged meanwhile",
        keys.len()
    );
    assert!(rotated > 0, "it was never killed");
    check_rotated(&home, &keys, &[2], false);
    let images = sender.acknowledged.into_inner().expect("the list");
    let gateway = serve(&home);
    wait_for("all of it is verified", SOON, || {
        let states = gateway.status()["states"].clone();
        let open = ["received", "packed", "uploaded", "retrying"];
        open.iter().all(|state| states[*state] == 0).then_some(())
    });
    gives_all(&gateway, &images);
    gateway.stop();
    home.run(&["verify", "--deep", "--json"]).ended(0);
    earlier_are_gone(&home);
}

/// Of no key of a study or a log an object is left that an earlier site key wraps.
fn earlier_are_gone(home: &Home) {
    let ids = fs::read_dir(home.bucket_keys_dir().join("v1/key")).expect("the keys");
    for id in ids.map(|entry| entry.expect("an entry").path()) {
        let left = fs::read_dir(&id).expect("its generations").count();
        assert_eq!(left, 1, "{} has earlier generations", id.display());
    }
}

fn key_file(home: &Home, number: usize) -> (std::path::PathBuf, String) {
    let (key, to) = (home.path().join(format!("{number}.key")), home.path().join(format!("{number}.toml")));
    fs::write(&to, format!("[node]\nkey_file = \"{}\"\n", key.display())).expect("settings");
    (key, to.display().to_string())
}

/// `key rotate --kek`, killed after a moment. Whatever it had done by then, the old key file or the new one opens everything, and
/// asked again it comes to its end.
#[test]
fn a_change_of_the_key_of_keys_that_is_killed_leaves_one_that_opens() {
    let (mut home, _) = home();
    let mut dice = Dice(9602);
    let gateway = home.serve();
    let images: Vec<_> = (1..=3).map(|number| Image::of_study(9_620, number)).collect();
    let files: Vec<_> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(&gateway, &files);
    gateway.settled(images.len());
    gateway.stop();
    let images: BTreeMap<_, _> =
        images.into_iter().map(|image| (image.sop_instance_uid.clone(), image)).collect();
    let (mut amid, mut changed) = (0, 0);
    for number in 0..8 {
        let (key, to) = key_file(&home, number);
        let mut command = home.filmgate(&["key", "rotate", "--kek", "--to", &to]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.as_mut().expect("start it");
        thread::sleep(Duration::from_millis(dice.below(120)));
        let _ = child.kill();
        amid += usize::from(!child.wait().expect("its end").success());
        // With the settings of before: either nothing was changed, or they say that it was.
        let again = home.run(&["key", "rotate", "--kek", "--to", &to]);
        if again.code != Some(0) {
            assert!(again.err.contains("key"), "{}", again.err);
            changed += 1;
        }
        home = home.set("NODE__KEY_FILE", key.display());
        let gateway = serve(&home);
        gives_all(&gateway, &images);
        gateway.stop();
        assert!(Path::new(&key).exists());
    }
    println!("8 changes of the key of keys, killed {amid} times; {changed} of them were done by then");
    assert!(amid > 0, "it was never killed");
    home.run(&["verify", "--deep", "--json"]).ended(0);
}
