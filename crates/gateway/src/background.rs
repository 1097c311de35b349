//! Threads of a lower priority for what can wait. The system lets them run when nothing better is to do, so that receipt
//! and web are not slowed by what follows a receipt; on an idle machine they are as fast as any.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

/// Threads that do the waiting of async work; heavy work gets more beside them.
const THREADS: usize = 2;

/// Runs what can wait.
pub(crate) struct Background {
    /// Taken when it ends.
    runtime: Option<Runtime>,
}

impl Background {
    /// Threads whose priority lies `nice` steps (0 to 19) below that of the others.
    pub(crate) fn start(nice: u8) -> std::io::Result<Self> {
        let priority = below(nice)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("background")
            .on_thread_start(move || set_priority(priority))
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work` to its end on these threads; when it is urgent, on those of the caller.
    pub(crate) async fn run<F>(&self, urgent: bool, work: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = match &self.runtime {
            Some(runtime) if !urgent => runtime.spawn(work),
            _ => filmgate_model::spawn(work),
        };
        match task.await {
            Ok(done) => done,
            // Nobody cancels it: it panicked, and so does who asked for it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What lies so far below the priority of this thread.
#[cfg(target_os = "linux")]
fn below(nice: u8) -> std::io::Result<i32> {
    /// No priority is lower.
    const LOWEST: i32 = 19;
    let ours = rustix::process::getpriority_process(None)?;
    Ok(ours.saturating_add(nice.into()).min(LOWEST))
}

/// Gives this thread a priority. Threads inherit theirs from whoever started them, so it is a number and no step.
#[cfg(target_os = "linux")]
fn set_priority(priority: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, priority) {
        tracing::warn!(%error, "the priority of a background thread stays as it is");
    }
}

/// Where priority is not a matter of threads, nothing is lowered.
#[cfg(not(target_os = "linux"))]
fn below(_nice: u8) -> std::io::Result<i32> {
    Ok(0)
}

#[cfg(not(target_os = "linux"))]
fn set_priority(_priority: i32) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn priority() -> i32 {
        rustix::process::getpriority_process(None).expect("a priority")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_what_can_wait_runs_at_a_lower_priority() {
        let usual = priority();
        let background = Background::start(5).expect("threads");
        let both = || async { (priority(), filmgate_model::compute(priority).await.expect("computed")) };
        assert_eq!(background.run(false, both()).await, (usual + 5, usual + 5));
        assert_eq!(background.run(true, both()).await, (usual, usual));
        assert_eq!(filmgate_model::compute(priority).await.expect("computed"), usual);
    }
}
