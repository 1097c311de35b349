//! The acceptor's half of negotiation (PS3.8 7.1, PS3.7 annex D): who may associate, and on which contexts.

use std::{collections::BTreeSet, time::Duration};

use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason, RequestorRoles, UserIdentityType, UserVariableItem,
};
use filmgate_model::{AeTitle, Pace, part10};

use crate::{
    associate_pdu::{self, ASYNC_OPERATIONS_WINDOW, USER_IDENTITY_RESPONSE, is_uid},
    association::{AcceptedContext, Association, Negotiated},
    context_policy::{ContextPolicy, Verdict},
    error::Error,
    link::{INVALID_PARAMETER, Incoming, Limits, Link},
    metrics, pdu,
    rejection::Rejection,
    state_machine::{Event, Role},
    transport::Transport,
};

/// DICOM's application context (PS3.7 A.2.1).
pub(crate) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";

/// How this side accepts associations.
#[derive(Debug, Clone)]
pub struct AcceptorOptions {
    /// Our AE title.
    pub ae_title: AeTitle,
    /// Accept whatever called AE title a peer gives.
    pub accept_any_called_ae: bool,
    /// The longest P-DATA-TF we ask for, in bytes. A longer one is taken all the same.
    pub max_pdu_bytes: u32,
    /// ARTIM: how long a peer may take to send A-ASSOCIATE-RQ, and to close after the end.
    pub artim: Duration,
    /// How long an established association may be silent while a message is awaited or under way.
    pub idle: Duration,
    /// What a message must bring once its first byte came. Modalities keep associations open, so between messages only
    /// `idle` counts.
    pub pace: Pace,
    /// How long one write may take.
    pub write_timeout: Duration,
    /// Which contexts are accepted, and with which transfer syntax.
    pub contexts: ContextPolicy,
    /// At most so many operations (invoked, performed) are granted a peer that proposes an asynchronous operations
    /// window; 0 is no limit. Requests are answered in order, so it costs nothing here to let many be sent ahead.
    pub async_operations_window: (u16, u16),
}

impl AcceptorOptions {
    /// The defaults, under an AE title.
    #[must_use]
    pub fn new(ae_title: AeTitle) -> Self {
        Self {
            ae_title,
            accept_any_called_ae: true,
            max_pdu_bytes: 131_072,
            artim: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            // A fifteenth of what a line of 256 kbit/s brings; retransmissions and several associations have room in it.
            pace: Pace { window: Duration::from_secs(30), bytes_min: 64 * 1024 },
            write_timeout: Duration::from_secs(30),
            contexts: ContextPolicy::default(),
            async_operations_window: (64, 1),
        }
    }
}

/// A presentation context as proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedContext {
    /// SOP class UID.
    pub abstract_syntax: String,
    /// Transfer syntax UIDs, the requestor's preference first.
    pub transfer_syntaxes: Vec<String>,
}

/// Who the user behind a peer says to be (PS3.7 D.3.3.7). The fields are secrets and do not print.
#[derive(Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// 1 user name, 2 user name and passcode, 3 Kerberos ticket, 4 SAML assertion, 5 JSON web token.
    pub kind: u8,
    /// True when the peer wants to be told that it was believed.
    pub response_requested: bool,
    /// User name, ticket, assertion or token.
    pub primary: Vec<u8>,
    /// Passcode.
    pub secondary: Vec<u8>,
}

impl std::fmt::Debug for UserIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserIdentity").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// An A-ASSOCIATE-RQ, as whoever admits it needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssociateRequest {
    /// Who calls.
    pub calling_ae: AeTitle,
    /// Whom; our own title where the peer gave none that can be read and any is accepted.
    pub called_ae: AeTitle,
    /// The peer's implementation; empty when not given.
    pub implementation_class_uid: String,
    /// And its version; empty when not given.
    pub implementation_version_name: String,
    /// The longest P-DATA-TF the peer takes, in bytes; 0 for no limit.
    pub max_pdu_bytes: u32,
    /// The user, if one is named.
    pub user_identity: Option<UserIdentity>,
    /// What is proposed, in the peer's order.
    pub contexts: Vec<ProposedContext>,
    /// Operations the peer would invoke and perform at once.
    pub async_operations_window: Option<(u16, u16)>,
}

/// Whether a peer may associate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Accept,
    /// It may not, and is told why.
    Reject(Rejection),
}

/// Takes an incoming connection to an established association. Blocks up to ARTIM for the request, and as long again
/// for a refused peer to close. `admit` is asked once, after the protocol's own checks.
///
/// `None` when the peer left without a word (a port check): no association was asked for.
///
/// # Errors
/// [`Error::Refused`] when it was refused, by `admit` or by the checks before it; [`Error::Timeout`] when ARTIM ran
/// out; else as the peer or transport failed.
pub fn accept<T: Transport>(
    transport: T,
    options: &AcceptorOptions,
    admit: &dyn Fn(&AssociateRequest) -> Admission,
) -> Result<Option<Association<T>>, Error> {
    let limits = Limits {
        artim: options.artim,
        idle: options.idle,
        write: options.write_timeout,
        pace: Some(options.pace),
    };
    let mut link = Link::new(transport, Role::Acceptor, limits)?;
    match negotiate(&mut link, options, admit) {
        Ok(Some(negotiated)) => {
            metrics::established("acceptor");
            Ok(Some(Association::new(link, negotiated)))
        }
        Ok(None) => Ok(None),
        Err(error) => {
            metrics::failed("acceptor", &error);
            link.linger();
            Err(error)
        }
    }
}

fn negotiate<T: Transport>(
    link: &mut Link<T>,
    options: &AcceptorOptions,
    admit: &dyn Fn(&AssociateRequest) -> Admission,
) -> Result<Option<Negotiated>, Error> {
    link.event(Event::TransportIndicated, &[])?;
    let (request, body) = match link.next_pdu() {
        Ok(Incoming::AssociateRequest(request, body)) => (request, body),
        Ok(_) => return Err(Error::Protocol { what: "no A-ASSOCIATE-RQ" }),
        Err(Error::Closed) => return Ok(None),
        Err(error) => return Err(error),
    };
    if has_duplicate_ids(&request.presentation_contexts) {
        return Err(link.invalid(INVALID_PARAMETER, "two presentation contexts of one number"));
    }
    let peer = match check(&request, options, admit) {
        Ok(peer) => peer,
        Err(error) => {
            if let Error::Refused { rejection, .. } = &error {
                link.event(Event::AssociateReject, &pdu::reject_pdu(*rejection))?;
            }
            return Err(error);
        }
    };
    let (results, contexts) = decide(&request.presentation_contexts, &options.contexts);
    let accept = AssociationAC {
        protocol_version: 1,
        calling_ae_title: String::new(),
        called_ae_title: String::new(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: answer_user_variables(&request, &contexts, options),
    };
    let bytes = associate_pdu::encode_accept(accept, &body)?;
    link.event(Event::AssociateAccept, &bytes)?;
    Ok(Some(Negotiated { peer, contexts, own_pdu_bytes_max: options.max_pdu_bytes }))
}

fn has_duplicate_ids(contexts: &[PresentationContextProposed]) -> bool {
    let ids: BTreeSet<u8> = contexts.iter().map(|context| context.id).collect();
    ids.len() != contexts.len()
}

/// Application context, called and calling AE title, then the caller's own rules.
fn check(
    request: &AssociationRQ,
    options: &AcceptorOptions,
    admit: &dyn Fn(&AssociateRequest) -> Admission,
) -> Result<AssociateRequest, Error> {
    let calling_ae = request.calling_ae_title.parse::<AeTitle>().ok();
    let called_ae = request.called_ae_title.parse::<AeTitle>().ok();
    let refuse = |rejection| Error::Refused {
        rejection,
        calling_ae: calling_ae.clone(),
        called_ae: called_ae.clone(),
    };
    if request.application_context_name != APPLICATION_CONTEXT {
        return Err(refuse(Rejection::APPLICATION_CONTEXT));
    }
    let is_ours = called_ae.as_ref() == Some(&options.ae_title);
    if !is_ours && !options.accept_any_called_ae {
        return Err(refuse(Rejection::CALLED_AE));
    }
    let calling = calling_ae.clone().ok_or_else(|| refuse(Rejection::CALLING_AE))?;
    let called = called_ae.clone().unwrap_or_else(|| options.ae_title.clone());
    let peer = describe(request, calling, called);
    match admit(&peer) {
        Admission::Accept => Ok(peer),
        Admission::Reject(rejection) => Err(refuse(rejection)),
    }
}

fn describe(request: &AssociationRQ, calling_ae: AeTitle, called_ae: AeTitle) -> AssociateRequest {
    let contexts = request.presentation_contexts.iter().map(|context| ProposedContext {
        abstract_syntax: context.abstract_syntax.clone(),
        transfer_syntaxes: context.transfer_syntaxes.clone(),
    });
    let mut peer = AssociateRequest {
        calling_ae,
        called_ae,
        implementation_class_uid: String::new(),
        implementation_version_name: String::new(),
        max_pdu_bytes: 0,
        user_identity: None,
        contexts: contexts.collect(),
        async_operations_window: None,
    };
    for variable in &request.user_variables {
        match variable {
            UserVariableItem::MaxLength(bytes) => peer.max_pdu_bytes = *bytes,
            UserVariableItem::ImplementationClassUID(uid) => {
                peer.implementation_class_uid = uid.trim_matches([' ', '\0']).to_owned();
            }
            UserVariableItem::ImplementationVersionName(name) => {
                peer.implementation_version_name = name.trim_matches([' ', '\0']).to_owned();
            }
            UserVariableItem::Unknown(ASYNC_OPERATIONS_WINDOW, bytes) => {
                peer.async_operations_window = window(bytes);
            }
            UserVariableItem::UserIdentityItem(identity) => {
                peer.user_identity = Some(UserIdentity {
                    kind: identity_kind(&identity.identity_type()),
                    response_requested: identity.positive_response_requested(),
                    primary: identity.primary_field(),
                    secondary: identity.secondary_field(),
                });
            }
            // Role selection is answered from the request itself; extended and common extended negotiation
            // (PS3.7 D.3.3.5, D.3.3.6) go unanswered, which says that the service class's defaults hold.
            _ => {}
        }
    }
    peer
}

fn identity_kind(kind: &UserIdentityType) -> u8 {
    match kind {
        UserIdentityType::Username => 1,
        UserIdentityType::UsernamePassword => 2,
        UserIdentityType::KerberosServiceTicket => 3,
        UserIdentityType::SamlAssertion => 4,
        UserIdentityType::Jwt => 5,
        _ => 0,
    }
}

/// Operations invoked and performed (PS3.7 D.3.3.3).
fn window(bytes: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *bytes.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// The smaller of two limits of which 0 is none.
fn smaller(a: u16, b: u16) -> u16 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        _ => a.min(b),
    }
}

/// Every proposed context with its verdict, in the order proposed; and those accepted.
fn decide(
    proposed: &[PresentationContextProposed],
    policy: &ContextPolicy,
) -> (Vec<PresentationContextResult>, Vec<AcceptedContext>) {
    let mut results = Vec::with_capacity(proposed.len());
    let mut accepted = Vec::new();
    for context in proposed {
        let verdict = policy.decide(&context.abstract_syntax, &context.transfer_syntaxes);
        let (reason, transfer_syntax) = match &verdict {
            Verdict::Accept(syntax) => (PresentationContextResultReason::Acceptance, syntax.clone()),
            Verdict::AbstractSyntaxNotSupported => {
                let named = named_syntax(&context.transfer_syntaxes);
                (PresentationContextResultReason::AbstractSyntaxNotSupported, named)
            }
            Verdict::TransferSyntaxesNotSupported => {
                let named = named_syntax(&context.transfer_syntaxes);
                (PresentationContextResultReason::TransferSyntaxesNotSupported, named)
            }
        };
        if let Verdict::Accept(syntax) = verdict {
            accepted.push(AcceptedContext {
                id: context.id,
                abstract_syntax: context.abstract_syntax.clone(),
                transfer_syntax: syntax,
            });
        }
        results.push(PresentationContextResult { id: context.id, reason, transfer_syntax });
    }
    (results, accepted)
}

/// A refused context names a transfer syntax too, not significant (PS3.8 9.3.3.2): some peers want one there.
fn named_syntax(proposed: &[String]) -> String {
    let first = proposed.iter().find(|syntax| is_uid(syntax));
    first.cloned().unwrap_or_else(|| filmgate_model::uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned())
}

fn answer_user_variables(
    request: &AssociationRQ,
    contexts: &[AcceptedContext],
    options: &AcceptorOptions,
) -> Vec<UserVariableItem> {
    let mut answer = vec![
        UserVariableItem::MaxLength(options.max_pdu_bytes),
        UserVariableItem::ImplementationClassUID(part10::IMPLEMENTATION_CLASS_UID.to_owned()),
        UserVariableItem::ImplementationVersionName(part10::IMPLEMENTATION_VERSION_NAME.to_owned()),
    ];
    let mut answered_roles = BTreeSet::new();
    for variable in &request.user_variables {
        match variable {
            UserVariableItem::Unknown(ASYNC_OPERATIONS_WINDOW, bytes) => {
                answer.extend(window(bytes).map(|window| answer_window(window, options)));
            }
            // We are SCP and nothing else: the peer may be SCU if it asks, and is not made an SCP.
            UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) => {
                let uid = uid.trim_matches([' ', '\0']);
                let is_accepted = contexts.iter().any(|context| context.abstract_syntax == uid);
                if is_accepted && answered_roles.insert(uid.to_owned()) {
                    let roles = RequestorRoles { scu: roles.scu, scp: false };
                    answer.push(UserVariableItem::ScuScpRoleSelectionSubItem(uid.to_owned(), roles));
                }
            }
            // Positive response: empty for names and tokens. Kerberos and SAML call for a ticket or response that
            // only their own service could make, and to stay silent is to say "not verified" (PS3.7 D.3.3.7.2).
            UserVariableItem::UserIdentityItem(identity)
                if identity.positive_response_requested()
                    && matches!(identity_kind(&identity.identity_type()), 1 | 2 | 5) =>
            {
                answer.push(UserVariableItem::Unknown(USER_IDENTITY_RESPONSE, vec![0, 0]));
            }
            _ => {}
        }
    }
    // In ascending order of item type, each but role selection once.
    answer.sort_by_key(item_type);
    answer.dedup_by(|a, b| item_type(a) == item_type(b) && item_type(a) != 0x54);
    answer
}

fn item_type(item: &UserVariableItem) -> u8 {
    match item {
        UserVariableItem::Unknown(item_type, _) => *item_type,
        UserVariableItem::MaxLength(_) => 0x51,
        UserVariableItem::ImplementationClassUID(_) => 0x52,
        UserVariableItem::ScuScpRoleSelectionSubItem(..) => 0x54,
        UserVariableItem::ImplementationVersionName(_) => 0x55,
        UserVariableItem::SopClassExtendedNegotiationSubItem(..) => 0x56,
        UserVariableItem::UserIdentityItem(_) => 0x58,
    }
}

fn answer_window(proposed: (u16, u16), options: &AcceptorOptions) -> UserVariableItem {
    let (invoked, performed) = options.async_operations_window;
    let mut bytes = smaller(proposed.0, invoked).to_be_bytes().to_vec();
    bytes.extend_from_slice(&smaller(proposed.1, performed).to_be_bytes());
    UserVariableItem::Unknown(ASYNC_OPERATIONS_WINDOW, bytes)
}
