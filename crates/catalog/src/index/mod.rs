//! The derived half: one file a noun. Log, packs and journal rebuild all of it.

pub(crate) mod attributes;
pub(crate) mod batch;
pub(crate) mod copies;
pub(crate) mod deleting;
pub(crate) mod filing;
pub(crate) mod folding;
pub(crate) mod found;
pub(crate) mod instances;
pub(crate) mod leaving;
pub(crate) mod locations;
pub(crate) mod logged;
pub(crate) mod packing;
pub(crate) mod packs;
pub(crate) mod patients;
pub(crate) mod placements;
pub(crate) mod repacking;
pub(crate) mod series;
pub(crate) mod studies;
pub(crate) mod study_keys;
pub(crate) mod totals;
pub(crate) mod tries;
pub(crate) mod upload_parts;
pub(crate) mod uploads;

use filmgate_model::{Facts, Tag};

/// Characters a column keeps of an attribute's text: more than a value may have (PS3.5 6.2: 64, a name of three groups 194),
/// and so few that a key of two such columns fits into PostgreSQL's indexes, which take 2,704 bytes.
const TEXT_CHARACTERS_MAX: usize = 256;

/// An attribute's text as a column keeps it. NUL has no place in SQL text.
pub(crate) fn text(facts: &Facts, tag: Tag) -> Option<String> {
    let text = facts.text(tag)?.replace('\0', "");
    (!text.is_empty()).then(|| beginning(text))
}

/// What a column keeps of a text.
pub(crate) fn beginning(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARACTERS_MAX) {
        text.truncate(end);
    }
    text
}

/// Bytes of a date or time; anything longer is neither.
const MOMENT_BYTES_MAX: usize = 64;

/// A date (VR DA) without the dots of ACR-NEMA, so that text order is time order.
pub(crate) fn date(facts: &Facts, tag: Tag) -> Option<String> {
    text(facts, tag).map(|date| date.replace('.', "")).filter(|date| date.len() <= MOMENT_BYTES_MAX)
}

/// A time (VR TM) without the colons of ACR-NEMA, so that text order is time order.
pub(crate) fn time(facts: &Facts, tag: Tag) -> Option<String> {
    text(facts, tag).map(|time| time.replace(':', "")).filter(|time| time.len() <= MOMENT_BYTES_MAX)
}
