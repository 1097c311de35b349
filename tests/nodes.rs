//! Two nodes of a site over one PostgreSQL and one bucket: each gives what the other lacks, and what dies with one is
//! neither lost nor doubled.

use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::support::dicom::{File, Image};
use crate::support::gateway::{AE_TITLE, Gateway, Home, Record};
use crate::support::process::finish;
use crate::support::servers::Database;
use crate::support::{Dice, files_below, wait_for};

const DEADLINE: Duration = Duration::from_secs(60);
/// So long that nothing is packed while the story lasts.
const NEVER_MS: u64 = 3_600_000;

/// The nodes, and what they share.
pub(crate) struct Site {
    pub(crate) homes: [Home; 2],
    pub(crate) database: Database,
}

impl Site {
    fn new() -> Option<Self> {
        Self::of(|home| home)
    }

    /// Both with these settings too.
    pub(crate) fn of(with: impl Fn(Home) -> Home) -> Option<Self> {
        let database = Database::make()?;
        let first = with(Self::node(Home::new(), &database));
        // The same bucket and key of keys; everything else is its own. The first is of the site before the second joins.
        let (bucket, key) = (first.bucket_dir(), first.key_path());
        first.serve().stop();
        let second = with(Self::node(Home::new(), &database))
            .set("BUCKET__MAIN__PATH", bucket.display())
            .set("NODE__KEY_FILE", key.display());
        Some(Self { homes: [first, second], database })
    }

    fn node(home: Home, database: &Database) -> Home {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        home.set("CATALOG__URL", database.url())
            .set("WEB__BIND", port)
            .set("PEERS__URL", format!("http://{port}"))
            .set("PEERS__ANNOUNCE_MS", 200)
            .set("PEERS__ABSENT_AFTER_MS", 2000)
    }

    fn serve(&self, node: usize) -> Gateway {
        self.homes[node].serve()
    }

    /// Sends images to a node and gives the UIDs it acknowledged.
    fn send(&self, node: usize, to: &Gateway, images: &[Image]) -> HashSet<String> {
        let folder = self.homes[node].path().join(format!("send-{}", images[0].study_instance_uid));
        std::fs::create_dir_all(&folder).expect("make a folder");
        images.iter().for_each(|image| drop(image.write(&folder)));
        let folder = folder.display().to_string();
        let sent = self.homes[node].run(&["send", &to.dicom, &folder, "--aec", AE_TITLE, "--json"]);
        let stored = sent.lines::<serde_json::Value>().into_iter().filter(|line| line["outcome"] == "stored");
        stored.filter_map(|line| line["sop_instance_uid"].as_str().map(str::to_owned)).collect()
    }

    /// Names of the packs in the bucket.
    fn packs(&self) -> usize {
        files_below(&self.homes[0].bucket_dir().join("v1/pack")).len()
    }
}

fn images(study: u64, count: u64) -> Vec<Image> {
    let mut dice = Dice(study);
    (1..=count).map(|number| Image { samples: dice.bytes(9_000), ..Image::of_study(study, number) }).collect()
}

fn given(by: &Gateway, image: &Image) -> Result<File, String> {
    by.web.instance(&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid)
}

fn gives_all(by: &Gateway, images: &[Image]) {
    for image in images {
        let file = given(by, image).unwrap_or_else(|why| panic!("{}: {why}", image.sop_instance_uid));
        assert!(file.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
    }
}

fn listed(by: &Gateway, image: &Image) -> Vec<Record> {
    by.records_of(&image.sop_instance_uid)
}

/// What one node has received and nothing else holds yet, the other gives all the same; while the first is away it says
/// so, and afterwards it is back.
#[test]
fn what_one_node_holds_the_other_gives_and_an_absent_node_is_said_to_hold_it() {
    let Some(site) = Site::new() else { return };
    let (verified, held) = (images(9_101, 6), images(9_102, 6));
    let first = site.serve(0);
    assert_eq!(site.send(0, &first, &verified).len(), verified.len());
    first.settled(verified.len());
    first.stop();

    let homes = &site.homes;
    let first = homes[0].serve_with(&[("PACK__QUIET_MS", NEVER_MS), ("PACK__AGE_MS", NEVER_MS)]);
    let mut second = site.serve(1);
    assert_eq!(site.send(0, &first, &held).len(), held.len());
    wait_for("the other node lists what came", DEADLINE, || {
        held.iter().all(|image| listed(&second, image).len() == 1).then_some(())
    });
    gives_all(&second, &verified);
    gives_all(&second, &held);
    let study = &held[0].study_instance_uid;
    let metadata =
        second.web.get(&format!("/dicomweb/studies/{study}/metadata"), "application/dicom+json").ok();
    let there = first.web.get(&format!("/dicomweb/studies/{study}/metadata"), "application/dicom+json").ok();
    assert_eq!(metadata.body, there.body, "the same metadata by either node");

    first.kill();
    second.expect_log("held by node");
    wait_for("what the dead node holds is absent", DEADLINE, || {
        held.iter()
            .all(|image| listed(&second, image).iter().all(|record| record.state == "absent"))
            .then_some(())
    });
    gives_all(&second, &verified);
    let refused = given(&second, &held[0]).expect_err("nobody has its bytes now");
    assert!(refused.contains("503") && refused.contains("held by node"), "{refused}");

    let first = site.serve(0);
    wait_for("it is all verified again", DEADLINE, || {
        held.iter()
            .all(|image| listed(&second, image).iter().all(|record| record.state == "verified"))
            .then_some(())
    });
    gives_all(&second, &held);
    first.stop();
    second.stop();
}

/// The same images to both nodes at once: each is acknowledged by both, answered once, and nothing is lost when either
/// node dies on the way.
#[test]
fn both_nodes_killed_in_turn_under_load_lose_nothing_and_count_nothing_twice() {
    let Some(site) = Site::new() else { return };
    let studies: Vec<Vec<Image>> = (0..6).map(|study| images(9_200 + study, 20)).collect();
    let mut acknowledged: BTreeMap<String, usize> = BTreeMap::new();
    for (round, study) in studies.iter().enumerate() {
        let gateways = [site.serve(0), site.serve(1)];
        let doomed = round % 2;
        let sent = thread::scope(|scope| {
            let senders: Vec<_> = (0..2)
                .map(|node| {
                    let (site, to) = (&site, &gateways[node]);
                    scope.spawn(move || site.send(node, to, study))
                })
                .collect();
            thread::sleep(Duration::from_millis(60 * (round as u64 + 1)));
            let pid = rustix::process::Pid::from_raw(gateways[doomed].pid() as i32).expect("a process id");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill it");
            senders.into_iter().map(|sender| sender.join().expect("a sender")).collect::<Vec<_>>()
        });
        for uid in sent.into_iter().flatten() {
            *acknowledged.entry(uid).or_default() += 1;
        }
    }
    let gateways = [site.serve(0), site.serve(1)];
    wait_for("everything is verified", Duration::from_secs(120), || {
        let records = gateways[0].records();
        (records.iter().all(|record| record.state == "verified")
            && acknowledged
                .keys()
                .all(|uid| records.iter().any(|record| record.sop_instance_uid.as_deref() == Some(uid))))
        .then_some(())
    });
    let all: Vec<Image> = studies.into_iter().flatten().collect();
    for gateway in &gateways {
        for image in all.iter().filter(|image| acknowledged.contains_key(&image.sop_instance_uid)) {
            let file =
                given(gateway, image).unwrap_or_else(|why| panic!("{}: {why}", image.sop_instance_uid));
            assert!(file.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
        }
    }
    let records = gateways[1].records();
    let distinct: HashSet<&str> = records.iter().map(|record| record.record_id.as_str()).collect();
    assert_eq!(distinct.len(), records.len(), "a record is listed twice");
    println!("{} acknowledged, {} records, {} packs", acknowledged.len(), records.len(), site.packs());
    let [first, second] = gateways;
    first.stop();
    second.stop();
}

/// What a node had received and nobody else has goes on at another, once its data directory is adopted there: all of it
/// verified, none of it twice, however often the adoption is cut.
#[test]
fn what_a_dead_node_held_is_adopted_by_another() {
    let Some(site) = Site::new() else { return };
    let (verified, held) = (images(9_301, 5), images(9_302, 40));
    let first = site.serve(0);
    site.send(0, &first, &verified);
    first.settled(verified.len());
    first.stop();
    let [dead, heir] = &site.homes;
    let first = dead.serve_with(&[("PACK__QUIET_MS", NEVER_MS), ("PACK__AGE_MS", NEVER_MS)]);
    assert_eq!(site.send(0, &first, &held).len(), held.len());
    // Some of it came to the other node as well, and is safe.
    let second = site.serve(1);
    site.send(1, &second, &held[..3]);
    wait_for("what came to the other is verified", DEADLINE, || {
        let is_verified = |image: &Image| listed(&second, image).iter().any(|row| row.state == "verified");
        held[..3].iter().all(is_verified).then_some(())
    });
    second.stop();

    let dir = dead.data_dir().display().to_string();
    let alive = heir.run(&["adopt", &dir]);
    assert!(alive.code != Some(0) && alive.err.contains("must not run"), "{}", alive.err);
    first.kill();
    let mut soon = heir.filmgate(&["adopt", &dir]);
    let soon = finish(soon.env("FILMGATE__PEERS__ABSENT_AFTER_MS", "600000"), DEADLINE);
    assert!(soon.code != Some(0) && soon.err.contains("was there a moment ago"), "{}", soon.err);
    wait_for("it counts as absent", DEADLINE, || {
        // Cut off at any moment of it.
        for milliseconds in [30, 90, 150, 220] {
            let mut cut = heir.filmgate(&["adopt", &dir, "--json"]).spawn().expect("begin to adopt");
            thread::sleep(Duration::from_millis(milliseconds));
            let _ = cut.kill();
            cut.wait().expect("wait for it");
        }
        let adopted = heir.run(&["adopt", &dir, "--json"]);
        (adopted.code == Some(0)).then_some(())
    });
    let again = heir.run(&["adopt", &dir, "--json"]).ended(0).json();
    assert_eq!((&again["records"], &again["packs"]), (&0.into(), &0.into()), "there is nothing left to do");
    let back = dead.run(&["serve"]);
    assert!(back.code != Some(0) && back.err.contains("was adopted by node"), "{}", back.err);

    let second = site.serve(1);
    wait_for("all of it is verified, each once", DEADLINE, || {
        held.iter()
            .all(|image| {
                let rows = listed(&second, image);
                rows.len() == 1 && rows[0].state == "verified"
            })
            .then_some(())
    });
    gives_all(&second, &verified);
    gives_all(&second, &held);
    assert_eq!(second.status()["nodes"].as_array().map(Vec::len), Some(1), "nobody waits for the dead one");
    second.stop();
    heir.run(&["verify", "--deep"]).ended(0);
}

/// Packs verified by a version that kept no log are in it from the next start on.
#[test]
fn packs_verified_before_there_was_a_log_are_named_by_it() {
    let Some(site) = Site::new() else { return };
    let sent = images(9_401, 4);
    let first = site.serve(0);
    site.send(0, &first, &sent);
    first.settled(sent.len());
    first.stop();
    let home = &site.homes[0];
    for log in [home.bucket_dir().join("v1/log"), home.data_dir().join("log")] {
        std::fs::remove_dir_all(log).expect("there was no log");
    }
    site.database.does("UPDATE index_packs SET logged_at = NULL");
    let first = site.serve(0);
    wait_for("they are named", DEADLINE, || {
        let unnamed = first.status()["log"]["waiting"] != 0;
        (!unnamed && !files_below(&home.bucket_dir().join("v1/log")).is_empty()).then_some(())
    });
    first.settled(sent.len());
    first.stop();
    let rebuilt = home.run(&["rebuild", "--json"]).ended(0).json();
    assert_eq!((&rebuilt["packs_unnamed"], &rebuilt["instances"]), (&0.into(), &4.into()), "{rebuilt}");
}
