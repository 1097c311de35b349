//! The one text decoder (PS3.5 6.1, PS3.3 C.12.1.1.2).
//!
//! Decoding happens before a value is split: the second byte of a GBK character may be `\` or `^`.
//! Text that is not valid in the set it states is decoded as far as it goes, never refused.
//!
//! - `term`: what the values of Specific Character Set (0008,0005) mean, the defined terms and those met in the field.
//! - `repertoire`: what bytes are in one set.
//! - `extended`: code extensions by ISO 2022 (PS3.5 6.1.2).
//! - `guess`: text that is not in the set its dataset states.

mod extended;
mod guess;
mod repertoire;
mod term;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use dicom_core::VR;

pub use repertoire::Repertoire;

use repertoire::{Read, is_plain};

/// What is known of text besides what its dataset states (settings `text.*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// What the sender's text is in where its datasets state no character set or a single-byte one.
    pub instead: Option<Repertoire>,
    /// Text in another set than the stated one is recognised.
    pub guess: bool,
}

impl Default for Hint {
    fn default() -> Self {
        Self { instead: None, guess: true }
    }
}

/// Why text was read as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// As its dataset states.
    Stated,
    /// As it was told of the sender ([`Hint::instead`]).
    Override,
    /// Recognised, with a confidence in percent.
    Guessed(u8),
    /// Nothing that is known fits: bytes without a meaning in the stated set, or without a set at all.
    Fallback,
}

impl How {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::Override => "override",
            Self::Guessed(_) => "guessed",
            Self::Fallback => "fallback",
        }
    }
}

/// Text that was decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text; what could not be read is U+FFFD in it.
    pub text: Cow<'a, str>,
    /// What it was read as.
    pub encoding: &'static str,
    /// Why as that.
    pub how: How,
    /// Characters that could not be read.
    pub replaced: usize,
}

/// In what the text of a dataset is: what it states, and what is read in its place where that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset {
    stated: Repertoire,
    /// What is read in place of the stated set.
    instead: Option<(Repertoire, How)>,
    /// There was no text to tell by, or text of several kinds: each value tells for itself.
    by_value: bool,
}

impl Default for Charset {
    fn default() -> Self {
        Self::of(&[], [], Hint::default())
    }
}

impl Charset {
    /// Of a dataset that states `specific_character_set`, which is empty when it has none. `samples` is what there is of its
    /// text: a name of two characters tells little, together with a description and an institution it tells enough.
    #[must_use]
    pub fn of<'a>(
        specific_character_set: &[u8],
        samples: impl IntoIterator<Item = &'a [u8]>,
        hint: Hint,
    ) -> Self {
        let stated = Repertoire::stated(specific_character_set);
        // Escape sequences say for themselves what they switch to.
        let telling = |sample: &&[u8]| !sample.is_ascii() && !sample.contains(&0x1b);
        let samples: Vec<&[u8]> = samples.into_iter().filter(telling).collect();
        if let Some(instead) = hint.instead.filter(|instead| stated.gives_way() && instead.fits(&samples)) {
            return Self { stated, instead: Some((instead, How::Override)), by_value: false };
        }
        if !hint.guess {
            return Self { stated, instead: None, by_value: false };
        }
        let instead = guess::recognise(stated, &samples).map(|(set, sure)| (set, How::Guessed(sure)));
        let by_value = samples.is_empty() || instead.is_none() && !stated.fits(&samples);
        Self { stated, instead, by_value }
    }

    /// Decodes a value as a whole, before it is split.
    #[must_use]
    pub fn decode<'a>(&self, vr: VR, value: &'a [u8]) -> Decoded<'a> {
        // ASCII is itself in each of these sets, all but two characters of one.
        if is_plain(value)
            && !self.stated.changes(value)
            && let Ok(text) = std::str::from_utf8(value)
        {
            let encoding = self.stated.name();
            return Decoded { text: text.into(), encoding, how: How::Stated, replaced: 0 };
        }
        let charset = if self.by_value { self.decided_by(value) } else { *self };
        let read_instead = charset.instead.and_then(|(instead, how)| charset.read_as(instead, how, value));
        read_instead.unwrap_or_else(|| charset.read_as_stated(vr, value))
    }

    /// Differs wherever the same dataset could read differently, as after a change of settings; 24 bits.
    #[must_use]
    pub fn stamp(&self) -> u32 {
        let (kind, name) = match self.instead {
            None => return u32::from(!self.by_value),
            Some((instead, How::Override)) => (2, instead.name()),
            Some((instead, _)) => (3, instead.name()),
        };
        let digest = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        (digest << 2 | kind) & 0x00ff_ffff
    }

    /// Why its text is read as it is, as far as that is decided.
    #[must_use]
    pub fn how(&self) -> How {
        self.instead.map_or(How::Stated, |(_, how)| how)
    }

    fn decided_by(&self, value: &[u8]) -> Self {
        let samples: &[&[u8]] = if value.contains(&0x1b) { &[] } else { &[value] };
        let instead = guess::recognise(self.stated, samples);
        Self { instead: instead.map(|(instead, sure)| (instead, How::Guessed(sure))), ..*self }
    }

    /// `None` when the value is of another kind than the rest of its dataset.
    fn read_as<'a>(&self, instead: Repertoire, how: How, value: &'a [u8]) -> Option<Decoded<'a>> {
        let guessed = matches!(how, How::Guessed(_));
        if value.contains(&0x1b) || !instead.fits(&[value]) || guessed && guess::is_apart(instead, value) {
            return None;
        }
        let Read { text, replaced } = instead.read(value);
        Some(Decoded { text, encoding: instead.name(), how, replaced })
    }

    fn read_as_stated<'a>(&self, vr: VR, value: &'a [u8]) -> Decoded<'a> {
        let Read { text, replaced } = extended::read(self.stated, vr, value);
        let meant =
            replaced == 0 && (value.is_ascii() || value.contains(&0x1b) || !self.stated.is_unstated());
        let how = if meant { How::Stated } else { How::Fallback };
        let encoding = if value.contains(&0x1b) { "ISO 2022" } else { self.stated.name() };
        Decoded { text, encoding, how, replaced }
    }
}
