//! The one way to start a task and the one way to leave the async threads for heavy work.

use std::future::Future;

use tokio::task::{JoinError, JoinHandle};

/// Starts a task on the runtime of the caller.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Runs `work` off the async threads where there are several; in place on a simulation's single thread,
/// so that what runs next stays a matter of the seed.
///
/// # Errors
/// When `work` panicked.
#[expect(clippy::disallowed_methods, reason = "the one place that hands work to the blocking pool")]
pub async fn compute<F, R>(work: F) -> Result<R, JoinError>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await,
    }
}
