//! The golden corpus (fixtures/charsets), and what holds of any bytes.

use std::{fmt::Write as _, path::PathBuf};

use proptest::prelude::*;

use super::*;

/// Terms of Specific Character Set, alone and together.
const STATED: [&str; 18] = [
    "",
    "ISO_IR 100",
    "ISO_IR 101",
    "ISO_IR 13",
    "ISO_IR 126",
    "ISO_IR 144",
    "ISO_IR 166",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    "SHIFT_JIS",
    "BIG5",
    "\\ISO 2022 IR 58",
    "\\ISO 2022 IR 149",
    "\\ISO 2022 IR 87\\ISO 2022 IR 159",
    "ISO 2022 IR 13\\ISO 2022 IR 87",
    "ISO 2022 IR 100\\ISO 2022 IR 144",
    "NO SUCH SET",
];

struct Case {
    name: String,
    specific_character_set: String,
    vr: VR,
    value: Vec<u8>,
    text: String,
    how: String,
    hint: Hint,
    others: Vec<Vec<u8>>,
}

impl Case {
    fn read(line: &str) -> Self {
        let cells: Vec<&str> = line.split('\t').collect();
        let [name, stated, vr, value, text, how, hint, others, _origin] = cells[..] else {
            panic!("nine cells in {line:?}");
        };
        let bytes = |hexadecimal: &str| hex::decode(hexadecimal).expect("hexadecimal");
        let hint = match hint {
            "" => Hint::default(),
            "no-guess" => Hint { guess: false, ..Hint::default() },
            term => Hint { instead: Some(Repertoire::named(term).expect("a character set")), guess: true },
        };
        Self {
            name: name.to_owned(),
            specific_character_set: stated.to_owned(),
            vr: vr.parse().expect("a VR"),
            value: bytes(value),
            text: unescaped(text),
            how: how.to_owned(),
            hint,
            others: others.split_whitespace().map(bytes).collect(),
        }
    }

    fn decoded(&self) -> Decoded<'_> {
        let samples = self.others.iter().chain([&self.value]).map(Vec::as_slice);
        let charset = Charset::of(self.specific_character_set.as_bytes(), samples, self.hint);
        charset.decode(self.vr, &self.value)
    }
}

/// Control characters stand as their pictures, or by number.
fn unescaped(text: &str) -> String {
    let pictures = text.replace('␍', "\r").replace('␊', "\n").replace('␉', "\t").replace('␌', "\x0c");
    let mut parts = pictures.split("\\u00");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_at(2);
        out.push(char::from(u8::from_str_radix(number, 16).expect("a number")));
        out.push_str(rest);
    }
    out
}

fn corpus() -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/charsets/corpus.tsv");
    let text = std::fs::read_to_string(path).expect("the corpus");
    text.lines().skip(1).map(Case::read).collect()
}

#[test]
fn the_corpus_reads_as_it_should() {
    let corpus = corpus();
    let mut wrong = String::new();
    for case in &corpus {
        let decoded = case.decoded();
        let how = decoded.how.as_str();
        let replaced = decoded.text.matches('\u{fffd}').count();
        if decoded.text != case.text || how != case.how || replaced != decoded.replaced {
            let (name, text) = (&case.name, &case.text);
            writeln!(wrong, "{name}: {text:?} {}\n    but {decoded:?}", case.how).expect("memory");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(corpus.len() >= 60, "{}", corpus.len());
}

/// A value whose bytes are plain ASCII is the same in memory: nothing is allocated on the road.
#[test]
fn ascii_is_borrowed() {
    for stated in STATED {
        let decoded = Charset::of(stated.as_bytes(), [], Hint::default()).decode(VR::LO, b"1.2.840.10008 CT");
        assert!(matches!(decoded.text, Cow::Borrowed("1.2.840.10008 CT")), "{stated}");
    }
}

#[test]
fn what_the_settings_change_changes_the_stamp() {
    let gbk = Repertoire::named("GBK");
    let stamp = |stated: &str, samples: &[&[u8]], instead, guess| {
        Charset::of(stated.as_bytes(), samples.iter().copied(), Hint { instead, guess }).stamp()
    };
    // A set that says more than one byte stays what it is, whatever is set.
    let utf8 = ["张".as_bytes()];
    assert_eq!(stamp("ISO_IR 192", &utf8, None, true), stamp("ISO_IR 192", &utf8, gbk, true));
    assert_eq!(stamp("", &[], None, true), 0);
    let stamps = [
        stamp("", &[], None, true),
        stamp("", &[], None, false),
        stamp("", &[], gbk, true),
        stamp("", &[], Repertoire::named("ISO_IR 144"), true),
        stamp("", &[b"\xd5\xc5\xce\xb0"], None, true),
    ];
    for (index, one) in stamps.iter().enumerate() {
        assert!(*one < 1 << 24);
        assert!(!stamps[..index].contains(one), "{stamps:?}");
    }
}

#[test]
fn a_longer_text_is_recognised_with_more_confidence() {
    let sure = |text: &[u8]| match Charset::of(b"", [text], Hint::default()).how() {
        How::Guessed(sure) => sure,
        how => panic!("{how:?}"),
    };
    let name = sure(b"\xc0\xee\xc4\xc8");
    assert!(name < sure(b"\xd0\xd8\xb2\xbf\xd5\xfd\xb2\xe0\xce\xbb"), "{name}");
    assert!(sure("李娜".as_bytes()) > name);
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(any::<u8>(), 0..200);
    // Escape sequences and what they switch to, cut and mixed.
    let escape = prop::sample::select(vec![
        &b"\x1b$B"[..],
        b"\x1b$(D",
        b"\x1b$)C",
        b"\x1b$)A",
        b"\x1b(B",
        b"\x1b(J",
        b"\x1b)I",
        b"\x1b-L",
        b"\x1b",
        b"^",
        b"\\",
        b"\r\n",
    ]);
    let run = prop::collection::vec(0x20_u8..=0xff, 0..8);
    let pieces = prop::collection::vec((escape, run), 0..12);
    let extended = pieces
        .prop_map(|pieces| pieces.into_iter().flat_map(|(escape, run)| [escape, &run].concat()).collect());
    prop_oneof![any, extended]
}

proptest! {
    #[test]
    fn any_bytes_come_out_as_text_of_bounded_length(
        value in values(),
        other in values(),
        stated in prop::sample::select(STATED.to_vec()),
        vr in prop::sample::select(vec![VR::PN, VR::LO, VR::LT, VR::UI]),
        instead in prop::sample::select(vec![None, Some("GBK"), Some("ISO_IR 13"), Some("ISO_IR 149")]),
        guess in any::<bool>(),
    ) {
        let hint = Hint { instead: instead.and_then(Repertoire::named), guess };
        for samples in [vec![], vec![&value[..]], vec![&other[..], &value]] {
            let charset = Charset::of(stated.as_bytes(), samples, hint);
            let decoded = charset.decode(vr, &value);
            prop_assert!(decoded.text.len() <= value.len() * 4);
            prop_assert!(decoded.replaced <= decoded.text.chars().count());
        }
    }

    #[test]
    fn any_character_set_is_read(stated in prop::collection::vec(any::<u8>(), 0..40)) {
        let charset = Charset::of(&stated, [&b"\xd5\xc5\xce\xb0"[..]], Hint::default());
        prop_assert!(!charset.decode(VR::LO, b"\xd5\xc5\xce\xb0").text.is_empty());
    }

    #[test]
    fn ascii_without_escape_sequences_is_itself(
        text in "[ -\\[\\]-}\r\n\t]{0,100}",
        stated in prop::sample::select(STATED.to_vec()),
    ) {
        let charset = Charset::of(stated.as_bytes(), [text.as_bytes()], Hint::default());
        let decoded = charset.decode(VR::LT, text.as_bytes());
        prop_assert_eq!(&*decoded.text, text.as_str());
    }

    /// What was written in a set is read from it.
    #[test]
    fn chinese_comes_back_from_every_set_that_has_it(name in "[一-龥]{1,4}\\^[一-龥]{1,8}") {
        for (stated, set) in [("GB18030", encoding_rs::GB18030), ("ISO_IR 192", encoding_rs::UTF_8)] {
            let (bytes, _, _) = set.encode(&name);
            let hint = Hint { guess: false, ..Hint::default() };
            let charset = Charset::of(stated.as_bytes(), [&*bytes], hint);
            prop_assert_eq!(charset.decode(VR::PN, &bytes).text, name.as_str());
        }
    }
}
