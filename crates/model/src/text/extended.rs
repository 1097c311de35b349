//! Code extensions by ISO 2022 (PS3.5 6.1.2.4 and 6.1.2.5): escape sequences designate sets to G0 (bytes up to 0x7F) and
//! G1 (above), until another one does or a delimiter brings back those of the first term.
//!
//! Sets are taken as they are designated, whether Specific Character Set announced them or not.

use dicom_core::VR;
use encoding_rs::{EUC_JP, EUC_KR, Encoding, GB18030};

use super::repertoire::{Bytes, High, Low, Read, Repertoire};

/// What stands in G0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum G0 {
    Ascii,
    Romaji,
    /// Katakana of JIS X 0201, met in G0 though DICOM has it in G1.
    Katakana,
    /// A set of two bytes, as its encoding has it in G1 with these bytes in front.
    Wide(&'static Encoding, &'static [u8]),
}

/// Reads a value with or without escape sequences, `stated` being what stands in G0 and G1 at first.
pub(super) fn read<'a>(stated: Repertoire, vr: VR, value: &'a Bytes) -> Read<'a> {
    if stated.low == Low::Ascii && !value.contains(&0x1b) {
        return stated.read(value);
    }
    let g0 = if stated.low == Low::Romaji { G0::Romaji } else { G0::Ascii };
    let first = Designated { g0, g1: stated.high };
    let mut reader =
        Reader { first, now: first, vr, text: String::with_capacity(value.len() * 2), replaced: 0 };
    let mut rest = value;
    loop {
        let end = rest.iter().position(|byte| *byte == 0x1b).unwrap_or(rest.len());
        let (segment, escaped) = rest.split_at(end);
        reader.segment(segment);
        if escaped.is_empty() {
            break;
        }
        let taken = reader.designate(escaped);
        rest = escaped.get(taken..).unwrap_or_default();
    }
    Read { text: reader.text.into(), replaced: reader.replaced }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Designated {
    g0: G0,
    g1: High,
}

struct Reader {
    first: Designated,
    now: Designated,
    vr: VR,
    text: String,
    replaced: usize,
}

impl Reader {
    /// Takes an escape sequence (PS3.3 tables C.12-3 and C.12-4, and others met); how many bytes it is.
    fn designate(&mut self, bytes: &Bytes) -> usize {
        let low = |g0, taken| (Some(g0), None, taken);
        let high = |g1, taken| (None, Some(g1), taken);
        let (g0, g1, taken) = match bytes.get(1..).unwrap_or_default() {
            [b'(', b'B', ..] => low(G0::Ascii, 3),
            [b'(', b'J' | b'H', ..] => low(G0::Romaji, 3),
            [b'(', b'I', ..] => low(G0::Katakana, 3),
            [b')', b'I', ..] => high(High::Katakana, 3),
            [b'-', final_byte, ..] if latin(*final_byte).is_some() => (None, latin(*final_byte), 3),
            // JIS X 0208, its older edition, JIS X 0212.
            [b'$', b'B' | b'@', ..] => low(G0::Wide(EUC_JP, &[]), 3),
            [b'$', b'(', b'B' | b'@', ..] => low(G0::Wide(EUC_JP, &[]), 4),
            [b'$', b'(', b'D', ..] => low(G0::Wide(EUC_JP, &[0x8f]), 4),
            // KS X 1001, GB 2312, and ISO-IR 165, which is GB 2312 and more; in G0 as ISO-2022-JP-2 has them.
            [b'$', b')', b'C', ..] => high(High::Whole(EUC_KR), 4),
            [b'$', b')', b'A' | b'E', ..] => high(High::Whole(GB18030), 4),
            [b'$', b'(', b'C', ..] => low(G0::Wide(EUC_KR, &[]), 4),
            [b'$', b'(', b'A' | b'E', ..] => low(G0::Wide(GB18030, &[]), 4),
            [b'$', b'A', ..] => low(G0::Wide(GB18030, &[]), 3),
            _ => {
                self.replace();
                (None, None, 1)
            }
        };
        self.now = Designated { g0: g0.unwrap_or(self.now.g0), g1: g1.unwrap_or(self.now.g1) };
        taken
    }

    /// Reads on until the next escape sequence.
    fn segment(&mut self, bytes: &Bytes) {
        let mut rest = bytes;
        if let G0::Wide(set, front) = self.now.g0 {
            rest = self.wide(bytes, set, front);
        }
        if self.now != self.first {
            let end = rest.iter().position(|byte| self.resets(*byte)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            self.run(run);
            if !after.is_empty() {
                self.now = self.first;
            }
            rest = after;
        }
        self.run(rest);
    }

    /// True for what brings back the sets of the first term (PS3.5 6.1.2.5.3).
    fn resets(&self, byte: u8) -> bool {
        match byte {
            b'\t' | b'\n' | 0x0c | b'\r' => true,
            b'\\' => self.splits(),
            b'^' | b'=' => self.vr == VR::PN,
            _ => false,
        }
    }

    /// True when a backslash separates values (PS3.5 6.2).
    fn splits(&self) -> bool {
        !matches!(self.vr, VR::ST | VR::LT | VR::UT | VR::UR)
    }

    /// Reads pairs until a control character; `\`, `^` and `=` are halves of characters here, the escape sequence back to
    /// one byte has to stand before a delimiter. What is left is returned.
    fn wide<'a>(&mut self, bytes: &'a Bytes, set: &'static Encoding, front: &[u8]) -> &'a Bytes {
        let mut rest = bytes;
        loop {
            match rest {
                [0x21..=0x7e, 0x21..=0x7e, after @ ..] => {
                    let pairs = (after.chunks_exact(2))
                        .take_while(|pair| pair.iter().all(|byte| (0x21..=0x7e).contains(byte)))
                        .count();
                    let (run, after) = rest.split_at(2 + pairs * 2);
                    let mut moved = Vec::with_capacity(run.len() * 2);
                    for pair in run.chunks_exact(2) {
                        moved.extend_from_slice(front);
                        moved.extend(pair.iter().map(|byte| byte | 0x80));
                    }
                    self.take(Repertoire::whole(set).read(&moved));
                    rest = after;
                }
                [byte, ..] if *byte >= 0x80 => {
                    let end = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
                    let (run, after) = rest.split_at(end);
                    self.high(run);
                    rest = after;
                }
                [b' ', after @ ..] => {
                    self.text.push(' ');
                    rest = after;
                }
                // Half a character.
                [0x21..=0x7e, after @ ..] => {
                    self.replace();
                    rest = after;
                }
                [] => return rest,
                _ => {
                    self.now = self.first;
                    return rest;
                }
            }
        }
    }

    /// Reads a run in which nothing changes, of sets of one byte in G0.
    fn run(&mut self, run: &Bytes) {
        if self.now.g0 == G0::Ascii || matches!(self.now.g1, High::Whole(_)) {
            return self.high(run);
        }
        for part in run.chunk_by(|one, other| one.is_ascii() == other.is_ascii()) {
            match part.first() {
                Some(byte) if byte.is_ascii() => {
                    part.iter().for_each(|byte| {
                        let character = self.low(*byte);
                        self.text.push(character);
                    });
                }
                _ => self.high(part),
            }
        }
    }

    fn low(&self, byte: u8) -> char {
        match (self.now.g0, byte) {
            // Where it separates values it does so whatever it looks like (PS3.5 6.1.2.3).
            (G0::Romaji, b'\\') if !self.splits() => '¥',
            (G0::Romaji, b'~') => '‾',
            (G0::Katakana, 0x21..=0x5f) => {
                char::from_u32(0xff61 + u32::from(byte - 0x21)).unwrap_or('\u{fffd}')
            }
            _ => char::from(byte),
        }
    }

    /// Reads a run in which ASCII is itself.
    fn high(&mut self, run: &Bytes) {
        let read = Repertoire { low: Low::Ascii, high: self.now.g1 }.read(run);
        self.take(read);
    }

    fn take(&mut self, read: Read<'_>) {
        self.text.push_str(&read.text);
        self.replaced += read.replaced;
    }

    fn replace(&mut self) {
        self.text.push('\u{fffd}');
        self.replaced += 1;
    }
}

/// Sets of 96 characters in G1 by the final byte of their escape sequence (PS3.3 table C.12-3).
fn latin(final_byte: u8) -> Option<High> {
    let term = match final_byte {
        b'A' => "ISO_IR 100",
        b'B' => "ISO_IR 101",
        b'C' => "ISO_IR 109",
        b'D' => "ISO_IR 110",
        b'F' => "ISO_IR 126",
        b'G' => "ISO_IR 127",
        b'H' => "ISO_IR 138",
        b'L' => "ISO_IR 144",
        b'M' => "ISO_IR 148",
        b'T' => "ISO_IR 166",
        b'b' => "ISO_IR 203",
        _ => return None,
    };
    Repertoire::named(term).map(|repertoire| repertoire.high)
}
