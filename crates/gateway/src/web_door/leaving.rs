//! Answers on their way out over HTTP/2, whose client says how much of each it takes. One that takes nothing of an answer
//! writes nothing that could stall: the connection looks idle, the request stays at work, and its place is held.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::AtWork;

/// Looks within the time that a client may take nothing.
const LOOKS: u32 = 4;

/// The answers of a connection of which the next piece has not been asked for, and since when.
#[derive(Default)]
pub(super) struct Answers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    begun: u64,
    since: HashMap<u64, Instant>,
}

impl Answers {
    fn begin(&self) -> u64 {
        let mut waiting = self.0.lock();
        waiting.begun += 1;
        let id = waiting.begun;
        waiting.since.insert(id, Instant::now());
        id
    }

    /// The client has room for the next piece, or the answer is over: nobody waits for the client.
    fn asked(&self, id: u64) {
        self.0.lock().since.remove(&id);
    }

    /// A piece was handed over: it is the client's turn.
    fn given(&self, id: u64) {
        self.0.lock().since.insert(id, Instant::now());
    }

    /// Ends when a client has taken nothing of one of its answers for so long.
    pub(super) async fn untaken_for(&self, limit: Duration) {
        loop {
            sleep(limit / LOOKS).await;
            if self.0.lock().since.values().any(|since| since.elapsed() > limit) {
                return;
            }
        }
    }
}

/// An answer's body; its request is at work until it has ended.
pub(super) struct Leaving {
    body: Body,
    watched: Option<(Arc<Answers>, u64)>,
    _at_work: AtWork,
}

impl Leaving {
    /// `answers` where the client has to make room for each piece.
    pub(super) fn new(body: Body, at_work: AtWork, answers: Option<Arc<Answers>>) -> Self {
        let watched = answers.map(|answers| {
            let id = answers.begin();
            (answers, id)
        });
        Self { body, watched, _at_work: at_work }
    }
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let watched = this.watched.as_ref();
        watched.inspect(|(answers, id)| answers.asked(*id));
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            watched.inspect(|(answers, id)| answers.given(*id));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.watched.as_ref().inspect(|(answers, id)| answers.asked(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn a_client_whose_turn_it_is_not_is_waited_for() {
        let answers = Answers::default();
        let id = answers.begin();
        answers.asked(id);
        let cut = tokio::time::timeout(3 * LIMIT, answers.untaken_for(LIMIT)).await;
        assert!(cut.is_err(), "what is being made may take its time");
        answers.given(id);
        answers.untaken_for(LIMIT).await;
    }
}
