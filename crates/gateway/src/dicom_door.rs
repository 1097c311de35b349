//! The DICOM door: every association on a thread of its own, which reads, seals and writes inline.
//!
//! It may have two openings, plain TCP and TLS. Behind them everything is one: the seats, the limits, who may come in. A
//! TLS handshake is made on the connection's own thread, so that a slow one holds up nobody.

use std::{
    cell::Cell,
    collections::HashMap,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use filmgate_dimse::{
    AbortReason, AcceptorOptions, Admission, AssociateRequest, Association, ContextPolicy, Rejection,
    Request, Status, StoreRequest,
};
use filmgate_model::{AeTitle, Door, Pace, Provenance};
use filmgate_pipeline::{Caller, CallerVerdict, Callers, Committing, Received, Road, Verdict};
use parking_lot::Mutex;

use crate::{
    audit,
    config::{Dicom, milliseconds},
    line::Line,
    seats::{SeatLimits, Seats, Share, Ticket},
    tls::{HandshakeError, PeerCertificate, ServerTls, TlsStream},
};

/// Stack of an association's thread; nothing on the road recurses.
const STACK_BYTES: usize = 1024 * 1024;
/// How often a stopping door looks whether its associations are done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// A way in: a bound listener, and TLS where it is spoken.
pub(crate) struct Opening {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Arc<ServerTls>>,
}

/// An open DICOM door.
pub(crate) struct DicomDoor {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
}

struct Shared {
    road: Arc<Road>,
    callers: Arc<Callers>,
    settings: Dicom,
    acceptor: AcceptorOptions,
    stopping: AtomicBool,
    seats: Arc<Seats>,
    /// Connections that wait for their peer; a stopping door ends these and lets the others finish their message.
    idle: Mutex<HashMap<u64, Arc<TcpStream>>>,
}

impl DicomDoor {
    /// Begins to accept at every opening.
    pub(crate) fn open(
        openings: Vec<Opening>,
        road: Arc<Road>,
        callers: Arc<Callers>,
        settings: &Dicom,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            road,
            callers,
            settings: settings.clone(),
            acceptor: acceptor_options(settings),
            stopping: AtomicBool::new(false),
            seats: Seats::new("dicom", seat_limits(settings)),
            idle: Mutex::default(),
        });
        let mut addresses = Vec::new();
        for opening in openings {
            addresses.push(opening.listener.local_addr()?);
            let accepting = Arc::clone(&shared);
            thread::Builder::new()
                .name("dicom-accept".into())
                .spawn(move || accept_all(&opening, &accepting))?;
        }
        Ok(Self { shared, addresses })
    }

    /// Accepts nothing more, lets every message under way reach its response, up to `deadline`.
    pub(crate) fn close(&self, deadline: Duration) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Each listener waits in accept(); a connection of our own wakes it.
        for address in &self.addresses {
            drop(TcpStream::connect(address));
        }
        let looks = deadline.as_millis() / DRAIN_LOOK.as_millis();
        for _ in 0..looks {
            for stream in self.shared.idle.lock().values() {
                // A connection that is gone already needs no end.
                let _ = stream.shutdown(Shutdown::Both);
            }
            if self.shared.seats.count() == 0 {
                return;
            }
            thread::sleep(DRAIN_LOOK);
        }
        tracing::warn!(connections = self.shared.seats.count(), "associations were cut off");
    }
}

fn acceptor_options(settings: &Dicom) -> AcceptorOptions {
    AcceptorOptions {
        accept_any_called_ae: settings.accept_any_called_aet,
        max_pdu_bytes: settings.max_pdu_bytes,
        artim: milliseconds(settings.artim_ms),
        idle: milliseconds(settings.association_idle_timeout_ms),
        pace: Pace {
            window: milliseconds(settings.association_progress_window_ms),
            bytes_min: settings.association_progress_bytes_min,
        },
        async_operations_window: (settings.async_operations_max, 1),
        contexts: ContextPolicy {
            private_sop_classes: settings.private_sop_classes.clone(),
            ..ContextPolicy::default()
        },
        ..AcceptorOptions::new(settings.aet.clone())
    }
}

fn seat_limits(settings: &Dicom) -> SeatLimits {
    SeatLimits {
        connections_max: settings.connections_max,
        connections_per_peer_max: settings.connections_per_peer_max,
        seats_max: settings.associations_max,
        seats_per_peer_max: settings.associations_per_peer_max,
    }
}

fn accept_all(opening: &Opening, shared: &Arc<Shared>) {
    loop {
        while !shared.seats.has_calmed(DRAIN_LOOK) && !shared.stopping.load(Ordering::SeqCst) {}
        let accepted = opening.listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        match accepted {
            Ok((stream, peer)) => begin_connection(shared, opening, stream, peer),
            Err(error) => {
                // Too many open files, say: it passes, and a busy loop would not help.
                tracing::warn!(%error, "a connection was not accepted");
                thread::sleep(DRAIN_LOOK);
            }
        }
    }
}

fn begin_connection(shared: &Arc<Shared>, opening: &Opening, stream: TcpStream, peer: SocketAddr) {
    let handle = match stream.try_clone() {
        Ok(handle) => Arc::new(handle),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be taken");
            return;
        }
    };
    let closed_by = Arc::clone(&handle);
    // Closed already is as good.
    let close = move || drop(closed_by.shutdown(Shutdown::Both));
    let Some(ticket) = shared.seats.enter(peer.ip(), close) else { return };
    let (shared, tls) = (Arc::clone(shared), opening.tls.clone());
    let serve = move || {
        let id = ticket.id();
        let span = tracing::info_span!("association", assoc.id = id, peer = %peer);
        let _entered = span.enter();
        Connection { shared: &shared, ticket, id, peer }.serve(stream, handle, tls.as_deref());
    };
    let started = thread::Builder::new().name("association".into()).stack_size(STACK_BYTES).spawn(serve);
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for a connection");
    }
}

/// One connection and, once it has asked, its association.
struct Connection<'a> {
    shared: &'a Shared,
    ticket: Ticket,
    id: u64,
    peer: SocketAddr,
}

impl Connection<'_> {
    fn serve(&self, stream: TcpStream, handle: Arc<TcpStream>, tls: Option<&ServerTls>) {
        self.shared.idle.lock().insert(self.id, handle);
        if let Some(line) = self.line(stream, tls) {
            self.negotiate(line);
        }
        self.shared.idle.lock().remove(&self.id);
    }

    /// The connection as it is, or TLS over it; `None` when the handshake failed.
    fn line(&self, stream: TcpStream, tls: Option<&ServerTls>) -> Option<Line> {
        let Some(tls) = tls else { return Some(Line::Plain(stream)) };
        match TlsStream::accept(stream, tls, milliseconds(self.shared.settings.tls.handshake_timeout_ms)) {
            Ok(stream) => Some(Line::Tls(Box::new(stream))),
            Err(_) if self.shared.stopping.load(Ordering::SeqCst) => None,
            // A port check, or one that gave way to others.
            Err(error @ HandshakeError::Gone(_)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no TLS came about");
                None
            }
            Err(error) => {
                audit::tls_refused("dicom", self.peer, &error);
                None
            }
        }
    }

    fn negotiate(&self, line: Line) {
        let certificate = line.peer_certificate();
        if let Some(certificate) = &certificate {
            let fingerprint = hex::encode(certificate.fingerprint);
            tracing::info!(certificate = certificate.common_name, fingerprint, "a certificate was shown");
        }
        let why = Cell::new("");
        let admit = |request: &AssociateRequest| match self.admit(request, certificate.as_ref(), &why) {
            Ok(()) => Admission::Accept,
            Err(rejection) => Admission::Reject(rejection),
        };
        let ended = match filmgate_dimse::accept(line, &self.shared.acceptor, &admit) {
            Ok(Some(association)) => self.associated(association),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {}
            Err(_) if self.shared.stopping.load(Ordering::SeqCst) => {}
            Err(filmgate_dimse::Error::Refused { rejection, calling_ae, called_ae }) => {
                let title = |title: Option<AeTitle>| title.map(String::from).unwrap_or_default();
                let (calling, called) = (title(calling_ae), title(called_ae));
                audit::association_refused(self.peer, &calling, &called, rejection, why.get());
            }
            Err(error @ filmgate_dimse::Error::TooSlow(_)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the association was aborted");
            }
            Err(error) => {
                tracing::info!(error = &error as &dyn std::error::Error, "the association ended early");
            }
        }
    }

    /// Who may come in, whether there is room for what they bring, and a seat. `why` is for the log.
    fn admit(
        &self,
        request: &AssociateRequest,
        certificate: Option<&PeerCertificate>,
        why: &Cell<&'static str>,
    ) -> Result<(), Rejection> {
        let associations_max = self.known(request, certificate, why)?;
        match self.shared.road.refusal() {
            Ok(None) => {}
            Ok(Some(refusal)) => {
                why.set(refusal.reason());
                return Err(Rejection::LOCAL_LIMIT_EXCEEDED);
            }
            Err(error) => {
                why.set("the local disk cannot be asked for room");
                tracing::error!(error = &error as &dyn std::error::Error, "{}", why.get());
                return Err(Rejection::TEMPORARY_CONGESTION);
            }
        }
        let share = Share { of: request.calling_ae.to_string(), seats_max: associations_max };
        self.ticket.take_seat(Some(share)).map_err(|none| {
            why.set(none.reason());
            Rejection::LOCAL_LIMIT_EXCEEDED
        })
    }

    /// Judges the caller by its title, address and certificate (PS3.8 9.3.4: result 1, source 1, reasons 3 and 7); how
    /// many associations it may have.
    fn known(
        &self,
        request: &AssociateRequest,
        certificate: Option<&PeerCertificate>,
        why: &Cell<&'static str>,
    ) -> Result<u32, Rejection> {
        let verdict = self.shared.callers.judge(&Caller {
            calling_ae: &request.calling_ae,
            called_ae: &request.called_ae,
            address: self.peer.ip(),
            fingerprint: certificate.map(|certificate| certificate.fingerprint),
            common_name: certificate.map_or("", |certificate| &certificate.common_name),
        });
        why.set(verdict.reason());
        match verdict {
            CallerVerdict::Allowed { associations_max } => Ok(associations_max),
            CallerVerdict::LetIn => {
                audit::caller_let_in(self.peer, request.calling_ae.as_str());
                Ok(0)
            }
            CallerVerdict::Called => Err(Rejection::CALLED_AE),
            _ => Err(Rejection::CALLING_AE),
        }
    }

    fn associated(&self, mut association: Association<Line>) -> Result<(), filmgate_dimse::Error> {
        tracing::info!(ae.calling = %association.calling_ae(), ae.called = %association.called_ae(), "associated");
        let began = Instant::now();
        while let Some(request) = association.next()? {
            let handle = self.shared.idle.lock().remove(&self.id);
            self.answer(&mut association, &request, began)?;
            if self.is_too_old(began) {
                tracing::info!("the association has lasted as long as one may, and is aborted");
                association.abort(AbortReason::TooOld);
                return Ok(());
            }
            if self.shared.stopping.load(Ordering::SeqCst) {
                association.abort(AbortReason::Shutdown);
                return Ok(());
            }
            if let Some(handle) = handle {
                self.shared.idle.lock().insert(self.id, handle);
            }
        }
        Ok(())
    }

    /// A peer that keeps the least pace for ever does not keep its seat for ever.
    fn is_too_old(&self, began: Instant) -> bool {
        let lifetime_ms = self.shared.settings.association_lifetime_ms;
        lifetime_ms > 0 && began.elapsed() >= milliseconds(lifetime_ms)
    }

    fn answer(
        &self,
        association: &mut Association<Line>,
        request: &Request,
        began: Instant,
    ) -> Result<(), filmgate_dimse::Error> {
        match request {
            Request::Echo(echo) => association.respond_echo(echo),
            Request::Store(store) => {
                let received = self.store(association, store, began)?;
                let status = status_of(&received);
                match received.as_ref().ok().and_then(|received| received.verdict.reason()) {
                    Some(reason) => association.respond_with_comment(store, status, reason),
                    None => association.respond(store, status),
                }
            }
        }
    }

    /// One C-STORE: the dataset goes as it arrives through the sealer into the journal.
    fn store(
        &self,
        association: &mut Association<Line>,
        request: &StoreRequest,
        began: Instant,
    ) -> Result<Result<Received, filmgate_pipeline::Error>, filmgate_dimse::Error> {
        let mut receiving = match self.shared.road.receive(self.provenance(association, request)) {
            Ok(receiving) => receiving,
            // The dataset is read over before the response goes out.
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let bytes = association.read_dataset(receiving.space())?;
            if bytes == 0 {
                return Ok(receiving.finish().and_then(Committing::wait));
            }
            if let Err(error) = receiving.arrived(bytes) {
                return Ok(Err(error));
            }
            if self.is_too_old(began) {
                association.abort(AbortReason::TooOld);
                return Err(filmgate_dimse::Error::Closed);
            }
        }
    }

    fn provenance(&self, association: &Association<Line>, request: &StoreRequest) -> Provenance {
        Provenance {
            received_at: self.shared.road.clock().now(),
            door: Door::CStore,
            calling_ae: association.calling_ae().to_string(),
            called_ae: association.called_ae().to_string(),
            peer: self.peer.to_string(),
            node: self.shared.road.node_id(),
            transfer_syntax_uid: request.transfer_syntax_uid.clone(),
            sop_class_uid: request.sop_class_uid.clone(),
            sop_instance_uid: request.sop_instance_uid.clone(),
            file_meta: Vec::new(),
        }
    }
}

/// The one place where a received instance becomes a DIMSE status (PS3.4 B.2.3).
fn status_of(received: &Result<Received, filmgate_pipeline::Error>) -> Status {
    match received {
        Ok(received) => {
            let status = match received.verdict {
                Verdict::Accepted => Status::SUCCESS,
                Verdict::Mismatched(_) => Status::DATASET_MISMATCH,
                Verdict::NotUnderstood(_) => Status::CANNOT_UNDERSTAND,
            };
            if let Some(reason) = received.verdict.reason() {
                tracing::warn!(record_id = %received.record_id, reason, "an instance was quarantined");
            }
            metrics::counter!("filmgate_received_instances_total").increment(1);
            metrics::counter!("filmgate_received_bytes_total").increment(received.dataset_bytes);
            status
        }
        Err(error) => {
            tracing::error!(error = error as &dyn std::error::Error, "an instance was not taken");
            Status::OUT_OF_RESOURCES
        }
    }
}
