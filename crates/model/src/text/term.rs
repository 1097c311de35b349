//! Defined terms of Specific Character Set (PS3.3 C.12.1.1.2), and what is met in their place.

use encoding_rs::Encoding;

use super::repertoire::{Bytes, High, Low, Repertoire};

impl Repertoire {
    /// What the value of Specific Character Set says: its first term, and where that says nothing of bytes above 0x7F the
    /// first that does. So a value without the escape sequence it should begin with is read all the same, in whatever order
    /// the terms stand.
    pub(super) fn stated(specific_character_set: &Bytes) -> Self {
        let text = String::from_utf8_lossy(specific_character_set);
        let mut terms = text.split('\\').filter_map(Self::named);
        let first = match text.trim_start_matches([' ', '\0']).starts_with('\\') {
            // An empty first value is ISO-IR 6 (PS3.3 C.12.1.1.2).
            true => Self::DEFAULT,
            false => terms.next().unwrap_or(Self::DEFAULT),
        };
        match first.high {
            High::Unstated => {
                let high = terms.map(|term| term.high).find(|high| *high != High::Unstated);
                Self { high: high.unwrap_or(High::Unstated), ..first }
            }
            _ => first,
        }
    }

    /// One term: a defined one in whatever spelling, or another name of a character set; `None` for what is no such.
    ///
    /// Known are, for instance, `ISO_IR 100`, `ISO-IR 100`, `ISO 2022 IR 100`, `iso_ir_100`, `GB2312`, `latin1`, `UTF-8`.
    #[must_use]
    pub fn named(term: &str) -> Option<Self> {
        let term = term.trim_matches([' ', '\0']);
        let letters: String = term.chars().filter(char::is_ascii_alphanumeric).collect();
        let letters = letters.to_ascii_uppercase();
        match registered_number(&letters) {
            Some(number) => of_number(number),
            None => of_label(term, &letters),
        }
    }
}

/// Number of the set in the ISO registry (ISO-IR).
fn registered_number(letters: &str) -> Option<u16> {
    let rest = letters.strip_prefix("ISO").unwrap_or(letters);
    let rest = match rest.strip_prefix("2022") {
        Some(after) if after.starts_with("IR") => after,
        _ => rest,
    };
    rest.strip_prefix("IR").unwrap_or(rest).parse().ok()
}

fn of_number(number: u16) -> Option<Repertoire> {
    use encoding_rs as of;
    let single = |set| Repertoire { low: Low::Ascii, high: High::Iso(set) };
    Some(match number {
        6 => Repertoire::DEFAULT,
        // Two-byte sets of G0: nothing stands above 0x7F before an escape sequence.
        87 | 159 => Repertoire::DEFAULT,
        13 => Repertoire { low: Low::Romaji, high: High::Katakana },
        14 => Repertoire { low: Low::Romaji, high: High::Unstated },
        100 => single(of::WINDOWS_1252),
        101 => single(of::ISO_8859_2),
        109 => single(of::ISO_8859_3),
        110 => single(of::ISO_8859_4),
        126 => single(of::ISO_8859_7),
        127 => single(of::ISO_8859_6),
        138 => single(of::ISO_8859_8),
        144 => single(of::ISO_8859_5),
        148 => single(of::WINDOWS_1254),
        166 => single(of::WINDOWS_874),
        203 => single(of::ISO_8859_15),
        149 => Repertoire::whole(of::EUC_KR),
        // ISO-IR 165 is GB 2312 and more; it is no defined term.
        58 | 165 => Repertoire::whole(of::GB18030),
        192 => Repertoire::whole(of::UTF_8),
        _ => return None,
    })
}

fn of_label(term: &str, letters: &str) -> Option<Repertoire> {
    use encoding_rs as of;
    match letters {
        "ASCII" | "USASCII" | "ISO646" => return Some(Repertoire::DEFAULT),
        "UTF8" => return Some(Repertoire::whole(of::UTF_8)),
        "KSX1001" | "CP949" | "UHC" => return Some(Repertoire::whole(of::EUC_KR)),
        "CP932" => return Some(Repertoire::whole(of::SHIFT_JIS)),
        // Each is a part of GB 18030.
        _ if ["GB18030", "GBK", "GB2312", "CP936", "EUCCN"].iter().any(|name| letters.starts_with(name)) => {
            return Some(Repertoire::whole(of::GB18030));
        }
        _ => {}
    }
    let with_hyphens = term.replace(['_', ' '], "-");
    let labels = [term, with_hyphens.as_str()];
    let set = labels.into_iter().find_map(|label| Encoding::for_label(label.as_bytes()))?;
    // No set of text values, or told by its escape sequences.
    if [of::REPLACEMENT, of::UTF_16BE, of::UTF_16LE, of::X_USER_DEFINED].contains(&set) {
        return None;
    }
    match set {
        set if set == of::ISO_2022_JP => Some(Repertoire::DEFAULT),
        set if letters.starts_with("ISO") || letters.starts_with("LATIN") => {
            Some(Repertoire { low: Low::Ascii, high: High::Iso(set) })
        }
        set => Some(Repertoire::whole(set)),
    }
}
