//! Lookup tables: Modality, VOI and Presentation LUT, and each colour of a palette.

use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use super::attributes::{bytes, words};
use crate::{Error, error::malformed};

/// Entries a table may have; a descriptor says 0 for it (PS3.3 C.11.1.1).
pub(super) const ENTRIES_MAX: usize = 1 << 16;

/// What a LUT Descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Entries of the table, 1 to 65,536.
    pub(super) entries: usize,
    /// The input that the first entry is for.
    pub(super) first: i64,
    /// Bits of an entry.
    pub(super) bits: u8,
}

impl Descriptor {
    /// Reads one; `signed` says that inputs may be below zero, which decides what a word of the upper half means.
    pub(super) fn of(dataset: &InMemDicomObject, tag: Tag, signed: bool) -> Result<Self, Error> {
        let [entries, first, bits] = words(dataset, tag)[..] else {
            return Err(malformed("a lookup table without a descriptor of three values"));
        };
        let entries = match entries & 0xFFFF {
            0 => ENTRIES_MAX,
            entries => entries as usize,
        };
        let first = match first & 0xFFFF {
            first if signed => i64::from(first as u16 as i16),
            first => first,
        };
        let bits = u8::try_from(bits).ok().filter(|bits| (1..=16).contains(bits));
        let bits = bits.ok_or_else(|| malformed("entries of a lookup table are not of 1 to 16 bits"))?;
        Ok(Self { entries, first, bits })
    }
}

/// A table from numbers to numbers; inputs outside it take the nearest entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lut {
    /// The input of the first entry.
    pub(super) first: i64,
    /// One or more entries.
    pub(super) entries: Vec<u16>,
    /// Bits an entry has.
    pub(super) bits: u8,
}

impl Lut {
    /// Reads a table, which may lie in words or in bytes.
    pub(super) fn of(
        dataset: &InMemDicomObject,
        descriptor: Tag,
        data: Tag,
        signed: bool,
    ) -> Result<Self, Error> {
        let descriptor = Descriptor::of(dataset, descriptor, signed)?;
        Self::from_data(descriptor, &bytes(dataset, data))
    }

    /// From the bytes of LUT Data.
    pub(super) fn from_data(descriptor: Descriptor, data: &[u8]) -> Result<Self, Error> {
        let Descriptor { entries: count, .. } = descriptor;
        let mut descriptor = descriptor;
        // Bytes packed into words, with one more where their number is odd, whatever the descriptor says of bits.
        let packed = data.len() < 2 * count && data.len().div_ceil(2) == count.div_ceil(2);
        let mut entries: Vec<u16> = if packed {
            descriptor.bits = descriptor.bits.min(8);
            data.iter().take(count).map(|&byte| u16::from(byte)).collect()
        } else {
            let words = data.chunks_exact(2).take(count);
            words.map(|word| u16::from_le_bytes([word[0], word[1]])).collect()
        };
        let Some(&last) = entries.last() else {
            return Err(malformed("a lookup table without entries"));
        };
        // A table cut short goes on as it ends.
        entries.resize(count, last);
        Ok(Self::of_entries(descriptor, entries))
    }

    /// Of entries already read. Some have more bits than is stated.
    pub(super) fn of_entries(descriptor: Descriptor, entries: Vec<u16>) -> Self {
        let max = entries.iter().copied().max().unwrap_or(0);
        let bits = descriptor.bits.max((16 - max.leading_zeros()) as u8);
        Self { first: descriptor.first, entries, bits }
    }

    /// The entry for an input.
    pub(super) fn at(&self, input: f64) -> u16 {
        let last = self.entries.len().saturating_sub(1);
        // Saturates at both ends; there is no NaN to come in.
        let index = (input.round() - self.first as f64).clamp(0.0, last as f64) as usize;
        self.entries.get(index).copied().unwrap_or(0)
    }

    /// The entry for an input as a share of what its bits can hold.
    pub(super) fn share(&self, input: f64) -> f64 {
        f64::from(self.at(input)) / self.full()
    }

    /// The largest number its bits can hold.
    pub(super) fn full(&self) -> f64 {
        f64::from((1_u32 << self.bits) - 1)
    }
}
