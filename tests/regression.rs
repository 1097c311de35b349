//! Bugs that were, each with the test that would have found it.

use crate::support::dicom::Image;
use crate::support::fixtures;
use crate::support::gateway::{AE_TITLE, Home};

/// Each of these was a race: once is no proof.
const TIMES: usize = 15;

/// The signal handlers were installed after the ports had been told: who stopped the gateway at once, killed it.
#[test]
fn a_gateway_stopped_the_moment_it_listens_ends_in_order() {
    let home = Home::new();
    for _ in 0..TIMES {
        home.serve().stop();
    }
}

/// Leaving `main` ran OpenSSL's clean-up while threads of the catalog still used it: the process crashed after all
/// was done, and its exit code said so.
#[test]
fn a_gateway_with_work_behind_it_ends_without_a_crash() {
    let home = Home::new();
    let files: Vec<String> = fixtures().iter().map(|file| file.display().to_string()).collect();
    for _ in 0..TIMES {
        let gateway = home.serve();
        let mut arguments = vec!["send", &gateway.dicom];
        arguments.extend(files.iter().map(String::as_str));
        arguments.extend(["--aec", AE_TITLE, "--json"]);
        home.run(&arguments).ended(0);
        gateway.stop();
    }
}

/// The same in commands that open the data directory themselves.
#[test]
fn one_shot_commands_end_without_a_crash() {
    let home = Home::new();
    let gateway = home.serve();
    let image = Image::of_study(900, 1).write(home.path()).display().to_string();
    home.run(&["send", &gateway.dicom, &image, "--aec", AE_TITLE, "--json"]).ended(0);
    gateway.settled(1);
    gateway.stop();
    for _ in 0..TIMES {
        home.run(&["status", "--json"]).ended(0);
        home.run(&["verify", "--deep", "--json"]).ended(0);
    }
}
