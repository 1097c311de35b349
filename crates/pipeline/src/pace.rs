//! What is done behind the journal yields to receipt: while instances arrive, packing, upload and verification together
//! keep to so many bytes a second, and rows of the catalog are gathered. Once nothing arrives they run as fast as they can.
//!
//! Nothing starves: what has waited as long as a pack may age goes on at once, and so does everything while the journal
//! wants room. A step says what it moved, and who drives the steps asks how long to rest before the next; a step that is
//! long asks between its parts, too. The clock may jump.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use filmgate_model::{Clock, Timestamp};
use parking_lot::Mutex;

use crate::{Road, Settings};

/// How receipt and the steps behind it share the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yielding {
    /// Bytes that packing, upload and verification together move in a second while instances arrive; 0: no cap.
    pub bytes_per_second: u64,
    /// Receipt is over when nothing came for so long.
    pub quiet: Duration,
    /// While instances arrive, rows of the catalog are gathered for so long.
    pub gather: Duration,
}

impl Default for Yielding {
    fn default() -> Self {
        Self {
            bytes_per_second: 16 << 20,
            quiet: Duration::from_millis(1000),
            gather: Duration::from_millis(400),
        }
    }
}

/// How often who rests amid a step looks whether it still has to.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The pace of one road.
pub(crate) struct Pace {
    clock: Clock,
    yielding: Yielding,
    /// When bytes of an instance came last, in milliseconds.
    received_at: AtomicI64,
    owed: Mutex<Owed>,
}

/// Rest that is owed for what was moved.
#[derive(Debug, Clone, Copy)]
struct Owed {
    since: Timestamp,
    rest: Duration,
}

impl Owed {
    /// What is left of it. A clock set back counts like one set forward: nobody waits for a time that was.
    fn left(self, now: Timestamp) -> Duration {
        self.rest.saturating_sub(distance(now, self.since))
    }
}

impl Pace {
    pub(crate) fn new(clock: Clock, yielding: Yielding) -> Self {
        let owed = Owed { since: Timestamp::default(), rest: Duration::ZERO };
        Self { clock, yielding, received_at: AtomicI64::new(i64::MIN), owed: Mutex::new(owed) }
    }

    /// Bytes of an instance came.
    pub(crate) fn received(&self) {
        self.received_at.store(self.clock.now().0, Ordering::Relaxed);
    }

    /// How long nothing came.
    fn silence(&self, now: Timestamp) -> Duration {
        distance(now, Timestamp(self.received_at.load(Ordering::Relaxed)))
    }

    fn is_receiving(&self, now: Timestamp) -> bool {
        self.silence(now) < self.yielding.quiet
    }

    /// A step behind the journal moved so many bytes. What is moved while nothing arrives costs nothing.
    pub(crate) fn moved(&self, bytes: u64) {
        self.owe(&mut self.owed.lock(), bytes, self.clock.now());
    }

    /// Counts what is about to be moved when no rest is owed; else how long it is.
    fn claim(&self, bytes: u64) -> Duration {
        let now = self.clock.now();
        let mut owed = self.owed.lock();
        let rest = if self.is_receiving(now) { owed.left(now) } else { Duration::ZERO };
        if rest.is_zero() {
            self.owe(&mut owed, bytes, now);
        }
        rest
    }

    fn owe(&self, owed: &mut Owed, bytes: u64, now: Timestamp) {
        if self.yielding.bytes_per_second > 0 && self.is_receiving(now) {
            let milliseconds = bytes.saturating_mul(1000) / self.yielding.bytes_per_second;
            let rest = owed.left(now).saturating_add(Duration::from_millis(milliseconds));
            *owed = Owed { since: now, rest };
        }
    }

    fn rest(&self, now: Timestamp) -> Duration {
        if self.is_receiving(now) { self.owed.lock().left(now) } else { Duration::ZERO }
    }
}

fn distance(a: Timestamp, b: Timestamp) -> Duration {
    Duration::from_millis(a.0.abs_diff(b.0))
}

impl Road {
    /// True while bytes of instances arrive.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        self.pace.is_receiving(self.clock.now())
    }

    /// How long nothing arrived.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.pace.silence(self.clock.now())
    }

    /// True when the journal wants room: then the steps behind it come before comfort.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.journal.under_pressure()
    }

    /// How long to rest before the next unit of packing, upload or verification, on something that waits since `since`;
    /// asked again after that, it may be longer or over. Zero when nothing arrives, when the journal wants room, and for
    /// what has waited as long as a pack may age.
    #[must_use]
    pub fn rest_before(&self, since: Timestamp) -> Duration {
        if self.is_urgent(since) { Duration::ZERO } else { self.pace.rest(self.clock.now()) }
    }

    fn is_urgent(&self, since: Timestamp) -> bool {
        let Settings { pack_age, .. } = self.settings;
        self.is_pressed() || distance(self.clock.now(), since) >= pack_age
    }

    /// Rests amid a step for what it is about to move of something that waits since `since`.
    pub(crate) async fn rest_for(&self, bytes: u64, since: Timestamp) {
        while !self.is_urgent(since) {
            let rest = self.pace.claim(bytes);
            if rest.is_zero() || !self.clock.rest(rest.min(ASK_EVERY)).await {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000);

    fn pace(bytes_per_second: u64) -> (Pace, Clock) {
        let clock = Clock::manual(START);
        (Pace::new(clock.clone(), Yielding { bytes_per_second, ..Yielding::default() }), clock)
    }

    fn rest_ms(pace: &Pace) -> u128 {
        pace.rest(pace.clock.now()).as_millis()
    }

    #[test]
    fn while_instances_arrive_what_was_moved_is_paid_for_in_rest() {
        let (pace, clock) = pace(1000);
        pace.received();
        pace.moved(300);
        assert_eq!(rest_ms(&pace), 300);
        clock.shift_ms(100);
        pace.moved(500);
        assert_eq!(rest_ms(&pace), 700, "what is owed adds up");
        clock.shift_ms(699);
        assert_eq!(rest_ms(&pace), 1);
        clock.shift_ms(1);
        assert_eq!(rest_ms(&pace), 0);
    }

    #[test]
    fn what_is_claimed_is_counted_once() {
        let (pace, clock) = pace(1000);
        assert_eq!(pace.claim(5000), Duration::ZERO, "nothing arrives");
        pace.received();
        assert_eq!(pace.claim(400), Duration::ZERO);
        assert_eq!(pace.claim(400), Duration::from_millis(400), "the first is paid for before the next");
        clock.shift_ms(400);
        assert_eq!(pace.claim(400), Duration::ZERO);
        assert_eq!(rest_ms(&pace), 400);
    }

    #[test]
    fn once_receipt_rests_nothing_is_held_back() {
        let (pace, clock) = pace(1000);
        pace.moved(1_000_000);
        assert_eq!(rest_ms(&pace), 0, "nothing ever arrived");
        pace.received();
        pace.moved(1_000_000);
        clock.shift_ms(999);
        assert!(pace.is_receiving(clock.now()) && rest_ms(&pace) > 0);
        clock.shift_ms(1);
        assert!(!pace.is_receiving(clock.now()));
        assert_eq!(rest_ms(&pace), 0);
    }

    #[test]
    fn zero_is_no_cap_and_no_clock_makes_anybody_wait() {
        let (free, _) = pace(0);
        free.received();
        free.moved(u64::MAX);
        assert_eq!(rest_ms(&free), 0);
        let (pace, clock) = pace(1);
        pace.received();
        pace.moved(60);
        clock.shift_ms(-3_600_000);
        pace.received();
        assert_eq!(rest_ms(&pace), 0, "a clock set back ends the rest");
        clock.shift_ms(7_200_000);
        pace.received();
        assert_eq!(rest_ms(&pace), 0);
    }
}
