//! What can go wrong with bytes of the log.

use filmgate_model::{IncarnationId, LogKeyId, SiteId};

use crate::ExportPlace;

/// Why bytes are not the batch they should be, or facts do not become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A structure is malformed, forged, or of a newer version.
    #[error(transparent)]
    Sealed(#[from] filmgate_seal::Error),
    /// A whole batch, of another place than it stands in.
    #[error("batch {sequence} of incarnation {incarnation} stands where another belongs")]
    Misplaced {
        /// The incarnation it is of.
        incarnation: IncarnationId,
        /// Its number there.
        sequence: u64,
    },
    /// Its predecessor is another batch than the one read before it.
    #[error("batch {sequence} does not follow the batch read before it")]
    Broken {
        /// Its number.
        sequence: u64,
    },
    /// The signature is not that of the incarnation's own key.
    #[error("batch {sequence} is not signed by its incarnation")]
    NotSigned {
        /// Its number.
        sequence: u64,
    },
    /// It is sealed under another key than the one given.
    #[error("the batch is sealed under log key {id}, generation {generation}")]
    OtherKey {
        /// The key it names.
        id: LogKeyId,
        /// Its generation.
        generation: u32,
    },
    /// A whole export of the book, of another place than it stands in.
    #[error("{} of the book stands where another belongs", .0.object_name())]
    ExportMisplaced(ExportPlace),
    /// An export of another site's book.
    #[error("it is of site {0}")]
    OtherSite(SiteId),
    /// Something is longer than the format allows.
    #[error("{what} is longer than {limit}")]
    TooLong {
        /// What.
        what: &'static str,
        /// As allowed.
        limit: usize,
    },
}

impl Error {
    /// True when trying again with the same bytes cannot help: always, as nothing here depends on the moment.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        true
    }
}

pub(crate) fn malformed(what: &'static str, problem: &'static str) -> Error {
    Error::Sealed(filmgate_seal::Error::Malformed { what, problem })
}

/// `length`, when it is at most `limit`.
pub(crate) fn fits(what: &'static str, length: usize, limit: usize) -> Result<usize, Error> {
    if length <= limit { Ok(length) } else { Err(Error::TooLong { what, limit }) }
}
