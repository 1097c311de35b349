//! A hold and a retention against everybody there is: whoever asks, by whatever door, for whatever would take something
//! away, hears why not, nothing goes, and the log says who asked.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::certificates::{Authority, Usage};
use crate::support::dicom::Image;
use crate::support::gateway::{Gateway, Home};
use crate::support::process::finish;
use crate::support::wait_for;

const SOON: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery";
const PEER: &str = "node-b.hospital";
const HELD_BECAUSE: &str = "court order 12";
const KEPT_BECAUSE: &str = "a trial";
const YEAR_MS: i64 = 31_556_952_000;

/// Somebody at the web door.
struct Role {
    /// As the log names it.
    name: &'static str,
    /// What it brings, as options of `curl`.
    brings: Vec<String>,
    /// It may ask for such changes at all.
    may: bool,
}

/// Something that would take away what must stay.
struct Change {
    body: Value,
    /// What who may ask for it hears.
    hears: &'static str,
}

/// Studies of two images: two under a hold, two to be kept; of one of each a deletion was asked for before that.
struct Bound {
    studies: Vec<Vec<Image>>,
    hold: String,
    asked: [String; 2],
}

impl Bound {
    fn new(home: &Home) -> Self {
        let gateway = home.serve();
        let study = |number| (1..=2).map(|image| Image::of_study(number, image)).collect::<Vec<_>>();
        let studies: Vec<Vec<Image>> = (4_101..=4_104).map(study).collect();
        let files: Vec<_> = studies.iter().flatten().map(|image| image.write(home.path())).collect();
        home.send(&gateway, &files);
        gateway.settled(8);
        let uid = |study: usize| studies[study][0].study_instance_uid.as_str();
        let asked =
            [1, 3].map(|study| ask(home, &["delete", "request", uid(study), "--why", "wrong patient"]));
        let [hold, _] = [0, 1].map(|study| ask(home, &["hold", "place", uid(study), "--why", HELD_BECAUSE]));
        for study in [2, 3] {
            ask(home, &["retention", "set", uid(study), "--years", "30", "--why", KEPT_BECAUSE]);
        }
        gateway.stop();
        Self { studies, hold, asked }
    }

    /// One that is held and one that is to be kept, of which nobody has asked for anything.
    fn uids(&self) -> [&str; 2] {
        [0, 2].map(|study| self.studies[study][0].study_instance_uid.as_str())
    }

    fn changes(&self, now_ms: i64) -> Vec<Change> {
        let ([held, kept], [of_held, of_kept]) = (self.uids(), &self.asked);
        let why = "somebody wants it";
        let change = |body, hears| Change { body, hears };
        vec![
            change(json!({ "change": "request-deletion", "study": held, "why": why }), HELD_BECAUSE),
            change(
                json!({
                    "change": "request-deletion", "study": held, "instance": self.studies[0][0].sop_instance_uid, "why": why
                }),
                HELD_BECAUSE,
            ),
            change(json!({ "change": "request-shredding", "study": held, "why": why }), HELD_BECAUSE),
            change(json!({ "change": "confirm-deletion", "deletion": of_held }), HELD_BECAUSE),
            change(json!({ "change": "release-hold", "hold": self.hold, "why": " " }), "say why"),
            change(json!({ "change": "request-deletion", "study": kept, "why": why }), KEPT_BECAUSE),
            change(json!({ "change": "request-shredding", "study": kept, "why": why }), KEPT_BECAUSE),
            change(json!({ "change": "confirm-deletion", "deletion": of_kept }), KEPT_BECAUSE),
            change(
                json!({ "change": "retain", "study": kept, "until": now_ms + YEAR_MS, "why": why }),
                "only be prolonged",
            ),
        ]
    }

    /// The same by the command line; the last word of each is the refusal's.
    fn commands(&self) -> Vec<(Vec<&str>, &'static str)> {
        let ([held, kept], [of_held, of_kept]) = (self.uids(), &self.asked);
        let one = self.studies[0][0].sop_instance_uid.as_str();
        vec![
            (vec!["delete", "request", held, "--why", "x"], HELD_BECAUSE),
            (vec!["delete", "request", held, "--instance", one, "--why", "x"], HELD_BECAUSE),
            (vec!["key", "shred", "--study", held, "--why", "x"], HELD_BECAUSE),
            (vec!["delete", "confirm", of_held], HELD_BECAUSE),
            (vec!["hold", "release", &self.hold, "--why", " "], "say why"),
            (vec!["delete", "request", kept, "--why", "x"], KEPT_BECAUSE),
            (vec!["key", "shred", "--study", kept, "--why", "x"], KEPT_BECAUSE),
            (vec!["delete", "confirm", of_kept], KEPT_BECAUSE),
            (vec!["retention", "set", kept, "--years", "1", "--why", "x"], "only be prolonged"),
        ]
    }

    /// Every byte of both, and no deletion further than it was.
    fn check_all_there(&self, home: &Home, gateway: &Gateway) {
        for image in self.studies.iter().flatten() {
            let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
            let given = gateway.web.instance(uids.0, uids.1, uids.2).expect("it is there");
            assert!(given.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
        }
        let deletions = home.run(&["delete", "list", "--json"]).ended(0).json();
        let deletions = deletions.as_array().expect("deletions");
        assert_eq!(deletions.len(), 2, "none was added");
        assert!(deletions.iter().all(|one| one["step"] == "requested"), "{deletions:?}");
        home.run(&["verify", "--deep"]).ended(0);
    }
}

fn ask(home: &Home, arguments: &[&str]) -> String {
    let done = home.run(&[arguments, &["--as", "ben", "--json"]].concat()).ended(0).json();
    done["id"].as_str().unwrap_or_default().to_owned()
}

/// `curl` over TLS: status, headers and body.
fn curl(
    gateway: &Gateway,
    authority: &Authority,
    brings: &[String],
    path: &str,
    body: &Value,
) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-S",
        "-i",
        "--http1.1",
        "-w",
        "\n%{http_code}",
        "-H",
        "content-type: application/json",
    ]);
    curl.arg("--cacert").arg(&authority.certificate).args(brings).arg("--data").arg(body.to_string());
    curl.arg(format!("https://{}{path}", gateway.web.address()));
    let said = finish(&mut curl, SOON).ended(0).out;
    let (said, status) = said.rsplit_once('\n').expect("a status");
    (status.parse().expect("a status"), said.to_owned())
}

/// What a browser brings once the administrator has logged in.
fn administrator(gateway: &Gateway, authority: &Authority) -> Vec<String> {
    let log =
        wait_for("the link is told", SOON, || Some(gateway.log()).filter(|log| log.contains("/set-up#")));
    let secret = log.split("/set-up#").nth(1).expect("a link");
    let secret: String = secret.chars().take_while(char::is_ascii_hexdigit).collect();
    let set_up = json!({ "secret": secret, "password": PASSWORD });
    assert_eq!(curl(gateway, authority, &[], "/api/set-up", &set_up).0, 200);
    let (status, said) = curl(gateway, authority, &[], "/api/login", &json!({ "password": PASSWORD }));
    assert_eq!(status, 200, "{said}");
    let cookie = said.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    let pair = cookie.split(';').next().expect("a name and a value");
    vec!["-H".to_owned(), format!("cookie: {pair}")]
}

fn roles(home: &Home, gateway: &Gateway, authority: &Authority) -> Vec<Role> {
    let token = |scope: &str| {
        let made =
            home.run(&["token", "create", scope, "--scope", scope, "--forever", "--json"]).ended(0).json();
        vec!["-H".to_owned(), format!("authorization: Bearer {}", made["token"].as_str().expect("a token"))]
    };
    let peer = authority.issue(PEER, Usage::Client);
    let shows = ["--cert", &peer.certificate.display().to_string(), "--key", &peer.key.display().to_string()];
    let role = |name, brings, may| Role { name, brings, may };
    vec![
        role("nobody", Vec::new(), false),
        role("token read", token("read"), false),
        role("token store", token("store"), false),
        role("peer node-b.hospital", shows.map(str::to_owned).to_vec(), false),
        role("token operate", token("operate"), true),
        role("token admin", token("admin"), true),
        role("administrator", administrator(gateway, authority), true),
    ]
}

/// How many lines of the log have all of this.
fn lines(gateway: &Gateway, fragments: &[&str]) -> usize {
    gateway.log().lines().filter(|line| fragments.iter().all(|fragment| line.contains(fragment))).count()
}

#[test]
fn nobody_gets_around_a_hold_or_a_retention() {
    let home = Home::new()
        .set("RETENTION__YEARS", 0)
        .set("DELETION__GRACE_MS", 1)
        .set("REPACK__SMALL_PACK_BYTES", 0)
        .set("WEB__PASSWORD_MEMORY_KIB", 8192);
    let bound = Bound::new(&home);
    let packs = home.packs_in_bucket();
    let authority = Authority::new(home.path(), "hospital");
    let server = authority.issue("gateway", Usage::Server);
    let home = home
        .set("WEB__OPEN_TO", "nobody")
        .set("WEB__TLS__ENABLED", true)
        .set("WEB__TLS__CERTIFICATE", server.certificate.display())
        .set("WEB__TLS__KEY", server.key.display())
        .set("WEB__TLS__CLIENT_CA", authority.certificate.display())
        .set("WEB__TLS__PEERS", PEER);
    let mut gateway = home.serve();
    gateway.expect_log("a request was refused");
    let now_ms = home.run(&["status", "--json"]).ended(0).json()["at"].as_i64().expect("a time");
    let changes = bound.changes(now_ms);
    for role in roles(&home, &gateway, &authority) {
        for Change { body, hears } in &changes {
            let (status, said) = curl(&gateway, &authority, &role.brings, "/api/custody", body);
            let told = format!("{} asks for {body}: {status} {said}", role.name);
            match role.may {
                true => assert!(matches!(status, 400 | 409) && said.contains(hears), "{told}"),
                false => assert!(matches!(status, 401 | 403), "{told}"),
            }
        }
        if !role.may {
            let end = json!({ "change": "release-hold", "hold": bound.hold, "why": "settled" });
            let (status, said) = curl(&gateway, &authority, &role.brings, "/api/custody", &end);
            assert!(matches!(status, 401 | 403), "{} ends a hold: {status} {said}", role.name);
        }
        let (event, who, asked) = if role.may {
            ("event=\"custody-refused\"", format!("by=\"{}\"", role.name), changes.len())
        } else {
            ("event=\"refused\"", format!("who=\"{}\"", role.name), changes.len() + 1)
        };
        assert_eq!(
            lines(&gateway, &[event, &who]),
            asked,
            "{}: each is in the log\n{}",
            role.name,
            gateway.log()
        );
    }
    for (command, hears) in bound.commands() {
        let refused = home.run(&[&command[..], &["--as", "ann"]].concat()).ended(1);
        assert!(refused.err.contains(hears), "{command:?}: {}", refused.err);
    }
    assert_eq!(lines(&gateway, &["event=\"custody-refused\"", "by=\"ann\""]), changes.len());

    // A hold ends by who may end it, under their name and with a reason; the retention stands all the same.
    ask(&home, &["hold", "place", bound.uids()[1], "--why", HELD_BECAUSE]);
    let held = home.run(&["hold", "list", "--study", bound.uids()[1], "--json"]).ended(0).json();
    let second = held[0]["hold"].as_str().expect("a hold");
    home.run(&["hold", "release", second, "--why", "settled", "--as", "ann"]).ended(0);
    assert_eq!(lines(&gateway, &["event=\"custody-changed\"", "by=\"ann\"", second]), 1);
    let refused = home.run(&["delete", "confirm", &bound.asked[1], "--as", "ann"]).ended(1);
    assert!(refused.err.contains(KEPT_BECAUSE), "{}", refused.err);
    gateway.stop();

    let home = home.set("WEB__TLS__ENABLED", false).set("WEB__OPEN_TO", "loopback");
    let gateway = home.serve();
    bound.check_all_there(&home, &gateway);
    assert_eq!(home.packs_in_bucket(), packs);
    gateway.stop();
}
