//! The one text decoder (PS3.5 6.1, PS3.3 C.12.1.1.2).
//!
//! Decoding happens before a value is split: the second byte of a GBK character may be `\` or `^`.
//! Text that is not valid in the set it states is decoded as far as it goes, never refused.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Decodes `bytes` by the value of Specific Character Set (0008,0005), empty when the dataset has none.
#[must_use]
pub fn decode<'a>(bytes: &'a [u8], specific_character_set: &[u8]) -> Cow<'a, str> {
    // ASCII is itself in each of these sets.
    if bytes.is_ascii()
        && !bytes.contains(&0x1b)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return text.into();
    }
    let stated = String::from_utf8_lossy(specific_character_set);
    let mut terms = stated.split('\\').map(|term| term.trim_matches([' ', '\0']));
    let first = terms.next().unwrap_or_default();
    if bytes.contains(&0x1b) {
        return decode_code_extensions(bytes, first).into();
    }
    decode_with(bytes, set_of_term(first)).into()
}

fn decode_with(bytes: &[u8], set: Option<&'static Encoding>) -> String {
    match set {
        Some(set) => set.decode_without_bom_handling(bytes).0.into_owned(),
        // Nothing stated: plain ASCII, or UTF-8 that nobody declared, else Latin-1 so that no byte is lost.
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
        },
    }
}

/// Defined terms of PS3.3 C.12.1.1.2, single-byte, with and without code extensions, and multi-byte without.
fn set_of_term(term: &str) -> Option<&'static Encoding> {
    let term = term.to_ascii_uppercase().replace("ISO 2022 IR", "ISO_IR");
    Some(match term.as_str() {
        "ISO_IR 192" => UTF_8,
        "GB18030" | "GBK" | "ISO_IR 58" => encoding_rs::GB18030,
        "ISO_IR 100" => WINDOWS_1252,
        "ISO_IR 101" => encoding_rs::ISO_8859_2,
        "ISO_IR 109" => encoding_rs::ISO_8859_3,
        "ISO_IR 110" => encoding_rs::ISO_8859_4,
        "ISO_IR 144" => encoding_rs::ISO_8859_5,
        "ISO_IR 127" => encoding_rs::ISO_8859_6,
        "ISO_IR 126" => encoding_rs::ISO_8859_7,
        "ISO_IR 138" => encoding_rs::ISO_8859_8,
        "ISO_IR 148" => encoding_rs::WINDOWS_1254,
        "ISO_IR 203" => encoding_rs::ISO_8859_15,
        "ISO_IR 166" => encoding_rs::WINDOWS_874,
        "ISO_IR 13" => encoding_rs::SHIFT_JIS,
        "ISO_IR 149" => encoding_rs::EUC_KR,
        _ => return None,
    })
}

/// Text with escape sequences (PS3.3 table C.12-3 and C.12-4): each run is decoded by the set its escape switched to.
fn decode_code_extensions(bytes: &[u8], first_term: &str) -> String {
    let mut text = String::new();
    let mut set = Set::Plain(set_of_term(first_term));
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == 0x1b).unwrap_or(rest.len());
        let (run, escaped) = rest.split_at(end);
        text.push_str(&set.decode(run, first_term));
        rest = escaped;
        if !rest.is_empty() {
            let (next, length) = set_of_escape(rest, first_term);
            set = next;
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    text
}

#[derive(Clone, Copy)]
enum Set {
    Plain(Option<&'static Encoding>),
    /// Two-byte sets in G0, decoded by setting the high bit (EUC form).
    Wide(&'static Encoding),
    /// JIS X 0212 (ISO-IR 159): EUC-JP's third plane, each pair behind 0x8F.
    Jis0212,
}

impl Set {
    fn decode(self, run: &[u8], first_term: &str) -> String {
        match self {
            Self::Plain(set) => decode_with(run, set),
            Self::Wide(set) => decode_wide(run, set, &[], first_term),
            Self::Jis0212 => decode_wide(run, encoding_rs::EUC_JP, &[0x8f], first_term),
        }
    }
}

/// A delimiter (CR, LF, TAB, `\`, `^`, `=`) switches back to the first set (PS3.5 6.1.2.5.3); in a two-byte set of G0
/// it can only stand where a first byte would.
fn decode_wide(run: &[u8], set: &'static Encoding, lead: &[u8], first_term: &str) -> String {
    let mut euc = Vec::with_capacity(run.len() + run.len() / 2);
    let mut rest = run;
    while let [first, tail @ ..] = rest {
        match tail {
            [second, after @ ..] if (0x21..0x7f).contains(&(first & 0x7f)) && !is_control(*first) => {
                euc.extend_from_slice(lead);
                euc.extend_from_slice(&[first | 0x80, second | 0x80]);
                rest = after;
            }
            _ => {
                let mut text = set.decode_without_bom_handling(&euc).0.into_owned();
                text.push_str(&decode_with(rest, set_of_term(first_term)));
                return text;
            }
        }
    }
    set.decode_without_bom_handling(&euc).0.into_owned()
}

fn is_control(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b'\t' | 0x0c)
}

/// The set an escape sequence switches to, and how many bytes it takes.
fn set_of_escape(bytes: &[u8], first_term: &str) -> (Set, usize) {
    match bytes {
        [_, b'$', b'B', ..] => (Set::Wide(encoding_rs::EUC_JP), 3),
        [_, b'$', b'(', b'D', ..] => (Set::Jis0212, 4),
        [_, b'$', b')', b'C', ..] => (Set::Plain(Some(encoding_rs::EUC_KR)), 4),
        [_, b'$', b')', b'A', ..] => (Set::Plain(Some(encoding_rs::GBK)), 4),
        [_, b')', b'I', ..] | [_, b'(', b'J', ..] => (Set::Plain(Some(encoding_rs::SHIFT_JIS)), 3),
        [_, b'(', b'B', ..] => (Set::Plain(set_of_term(first_term)), 3),
        [_, b'-', final_byte, ..] => (Set::Plain(latin_of_escape(*final_byte)), 3),
        _ => (Set::Plain(set_of_term(first_term)), 1),
    }
}

/// Final bytes of the 96-character sets in G1 (PS3.3 table C.12-3).
fn latin_of_escape(final_byte: u8) -> Option<&'static Encoding> {
    let term = match final_byte {
        b'A' => "ISO_IR 100",
        b'B' => "ISO_IR 101",
        b'C' => "ISO_IR 109",
        b'D' => "ISO_IR 110",
        b'L' => "ISO_IR 144",
        b'G' => "ISO_IR 127",
        b'F' => "ISO_IR 126",
        b'H' => "ISO_IR 138",
        b'M' => "ISO_IR 148",
        b'T' => "ISO_IR 166",
        b'b' => "ISO_IR 203",
        _ => return None,
    };
    set_of_term(term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_in_its_three_encodings_reads_alike() {
        assert_eq!(decode("王^小东".as_bytes(), b"ISO_IR 192"), "王^小东");
        assert_eq!(decode(b"\xcd\xf5^\xd0\xa1\xb6\xab", b"GB18030"), "王^小东");
        assert_eq!(decode(b"\xcd\xf5^\xd0\xa1\xb6\xab", b"GBK "), "王^小东");
        let extended = b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab";
        assert_eq!(decode(extended, b"\\ISO 2022 IR 58"), "Wang^XiaoDong=王^小东");
    }

    /// The examples of PS3.5 annexes H and I.
    #[test]
    fn japanese_and_korean_code_extensions() {
        let kanji = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B";
        assert_eq!(decode(kanji, b"\\ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎=やまだ^たろう");
        let katakana = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J";
        assert_eq!(decode(katakana, b"ISO 2022 IR 13\\ISO 2022 IR 87"), "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎");
        let hangul = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7";
        assert_eq!(decode(hangul, b"\\ISO 2022 IR 149"), "Hong^Gildong=洪^吉洞");
    }

    #[test]
    fn undeclared_and_wrong_text_loses_no_byte() {
        assert_eq!(decode("Müller".as_bytes(), b""), "Müller");
        assert_eq!(decode(b"M\xfcller", b""), "Müller");
        assert_eq!(decode(b"plain", b"NO SUCH SET"), "plain");
        assert_eq!(decode(b"\x1b", b""), "");
    }
}
