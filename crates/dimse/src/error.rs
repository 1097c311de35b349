//! What can go wrong on an association.

use std::{io, time::Duration};

use filmgate_model::{AeTitle, TooSlow};

use crate::{
    rejection::{Abort, Rejection},
    state_machine::Impossible,
};

/// The end of an association that was not a release in order. After any of these but
/// [`Error::Unusable`] and an early [`Error::Dataset`] the association is over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transport failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The transport's own error.
        #[source]
        source: io::Error,
    },
    /// Nothing came, or nothing went, for too long.
    #[error("no {waiting_for} within {after:?}: check network and peer, or allow more time")]
    Timeout {
        /// What was awaited.
        waiting_for: &'static str,
        /// The limit.
        after: Duration,
    },
    /// A message under way came too slowly.
    #[error("a message under way is too slow: check the network, or allow more time")]
    TooSlow(#[source] TooSlow),
    /// This side refused the association.
    #[error("refused {calling_ae:?} calling {called_ae:?}: {rejection}")]
    Refused {
        /// What the peer was told.
        rejection: Rejection,
        /// Who called, as far as it can be read.
        calling_ae: Option<AeTitle>,
        /// Whom.
        called_ae: Option<AeTitle>,
    },
    /// The peer refused the association.
    #[error("peer refuses the association: {rejection}; {}", rejection.advice())]
    Rejected {
        /// What it said.
        rejection: Rejection,
    },
    /// The peer aborted.
    #[error("peer aborted the association {0}")]
    AbortedByPeer(Abort),
    /// The transport was closed without a release.
    #[error("peer closed the connection without releasing the association")]
    Closed,
    /// The peer asked for release in the middle of an exchange.
    #[error("peer released the association while {during}")]
    ReleasedByPeer {
        /// What was under way.
        during: &'static str,
    },
    /// The peer broke the protocol; it was sent an abort.
    #[error("peer broke the protocol: {what}")]
    Protocol {
        /// How.
        what: &'static str,
    },
    /// An A-ASSOCIATE PDU could not be read or written.
    #[error("cannot {doing} {pdu}")]
    AssociatePdu {
        /// "read" or "write".
        doing: &'static str,
        /// Which PDU.
        pdu: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was asked for cannot be done on this association or with these options.
    #[error("{0}")]
    Unusable(String),
    /// The dataset to be sent could not be read; where half of it was sent already, the association was aborted.
    #[error("read the dataset to send")]
    Dataset(#[source] io::Error),
    /// The association is over, or not yet there.
    #[error(transparent)]
    OutOfTurn(#[from] Impossible),
}

impl Error {
    /// True when the same attempt cannot succeed later.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Rejected { rejection } | Self::Refused { rejection, .. } => rejection.is_permanent(),
            Self::Unusable(_) | Self::AssociatePdu { .. } | Self::Protocol { .. } => true,
            Self::Io { .. }
            | Self::Timeout { .. }
            | Self::TooSlow(_)
            | Self::AbortedByPeer(_)
            | Self::Closed
            | Self::ReleasedByPeer { .. }
            | Self::Dataset(_)
            | Self::OutOfTurn(_) => false,
        }
    }
}
