//! DICOM on the wire, both roles: associations over any [`Transport`], C-ECHO and C-STORE as SCP and SCU.
//!
//! An acceptor calls [`accept`] on an incoming connection and pulls: [`Association::next`] gives a request,
//! [`Association::read_dataset`] its dataset as it arrives, [`Association::respond`] sends the answer. A requestor
//! calls [`request`] on an open connection, then [`Requested::store`] and [`Requested::release`]. Everything blocks,
//! within limits; one thread per association.
//!
//! Invariants, each with a test:
//!
//! - The [`state_machine`] is table 9-10 of PS3.8 as data; nothing is sent, told or closed but by its effects.
//! - No declared length is allocated. Memory per association is a few kilobytes, whatever a PDU, PDV or dataset
//!   claims to be; A-ASSOCIATE PDUs end at 128 KiB, command sets at 64 KiB. A P-DATA-TF longer than we asked for is
//!   taken all the same.
//! - A response is one write; so is every PDU with data. `TCP_NODELAY` is on.
//! - ARTIM is a deadline: dripping bytes does not extend it. A message under way must keep a pace; one that drips is
//!   aborted. Between messages an association may be silent as long as the idle limit says.
//! - Requests are answered in order, also those sent ahead; what is not served is answered 0x0211.
//! - Any bytes from a peer end in data or a typed [`Error`].
//!
//! Absent on purpose: TLS (bring a [`Transport`]), disks, clouds, what a dataset means. Of the negotiation of PS3.7
//! annex D: extended and common extended negotiation are read over, role selection never makes the peer an SCP.

mod acceptor;
mod associate_pdu;
mod association;
pub mod command;
mod context_policy;
mod error;
mod link;
mod message;
mod metrics;
pub mod pdu;
mod rejection;
mod requestor;
pub mod state_machine;
mod status;
mod storage_scp;
mod transport;
mod verification_scp;

pub use acceptor::{AcceptorOptions, Admission, AssociateRequest, ProposedContext, UserIdentity, accept};
pub use association::{AbortReason, AcceptedContext, Association, Request};
pub use context_policy::{ContextPolicy, Verdict};
pub use error::Error;
pub use rejection::{Abort, Rejection};
pub use requestor::{CONTEXTS_MAX, Requested, RequestorOptions, SEND_PDU_BYTES_MAX, request};
pub use status::{Status, StatusClass};
pub use storage_scp::StoreRequest;
pub use transport::Transport;
pub use verification_scp::EchoRequest;
