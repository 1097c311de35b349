//! The S3 server as it can be met: unfit for keys, behind its own certificate, slow, with uploads nobody remembers, giving
//! back what was not put there.

use std::time::Duration;

use filmgate_faults::{Fault, Request};

use crate::support::certificates::{Authority, Usage};
use crate::support::cloud::Cloud;
use crate::support::dicom::Image;
use crate::support::gateway::{Gateway, Home};
use crate::support::generated::Generated;
use crate::support::servers::S3;
use crate::support::tls_front::TlsFront;
use crate::support::wait_for;

const SOON: Duration = Duration::from_secs(60);
const FRAMES: usize = 48;
const PART_BYTES: u64 = 5 << 20;

fn send(home: &Home, gateway: &Gateway, images: &[Image]) {
    let files: Vec<_> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(gateway, &files);
}

fn study(number: u64, images: u64) -> Vec<Image> {
    (1..=images).map(|image| Image::of_study(number, image)).collect()
}

fn gives(gateway: &Gateway, image: &Image) -> Result<(), String> {
    let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
    let file = gateway.web.instance(uids.0, uids.1, uids.2)?;
    assert!(file.dataset() == image.dataset(), "other bytes are served");
    Ok(())
}

fn state_count(gateway: &Gateway, state: &str) -> u64 {
    gateway.status()["states"][state].as_u64().unwrap_or_default()
}

fn wait_verified(gateway: &Gateway, instances: u64) {
    wait_for("everything is verified", SOON, || {
        (state_count(gateway, "verified") == instances).then_some(())
    });
}

fn wait_until_cold(gateway: &Gateway) {
    wait_for("no pack is left on the local disk", SOON, || {
        (gateway.status()["spool"]["packs_bytes"] == 0).then_some(())
    });
}

/// Of what is read there, packs alone.
fn reads_a_pack(request: &Request) -> bool {
    request.method == "GET" && request.target.contains("/v1/pack/")
}

/// A bucket from which a deleted key would not be gone ends the start, and the setting to change is named.
#[test]
fn a_bucket_of_keys_that_keeps_or_locks_them_is_refused() {
    let Some(s3) = S3::told().filter(|s3| s3.has("versions")) else { return };
    let Some(cloud) = Cloud::told() else { return };
    let versioned = s3.make_bucket();
    s3.keep_versions(&versioned);
    for (bucket, says) in [(versioned, "keeps versions"), (s3.make_locking_bucket(), "bucket")] {
        let home = cloud.set(Home::new(), "MAIN").set("BUCKET__MAIN__KEYS_BUCKET", &bucket);
        let refused = home.run(&["serve", "--json"]).ended(1);
        assert!(refused.err.contains(says) && refused.err.contains("keys_bucket"), "{}", refused.err);
        assert!(refused.err.contains(&bucket), "{}", refused.err);
        assert_eq!(s3.names(&bucket, "v1/key/"), Vec::<String>::new(), "no key was put there");
    }
}

/// Begun by whoever is not known any more, and by a gateway whose catalog is lost: given up once they are old enough.
#[test]
fn uploads_in_parts_that_nobody_remembers_are_given_up() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.set(Home::new(), "MAIN").set("UPLOAD__PART_SIZE_BYTES", PART_BYTES);
    let open = || cloud.s3.ask("GET", &format!("/{}?uploads=", cloud.packs)).matches("<UploadId>").count();
    for name in ["00", "ff"] {
        cloud.s3.ask("POST", &format!("/{}/v1/pack/{}?uploads=", cloud.packs, name.repeat(16)));
    }
    assert_eq!(open(), 2);
    let gateway = home.serve();
    send(&home, &gateway, &study(1_201, 1));
    wait_verified(&gateway, 1);
    assert_eq!(open(), 2, "they are young");
    gateway.stop();

    let home = home.set("UPLOAD__ABANDONED_AFTER_MS", 1);
    let mut gateway = home.serve();
    gateway.expect_log("an upload nobody remembers is given up");
    wait_for("they are given up", SOON, || (open() == 0).then_some(()));
    gateway.stop();
}

/// Over HTTPS with an authority of the house's own; a server of another authority is told nothing.
#[test]
fn a_server_is_known_by_the_authority_of_the_house() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.set(Home::new(), "MAIN").set("CACHE__BYTES_MAX", 0);
    let [house, elsewhere] = ["house", "elsewhere"].map(|name| Authority::new(home.path(), name));
    let front = TlsFront::before(cloud.proxy.address(), &house.issue("s3", Usage::Server));
    let endpoint = format!("https://localhost:{}", front.address().port());
    let home = home.set("BUCKET__MAIN__ENDPOINT", endpoint);
    let (right, wrong) = (house.certificate.display(), elsewhere.certificate.display());
    let home = home.set("BUCKET__MAIN__CA_FILE", &wrong);
    let refused = home.run(&["serve", "--json"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("certificate") && refused.err.contains("bucket.main"), "{}", refused.err);
    let images = study(1_211, 6);
    let home = home.set("BUCKET__MAIN__CA_FILE", &right);
    let gateway = home.serve();
    send(&home, &gateway, &images[..3]);
    wait_verified(&gateway, 3);
    gateway.stop();

    // One that is used to it receives on, and waits.
    cloud.proxy.forget();
    let home = home.set("BUCKET__MAIN__CA_FILE", &wrong);
    let mut gateway = home.serve();
    for expected in ["a placement cannot be used now", "the site's keys in the buckets were not looked at"] {
        gateway.expect_log(expected);
    }
    gateway.expect_log("a local pack stays");
    send(&home, &gateway, &images[3..]);
    let reason = wait_for("it is not put there", SOON, || {
        let status = gateway.status();
        (status["states"]["retrying"] == 3).then(|| status["retrying"][0]["reason"].clone())
    });
    assert!(reason.as_str().is_some_and(|reason| reason.contains("unavailable")), "{reason}");
    assert!(cloud.proxy.passed().is_empty(), "not one request reached the server");
    gateway.stop();

    let home = home.set("BUCKET__MAIN__CA_FILE", &right);
    let gateway = home.serve();
    wait_verified(&gateway, 6);
    wait_until_cold(&gateway);
    images.iter().for_each(|image| gives(&gateway, image).expect("it is given"));
    assert!(cloud.proxy.passed().iter().any(|passed| reads_a_pack(&passed.request)));
    home.run(&["verify", "--deep"]).ended(0);
    gateway.stop();
}

/// Requests and answers that crawl cost time and nothing else.
#[test]
fn a_slow_server_costs_only_time() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud
        .set(Home::new(), "MAIN")
        .set("UPLOAD__PART_SIZE_BYTES", PART_BYTES)
        .set("BUCKET__MAIN__READ_TIMEOUT_MS", 30_000)
        .set("BUCKET__MAIN__OPERATION_TIMEOUT_MS", 60_000)
        .set("CACHE__BYTES_MAX", 0);
    let gateway = home.serve();
    cloud.proxy.always(Fault::Crawl(4 << 20));
    let generated = Generated::new(1_220, FRAMES);
    generated.send(&gateway.dicom);
    wait_verified(&gateway, 1);
    wait_until_cold(&gateway);
    assert_eq!(generated.digest_kept_by(&gateway), generated.digest());
    let crawled = cloud.proxy.passed();
    assert!(crawled.iter().all(|passed| passed.status.is_some_and(|status| status < 500)), "{crawled:?}");
    gateway.stop();
}

/// What comes back is not what was put there. While it is being verified, it is read again, and is not verified as long as
/// it differs; read for somebody, it is told, and never served.
#[test]
fn a_flipped_bit_is_never_served() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.set(Home::new(), "MAIN").set("CACHE__BYTES_MAX", 0).set("CACHE__RANGES_BYTES_MAX", 0);
    let mut gateway = home.serve();
    gateway.expect_log("a pack came back different and is uploaded again");
    // Once: the second look sees that it is right.
    let mut flipped = 0;
    cloud.proxy.plan(move |request| {
        flipped += u64::from(reads_a_pack(request));
        if reads_a_pack(request) && flipped == 1 { Fault::Flip(700) } else { Fault::Pass }
    });
    let first = study(1_231, 2);
    send(&home, &gateway, &first);
    wait_verified(&gateway, 2);
    assert!(!gateway.log().contains("came back different"), "{}", gateway.log());
    // Always: not verified.
    cloud.proxy.plan(|request| if reads_a_pack(request) { Fault::Flip(700) } else { Fault::Pass });
    let second = study(1_232, 2);
    send(&home, &gateway, &second);
    wait_for("it is put there again", SOON, || {
        gateway.log().contains("came back different and is uploaded again").then_some(())
    });
    assert_eq!(state_count(&gateway, "verified"), 2);
    cloud.proxy.always(Fault::Pass);
    wait_verified(&gateway, 4);
    wait_until_cold(&gateway);

    // Every byte of an answer in turn, near enough.
    let images: Vec<Image> = [first, second].concat();
    let (mut refused, mut served) = (0, 0);
    gateway.expect_log("ERROR");
    for at in [0, 1, 63, 700, 4_099, 16_001, 20_000] {
        cloud.proxy.plan(move |request| if reads_a_pack(request) { Fault::Flip(at) } else { Fault::Pass });
        for image in &images {
            // Right, or not at all: `gives` compares.
            match gives(&gateway, image) {
                Ok(()) => served += 1,
                Err(why) => {
                    assert!(why.contains("status 5") || why.contains("breaks off"), "{why}");
                    refused += 1;
                }
            }
        }
    }
    println!("with a flipped bit in each answer: {refused} reads were refused, {served} served right");
    assert!(refused > 0);
    cloud.proxy.always(Fault::Pass);
    images.iter().for_each(|image| gives(&gateway, image).expect("it is right again"));
    gateway.stop();
}

/// … and where there is another placement, it is read from there.
#[test]
fn where_one_placement_gives_other_bytes_another_serves() {
    let (Some(cloud), Some(other)) = (Cloud::told(), Cloud::told()) else { return };
    let home = other
        .set(cloud.set(Home::new(), "MAIN"), "SECOND")
        .set("CACHE__BYTES_MAX", 0)
        .set("CACHE__RANGES_BYTES_MAX", 0);
    let mut gateway = home.serve();
    gateway.expect_log("does not open");
    let images = study(1_241, 3);
    send(&home, &gateway, &images);
    wait_verified(&gateway, 3);
    wait_until_cold(&gateway);
    for spoiled in [&cloud, &other] {
        spoiled.proxy.plan(|request| if reads_a_pack(request) { Fault::Flip(700) } else { Fault::Pass });
        images.iter().for_each(|image| gives(&gateway, image).expect("the other serves"));
        spoiled.proxy.always(Fault::Pass);
    }
    gateway.stop();
}
