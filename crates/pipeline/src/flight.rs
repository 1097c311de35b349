//! Bytes on their way, to and from buckets or through codecs: bounded over the whole process, whatever the number of those who ask.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// What is counted at a time, so that any bound fits in the semaphore's permits.
const UNIT_BYTES: u64 = 1024;

/// Room for bytes in flight.
pub(crate) struct Flight {
    units: u32,
    free: Arc<Semaphore>,
}

impl Flight {
    /// Room for so many bytes.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let units = u32::try_from(bytes_max.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Waits for room for `bytes`, or for all of it when that is less; the room is given back when the answer is dropped.
    pub(crate) async fn take(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.free.acquire_many(self.units_of(bytes)).await.ok()
    }

    /// The same for work that outlives who asked for it.
    pub(crate) async fn take_owned(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_many_owned(self.units_of(bytes)).await.ok()
    }

    fn units_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.units)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn no_more_flies_than_there_is_room_for() {
        let flight = Flight::new(8192);
        let first = flight.take(8000).now_or_never().expect("room");
        assert!(flight.take(1).now_or_never().is_none(), "8000 bytes take the whole of their last unit");
        drop(first);
        let much =
            flight.take(u64::MAX).now_or_never().expect("what is larger than the room takes all of it");
        assert!(flight.take(1).now_or_never().is_none());
        drop(much);
        assert!(flight.take(0).now_or_never().is_some());
    }
}
