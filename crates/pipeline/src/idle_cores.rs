//! Cores that nothing arrives on help to seal what arrives on others.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
};

use filmgate_seal::{Helpers, Work};
use parking_lot::Mutex;

/// Threads that seal long chunks while fewer instances arrive than there are cores.
///
/// An instance is received, read and sealed by its association's own thread, which keeps a core busy; handing chunks over
/// pays only while a core has nothing of its own.
pub struct IdleCores {
    give: SyncSender<Work>,
    helpers: usize,
    arriving: AtomicUsize,
}

/// One instance that is arriving, and its hold on a core.
pub(crate) struct Arriving(Arc<IdleCores>);

impl IdleCores {
    /// Starts so many helpers; they end when the last handle is dropped.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(helpers: usize) -> io::Result<Arc<Self>> {
        // Without room for waiting work: it is taken by a helper that waits for it, or not at all.
        let (give, take) = mpsc::sync_channel(0);
        let take = Arc::new(Mutex::new(take));
        for _ in 0..helpers {
            let take = Arc::clone(&take);
            thread::Builder::new().name("seal-helper".into()).spawn(move || help(&take))?;
        }
        Ok(Arc::new(Self { give, helpers, arriving: AtomicUsize::new(0) }))
    }

    pub(crate) fn arriving(self: &Arc<Self>) -> Arriving {
        self.arriving.fetch_add(1, Ordering::Relaxed);
        Arriving(Arc::clone(self))
    }
}

/// One helper waits at a time; the others wait for its place.
fn help(take: &Mutex<Receiver<Work>>) {
    loop {
        let work = take.lock().recv();
        match work {
            Ok(work) => work(),
            Err(_) => return,
        }
    }
}

impl Helpers for IdleCores {
    fn offer(&self, work: Work) -> Result<(), Work> {
        // As many instances arrive as there are cores, or more: none is idle.
        if self.arriving.load(Ordering::Relaxed) > self.helpers {
            return Err(work);
        }
        self.give.try_send(work).map_err(|refused| match refused {
            TrySendError::Full(work) | TrySendError::Disconnected(work) => work,
        })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.arriving.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Offers until it is taken: a helper needs a moment to begin to wait.
    fn offer_until_taken(cores: &IdleCores, mut work: Work) {
        let until = Instant::now() + Duration::from_secs(20);
        while let Err(refused) = cores.offer(work) {
            assert!(Instant::now() < until, "no helper takes work");
            work = refused;
            thread::yield_now();
        }
    }

    #[test]
    fn a_free_helper_takes_work_and_a_busy_one_does_not() {
        let cores = IdleCores::start(1).expect("a thread");
        let _arriving = cores.arriving();
        let (go, wait) = mpsc::channel::<()>();
        let (done, finished) = mpsc::channel();
        let first: Work = Box::new(move || {
            let _ = wait.recv();
            done.send(()).expect("the test waits");
        });
        offer_until_taken(&cores, first);
        assert!(cores.offer(Box::new(|| {})).is_err(), "its only helper is busy");
        go.send(()).expect("the helper waits");
        finished.recv().expect("the work was done");
        offer_until_taken(&cores, Box::new(|| {}));
    }

    #[test]
    fn nothing_is_handed_over_when_every_core_has_an_instance() {
        let cores = IdleCores::start(1).expect("a thread");
        let first = cores.arriving();
        offer_until_taken(&cores, Box::new(|| {}));
        let second = cores.arriving();
        for _ in 0..1000 {
            assert!(cores.offer(Box::new(|| {})).is_err());
        }
        drop((first, second));
        offer_until_taken(&cores, Box::new(|| {}));
    }
}
