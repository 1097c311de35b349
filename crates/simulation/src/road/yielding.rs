//! What yields to receipt never starves for it.

use std::time::Duration;

use super::*;

/// A road whose every byte behind the journal costs a second while instances arrive.
fn run() -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut run = Run::new(7, runtime).expect("a run");
    run.faults = Faults::default();
    *run.bucket_faults.lock() = 0;
    run.yielding = Yielding { bytes_per_second: 1, ..Yielding::default() };
    run.restart().expect("a road");
    run
}

/// One instance from its first byte to its row in the catalog.
fn receive(run: &mut Run) {
    let sent = run.new_sent();
    run.sent.push(sent.clone());
    let road = run.road().expect("a road");
    let mut receiving = road.receive(provenance(&sent, run.clock.now(), node_of(run.seed))).expect("room");
    receiving.push(&sent.dataset).expect("room");
    run.committing.push((receiving.finish().expect("finished"), sent));
    run.sync_round().expect("synced");
    run.index().expect("indexed");
}

/// Packs everything there is, whatever it should yield to.
fn pack(run: &Run) {
    let road = run.road().expect("a road");
    for study in run.wait(run.catalog.unpacked_studies()).expect("studies") {
        run.wait(road.pack(&study)).expect("packed");
    }
}

#[test]
fn what_has_waited_as_long_as_a_pack_may_age_goes_on_at_once() {
    let mut run = run();
    receive(&mut run);
    pack(&run);
    receive(&mut run);
    let (road, now) = (run.road().expect("a road"), run.clock.now());
    assert!(road.rest_before(now) > Duration::from_secs(60), "a pack was made while instances arrive");
    let age_ms = road_settings().pack_age.as_millis() as i64;
    assert!(road.rest_before(Timestamp(now.0 - age_ms + 1)) > Duration::ZERO);
    assert_eq!(road.rest_before(Timestamp(now.0 - age_ms)), Duration::ZERO);
    run.clock.shift_ms(Yielding::default().quiet.as_millis() as i64);
    assert_eq!(road.rest_before(run.clock.now()), Duration::ZERO, "nothing arrives any more");
}

#[test]
fn a_journal_that_wants_room_is_packed_at_once() {
    let mut run = run();
    receive(&mut run);
    pack(&run);
    receive(&mut run);
    let road = run.road().expect("a road");
    assert!(road.rest_before(run.clock.now()) > Duration::ZERO);
    while !road.is_pressed() {
        receive(&mut run);
    }
    assert_eq!(road.rest_before(run.clock.now()), Duration::ZERO);
    assert!(!run.wait(road.studies_to_pack()).expect("studies").is_empty());
    pack(&run);
    pack(&run);
    assert!(!road.is_pressed(), "and has room again");
}

#[test]
fn what_waits_is_told_from_its_answer_to_its_verification() {
    let mut run = run();
    let waiting = |run: &Run| {
        let status = run.wait(run.road().expect("a road").status()).expect("status");
        (status.waiting.instances, status.waiting.dataset_bytes)
    };
    receive(&mut run);
    let bytes = run.sent[0].dataset.len() as u64;
    assert_eq!(waiting(&run), (1, bytes), "in the catalog");
    let sent = run.new_sent();
    let road = run.road().expect("a road");
    let mut receiving = road.receive(provenance(&sent, run.clock.now(), node_of(run.seed))).expect("room");
    receiving.push(&sent.dataset).expect("room");
    run.committing.push((receiving.finish().expect("finished"), sent.clone()));
    run.sync_round().expect("synced");
    assert_eq!(waiting(&run), (2, bytes + sent.dataset.len() as u64), "answered, and not in the catalog yet");
    run.index().expect("indexed");
    run.clock.shift_ms(60_000);
    for _ in 0..8 {
        pack(&run);
        run.upload().expect("uploaded");
        assert!(waiting(&run).0 > 0, "no log names it yet");
        run.verify().expect("verified");
    }
    assert!(waiting(&run).0 > 0, "read back equal, and no log names it yet");
    run.wait(road.write_log()).expect("logged");
    assert_eq!(waiting(&run), (0, 0));
}
