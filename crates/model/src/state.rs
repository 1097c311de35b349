//! The one visible state every received instance is in.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// Where an instance stands on its road. Exactly one holds at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Durable in the journal; not in a pack yet.
    Received,
    /// In a pack on the local disk.
    Packed,
    /// Its pack is in the bucket, not yet proven equal there.
    Uploaded,
    /// Read back equal from every required placement.
    Verified,
    /// The last try to upload or verify failed; the next has a time.
    Retrying,
    /// Kept apart with a reason: its bytes could not be understood.
    Quarantined,
    /// Its bytes no longer open.
    Damaged,
    /// Deleted, by whom and why.
    Deleted,
    /// Held by a node that is away.
    Absent,
}

impl InstanceState {
    /// All states, in the order of the road.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Packed,
        Self::Uploaded,
        Self::Verified,
        Self::Retrying,
        Self::Quarantined,
        Self::Damaged,
        Self::Deleted,
        Self::Absent,
    ];

    /// The word for it in the catalog, in answers and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Packed => "packed",
            Self::Uploaded => "uploaded",
            Self::Verified => "verified",
            Self::Retrying => "retrying",
            Self::Quarantined => "quarantined",
            Self::Damaged => "damaged",
            Self::Deleted => "deleted",
            Self::Absent => "absent",
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word is not the name of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an instance state")]
pub struct ParseStateError(String);

impl FromStr for InstanceState {
    type Err = ParseStateError;

    fn from_str(word: &str) -> Result<Self, ParseStateError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| ParseStateError(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_reads_back_from_its_word() {
        for state in InstanceState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("lost".parse::<InstanceState>().is_err());
    }
}
