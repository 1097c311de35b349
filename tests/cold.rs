//! What left the local disk: a frame of it costs one request, and none when it was read before.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use filmgate_faults::Fault;
use serde_json::Value;

use crate::support::cloud::Cloud;
use crate::support::dicom::Image;
use crate::support::gateway::{Gateway, Home};
use crate::support::generated::Generated;
use crate::support::{files_below, wait_for};

const SOON: Duration = Duration::from_secs(60);
/// Frames of an instance whose pack is longer than what is read of its end at once.
const FRAMES: usize = 8;

/// Requests for ranges, for footers.
fn object_reads(gateway: &Gateway) -> (u64, u64) {
    let of = |what| gateway.counter(&format!("filmgate_object_reads_total{{of=\"{what}\"}}"));
    (of("range"), of("footer"))
}

/// Chunks of headers that were opened, and of bulk data.
fn opened_chunks(gateway: &Gateway) -> (u64, u64) {
    let of = |what| gateway.counter(&format!("filmgate_opened_chunks_total{{of=\"{what}\"}}"));
    (of("header"), of("bulk"))
}

fn cached(home: &Home) -> Vec<PathBuf> {
    files_below(&home.data_dir().join("cache"))
}

/// The pixels of all its frames.
fn pixels(generated: &Generated) -> Vec<u8> {
    generated.pieces().skip(1).flatten().copied().collect()
}

fn pixels_kept_by(gateway: &Gateway, generated: &Generated) -> Vec<u8> {
    let path = format!("{}/bulkdata/7FE00010", path_of(generated));
    gateway.web.get(&path, "application/octet-stream").ok().body
}

fn path_of(generated: &Generated) -> String {
    let uid = &generated.sop_instance_uid;
    let series = uid.strip_suffix(".1").expect("it is the first of its series");
    let study = series.strip_suffix(".1").expect("the first of its study");
    format!("/dicomweb/studies/{study}/series/{series}/instances/{uid}")
}

fn metadata(gateway: &Gateway, generated: &Generated) {
    let path = format!("{}/metadata", path_of(generated));
    assert!(gateway.web.get(&path, "application/dicom+json").ok().text().contains("Phantom"));
}

/// Whatever the bucket is, the counters tell.
#[test]
fn a_cold_frame_costs_one_request_and_a_warm_one_none() {
    let home = Home::new().keeps_no_packs();
    let generated = Generated::new(1_000, FRAMES);
    let gateway = home.serve();
    generated.send(&gateway.dicom);
    gateway.settled(1);
    gateway.wait_until_cold();
    metadata(&gateway, &generated);
    let before = object_reads(&gateway);
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
    let cold = object_reads(&gateway);
    assert_eq!((cold.0 - before.0, cold.1), (1, 0), "its range, and its footer was kept");
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
    assert_eq!(object_reads(&gateway), cold);
    assert!(gateway.counter("filmgate_cached_reads_total{of=\"range\"}") > 0);
    assert!(gateway.status()["spool"]["cached_bytes"].as_u64() > Some(0));
    gateway.stop();

    let gateway = home.serve();
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
    assert_eq!(object_reads(&gateway), (0, 0), "what was kept outlives a restart");
    gateway.stop();
}

/// The same, counted where the server is. A gateway that never had the pack needs one more, for its footer.
#[test]
fn a_study_that_is_only_in_the_bucket_shows_a_frame_after_two_requests() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.set(Home::new(), "MAIN").keeps_no_packs();
    let generated = Generated::new(1_010, FRAMES);
    let gateway = home.serve();
    generated.send(&gateway.dicom);
    gateway.settled(1);
    gateway.wait_until_cold();
    cloud.proxy.forget();
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
    assert_eq!(cloud.pack_reads(), 1, "cold");
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
    metadata(&gateway, &generated);
    assert_eq!(cloud.pack_reads(), 1, "warm");
    gateway.stop();

    fs::remove_dir_all(home.data_dir().join("cache")).expect("empty the cache");
    let gateway = home.serve();
    cloud.proxy.forget();
    metadata(&gateway, &generated);
    assert_eq!(cloud.pack_reads(), 1, "its footer");
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
    assert_eq!(cloud.pack_reads(), 2, "and a range");
    gateway.stop();
}

/// As a viewer opens a study that this gateway has nothing of: search, metadata, a frame; then it goes through the series.
#[test]
fn a_study_that_was_never_here_opens_by_two_requests_and_is_gone_through_by_few() {
    const INSTANCES: u64 = 40;
    let cloud = Cloud::told();
    let home = match &cloud {
        Some(cloud) => cloud.set(Home::new(), "MAIN"),
        None => Home::new(),
    };
    let home = home.keeps_no_packs().set("CACHE__READ_AHEAD_BYTES", 1 << 20);
    let gateway = home.serve();
    let images: Vec<Image> = (1..=INSTANCES).map(|number| Image::of_study(1_080, number)).collect();
    let files: Vec<PathBuf> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(&gateway, &files);
    gateway.settled(images.len());
    gateway.wait_until_cold();
    gateway.stop();

    // Slices are shown by where they lie: from the first that came, or from the last.
    for order in [images.iter().collect::<Vec<_>>(), images.iter().rev().collect()] {
        goes_through(&home, cloud.as_ref(), &order);
    }
}

/// Opens a study that this gateway has nothing of, and shows its images in this order.
fn goes_through(home: &Home, cloud: Option<&Cloud>, images: &[&Image]) {
    const ANY: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";
    fs::remove_dir_all(home.data_dir().join("cache")).expect("empty the cache");
    let gateway = home.serve();
    if let Some(cloud) = cloud {
        cloud.proxy.forget();
    }
    let study = format!("/dicomweb/studies/{}", images[0].study_instance_uid);
    let series = format!("{study}/series/{}", images[0].series_instance_uid);
    let json = |path: &str| gateway.web.get(path, "application/dicom+json").ok().json::<Vec<Value>>().len();
    assert_eq!(json(&format!("/dicomweb/studies?StudyInstanceUID={}", images[0].study_instance_uid)), 1);
    assert_eq!(json(&format!("{study}/series")), 1);
    assert_eq!(json(&format!("{series}/metadata")), images.len());
    let frame = |image: &Image| {
        let path = format!("{series}/instances/{}/frames/1", image.sop_instance_uid);
        assert!(gateway.web.get(&path, ANY).ok().parts() == [image.samples.clone()]);
    };
    frame(images[images.len() / 2]);
    assert_eq!(object_reads(&gateway), (1, 1), "a range, and the footer");
    if let Some(cloud) = cloud {
        assert_eq!(cloud.pack_reads(), 2, "counted where the server is");
    }
    images.iter().copied().for_each(frame);
    let (ranges, footers) = object_reads(&gateway);
    println!("{ranges} requests for {} frames, one after another", images.len());
    assert!(ranges < 12 && footers == 1, "{ranges} requests for {} frames", images.len());
    gateway.stop();
}

/// Metadata stands in the footers of packs, wherever they are.
#[test]
fn metadata_of_a_long_series_reads_no_pixels() {
    const INSTANCES: u64 = 2_000;
    let home = Home::new();
    let gateway = home.serve();
    let image = |number| Image { samples: vec![0; 2048], ..Image::of_study(1_090, number) };
    let files: Vec<PathBuf> = (1..=INSTANCES).map(|number| image(number).write(home.path())).collect();
    let first = image(1);
    let series =
        format!("/dicomweb/studies/{}/series/{}", first.study_instance_uid, first.series_instance_uid);
    home.send(&gateway, &files);
    gateway.settled(files.len());
    gateway.stop();

    let told = |gateway: &Gateway| {
        let metadata: Vec<Value> = gateway.web.get(&format!("{series}/metadata"), "*/*").ok().json();
        let uids: BTreeSet<&str> =
            metadata.iter().filter_map(|one| one["00080018"]["Value"][0].as_str()).collect();
        assert_eq!((metadata.len(), uids.len()), (files.len(), files.len()));
        assert!(metadata.iter().all(|one| one["7FE00010"]["BulkDataURI"].is_string()));
    };
    // Nothing is in memory; the packs are here, and then elsewhere.
    let gateway = home.serve();
    told(&gateway);
    assert_eq!(opened_chunks(&gateway), (0, 0));
    gateway.stop();
    let home = home.keeps_no_packs();
    let gateway = home.serve();
    gateway.wait_until_cold();
    gateway.stop();
    fs::remove_dir_all(home.data_dir().join("cache")).expect("empty the cache");
    let gateway = home.serve();
    told(&gateway);
    let (ranges, footers) = object_reads(&gateway);
    assert_eq!((opened_chunks(&gateway), ranges), ((0, 0), 0));
    assert!((1..8).contains(&footers), "{footers} requests for footers");
    // It does count.
    let path = format!("{series}/instances/{}/frames/1", first.sop_instance_uid);
    gateway.web.get(&path, "*/*").ok();
    assert_eq!(opened_chunks(&gateway), (1, 1));
    gateway.stop();
}

/// Many want the same at once, and the server is slow.
#[test]
fn what_many_want_is_fetched_once() {
    let Some(cloud) = Cloud::told() else { return };
    let home = cloud.set(Home::new(), "MAIN").keeps_no_packs();
    let generated = Generated::new(1_020, FRAMES);
    let gateway = home.serve();
    generated.send(&gateway.dicom);
    gateway.settled(1);
    gateway.wait_until_cold();
    cloud.proxy.always(Fault::Delay(Duration::from_millis(300)));
    cloud.proxy.forget();
    let expected = pixels(&generated);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(pixels_kept_by(&gateway, &generated) == expected));
        }
    });
    assert_eq!(cloud.pack_reads(), 1);
    gateway.stop();
}

/// Going through a study reads ahead: far fewer requests than instances.
#[test]
fn going_through_a_study_reads_ahead() {
    let home = Home::new().keeps_no_packs().set("CACHE__READ_AHEAD_BYTES", 1 << 20);
    let gateway = home.serve();
    let images: Vec<Image> = (1..=20).map(|number| Image::of_study(1_030, number)).collect();
    let files: Vec<PathBuf> = images.iter().map(|image| image.write(home.path())).collect();
    home.send(&gateway, &files);
    gateway.settled(images.len());
    gateway.wait_until_cold();
    check(&gateway, &images);
    let (ranges, footers) = object_reads(&gateway);
    assert!(ranges < 8 && footers == 0, "{ranges} requests for {} instances", images.len());
    gateway.stop();
}

/// Whatever becomes of what is cached, the bucket's bytes are served, and are cached again.
#[test]
fn what_rots_in_the_cache_is_fetched_again() {
    let home = Home::new().keeps_no_packs();
    let generated = Generated::new(1_040, FRAMES);
    let gateway = home.serve();
    generated.send(&gateway.dicom);
    gateway.settled(1);
    gateway.wait_until_cold();
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
    wait_for("range and footer are kept", SOON, || (cached(&home).len() == 2).then_some(()));
    gateway.stop();
    let rots: [fn(&mut Vec<u8>); 3] = [|bytes| flip(bytes), Vec::clear, |bytes| bytes.fill(0)];
    for rot in rots {
        for path in cached(&home) {
            let mut bytes = fs::read(&path).expect("read what is cached");
            rot(&mut bytes);
            fs::write(&path, bytes).expect("let it rot");
        }
        let mut gateway = home.serve();
        gateway.expect_log("in the cache does not open");
        assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
        assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
        let fetched = object_reads(&gateway);
        assert!(fetched.0 > 0 && fetched.1 > 0, "{fetched:?}");
        assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
        assert_eq!(object_reads(&gateway), fetched, "warm again");
        wait_for("both are kept again", SOON, || (cached(&home).len() >= 2).then_some(()));
        gateway.stop();
    }
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

/// Who looks whether everything is sound looks at the bucket: what is cached is no copy.
#[test]
fn what_is_cached_is_no_copy() {
    let home = Home::new().keeps_no_packs();
    let generated = Generated::new(1_050, FRAMES);
    let gateway = home.serve();
    generated.send(&gateway.dicom);
    gateway.settled(1);
    gateway.wait_until_cold();
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated));
    home.run(&["verify", "--deep"]).ended(0);
    let packs = home.packs_in_bucket();
    let [pack] = packs.as_slice() else { return println!("the bucket is no folder: left out") };
    let mut bytes = fs::read(pack).expect("read the pack");
    flip(&mut bytes);
    fs::write(pack, bytes).expect("let it rot");
    assert!(pixels_kept_by(&gateway, &generated) == pixels(&generated), "it is read from the cache");
    home.run(&["verify", "--deep"]).ended(2);
    gateway.stop();
}

#[test]
fn the_cache_keeps_its_bounds_and_gives_way_to_receipt() {
    const RANGES_BYTES: u64 = 1 << 20;
    let home = Home::new().keeps_no_packs().set("CACHE__RANGES_BYTES_MAX", RANGES_BYTES);
    let gateway = home.serve();
    let sent: Vec<_> = (0..4).map(|number| Generated::new(1_060 + number, 2)).collect();
    for generated in &sent {
        generated.send(&gateway.dicom);
    }
    gateway.settled(sent.len());
    gateway.wait_until_cold();
    let ranges = || {
        let files = files_below(&home.data_dir().join("cache/ranges"));
        files.iter().map(|path| fs::metadata(path).map_or(0, |found| found.len())).sum::<u64>()
    };
    for _ in 0..2 {
        for generated in &sent {
            assert!(pixels_kept_by(&gateway, generated) == pixels(generated));
        }
    }
    wait_for("something is kept", SOON, || (ranges() > 0).then_some(()));
    assert!(ranges() <= RANGES_BYTES, "{} bytes", ranges());
    assert!(object_reads(&gateway).0 > 4, "not all of it fits");
    gateway.stop();

    // No disk has so much free.
    let home = home.set("CACHE__FREE_BYTES_MIN", 1_u64 << 50);
    let gateway = home.serve();
    wait_for("it gave way", SOON, || cached(&home).is_empty().then_some(()));
    for generated in &sent {
        assert!(pixels_kept_by(&gateway, generated) == pixels(generated));
    }
    assert_eq!(gateway.status()["spool"]["cached_bytes"], 0, "and nothing is kept");
    gateway.stop();
}

/// Packs leave the local disk under the eyes of readers, while more come; on S3 where there is one.
#[test]
fn a_study_that_is_read_while_its_packs_leave_reads() {
    const STUDIES: u64 = 3;
    let cloud = Cloud::told();
    let home = match &cloud {
        Some(cloud) => cloud.set(Home::new(), "MAIN"),
        None => Home::new(),
    };
    let home = home.keeps_no_packs().set("CACHE__RANGES_BYTES_MAX", 256 << 10);
    let gateway = home.serve();
    let (over, reads, sent) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let images: Vec<Image> = (0..STUDIES)
        .flat_map(|study| (1..=6).map(move |number| Image::of_study(1_070 + study, number)))
        .collect();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let there = sent.load(Ordering::SeqCst);
                    check(&gateway, &images[..there]);
                    reads.fetch_add(there, Ordering::SeqCst);
                }
            });
        }
        for study in images.chunks(6) {
            let files: Vec<PathBuf> = study.iter().map(|image| image.write(home.path())).collect();
            home.send(&gateway, &files);
            let now = sent.load(Ordering::SeqCst) + study.len();
            wait_for("they are listed", SOON, || (gateway.records().len() == now).then_some(()));
            sent.store(now, Ordering::SeqCst);
            gateway.settled(now);
            gateway.wait_until_cold();
        }
        over.store(true, Ordering::SeqCst);
    });
    assert!(gateway.counter("filmgate_evicted_packs_total") >= STUDIES);
    assert!(reads.load(Ordering::SeqCst) > images.len());
    check(&gateway, &images);
    gateway.stop();
}

fn check(gateway: &Gateway, images: &[Image]) {
    for image in images {
        let uids = (&image.study_instance_uid, &image.series_instance_uid, &image.sop_instance_uid);
        let file = gateway.web.instance(uids.0, uids.1, uids.2).expect("the instance");
        assert!(file.dataset() == image.dataset(), "{} differs", image.sop_instance_uid);
    }
}
