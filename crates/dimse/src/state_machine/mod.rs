//! The upper layer state machine (PS3.8 9.2) as data: table 9-10 and the actions of tables 9-6 to 9-9.
//!
//! Events go in, effects come out; no clock, no socket. The driver ([`crate::Association`], [`crate::Requested`])
//! does nothing on the wire that did not come out of here as an [`Effect`].

#[cfg(test)]
mod tests;

/// The states of table 9-10, in its numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Idle.
    Sta1 = 1,
    /// Transport connection open, awaiting A-ASSOCIATE-RQ.
    Sta2,
    /// Awaiting the local A-ASSOCIATE response.
    Sta3,
    /// Awaiting the opening of the transport connection.
    Sta4,
    /// Awaiting A-ASSOCIATE-AC or -RJ.
    Sta5,
    /// Association established, ready for data.
    Sta6,
    /// Awaiting A-RELEASE-RP.
    Sta7,
    /// Awaiting the local A-RELEASE response.
    Sta8,
    /// Release collision, requestor: awaiting the local A-RELEASE response.
    Sta9,
    /// Release collision, acceptor: awaiting A-RELEASE-RP.
    Sta10,
    /// Release collision, requestor: awaiting A-RELEASE-RP.
    Sta11,
    /// Release collision, acceptor: awaiting the local A-RELEASE response.
    Sta12,
    /// Awaiting the close of the transport connection.
    Sta13,
}

/// What happens to the machine, numbered as the events of table 9-10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// 1: the local user asks for an association.
    AssociateRequest,
    /// 2: the transport connection is open (requestor).
    TransportConfirmed,
    /// 3: A-ASSOCIATE-AC received.
    AssociateAcceptPdu,
    /// 4: A-ASSOCIATE-RJ received.
    AssociateRejectPdu,
    /// 5: a transport connection came in (acceptor).
    TransportIndicated,
    /// 6: A-ASSOCIATE-RQ received.
    AssociateRequestPdu {
        /// False when the service provider itself refuses it: protocol version (PS3.8 9.2.3, AE-6).
        acceptable: bool,
    },
    /// 7: the local user accepts.
    AssociateAccept,
    /// 8: the local user rejects.
    AssociateReject,
    /// 9: the local user sends data.
    DataRequest,
    /// 10: P-DATA-TF received.
    DataPdu,
    /// 11: the local user asks for release.
    ReleaseRequest,
    /// 12: A-RELEASE-RQ received.
    ReleaseRequestPdu,
    /// 13: A-RELEASE-RP received.
    ReleaseReplyPdu,
    /// 14: the local user answers a release.
    ReleaseResponse,
    /// 15: the local user aborts.
    AbortRequest,
    /// 16: A-ABORT received.
    AbortPdu {
        /// True when its source is the service user, false when the provider.
        by_user: bool,
    },
    /// 17: the transport connection was closed.
    TransportClosed,
    /// 18: the ARTIM timer expired.
    ArtimExpired,
    /// 19: an unrecognised or invalid PDU was received.
    InvalidPdu,
}

impl Event {
    /// The event's number in table 9-10, 1 to 19.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::AssociateRequest => 1,
            Self::TransportConfirmed => 2,
            Self::AssociateAcceptPdu => 3,
            Self::AssociateRejectPdu => 4,
            Self::TransportIndicated => 5,
            Self::AssociateRequestPdu { .. } => 6,
            Self::AssociateAccept => 7,
            Self::AssociateReject => 8,
            Self::DataRequest => 9,
            Self::DataPdu => 10,
            Self::ReleaseRequest => 11,
            Self::ReleaseRequestPdu => 12,
            Self::ReleaseReplyPdu => 13,
            Self::ReleaseResponse => 14,
            Self::AbortRequest => 15,
            Self::AbortPdu { .. } => 16,
            Self::TransportClosed => 17,
            Self::ArtimExpired => 18,
            Self::InvalidPdu => 19,
        }
    }
}

/// Who asked for the association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// This side did.
    Requestor,
    /// The peer did.
    Acceptor,
}

/// The actions of tables 9-6 to 9-9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of the standard; what each does is the table in `Action::outcome`")]
pub enum Action {
    AE1,
    AE2,
    AE3,
    AE4,
    AE5,
    AE6,
    AE7,
    AE8,
    DT1,
    DT2,
    AR1,
    AR2,
    AR3,
    AR4,
    AR5,
    AR6,
    AR7,
    AR8,
    AR9,
    AR10,
    AA1,
    AA2,
    AA3,
    AA4,
    AA5,
    AA6,
    AA7,
    AA8,
}

/// A PDU the machine wants on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the PDUs of PS3.8 9.3, one each")]
pub enum Outgoing {
    AssociateRequest,
    AssociateAccept,
    AssociateReject,
    Data,
    ReleaseRequest,
    ReleaseReply,
    /// Source: service user.
    UserAbort,
    /// Source: service provider, with the driver's reason.
    ProviderAbort,
}

/// What the machine tells the local user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the indication and confirmation primitives of PS3.8 7, one each")]
pub enum Indication {
    AssociateRequested,
    AssociateAccepted,
    AssociateRejected,
    Data,
    Release,
    ReleaseConfirmed,
    Abort,
    ProviderAbort,
}

/// One thing to do, in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Open the transport connection.
    Connect,
    /// Send a PDU.
    Send(Outgoing),
    /// Start ARTIM, or start it again.
    StartArtim,
    /// Stop ARTIM if it runs.
    StopArtim,
    /// Tell the local user.
    Indicate(Indication),
    /// Close the transport connection.
    Close,
}

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The action of table 9-10.
    pub action: Action,
    /// What is to be done for it, in order.
    pub effects: &'static [Effect],
}

impl Step {
    /// What the local user is told, if anything.
    #[must_use]
    pub fn indication(&self) -> Option<Indication> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Indicate(indication) => Some(*indication),
            _ => None,
        })
    }
}

/// An event whose cell in table 9-10 is empty: it cannot happen in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {} cannot happen in state {state:?} (PS3.8 table 9-10)", event.number())]
pub struct Impossible {
    /// The state, unchanged.
    pub state: State,
    /// The event.
    pub event: Event,
}

use Action::*;
use Effect::*;
use State::*;

/// An empty cell.
const NONE: Option<Action> = None;
/// A cell with an action.
const fn on(action: Action) -> Option<Action> {
    Some(action)
}

/// Table 9-10: a row an event (1 to 19), a column a state (1 to 13).
#[rustfmt::skip]
const TABLE: [[Option<Action>; 13]; 19] = [
    //       1        2        3        4        5        6        7        8        9        10        11       12       13
    /* 1*/ [on(AE1), NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,     NONE,    NONE,    NONE],
    /* 2*/ [NONE,    NONE,    NONE,    on(AE2), NONE,    NONE,    NONE,    NONE,    NONE,    NONE,     NONE,    NONE,    NONE],
    /* 3*/ [NONE,    on(AA1), on(AA8), NONE,    on(AE3), on(AA8), on(AA8), on(AA8), on(AA8), on(AA8),  on(AA8), on(AA8), on(AA6)],
    /* 4*/ [NONE,    on(AA1), on(AA8), NONE,    on(AE4), on(AA8), on(AA8), on(AA8), on(AA8), on(AA8),  on(AA8), on(AA8), on(AA6)],
    /* 5*/ [on(AE5), NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,     NONE,    NONE,    NONE],
    /* 6*/ [NONE,    on(AE6), on(AA8), NONE,    on(AA8), on(AA8), on(AA8), on(AA8), on(AA8), on(AA8),  on(AA8), on(AA8), on(AA7)],
    /* 7*/ [NONE,    NONE,    on(AE7), NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,     NONE,    NONE,    NONE],
    /* 8*/ [NONE,    NONE,    on(AE8), NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,     NONE,    NONE,    NONE],
    /* 9*/ [NONE,    NONE,    NONE,    NONE,    NONE,    on(DT1), NONE,    on(AR7), NONE,    NONE,     NONE,    NONE,    NONE],
    /*10*/ [NONE,    on(AA1), on(AA8), NONE,    on(AA8), on(DT2), on(AR6), on(AA8), on(AA8), on(AA8),  on(AA8), on(AA8), on(AA6)],
    /*11*/ [NONE,    NONE,    NONE,    NONE,    NONE,    on(AR1), NONE,    NONE,    NONE,    NONE,     NONE,    NONE,    NONE],
    /*12*/ [NONE,    on(AA1), on(AA8), NONE,    on(AA8), on(AR2), on(AR8), on(AA8), on(AA8), on(AA8),  on(AA8), on(AA8), on(AA6)],
    /*13*/ [NONE,    on(AA1), on(AA8), NONE,    on(AA8), on(AA8), on(AR3), on(AA8), on(AA8), on(AR10), on(AR3), on(AA8), on(AA6)],
    /*14*/ [NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    on(AR4), on(AR9), NONE,     NONE,    on(AR4), NONE],
    /*15*/ [NONE,    NONE,    on(AA1), on(AA2), on(AA1), on(AA1), on(AA1), on(AA1), on(AA1), on(AA1),  on(AA1), on(AA1), NONE],
    /*16*/ [NONE,    on(AA2), on(AA3), NONE,    on(AA3), on(AA3), on(AA3), on(AA3), on(AA3), on(AA3),  on(AA3), on(AA3), on(AA2)],
    /*17*/ [NONE,    on(AA5), on(AA4), on(AA4), on(AA4), on(AA4), on(AA4), on(AA4), on(AA4), on(AA4),  on(AA4), on(AA4), on(AR5)],
    /*18*/ [NONE,    on(AA2), NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,    NONE,     NONE,    NONE,    on(AA2)],
    /*19*/ [NONE,    on(AA1), on(AA8), NONE,    on(AA8), on(AA8), on(AA8), on(AA8), on(AA8), on(AA8),  on(AA8), on(AA8), on(AA7)],
];

impl Action {
    /// Effects and next state (tables 9-6 to 9-9). Three actions depend on more than their cell: AE-6 on whether
    /// the request is acceptable to the provider, AR-8 on the role, AA-3 on who aborted.
    fn outcome(self, event: Event, role: Role) -> (&'static [Effect], State) {
        match self {
            AE1 => (&[Connect], Sta4),
            AE2 => (&[Send(Outgoing::AssociateRequest)], Sta5),
            AE3 => (&[Indicate(Indication::AssociateAccepted)], Sta6),
            AE4 => (&[Indicate(Indication::AssociateRejected), Close], Sta1),
            AE5 => (&[StartArtim], Sta2),
            AE6 if event == (Event::AssociateRequestPdu { acceptable: false }) => {
                (&[StopArtim, Send(Outgoing::AssociateReject), StartArtim], Sta13)
            }
            AE6 => (&[StopArtim, Indicate(Indication::AssociateRequested)], Sta3),
            AE7 => (&[Send(Outgoing::AssociateAccept)], Sta6),
            AE8 => (&[Send(Outgoing::AssociateReject), StartArtim], Sta13),
            DT1 => (&[Send(Outgoing::Data)], Sta6),
            DT2 => (&[Indicate(Indication::Data)], Sta6),
            AR1 => (&[Send(Outgoing::ReleaseRequest)], Sta7),
            AR2 => (&[Indicate(Indication::Release)], Sta8),
            AR3 => (&[Indicate(Indication::ReleaseConfirmed), Close], Sta1),
            AR4 => (&[Send(Outgoing::ReleaseReply), StartArtim], Sta13),
            AR5 => (&[StopArtim], Sta1),
            AR6 => (&[Indicate(Indication::Data)], Sta7),
            AR7 => (&[Send(Outgoing::Data)], Sta8),
            AR8 if role == Role::Requestor => (&[Indicate(Indication::Release)], Sta9),
            AR8 => (&[Indicate(Indication::Release)], Sta10),
            AR9 => (&[Send(Outgoing::ReleaseReply)], Sta11),
            AR10 => (&[Indicate(Indication::ReleaseConfirmed)], Sta12),
            AA1 => (&[Send(Outgoing::UserAbort), StartArtim], Sta13),
            AA2 => (&[StopArtim, Close], Sta1),
            AA3 if event == (Event::AbortPdu { by_user: true }) => {
                (&[Indicate(Indication::Abort), Close], Sta1)
            }
            AA3 => (&[Indicate(Indication::ProviderAbort), Close], Sta1),
            AA4 => (&[Indicate(Indication::ProviderAbort)], Sta1),
            AA5 => (&[StopArtim], Sta1),
            AA6 => (&[], Sta13),
            AA7 => (&[Send(Outgoing::ProviderAbort)], Sta13),
            AA8 => {
                let effects =
                    &[Send(Outgoing::ProviderAbort), Indicate(Indication::ProviderAbort), StartArtim];
                (effects, Sta13)
            }
        }
    }
}

/// One association's state.
#[derive(Debug, Clone)]
pub struct StateMachine {
    state: State,
    role: Role,
}

impl StateMachine {
    /// Idle, in a role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self { state: Sta1, role }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an event: the next state is entered, the effects are the caller's to perform.
    ///
    /// # Errors
    /// When the cell is empty; the state is unchanged.
    pub fn handle(&mut self, event: Event) -> Result<Step, Impossible> {
        let row = &TABLE[usize::from(event.number() - 1)];
        let action = row[self.state as usize - 1].ok_or(Impossible { state: self.state, event })?;
        let (effects, next) = action.outcome(event, self.role);
        self.state = next;
        Ok(Step { action, effects })
    }
}
