//! Segmented palettes: tables written as runs and ramps (PS3.3 C.7.9.2).

use super::lut::Descriptor;
use crate::{Error, error::malformed};

/// Words or, in a table of 8 bits, bytes.
struct Units<'a> {
    data: &'a [u8],
    bytes: usize,
}

impl Units<'_> {
    fn at(&self, index: usize) -> Option<u16> {
        let start = index.checked_mul(self.bytes)?;
        match *self.data.get(start..start.checked_add(self.bytes)?)? {
            [byte] => Some(u16::from(byte)),
            [low, high] => Some(u16::from_le_bytes([low, high])),
            _ => None,
        }
    }

    /// Units that an offset takes, which is of 4 bytes.
    fn of_offset(&self) -> usize {
        4 / self.bytes
    }

    /// The unit that the offset written at `index` names.
    fn offset(&self, index: usize) -> Option<usize> {
        let start = index.checked_mul(self.bytes)?;
        let bytes = self.data.get(start..start.checked_add(4)?)?;
        let offset = u32::from_le_bytes(bytes.try_into().ok()?) as usize;
        Some(offset / self.bytes)
    }
}

/// The entries that segments stand for, as many as the descriptor says; what is missing goes on as the last.
pub(super) fn expand(data: &[u8], descriptor: Descriptor) -> Result<Vec<u16>, Error> {
    let units = Units { data, bytes: if descriptor.bits > 8 { 2 } else { 1 } };
    let mut entries = Vec::with_capacity(descriptor.entries);
    let mut at = 0;
    while entries.len() < descriptor.entries
        && let Some(opcode) = units.at(at)
    {
        at = match opcode {
            2 => indirect(&units, at, &mut entries, descriptor.entries),
            _ => direct(&units, at, &mut entries, descriptor.entries),
        }
        .ok_or_else(|| malformed("a segment of a palette that is none"))?;
    }
    let last = *entries.last().ok_or_else(|| malformed("a segmented palette without entries"))?;
    entries.resize(descriptor.entries, last);
    Ok(entries)
}

/// A discrete or linear segment; what follows it.
fn direct(units: &Units<'_>, at: usize, entries: &mut Vec<u16>, max: usize) -> Option<usize> {
    let opcode = units.at(at)?;
    // Of no entries none is written; that would let a few bytes take all time.
    let length = usize::from(units.at(at + 1).filter(|length| *length > 0)?);
    let room = length.min(max.saturating_sub(entries.len()));
    match opcode {
        0 => {
            for index in 0..room {
                entries.push(units.at(at + 2 + index)?);
            }
            Some(at + 2 + length)
        }
        1 => {
            let from = i64::from(*entries.last()?);
            let to = i64::from(units.at(at + 2)?);
            // From the entry before (not written again) up to the end point, rounded to the nearest.
            let (steps, rise) = (length as i64, to - from);
            let step = |index: i64| from + (2 * rise * index + steps).div_euclid(2 * steps);
            entries.extend((1..=room as i64).map(|index| step(index) as u16));
            Some(at + 3)
        }
        _ => None,
    }
}

/// A segment that stands for others written before; what follows it. Those may not be indirect themselves.
fn indirect(units: &Units<'_>, at: usize, entries: &mut Vec<u16>, max: usize) -> Option<usize> {
    let count = units.at(at + 1).filter(|count| *count > 0)?;
    let mut copied = units.offset(at + 2)?;
    for _ in 0..count {
        if entries.len() >= max {
            break;
        }
        copied = direct(units, copied, entries, max)?;
    }
    Some(at + 2 + units.of_offset())
}
