//! Why an association is refused (A-ASSOCIATE-RJ, PS3.8 9.3.4), and why one is aborted (A-ABORT, PS3.8 9.3.8).

use std::fmt;

/// Result, source and reason of an A-ASSOCIATE-RJ, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// 1 permanent, 2 transient.
    pub result: u8,
    /// 1 service user, 2 service provider (ACSE), 3 service provider (presentation).
    pub source: u8,
    /// By source, PS3.8 table 9-21.
    pub reason: u8,
}

impl Rejection {
    /// No reason given.
    pub const NO_REASON: Self = Self::new(1, 1, 1);
    /// The application context is not DICOM's.
    pub const APPLICATION_CONTEXT: Self = Self::new(1, 1, 2);
    /// The calling AE title is not known here.
    pub const CALLING_AE: Self = Self::new(1, 1, 3);
    /// The called AE title is not ours.
    pub const CALLED_AE: Self = Self::new(1, 1, 7);
    /// The protocol version is not 1.
    pub const PROTOCOL_VERSION: Self = Self::new(1, 2, 2);
    /// Busy just now.
    pub const TEMPORARY_CONGESTION: Self = Self::new(2, 3, 1);
    /// Too many associations, or no room.
    pub const LOCAL_LIMIT_EXCEEDED: Self = Self::new(2, 3, 2);

    const fn new(result: u8, source: u8, reason: u8) -> Self {
        Self { result, source, reason }
    }

    /// True when asking again later cannot help.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        self.result != 2
    }

    /// What it says, in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match (self.source, self.reason) {
            (1, 1) | (2, 1) => "no reason given",
            (1, 2) => "application context name not supported",
            (1, 3) => "calling AE title not recognised",
            (1, 7) => "called AE title not recognised",
            (2, 2) => "protocol version not supported",
            (3, 1) => "temporary congestion",
            (3, 2) => "local limit exceeded",
            _ => "reserved reason",
        }
    }

    /// What whoever was refused can do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match (self.source, self.reason) {
            (1, 3) => "register the calling AE title at the peer, or change it",
            (1, 7) => "check the called AE title",
            (3, _) => "try again later",
            _ if self.is_permanent() => "ask the peer's operator",
            _ => "try again later",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasting = if self.is_permanent() { "permanent" } else { "transient" };
        write!(f, "{} ({lasting}, source {}, reason {})", self.meaning(), self.source, self.reason)
    }
}

/// Source and reason of an A-ABORT, as on the wire (PS3.8 table 9-26).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Abort {
    /// 0 service user, 2 service provider.
    pub source: u8,
    /// Only with source 2.
    pub reason: u8,
}

impl Abort {
    /// True when the service user aborted.
    #[must_use]
    pub fn is_by_user(self) -> bool {
        self.source != 2
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_by_user() {
            return f.write_str("by the service user");
        }
        let reason = match self.reason {
            1 => "unrecognised PDU",
            2 => "unexpected PDU",
            4 => "unrecognised PDU parameter",
            5 => "unexpected PDU parameter",
            6 => "invalid PDU parameter value",
            _ => "no reason given",
        };
        write!(f, "by the service provider: {reason}")
    }
}
