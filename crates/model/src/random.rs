//! Injected randomness: the operating system's in production, a seeded stream in simulations.

use std::sync::{Arc, Mutex, PoisonError};

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A source of random bytes, cheap to clone.
///
/// Production code gets [`Random::system`]; a simulation gets [`Random::seeded`], so that every run replays by its seed.
#[derive(Clone)]
pub struct Random(Option<Arc<Mutex<ChaCha20Rng>>>);

impl Random {
    /// The operating system's generator.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A reproducible stream. For tests and simulations alone: its keys are as guessable as the seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))))
    }

    /// Fills `bytes`.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: no key may be made then, and there is no way to go on.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            None => getrandom::fill(bytes).expect("the operating system gives random bytes"),
            Some(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes),
        }
    }

    /// `N` random bytes.
    #[must_use]
    pub fn array<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A random number.
    #[must_use]
    pub fn u64(&self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `end`; 0 when `end` is 0. The slight bias of the remainder does not matter where this is used.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        self.u64().checked_rem(end).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream() {
        let (a, b) = (Random::seeded(1), Random::seeded(1));
        assert_eq!(a.array::<32>(), b.array::<32>());
        assert_ne!(a.u64(), Random::seeded(2).u64());
        assert_eq!(a.below(0), 0);
    }
}
