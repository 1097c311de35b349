//! Bodies that are made while they are sent: a task makes pieces, a short queue holds them, the client sets the pace.

use std::{future::Future, io, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use filmgate_model::spawn;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::Error;

/// Pieces that wait for the client; each is a chunk (256 KiB) or less.
const PIECES_WAITING: usize = 2;

/// Where the maker of a body puts its pieces.
pub(crate) struct Outlet {
    sender: mpsc::Sender<Piece>,
    stall_timeout: Duration,
}

enum Piece {
    Bytes(Bytes),
    Failed(Error),
    /// The body is whole. Without it the body is broken off, so that a part is never taken for the whole.
    End,
}

/// The client left, or takes nothing more.
#[derive(Debug)]
pub(crate) struct Gone;

/// Why a maker stopped before the end.
pub(crate) enum Stopped {
    Gone,
    Failed(Error),
}

impl From<Gone> for Stopped {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl<E: Into<Error>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Outlet {
    /// Hands over the next piece; waits for the client, but not for ever.
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.sender.send_timeout(Piece::Bytes(bytes.into()), self.stall_timeout).await.map_err(|_| Gone)
    }

    /// Hands over several, one behind the other.
    pub(crate) async fn send_all(&self, pieces: Vec<Bytes>) -> Result<(), Gone> {
        for piece in pieces {
            self.send(piece).await?;
        }
        Ok(())
    }
}

/// A body made by `make`, which holds `permit` until it has ended.
///
/// # Errors
/// What `make` failed with before its first piece.
pub(crate) async fn body<F, M>(
    permit: OwnedSemaphorePermit,
    stall_timeout: Duration,
    make: M,
) -> Result<Body, Error>
where
    M: FnOnce(Outlet) -> F,
    F: Future<Output = Result<(), Stopped>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(PIECES_WAITING);
    let making = make(Outlet { sender: sender.clone(), stall_timeout });
    spawn(async move {
        let _permit = permit;
        let last = match making.await {
            Ok(()) => Piece::End,
            Err(Stopped::Failed(error)) => Piece::Failed(error),
            Err(Stopped::Gone) => return,
        };
        // The client may be gone; then nobody needs to know.
        let _ = sender.send_timeout(last, stall_timeout).await;
    });
    match receiver.recv().await {
        Some(Piece::Bytes(first)) => Ok(Body::from_stream(pieces(first, receiver))),
        Some(Piece::Failed(error)) => Err(error),
        Some(Piece::End) => Ok(Body::empty()),
        None => Err(Error::TimedOut),
    }
}

fn pieces(
    first: Bytes,
    receiver: mpsc::Receiver<Piece>,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold((Some(first), Some(receiver)), |(first, receiver)| async move {
        let mut receiver = receiver?;
        if let Some(first) = first {
            return Some((Ok(first), (None, Some(receiver))));
        }
        match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), (None, Some(receiver)))),
            Some(Piece::End) => None,
            Some(Piece::Failed(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an answer broke off");
                Some((Err(io::Error::other("the answer broke off")), (None, None)))
            }
            None => Some((Err(io::Error::other("the client took nothing for too long")), (None, None))),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;

    use super::*;

    const STALL: Duration = Duration::from_millis(20);

    async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        Arc::clone(semaphore).acquire_owned().await.expect("a permit")
    }

    #[tokio::test]
    async fn a_whole_body_arrives_in_order_and_gives_its_permit_back() {
        let semaphore = Arc::new(Semaphore::new(1));
        let made = body(permit(&semaphore).await, STALL, |outlet| async move {
            for n in 0..9u8 {
                outlet.send(vec![n]).await?;
            }
            Ok(())
        });
        let bytes = made.await.expect("a body").collect().await.expect("all of it").to_bytes();
        assert_eq!(bytes.as_ref(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        drop(permit(&semaphore).await);
    }

    #[tokio::test]
    async fn a_failure_is_a_status_before_the_first_piece_and_breaks_the_body_off_after_it() {
        let semaphore = Arc::new(Semaphore::new(2));
        let failed =
            body(permit(&semaphore).await, STALL, |_| async move { Err(Error::NoRoom.into()) }).await;
        assert!(matches!(failed, Err(Error::NoRoom)));
        let broken = body(permit(&semaphore).await, STALL, |outlet| async move {
            outlet.send("some").await?;
            Err(Error::NoRoom.into())
        });
        assert!(broken.await.expect("a body").collect().await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_its_body_does_not_end_in_order() {
        let semaphore = Arc::new(Semaphore::new(1));
        let made = body(permit(&semaphore).await, STALL, |outlet| async move {
            loop {
                outlet.send("more").await?;
            }
        });
        let stalled = made.await.expect("a body");
        drop(permit(&semaphore).await);
        assert!(stalled.collect().await.is_err());
    }
}
