use super::*;

/// Seed 787 once broke a promise: a record in a segment that could not be read at the start was called damaged, and a
/// later start read it.
#[test]
fn what_a_start_cannot_read_is_not_damaged_for_that() {
    road_tally(787).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn the_road_keeps_its_promises() {
    let mut tally = RoadTally::default();
    for seed in 0..100 {
        tally.add(&road_tally(seed).unwrap_or_else(|violation| panic!("{violation}")));
    }
    let tried = [
        tally.acknowledged,
        tally.quarantined,
        tally.packs,
        tally.dropped,
        tally.put_off,
        tally.verified,
        tally.logged,
        tally.evicted,
        tally.read,
        tally.yielded,
        tally.repacked,
        tally.switched,
        tally.decided,
        tally.held,
        tally.forbidden,
        tally.given_up,
        tally.deletions,
    ];
    assert!(tried.iter().all(|&count| count > 5), "the schedule leaves something out: {tally:?}");
    assert!(tally.settled > 0, "no start met a pack it did not know: {tally:?}");
}

#[test]
fn one_seed_is_one_run() {
    assert_eq!(road_tally(11), road_tally(11));
}
