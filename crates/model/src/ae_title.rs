//! Application entity titles (PS3.5 6.2, VR AE; PS3.8 9.3.2).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Characters an AE title has at most.
pub const AE_TITLE_CHARACTERS_MAX: usize = 16;

/// An application entity title without its padding: 1 to 16 printable ASCII characters, no backslash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AeTitle(String);

/// A text is not an AE title.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an AE title: 1 to 16 printable ASCII characters without a backslash")]
pub struct ParseAeTitleError(String);

impl AeTitle {
    /// The title without padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AeTitle {
    type Err = ParseAeTitleError;

    fn from_str(text: &str) -> Result<Self, ParseAeTitleError> {
        // Leading and trailing spaces are not significant.
        let title = text.trim_matches([' ', '\0']);
        let fits = (1..=AE_TITLE_CHARACTERS_MAX).contains(&title.len());
        let plain = title.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\');
        if fits && plain { Ok(Self(title.to_owned())) } else { Err(ParseAeTitleError(text.to_owned())) }
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<AeTitle> for String {
    fn from(title: AeTitle) -> Self {
        title.0
    }
}

impl TryFrom<String> for AeTitle {
    type Error = ParseAeTitleError;

    fn try_from(text: String) -> Result<Self, ParseAeTitleError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_goes_and_nonsense_is_refused() {
        assert_eq!(" CT_1  ".parse::<AeTitle>().map(String::from), Ok("CT_1".to_owned()));
        for bad in ["", "   ", "SEVENTEEN_LETTERS", "A\\B", "放射科"] {
            assert!(bad.parse::<AeTitle>().is_err(), "{bad:?}");
        }
    }
}
