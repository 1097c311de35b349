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

/// An attribute's text as a column keeps it. NUL has no place in SQL text.
pub(crate) fn text(facts: &Facts, tag: Tag) -> Option<String> {
    let text = facts.text(tag)?.replace('\0', "");
    (!text.is_empty()).then_some(text)
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
