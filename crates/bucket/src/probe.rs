//! What a store does, as found by trying it.

use serde::Serialize;

/// What a store was found to do. Stores accept headers they do not heed, so only what was seen to happen counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Probe {
    /// It refused content whose SHA-256 was stated wrongly.
    pub checks_sha256: bool,
    /// It refused content whose MD5 was stated wrongly.
    pub checks_md5: bool,
    /// It refused to replace an object that was to be new.
    pub honours_conditions: bool,
    /// It keeps what is deleted or replaced as an old version, or once did; a deletion takes every version then.
    pub keeps_versions: bool,
    /// It refused to delete an object that was locked.
    pub locks_objects: bool,
}

/// What a probe may use: names and a time, which this crate does not take from the air.
#[derive(Debug, Clone)]
pub struct ProbeToken {
    /// Letters and digits no other probe uses.
    pub token: String,
    /// Now, in milliseconds since 1970.
    pub at_ms: i64,
}
