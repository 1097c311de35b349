//! What can go wrong with pixels.

/// Pixels that cannot be decoded, shown or encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are no pixels.
    #[error("it has no pixels")]
    NoPixels,
    /// Nothing here decodes or encodes such.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The attributes or the bytes do not fit together.
    #[error("{0}")]
    Malformed(String),
    /// A frame would take more memory than one may.
    #[error("a frame of {bytes} bytes is larger than {bytes_max}")]
    TooLarge {
        /// What it would take.
        bytes: u64,
        /// What it may.
        bytes_max: u64,
    },
}

/// Shorthand for [`Error::Malformed`].
pub(crate) fn malformed(what: impl Into<String>) -> Error {
    Error::Malformed(what.into())
}
