//! The journal over the machine's disk and over one whose syncs fail or wait on command.

use std::{collections::BTreeMap, sync::atomic::Ordering, thread};

use filmgate_model::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    disk::{Open, RealDisk},
    faulty::FaultyDisk,
};

const KEY: &[u8] = b"a wrapped key";

/// Small segments: 64 blocks; frames of 4 blocks; own chains past 64 KiB.
fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes: 256 << 10,
        bytes_max: 2 << 20,
        frame_payload_bytes_max: 16 << 10,
        own_chain_past_bytes: 64 << 10,
        ready_segments: 2,
        pressure_free_percent: 40,
    }
}

struct Bench {
    folder: tempfile::TempDir,
    disk: Arc<FaultyDisk>,
    options: JournalOptions,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            disk: Arc::default(),
            options: options(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn open(&self) -> (Arc<Journal>, Vec<JournalRecord>) {
        let disk: Arc<dyn Disk> = Arc::clone(&self.disk) as _;
        let clock = Clock::manual(Timestamp(0));
        Journal::open(disk, &self.dir(), self.options.clone(), &clock, &Random::system())
            .expect("open journal")
    }
}

fn id(number: u8) -> RecordId {
    RecordId([number; 16])
}

/// Bytes that differ from record to record and from place to place.
fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7) as u8 ^ (at >> 8) as u8 ^ seed).collect()
}

fn commit(journal: &Arc<Journal>, record_id: RecordId, bytes: &[u8]) -> Result<Ticket, Error> {
    let mut writer = journal.begin(record_id)?;
    for piece in bytes.chunks(5_000) {
        writer.write(piece)?;
    }
    writer.commit(KEY)
}

fn store(journal: &Arc<Journal>, record_id: RecordId, bytes: &[u8]) {
    let ticket = commit(journal, record_id, bytes).expect("commit");
    assert!(journal.sync_round());
    journal.wait(&ticket).expect("durable");
}

fn whole(journal: &Journal, record_id: RecordId) -> Vec<u8> {
    let length = journal.record(record_id).expect("a durable record").record_bytes;
    journal.read(record_id, 0..length).expect("read")
}

#[test]
fn records_of_every_size_read_back_now_and_after_a_restart() {
    let bench = Bench::new();
    let (journal, found) = bench.open();
    assert_eq!(found, []);
    let payload = journal.payload_bytes_max;
    let edge = payload - KEY.len() - 22;
    let sizes =
        [0, 1, 4_000, edge - 1, edge, edge + 1, payload, payload + 1, 3 * payload + edge + 1, 200_000];
    for (number, &size) in sizes.iter().enumerate() {
        store(&journal, id(number as u8), &content(number as u8, size));
    }
    let check = |journal: &Journal| {
        for (number, &size) in sizes.iter().enumerate() {
            let record_id = id(number as u8);
            let bytes = content(number as u8, size);
            assert_eq!(whole(journal, record_id), bytes);
            let (from, to) = (size / 3, size - size / 5);
            let part = journal.read(record_id, from as u64..to as u64).expect("read a range");
            assert_eq!(part, bytes[from..to]);
            assert!(matches!(journal.read(record_id, 0..size as u64 + 1), Err(Error::OutOfRange)));
        }
    };
    check(&journal);
    drop(journal);
    let (journal, found) = bench.open();
    let described = |(number, &size): (usize, &usize)| JournalRecord {
        record_id: id(number as u8),
        record_bytes: size as u64,
        wrapped_key: KEY.to_vec(),
    };
    assert_eq!(found, sizes.iter().enumerate().map(described).collect::<Vec<_>>());
    assert_eq!(journal.records(), found);
    check(&journal);
}

#[test]
fn a_small_record_is_one_write_and_one_frame() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    store(&journal, id(1), &[1; 100]);
    let before = bench.disk.writes.load(Ordering::SeqCst);
    store(&journal, id(2), &[2; 3_900]);
    assert_eq!(bench.disk.writes.load(Ordering::SeqCst) - before, 1);
    assert_eq!(journal.room().unpacked_bytes, 4_096 + 4_096);
}

#[test]
fn nothing_is_seen_before_it_is_durable() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let ticket = commit(&journal, id(1), b"bytes").expect("commit");
    assert!(journal.poll(&ticket).is_none());
    assert!(!journal.contains(id(1)) && journal.records().is_empty());
    assert!(matches!(journal.read(id(1), 0..5), Err(Error::NotFound(_))));
    assert!(matches!(journal.begin(id(1)), Err(Error::Exists(_))));
    assert!(journal.sync_round());
    assert!(matches!(journal.poll(&ticket), Some(Ok(()))));
    assert!(journal.contains(id(1)));
    assert!(!journal.sync_round(), "nothing left to sync");
}

/// The waiter's own rule: a sync that began before the last write does not count.
#[test]
fn a_sync_that_began_before_the_write_releases_nobody() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let early = commit(&journal, id(1), b"early").expect("commit");
    bench.disk.hold_syncs.store(true, Ordering::SeqCst);
    let running = Arc::clone(&journal);
    let round = thread::spawn(move || running.sync_round());
    while bench.disk.syncs_begun.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let late = commit(&journal, id(2), b"late").expect("commit");
    bench.disk.hold_syncs.store(false, Ordering::SeqCst);
    assert!(round.join().expect("round"));
    assert!(matches!(journal.poll(&early), Some(Ok(()))));
    assert!(journal.poll(&late).is_none(), "its bytes may have missed that sync");
    assert!(journal.sync_round());
    assert!(matches!(journal.poll(&late), Some(Ok(()))));
}

#[test]
fn a_dropped_writer_leaves_nothing_and_gives_its_space_back() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let free = journal.room().free_bytes;
    let mut writer = journal.begin(id(1)).expect("begin");
    writer.write(&content(1, 600_000)).expect("write");
    assert!(journal.room().uncommitted_bytes >= 580_000);
    drop(writer);
    let room = journal.room();
    assert_eq!((room.uncommitted_bytes, room.unpacked_bytes), (0, 0));
    assert!(room.free_bytes + (128 << 10) > free, "only the shared start is used: {room:?}");
    drop(journal);
    assert_eq!(bench.open().1, []);
}

#[test]
fn uncommitted_bytes_stop_at_half_the_pool() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let mut writer = journal.begin(id(1)).expect("begin");
    let refused = (0..40).find_map(|_| writer.write(&[7; 100_000]).err());
    assert!(matches!(refused, Some(Error::NoRoom)));
    assert!(journal.room().uncommitted_bytes <= bench.options.bytes_max / 2);
    drop(writer);
    store(&journal, id(2), b"there is room again");
}

#[test]
fn a_full_pool_refuses_and_releases_make_room() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    let mut stored = Vec::new();
    let refused = loop {
        let record_id = id(stored.len() as u8);
        match commit(&journal, record_id, &content(record_id.0[0], 50_000)) {
            Ok(ticket) => {
                journal.sync_round();
                journal.wait(&ticket).expect("durable");
                stored.push(record_id);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::NoRoom));
    assert!(journal.under_pressure());
    assert_eq!(journal.oldest_first(3), stored[..3]);
    journal.release(&stored[..20]);
    for number in 100..110 {
        store(&journal, id(number), &content(number, 50_000));
    }
    for &record_id in &stored[20..] {
        assert_eq!(whole(&journal, record_id), content(record_id.0[0], 50_000));
    }
    assert!(journal.room().segments <= 8);
}

#[test]
fn segments_are_used_again_and_what_was_freed_does_not_come_back() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    for round in 0..10_u8 {
        for number in 0..20 {
            store(&journal, RecordId([round * 20 + number; 16]), &content(number, 20_000));
        }
        let ids = journal.records().iter().map(|record| record.record_id).collect::<Vec<_>>();
        journal.release(&ids);
    }
    assert!(journal.room().segments <= 3, "{:?}", journal.room());
    store(&journal, id(250), b"the last");
    drop(journal);
    let (journal, found) = bench.open();
    let used_last = journal.segments_of(id(250));
    assert_eq!(used_last.len(), 1);
    for record in found.iter().filter(|record| journal.segments_of(record.record_id) == used_last) {
        assert!(record.record_id.0[0] >= 160, "from an earlier use of the segment: {}", record.record_id);
    }
}

#[test]
fn a_pool_made_smaller_shrinks_as_it_empties() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    for number in 0..30 {
        store(&journal, id(number), &content(number, 40_000));
    }
    drop(journal);
    let smaller = Bench { options: JournalOptions { bytes_max: 512 << 10, ..options() }, ..bench };
    let (journal, found) = smaller.open();
    assert!(journal.room().segments > 4);
    assert!(matches!(commit(&journal, id(100), b"full"), Err(Error::NoRoom)));
    journal.release(&found.iter().map(|record| record.record_id).collect::<Vec<_>>());
    assert_eq!((journal.room().segments, journal.room().free_bytes), (2, 512 << 10));
    store(&journal, id(101), &content(101, 40_000));
}

#[test]
fn a_long_record_goes_on_in_segments_of_its_own() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    store(&journal, id(1), &content(1, 700_000));
    store(&journal, id(2), &content(2, 1_000));
    let shared = journal.segments_of(id(2));
    assert_eq!(journal.segments_of(id(1)).len(), 4);
    assert_eq!(shared.len(), 1);
    journal.release(&[id(1)]);
    assert_eq!(whole(&journal, id(2)), content(2, 1_000));
}

#[test]
fn a_failed_sync_fails_its_waiters_and_a_second_closes_the_journal() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    store(&journal, id(1), &content(1, 30_000));
    let mut writing = journal.begin(id(2)).expect("begin");
    writing.write(&content(2, 30_000)).expect("write");
    let waiting = commit(&journal, id(3), b"waits").expect("commit");
    bench.disk.failing_syncs(1);
    journal.sync_round();
    assert!(matches!(journal.wait(&waiting), Err(Error::Failed)));
    assert!(matches!(writing.commit(KEY), Err(Error::Failed)), "its first frames are not trusted");
    assert_eq!(whole(&journal, id(1)), content(1, 30_000), "what was durable is still read");

    store(&journal, id(4), b"elsewhere");
    assert_ne!(journal.segments_of(id(1)), journal.segments_of(id(4)));
    let segments = journal.room().segments;
    journal.release(&[id(1)]);
    assert_eq!(journal.room().segments, segments - 1, "drained and retired");

    let waiting = commit(&journal, id(5), b"waits").expect("commit");
    bench.disk.failing_syncs(1);
    journal.sync_round();
    assert!(matches!(journal.wait(&waiting), Err(Error::Failed)));
    assert!(matches!(journal.begin(id(6)), Err(Error::Closed)));
    assert!(journal.room().closed);
    assert_eq!(whole(&journal, id(4)), b"elsewhere");
}

#[test]
fn a_failed_write_poisons_and_a_full_disk_does_not() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    store(&journal, id(1), b"first");
    for _ in 0..3 {
        bench.disk.full_writes.store(1, Ordering::SeqCst);
        assert!(matches!(commit(&journal, id(2), b"no room"), Err(Error::NoRoom)));
    }
    store(&journal, id(2), b"room again");
    for _ in 0..2 {
        assert!(!journal.room().closed);
        bench.disk.failing_writes.store(1, Ordering::SeqCst);
        assert!(matches!(commit(&journal, id(3), b"fails"), Err(Error::Io { .. })));
    }
    assert!(journal.room().closed);
    assert_eq!(whole(&journal, id(2)), b"room again");
}

#[test]
fn a_block_that_cannot_be_read_frees_nothing() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    store(&journal, id(1), &content(1, 600_000));
    store(&journal, id(2), &content(2, 10_000));
    let segments = journal.segments_of(id(1));
    drop(journal);

    bench.disk.unreadable_from.store(40_000, Ordering::SeqCst);
    let (journal, found) = bench.open();
    assert_eq!(found, [], "every segment has blocks behind 40,000");
    store(&journal, id(3), &content(3, 100_000));
    assert!(journal.segments_of(id(3)).iter().all(|used| !segments.contains(used)));
    drop(journal);

    bench.disk.unreadable_from.store(u64::MAX, Ordering::SeqCst);
    let (journal, _) = bench.open();
    for (number, length) in [(1, 600_000), (2, 10_000), (3, 100_000)] {
        assert_eq!(whole(&journal, id(number)), content(number, length));
    }
}

#[test]
fn a_torn_frame_hurts_only_its_record() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    for number in 1..=3 {
        store(&journal, id(number), &content(number, 10_000));
    }
    let middle = 4_096 + 3 * 4_096;
    drop(journal);
    let path = bench.dir().join("segment-00000001");
    let file = RealDisk.open(&path, Open::ReadWrite).expect("open");
    file.write_at(&[0xff; 512], middle + 4_096).expect("tear");
    let found = bench.open().1.iter().map(|record| record.record_id).collect::<Vec<_>>();
    assert_eq!(found, [id(1), id(3)]);
}

#[test]
fn arbitrary_bytes_in_segments_are_no_records() {
    let bench = Bench::new();
    drop(bench.open());
    let random = Random::seeded(5);
    for number in 1..4_u32 {
        let mut bytes = vec![0; 300_000];
        random.fill(&mut bytes);
        std::fs::write(bench.dir().join(pool::segment_name(number)), &bytes).expect("write");
    }
    std::fs::write(bench.dir().join("segment-00000009"), b"short").expect("write");
    std::fs::write(bench.dir().join("notes.txt"), b"not ours").expect("write");
    let (journal, found) = bench.open();
    assert_eq!(found, []);
    store(&journal, id(1), b"still works");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let bench = Bench::new();
    for wrong in [
        JournalOptions { frame_payload_bytes_max: 4_096, ..options() },
        JournalOptions { segment_bytes: 10_000, ..options() },
        JournalOptions { segment_bytes: 16 << 10, ..options() },
        JournalOptions { bytes_max: 300 << 10, ..options() },
    ] {
        let clock = Clock::manual(Timestamp(0));
        let opened = Journal::open(Arc::new(RealDisk), &bench.dir(), wrong, &clock, &Random::system());
        assert!(matches!(opened.err(), Some(Error::Options(_))));
    }
}

#[test]
fn many_writers_sync_for_each_other() {
    let bench = Bench { options: JournalOptions { bytes_max: 64 << 20, ..options() }, ..Bench::new() };
    let (journal, _) = bench.open();
    let writers = (0..8_u8).map(|writer| {
        let journal = Arc::clone(&journal);
        thread::spawn(move || {
            for number in 0..30_u8 {
                let mut record_id = id(writer);
                record_id.0[0] = number;
                let length = usize::from(number) * 900 + usize::from(writer);
                let ticket = commit(&journal, record_id, &content(number ^ writer, length)).expect("commit");
                journal.wait(&ticket).expect("durable");
                assert_eq!(whole(&journal, record_id), content(number ^ writer, length));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.join().expect("writer");
    }
    journal.stop();
    assert!(matches!(journal.begin(id(9)), Err(Error::Closed)));
    drop(journal);
    assert_eq!(bench.open().1.len(), 240);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn interleaved_records_of_any_cut_read_back(
        lengths in prop::collection::vec(0..120_000_usize, 1..6),
        cuts in prop::collection::vec(1..40_000_usize, 1..12),
    ) {
        let bench = Bench::new();
        let (journal, _) = bench.open();
        let expected = lengths
            .iter()
            .enumerate()
            .map(|(number, &length)| (id(number as u8), content(number as u8, length)))
            .collect::<BTreeMap<_, _>>();
        let mut writers = expected
            .iter()
            .map(|(&record_id, bytes)| (journal.begin(record_id).expect("begin"), bytes.as_slice()))
            .collect::<Vec<_>>();
        for &cut in cuts.iter().cycle().take(40) {
            for (writer, rest) in &mut writers {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                writer.write(now).expect("write");
                *rest = later;
            }
        }
        let tickets = writers
            .into_iter()
            .map(|(mut writer, rest)| {
                writer.write(rest).expect("write");
                writer.commit(KEY).expect("commit")
            })
            .collect::<Vec<_>>();
        journal.sync_round();
        for ticket in tickets {
            prop_assert!(matches!(journal.poll(&ticket), Some(Ok(()))));
        }
        drop(journal);
        let (journal, found) = bench.open();
        prop_assert_eq!(found.len(), expected.len());
        for (record_id, bytes) in &expected {
            prop_assert_eq!(&whole(&journal, *record_id), bytes);
        }
    }
}

#[test]
fn segments_written_ahead_are_used_first_and_found_again() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    assert!(journal.prepare_segment().expect("room"));
    assert!(journal.prepare_segment().expect("room"));
    assert!(!journal.prepare_segment().expect("room"), "two are ready");
    let length = |segment: u32| {
        std::fs::metadata(bench.dir().join(pool::segment_name(segment))).map(|file| file.len()).ok()
    };
    assert_eq!([length(1), length(2), length(3)], [Some(256 << 10), Some(256 << 10), None]);
    store(&journal, id(1), &content(1, 1000));
    assert_eq!(journal.room().segments, 2, "no segment was made for it");
    assert!(journal.prepare_segment().expect("room"), "one is in use");
    drop(journal);
    let (journal, found) = bench.open();
    assert_eq!(found.len(), 1);
    assert_eq!(whole(&journal, id(1)), content(1, 1000));
    assert!(!journal.prepare_segment().expect("room"), "two are still ready");
    assert_eq!(journal.room().segments, 3);
}

#[test]
fn no_more_is_written_ahead_than_the_pool_may_take() {
    let mut bench = Bench::new();
    bench.options.ready_segments = 100;
    let (journal, _) = bench.open();
    let mut made = 0;
    while journal.prepare_segment().expect("room") {
        made += 1;
    }
    assert_eq!(made, 8);
    assert_eq!(journal.room().segments, 8);
    let free_bytes = journal.room().free_bytes;
    assert_eq!(free_bytes, 8 * (256 << 10));
}

#[test]
fn a_segment_that_cannot_be_written_ahead_leaves_the_pool_as_it_was() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    bench.disk.failing_syncs(1);
    assert!(journal.prepare_segment().is_err());
    assert_eq!(journal.room().segments, 0);
    assert!(!bench.dir().join(pool::segment_name(1)).exists());
    assert!(journal.prepare_segment().expect("room"));
    store(&journal, id(1), &content(1, 70_000));
    assert!(!journal.room().closed);
}

#[test]
fn a_round_that_panics_has_failed_and_hangs_nobody() {
    let bench = Bench::new();
    let (journal, _) = bench.open();
    store(&journal, id(1), &content(1, 3_000));
    let waiting = commit(&journal, id(2), b"waits").expect("commit");
    bench.disk.panicking_syncs.store(1, Ordering::SeqCst);
    let syncing = Arc::clone(&journal);
    assert!(thread::spawn(move || syncing.sync_round()).join().is_err());
    assert!(matches!(journal.wait(&waiting), Err(Error::Failed)), "it was not synced");
    store(&journal, id(3), b"elsewhere");
    assert_eq!(whole(&journal, id(1)), content(1, 3_000));
}
