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
    /// The process that decoded or encoded it ended on the way: it ran out of memory, or its codec crashed.
    #[error("the codec crashed")]
    Crashed,
    /// This program failed over a frame that was decoded.
    #[error("the picture could not be made: the log says why")]
    Failed,
    /// It took too long and was ended.
    #[error("the codec was not done after {milliseconds_max} ms")]
    TooSlow {
        /// What it may take.
        milliseconds_max: u64,
    },
    /// No process for it could be started.
    #[error("no process for the codec: {0}")]
    NoWorker(String),
}

impl Error {
    /// True when trying again would end the same.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Crashed | Self::TooSlow { .. } | Self::NoWorker(_))
    }
}

/// Shorthand for [`Error::Malformed`].
pub(crate) fn malformed(what: impl Into<String>) -> Error {
    Error::Malformed(what.into())
}
