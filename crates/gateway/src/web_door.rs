//! The web door: connections of HTTP/1.1 and HTTP/2, each a task, none of them held open by a client that does nothing.
//!
//! A connection without a request waits for one, but not for ever, and gives way when others come. What a request's body
//! must bring is `filmgate_web`'s to say; a client that takes nothing of its answer is given up here.

mod leaving;

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use filmgate_model::spawn;
use filmgate_web::ClientCertificate;
use hyper::{
    Request, Version,
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

use self::leaving::Answers;
use crate::{
    audit,
    seats::{SeatLimits, Seats, Ticket},
    tls::{self, HandshakeError, PeerCertificate, ServerTls},
    workers::Stop,
};

/// How long the door rests when a connection cannot be accepted.
const REST: Duration = Duration::from_millis(20);
/// How long one that gives way has for what was handed over to it already.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Limits of the door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WebDoorLimits {
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// Requests under way at a time on one connection of HTTP/2.
    pub(crate) streams_max: u32,
    /// How long a connection may be without a whole request head.
    pub(crate) head_timeout: Duration,
    /// How long a client may take nothing of its answer.
    pub(crate) stall_timeout: Duration,
    /// How long a TLS handshake may take.
    pub(crate) handshake_timeout: Duration,
}

/// Serves until `stop`, then lets the requests at work come to their end.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    router: Router,
    limits: WebDoorLimits,
    mut stop: Stop,
) -> io::Result<()> {
    // Bound to loopback, where every client has the same address: no share for one of them.
    let seats = Seats::new(
        "web",
        SeatLimits {
            connections_max: limits.connections_max,
            connections_per_peer_max: 0,
            seats_max: limits.connections_max,
            seats_per_peer_max: 0,
        },
    );
    let (at_work, mut all_done) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            biased;
            // The channel ends with the gateway; either way it is time.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // The end of an answer must not wait for the acknowledgement of its beginning.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "a web connection went before it was served");
                    continue;
                }
                let Some(place) = Place::take(&seats, peer.ip()) else { continue };
                let connection =
                    Connection { peer, router: router.clone(), limits, place, stop: stop.clone() };
                let tls = tls.clone();
                let at_work = at_work.clone();
                drop(spawn(async move {
                    connection.serve(stream, tls.as_deref()).await;
                    drop(at_work);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "a web connection was not accepted");
                sleep(REST).await;
            }
        }
    }
    drop(at_work);
    // Ends when the last sender is dropped; nothing is ever sent.
    let _ = all_done.recv().await;
    Ok(())
}

/// A connection's place at the door, and how many of its requests are at work.
struct Place {
    ticket: Ticket,
    gave_way: Arc<Notify>,
    at_work: watch::Sender<Requests>,
}

/// Requests of a connection.
#[derive(Debug, Clone, Copy, Default)]
struct Requests {
    at_work: usize,
    /// Since the connection began: tells of one that came and went between two looks.
    begun: u64,
}

impl Place {
    fn take(seats: &Arc<Seats>, peer: IpAddr) -> Option<Arc<Self>> {
        let gave_way = Arc::new(Notify::new());
        let told = Arc::clone(&gave_way);
        let ticket = seats.enter(peer, move || told.notify_one())?;
        Some(Arc::new(Self { ticket, gave_way, at_work: watch::Sender::default() }))
    }

    /// A request begins; it ends when what is returned is dropped.
    fn begin(self: &Arc<Self>) -> AtWork {
        self.at_work.send_modify(|requests| {
            requests.at_work += 1;
            requests.begun += 1;
            // There are as many seats as connections: only one that gave way gets none, and that is closed.
            let _ = self.ticket.take_seat(None);
        });
        AtWork(Arc::clone(self))
    }

    /// Ends when no request was at work for so long.
    async fn idle_for(&self, limit: Duration) {
        let mut at_work = self.at_work.subscribe();
        loop {
            // The sender is ours, so the channel does not end.
            let idle = at_work.wait_for(|requests| requests.at_work == 0).await;
            let begun = idle.map_or(0, |requests| requests.begun);
            if timeout(limit, at_work.wait_for(|requests| requests.begun != begun)).await.is_err() {
                return;
            }
        }
    }
}

/// A request at work, until the last byte of its answer is gone or given up.
struct AtWork(Arc<Place>);

impl Drop for AtWork {
    fn drop(&mut self) {
        let place = &self.0;
        place.at_work.send_modify(|requests| {
            requests.at_work -= 1;
            if requests.at_work == 0 {
                place.ticket.leave_seat();
            }
        });
    }
}

/// One connection, from before its TLS handshake, where there is one.
struct Connection {
    peer: SocketAddr,
    router: Router,
    limits: WebDoorLimits,
    place: Arc<Place>,
    stop: Stop,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<&ServerTls>) {
        let stream = Unstalled { stream, limit: self.limits.stall_timeout, stalled: None };
        let Some(tls) = tls else { return self.answer(stream, None).await };
        let mut stop = self.stop.clone();
        let shaken = tokio::select! {
            biased;
            () = self.place.gave_way.notified() => return,
            _ = stop.wait_for(|stop| *stop) => return,
            shaken = timeout(self.limits.handshake_timeout, TlsAcceptor::from(tls.current()).accept(stream)) => shaken,
        };
        match shaken.map_or(Err(HandshakeError::TooSlow), |shaken| shaken.map_err(tls::failed)) {
            Ok(stream) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let certificate = shown.map(|der| PeerCertificate::read(der));
                self.answer(stream, certificate).await;
            }
            // A port check.
            Err(error @ HandshakeError::Gone(_)) => {
                tracing::debug!(peer = %self.peer, error = &error as &dyn std::error::Error, "no TLS came about");
            }
            Err(error) => audit::tls_refused("web", self.peer, &error),
        }
    }

    async fn answer<S>(self, stream: S, certificate: Option<PeerCertificate>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, router, limits, place, mut stop } = self;
        let router = TowerToHyperService::new(router);
        let answering = Arc::clone(&place);
        let certificate = certificate.map(|shown| ClientCertificate { common_name: shown.common_name });
        let answers = Arc::new(Answers::default());
        let leaving = Arc::clone(&answers);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let at_work = answering.begin();
            request.extensions_mut().insert(ConnectInfo(peer));
            if let Some(certificate) = certificate.clone() {
                request.extensions_mut().insert(certificate);
            }
            let answers = (request.version() == Version::HTTP_2).then(|| Arc::clone(&leaving));
            let answer = router.call(request);
            async move { answer.await.map(|response| until_sent(response, at_work, answers)) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().max_concurrent_streams(limits.streams_max);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut idle = pin!(place.idle_for(limits.head_timeout));
        let mut untaken = pin!(answers.untaken_for(limits.stall_timeout));
        let (mut is_stopping, mut last_bytes_until) = (false, None);
        loop {
            let last_bytes = async {
                match last_bytes_until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, error, "a web connection ended early");
                    }
                    return;
                }
                () = place.gave_way.notified(), if last_bytes_until.is_none() => {
                    if place.at_work.borrow().begun == 0 {
                        return;
                    }
                    // An answer may be on its way out of our hands still.
                    is_stopping = true;
                    last_bytes_until = Some(Instant::now() + LAST_BYTES);
                    connection.as_mut().graceful_shutdown();
                }
                () = last_bytes => return,
                () = idle.as_mut() => {
                    metrics::counter!("filmgate_connections_idle_total", "door" => "web").increment(1);
                    tracing::debug!(%peer, "a web connection brought no request in time");
                    return;
                }
                () = untaken.as_mut() => {
                    metrics::counter!("filmgate_connections_stalled_total", "door" => "web").increment(1);
                    tracing::debug!(%peer, "a web connection took nothing of an answer for too long");
                    return;
                }
                _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// The response, its request being at work until the body has ended.
fn until_sent(response: Response, at_work: AtWork, answers: Option<Arc<Answers>>) -> Response {
    response.map(|body| Body::new(leaving::Leaving::new(body, at_work, answers)))
}

/// A stream whose writes fail when the other side has taken nothing for too long.
struct Unstalled<S> {
    stream: S,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Unstalled<S> {
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), context);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().watched(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().watched(context, |stream, context| stream.poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched(context, |stream, context| stream.poll_shutdown(context))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_write_that_nobody_takes_fails_and_one_that_is_taken_does_not() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = Unstalled { stream: near, limit: Duration::from_millis(50), stalled: None };
        let taking = spawn(async move {
            let mut taken = [0; 64];
            tokio::io::AsyncReadExt::read_exact(&mut far, &mut taken).await.map(|_| far)
        });
        near.write_all(&[1; 64]).await.expect("it is taken");
        let _far = taking.await.expect("the reader").expect("64 bytes");
        let stalled = near.write_all(&[1; 64]).await.expect_err("it is not taken");
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_request_that_came_and_went_between_two_looks_is_seen() {
        let limits = SeatLimits {
            connections_max: 1,
            connections_per_peer_max: 0,
            seats_max: 1,
            seats_per_peer_max: 0,
        };
        let place = Place::take(&Seats::new("test", limits), [127, 0, 0, 1].into()).expect("a place");
        let limit = Duration::from_millis(400);
        let began = Instant::now();
        let mut idle = pin!(place.idle_for(limit));
        for _ in 0..4 {
            assert!(timeout(limit / 2, idle.as_mut()).await.is_err(), "cut after {:?}", began.elapsed());
            drop(place.begin());
        }
        idle.await;
    }

    #[tokio::test]
    async fn a_place_is_idle_only_when_nothing_is_at_work() {
        let seats = Seats::new(
            "test",
            SeatLimits {
                connections_max: 1,
                connections_per_peer_max: 0,
                seats_max: 1,
                seats_per_peer_max: 0,
            },
        );
        let place = Place::take(&seats, [127, 0, 0, 1].into()).expect("a place");
        let (first, second) = (place.begin(), place.begin());
        assert!(Place::take(&seats, [127, 0, 0, 1].into()).is_none(), "one at work does not give way");
        drop(first);
        let limit = Duration::from_millis(20);
        let idle = tokio::time::timeout(3 * limit, place.idle_for(limit)).await;
        assert!(idle.is_err(), "the second request is at work");
        drop(second);
        place.idle_for(limit).await;
        drop(Place::take(&seats, [127, 0, 0, 1].into()).expect("the idle one gives way"));
        place.gave_way.notified().await;
    }
}
