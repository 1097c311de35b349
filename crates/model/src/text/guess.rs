//! Text that is not in the set its dataset states, recognised by what it looks like.
//!
//! Conservative: what can be text of the stated set stays that. A dataset without a set, or with Latin-1, has GBK in it only
//! when all its bytes above 0x7F are GBK, most of them common hanzi, and as Latin-1 they are no words.

use std::ops::RangeInclusive;

use encoding_rs::{
    GB18030, ISO_8859_2, ISO_8859_7, ISO_8859_8, ISO_8859_15, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1250,
    WINDOWS_1252, WINDOWS_1253, WINDOWS_1254, WINDOWS_1255,
};

use super::repertoire::{Bytes, High, Repertoire, is_c1};

/// What the samples are in place of `stated`, with a confidence in percent; `None` when they may well be what is stated.
/// They are of one dataset, none of them all ASCII, none with an escape sequence.
pub(super) fn recognise(stated: Repertoire, samples: &[&Bytes]) -> Option<(Repertoire, u8)> {
    if samples.iter().all(|sample| sample.is_ascii()) {
        return None;
    }
    match stated.high {
        High::Unstated => western(samples).or_else(|| chinese(samples)),
        High::Iso(set) if set == WINDOWS_1252 => {
            western(samples).or_else(|| chinese(samples)).or_else(|| windows(stated, samples))
        }
        High::Iso(_) => foreign_utf8(samples).or_else(|| windows(stated, samples)),
        High::Katakana => katakana(samples),
        High::Whole(set) if set == UTF_8 => no_utf8(samples),
        High::Whole(set) if set == GB18030 => {
            let utf8 = Utf8::of(samples).filter(Utf8::is_wide)?;
            Some(utf8.guess())
        }
        High::Whole(_) => {
            let utf8 = Utf8::of(samples).filter(|utf8| utf8.wide > 0 && !stated.fits(samples))?;
            Some(utf8.guess())
        }
    }
}

/// True for a value that is Latin-1 in a dataset whose text was recognised as GBK, such as the name of an institution.
pub(super) fn is_apart(instead: Repertoire, value: &Bytes) -> bool {
    instead.high == High::Whole(GB18030)
        && Gbk::of(&[value]).is_some_and(|gbk| gbk.alone == 0 && gbk.lone_in_words > 0)
}

/// UTF-8 where nothing or Latin-1 is stated: `Ã` followed by a symbol is nothing anybody writes.
fn western(samples: &[&Bytes]) -> Option<(Repertoire, u8)> {
    let utf8 = Utf8::of(samples)?;
    let wins = utf8.is_wide() || utf8.is_likelier_than(Gbk::of(samples));
    wins.then(|| utf8.guess())
}

fn chinese(samples: &[&Bytes]) -> Option<(Repertoire, u8)> {
    let gbk = Gbk::of(samples).filter(Gbk::is_chinese)?;
    Some((Repertoire::whole(GB18030), gbk.confidence()))
}

/// UTF-8 where another single-byte set is stated, in which two letters may by chance be one of UTF-8: a byte is wanted that
/// is no character of the stated set.
fn foreign_utf8(samples: &[&Bytes]) -> Option<(Repertoire, u8)> {
    let utf8 = Utf8::of(samples)?;
    has_c1(samples).then(|| utf8.guess())
}

/// Control characters have no place in text: who wrote them meant the characters Windows has there.
fn windows(stated: Repertoire, samples: &[&Bytes]) -> Option<(Repertoire, u8)> {
    let High::Iso(set) = stated.high else { return None };
    let siblings = [
        (WINDOWS_1252, WINDOWS_1252),
        (ISO_8859_15, WINDOWS_1252),
        (ISO_8859_2, WINDOWS_1250),
        (ISO_8859_7, WINDOWS_1253),
        (ISO_8859_8, WINDOWS_1255),
        (WINDOWS_1254, WINDOWS_1254),
        (WINDOWS_874, WINDOWS_874),
    ];
    let (_, sibling) = siblings.into_iter().find(|(iso, _)| *iso == set)?;
    has_c1(samples).then(|| (Repertoire::whole(sibling), 70))
}

/// What is stated as JIS X 0201 and has bytes that are no katakana.
fn katakana(samples: &[&Bytes]) -> Option<(Repertoire, u8)> {
    let is_katakana = |byte: &u8| matches!(byte, 0..0x80 | 0xa1..=0xdf);
    if samples.iter().all(|sample| sample.iter().all(is_katakana)) {
        return None;
    }
    let utf8 = Utf8::of(samples).map(|utf8| utf8.guess());
    let shift_jis = Repertoire::whole(SHIFT_JIS);
    utf8.or_else(|| shift_jis.fits(samples).then_some((shift_jis, 80)))
}

/// What is stated as UTF-8 and is not.
fn no_utf8(samples: &[&Bytes]) -> Option<(Repertoire, u8)> {
    // Where some of it is, each value tells for itself.
    if samples.iter().any(|sample| utf8(sample).is_some()) {
        return None;
    }
    let has_some = |sample: &&Bytes| sample.utf8_chunks().any(|chunk| !chunk.valid().is_ascii());
    let latin = || (!samples.iter().any(has_some)).then(|| (Repertoire::whole(WINDOWS_1252), 60));
    chinese(samples).or_else(latin)
}

fn has_c1(samples: &[&Bytes]) -> bool {
    samples.iter().any(|sample| sample.iter().copied().any(is_c1))
}

/// A sample as UTF-8, without its last character where that was cut off with the value's length.
fn utf8(sample: &Bytes) -> Option<&str> {
    match std::str::from_utf8(sample) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            let whole = std::str::from_utf8(sample.get(..error.valid_up_to())?).ok()?;
            (!whole.is_ascii()).then_some(whole)
        }
        Err(_) => None,
    }
}

/// Samples that are all UTF-8.
struct Utf8 {
    /// Characters of three and four bytes.
    wide: usize,
    /// … of these, common hanzi.
    common: usize,
    /// Characters of two bytes.
    narrow: usize,
    /// Those of two bytes are in words as somebody writes them.
    is_words: bool,
    /// The last character of one of them was cut off.
    is_cut: bool,
}

impl Utf8 {
    fn of(samples: &[&Bytes]) -> Option<Self> {
        let mut all = Self { wide: 0, common: 0, narrow: 0, is_words: true, is_cut: false };
        for sample in samples {
            let text = utf8(sample)?;
            all.is_cut |= text.len() < sample.len();
            all.add(text);
        }
        (all.wide + all.narrow > 0).then_some(all)
    }

    fn add(&mut self, text: &str) {
        self.wide += text.chars().filter(|character| character.len_utf8() > 2).count();
        self.narrow += text.chars().filter(|character| character.len_utf8() == 2).count();
        if self.wide > 0 {
            let (as_gbk, _, _) = GB18030.encode(text);
            self.common += Gbk::of(&[&as_gbk]).map_or(0, |gbk| gbk.common);
        }
        let words = text.split(|character: char| character.is_ascii() && !character.is_ascii_alphanumeric());
        let is_narrow = |character: char| character.len_utf8() == 2;
        self.is_words &= words.filter(|word| word.contains(is_narrow)).all(is_word);
    }

    /// Nothing but characters of three bytes and more: no text of another set is that by chance.
    fn is_wide(&self) -> bool {
        self.wide > 0 && self.narrow == 0 && !self.is_cut
    }

    /// Two hanzi of GBK can be two letters of UTF-8 by chance, though hardly of one script.
    fn is_likelier_than(&self, gbk: Option<Gbk>) -> bool {
        let Some(gbk) = gbk.filter(Gbk::is_chinese) else { return true };
        if self.wide == 0 || !self.is_words {
            return self.is_words;
        }
        let by_chance = gbk.common * 2 < gbk.hanzi();
        by_chance || !self.is_cut && self.common * gbk.hanzi() >= gbk.common * self.wide
    }

    fn guess(&self) -> (Repertoire, u8) {
        let confidence = match (self.wide, self.narrow) {
            (0, 1) => 85,
            (0, _) => 95,
            _ => 98,
        };
        (Repertoire::whole(UTF_8), confidence)
    }
}

/// Latin letters and symbols beside ASCII ones, or letters of one other script.
fn is_word(word: &str) -> bool {
    /// Letters as they are used today: Greek, Cyrillic, Armenian, Hebrew, Arabic.
    const SCRIPTS: [RangeInclusive<char>; 5] = [
        '\u{386}'..='\u{3ce}',
        '\u{400}'..='\u{45f}',
        '\u{531}'..='\u{587}',
        '\u{5d0}'..='\u{5ea}',
        '\u{621}'..='\u{6d5}',
    ];
    if word.bytes().any(|byte| byte.is_ascii()) {
        return word.chars().all(|character| character < '\u{250}');
    }
    let of_script = |script: &RangeInclusive<char>| word.chars().all(|character| script.contains(&character));
    word.chars().nth(1).is_some() && SCRIPTS.iter().any(of_script)
}

/// Samples whose bytes above 0x7F are all GBK.
#[derive(Default)]
struct Gbk {
    /// Hanzi of the first level of GB 2312, those that are written most.
    common: usize,
    /// Other hanzi.
    rare: usize,
    /// Characters not beside an ASCII letter, or beside another one of these.
    alone: usize,
    /// Of those, ones that are nothing in Latin-1: control characters, symbols amid letters, capitals behind small ones.
    odd: usize,
    /// Of those, hanzi that are odd or common.
    telling: usize,
    /// Characters beside an ASCII letter, as accented letters of Latin-1 would be: ones that stand by themselves, and ones
    /// of which the second half is itself such a letter.
    lone_in_words: usize,
}

impl Gbk {
    fn of(samples: &[&Bytes]) -> Option<Self> {
        let set = Repertoire::whole(GB18030);
        if !set.fits(samples) {
            return None;
        }
        let mut all = Self::default();
        samples.iter().for_each(|sample| all.add(sample));
        Some(all)
    }

    fn add(&mut self, sample: &Bytes) {
        let (mut rest, mut before) = (sample, 0);
        while let [first, tail @ ..] = rest {
            if first.is_ascii() {
                (rest, before) = (tail, *first);
                continue;
            }
            let run_bytes = run_of(rest);
            if run_bytes == 0 {
                // Cut off.
                return;
            }
            let (run, after) = rest.split_at(run_bytes);
            let letter_beside =
                [Some(&before), after.first()].into_iter().flatten().any(u8::is_ascii_alphabetic);
            self.add_run(run, letter_beside);
            (rest, before) = (after, 0);
        }
    }

    fn add_run(&mut self, run: &Bytes, letter_beside: bool) {
        let characters: Vec<&Bytes> = characters(run).collect();
        let lone = characters.len() == 1;
        for character in characters {
            let (is_common, is_sign) = match character {
                [0xb0..=0xd7, 0xa1..=0xfe] => (true, false),
                // Punctuation, full-width letters, symbols.
                [0xa1..=0xa3, 0xa1..=0xfe] => (false, true),
                _ => (false, false),
            };
            self.common += usize::from(is_common);
            self.rare += usize::from(!is_common && !is_sign);
            if may_be_accented(character, lone, letter_beside) {
                self.lone_in_words += 1;
            } else {
                let is_odd = is_odd(character);
                self.alone += 1;
                self.odd += usize::from(is_odd);
                self.telling += usize::from((is_odd || is_common) && !is_sign);
            }
        }
    }

    fn hanzi(&self) -> usize {
        self.common + self.rare
    }

    fn is_chinese(&self) -> bool {
        let enough = match self.hanzi() {
            0 => false,
            // A single one may be two accented letters, unless it can be nothing else.
            1 => self.odd == 1 && self.common == 1,
            _ => self.alone > 1,
        };
        enough && self.telling * 2 >= self.hanzi() && self.lone_in_words * 3 <= self.alone
    }

    fn confidence(&self) -> u8 {
        match self.telling {
            0 | 1 => 60,
            2 => 80,
            3 => 90,
            4..=6 => 95,
            _ => 98,
        }
    }
}

/// Bytes of the characters that follow each other from here.
fn run_of(bytes: &Bytes) -> usize {
    characters(bytes).map(<[u8]>::len).sum()
}

/// Characters of GB 18030 above ASCII, as far as they go on.
fn characters(bytes: &Bytes) -> impl Iterator<Item = &Bytes> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = match rest {
            [0x81..=0xfe, 0x30..=0x39, 0x81..=0xfe, 0x30..=0x39, ..] => 4,
            [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, ..] => 2,
            _ => return None,
        };
        let (character, after) = rest.split_at(length);
        rest = after;
        Some(character)
    })
}

/// True for what accented letters of Latin-1 amid ASCII ones would come to: a character that stands by itself, or one of
/// which the second half is the letter behind an accented one.
fn may_be_accented(character: &Bytes, lone: bool, letter_beside: bool) -> bool {
    let begins_with_letter = character.first().is_some_and(|first| *first >= 0xc0 && !is_symbol(*first));
    let is_split = begins_with_letter && character.get(1).is_some_and(u8::is_ascii_alphabetic);
    if lone { letter_beside || is_split } else { letter_beside && is_split }
}

/// True for what is no letter in Latin-1.
fn is_symbol(byte: u8) -> bool {
    matches!(byte, 0x80..=0xbf | 0xd7 | 0xf7)
}

/// True for bytes that follow each other in no word of Latin-1.
fn is_odd(character: &Bytes) -> bool {
    let is_capital = |byte: u8| matches!(byte, 0xc0..=0xd6 | 0xd8..=0xde);
    match *character {
        [first, second] => {
            // Quotation marks and the like stand before a word.
            let amid = is_symbol(first) && !matches!(first, 0xa0 | 0xa1 | 0xab | 0xbf) && second >= 0xc0;
            is_c1(first)
                || amid
                || !is_symbol(first) && is_symbol(second)
                || !is_symbol(first) && !is_capital(first) && is_capital(second)
        }
        _ => true,
    }
}
