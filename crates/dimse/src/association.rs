//! An established association, as its acceptor: requests are pulled, datasets read, responses sent.

use std::fmt;

use filmgate_model::AeTitle;

use crate::{
    acceptor::AssociateRequest,
    command::{CommandSet, field},
    error::Error,
    link::Link,
    message::Messages,
    metrics,
    status::Status,
    storage_scp::{self, StoreRequest},
    transport::Transport,
    verification_scp::EchoRequest,
};

/// A presentation context both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedContext {
    /// Its number.
    pub id: u8,
    /// SOP class UID.
    pub abstract_syntax: String,
    /// The one transfer syntax of its datasets.
    pub transfer_syntax: String,
}

/// What came of an acceptor's negotiation.
pub(crate) struct Negotiated {
    pub(crate) peer: AssociateRequest,
    pub(crate) contexts: Vec<AcceptedContext>,
    pub(crate) own_pdu_bytes_max: u32,
}

/// What a peer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// C-ECHO.
    Echo(EchoRequest),
    /// C-STORE; its dataset follows.
    Store(StoreRequest),
}

/// Why this side aborts. The wire has no word for it (PS3.8 9.3.8: source service user, reason not significant); it
/// stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortReason {
    /// The process is ending.
    Shutdown,
    /// Nothing can be taken any more.
    NoRoom,
    /// It has lasted as long as one may.
    TooOld,
    /// Something went wrong here.
    Failure,
}

/// An association this side accepted. Dropped without a release it is aborted.
pub struct Association<T: Transport> {
    messages: Messages<T>,
    peer: AssociateRequest,
    contexts: Vec<AcceptedContext>,
    peer_pdu_bytes_max: u32,
    /// Number of the last request handed out; tells whose dataset is under way.
    serial: u64,
    standing: Standing,
}

/// Whether more can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Open,
    Released,
    Failed,
}

impl<T: Transport> Association<T> {
    pub(crate) fn new(link: Link<T>, negotiated: Negotiated) -> Self {
        let Negotiated { peer, contexts, own_pdu_bytes_max } = negotiated;
        // 0 is no limit (PS3.8 annex D.1).
        let peer_pdu_bytes_max = if peer.max_pdu_bytes == 0 { own_pdu_bytes_max } else { peer.max_pdu_bytes };
        Self {
            messages: Messages::new(link),
            peer,
            contexts,
            peer_pdu_bytes_max,
            serial: 0,
            standing: Standing::Open,
        }
    }

    /// Who called.
    pub fn calling_ae(&self) -> &AeTitle {
        &self.peer.calling_ae
    }

    /// Whom.
    pub fn called_ae(&self) -> &AeTitle {
        &self.peer.called_ae
    }

    /// All the peer said of itself.
    pub fn peer(&self) -> &AssociateRequest {
        &self.peer
    }

    /// The contexts accepted, in the peer's order.
    pub fn contexts(&self) -> &[AcceptedContext] {
        &self.contexts
    }

    /// The next request; `None` once the peer released the association in order. What is left of the previous
    /// dataset is read over. Operations not served are answered 0x0211 here, C-CANCEL and stray responses ignored.
    ///
    /// # Errors
    /// When the association ended otherwise; it is over then, and [`Error::Closed`] is all that follows.
    #[expect(clippy::should_implement_trait, reason = "it is fallible and borrows")]
    pub fn next(&mut self) -> Result<Option<Request>, Error> {
        match self.standing {
            Standing::Open => {}
            Standing::Released => return Ok(None),
            Standing::Failed => return Err(Error::Closed),
        }
        let next = self.next_request();
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.standing = Standing::Released;
                metrics::released("acceptor");
            }
            Err(error) => self.ended(error),
        }
        next
    }

    fn next_request(&mut self) -> Result<Option<Request>, Error> {
        loop {
            let Some((context_id, command)) = self.messages.next_command()? else {
                self.messages.link.answer_release()?;
                return Ok(None);
            };
            let Some(context) = self.contexts.iter().find(|context| context.id == context_id).cloned() else {
                return Err(self.messages.broken("a message on a context that was not accepted"));
            };
            if let Some(request) = self.take(command, &context)? {
                return Ok(Some(request));
            }
        }
    }

    fn take(&mut self, command: CommandSet, context: &AcceptedContext) -> Result<Option<Request>, Error> {
        self.serial += 1;
        let serial = self.serial;
        match command.command_field {
            field::C_ECHO_RQ => {
                metrics::request("echo");
                let message_id = command.message_id.unwrap_or_default();
                Ok(Some(Request::Echo(EchoRequest { message_id, context_id: context.id, serial, command })))
            }
            field::C_STORE_RQ => {
                metrics::request("store");
                match storage_scp::read_request(command.clone(), context, serial) {
                    Ok(request) => Ok(Some(Request::Store(request))),
                    Err((status, why)) => {
                        self.answer(serial, context.id, &command.response(status, Some(why))).map(|()| None)
                    }
                }
            }
            // Everything is answered when its turn comes, so nothing is left to cancel (PS3.7 9.3.2.3).
            field::C_CANCEL_RQ => Ok(None),
            other if other & field::RESPONSE != 0 => Ok(None),
            _ => {
                metrics::request("unsupported");
                let response = command.response(Status::UNRECOGNIZED_OPERATION, None);
                self.answer(serial, context.id, &response).map(|()| None)
            }
        }
    }

    /// The next bytes of the current C-STORE's dataset into the front of `buffer`; 0 when it is complete. Bytes go
    /// from the transport into `buffer` directly unless they were read ahead with a header. A buffer of a PDU's size
    /// or more serves best; an empty one gets 0 at any time.
    ///
    /// # Errors
    /// When the association ended amid the dataset; what was read so far is no dataset.
    pub fn read_dataset(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let read = self.messages.read_dataset(buffer);
        if let Err(error) = &read {
            self.ended(error);
        }
        read
    }

    /// Answers a C-STORE, in one write. What is left of its dataset is read over first: senders listen after sending.
    ///
    /// # Errors
    /// When the association ended.
    pub fn respond(&mut self, request: &StoreRequest, status: Status) -> Result<(), Error> {
        let response = request.command.response(status, None);
        self.answer_told(request.serial, request.context_id, &response)
    }

    /// As [`Association::respond`], with an Error Comment (0000,0902): 64 characters of it, ASCII. No patient data.
    ///
    /// # Errors
    /// When the association ended.
    pub fn respond_with_comment(
        &mut self,
        request: &StoreRequest,
        status: Status,
        comment: &str,
    ) -> Result<(), Error> {
        let response = request.command.response(status, Some(comment));
        self.answer_told(request.serial, request.context_id, &response)
    }

    /// Answers a C-ECHO with success.
    ///
    /// # Errors
    /// When the association ended.
    pub fn respond_echo(&mut self, request: &EchoRequest) -> Result<(), Error> {
        let response = request.command.response(Status::SUCCESS, None);
        self.answer_told(request.serial, request.context_id, &response)
    }

    fn answer_told(&mut self, serial: u64, context_id: u8, response: &CommandSet) -> Result<(), Error> {
        let answered = self.answer(serial, context_id, response);
        if let Err(error) = &answered {
            self.ended(error);
        }
        answered
    }

    fn answer(&mut self, serial: u64, context_id: u8, response: &CommandSet) -> Result<(), Error> {
        // A dataset under way is read over only when it is this request's: answers may come late when the peer
        // sends ahead.
        if serial == self.serial {
            self.messages.drain()?;
        }
        self.messages.send_command(context_id, response, self.peer_pdu_bytes_max)
    }

    /// Aborts the association and waits for the peer to close, ARTIM at most.
    pub fn abort(&mut self, reason: AbortReason) {
        tracing::info!(ae.calling = %self.peer.calling_ae, ?reason, "abort association");
        self.standing = Standing::Failed;
        self.messages.link.abort();
        self.messages.link.linger();
    }

    fn ended(&mut self, error: &Error) {
        if self.standing == Standing::Open {
            self.standing = Standing::Failed;
            metrics::failed("acceptor", error);
        }
        self.messages.link.linger();
    }
}

impl<T: Transport> fmt::Debug for Association<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association").field("calling_ae", &self.peer.calling_ae).finish_non_exhaustive()
    }
}
