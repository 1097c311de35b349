//! How slowly a peer may bring what it has begun.

use std::time::Duration;

/// The least a peer brings of what it has begun: so many bytes for every window of waiting, or the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long is waited.
    pub window: Duration,
    /// For how many bytes. 0 is as 1: anything is progress, silence is not.
    pub bytes_min: u64,
}

/// A peer that brings too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes came within {:?}, and {} are the least", pace.window, pace.bytes_min)]
pub struct TooSlow {
    /// What came in the last window.
    pub bytes: u64,
    /// What was asked for.
    pub pace: Pace,
}

/// How one message keeps its pace. Only time spent waiting for the peer counts: while we work, what it sent waits for
/// us.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pace: Pace,
    waited: Duration,
    bytes: u64,
}

impl Progress {
    /// Of a message that begins.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, waited: Duration::ZERO, bytes: 0 }
    }

    /// How much longer the peer may be waited for.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.pace.window.saturating_sub(self.waited)
    }

    /// Accounts for a wait that has ended and the bytes it brought; none when it ran out.
    ///
    /// # Errors
    /// When the window is over and too little came in it.
    pub fn waited(&mut self, wait: Duration, bytes: u64) -> Result<(), TooSlow> {
        self.waited = self.waited.saturating_add(wait);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= self.pace.bytes_min.max(1) {
            *self = Self::new(self.pace);
            return Ok(());
        }
        if self.patience().is_zero() {
            return Err(TooSlow { bytes: self.bytes, pace: self.pace });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PACE: Pace = Pace { window: Duration::from_secs(10), bytes_min: 1000 };

    #[test]
    fn a_steady_peer_is_waited_for_without_end() {
        let mut progress = Progress::new(PACE);
        for _ in 0..10_000 {
            progress.waited(SECOND, 101).expect("101 bytes a second are enough");
        }
    }

    #[test]
    fn dripping_and_silence_are_too_slow_when_the_window_is_over() {
        for drip in [0, 1, 99] {
            let mut progress = Progress::new(PACE);
            let ended =
                (1..).find_map(|second| progress.waited(SECOND, drip).err().map(|slow| (second, slow)));
            assert_eq!(ended, Some((10, TooSlow { bytes: 10 * drip, pace: PACE })));
        }
    }

    #[test]
    fn enough_at_the_last_moment_opens_a_new_window() {
        let mut progress = Progress::new(PACE);
        progress.waited(9 * SECOND, 999).expect("time is left");
        assert_eq!(progress.patience(), SECOND);
        progress.waited(5 * SECOND, 1).expect("enough came");
        assert_eq!(progress.patience(), PACE.window);
    }

    #[test]
    fn without_a_least_any_byte_is_progress_and_silence_is_not() {
        let mut progress = Progress::new(Pace { bytes_min: 0, ..PACE });
        progress.waited(100 * SECOND, 1).expect("a byte came");
        assert!(progress.waited(100 * SECOND, 0).is_err());
    }
}
