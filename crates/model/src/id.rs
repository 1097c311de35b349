//! Random 128-bit identifiers. They say nothing about a patient, so they may stand in names, logs and buckets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Random;

/// An identifier was not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identifier is 32 hexadecimal digits")]
pub struct ParseIdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A fresh identifier.
            #[must_use]
            pub fn random(random: &Random) -> Self {
                Self(random.array())
            }

            /// The 16 bytes as they stand in stored formats.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError)?;
                Ok(Self(bytes))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }
    };
}

id!(
    /// One received instance, sealed: the same everywhere from the journal to the bucket.
    RecordId
);
id!(
    /// One pack: an object in the bucket that holds records of one study.
    PackId
);
id!(
    /// A study's key (a study as received by one node).
    StudyKeyId
);
id!(
    /// A key that wraps record keys in the journal; rotated daily.
    LandingKeyId
);
id!(
    /// A key the log's batches are sealed under.
    LogKeyId
);
id!(
    /// One fact of the log.
    FactId
);
id!(
    /// One run of batches in the log: a data directory, until it is restored from an older copy of itself.
    IncarnationId
);
id!(
    /// One data directory of one gateway.
    NodeId
);
id!(
    /// A hospital site: a prefix in the bucket and a site key.
    SiteId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_reads_back_from_its_text() {
        let id = RecordId::random(&Random::seeded(7));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("abc".parse::<RecordId>(), Err(ParseIdError));
    }
}
