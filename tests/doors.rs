//! DICOM over TLS (PS3.15 B.12): who is let in, who is not and why, and that the door holds what the plain one holds.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::certificates::{Authority, Issued, Usage};
use crate::support::dicom::Image;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::peers::{self, DcmtkTls};
use crate::support::process::Finished;
use crate::support::wire::{self, VERIFICATION};
use crate::support::{Dice, wait_for};

/// An honest peer's answer, whatever goes on.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A home whose gateway speaks TLS, and what its peers need for it.
struct Secured {
    home: Home,
    authority: Authority,
    peer: Issued,
}

impl Secured {
    fn new() -> Self {
        let home = Home::new();
        let authority = Authority::new(home.path(), "hospital");
        let server = authority.issue("gateway", Usage::Server);
        let peer = authority.issue("CT_1", Usage::Client);
        let home = home
            .set("DICOM__TLS__ENABLED", true)
            .set("DICOM__TLS__BIND", "127.0.0.1:0")
            .set("DICOM__TLS__CERTIFICATE", server.certificate.display())
            .set("DICOM__TLS__KEY", server.key.display())
            .set("DICOM__TLS__CLIENT_CA", authority.certificate.display());
        Self { home, authority, peer }
    }

    fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.home = self.home.set(key, value);
        self
    }

    /// DCMTK under this certificate.
    fn dcmtk<'a>(&'a self, ours: &'a Issued) -> DcmtkTls<'a> {
        DcmtkTls { ca: &self.authority.certificate, ours: Some(ours) }
    }

    /// `filmgate send --tls` of a file.
    fn send(&self, address: &str, file: &Path) -> Finished {
        let (ca, file) = (self.authority.certificate.display().to_string(), file.display().to_string());
        let (cert, key) = (self.peer.certificate.display().to_string(), self.peer.key.display().to_string());
        let ours = ["--tls", "--ca", &ca, "--cert", &cert, "--key", &key, "--timeout", "20"];
        self.home.run(&[&["send", address, &file, "--aec", AE_TITLE, "--json"], &ours[..]].concat())
    }

    /// An honest peer's C-ECHO over TLS, again and again until it is answered.
    fn answers(&self, gateway: &Gateway) {
        wait_for("C-ECHO over TLS is answered", ANSWERED_WITHIN, || {
            (self.dcmtk(&self.peer).echoscu(&gateway.dicom_tls).code == Some(0)).then_some(())
        });
    }
}

/// Lines of the log about refused handshakes.
fn refusals(gateway: &Gateway) -> Vec<String> {
    gateway.log().lines().filter(|line| line.contains("tls-refused")).map(str::to_owned).collect()
}

/// What `attempt` is refused for: one more line of the log, which says so.
fn refused(gateway: &Gateway, reason: &str, attempt: impl FnOnce()) {
    let before = refusals(gateway).len();
    attempt();
    wait_for(&format!("a line says {reason:?}"), ANSWERED_WITHIN, || {
        (refusals(gateway).len() > before).then_some(())
    });
    let new = refusals(gateway).split_off(before);
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(new[0].contains(reason) && new[0].contains("127.0.0.1"), "not {reason:?}: {}", new[0]);
}

#[test]
fn other_peoples_programs_and_our_own_come_in_over_tls() {
    let secured = Secured::new();
    let gateway = secured.home.serve();
    let dcmtk = secured.dcmtk(&secured.peer);
    dcmtk.echoscu(&gateway.dicom_tls).ended(0);
    let images: Vec<_> = (1..=3).map(|study| Image::of_study(820 + study, 1)).collect();
    let files: Vec<_> = images.iter().map(|image| image.write(secured.home.path())).collect();
    dcmtk.storescu(&gateway.dicom_tls, &files[0]).ended(0);
    let ca = &secured.authority.certificate;
    let sent = peers::pynetdicom_tls(&gateway.dicom_tls, ca, &secured.peer, &[&files[1]]).ended(0);
    for line in sent.lines::<Value>() {
        assert_eq!((&line["status"], &line["version"]), (&0.into(), &"TLSv1.3".into()));
    }
    secured.send(&gateway.dicom_tls, &files[2]).ended(0);
    gateway.settled(3);
    for image in &images {
        let back = gateway.web.instance(
            &image.study_instance_uid,
            &image.series_instance_uid,
            &image.sop_instance_uid,
        );
        assert_eq!(back.expect("the instance").dataset(), image.dataset());
    }
    // The plain door beside it is as it was.
    wire::echo(&gateway.dicom);
    gateway.stop();
}

#[test]
fn the_versions_and_suites_of_the_profile_are_spoken_and_older_ones_refused() {
    let secured = Secured::new();
    let mut gateway = secured.home.serve();
    gateway.expect_log("tls-refused");
    let handshake =
        |options: &[&str]| peers::openssl_client(&gateway.dicom_tls, Some(&secured.peer), options);
    for spoken in [
        &["-tls1_3"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    ] {
        let done = handshake(spoken);
        assert!(
            done.out.contains("Cipher is ") && !done.out.contains("Cipher is (NONE)"),
            "{spoken:?}: {}",
            done.out
        );
    }
    for version in ["-tls1", "-tls1_1"] {
        refused(&gateway, "neither TLS 1.2 nor 1.3", || {
            let done = handshake(&[version, "-cipher", "ALL:@SECLEVEL=0"]);
            assert!(done.out.contains("Cipher is (NONE)"), "{version}: {}", done.out);
        });
    }
    // No authentication of the data (CBC), no key of its own for each connection (RSA).
    for cipher in ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256"] {
        refused(&gateway, "no cipher suite", || {
            let done = handshake(&["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")]);
            assert!(done.out.contains("Cipher is (NONE)"), "{cipher}: {}", done.out);
        });
    }
    refused(&gateway, "does not speak TLS", || {
        let mut stream = TcpStream::connect(&gateway.dicom_tls).expect("connect");
        stream.write_all(&wire::associate_rq(VERIFICATION, "1.2.840.10008.1.2")).expect("a plain request");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    secured.answers(&gateway);
    gateway.stop();
}

#[test]
fn certificates_that_cannot_be_believed_are_refused_and_told() {
    let secured = Secured::new();
    let authority = &secured.authority;
    let foreign = Authority::new(secured.home.path(), "elsewhere").issue("CT_1", Usage::Client);
    let expired = authority.issue_expired("CT_OLD", Usage::Client);
    let revoked = authority.issue("CT_STOLEN", Usage::Client);
    let server = authority.issue("SERVER", Usage::Server);
    let list = authority.revoke(&[&revoked]);
    let secured = secured.set("DICOM__TLS__CRL", list.display());
    let mut gateway = secured.home.serve();
    gateway.expect_log("tls-refused");
    for (certificate, reason) in [
        (&foreign, "authority not known here"),
        (&expired, "has expired"),
        (&revoked, "is revoked"),
        (&server, "not meant for this side"),
    ] {
        refused(&gateway, reason, || {
            assert_ne!(secured.dcmtk(certificate).echoscu(&gateway.dicom_tls).code, Some(0), "{reason}");
        });
    }
    refused(&gateway, "showed no certificate", || {
        peers::openssl_client(&gateway.dicom_tls, None, &["-tls1_2"]);
    });
    // The other way round: a gateway that our own side does not believe. It says so before it leaves.
    let stranger = Authority::new(secured.home.path(), "stranger").certificate.display().to_string();
    let file = Image::of_study(830, 1).write(secured.home.path()).display().to_string();
    refused(&gateway, "refused us", || {
        let sent = secured.home.run(&[
            "send",
            &gateway.dicom_tls,
            &file,
            "--aec",
            AE_TITLE,
            "--json",
            "--tls",
            "--ca",
            &stranger,
        ]);
        assert!(sent.ended(1).out.contains("authority not known here"));
    });
    secured.answers(&gateway);
    assert!(gateway.records().is_empty());
    gateway.stop();
}

#[test]
fn changed_certificates_hold_without_a_restart() {
    let secured = Secured::new();
    let list = secured.authority.revoke(&[]);
    let secured = secured.set("DICOM__TLS__CRL", list.display());
    let mut gateway = secured.home.serve();
    gateway.expect_log("tls-refused");
    gateway.expect_log("the changed certificates cannot be used");
    secured.answers(&gateway);

    secured.authority.revoke(&[&secured.peer]);
    wait_for("the revoked peer is refused", ANSWERED_WITHIN, || {
        (secured.dcmtk(&secured.peer).echoscu(&gateway.dicom_tls).code != Some(0)).then_some(())
    });
    // What cannot be used changes nothing: it is still refused, and the door is still there.
    std::fs::write(&list, "no list at all").expect("spoil the list");
    gateway.signal(Signal::HUP);
    wait_for("the spoilt list is told of", ANSWERED_WITHIN, || {
        gateway.log().contains("the changed certificates cannot be used").then_some(())
    });
    assert_ne!(secured.dcmtk(&secured.peer).echoscu(&gateway.dicom_tls).code, Some(0));
    let other = secured.authority.issue("CT_2", Usage::Client);
    secured.dcmtk(&other).echoscu(&gateway.dicom_tls).ended(0);

    secured.authority.revoke(&[]);
    gateway.signal(Signal::HUP);
    secured.answers(&gateway);
    gateway.stop();
}

#[test]
fn half_open_and_slow_handshakes_keep_nobody_out() {
    let secured = Secured::new().set("DICOM__TLS__HANDSHAKE_TIMEOUT_MS", 2000);
    let mut gateway = secured.home.serve();
    for expected in ["tls-refused", "connections that ask for nothing crowd the door"] {
        gateway.expect_log(expected);
    }
    secured.answers(&gateway);
    let resident_bytes = gateway.resident_bytes();
    // A ClientHello of 16 KiB that never ends: some keep silent, some drip.
    let hello = [&[0x16, 3, 1, 0x40, 0][..], &[1, 0, 0x3F, 0xFC], &[0; 64]].concat();
    let half: Vec<TcpStream> = (0..200)
        .map(|number: u32| {
            let mut stream = TcpStream::connect(&gateway.dicom_tls).expect("connect");
            if number.is_multiple_of(2) {
                let _ = stream.write_all(&hello);
            }
            if number.is_multiple_of(20) {
                let mut dripping = stream.try_clone().expect("a second handle");
                thread::spawn(move || wire::drip(&mut dripping, &[0; 2000]));
            }
            stream
        })
        .collect();
    secured.answers(&gateway);
    wire::echo(&gateway.dicom);
    let grown = gateway.resident_bytes().saturating_sub(resident_bytes);
    assert!(grown < 48 << 20, "memory grew by {grown} bytes");
    // None of them is waited for beyond the time a handshake may take, dripping or not.
    let last = Instant::now();
    for mut stream in half {
        stream.set_read_timeout(Some(ANSWERED_WITHIN)).expect("a deadline");
        let ended = stream.read_to_end(&mut Vec::new());
        let held = matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!held, "a half-open handshake is held");
    }
    assert!(last.elapsed() < ANSWERED_WITHIN, "the last one went after {:?}", last.elapsed());
    assert!(refusals(&gateway).iter().any(|line| line.contains("not over in time")));
    secured.answers(&gateway);
    gateway.stop();
}

/// Takes what comes for `to` there: at full speed at first, then a byte at a time.
fn slow_line(to: &str, fast_bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let mut server = TcpStream::connect(to).expect("connect");
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let (mut back, mut forth) = (server.try_clone().expect("back"), client.try_clone().expect("forth"));
        thread::spawn(move || std::io::copy(&mut back, &mut forth));
        let copied = std::io::copy(&mut Read::by_ref(&mut client).take(fast_bytes as u64), &mut server);
        let mut rest = vec![0; 1 << 20];
        while let (Ok(_), Ok(read @ 1..)) = (&copied, client.read(&mut rest)) {
            wire::drip(&mut server, &rest[..read]);
        }
    });
    address
}

#[test]
fn an_association_that_drips_inside_tls_loses_its_seat() {
    let secured = Secured::new()
        .set("DICOM__ARTIM_MS", 1500)
        .set("DICOM__ASSOCIATION_PROGRESS_WINDOW_MS", 1500)
        .set("DICOM__ASSOCIATION_PROGRESS_BYTES_MIN", 4096);
    let mut gateway = secured.home.serve();
    gateway.expect_log("was aborted");
    let image = Image { samples: Dice(9).bytes(4 << 20), ..Image::of_study(831, 1) };
    let file = image.write(secured.home.path());
    let line = slow_line(&gateway.dicom_tls, 200_000);
    secured.send(&line, &file).ended(2);
    wait_for("the association is given up", ANSWERED_WITHIN, || {
        gateway.log().contains("the association was aborted").then_some(())
    });
    assert!(gateway.records().is_empty());
    secured.send(&gateway.dicom_tls, &file).ended(0);
    gateway.stop();
}

/// A certificate or a list of revoked ones that ends soon, or has ended, is told in good time; others are not.
#[test]
fn what_ends_soon_is_told() {
    let secured = Secured::new();
    let (list, ended) =
        (secured.authority.revoke(&[]), secured.authority.issue_expired("old", Usage::Server));
    let secured = secured.set("DICOM__TLS__CRL", list.display());
    let ending = |gateway: &Gateway| -> Vec<String> {
        let status = gateway.status();
        let notices = status["notices"].as_array().into_iter().flatten();
        let ending = notices.filter(|notice| notice["kind"] == "certificate-ends");
        ending.filter_map(|notice| notice["detail"].as_str().map(str::to_owned)).collect()
    };
    let gateway = secured.home.serve();
    secured.answers(&gateway);
    assert_eq!(ending(&gateway), Vec::<String>::new());
    gateway.stop();

    let secured = secured
        .set("DICOM__TLS__CERTIFICATE", ended.certificate.display())
        .set("DICOM__TLS__KEY", ended.key.display())
        .set("DICOM__TLS__WARN_DAYS", 40_000);
    let mut gateway = secured.home.serve();
    let said = "the certificate of the dicom door ended at 2021-01-01";
    gateway.expect_log(said);
    gateway.expect_log("of the dicom door ends at 2124-01-01");
    let told = wait_for("both are told", ANSWERED_WITHIN, || {
        let told = ending(&gateway);
        (told.len() == 2).then_some(told)
    });
    assert!(told[0].contains(said), "{told:?}");
    assert!(told[1].contains("certificate revocation list") && told[1].contains("2124-01-01"), "{told:?}");
    assert!(gateway.log().contains(said));
    let status = secured.home.run(&["status"]).ended(0).out;
    assert!(status.contains(said) && status.contains("old.pem"), "{status}");
    gateway.stop();
}

/// HTTP/2 (RFC 9113 6.9): a client that opens no window asks, takes nothing, and would hold its place for ever.
#[test]
fn a_client_that_opens_no_window_loses_its_place() {
    let home = Home::new().set("WEB__ANSWER_STALL_TIMEOUT_MS", 500);
    let gateway = home.serve();
    let mut client = TcpStream::connect(gateway.web.address()).expect("connect");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("set a timeout");
    let host = gateway.web.address();
    // GET, http, then path and authority as literals beside their indexed names (RFC 7541 6.2.2).
    let mut fields = vec![0x82, 0x86, 0x04, 8];
    fields.extend_from_slice(b"/metrics");
    fields.extend_from_slice(&[0x01, u8::try_from(host.len()).expect("a short name")]);
    fields.extend_from_slice(host.as_bytes());
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // Its first setting: no window for any answer.
    bytes.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[0, 0, u8::try_from(fields.len()).expect("few"), 1, 5, 0, 0, 0, 1]);
    bytes.extend_from_slice(&fields);
    client.write_all(&bytes).expect("ask");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("it is closed within a while");
    assert!(answer.len() > 9, "it was answered");
    let stalled = "filmgate_connections_stalled_total{door=\"web\"} 1";
    assert!(gateway.web.get("/metrics", "text/plain").ok().text().contains(stalled));
    gateway.stop();
}
