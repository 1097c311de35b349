//! The web door: tokens and their scopes, the administrator's set-up and log-in, TLS, and what is refused to whom.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::certificates::{Authority, Issued, Usage};
use crate::support::client::{Client, token};
use crate::support::dicom::{CT_IMAGE, EXPLICIT_LE, File, Image, part10};
use crate::support::gateway::{Gateway, Home};
use crate::support::peers::openssl_client;
use crate::support::process::finish;
use crate::support::wait_for;
use crate::support::web::{stow_body, stow_content_type};

const SOON: Duration = Duration::from_secs(20);
const PASSWORD: &str = "correct horse 电池";

fn stored(client: &Client<'_>) -> u16 {
    let image = Image::of_study(840, 1);
    let file = File::new(part10(EXPLICIT_LE, CT_IMAGE, &image.sop_instance_uid, &image.dataset()));
    client.post("/dicomweb/studies", &stow_content_type(), &stow_body(&[&file])).status().as_u16()
}

#[test]
fn a_token_opens_what_its_scope_says_and_nothing_after_its_end() {
    let home = Home::new().set("WEB__OPEN_TO", "nobody");
    let mut gateway = home.serve();
    gateway.expect_log("a request was refused");
    let nobody = Client::new(&gateway);
    assert_eq!((nobody.get("/healthz"), nobody.get("/login")), (200, 200));
    for path in ["/metrics", "/api/status", "/dicomweb/studies", "/api/tokens", "/api/ae"] {
        assert_eq!(nobody.get(path), 401, "{path}");
    }
    assert_eq!((nobody.get("/"), nobody.get("/no/such/page")), (303, 404));
    assert_eq!(stored(&nobody), 401);
    // The command line of the machine is known all the same.
    home.run(&["status", "--json"]).ended(0);
    home.run(&["verify", "--json"]).ended(0);

    let read = token(&home, "viewer", &["--scope", "read"]);
    let store = token(&home, "sender", &["--scope", "store"]);
    let admin = token(&home, "operator", &["--scope", "admin", "--forever"]);
    let told = |token: &str| {
        let client = Client::bearing(&gateway, token);
        let verified = client.post("/api/verify", "", &[]).status().as_u16();
        [client.get("/api/status"), stored(&client), verified, client.get("/api/tokens")]
    };
    assert_eq!(told(&read), [200, 403, 403, 403]);
    assert_eq!(told(&store), [403, 200, 403, 403]);
    assert_eq!(told(&admin), [200, 200, 200, 200]);
    assert_eq!(told("fg_0000"), [401; 4]);
    let listed = home.run(&["token", "list", "--json"]).ended(0).json();
    let viewer = listed.as_array().expect("tokens").iter().find(|token| token["name"] == "viewer");
    assert!(viewer.expect("the viewer's")["last_used_at"].is_string());

    home.run(&["token", "revoke", "viewer"]).ended(0);
    assert_eq!(told(&read), [401; 4]);
    home.run(&["token", "revoke", "viewer"]).ended(1);
    home.run(&["token", "create", "viewer", "--scope", "read"]).ended(1);
    let short = token(&home, "short", &["--scope", "read", "--for", "2s"]);
    let client = Client::bearing(&gateway, &short);
    assert_eq!(client.get("/api/status"), 200);
    wait_for("the token expires", SOON, || (client.get("/api/status") == 401).then_some(()));

    let log = gateway.log();
    for secret in [&read, &store, &admin, &short] {
        assert!(!log.contains(secret.as_str()) && !log.contains(&secret[3..]), "a token is in the log");
    }
    assert!(log.contains("token-created") && log.contains("token-revoked"));
    assert!(log.contains("event=\"refused\"") && log.contains("who=\"token viewer\""), "{log}");
    gateway.stop();
}

#[test]
fn this_machine_needs_no_token_unless_somebody_else_asks_through_it() {
    let home = Home::new();
    let mut gateway = home.serve();
    gateway.expect_log("a request was refused");
    assert_eq!(Client::new(&gateway).get("/api/status"), 200);
    assert_eq!(Client::new(&gateway).with("x-forwarded-for", "10.0.0.9".into()).get("/api/status"), 401);
    // A token that is no good is not made good by where its bearer is.
    assert_eq!(Client::bearing(&gateway, "fg_wrong").get("/api/status"), 401);
    let secret = home.data_dir().join("admin-token");
    let mode = std::fs::metadata(&secret).expect("the command line's secret").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    gateway.stop();
    assert!(!secret.exists(), "it outlived its gateway");
}

/// The secret of the set-up link that was told.
fn set_up_secret(told: &str) -> String {
    let behind = told.split("/set-up#").nth(1).unwrap_or_else(|| panic!("no link in {told}"));
    behind.chars().take_while(char::is_ascii_hexdigit).collect()
}

#[test]
fn the_administrator_is_set_up_once_and_logs_in_and_out() {
    let home = Home::new().set("WEB__OPEN_TO", "nobody").set("WEB__PASSWORD_MEMORY_KIB", 8192);
    let mut gateway = home.serve();
    for expected in ["a request was refused", "a wrong password, link or token"] {
        gateway.expect_log(expected);
    }
    let browser = Client::new(&gateway);
    let set_up = |secret: &str, password: &str| {
        browser.post_json("/api/set-up", &json!({"secret": secret, "password": password})).status().as_u16()
    };
    let log_in = |password: &str| browser.post_json("/api/login", &json!({ "password": password }));
    let secret = set_up_secret(&wait_for("the link is told", SOON, || {
        Some(gateway.log()).filter(|log| log.contains("/set-up#"))
    }));
    assert_eq!(set_up(&secret, "short"), 400);
    assert_eq!(set_up(&"0".repeat(64), PASSWORD), 403);
    assert_eq!(set_up(&secret, PASSWORD), 200);
    assert_eq!(set_up(&secret, "another password"), 403, "a link is good once");

    let answer = log_in(PASSWORD);
    assert_eq!(answer.status().as_u16(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("a cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().expect("a name and a value").to_owned();
    let inside = || Client::new(&gateway).with("cookie", pair.clone());
    assert_eq!((inside().get("/api/status"), inside().get("/")), (200, 200));
    // A page elsewhere may not use it.
    let elsewhere = |name, value: &str| inside().with(name, value.into()).post("/api/verify", "", &[]);
    assert_eq!(elsewhere("sec-fetch-site", "cross-site").status().as_u16(), 403);
    assert_eq!(elsewhere("origin", "http://evil.example").status().as_u16(), 403);
    assert_eq!(elsewhere("sec-fetch-site", "same-origin").status().as_u16(), 200);
    assert_eq!(inside().post_json("/api/logout", &json!({})).status().as_u16(), 200);
    assert_eq!(inside().get("/api/status"), 401);

    // A new link, used, ends every log-in there is.
    let again = log_in(PASSWORD).headers()["set-cookie"].to_str().expect("a cookie").to_owned();
    let again = Client::new(&gateway).with("cookie", again.split(';').next().expect("a pair").to_owned());
    assert_eq!(again.get("/api/status"), 200);
    let link = home.run(&["set-up"]).ended(0).out;
    assert_eq!(set_up(&set_up_secret(&link), "an altogether new one"), 200);
    assert_eq!(again.get("/api/status"), 401);
    let statuses: Vec<u16> = (0..8).map(|_| log_in(PASSWORD).status().as_u16()).collect();
    assert!(statuses[0] == 403 && statuses.ends_with(&[429, 429]), "{statuses:?}");
    assert!(!gateway.log().contains(PASSWORD));
    gateway.stop();
}

#[test]
fn an_address_others_can_reach_needs_tls() {
    let open = || Home::new().set("WEB__BIND", "0.0.0.0:0");
    let refused = open().run(&["serve", "--json"]).ended(64);
    assert!(refused.err.contains("web.tls") && refused.err.contains("web.insecure"), "{}", refused.err);
    let home = open().set("WEB__INSECURE", true);
    let gateway = home.serve();
    home.run(&["status", "--json"]).ended(0);
    gateway.stop();
}

/// A home whose web door speaks TLS and lets nobody in without a token.
fn secured() -> (Home, Authority) {
    let home = Home::new();
    let authority = Authority::new(home.path(), "hospital");
    let server = authority.issue("gateway", Usage::Server);
    let home = home
        .set("WEB__OPEN_TO", "nobody")
        .set("WEB__TLS__ENABLED", true)
        .set("WEB__TLS__CERTIFICATE", server.certificate.display())
        .set("WEB__TLS__KEY", server.key.display())
        .set("WEB__TLS__CLIENT_CA", authority.certificate.display())
        .set("WEB__TLS__PEERS", "node-b.hospital");
    (home, authority)
}

/// `curl`: the status of the answer, the version of HTTP, and its headers.
fn curl(gateway: &Gateway, ca: &Path, ours: Option<&Issued>, method: &str, path: &str) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-S", "-D", "-", "-o", "/dev/null", "-X", method, "-w", "%{http_code} %{http_version}"]);
    curl.arg("--cacert").arg(ca);
    if let Some(ours) = ours {
        curl.arg("--cert").arg(&ours.certificate).arg("--key").arg(&ours.key);
    }
    curl.arg(format!("https://{}{path}", gateway.web.address()));
    let done = finish(&mut curl, Duration::from_secs(30)).ended(0);
    let (headers, status) = done.out.rsplit_once('\n').expect("headers and a status");
    (status.to_owned(), headers.to_ascii_lowercase())
}

#[test]
fn the_web_speaks_tls_and_knows_its_peers_by_their_certificates() {
    let (home, authority) = secured();
    let mut gateway = home.serve();
    for expected in ["a request was refused", "tls-refused"] {
        gateway.expect_log(expected);
    }
    let ca = &authority.certificate;
    let (status, headers) = curl(&gateway, ca, None, "GET", "/healthz");
    assert_eq!(status, "200 2");
    assert!(headers.contains("strict-transport-security: max-age=31536000"), "{headers}");
    assert_eq!(curl(&gateway, ca, None, "GET", "/api/status").0, "401 2");
    let (peer, other) =
        (authority.issue("node-b.hospital", Usage::Client), authority.issue("CT_1", Usage::Client));
    assert_eq!(curl(&gateway, ca, Some(&peer), "GET", "/api/status").0, "200 2");
    assert_eq!(curl(&gateway, ca, Some(&peer), "POST", "/api/verify").0, "403 2");
    assert_eq!(curl(&gateway, ca, Some(&other), "GET", "/api/status").0, "401 2");
    // Our own command line speaks it as well.
    home.run(&["status", "--json"]).ended(0);
    let foreign = Authority::new(home.path(), "elsewhere").issue("node-b.hospital", Usage::Client);
    openssl_client(gateway.web.address(), Some(&foreign), &["-tls1_2"]);
    openssl_client(gateway.web.address(), None, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    wait_for("both are told of", SOON, || {
        let log = gateway.log();
        (log.contains("authority not known here") && log.contains("neither TLS 1.2 nor 1.3")).then_some(())
    });
    gateway.stop();
}

#[test]
fn half_open_handshakes_of_the_web_keep_nobody_out() {
    let (home, authority) = secured();
    let home = home.set("WEB__TLS__HANDSHAKE_TIMEOUT_MS", 1500).set("WEB__CONNECTIONS_MAX", 64);
    let mut gateway = home.serve();
    for expected in ["tls-refused", "connections that ask for nothing crowd the door"] {
        gateway.expect_log(expected);
    }
    let half: Vec<TcpStream> = (0..150)
        .map(|number| {
            let mut stream = TcpStream::connect(gateway.web.address()).expect("connect");
            if number % 2 == 0 {
                let _ = stream.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0, 0x3F, 0xFC]);
            }
            stream
        })
        .collect();
    assert_eq!(curl(&gateway, &authority.certificate, None, "GET", "/healthz").0, "200 2");
    for mut stream in half {
        stream.set_read_timeout(Some(SOON)).expect("a deadline");
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(
            !matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "one is held"
        );
    }
    assert_eq!(curl(&gateway, &authority.certificate, None, "GET", "/healthz").0, "200 2");
    gateway.stop();
}
