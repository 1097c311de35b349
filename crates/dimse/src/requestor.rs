//! An association as its requestor: negotiation, C-ECHO and C-STORE as SCU.

use std::{fmt, io::Read, time::Duration};

use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResultReason,
    UserVariableItem,
};
use filmgate_model::{AeTitle, part10, uids};

use crate::{
    acceptor::{APPLICATION_CONTEXT, ProposedContext},
    associate_pdu::{self, is_uid},
    association::AcceptedContext,
    command::{CommandSet, field},
    error::Error,
    link::{Incoming, Limits, Link},
    message::Messages,
    metrics,
    pdu::{self, PDU_HEADER_BYTES, PDV_HEADER_BYTES},
    state_machine::{Event, Role, State},
    status::Status,
    transport::Transport,
};

/// Contexts one association can propose: the odd numbers of a byte (PS3.8 9.3.2.2).
pub const CONTEXTS_MAX: usize = 128;
/// The longest P-DATA-TF we send whatever a peer allows, in bytes: longer ones gain nothing.
pub const SEND_PDU_BYTES_MAX: u32 = 256 * 1024;
/// Transfer syntaxes in one proposed context: its item's length has 16 bits.
const TRANSFER_SYNTAXES_MAX: usize = 512;

/// How an association is asked for.
#[derive(Debug, Clone)]
pub struct RequestorOptions {
    /// Our AE title.
    pub calling_ae: AeTitle,
    /// The peer's.
    pub called_ae: AeTitle,
    /// The longest P-DATA-TF we ask for, in bytes; also what we send a peer without a limit.
    pub max_pdu_bytes: u32,
    /// What is proposed, 1 to 128. Who has more opens several associations.
    pub contexts: Vec<ProposedContext>,
    /// How long the answer to A-ASSOCIATE-RQ may take.
    pub negotiation_timeout: Duration,
    /// How long a response, or the answer to a release, may take.
    pub response_timeout: Duration,
    /// How long one write may take.
    pub write_timeout: Duration,
    /// How long the peer may take to close after an abort.
    pub artim: Duration,
}

impl RequestorOptions {
    /// The defaults, between two AE titles.
    #[must_use]
    pub fn new(calling_ae: AeTitle, called_ae: AeTitle, contexts: Vec<ProposedContext>) -> Self {
        Self {
            calling_ae,
            called_ae,
            max_pdu_bytes: 131_072,
            contexts,
            negotiation_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(60),
            artim: Duration::from_secs(10),
        }
    }
}

/// An association this side asked for and got. Dropped without [`Requested::release`] it is aborted.
pub struct Requested<T: Transport> {
    messages: Messages<T>,
    contexts: Vec<AcceptedContext>,
    peer_pdu_bytes_max: u32,
    response_timeout: Duration,
    message_id: u16,
    error_comment: Option<String>,
    out: Vec<u8>,
}

/// Asks for an association over an open transport.
///
/// # Errors
/// [`Error::Rejected`] when the peer refuses, [`Error::Unusable`] for options nobody could accept; else as the peer
/// or transport failed.
pub fn request<T: Transport>(transport: T, options: &RequestorOptions) -> Result<Requested<T>, Error> {
    check(options)?;
    let limits = Limits {
        artim: options.artim,
        idle: options.response_timeout,
        write: options.write_timeout,
        pace: None,
    };
    let mut link = Link::new(transport, Role::Requestor, limits)?;
    match negotiate(&mut link, options) {
        Ok(accept) => {
            metrics::established("requestor");
            Ok(Requested::new(link, options, &accept))
        }
        Err(error) => {
            metrics::failed("requestor", &error);
            link.linger();
            Err(error)
        }
    }
}

fn check(options: &RequestorOptions) -> Result<(), Error> {
    let count = options.contexts.len();
    if !(1..=CONTEXTS_MAX).contains(&count) {
        let why =
            format!("{count} presentation contexts proposed: 1 to {CONTEXTS_MAX} fit an association, split");
        return Err(Error::Unusable(why));
    }
    for context in &options.contexts {
        let syntaxes = &context.transfer_syntaxes;
        let counts = (1..=TRANSFER_SYNTAXES_MAX).contains(&syntaxes.len());
        if !counts || !is_uid(&context.abstract_syntax) || !syntaxes.iter().all(|syntax| is_uid(syntax)) {
            let class = &context.abstract_syntax;
            return Err(Error::Unusable(format!("presentation context of {class:?} is no set of UIDs")));
        }
    }
    Ok(())
}

/// The number of the context at an index: 1, 3, 5 ...
fn context_id(index: usize) -> u8 {
    u8::try_from(2 * index + 1).unwrap_or(u8::MAX)
}

fn negotiate<T: Transport>(link: &mut Link<T>, options: &RequestorOptions) -> Result<AssociationAC, Error> {
    let contexts = options.contexts.iter().enumerate().map(|(index, context)| PresentationContextProposed {
        id: context_id(index),
        abstract_syntax: context.abstract_syntax.clone(),
        transfer_syntaxes: context.transfer_syntaxes.clone(),
    });
    let request = AssociationRQ {
        protocol_version: 1,
        calling_ae_title: options.calling_ae.as_str().to_owned(),
        called_ae_title: options.called_ae.as_str().to_owned(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: contexts.collect(),
        user_variables: vec![
            UserVariableItem::MaxLength(options.max_pdu_bytes),
            UserVariableItem::ImplementationClassUID(part10::IMPLEMENTATION_CLASS_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(part10::IMPLEMENTATION_VERSION_NAME.to_owned()),
        ],
    };
    let bytes = associate_pdu::encode_request(request)?;
    link.event(Event::AssociateRequest, &[])?;
    link.expect_within(Some(("answer to A-ASSOCIATE-RQ", options.negotiation_timeout)));
    link.event(Event::TransportConfirmed, &bytes)?;
    match link.next_pdu()? {
        Incoming::AssociateAccept(accept) => {
            link.expect_within(None);
            Ok(*accept)
        }
        Incoming::AssociateReject(rejection) => Err(Error::Rejected { rejection }),
        _ => Err(Error::Protocol { what: "no answer to A-ASSOCIATE-RQ" }),
    }
}

/// The contexts of an A-ASSOCIATE-AC that stand: accepted, proposed, with a transfer syntax that was proposed.
fn accepted(options: &RequestorOptions, accept: &AssociationAC) -> Vec<AcceptedContext> {
    let results = accept.presentation_contexts.iter();
    let results = results.filter(|result| result.reason == PresentationContextResultReason::Acceptance);
    let accepted = results.filter_map(|result| {
        let index = (0..options.contexts.len()).find(|index| context_id(*index) == result.id)?;
        let proposed = options.contexts.get(index)?;
        let syntax = proposed.transfer_syntaxes.iter().find(|syntax| **syntax == result.transfer_syntax)?;
        Some(AcceptedContext {
            id: result.id,
            abstract_syntax: proposed.abstract_syntax.clone(),
            transfer_syntax: syntax.clone(),
        })
    });
    accepted.collect()
}

impl<T: Transport> Requested<T> {
    fn new(link: Link<T>, options: &RequestorOptions, accept: &AssociationAC) -> Self {
        let limit = accept.user_variables.iter().find_map(|variable| match variable {
            UserVariableItem::MaxLength(bytes) if *bytes > 0 => Some(*bytes),
            _ => None,
        });
        Self {
            messages: Messages::new(link),
            contexts: accepted(options, accept),
            peer_pdu_bytes_max: limit.unwrap_or(options.max_pdu_bytes).min(SEND_PDU_BYTES_MAX),
            response_timeout: options.response_timeout,
            message_id: 0,
            error_comment: None,
            out: Vec::new(),
        }
    }

    /// The contexts the peer accepted.
    pub fn contexts(&self) -> &[AcceptedContext] {
        &self.contexts
    }

    /// The context accepted for a SOP class with a transfer syntax.
    pub fn accepted_context(&self, sop_class_uid: &str, transfer_syntax_uid: &str) -> Option<u8> {
        let fits = |context: &&AcceptedContext| {
            context.abstract_syntax == sop_class_uid && context.transfer_syntax == transfer_syntax_uid
        };
        self.contexts.iter().find(fits).map(|context| context.id)
    }

    /// Error Comment (0000,0902) of the last response.
    pub fn error_comment(&self) -> Option<&str> {
        self.error_comment.as_deref()
    }

    /// C-ECHO.
    ///
    /// # Errors
    /// [`Error::Unusable`] when no Verification context was accepted; else when the association ended.
    pub fn echo(&mut self) -> Result<Status, Error> {
        let context = self.contexts.iter().find(|context| context.abstract_syntax == uids::VERIFICATION);
        let Some(context_id) = context.map(|context| context.id) else {
            return Err(Error::Unusable("peer accepted no Verification context".to_owned()));
        };
        let command = CommandSet {
            sop_class_uid: Some(uids::VERIFICATION.to_owned()),
            command_field: field::C_ECHO_RQ,
            message_id: Some(self.next_message_id()),
            ..CommandSet::default()
        };
        let outcome = self
            .messages
            .send_command(context_id, &command, self.peer_pdu_bytes_max)
            .and_then(|()| self.response(&command, "C-ECHO-RSP"));
        self.told(outcome)
    }

    /// C-STORE of a dataset, encoded as the context's transfer syntax says, read to its end and sent as it is read:
    /// one write per PDU of the peer's size. Wrap the reader to see progress.
    ///
    /// A status that is no success is `Ok`: the peer answered, and the association goes on.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a context that was not accepted; [`Error::Dataset`] when the reader failed:
    /// the association goes on when that was before its first byte was sent, else it was aborted; else when the association ended.
    pub fn store(
        &mut self,
        context_id: u8,
        sop_class_uid: &str,
        sop_instance_uid: &str,
        dataset: &mut dyn Read,
    ) -> Result<Status, Error> {
        if !self.contexts.iter().any(|context| context.id == context_id) {
            return Err(Error::Unusable(format!("presentation context {context_id} was not accepted")));
        }
        let command = CommandSet {
            sop_class_uid: Some(sop_class_uid.to_owned()),
            command_field: field::C_STORE_RQ,
            message_id: Some(self.next_message_id()),
            priority: Some(0),
            has_dataset: true,
            sop_instance_uid: Some(sop_instance_uid.to_owned()),
            ..CommandSet::default()
        };
        let outcome = self
            .send_with_dataset(context_id, &command, dataset)
            .and_then(|()| self.response(&command, "C-STORE-RSP"));
        self.told(outcome)
    }

    /// Message identifiers need only differ among what is outstanding; 0 is left out, some peers take it for none.
    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.checked_add(1).unwrap_or(1);
        self.message_id
    }

    /// The command and the first of the dataset go out in one write, then a write per PDU.
    fn send_with_dataset(
        &mut self,
        context_id: u8,
        command: &CommandSet,
        dataset: &mut dyn Read,
    ) -> Result<(), Error> {
        let payload_bytes = pdu::payload_bytes_max(self.peer_pdu_bytes_max);
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        pdu::put_command(&mut out, context_id, &command.encode(), self.peer_pdu_bytes_max);
        // One byte more than a PDU takes is read, to know whether this PDU is the last; it begins the next.
        let mut ahead = None;
        let mut sent_bytes = 0_u64;
        let mut header_start = out.len();
        out.resize(header_start + PDU_HEADER_BYTES + PDV_HEADER_BYTES + payload_bytes + 1, 0);
        let outcome = loop {
            let start = header_start + PDU_HEADER_BYTES + PDV_HEADER_BYTES;
            let read = match fill(&mut out[start..=start + payload_bytes], ahead, dataset) {
                Ok(read) => read,
                // Nothing is sent yet: the association is as it was.
                Err(error) if sent_bytes == 0 => break Err(Error::Dataset(error)),
                Err(error) => break Err(self.messages.link.abort_with(Error::Dataset(error))),
            };
            ahead = (read > payload_bytes).then(|| out[start + payload_bytes]);
            let length = read.min(payload_bytes);
            out[header_start..start].copy_from_slice(&pdu::data_header(
                context_id,
                false,
                ahead.is_none(),
                length,
            ));
            sent_bytes += length as u64;
            if let Err(error) = self.messages.link.send_data(&out[..start + length]) {
                break Err(error);
            }
            header_start = 0;
            if ahead.is_none() {
                metrics::dataset_sent(sent_bytes);
                break Ok(());
            }
        };
        self.out = out;
        outcome
    }

    /// Waits for the response to `request`. Requests the peer makes meanwhile are answered 0x0211.
    fn response(&mut self, request: &CommandSet, awaited: &'static str) -> Result<Status, Error> {
        self.messages.link.expect_within(Some((awaited, self.response_timeout)));
        loop {
            let Some((context_id, command)) = self.messages.next_command()? else {
                let during = "a response is awaited";
                self.messages.link.answer_release()?;
                return Err(Error::ReleasedByPeer { during });
            };
            if command.command_field & field::RESPONSE == 0 {
                self.refuse(context_id, &command)?;
                continue;
            }
            let is_answer = command.command_field == request.command_field | field::RESPONSE
                && command.message_id_responded_to == request.message_id;
            let status = command.status.map(Status);
            let (true, Some(status)) = (is_answer, status) else {
                return Err(self.messages.broken("a response to another request, or without status"));
            };
            self.messages.drain()?;
            self.messages.link.expect_within(None);
            self.error_comment = command.error_comment;
            return Ok(status);
        }
    }

    fn refuse(&mut self, context_id: u8, command: &CommandSet) -> Result<(), Error> {
        self.messages.drain()?;
        if command.command_field == field::C_CANCEL_RQ {
            return Ok(());
        }
        let response = command.response(Status::UNRECOGNIZED_OPERATION, None);
        self.messages.send_command(context_id, &response, self.peer_pdu_bytes_max)
    }

    fn told(&mut self, outcome: Result<Status, Error>) -> Result<Status, Error> {
        if let Err(error) = &outcome
            && self.messages.link.state() != State::Sta6
        {
            metrics::failed("requestor", error);
            self.messages.link.linger();
        }
        outcome
    }

    /// Ends the association in order.
    ///
    /// # Errors
    /// When the peer does not answer the release. All that was answered before stands.
    pub fn release(mut self) -> Result<(), Error> {
        let released = self.messages.link.release();
        match &released {
            Ok(()) => metrics::released("requestor"),
            Err(error) => metrics::failed("requestor", error),
        }
        self.messages.link.linger();
        released
    }

    /// Aborts the association and waits for the peer to close, ARTIM at most.
    pub fn abort(mut self) {
        self.messages.link.abort();
        self.messages.link.linger();
    }
}

impl<T: Transport> fmt::Debug for Requested<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requested").field("contexts", &self.contexts.len()).finish_non_exhaustive()
    }
}

/// Fills `place`, beginning with the byte carried over, until it is full or the reader ends.
fn fill(place: &mut [u8], carried: Option<u8>, reader: &mut dyn Read) -> std::io::Result<usize> {
    let mut filled = 0;
    if let (Some(byte), Some(first)) = (carried, place.first_mut()) {
        *first = byte;
        filled = 1;
    }
    while filled < place.len() {
        match reader.read(&mut place[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
