//! A hybrid logical clock: wall time, pushed on by what was read, so that an answer to a fact is never stamped before it.
//!
//! Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014), in milliseconds.

use std::time::Duration;

use filmgate_model::Timestamp;

/// How far a stamp of another node may run ahead of our clock and still push ours: a clock that is wrong by years must not
/// take the whole site there.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// When a fact was stated. The fact's id orders two facts of one stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Milliseconds since 1970.
    pub milliseconds: i64,
    /// Tells apart what one millisecond, or a clock set back, would make equal.
    pub count: u32,
}

impl Stamp {
    /// Its wall time.
    #[must_use]
    pub fn time(self) -> Timestamp {
        Timestamp(self.milliseconds)
    }

    fn next(self) -> Self {
        match self.count.checked_add(1) {
            Some(count) => Self { count, ..self },
            None => Self { milliseconds: self.milliseconds.saturating_add(1), count: 0 },
        }
    }
}

/// A node's clock for facts.
#[derive(Debug, Clone, Copy, Default)]
pub struct HybridClock {
    last: Stamp,
}

impl HybridClock {
    /// A clock that goes on after `last`.
    #[must_use]
    pub fn after(last: Stamp) -> Self {
        Self { last }
    }

    /// The stamp of something stated now: later than every stamp given or observed before.
    pub fn stamp(&mut self, now: Timestamp) -> Stamp {
        let wall = Stamp { milliseconds: now.0, count: 0 };
        self.last = if wall > self.last { wall } else { self.last.next() };
        self.last
    }

    /// What was read of another node; what we state from now on is later. A stamp more than a day ahead is left alone.
    pub fn observe(&mut self, stamp: Stamp, now: Timestamp) {
        if stamp.milliseconds <= now.plus(AHEAD_MAX).0 {
            self.last = self.last.max(stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_whatever_the_clock_does() {
        let mut clock = HybridClock::default();
        let mut last = clock.stamp(Timestamp(1000));
        for now in [1000, 1000, 400, 1001, -5, 2000] {
            let stamp = clock.stamp(Timestamp(now));
            assert!(stamp > last, "{now}");
            last = stamp;
        }
        assert_eq!(last, Stamp { milliseconds: 2000, count: 0 });
        let full = Stamp { milliseconds: 5000, count: u32::MAX };
        assert!(HybridClock::after(full).stamp(Timestamp(1)) > full);
    }

    #[test]
    fn what_was_read_comes_before_what_is_stated() {
        let mut clock = HybridClock::default();
        let read = Stamp { milliseconds: 9000, count: 3 };
        clock.observe(read, Timestamp(1000));
        assert!(clock.stamp(Timestamp(1000)) > read);
        // A clock that is years ahead stays alone.
        clock.observe(Stamp { milliseconds: i64::MAX, count: 0 }, Timestamp(10_000));
        assert_eq!(clock.stamp(Timestamp(10_000)).milliseconds, 10_000);
    }
}
