//! Two nodes of a site over one PostgreSQL and one bucket: each gives what the other lacks, and what dies with one is
//! neither lost nor doubled.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::dicom::{File, Image};
use crate::support::gateway::{AE_TITLE, Gateway, Home, Record};
use crate::support::process::finish;
use crate::support::servers::Database;
use crate::support::store::Store;
use crate::support::{Dice, wait_for};

const DEADLINE: Duration = Duration::from_secs(60);
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
/// So long that nothing is packed while the story lasts.
const NEVER_MS: u64 = 3_600_000;
/// Numbers of studies that are sent without a pause.
const STREAMS_FROM: u64 = 10_000;
const STUDIES_OF_STREAM: u64 = 1_000;

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
        // The same buckets and key of keys; everything else is its own. The first is of the site before the second joins.
        let key = first.key_path();
        first.serve().stop();
        let second = with(Self::node(Home::new(), &database))
            .with_buckets_of(&first)
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
        let folder = self.homes[node].path().join(format!("send-{}", images[0].sop_instance_uid));
        std::fs::create_dir_all(&folder).expect("make a folder");
        images.iter().for_each(|image| drop(image.write(&folder)));
        let folder = folder.display().to_string();
        let sent = self.homes[node].run(&["send", &to.dicom, &folder, "--aec", AE_TITLE, "--json"]);
        let stored = sent.lines::<serde_json::Value>().into_iter().filter(|line| line["outcome"] == "stored");
        stored.filter_map(|line| line["sop_instance_uid"].as_str().map(str::to_owned)).collect()
    }

    fn store(&self) -> &Store {
        self.homes[0].store()
    }

    /// The packs in the bucket, which must be those the catalog knows, each put there once.
    fn packs_put_once(&self) -> usize {
        let known = "SELECT encode(pack_id, 'hex') FROM index_packs WHERE state <> 'deleted' ORDER BY 1";
        let known: Vec<String> =
            self.database.tells(known).iter().map(|id| format!("v1/pack/{id}")).collect();
        assert_eq!(self.store().names("v1/pack/"), known, "packs of the bucket, packs of the catalog");
        let twice: Vec<_> = self.store().times_put().into_iter().filter(|(_, times)| *times > 1).collect();
        assert!(twice.is_empty(), "put more than once: {twice:?}");
        known.len()
    }

    /// While a node runs, another sends it one image after the other of studies that nobody else gets, until it is
    /// told to end or the node is gone. What was sent, and what of it was acknowledged.
    fn stream(&self, node: usize, to: &Gateway, study: u64, over: &AtomicBool) -> Streamed {
        let mut streamed = Streamed::default();
        for number in 0.. {
            if over.load(Ordering::SeqCst) {
                break;
            }
            // Some of one study, then the next: those before are packed and uploaded while these arrive.
            let some = images(study + number / 4, 3 * (number % 4 + 1)).split_off(3 * (number as usize % 4));
            let acknowledged = self.send(node, to, &some);
            let is_gone = acknowledged.len() < some.len();
            streamed.acknowledged.extend(acknowledged);
            streamed.sent.extend(some);
            if is_gone {
                break;
            }
        }
        streamed
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
    images.iter().for_each(|image| gives(by, image));
}

/// Byte for byte.
fn gives(by: &Gateway, image: &Image) {
    let file = given(by, image).unwrap_or_else(|why| panic!("{}: {why}", image.sop_instance_uid));
    assert!(file.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
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

/// The same images to both nodes at once: each is acknowledged by both, found once, and nothing is lost when either
/// node dies on the way.
#[test]
fn what_both_nodes_get_at_once_is_found_once() {
    let Some(site) = Site::new() else { return };
    let studies: Vec<Vec<Image>> = (0..4).map(|study| images(9_200 + study, 20)).collect();
    let mut acknowledged = BTreeSet::new();
    for (round, study) in studies.iter().enumerate() {
        let gateways = [site.serve(0), site.serve(1)];
        let sent = thread::scope(|scope| {
            let senders: Vec<_> = (0..2)
                .map(|node| {
                    let (site, to) = (&site, &gateways[node]);
                    scope.spawn(move || site.send(node, to, study))
                })
                .collect();
            thread::sleep(Duration::from_millis(60 * (round as u64 + 1)));
            gateways[round % 2].signal(Signal::KILL);
            senders.into_iter().map(|sender| sender.join().expect("a sender")).collect::<Vec<_>>()
        });
        acknowledged.extend(sent.into_iter().flatten());
    }
    let gateways = [site.serve(0), site.serve(1)];
    wait_for("everything is verified", DRAINED_WITHIN, || {
        let records = gateways[0].records();
        let known: BTreeSet<_> = records.iter().filter_map(|row| row.sop_instance_uid.clone()).collect();
        let all_verified = records.iter().all(|record| record.state == "verified");
        (all_verified && acknowledged.is_subset(&known)).then_some(())
    });
    let all: Vec<Image> = studies.iter().flatten().cloned().collect();
    let of_acknowledged = |image: &&Image| acknowledged.contains(&image.sop_instance_uid);
    for gateway in &gateways {
        for image in all.iter().filter(of_acknowledged) {
            gives(gateway, image);
        }
        for study in &studies {
            let uid = &study[0].study_instance_uid;
            let found = searched(gateway, &format!("/dicomweb/studies/{uid}/instances"));
            let distinct: BTreeSet<String> = found.iter().map(|row| value(row, "00080018")).collect();
            assert_eq!(distinct.len(), found.len(), "an instance is found twice");
            for row in searched(gateway, &format!("/dicomweb/studies?StudyInstanceUID={uid}")) {
                assert_eq!(row["00201208"]["Value"][0], found.len(), "counted as often as it is found");
            }
        }
    }
    let records = gateways[1].records();
    let distinct: BTreeSet<&str> = records.iter().map(|record| record.record_id.as_str()).collect();
    assert_eq!(distinct.len(), records.len(), "a record is listed twice");
    let packs = site.packs_put_once();
    println!("{} acknowledged, {} records, {packs} packs", acknowledged.len(), records.len());
    let [first, second] = gateways;
    first.stop();
    second.stop();
}

/// What was sent to a node, and what of it was acknowledged.
#[derive(Default)]
struct Streamed {
    sent: Vec<Image>,
    acknowledged: HashSet<String>,
}

/// Ends a stream when this is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Everything sent so far.
#[derive(Default)]
struct Sent {
    /// Who acknowledged each.
    by: BTreeMap<String, usize>,
}

impl Sent {
    /// Adds what a node was sent; what it did not acknowledge.
    fn add(&mut self, node: usize, streamed: Streamed) -> Vec<Image> {
        let (known, unknown): (Vec<_>, Vec<_>) = streamed
            .sent
            .into_iter()
            .partition(|image| streamed.acknowledged.contains(&image.sop_instance_uid));
        self.by.extend(known.into_iter().map(|image| (image.sop_instance_uid, node)));
        unknown
    }

    /// The rows of each, of those that are listed.
    fn rows<'a>(&self, records: &'a [Record]) -> BTreeMap<&'a str, Vec<&'a Record>> {
        let mut rows: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in records {
            rows.entry(record.sop_instance_uid.as_deref().unwrap_or_default()).or_default().push(record);
        }
        assert!(rows.keys().all(|uid| self.by.contains_key(*uid)), "something nobody has sent");
        rows
    }
}

/// Each image goes to one node, under load that never pauses; the nodes are killed in turn. While one is dead the other
/// gives whatever was verified and says of the rest who holds it; what was not acknowledged is sent again, to the
/// other. In the end everything is there once, in packs that were put once. `FILMGATE_TEST_NODE_ROUNDS` makes it longer.
#[test]
fn both_nodes_killed_in_turn_under_load_lose_nothing_and_do_nothing_twice() {
    let Some(site) = Site::new() else { return };
    let rounds =
        std::env::var("FILMGATE_TEST_NODE_ROUNDS").map_or(4, |rounds| rounds.parse().expect("a number"));
    let (mut sent, mut held, mut read) = (Sent::default(), 0, 0);
    for round in 0..rounds {
        let mut gateways = [site.serve(0), site.serve(1)];
        let (doomed, survivor) = (round % 2, (round + 1) % 2);
        gateways[survivor].expect_log("held by node");
        let [ends_doomed, ends_survivor] = [AtomicBool::new(false), AtomicBool::new(false)];
        let streams = thread::scope(|scope| {
            let stream = |node: usize, over| {
                let (site, to) = (&site, &gateways[node]);
                let study = first_study(round, node);
                scope.spawn(move || site.stream(node, to, study, over))
            };
            // Also when something fails here, or the streams would be waited for.
            let _ends = [Ends(&ends_doomed), Ends(&ends_survivor)];
            let (of_doomed, of_survivor) = (stream(doomed, &ends_doomed), stream(survivor, &ends_survivor));
            wait_for("some of what the doomed one takes is safe while more arrives", DEADLINE, || {
                let verified = verified_of(&gateways[survivor]);
                (verified.iter().filter(|uid| stream_of(uid) == (round, doomed)).count() >= 6).then_some(())
            });
            gateways[doomed].signal(Signal::KILL);
            let of_doomed = of_doomed.join().expect("a sender");
            // The other goes on receiving, and gives all that was verified.
            let verified = verified_of(&gateways[survivor]);
            wait_for("what the dead node alone holds is said to be absent", DEADLINE, || {
                let records = gateways[survivor].records();
                let waiting = |record: &&Record| !is_said_where(&record.state);
                let of_dead = |record: &&Record| {
                    let uid = record.sop_instance_uid.as_deref().unwrap_or_default();
                    of_doomed.acknowledged.contains(uid)
                };
                (!records.iter().filter(waiting).any(|record| of_dead(&record))).then_some(())
            });
            for uid in &verified {
                gives(&gateways[survivor], &image_of(uid));
            }
            read += verified.len();
            ends_survivor.store(true, Ordering::SeqCst);
            (of_doomed, of_survivor.join().expect("a sender"))
        });
        let unknown = sent.add(doomed, streams.0);
        assert!(sent.add(survivor, streams.1).is_empty(), "the survivor takes all");
        if !unknown.is_empty() {
            let acknowledged = site.send(survivor, &gateways[survivor], &unknown);
            assert_eq!(acknowledged.len(), unknown.len());
            sent.add(survivor, Streamed { sent: unknown, acknowledged });
        }
        // Verified before the other is back: what that one received and could not acknowledge any more is no second copy.
        let records = wait_for("what the survivor has is verified", DRAINED_WITHIN, || {
            let records = gateways[survivor].records();
            let settled = |record: &Record| {
                let by = record.sop_instance_uid.as_ref().and_then(|uid| sent.by.get(uid));
                record.state == "verified" || (by == Some(&doomed) && is_said_where(&record.state))
            };
            let all_listed = {
                let listed: HashSet<&str> =
                    records.iter().filter_map(|record| record.sop_instance_uid.as_deref()).collect();
                sent.by.iter().all(|(uid, node)| *node == doomed || listed.contains(uid.as_str()))
            };
            (all_listed && records.iter().all(settled)).then_some(records)
        });
        let rows = sent.rows(&records);
        for (uid, rows) in &rows {
            assert_eq!(rows.len(), 1, "{uid} is listed once");
            let by_dead = sent.by[*uid] == doomed;
            assert!(rows[0].state == "verified" || by_dead, "{uid} is {}", rows[0].state);
            if rows[0].state == "uploaded" {
                gives(&gateways[survivor], &image_of(uid));
            }
            if rows[0].state == "absent" {
                held += 1;
                let refused = given(&gateways[survivor], &image_of(uid)).expect_err("nobody has its bytes");
                assert!(refused.contains("held by node"), "{refused}");
            }
        }
        let [first, second] = gateways;
        if survivor == 0 { first.stop() } else { second.stop() }
    }
    let gateways = [site.serve(0), site.serve(1)];
    wait_for("everything is back and verified", DRAINED_WITHIN, || {
        let status = gateways[0].status();
        let count = |state: &str| status["states"][state].as_u64();
        (count("verified") == Some(sent.by.len() as u64) && status["waiting"]["instances"] == 0).then_some(())
    });
    let records = gateways[1].records();
    assert_eq!(records.len(), sent.by.len(), "as many rows as were sent");
    assert!(sent.rows(&records).values().all(|rows| rows.len() == 1 && rows[0].state == "verified"));
    for gateway in &gateways {
        sent.by.keys().for_each(|uid| gives(gateway, &image_of(uid)));
    }
    let packs = site.packs_put_once();
    let [first, second] = gateways;
    first.stop();
    second.stop();
    let deep = site.homes[1].run(&["verify", "--deep", "--json"]).ended(0).json();
    assert_eq!(deep["records"], sent.by.len());
    println!(
        "{rounds} rounds: {} instances sent and verified once in {packs} packs; {held} shown as held by the dead node, {read} \
         read from the survivor meanwhile",
        sent.by.len()
    );
    assert!(held > 0 && read > 0, "the nodes died while they had something to do");
}

/// Safe; or in the bucket, where the dead node had not read it back yet; or with that node alone.
fn is_said_where(state: &str) -> bool {
    matches!(state, "verified" | "uploaded" | "absent")
}

fn verified_of(gateway: &Gateway) -> Vec<String> {
    let verified = gateway.records().into_iter().filter(|record| record.state == "verified");
    verified.filter_map(|record| record.sop_instance_uid).collect()
}

/// The first study of what a node is sent in a round.
fn first_study(round: usize, node: usize) -> u64 {
    STREAMS_FROM + STUDIES_OF_STREAM * (2 * round + node) as u64
}

/// The number of the study, and that of the image in it.
fn numbers_of(uid: &str) -> (u64, u64) {
    let mut numbers = uid.rsplit('.').map(|number| number.parse().expect("a number"));
    let (Some(image), Some(_), Some(study)) = (numbers.next(), numbers.next(), numbers.next()) else {
        panic!("{uid} is none of ours")
    };
    (study, image)
}

/// In which round it was sent, and to which node.
fn stream_of(uid: &str) -> (usize, usize) {
    let stream = ((numbers_of(uid).0 - STREAMS_FROM) / STUDIES_OF_STREAM) as usize;
    (stream / 2, stream % 2)
}

fn image_of(uid: &str) -> Image {
    let (study, number) = numbers_of(uid);
    images(study, number).pop().expect("an image")
}

/// The rows of a search.
fn searched(gateway: &Gateway, path: &str) -> Vec<Value> {
    let answer = gateway.web.get(path, "application/dicom+json").ok();
    if answer.status == 204 { Vec::new() } else { answer.json() }
}

fn value(row: &Value, tag: &str) -> String {
    row[tag]["Value"][0].as_str().unwrap_or_default().to_owned()
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
    std::fs::remove_dir_all(home.data_dir().join("log")).expect("there was no log");
    for batch in site.store().names("v1/log/") {
        site.store().lose(&batch);
    }
    site.database.does("UPDATE index_packs SET logged_at = NULL");
    let first = site.serve(0);
    wait_for("they are named", DEADLINE, || {
        let unnamed = first.status()["log"]["waiting"] != 0;
        (!unnamed && !site.store().names("v1/log/").is_empty()).then_some(())
    });
    first.settled(sent.len());
    first.stop();
    let rebuilt = home.run(&["rebuild", "--json"]).ended(0).json();
    assert_eq!((&rebuilt["packs_unnamed"], &rebuilt["instances"]), (&0.into(), &4.into()), "{rebuilt}");
}
