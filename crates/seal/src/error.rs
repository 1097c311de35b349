//! What can go wrong when sealed bytes are opened. Sealing itself does not fail.

/// Why sealed bytes did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Bytes, key, record id or chunk number do not belong together: flipped, swapped, cut off, or the wrong key.
    #[error("sealed bytes do not open: damaged, or not under this key")]
    Forged,
    /// The bytes are not in the format expected here.
    #[error("malformed {what}: {problem}")]
    Malformed {
        /// Which structure.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Written by a newer version: a version, suite, codec or field this one does not know.
    #[error("{what} {number} was made by a newer version")]
    Newer {
        /// What is not known: version, suite, codec, field.
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// A length or count is beyond what the format allows.
    #[error("{what} of {value} is beyond the limit of {limit}")]
    BeyondLimit {
        /// Of what.
        what: &'static str,
        /// As stored.
        value: u64,
        /// As allowed.
        limit: u64,
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
    Error::Malformed { what, problem }
}

/// `value`, when it is at most `limit`.
pub(crate) fn at_most(what: &'static str, value: u64, limit: u64) -> Result<u64, Error> {
    if value <= limit { Ok(value) } else { Err(Error::BeyondLimit { what, value, limit }) }
}
