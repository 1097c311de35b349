//! Which encoding a dataset is really in, by its first bytes.

use filmgate_model::{VR, transfer_syntax::Encoding};

use super::head::{self, Form, HEAD_BYTES_MIN, Head};

/// Bytes looked at; a shorter dataset is looked at whole.
pub(crate) const SNIFF_BYTES: usize = 256;

/// An implicit first element longer than this is taken for something else.
const FIRST_VALUE_BYTES_MAX: u32 = 0x1_0000;

/// How well an encoding fits, by the first element.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Not,
    /// It could be, but the tag is private or unknown.
    Possible,
    /// A known tag, written as the dictionary says.
    Sure,
}

/// The encoding to read with, and whether it is the declared one. `None`: none fits and none was declared.
pub(crate) fn encoding(declared: Option<Encoding>, start: &[u8]) -> Option<(Encoding, bool)> {
    let tries = [Encoding::ExplicitLittle, Encoding::ImplicitLittle, Encoding::ExplicitBig];
    let with = |least: Fit| tries.into_iter().find(|&encoding| fit(encoding, start) >= least);
    let found = with(Fit::Sure).or_else(|| with(Fit::Possible));
    let Some(declared) = declared else { return found.map(|found| (found, false)) };
    // Deflated bytes look like nothing; plain ones under a deflated syntax do (PS3.5 A.5).
    if declared == Encoding::Deflated && !is_plain(start) {
        return Some((declared, true));
    }
    let best = found.map_or(Fit::Not, |found| fit(found, start));
    let as_declared = fit(declared, start) >= best && !contradicted(declared, start);
    match found {
        // Where nothing fits either it is read as declared, and ends as broken if that leads nowhere.
        Some(found) if !as_declared => Some((found, found == declared)),
        _ => Some((declared, true)),
    }
}

/// An explicit dataset by a sign strong enough against the odds of deflated bytes: a known element of the first groups
/// under its own VR.
fn is_plain(start: &[u8]) -> bool {
    let first = head::decode(start, Encoding::ExplicitLittle);
    first.is_some_and(|first| {
        first.tag.group() <= 0x0008
            && head::is_known(first.tag)
            && first.vr == Some(head::dictionary_vr(first.tag))
    })
}

/// A first element with a VR where the syntax has none: the letters would be the low half of a length, and both fit.
fn contradicted(declared: Encoding, start: &[u8]) -> bool {
    declared == Encoding::ImplicitLittle && fit(Encoding::ExplicitLittle, start) == Fit::Sure
}

fn fit(encoding: Encoding, start: &[u8]) -> Fit {
    let Some(first) = head::decode(start, encoding) else { return Fit::Not };
    let ordinary = first.tag.group() != 0 && first.tag.group() != 0xfffe && first.form == Form::Regular;
    match (ordinary && encoding != Encoding::Deflated, encoding.is_explicit()) {
        (false, _) => Fit::Not,
        (true, true) => fit_explicit(&first, start, encoding),
        (true, false) => fit_implicit(&first, start),
    }
}

fn fit_explicit(first: &Head, start: &[u8], encoding: Encoding) -> Fit {
    let reserved = first.bytes == HEAD_BYTES_MIN || start.get(6..8) == Some(&[0, 0]);
    let known = head::is_known(first.tag);
    let agrees = first.vr == Some(head::dictionary_vr(first.tag)) || first.vr == Some(VR::UN);
    match (reserved, known, agrees) {
        (false, ..) => Fit::Not,
        (true, true, true) => Fit::Sure,
        (true, false, _) => Fit::Possible,
        (true, true, false) if next_ascends(first, start, encoding) => Fit::Possible,
        _ => Fit::Not,
    }
}

fn fit_implicit(first: &Head, start: &[u8]) -> Fit {
    let length_fits = first.length.is_none_or(|length| length <= FIRST_VALUE_BYTES_MAX);
    let group_length = first.tag.element() != 0 || first.length == Some(4);
    let sequence = first.length.is_some() || matches!(first.vr, Some(VR::SQ | VR::UN));
    let sound =
        length_fits && group_length && sequence && next_ascends(first, start, Encoding::ImplicitLittle);
    // A length that reads as a VR is more likely one.
    let letters = start.get(4..6).and_then(|letters| VR::from_binary([letters[0], letters[1]]));
    match (sound, head::is_known(first.tag)) {
        (false, _) => Fit::Not,
        (true, true) if letters.is_none() => Fit::Sure,
        (true, true) => Fit::Possible,
        // Without a VR to show, an unknown tag of an even group is no sign at all.
        (true, false) if first.tag.group() % 2 == 1 => Fit::Possible,
        (true, false) => Fit::Not,
    }
}

/// True when a second element, as far as it is within sight, has a greater tag (PS3.5 7.1: ascending order).
fn next_ascends(first: &Head, start: &[u8], encoding: Encoding) -> bool {
    let Some(length) = first.length else { return true };
    let next = usize::try_from(length).ok().and_then(|length| start.get(first.bytes.checked_add(length)?..));
    match next {
        Some(next) if next.len() >= HEAD_BYTES_MIN => {
            head::decode(next, encoding).is_none_or(|second| second.tag > first.tag)
        }
        // The value ends the dataset, or lies beyond what is looked at.
        Some(_) => true,
        None => start.len() >= SNIFF_BYTES,
    }
}

/// The encoding of an item, by the head of its first element: implicit items stand in explicit files (and in UN
/// sequences of undefined length, PS3.5 6.2.2), explicit ones in both.
pub(crate) fn item_encoding(around: Encoding, first: &[u8]) -> Encoding {
    if around == Encoding::ExplicitBig {
        return around;
    }
    let Some(explicit) = head::decode(first, Encoding::ExplicitLittle).or_else(|| long_head(first)) else {
        return around;
    };
    match explicit.form {
        Form::Regular if around.is_explicit() => around,
        Form::Regular if is_stated(&explicit, first) => Encoding::ExplicitLittle,
        Form::ImplicitInExplicit => Encoding::ImplicitLittle,
        _ => around,
    }
}

/// The head of a long form of which only the first eight bytes are there yet.
fn long_head(first: &[u8]) -> Option<Head> {
    let mut whole = [0; head::HEAD_BYTES_MAX];
    whole.get_mut(..HEAD_BYTES_MIN)?.copy_from_slice(first.get(..HEAD_BYTES_MIN)?);
    head::decode(&whole, Encoding::ExplicitLittle)
}

/// Two letters that the dictionary confirms.
fn is_stated(explicit: &Head, first: &[u8]) -> bool {
    let reserved = explicit.bytes == HEAD_BYTES_MIN || first.get(6..8) == Some(&[0, 0]);
    reserved && head::is_known(explicit.tag) && explicit.vr == Some(head::dictionary_vr(explicit.tag))
}
