//! Starting: without any configuration, with a wrong one, twice, and without the key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::gateway::{AE_TITLE, Home};
use crate::support::{fixtures, wait_for, wire};

/// The figure promised is 2 s on an idle machine; tests share theirs.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
const USAGE: i32 = 64;

#[test]
fn an_empty_data_directory_gets_a_key_and_both_ports_open() {
    let home = Home::new();
    let gateway = home.serve();
    assert!(gateway.opened_after < OPEN_WITHIN, "the ports opened after {:?}", gateway.opened_after);
    let mode =
        fs::metadata(home.key_path()).expect("the key is beside the data directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let log = gateway.log();
    assert!(log.to_lowercase().contains("copy this off the machine"), "{log}");
    wire::echo(&gateway.dicom);
    assert_eq!(gateway.web.get("/healthz", "*/*").status, 200);
    assert_eq!(gateway.web.get("/readyz", "*/*").status, 200);
    assert!(gateway.web.get("/metrics", "*/*").ok().text().contains("filmgate_"));
    assert!(gateway.web.get("/", "text/html").ok().content_type.starts_with("text/html"));
}

#[test]
fn data_without_its_key_is_refused() {
    let home = Home::new();
    home.serve().stop();
    let key = home.path().join("key-taken-away");
    fs::rename(home.key_path(), &key).expect("take the key away");
    let refused = home.run(&["serve", "--json"]).ended(USAGE);
    assert!(refused.err.contains("key"), "{}", refused.err);
    assert!(!home.key_path().exists(), "a new key was made over existing data");
    fs::rename(&key, home.key_path()).expect("give the key back");
    home.serve().stop();
}

#[test]
fn another_key_is_refused() {
    let home = Home::new();
    home.serve().stop();
    let other = Home::new();
    other.serve().stop();
    fs::copy(other.key_path(), home.key_path()).expect("swap the key");
    home.run(&["serve", "--json"]).ended(USAGE);
}

#[test]
fn a_data_directory_is_served_once() {
    let home = Home::new();
    let gateway = home.serve();
    let second = home.run(&["serve", "--json"]).ended(USAGE);
    assert!(!second.err.is_empty(), "the second one says nothing");
    wire::echo(&gateway.dicom);
    gateway.stop();
}

#[test]
fn unknown_settings_and_impossible_values_open_no_port() {
    Home::new().set("DICOM__COLOUR", "blue").run(&["serve", "--json"]).ended(USAGE);
    Home::new().set("NOWHERE__AT_ALL", 1).run(&["serve", "--json"]).ended(USAGE);
    Home::new().set("DICOM__BIND", "not an address").run(&["serve", "--json"]).ended(USAGE);
    Home::new().set("DICOM__AET", "LONGER THAN SIXTEEN CHARACTERS").run(&["serve", "--json"]).ended(USAGE);

    let home = Home::new();
    let file = home.path().join("filmgate.toml");
    fs::write(&file, "[dicom]\ncolour = \"blue\"\n").expect("write a configuration");
    let checked = home.run(&["config", "check", "--config", &file.display().to_string()]).ended(USAGE);
    assert!(checked.err.contains("colour"), "{}", checked.err);
}

#[test]
fn the_configuration_in_force_is_shown_and_checked() {
    let home = Home::new().set("DICOM__AET", "ELSEWHERE");
    home.run(&["config", "check"]).ended(0);
    let shown = home.run(&["config", "show"]).ended(0);
    assert!(shown.out.contains("ELSEWHERE"), "{}", shown.out);
}

#[test]
fn wrong_command_lines_end_with_64() {
    let home = Home::new();
    for arguments in [
        &["serve", "--no-such-option"][..],
        &["no-such-command"],
        &["send"],
        &["export", "--out", "somewhere"],
        &["export", "--study", "1.2.3", "--record", "00", "--out", "somewhere"],
        &[],
    ] {
        home.run(arguments).ended(USAGE);
    }
    home.run(&["--help"]).ended(0);
    home.run(&["--version"]).ended(0);
}

#[test]
fn one_shot_commands_tell_by_their_exit_code_how_it_went() {
    let home = Home::new();
    let gateway = home.serve();
    let sample = fixtures()[0].display().to_string();
    home.run(&["send", &gateway.dicom, &sample, "--aec", AE_TITLE, "--json"]).ended(0);
    let no_dicom = home.path().join("notes.txt");
    fs::write(&no_dicom, "no DICOM at all").expect("write a file");
    let no_dicom = no_dicom.display().to_string();
    home.run(&["send", &gateway.dicom, &sample, &no_dicom, "--aec", AE_TITLE, "--json"]).ended(2);
    home.run(&["status", "--json"]).ended(0).json();
    gateway.settled(1);
    home.run(&["verify", "--json"]).ended(0);
    let gone = gateway.dicom.clone();
    gateway.stop();
    home.run(&["send", &gone, &sample, "--aec", AE_TITLE, "--json"]).ended(1);
}

#[test]
fn a_stopped_gateway_leaves_its_ports_and_starts_again() {
    let home = Home::new();
    for _ in 0..2 {
        let gateway = home.serve();
        wire::echo(&gateway.dicom);
        let address = gateway.dicom.clone();
        gateway.stop();
        wait_for("the port is closed", Duration::from_secs(5), || {
            std::net::TcpStream::connect(&address).is_err().then_some(())
        });
    }
}
