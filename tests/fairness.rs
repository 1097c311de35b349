//! Many at once: long instances take their time, short ones do not wait for them, and memory is that of the windows.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::dicom::{CT_IMAGE, EXPLICIT_LE, Image};
use crate::support::gateway::{Gateway, Home};
use crate::support::generated::Generated;
use crate::support::wait_for;
use crate::support::wire::{Reaction, Wire};

const BIG_INSTANCES: u64 = 4;
/// Frames of 512 KiB in each: 256 MB, unless `FILMGATE_TEST_BIG_FRAMES` says otherwise.
const BIG_FRAMES: usize = 512;
/// What the gateway may take in all.
const RESIDENT_BYTES_MAX: u64 = 300_000_000;
const SMALL_BYTES: usize = 50_000;
/// Short instances answered, at the least, before the first long one is.
const SMALL_ANSWERED_MIN: usize = 10;
const INDEX_DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn short_instances_are_answered_while_long_ones_arrive_in_flat_memory() {
    let frames = std::env::var("FILMGATE_TEST_BIG_FRAMES").ok().and_then(|frames| frames.parse().ok());
    let long: Vec<_> =
        (0..BIG_INSTANCES).map(|number| Generated::new(number, frames.unwrap_or(BIG_FRAMES))).collect();
    let home = Home::new();
    let gateway = home.serve();
    let arrived = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let peak = thread::scope(|scope| {
        let peak = scope.spawn(|| peak_resident_bytes(&gateway, &over));
        let _over = OnDrop(|| over.store(true, Ordering::SeqCst));
        let waits = Mutex::new(Vec::new());
        let began = Instant::now();
        thread::scope(|scope| {
            for instance in &long {
                scope.spawn(|| {
                    let _arrived = OnDrop(|| {
                        arrived.fetch_add(1, Ordering::SeqCst);
                    });
                    assert_eq!(instance.send(&gateway.dicom), Reaction::Status(0));
                });
            }
            scope.spawn(|| *waits.lock().expect("the waits") = send_short_ones(&gateway, &arrived));
        });
        let took = began.elapsed();
        let waits = waits.into_inner().expect("the waits");
        tell(&waits, long.iter().map(Generated::dataset_bytes).sum(), took);
        assert!(waits.len() >= SMALL_ANSWERED_MIN, "only {} short instances were answered", waits.len());
        for instance in &long {
            wait_for("the instance is listed", INDEX_DEADLINE, || {
                (!gateway.records_of(&instance.sop_instance_uid).is_empty()).then_some(())
            });
            assert_eq!(instance.digest_kept_by(&gateway), instance.digest(), "{}", instance.sop_instance_uid);
        }
        drop(_over);
        peak.join().expect("the watcher of memory")
    });
    println!("resident memory: {} MB at most", peak / 1_000_000);
    assert!(peak < RESIDENT_BYTES_MAX, "the gateway took {peak} bytes");
    gateway.stop();
}

/// One 50 KB instance after the other over one association, until a long one has arrived; how long each waited for
/// its answer.
fn send_short_ones(gateway: &Gateway, arrived: &AtomicUsize) -> Vec<Duration> {
    let mut wire = Wire::associate(&gateway.dicom, CT_IMAGE, EXPLICIT_LE);
    let mut waits = Vec::new();
    for number in 1.. {
        let image = Image { samples: vec![9; SMALL_BYTES], ..Image::of_study(901, number) };
        let dataset = image.dataset();
        let began = Instant::now();
        assert_eq!(wire.store(CT_IMAGE, &image.sop_instance_uid, &dataset), Reaction::Status(0));
        let waited = began.elapsed();
        if arrived.load(Ordering::SeqCst) > 0 {
            break;
        }
        waits.push(waited);
    }
    wire.release();
    waits
}

fn peak_resident_bytes(gateway: &Gateway, over: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !over.load(Ordering::SeqCst) {
        peak = peak.max(gateway.resident_bytes());
        thread::sleep(Duration::from_millis(20));
    }
    peak
}

fn tell(waits: &[Duration], long_bytes: u64, took: Duration) {
    let mut sorted = waits.to_vec();
    sorted.sort();
    let at =
        |share: usize| sorted.get(sorted.len() * share / 100).or(sorted.last()).copied().unwrap_or_default();
    println!(
        "{BIG_INSTANCES} long instances, {} MB: {:.1} s, {:.0} MB/s; {} of 50 KB meanwhile: median {:?}, 95 % within {:?}, \
         longest {:?}",
        long_bytes / 1_000_000,
        took.as_secs_f64(),
        long_bytes as f64 / 1e6 / took.as_secs_f64(),
        waits.len(),
        at(50),
        at(95),
        at(100),
    );
}

/// Does something when it goes, also when a test fails.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
