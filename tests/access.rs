//! Who may associate: unknown callers are refused and remembered, one command lets them in, and rules are kept to.

use std::time::Duration;

use crate::support::certificates::{Authority, Usage};
use crate::support::dicom::{CT_IMAGE, EXPLICIT_LE, IMPLICIT_LE};
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::peers::{self, DcmtkTls};
use crate::support::wait_for;
use crate::support::wire::{self, VERIFICATION, Wire};

const SOON: Duration = Duration::from_secs(20);

/// A gateway that lets nobody in but those that are known.
fn closed() -> Home {
    Home::new().set("DICOM__ACCEPT_UNKNOWN_CALLERS", false)
}

fn echoes(gateway: &Gateway, calling: &str) -> bool {
    peers::echoscu(&gateway.dicom, calling, AE_TITLE).code == Some(0)
}

/// Lines of the log about refused associations.
fn refusals(gateway: &Gateway) -> Vec<String> {
    gateway.log().lines().filter(|line| line.contains("association-refused")).map(str::to_owned).collect()
}

#[test]
fn an_unknown_caller_is_refused_then_let_in_by_one_command() {
    let home = closed();
    let mut gateway = home.serve();
    gateway.expect_log("association-refused");
    assert!(!echoes(&gateway, "CT_1") && !echoes(&gateway, "CT_1"));
    let told = refusals(&gateway);
    assert_eq!(told.len(), 2, "{told:?}");
    for part in ["audit", "ae.calling=\"CT_1\"", "127.0.0.1", "unknown calling AE title", "filmgate ae allow"]
    {
        assert!(told[0].contains(part), "{part:?} is not in {}", told[0]);
    }
    let listed = home.run(&["ae", "list", "--json"]).ended(0).json();
    let waiting = &listed["waiting"][0];
    assert_eq!((&waiting["calling_ae"], &waiting["refused"]), (&"CT_1".into(), &2.into()));
    assert_eq!(waiting["address"], "127.0.0.1");

    home.run(&["ae", "allow", "CT_1"]).ended(0);
    assert!(echoes(&gateway, "CT_1"));
    assert!(!echoes(&gateway, "CT_2"), "another caller is as unknown as before");
    let listed = home.run(&["ae", "list", "--json"]).ended(0).json();
    assert_eq!(
        (&listed["rules"][0]["calling_ae"], &listed["rules"][0]["allowed"]),
        (&"CT_1".into(), &true.into())
    );
    assert!(gateway.log().contains("callers-changed"), "a change is told");

    home.run(&["ae", "deny", "CT_1"]).ended(0);
    assert!(!echoes(&gateway, "CT_1"));
    assert!(refusals(&gateway).last().is_some_and(|line| line.contains("denied by its rule")));
    // It holds over a restart, and without a gateway a command changes it all the same.
    gateway.stop();
    home.run(&["ae", "allow", "CT_1"]).ended(0);
    home.run(&["ae", "forget", "CT_2"]).ended(0);
    let mut gateway = home.serve();
    gateway.expect_log("association-refused");
    assert!(echoes(&gateway, "CT_1"));
    let listed = home.run(&["ae", "list"]).ended(0).out;
    assert!(listed.contains("allowed  CT_1") && !listed.contains("CT_2"), "{listed}");
    home.run(&["ae", "forget", "CT_2"]).ended(1);
    home.run(&["ae", "allow", "CT_1", "--from", "nowhere"]).ended(1);
    gateway.stop();
}

#[test]
fn addresses_certificates_and_shares_of_a_rule_are_kept_to() {
    let home = closed();
    let authority = Authority::new(home.path(), "hospital");
    let server = authority.issue("gateway", Usage::Server);
    let (ours, other) =
        (authority.issue("ct.hospital", Usage::Client), authority.issue("mr.hospital", Usage::Client));
    let home = home
        .set("DICOM__TLS__ENABLED", true)
        .set("DICOM__TLS__BIND", "127.0.0.1:0")
        .set("DICOM__TLS__CERTIFICATE", server.certificate.display())
        .set("DICOM__TLS__KEY", server.key.display())
        .set("DICOM__TLS__CLIENT_CA", authority.certificate.display());
    let mut gateway = home.serve();
    gateway.expect_log("association-refused");
    let refused_for = |why: &str| {
        wait_for(&format!("the last line says {why:?}"), SOON, || {
            refusals(&gateway).last()?.contains(why).then_some(())
        });
    };

    home.run(&["ae", "allow", "CT_1", "--from", "10.0.0.0/8"]).ended(0);
    assert!(!echoes(&gateway, "CT_1"));
    refused_for("other addresses");
    home.run(&["ae", "allow", "CT_1", "--from", "10.0.0.0/8", "--from", "127.0.0.0/8"]).ended(0);
    assert!(echoes(&gateway, "CT_1"));

    // ECHOSCU is what echoscu calls itself. Over the plain door it has no certificate to show.
    home.run(&["ae", "allow", "ECHOSCU", "--common-name", "ct.hospital"]).ended(0);
    assert!(!echoes(&gateway, "ECHOSCU"));
    refused_for("another certificate");
    let over_tls =
        |ours| DcmtkTls { ca: &authority.certificate, ours: Some(ours) }.echoscu(&gateway.dicom_tls).code;
    assert_eq!(over_tls(&ours), Some(0));
    assert_ne!(over_tls(&other), Some(0));
    refused_for("another certificate");
    home.run(&["ae", "allow", "ECHOSCU", "--fingerprint", &other.fingerprint()]).ended(0);
    assert_eq!(over_tls(&other), Some(0));
    assert_ne!(over_tls(&ours), Some(0));

    // WIRE is what our own bytes call themselves.
    home.run(&["ae", "allow", "WIRE", "--associations-max", "1"]).ended(0);
    let first = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    assert!(wire::try_echo(&gateway.dicom).is_err());
    refused_for("its title has its share");
    first.release();
    wait_for("the seat is free again", SOON, || wire::try_echo(&gateway.dicom).ok());
    gateway.stop();
}

#[test]
fn a_learning_door_lets_callers_in_and_ends_by_itself() {
    let home = closed();
    let mut gateway = home.serve();
    gateway.expect_log("association-refused");
    assert!(!echoes(&gateway, "CT_1"));
    home.run(&["ae", "learn", "--for", "4s"]).ended(0);
    assert!(echoes(&gateway, "CT_1"));
    assert_eq!(gateway.status()["alarms"][0]["kind"], "door-learning");
    wait_for("the door learns no more", SOON, || (!echoes(&gateway, "CT_2")).then_some(()));
    wait_for("the alarm is gone", SOON, || gateway.status()["alarms"].as_array()?.is_empty().then_some(()));
    assert!(!echoes(&gateway, "CT_1"), "what was learned is not decided");
    home.run(&["ae", "allow", "--learned"]).ended(0);
    assert!(echoes(&gateway, "CT_1"));
    assert!(!echoes(&gateway, "MR_9"));
    home.run(&["ae", "learn", "--for", "1h"]).ended(0);
    assert!(echoes(&gateway, "MR_9"));
    home.run(&["ae", "learn", "--off"]).ended(0);
    assert!(!echoes(&gateway, "MR_8"));
    gateway.stop();
}

#[test]
fn no_association_outlives_its_lifetime() {
    let home = Home::new().set("DICOM__ASSOCIATION_LIFETIME_MS", 2000);
    let gateway = home.serve();
    let mut wire = Wire::associate(&gateway.dicom, VERIFICATION, IMPLICIT_LE);
    // It keeps asking, so that no other limit ends it.
    wait_for("the association is ended", SOON, || wire.ask_echo().is_err().then_some(()));
    assert!(gateway.log().contains("lasted as long as one may"), "{}", gateway.log());
    drop(wire);
    wire::echo(&gateway.dicom);
    gateway.stop();
}

#[test]
fn a_door_open_to_anybody_must_be_meant() {
    let plain = || Home::new().set("DICOM__BIND", "0.0.0.0:0");
    // In the clear, whoever may call.
    for unknown in [true, false] {
        let home = plain().set("DICOM__ACCEPT_UNKNOWN_CALLERS", unknown).set("DICOM__INSECURE", true);
        let refused = home.run(&["serve", "--json"]).ended(64);
        assert!(refused.err.contains("dicom.allow_plain = true"), "{}", refused.err);
    }
    let open = || plain().set("DICOM__ALLOW_PLAIN", true);
    let refused = open().run(&["serve", "--json"]).ended(64);
    assert!(refused.err.contains("dicom.insecure"), "{}", refused.err);
    open().set("DICOM__INSECURE", true).serve().stop();
    open().set("DICOM__ACCEPT_UNKNOWN_CALLERS", false).serve().stop();
}
