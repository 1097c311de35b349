//! Which encoding a dataset is really in, by its first bytes.

use filmgate_model::{VR, transfer_syntax::Encoding};

use super::head::{self, Form, HEAD_BYTES_MIN, Head};

/// Bytes looked at; a shorter dataset is looked at whole.
pub(crate) const SNIFF_BYTES: usize = 256;

/// An implicit first element longer than this is taken for something else.
const FIRST_VALUE_BYTES_MAX: u32 = 0x1_0000;

/// The encoding to read with, and whether it is the declared one. `None`: none fits and none was declared.
pub(crate) fn encoding(declared: Option<Encoding>, start: &[u8]) -> Option<(Encoding, bool)> {
    let tries = [Encoding::ExplicitLittle, Encoding::ImplicitLittle, Encoding::ExplicitBig];
    let found = tries.into_iter().find(|&encoding| fits(encoding, start));
    match declared {
        // Deflated bytes look like nothing; plain ones under a deflated syntax do (PS3.5 A.5).
        Some(Encoding::Deflated) if !is_plain(start) => Some((Encoding::Deflated, true)),
        Some(declared) if fits(declared, start) && !contradicted(declared, start) => Some((declared, true)),
        // Nothing fits: read as declared, and end as broken where that leads nowhere.
        Some(declared) => Some(found.map_or((declared, true), |found| (found, found == declared))),
        None => found.map(|found| (found, false)),
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

/// A first element with a VR where the syntax has none: only a VR that the dictionary gives this tag counts, as the
/// letters might be the low half of a length.
fn contradicted(declared: Encoding, start: &[u8]) -> bool {
    declared == Encoding::ImplicitLittle && fits(Encoding::ExplicitLittle, start)
}

fn fits(encoding: Encoding, start: &[u8]) -> bool {
    let Some(first) = head::decode(start, encoding) else { return false };
    let ordinary = first.tag.group() != 0 && first.tag.group() != 0xfffe && first.form == Form::Regular;
    ordinary
        && if encoding.is_explicit() {
            fits_explicit(&first, start, encoding)
        } else {
            fits_implicit(&first, start)
        }
}

fn fits_explicit(first: &Head, start: &[u8], encoding: Encoding) -> bool {
    let by_dictionary = head::dictionary_vr(first.tag);
    let agrees = first.vr == Some(by_dictionary) || by_dictionary == VR::UN || first.vr == Some(VR::UN);
    let reserved = first.bytes == HEAD_BYTES_MIN || start.get(6..8) == Some(&[0, 0]);
    reserved && (agrees || next_ascends(first, start, encoding))
}

fn fits_implicit(first: &Head, start: &[u8]) -> bool {
    let length_fits = first.length.is_none_or(|length| length <= FIRST_VALUE_BYTES_MAX);
    let group_length = first.tag.element() != 0 || first.length == Some(4);
    let sequence = first.length.is_some() || matches!(first.vr, Some(VR::SQ | VR::UN));
    let sound = length_fits && group_length && sequence;
    let odd_group = first.tag.group() % 2 == 1;
    sound
        && (head::is_known(first.tag) || odd_group && next_ascends(first, start, Encoding::ImplicitLittle))
        && next_ascends(first, start, Encoding::ImplicitLittle)
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
