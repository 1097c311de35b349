//! Group commit: one sync for all who wait, each released by a sync that began after its last write.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use filmgate_model::RecordId;

use super::{Journal, State, index::Pending};
use crate::{Error, disk::DiskFile, metrics};

/// What became of a committed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Waiting = 0,
    Durable = 1,
    Failed = 2,
}

/// Stands for a committed record until it is durable or has failed.
#[derive(Debug, Clone)]
pub struct Ticket {
    record_id: RecordId,
    outcome: Arc<AtomicU8>,
}

impl Ticket {
    pub(super) fn new(record_id: RecordId) -> Self {
        Self { record_id, outcome: Arc::new(AtomicU8::new(Outcome::Waiting as u8)) }
    }

    /// The record this is about.
    #[must_use]
    pub fn record_id(&self) -> RecordId {
        self.record_id
    }

    pub(super) fn set(&self, outcome: Outcome) {
        self.outcome.store(outcome as u8, Ordering::Release);
    }

    fn result(&self) -> Option<Result<(), Error>> {
        match self.outcome.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Ok(())),
            _ => Some(Err(Error::Failed)),
        }
    }
}

/// A segment that a round syncs.
struct Target {
    segment: u32,
    file: Arc<dyn DiskFile>,
    name_synced: bool,
}

/// A round that is under way. One that panics has failed: nobody may take for synced what it was to sync, and nobody
/// waits for its end.
struct UnderWay<'a> {
    journal: &'a Journal,
    targets: &'a [Target],
    is_over: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.journal.state.lock();
        state.is_syncing = false;
        for target in self.targets {
            state.fail_segment(target.segment, "sync journal segment", "the sync panicked");
        }
        drop(state);
        self.journal.settled.notify_all();
    }
}

impl Journal {
    /// Blocks until the record is durable. The first who waits syncs for all who do; who comes meanwhile is in the next
    /// round. So nobody has to be woken to sync for a sender that is alone.
    ///
    /// # Errors
    /// [`Error::Failed`] when a write or sync failed in one of its segments: it is not durable and will not be.
    pub fn wait(&self, ticket: &Ticket) -> Result<(), Error> {
        let mut state = self.state.lock();
        loop {
            if let Some(result) = ticket.result() {
                return result;
            }
            if state.is_syncing {
                self.settled.wait(&mut state);
            } else {
                drop(state);
                self.sync_round();
                state = self.state.lock();
            }
        }
    }

    /// What became of the record, `None` while that is open.
    #[must_use]
    pub fn poll(&self, ticket: &Ticket) -> Option<Result<(), Error>> {
        ticket.result()
    }

    /// Syncs every segment written to since its last sync, once, and settles the records that waited for it.
    /// False when there was nothing to do, or another round is under way.
    pub fn sync_round(&self) -> bool {
        let Some((round, targets)) = self.begin_round() else { return false };
        let mut under_way = UnderWay { journal: self, targets: &targets, is_over: false };
        let started = self.clock.now();
        let names = if targets.iter().all(|target| target.name_synced) {
            Ok(())
        } else {
            self.disk.sync_dir(&self.dir)
        };
        let synced = targets.iter().map(|target| target.file.sync()).collect::<Vec<_>>();
        metrics::sync_round(self.clock.now().since(started));

        let mut state = self.state.lock();
        under_way.is_over = true;
        state.is_syncing = false;
        for (target, synced) in targets.iter().zip(synced) {
            state.end_sync(target, &names, synced);
        }
        state.settle_round(round);
        metrics::room(&state.room());
        drop(state);
        self.settled.notify_all();
        true
    }

    /// Numbers a round and takes the dirty segments: what is written from here on needs the next round.
    fn begin_round(&self) -> Option<(u64, Vec<Target>)> {
        let mut state = self.state.lock();
        if state.is_syncing {
            return None;
        }
        let mut targets = Vec::new();
        for (&segment, found) in state.pool.segments.iter_mut().filter(|(_, segment)| segment.dirty) {
            found.dirty = false;
            let file = Arc::clone(&found.file);
            targets.push(Target { segment, file, name_synced: found.name_synced });
        }
        if targets.is_empty() && state.pending.is_empty() {
            return None;
        }
        state.is_syncing = true;
        state.rounds_started += 1;
        Some((state.rounds_started, targets))
    }

    /// Takes no more records, and lets the thread end that prepares segments.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.stopped.notify_all();
    }
}

impl State {
    fn end_sync(&mut self, target: &Target, names: &io::Result<()>, synced: io::Result<()>) {
        let failed = match (names, synced) {
            (_, Err(error)) => Some(error.to_string()),
            (Err(error), Ok(())) if !target.name_synced => Some(error.to_string()),
            _ => None,
        };
        match failed {
            Some(error) => self.fail_segment(target.segment, "sync journal segment", &error),
            None => {
                if let Some(segment) = self.pool.segments.get_mut(&target.segment) {
                    segment.name_synced = true;
                }
            }
        }
    }

    /// Everything that was pending when `round` began is durable now; who failed is no longer pending.
    fn settle_round(&mut self, round: u64) {
        let (settled, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| pending.after_round < round);
        self.pending = waiting;
        for pending in settled {
            self.index.mark_durable(pending.record_id);
            pending.resolve(Outcome::Durable);
        }
    }

    /// A write or sync failed: poisons the segment, fails everybody who waited for it, and after a second failure
    /// closes the journal. Nothing is tried again in place: after a failed sync the kernel may hold pages for clean
    /// that never reached the disk.
    pub(super) fn fail_segment(&mut self, segment: u32, step: &'static str, error: &str) {
        if !self.pool.poison(segment) {
            return;
        }
        tracing::error!(segment, step, error, closed = self.pool.is_failed(), "journal segment poisoned");
        let (failed, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| self.waits_for(pending, segment));
        self.pending = waiting;
        for pending in failed {
            if let Some(entry) = self.index.remove(pending.record_id) {
                self.pool.let_go(&entry.segments);
            }
            pending.resolve(Outcome::Failed);
        }
        self.pool.settle(segment);
    }

    fn waits_for(&self, pending: &Pending, segment: u32) -> bool {
        self.index.entry(pending.record_id).is_some_and(|entry| entry.segments.contains(&segment))
    }
}
