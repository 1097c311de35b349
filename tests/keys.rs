//! Whose a bucket is, and what happens to those who come without its keys.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::support::dicom::Image;
use crate::support::files_below;
use crate::support::gateway::{AE_TITLE, Gateway, Home};
use crate::support::process::Finished;

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let folder = home.path().join("send");
    fs::create_dir_all(&folder).expect("make a folder");
    for image in images {
        image.write(&folder);
    }
    home.run(&["send", &gateway.dicom, &folder.display().to_string(), "--aec", AE_TITLE, "--json"]).ended(0);
}

fn names(home: &Home) -> (String, String) {
    let gateway = home.serve();
    let status = gateway.status();
    gateway.stop();
    let name = |key: &str| status[key].as_str().expect("a name").to_owned();
    (name("site_id"), name("node_id"))
}

/// A start that is refused: nothing was made, and the message says what to do.
fn refused(home: &Home, says: &[&str]) -> Finished {
    let refused = home.run(&["serve", "--json"]).ended(64);
    for says in says {
        assert!(refused.err.contains(says), "it does not say {says:?}: {}", refused.err);
    }
    let left = files_below(&home.data_dir());
    assert!(left.iter().all(|file| file.ends_with("lock")), "something was made: {left:?}");
    refused
}

fn write_key_file(path: &Path, digits: &str) {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    writeln!(file.expect("a key file"), "{digits}").expect("write the key file");
}

/// An empty data directory beside a bucket that has keys.
fn move_data_dir_aside(home: &Home, number: u32) {
    fs::rename(home.data_dir(), home.path().join(format!("data-{number}"))).expect("move the data directory");
}

#[test]
fn an_empty_data_directory_joins_the_site_of_its_bucket() {
    let home = Home::new();
    let gateway = home.serve();
    let images = [Image::of_study(61, 1), Image::of_study(61, 2)];
    send(&home, &gateway, &images);
    gateway.settled(images.len());
    gateway.stop();
    let (site, node) = names(&home);
    let object = home.bucket_keys_dir().join(format!("v1/key/{site}/1"));
    let kept = fs::read(home.data_dir().join("keys/site.key")).expect("the site key here");
    assert_eq!(fs::read(&object).expect("the site key in the bucket"), kept);

    move_data_dir_aside(&home, 1);
    let (same_site, other_node) = names(&home);
    assert_eq!(same_site, site);
    assert_ne!(other_node, node);

    // The bucket's copy is damaged: it says nothing any more, and nobody takes the bucket for an empty one.
    move_data_dir_aside(&home, 2);
    let mut damaged = kept.clone();
    damaged[40] ^= 1;
    fs::write(&object, &damaged).expect("damage it");
    refused(&home, &["cannot be read", "bring back"]);
    fs::remove_file(&object).expect("lose it");
    refused(&home, &["keys of studies", "keys.site"]);

    // The first directory puts it there again before anything is verified in it.
    fs::remove_dir_all(home.data_dir()).expect("remove");
    fs::rename(home.path().join("data-1"), home.data_dir()).expect("bring the first one back");
    let gateway = home.serve();
    send(&home, &gateway, &[Image::of_study(62, 1)]);
    gateway.settled(3);
    gateway.stop();
    assert_eq!(fs::read(&object).expect("it is there"), kept);
}

#[test]
fn nobody_takes_over_a_bucket_without_its_key() {
    let home = Home::new();
    let (site, _) = names(&home);
    move_data_dir_aside(&home, 1);
    let first_key = home.path().join("first.key");
    fs::rename(home.key_path(), &first_key).expect("lose the key file");
    refused(&home, &[&site, "node.key_file", "keys.site"]);
    assert!(!home.key_path().exists(), "no key was made");
    write_key_file(&home.key_path(), &"ab".repeat(32));
    refused(&home, &[&site, "node.key_file"]);

    // Somebody insists: two sites in one bucket, and the third comer has to say which.
    let home = home.set("KEYS__SITE", "new");
    let (second, _) = names(&home);
    assert_ne!(second, site);
    move_data_dir_aside(&home, 2);
    let home = home.set("KEYS__SITE", "");
    refused(&home, &[&site, &second, "keys.site"]);
    let home = home.set("KEYS__SITE", &site);
    refused(&home, &[&site, "node.key_file"]);
    fs::rename(&first_key, home.key_path()).expect("find the first key file");
    assert_eq!(names(&home).0, site);
    move_data_dir_aside(&home, 3);
    let home = home.set("KEYS__SITE", "00".repeat(16));
    refused(&home, &["correct it"]);
}

#[test]
fn a_bucket_that_cannot_be_asked_stops_a_first_start() {
    let home = Home::new();
    fs::write(home.bucket_keys_dir(), "a file where the folder should be").expect("put something in its way");
    refused(&home, &["cannot tell whether bucket main belongs to a site", "bucket.main"]);
    assert!(!home.key_path().exists(), "no key was made");
    fs::remove_file(home.bucket_keys_dir()).expect("clear the way");
    names(&home);
}
