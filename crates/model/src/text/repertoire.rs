//! What bytes are in one character set.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// Bytes of a value.
pub(super) type Bytes = [u8];

/// What bytes up to 0x7F are before any escape sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Low {
    /// ISO-IR 6.
    Ascii,
    /// ISO-IR 14 (JIS X 0201 romaji): ¥ in place of `\`, ‾ in place of `~`.
    Romaji,
}

/// What bytes above 0x7F are before any escape sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum High {
    /// Nothing: there is no set, or it is reached by an escape sequence alone.
    Unstated,
    /// A single-byte set of ISO 8859 or TIS 620, or the one of Windows that has it as a part: just as the standard has it,
    /// 0x80 to 0x9F are control characters.
    Iso(&'static Encoding),
    /// ISO-IR 13 (JIS X 0201 katakana).
    Katakana,
    /// A set that says what all bytes are, ASCII among them.
    Whole(&'static Encoding),
}

/// A character set, or two that stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repertoire {
    pub(super) low: Low,
    pub(super) high: High,
}

/// What was read.
pub(super) struct Read<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) replaced: usize,
}

/// True for ASCII without escape sequences.
pub(super) fn is_plain(bytes: &Bytes) -> bool {
    bytes.is_ascii() && !bytes.contains(&0x1b)
}

/// What stands between 0x80 and 0x9F: control characters, of which DICOM text has none (PS3.5 6.1.3).
pub(super) fn is_c1(byte: u8) -> bool {
    (0x80..0xa0).contains(&byte)
}

impl Repertoire {
    /// The default repertoire (PS3.5 6.1.2.1).
    pub(super) const DEFAULT: Self = Self { low: Low::Ascii, high: High::Unstated };

    pub(super) const fn whole(set: &'static Encoding) -> Self {
        Self { low: Low::Ascii, high: High::Whole(set) }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.low, self.high) {
            (Low::Romaji, _) | (_, High::Katakana) => "JIS X 0201",
            (Low::Ascii, High::Unstated) => "US-ASCII",
            // The part of the Windows set that is meant.
            (_, High::Iso(set)) if set == encoding_rs::WINDOWS_1252 => "ISO-8859-1",
            (_, High::Iso(set)) if set == encoding_rs::WINDOWS_1254 => "ISO-8859-9",
            (_, High::Iso(set)) if set == encoding_rs::WINDOWS_874 => "TIS-620",
            (_, High::Iso(set) | High::Whole(set)) => set.name(),
        }
    }

    /// True when nothing is said of bytes above 0x7F.
    pub(super) fn is_unstated(self) -> bool {
        self.high == High::Unstated
    }

    /// True for no set and for a single-byte one: what a sender states that does not know better.
    pub(super) fn gives_way(self) -> bool {
        match self.high {
            High::Unstated | High::Iso(_) | High::Katakana => true,
            High::Whole(set) => set.is_single_byte(),
        }
    }

    /// True when ASCII is not all itself.
    pub(super) fn changes(self, ascii: &Bytes) -> bool {
        self.low == Low::Romaji && ascii.iter().any(|byte| matches!(byte, b'\\' | b'~'))
    }

    /// True when every sample is text in this set. Its last character may have been cut off with the value's length.
    pub(super) fn fits(self, samples: &[&Bytes]) -> bool {
        samples.iter().all(|sample| {
            let Read { text, replaced } = self.read(sample);
            let before = text.trim_end_matches([' ', '\0']).strip_suffix('\u{fffd}');
            replaced == 0 || replaced == 1 && before.is_some_and(|before| !before.is_ascii())
        })
    }

    /// Reads text without escape sequences.
    pub(super) fn read<'a>(self, bytes: &'a Bytes) -> Read<'a> {
        match self.high {
            High::Unstated => read_unstated(bytes),
            High::Iso(set) => read_iso(bytes, set),
            High::Katakana => read_katakana(bytes),
            High::Whole(set) => read_whole(bytes, set),
        }
    }
}

/// No set is known: UTF-8 that nobody declared, else Latin-1 as Windows has it, in which no byte is without a character.
fn read_unstated(bytes: &Bytes) -> Read<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Read { text: text.into(), replaced: 0 },
        Err(_) => read_whole(bytes, encoding_rs::WINDOWS_1252),
    }
}

fn read_whole<'a>(bytes: &'a Bytes, set: &'static Encoding) -> Read<'a> {
    let (text, wrong) = match set == encoding_rs::UTF_8 {
        true => set.decode_with_bom_removal(bytes),
        false => set.decode_without_bom_handling(bytes),
    };
    let replaced = if wrong { text.chars().filter(|character| *character == '\u{fffd}').count() } else { 0 };
    Read { text, replaced }
}

fn read_iso<'a>(bytes: &'a Bytes, set: &'static Encoding) -> Read<'a> {
    if !bytes.iter().copied().any(is_c1) {
        return read_whole(bytes, set);
    }
    let (mut text, mut replaced) = (String::with_capacity(bytes.len() * 2), 0);
    for run in bytes.chunk_by(|one, other| is_c1(*one) == is_c1(*other)) {
        if run.first().copied().is_some_and(is_c1) {
            text.extend(run.iter().copied().map(char::from));
        } else {
            let read = read_whole(run, set);
            text.push_str(&read.text);
            replaced += read.replaced;
        }
    }
    Read { text: text.into(), replaced }
}

fn read_katakana(bytes: &Bytes) -> Read<'_> {
    let character = |byte: u8| match byte {
        0..0x80 => char::from(byte),
        0xa1..=0xdf => char::from_u32(0xff61 + u32::from(byte - 0xa1)).unwrap_or('\u{fffd}'),
        _ => '\u{fffd}',
    };
    let text: String = bytes.iter().copied().map(character).collect();
    Read { replaced: text.chars().filter(|character| *character == '\u{fffd}').count(), text: text.into() }
}
