//! The driver under both roles: a transport, the state machine, the deadlines, the bytes read ahead.
//!
//! Whatever goes out goes out as an effect of the machine. ARTIM and negotiation are deadlines, set once: a peer that
//! drips bytes does not extend them. On an established association the idle limit is per read; a message under way must
//! besides keep its pace, counted in time spent waiting for the peer.

mod read;
#[cfg(test)]
mod tests;

use std::{
    io,
    time::{Duration, Instant},
};

use dicom_ul::pdu::{AssociationAC, AssociationRQ};
use filmgate_model::{Pace, Progress};

use crate::{
    associate_pdu,
    error::Error,
    pdu::{self, Fragment, PDU_HEADER_BYTES, PduType},
    rejection::{Abort, Rejection},
    state_machine::{Action, Effect, Event, Indication, Outgoing, Role, State, StateMachine, Step},
    transport::Transport,
};

/// Reasons of an A-ABORT by the service provider (PS3.8 table 9-26).
const UNRECOGNIZED_PDU: u8 = 1;
const UNEXPECTED_PDU: u8 = 2;
pub(crate) const INVALID_PARAMETER: u8 = 6;

/// The limits in time a link runs under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) artim: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
    /// Of a message under way; `None` where an answer's deadline bounds it anyway.
    pub(crate) pace: Option<Pace>,
}

/// A PDU that came in, as far as the local user is told of it.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A-ASSOCIATE-RQ, and its body as it came.
    AssociateRequest(Box<AssociationRQ>, Vec<u8>),
    /// A-ASSOCIATE-AC.
    AssociateAccept(Box<AssociationAC>),
    /// A-ASSOCIATE-RJ.
    AssociateReject(Rejection),
    /// P-DATA-TF: its PDVs follow.
    Data,
    /// A-RELEASE-RQ.
    ReleaseRequest,
    /// A-RELEASE-RP.
    ReleaseReply,
}

/// A control PDU, read whole.
enum Control {
    AssociateRequest(Box<AssociationRQ>, Vec<u8>),
    AssociateAccept(Box<AssociationAC>),
    AssociateReject(Rejection),
    ReleaseRequest,
    ReleaseReply,
    Abort(Abort),
}

impl Control {
    /// `None` when the body is not what the type says.
    fn decode(pdu_type: PduType, body: Vec<u8>) -> Option<Self> {
        Some(match pdu_type {
            PduType::AssociateRequest => {
                Self::AssociateRequest(Box::new(associate_pdu::decode_request(&body).ok()?), body)
            }
            PduType::AssociateAccept => {
                Self::AssociateAccept(Box::new(associate_pdu::decode_accept(&body).ok()?))
            }
            PduType::AssociateReject => Self::AssociateReject(pdu::decode_rejection(&body)?),
            PduType::ReleaseRequest => Self::ReleaseRequest,
            PduType::ReleaseReply => Self::ReleaseReply,
            PduType::Abort => Self::Abort(pdu::decode_abort(&body)),
            PduType::Data => return None,
        })
    }

    fn event(&self) -> Event {
        match self {
            // Version 1 is bit 0; the other bits are not tested (PS3.8 9.3.2).
            Self::AssociateRequest(request, _) => {
                Event::AssociateRequestPdu { acceptable: request.protocol_version & 1 == 1 }
            }
            Self::AssociateAccept(_) => Event::AssociateAcceptPdu,
            Self::AssociateReject(_) => Event::AssociateRejectPdu,
            Self::ReleaseRequest => Event::ReleaseRequestPdu,
            Self::ReleaseReply => Event::ReleaseReplyPdu,
            Self::Abort(abort) => Event::AbortPdu { by_user: abort.is_by_user() },
        }
    }
}

pub(crate) struct Link<T: Transport> {
    transport: T,
    machine: StateMachine,
    limits: Limits,
    /// ARTIM, while it runs.
    artim_deadline: Option<Instant>,
    /// Set while an answer to an A-ASSOCIATE or A-RELEASE request is awaited, which ARTIM does not cover.
    answer_deadline: Option<(Instant, &'static str, Duration)>,
    /// Set while a message is under way and its pace is watched.
    progress: Option<Progress>,
    read_timeout: Option<Duration>,
    ahead: Box<[u8]>,
    ahead_start: usize,
    ahead_end: usize,
    /// Bytes of the P-DATA-TF under way that are not read yet, the fragment's excluded.
    pdu_remaining_bytes: u32,
    fragment: Option<Fragment>,
    /// False once PDU boundaries are lost: what still comes is discarded unread.
    is_framed: bool,
    abort_reason: u8,
}

impl<T: Transport> Link<T> {
    pub(crate) fn new(transport: T, role: Role, limits: Limits) -> Result<Self, Error> {
        let prepared = transport.prepare().and_then(|()| transport.set_write_timeout(Some(limits.write)));
        prepared.map_err(|source| Error::Io { doing: "prepare the transport", source })?;
        Ok(Self {
            transport,
            machine: StateMachine::new(role),
            limits,
            artim_deadline: None,
            answer_deadline: None,
            progress: None,
            read_timeout: None,
            ahead: vec![0; read::READ_AHEAD_BYTES].into_boxed_slice(),
            ahead_start: 0,
            ahead_end: 0,
            pdu_remaining_bytes: 0,
            fragment: None,
            is_framed: true,
            abort_reason: 0,
        })
    }

    pub(crate) fn state(&self) -> State {
        self.machine.state()
    }

    /// Bounds the wait for an answer by one deadline, or lifts the bound.
    pub(crate) fn expect_within(&mut self, bound: Option<(&'static str, Duration)>) {
        self.answer_deadline = bound.map(|(what, after)| (Instant::now() + after, what, after));
    }

    /// Feeds the machine and performs what comes out. `pdu` is what a `Send` of this event sends; releases and aborts
    /// are made here.
    pub(crate) fn event(&mut self, event: Event, pdu: &[u8]) -> Result<Step, Error> {
        let step = self.machine.handle(event)?;
        let mut outcome = Ok(());
        for effect in step.effects {
            // A failed write does not keep a connection from being closed or a timer from being stopped.
            let performed = self.perform(*effect, pdu);
            outcome = outcome.and(performed);
        }
        outcome.map(|()| step)
    }

    fn perform(&mut self, effect: Effect, pdu: &[u8]) -> Result<(), Error> {
        match effect {
            // The caller brings the transport open.
            Effect::Connect | Effect::Indicate(_) => Ok(()),
            Effect::StartArtim => {
                self.artim_deadline = Some(Instant::now() + self.limits.artim);
                Ok(())
            }
            Effect::StopArtim => {
                self.artim_deadline = None;
                Ok(())
            }
            Effect::Close => {
                self.transport.shutdown();
                Ok(())
            }
            Effect::Send(Outgoing::ReleaseRequest) => self.write_pdu(&pdu::RELEASE_REQUEST),
            Effect::Send(Outgoing::ReleaseReply) => self.write_pdu(&pdu::RELEASE_REPLY),
            Effect::Send(Outgoing::UserAbort) => {
                self.write_pdu(&pdu::abort_pdu(Abort { source: 0, reason: 0 }))
            }
            Effect::Send(Outgoing::ProviderAbort) => {
                self.write_pdu(&pdu::abort_pdu(Abort { source: 2, reason: self.abort_reason }))
            }
            Effect::Send(_) => self.write_pdu(pdu),
        }
    }

    /// One write per call as long as the transport takes it whole; a deadline over all of it.
    fn write_pdu(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let deadline = Instant::now() + self.limits.write;
        let timeout = Error::Timeout { waiting_for: "room to send", after: self.limits.write };
        while !bytes.is_empty() {
            match self.transport.write(bytes) {
                Ok(0) => return Err(write_error(io::ErrorKind::WriteZero.into())),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(timeout),
                Err(error) => return Err(write_error(error)),
            }
            if !bytes.is_empty() && Instant::now() >= deadline {
                return Err(timeout);
            }
        }
        self.transport.flush().map_err(write_error)
    }

    /// Sends one P-DATA-TF, or several written at once.
    pub(crate) fn send_data(&mut self, pdus: &[u8]) -> Result<(), Error> {
        let Err(error) = self.event(Event::DataRequest, pdus) else { return Ok(()) };
        match error {
            Error::Io { .. } => Err(self.explain(error)),
            // Nothing more can be sent, not even an abort.
            Error::Timeout { .. } => {
                self.transport.shutdown();
                let _ = self.closed();
                Err(error)
            }
            _ => Err(error),
        }
    }

    /// A write fails when the peer is gone; why it went may still be there to be read.
    fn explain(&mut self, error: Error) -> Error {
        self.expect_within(Some(("reason for the broken connection", Duration::from_secs(1))));
        loop {
            match self.discard_pdu().and_then(|()| self.next_pdu()) {
                Ok(_) => {}
                Err(abort @ Error::AbortedByPeer(_)) => return abort,
                Err(_) => return error,
            }
        }
    }

    /// The next PDU the local user is told of. PDUs the machine ignores are read over.
    ///
    /// The body of the previous P-DATA-TF must have been read.
    pub(crate) fn next_pdu(&mut self) -> Result<Incoming, Error> {
        loop {
            let mut header = [0; PDU_HEADER_BYTES];
            self.read_exact(&mut header)?;
            let (pdu_type, length) = pdu::decode_pdu_header(header);
            let Some(pdu_type) = pdu_type else {
                return Err(self.invalid(UNRECOGNIZED_PDU, "unrecognised PDU type"));
            };
            if pdu_type.body_bytes_max().is_some_and(|max| length > max) {
                return Err(self.invalid(INVALID_PARAMETER, "PDU far longer than its kind can be"));
            }
            let incoming = match pdu_type {
                PduType::Data => self.take_data(length)?,
                _ => self.take_control(pdu_type, length)?,
            };
            if let Some(incoming) = incoming {
                return Ok(incoming);
            }
        }
    }

    fn take_data(&mut self, length: u32) -> Result<Option<Incoming>, Error> {
        self.pdu_remaining_bytes = length;
        self.abort_reason = UNEXPECTED_PDU;
        let step = self.event(Event::DataPdu, &[])?;
        match (step.indication(), step.action) {
            (Some(Indication::Data), _) => Ok(Some(Incoming::Data)),
            (None, Action::AA6) => self.discard_pdu().map(|()| None),
            _ => Err(Error::Protocol { what: "unexpected P-DATA-TF" }),
        }
    }

    /// `None` when the machine deals with the PDU by itself.
    fn take_control(&mut self, pdu_type: PduType, length: u32) -> Result<Option<Incoming>, Error> {
        let body = self.read_body(length)?;
        let Some(control) = Control::decode(pdu_type, body) else {
            return Err(self.invalid(INVALID_PARAMETER, "control PDU that cannot be read"));
        };
        self.abort_reason = UNEXPECTED_PDU;
        let step = self.event(control.event(), &pdu::reject_pdu(Rejection::PROTOCOL_VERSION))?;
        match (control, step.action) {
            (_, Action::AA6 | Action::AA7) => Ok(None),
            (Control::Abort(abort), _) => Err(Error::AbortedByPeer(abort)),
            (_, Action::AE6) if self.state() == State::Sta13 => {
                let rejection = Rejection::PROTOCOL_VERSION;
                Err(Error::Refused { rejection, calling_ae: None, called_ae: None })
            }
            (_, Action::AA1 | Action::AA8) => Err(Error::Protocol { what: "unexpected PDU" }),
            (Control::AssociateRequest(request, body), _) => {
                Ok(Some(Incoming::AssociateRequest(request, body)))
            }
            (Control::AssociateAccept(accept), _) => Ok(Some(Incoming::AssociateAccept(accept))),
            (Control::AssociateReject(rejection), _) => Ok(Some(Incoming::AssociateReject(rejection))),
            (Control::ReleaseRequest, _) => Ok(Some(Incoming::ReleaseRequest)),
            (Control::ReleaseReply, _) => Ok(Some(Incoming::ReleaseReply)),
        }
    }

    /// Event 19: what came is no PDU, or one that cannot be. PDU boundaries are lost.
    pub(crate) fn invalid(&mut self, abort_reason: u8, what: &'static str) -> Error {
        self.is_framed = false;
        self.abort_reason = abort_reason;
        // Whether the abort could still be sent makes no difference to what is told.
        let _ = self.event(Event::InvalidPdu, &[]);
        Error::Protocol { what }
    }

    /// Event 15, then `error`: the local user gives up.
    pub(crate) fn abort_with(&mut self, error: Error) -> Error {
        let _ = self.event(Event::AbortRequest, &[]);
        error
    }

    /// Event 15.
    pub(crate) fn abort(&mut self) {
        if self.event(Event::AbortRequest, &[]).is_ok() {
            crate::metrics::aborted_here();
        }
    }

    /// Sta13: waits for the peer to close, so that what was sent last is not lost to a reset; ARTIM ends it.
    pub(crate) fn linger(&mut self) {
        while self.state() == State::Sta13 {
            let was_framed = self.is_framed;
            let read = if was_framed {
                self.discard_pdu().and_then(|()| self.next_pdu()).map(drop)
            } else {
                self.discard_some()
            };
            if read.is_err() && self.state() == State::Sta13 {
                // Neither closed nor timed out: first the framing is given up, then the wait.
                self.is_framed = false;
                if !was_framed {
                    let _ = self.event(Event::ArtimExpired, &[]);
                }
            }
        }
    }

    /// The next message is awaited, which may take as long as the idle limit says; its pace counts from its first byte.
    pub(crate) fn await_message(&mut self) {
        let begun = self.limits.pace.filter(|_| self.buffered() > 0);
        self.progress = begun.map(Progress::new);
    }

    fn deadline(&self) -> Option<Instant> {
        self.artim_deadline.or(self.answer_deadline.map(|(deadline, ..)| deadline))
    }

    fn time_allowed(&self) -> Duration {
        if let Some(deadline) = self.deadline() {
            let left = deadline.saturating_duration_since(Instant::now());
            // A timer of the kernel ends a little early or late; below a millisecond it is not worth a call.
            return if left < Duration::from_millis(1) { Duration::ZERO } else { left };
        }
        match (&self.progress, self.limits.pace) {
            (Some(progress), Some(pace)) => self.limits.idle.min(in_steps(progress.patience(), pace.window)),
            _ => self.limits.idle,
        }
    }

    /// Accounts for a read of an established association: the first byte of a message begins it, later ones keep its
    /// pace, or the local user gives up (event 15).
    fn keep_pace(&mut self, waited: Duration, bytes: usize) -> Result<(), Error> {
        let Some(pace) = self.limits.pace.filter(|_| self.deadline().is_none()) else { return Ok(()) };
        let is_begun = self.progress.is_some();
        let progress = self.progress.get_or_insert(Progress::new(pace));
        let waited = if is_begun { waited } else { Duration::ZERO };
        match progress.waited(waited, bytes as u64) {
            Ok(()) => Ok(()),
            Err(slow) => Err(self.abort_with(Error::TooSlow(slow))),
        }
    }

    /// ARTIM expired (event 18), or the local user's own patience (event 15).
    fn out_of_time(&mut self) -> Error {
        if self.artim_deadline.is_some() {
            let awaited = if self.state() == State::Sta2 { "A-ASSOCIATE-RQ" } else { "close by the peer" };
            let _ = self.event(Event::ArtimExpired, &[]);
            return Error::Timeout { waiting_for: awaited, after: self.limits.artim };
        }
        let (waiting_for, after) = match self.answer_deadline {
            Some((_, what, after)) => (what, after),
            None => ("data from the peer", self.limits.idle),
        };
        self.abort_with(Error::Timeout { waiting_for, after })
    }

    /// Event 17.
    fn closed(&mut self) -> Error {
        let _ = self.event(Event::TransportClosed, &[]);
        Error::Closed
    }

    /// A-RELEASE by this side, to its end, collision included (PS3.8 9.2; table 9-10, Sta7 and Sta9 to Sta12).
    pub(crate) fn release(&mut self) -> Result<(), Error> {
        self.event(Event::ReleaseRequest, &[])?;
        self.expect_within(Some(("A-RELEASE-RP", self.limits.idle)));
        while self.state() != State::Sta1 {
            self.discard_pdu()?;
            match (self.next_pdu()?, self.state()) {
                // Collision. The requestor answers at once, the acceptor when its own request has been answered.
                (Incoming::ReleaseRequest, State::Sta9) | (Incoming::ReleaseReply, State::Sta12) => {
                    self.event(Event::ReleaseResponse, &[])?;
                }
                // Messages still on their way to us are nobody's any more.
                _ => {}
            }
            if self.state() == State::Sta13 {
                self.linger();
            }
        }
        Ok(())
    }

    /// Answers a release the peer asked for, and sees the connection closed.
    pub(crate) fn answer_release(&mut self) -> Result<(), Error> {
        self.event(Event::ReleaseResponse, &[])?;
        self.linger();
        Ok(())
    }
}

impl<T: Transport> Drop for Link<T> {
    /// An association dropped while it stands is aborted, so that the peer need not find out by itself.
    fn drop(&mut self) {
        if !matches!(self.state(), State::Sta1 | State::Sta2 | State::Sta13) {
            self.abort();
        }
    }
}

/// `patience` rounded up to eighths of its window, so that a peer that keeps its pace costs no call to set the limit.
fn in_steps(patience: Duration, window: Duration) -> Duration {
    let step = (window / 8).max(Duration::from_millis(1));
    let steps = patience.as_nanos().div_ceil(step.as_nanos());
    step.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

fn write_error(source: io::Error) -> Error {
    Error::Io { doing: "write to the peer", source }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
