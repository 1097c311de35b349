//! Kill -9 under load: what was acknowledged is there afterwards, byte for byte, and nothing is there twice.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::dicom::{File, Image};
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::process::finish_child;
use crate::support::{Dice, files_below};

const ASSOCIATIONS: &str = "4";
const IMAGES_PER_ROUND: u64 = 120;
const SENDER_DEADLINE: Duration = Duration::from_secs(120);
/// After the last acknowledgement seen, the kill comes somewhere within this: inside a sync, between two, in a pack.
const LAST_WAIT_MS: u64 = 40;

#[test]
fn every_acknowledged_instance_survives_every_kill() {
    let kills: u64 = number_from("FILMGATE_TEST_KILLS").unwrap_or(12);
    let seed = number_from("FILMGATE_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut story = Story::new(seed);
    for kill in 0..kills {
        story.kill_under_load(kill);
    }
    story.check(kills);
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

struct Story {
    home: Home,
    dice: Dice,
    seed: u64,
    /// Every image there is, by SOP Instance UID.
    images: HashMap<String, Image>,
    acknowledged: HashSet<String>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let home = Home::new().set("PACK__QUIET_MS", 100);
        std::fs::create_dir(home.path().join("send")).expect("make a folder");
        Self { home, dice: Dice(seed), seed, images: HashMap::new(), acknowledged: HashSet::new() }
    }

    /// Serves, sends what is not acknowledged yet and as many again over four associations, and kills the gateway
    /// after a random number of acknowledgements.
    fn kill_under_load(&mut self, round: u64) {
        for number in 1..=IMAGES_PER_ROUND {
            let samples = 1_000 + self.dice.below(30_000) as usize;
            let image =
                Image { samples: self.dice.bytes(2 * samples), ..Image::of_study(1000 + round, number) };
            image.write(&self.home.path().join("send"));
            self.images.insert(image.sop_instance_uid.clone(), image);
        }
        let gateway = self.home.serve();
        let wanted = self.dice.below(IMAGES_PER_ROUND);
        let pause = Duration::from_micros(self.dice.below(LAST_WAIT_MS * 1000));
        for uid in self.send_until(&gateway, wanted, pause) {
            let path = self.home.path().join("send").join(format!("{uid}.dcm"));
            std::fs::remove_file(path).expect("an acknowledged file is not sent again");
            assert!(
                self.acknowledged.insert(uid.clone()),
                "{uid} was acknowledged twice (seed {})",
                self.seed
            );
        }
        assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    }

    /// The SOP Instance UIDs acknowledged until the sender gave up.
    fn send_until(&self, gateway: &Gateway, wanted: u64, pause: Duration) -> Vec<String> {
        let folder = self.home.path().join("send").display().to_string();
        let arguments =
            ["send", &gateway.dicom, &folder, "--aec", AE_TITLE, "--associations", ASSOCIATIONS, "--json"];
        let mut sender = self.home.filmgate(&arguments);
        let mut sender =
            sender.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the sender");
        let stdout = BufReader::new(sender.stdout.take().expect("stdout is piped"));
        let (heard, acknowledgements) = mpsc::channel();
        let listening = thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| stored(&line))
                .for_each(|uid| drop(heard.send(uid)));
        });
        let mut uids: Vec<String> = acknowledgements.iter().take(wanted as usize).collect();
        thread::sleep(pause);
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(gateway.pid() as i32).expect("a process id"),
            rustix::process::Signal::KILL,
        )
        .expect("kill the gateway");
        finish_child(sender, SENDER_DEADLINE, "filmgate send");
        listening.join().expect("the sender's lines");
        uids.extend(acknowledgements.try_iter());
        uids
    }

    fn check(&self, kills: u64) {
        let gateway = self.home.serve();
        let records = gateway.settled(self.acknowledged.len());
        let record_ids: HashSet<&str> = records.iter().map(|record| record.record_id.as_str()).collect();
        assert_eq!(record_ids.len(), records.len(), "a record is listed twice (seed {})", self.seed);
        let mut studies: Vec<&str> =
            self.images.values().map(|image| image.study_instance_uid.as_str()).collect();
        studies.sort_unstable();
        studies.dedup();
        let mut found = HashSet::new();
        for study in studies {
            found.extend(self.check_study(&gateway, study));
        }
        let lost: Vec<&String> = self.acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "acknowledged and gone (seed {}): {lost:?}", self.seed);
        println!(
            "{kills} kills, {} of {} images acknowledged, {} found, seed {}",
            self.acknowledged.len(),
            self.images.len(),
            found.len(),
            self.seed
        );
        self.home.run(&["verify", "--deep", "--json"]).ended(0);
        gateway.stop();
    }

    /// Looks at one study by QIDO-RS, WADO-RS and export; the SOP Instance UIDs that are there.
    fn check_study(&self, gateway: &Gateway, study: &str) -> HashSet<String> {
        let answer = gateway
            .web
            .get(&format!("/dicomweb/studies/{study}/instances?limit=10000"), "application/dicom+json");
        let rows: Vec<Value> = if answer.status == 204 { Vec::new() } else { answer.ok().json() };
        if rows.is_empty() {
            return HashSet::new();
        }
        let uids: HashSet<String> = rows.iter().map(|row| text(&row["00080018"]["Value"][0])).collect();
        assert_eq!(uids.len(), rows.len(), "an instance of {study} is answered twice (seed {})", self.seed);
        for uid in uids.iter().step_by(7) {
            let image = &self.images[uid];
            let file = gateway.web.instance(study, &image.series_instance_uid, uid).expect("the instance");
            assert!(file.dataset() == image.dataset(), "{uid} by WADO-RS differs (seed {})", self.seed);
        }
        let out = self.home.path().join(format!("out-{study}"));
        self.home.run(&["export", "--study", study, "--out", &out.display().to_string(), "--json"]).ended(0);
        let mut exported = HashSet::new();
        for path in files_below(&out) {
            let file = File::read(&path);
            let image = &self.images[&file.sop_instance_uid];
            assert!(file.dataset() == image.dataset(), "{} differs (seed {})", path.display(), self.seed);
            assert!(exported.insert(file.sop_instance_uid), "{} is exported twice", path.display());
        }
        assert_eq!(exported, uids, "export and QIDO-RS disagree on {study}");
        uids
    }
}

/// The UID of a line of `send --json` that says stored.
fn stored(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["outcome"] == "stored").then(|| text(&line["sop_instance_uid"]))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
