//! Work that would hold up the threads of the runtime.

use crate::Error;

/// Runs `work` on a thread that may block.
#[expect(clippy::disallowed_methods, reason = "this crate uses none of ours, so it has no compute()")]
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Unavailable { reason: error.to_string(), retry_after: None })
}
