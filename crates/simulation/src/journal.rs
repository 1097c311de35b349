//! The journal under interleaved writers, crashes and restarts, against a plain model.

use std::{collections::BTreeMap, sync::Arc};

use filmgate_model::{Clock, Random, RecordId, Timestamp};
use filmgate_spool::{Epoch, Error, Journal, JournalOptions, JournalRecord, RecordWriter, Ticket};

use crate::{Faults, Violation, machine::Machine};

const DIR: &str = "journal";
const STEPS: u64 = 300;
const WRITERS_MAX: usize = 6;

/// How often what happened, so that a clean run is known to have tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalTally {
    /// Records that were told durable.
    pub durable: u64,
    /// Records that got an error after their commit was begun.
    pub failed: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// First disks lost for good, with a second one beside.
    pub disks_lost: u64,
    /// Kills of the process.
    pub kills: u64,
    /// Durable records found again after a restart.
    pub recovered: u64,
    /// Records found after a restart of which nobody knew whether they were durable.
    pub found_unsure: u64,
    /// Released records that came back whole, their segment not used again.
    pub reappeared: u64,
    /// Records released.
    pub released: u64,
    /// Refusals for want of room.
    pub no_room: u64,
    /// Segments written ahead of need.
    pub prepared: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Recoveries that met blocks they could not read.
    pub unreadable: u64,
    /// Calls of the disk.
    pub operations: u64,
}

impl JournalTally {
    /// Adds another run's counts.
    pub fn add(&mut self, run: &Self) {
        self.durable += run.durable;
        self.failed += run.failed;
        self.power_cuts += run.power_cuts;
        self.disks_lost += run.disks_lost;
        self.kills += run.kills;
        self.recovered += run.recovered;
        self.found_unsure += run.found_unsure;
        self.reappeared += run.reappeared;
        self.released += run.released;
        self.no_room += run.no_room;
        self.prepared += run.prepared;
        self.failed_syncs += run.failed_syncs;
        self.unreadable += run.unreadable;
        self.operations += run.operations;
    }
}

/// Runs the journal by `seed`.
///
/// # Errors
/// The first promise that was broken.
pub fn journal_simulation(seed: u64) -> Result<(), Violation> {
    journal_tally(seed).map(|_| ())
}

/// As [`journal_simulation`]; says what happened.
///
/// # Errors
/// The first promise that was broken.
pub fn journal_tally(seed: u64) -> Result<JournalTally, Violation> {
    let mut run = Run::new(seed);
    run.play().map_err(|what| Violation { seed, step: run.step, what })?;
    run.tally.operations = run.disk.operations();
    Ok(run.tally)
}

/// What the model knows of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// Never committed: must never be seen.
    None,
    /// Committed, no answer or an error: whole or absent.
    Unsure,
    /// Told durable: must be there.
    Durable,
    /// Released: whole or absent, and absent once a segment of it is in another epoch.
    Released,
}

#[derive(Debug)]
struct Known {
    record_bytes: u64,
    promise: Promise,
    /// In the journal as it runs now.
    present: bool,
    /// Where its frames lie, as far as known.
    segments: Vec<(u32, Epoch)>,
}

struct Writing {
    writer: RecordWriter,
    left: u64,
}

type Check = Result<(), String>;

struct Run {
    random: Random,
    disk: Machine,
    options: JournalOptions,
    faults: Faults,
    journal: Option<Arc<Journal>>,
    writers: Vec<Writing>,
    tickets: Vec<Ticket>,
    model: BTreeMap<RecordId, Known>,
    next_record: u64,
    step: u64,
    tally: JournalTally,
}

impl Run {
    fn new(seed: u64) -> Self {
        let random = Random::seeded(seed);
        let disk = Machine::new(&random, (400 << 10) + random.below(3 << 20), seed % 4 == 3);
        let faults = match random.below(3) {
            0 => Faults::default(),
            1 => Faults { sync: 100, ..Faults::default() },
            _ => Faults {
                read: random.below(2_500),
                write: random.below(60),
                full: random.below(60),
                sync: 40,
            },
        };
        let segment_bytes = (10 + random.below(30)) * 4096;
        Self {
            disk,
            faults,
            options: JournalOptions {
                segment_bytes,
                bytes_max: segment_bytes * (3 + random.below(10)),
                frame_payload_bytes_max: 8192 + 4096 * random.below(3) as usize,
                own_chain_past_bytes: 32 << 10,
                ready_segments: random.below(3) as usize,
                pressure_free_percent: 40,
            },
            random,
            journal: None,
            writers: Vec::new(),
            tickets: Vec::new(),
            model: BTreeMap::new(),
            next_record: 0,
            step: 0,
            tally: JournalTally::default(),
        }
    }

    fn play(&mut self) -> Check {
        self.restart()?;
        while self.step < STEPS {
            self.step += 1;
            self.act()?;
            if self.disk.power_is_off() {
                self.restart()?;
            }
            self.check_rules()?;
        }
        self.check_that_room_comes_back()
    }

    fn journal(&self) -> Result<Arc<Journal>, String> {
        self.journal.clone().ok_or_else(|| "no journal".to_owned())
    }

    fn act(&mut self) -> Check {
        match self.random.below(100) {
            0..15 => self.begin(),
            15..50 => self.write(),
            50..62 => self.commit(),
            62 => self.drop_writer(),
            63 => self.prepare(),
            64..76 => self.sync_round(),
            76..84 => self.read(),
            84..94 => self.release(),
            94..96 => {
                self.disk.cut_power_in(1 + self.random.below(30));
                Ok(())
            }
            96..98 => {
                self.disk.cut_power();
                Ok(())
            }
            _ => {
                self.tally.kills += 1;
                self.disk.kill_process();
                self.restart()
            }
        }
    }

    fn begin(&mut self) -> Check {
        if self.writers.len() >= WRITERS_MAX {
            return Ok(());
        }
        let mut id = [0; 16];
        self.random.fill(&mut id);
        let record_id = RecordId(id);
        let record_bytes = match self.random.below(10) {
            0..5 => self.random.below(4_000),
            5..9 => self.random.below(30_000),
            _ => self.random.below(150_000),
        };
        match self.journal()?.begin(record_id) {
            Ok(writer) => {
                self.next_record += 1;
                let known =
                    Known { record_bytes, promise: Promise::None, present: false, segments: Vec::new() };
                self.model.insert(record_id, known);
                self.writers.push(Writing { writer, left: record_bytes });
                Ok(())
            }
            Err(error) => self.note(&error),
        }
    }

    fn write(&mut self) -> Check {
        let Some(number) = self.any_writer() else { return Ok(()) };
        let most = 1 + self.random.below(20_000);
        let Some(writing) = self.writers.get_mut(number) else { return Ok(()) };
        let writer = &mut writing.writer;
        let bytes = content(writer.record_id(), writer.record_bytes(), writing.left.min(most));
        match writer.write(&bytes) {
            Ok(()) => {
                writing.left -= bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.writers.swap_remove(number);
                self.note(&error)
            }
        }
    }

    fn commit(&mut self) -> Check {
        let Some(number) = self.any_writer() else { return Ok(()) };
        let Writing { mut writer, left } = self.writers.swap_remove(number);
        let record_id = writer.record_id();
        let rest = content(record_id, writer.record_bytes(), left);
        if let Err(error) = writer.write(&rest) {
            return self.note(&error);
        }
        self.promise(record_id, Promise::Unsure);
        match writer.commit(&key_of(record_id)) {
            Ok(ticket) => {
                self.tickets.push(ticket);
                Ok(())
            }
            Err(error) => {
                self.tally.failed += 1;
                self.note(&error)
            }
        }
    }

    fn drop_writer(&mut self) -> Check {
        if let Some(number) = self.any_writer() {
            self.writers.swap_remove(number);
        }
        Ok(())
    }

    fn prepare(&mut self) -> Check {
        match self.journal()?.prepare_segment() {
            Ok(made) => {
                self.tally.prepared += u64::from(made);
                Ok(())
            }
            Err(error) => self.note(&error),
        }
    }

    fn any_writer(&self) -> Option<usize> {
        let number = self.random.below(self.writers.len() as u64) as usize;
        (number < self.writers.len()).then_some(number)
    }

    fn sync_round(&mut self) -> Check {
        let journal = self.journal()?;
        journal.sync_round();
        for ticket in std::mem::take(&mut self.tickets) {
            let record_id = ticket.record_id();
            match journal.poll(&ticket) {
                None => self.tickets.push(ticket),
                Some(Err(_)) => self.tally.failed += 1,
                Some(Ok(())) => {
                    self.tally.durable += 1;
                    self.promise(record_id, Promise::Durable);
                    self.set_present(record_id, &journal)?;
                }
            }
        }
        Ok(())
    }

    /// The record is in the journal: notes where, for the day it is released.
    fn set_present(&mut self, record_id: RecordId, journal: &Journal) -> Check {
        let segments = journal.segments_of(record_id);
        if segments.is_empty() {
            return Err(format!("record {record_id} is durable and cannot be read"));
        }
        if let Some(known) = self.model.get_mut(&record_id) {
            known.present = true;
            known.segments = segments;
        }
        Ok(())
    }

    fn promise(&mut self, record_id: RecordId, promise: Promise) {
        if let Some(known) = self.model.get_mut(&record_id) {
            known.promise = promise;
        }
    }

    fn any_present(&self) -> Option<RecordId> {
        let present = self.model.iter().filter(|(_, known)| known.present).map(|(&id, _)| id);
        let present = present.collect::<Vec<_>>();
        present.get(self.random.below(present.len() as u64) as usize).copied()
    }

    fn read(&mut self) -> Check {
        let Some(record_id) = self.any_present() else { return Ok(()) };
        let length = self.model.get(&record_id).map_or(0, |known| known.record_bytes);
        let from = self.random.below(length + 1);
        let to = from + self.random.below(length - from + 1);
        match self.journal()?.read(record_id, from..to) {
            Ok(bytes) if bytes == content(record_id, from, to - from) => Ok(()),
            Ok(_) => Err(format!("record {record_id} reads other bytes at {from}..{to}")),
            Err(Error::Io { .. }) => Ok(()),
            Err(error) => Err(format!("record {record_id} is durable and does not read: {error}")),
        }
    }

    fn release(&mut self) -> Check {
        let journal = self.journal()?;
        let released = if journal.under_pressure() {
            journal.oldest_first(1 + self.random.below(12) as usize)
        } else {
            self.any_present().into_iter().collect()
        };
        journal.release(&released);
        for record_id in released {
            self.tally.released += 1;
            let known = self.model.get_mut(&record_id).ok_or("a record nobody wrote was released")?;
            if !known.present {
                return Err(format!("record {record_id} was listed and is not durable"));
            }
            known.present = false;
            known.promise = Promise::Released;
        }
        Ok(())
    }

    /// An error is fair while its cause is known.
    fn note(&mut self, error: &Error) -> Check {
        match error {
            Error::NoRoom => self.tally.no_room += 1,
            Error::Closed | Error::Failed | Error::Io { .. } => {}
            other => return Err(format!("an error without a cause: {other}")),
        }
        Ok(())
    }

    /// The process ended, by a power cut or by a kill: starts it again until it comes up, and checks what it finds.
    fn restart(&mut self) -> Check {
        self.writers.clear();
        self.tickets.clear();
        self.journal = None;
        for known in self.model.values_mut() {
            known.present = false;
        }
        for attempt in 0.. {
            if self.disk.power_is_off() {
                self.tally.power_cuts += 1;
                self.disk.power_on();
                if self.disk.is_mirrored() && self.random.below(6) == 0 {
                    self.tally.disks_lost += 1;
                    self.disk.replace_first();
                }
            }
            self.disk.set_faults(if attempt < 2 { self.faults } else { Faults::default() });
            let (failed_reads, failed_syncs) = (self.disk.failed_reads(), self.disk.failed_syncs());
            if attempt == 0 && self.step < STEPS && self.random.below(8) == 0 {
                self.disk.cut_power_in(1 + self.random.below(20));
            }
            let opened = self.open();
            self.tally.failed_syncs += self.disk.failed_syncs().saturating_sub(failed_syncs);
            if let Ok((journal, found)) = opened
                && !self.disk.power_is_off()
            {
                let unreadable = self.disk.failed_reads() > failed_reads;
                self.tally.unreadable += u64::from(unreadable);
                self.disk.set_faults(Faults::default());
                self.check_recovery(&journal, &found, unreadable)?;
                self.disk.set_faults(self.faults);
                self.journal = Some(journal);
                return Ok(());
            }
            self.disk.kill_process();
        }
        Ok(())
    }

    fn open(&self) -> Result<(Arc<Journal>, Vec<JournalRecord>), Error> {
        let disk = self.disk.open(&[DIR]).map_err(|source| Error::Io { step: "open disk", source })?;
        let clock = Clock::manual(Timestamp(0));
        Journal::open(disk, &self.disk.folder(DIR), self.options.clone(), &clock, &self.random)
    }

    fn check_recovery(&mut self, journal: &Journal, found: &[JournalRecord], unreadable: bool) -> Check {
        for record in found {
            self.check_found(journal, record)?;
        }
        let missing =
            self.model.iter().find(|(_, known)| known.promise == Promise::Durable && !known.present);
        match missing {
            // They have to be there again when every block can be read.
            Some(_) if unreadable => Ok(()),
            Some((record_id, _)) => Err(format!("record {record_id} was told durable and is lost")),
            None => Ok(()),
        }
    }

    fn check_found(&mut self, journal: &Journal, record: &JournalRecord) -> Check {
        let id = record.record_id;
        let known = self.model.get(&id).ok_or_else(|| format!("record {id} was never written"))?;
        let (promise, record_bytes) = (known.promise, known.record_bytes);
        if promise == Promise::None {
            return Err(format!("record {id} was never committed and is found"));
        }
        if record.record_bytes != record_bytes || record.wrapped_key != key_of(id) {
            return Err(format!("record {id} is found with another length or key"));
        }
        match journal.read(id, 0..record_bytes) {
            Ok(bytes) if bytes == content(id, 0, record_bytes) => {}
            Ok(_) => return Err(format!("record {id} is found with other bytes")),
            Err(_) if self.disk.power_is_off() => {}
            Err(error) => return Err(format!("record {id} is found and does not read: {error}")),
        }
        if promise == Promise::Released {
            self.check_not_freed(id)?;
            self.tally.reappeared += 1;
        }
        self.tally.recovered += u64::from(promise == Promise::Durable);
        self.tally.found_unsure += u64::from(promise == Promise::Unsure);
        // Recovery synced what it read. A sync that failed before may have left pages that only look clean; and what
        // nobody was told durable may be on the first of two disks alone.
        if promise == Promise::Durable || self.disk.failed_syncs() == 0 && !self.disk.is_mirrored() {
            self.promise(id, Promise::Durable);
        } else if promise == Promise::Released {
            self.promise(id, Promise::Unsure);
        }
        self.set_present(id, journal)
    }

    /// A released record may come back only while every segment of it is in the epoch it was written in. The header is
    /// read from the disk by this test's own knowledge of FORMAT.md.
    fn check_not_freed(&self, record_id: RecordId) -> Check {
        let segments = self.model.get(&record_id).map(|known| known.segments.as_slice()).unwrap_or_default();
        for &(segment, epoch) in segments {
            let path = self.disk.folder(DIR).join(format!("segment-{segment:08x}"));
            let header = self.disk.peek(&path, 36).unwrap_or_default();
            let counter = header.get(16..24) == Some(epoch.counter.to_le_bytes().as_slice());
            let random = header.get(24..32) == Some(epoch.random.to_le_bytes().as_slice());
            if !counter || !random {
                return Err(format!(
                    "record {record_id} comes back from segment {segment}, which was used again"
                ));
            }
        }
        Ok(())
    }

    fn check_rules(&self) -> Check {
        if let Some(broken) = self.disk.broken_rule() {
            return Err(broken);
        }
        let room = self.journal()?.room();
        if room.uncommitted_bytes > self.options.bytes_max / 2 {
            return Err(format!("uncommitted bytes past half the pool: {room:?}"));
        }
        if self.writers.is_empty() && room.uncommitted_bytes > 0 {
            return Err(format!("uncommitted bytes of no writer: {room:?}"));
        }
        if room.segments * self.options.segment_bytes > room.pool_bytes_max
            || room.free_bytes > room.pool_bytes_max
        {
            return Err(format!("the pool is past its limit: {room:?}"));
        }
        Ok(())
    }

    /// Without faults and with everything released, half the pool takes a record again.
    fn check_that_room_comes_back(&mut self) -> Check {
        self.faults = Faults::default();
        self.disk.cut_power();
        self.restart()?;
        let journal = self.journal()?;
        let ids = journal.records().iter().map(|record| record.record_id).collect::<Vec<_>>();
        journal.release(&ids);
        let room = journal.room();
        let past_limit = room.segments * self.options.segment_bytes > room.pool_bytes_max;
        if room.free_bytes != room.pool_bytes_max || room.unpacked_bytes != 0 || past_limit {
            return Err(format!("released segments are not free: {room:?}"));
        }
        Ok(())
    }
}

/// The bytes of a record from `offset` on: any place of any record has its own.
fn content(record_id: RecordId, offset: u64, length: u64) -> Vec<u8> {
    let (low, _) = record_id.0.split_first_chunk::<8>().map_or(([0; 8], &[][..]), |(low, rest)| (*low, rest));
    let seed = u64::from_le_bytes(low);
    let byte = |at: u64| {
        let mixed = (seed ^ (at / 8)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).to_le_bytes()[(at % 8) as usize]
    };
    (offset..offset + length).map(byte).collect()
}

fn key_of(record_id: RecordId) -> Vec<u8> {
    record_id.0.iter().cycle().take(60).map(|byte| byte ^ 0x5a).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_keeps_its_promises() {
        let mut tally = JournalTally::default();
        for seed in 0..100 {
            tally.add(&journal_tally(seed).unwrap_or_else(|violation| panic!("{violation}")));
        }
        let tried = [
            tally.durable,
            tally.recovered,
            tally.found_unsure,
            tally.reappeared,
            tally.no_room,
            tally.failed_syncs,
            tally.unreadable,
            tally.disks_lost,
            tally.prepared,
        ];
        assert!(tried.iter().all(|&count| count > 10), "the schedule leaves something out: {tally:?}");
    }

    #[test]
    fn one_seed_is_one_run() {
        assert_eq!(journal_tally(77), journal_tally(77));
    }
}
