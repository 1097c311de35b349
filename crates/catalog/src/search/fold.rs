//! Person names folded for matching: case does not count (PS3.4 C.2.2.2.1.1), nor do empty trailing components
//! (PS3.5 6.2.1), and each of the three component groups can be asked for alone. For fuzzy matching accents do not count
//! either.
//!
//! All of it goes character by character, so that a piece of a name folds to a piece of the folded name.

use unicode_normalization::UnicodeNormalization;

/// `Wang^XiaoDong=王^小东^` as `=wang^xiaodong=王^小东=`: every group stands between two equals signs.
pub(crate) fn folded(name: &str) -> String {
    let mut folded = String::with_capacity(name.len().saturating_add(2));
    for group in groups(name) {
        folded.push('=');
        folded.push_str(&group);
    }
    folded.push('=');
    folded
}

/// The component groups, in lower case, without empty trailing components. Groups at the end that are empty go.
pub(crate) fn groups(name: &str) -> Vec<String> {
    let mut groups: Vec<String> = name.split('=').map(fold_group).collect();
    while groups.last().is_some_and(String::is_empty) {
        groups.pop();
    }
    groups
}

fn fold_group(group: &str) -> String {
    let components: Vec<&str> = group.split('^').map(str::trim).collect();
    components.join("^").trim_end_matches('^').chars().flat_map(char::to_lowercase).collect()
}

/// The words of a name without accents, as in ` wang xiaodong 王 小东 wangxiaodong 王小东 `: what is folded with a space for
/// each character that stands between words, and behind it each group in one piece.
pub(crate) fn words(name: &str) -> String {
    let mut words = plain(&folded(name));
    for group in groups(name) {
        let group = plain(&group);
        if group.contains(' ') {
            words.extend(group.chars().filter(|character| *character != ' '));
            words.push(' ');
        }
    }
    words
}

/// Lower case without accents, a space for what stands between words.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars().flat_map(char::to_lowercase) {
        match character {
            '=' | '^' | ' ' | '-' | ',' | '.' | '\'' | '’' | '·' | '・' => plain.push(' '),
            'ß' => plain.push_str("ss"),
            'æ' => plain.push_str("ae"),
            'œ' => plain.push_str("oe"),
            'ø' => plain.push('o'),
            'ł' => plain.push('l'),
            'đ' | 'ð' => plain.push('d'),
            'ı' => plain.push('i'),
            // Syllables of Hangul would fall apart into letters.
            '\u{ac00}'..='\u{d7a3}' => plain.push(character),
            other => plain.extend(other.nfkd().filter(|piece| !is_accent(*piece))),
        }
    }
    plain
}

/// Marks upon letters of Latin, Greek and Cyrillic; points of Hebrew and Arabic. Those of kana make another syllable.
fn is_accent(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{652}')
}

/// A script that is written without spaces between words: a piece of it is looked for anywhere.
pub(crate) fn is_without_spaces(text: &str) -> bool {
    // From the radicals of CJK on, Hangul, kana and the ideographs of all planes.
    text.chars().any(|character| character >= '\u{2e80}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_between_equals_signs() {
        assert_eq!(folded("Wang^XiaoDong=王^小东^^ "), "=wang^xiaodong=王^小东=");
        assert_eq!(folded("=王^小东"), "==王^小东=");
        assert_eq!(folded("MÜLLER^^"), "=müller=");
        assert_eq!(folded(""), "=");
    }

    #[test]
    fn words_have_no_accents_and_groups_stand_in_one_piece_too() {
        assert_eq!(words("Wang^XiaoDong=王^小东"), " wang xiaodong 王 小东 wangxiaodong 王小东 ");
        assert_eq!(words("Müller-Lüdenscheidt^Änne"), " muller ludenscheidt anne mullerludenscheidtanne ");
        assert_eq!(words("Łukasz"), " lukasz ");
        assert_ne!(words("ガク"), words("カク"));
        assert_eq!(words("김^희중"), " 김 희중 김희중 ");
        assert_eq!(words(""), " ");
    }

    #[test]
    fn a_piece_folds_to_a_piece() {
        let name = "ΟΔΥΣΣΕΥΣ^Ǆ=王^小东";
        for (from, _) in name.char_indices() {
            for (to, last) in name.char_indices().filter(|(to, _)| *to >= from) {
                let piece = &name[from..to + last.len_utf8()];
                assert!(plain(&folded(name)).contains(&plain(piece)), "{piece}");
            }
        }
    }
}
