//! Codes and the numbers they stand for (ISO/IEC 10918-1 annexes C and F).

use crate::{
    Error,
    decode::jpeg::{bits::Bits, broken},
};

/// Bits that are looked up at once.
const LOOKUP_BITS: u32 = 10;

/// What a code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A difference, of a DC coefficient or a sample: the symbol is its bits.
    Difference,
    /// AC coefficients: zeroes to pass, and the bits of the next.
    Coefficient,
}

/// A code table, ready to decode.
pub(super) struct Huffman {
    lookup: Box<[Entry; 1 << LOOKUP_BITS]>,
    /// For each length: one more than its last code, aligned to 16 bits, and what to add to a code to find its symbol.
    limits: [(u32, i32); 17],
    symbols: Vec<u8>,
}

/// What the next bits begin with.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// The number whose bits follow the code, when they fit as well.
    value: i16,
    symbol: u8,
    /// Length of the code; 0 when it is longer than what is looked up.
    code_bits: u8,
    /// Length of code and number; 0 when they do not fit.
    total_bits: u8,
}

impl Huffman {
    /// Of the lengths' counts and the symbols in order.
    pub(super) fn of(counts: &[u8; 16], symbols: &[u8], kind: Kind) -> Result<Self, Error> {
        if kind == Kind::Difference && symbols.iter().any(|symbol| *symbol > 16) {
            return Err(broken("a code for differences of more than 16 bits"));
        }
        let mut table = Self {
            lookup: Box::new([Entry::default(); 1 << LOOKUP_BITS]),
            limits: [(0, 0); 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut taken) = (0_u32, 0_usize);
        for (length, &count) in (1_u32..).zip(counts) {
            if code + u32::from(count) > 1 << length {
                return Err(broken("more codes than there are bits for"));
            }
            table.limits[length as usize].1 = taken as i32 - code as i32;
            for symbol in symbols
                .get(taken..taken + usize::from(count))
                .ok_or_else(|| broken("codes without symbols"))?
            {
                table.note(code, length, *symbol, kind);
                code += 1;
            }
            taken += usize::from(count);
            table.limits[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// Fills in what begins with a code.
    fn note(&mut self, code: u32, length: u32, symbol: u8, kind: Kind) {
        let Some(free) = LOOKUP_BITS.checked_sub(length) else { return };
        let size = match kind {
            Kind::Difference => u32::from(symbol),
            Kind::Coefficient => u32::from(symbol & 15),
        };
        for rest in 0..1_u32 << free {
            let (mut value, mut total_bits) = (0, 0);
            if size <= free {
                value = extend(rest >> (free - size), size) as i16;
                total_bits = (length + size) as u8;
            }
            let entry = Entry { value, symbol, code_bits: length as u8, total_bits };
            self.lookup[(code << free | rest) as usize] = entry;
        }
    }

    /// The next difference. `None` when no code fits.
    #[inline]
    pub(super) fn difference(&self, bits: &mut Bits<'_>) -> Option<i32> {
        bits.refill();
        let entry = self.lookup[bits.peek(LOOKUP_BITS) as usize];
        if entry.total_bits > 0 {
            bits.skip(u32::from(entry.total_bits));
            return Some(i32::from(entry.value));
        }
        match self.symbol(entry, bits)? {
            // A lossless difference of 2^15 has no further bits (H.1.2.2).
            16 => Some(1 << 15),
            size => Some(number(bits, u32::from(size))),
        }
    }

    /// The next coefficient: its symbol and its value. `None` when no code fits.
    #[inline]
    pub(super) fn coefficient(&self, bits: &mut Bits<'_>) -> Option<(u8, i32)> {
        bits.refill();
        let entry = self.lookup[bits.peek(LOOKUP_BITS) as usize];
        if entry.total_bits > 0 {
            bits.skip(u32::from(entry.total_bits));
            return Some((entry.symbol, i32::from(entry.value)));
        }
        let symbol = self.symbol(entry, bits)?;
        Some((symbol, number(bits, u32::from(symbol & 15))))
    }

    /// The symbol alone, looked up or by length.
    fn symbol(&self, entry: Entry, bits: &mut Bits<'_>) -> Option<u8> {
        if entry.code_bits > 0 {
            bits.skip(u32::from(entry.code_bits));
            return Some(entry.symbol);
        }
        let next = bits.peek(16);
        let length = (LOOKUP_BITS + 1..=16).find(|length| next < self.limits[*length as usize].0)?;
        bits.skip(length);
        let at = (next >> (16 - length)) as i32 + self.limits[length as usize].1;
        self.symbols.get(at as usize).copied()
    }
}

/// Takes a number of `size` bits (0 to 15).
#[inline]
fn number(bits: &mut Bits<'_>, size: u32) -> i32 {
    if size == 0 {
        return 0;
    }
    let raw = bits.peek(size);
    bits.skip(size);
    extend(raw, size)
}

/// The number that `size` bits stand for: those without their highest bit are negative (F.2.2.1).
#[inline]
fn extend(raw: u32, size: u32) -> i32 {
    match size {
        0 => 0,
        _ if raw >> (size - 1) == 0 => raw as i32 - (1 << size) + 1,
        _ => raw as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::jpeg::bits::Interval;

    #[test]
    fn codes_of_every_length_are_found() {
        // One code of each length from 1 to 16: 0, 10, 110 and so on.
        let symbols: Vec<u8> = (0..16).collect();
        let table = Huffman::of(&[1; 16], &symbols, Kind::Difference).expect("a table");
        let mut interval = Interval::default();
        // 0 | 10 1 | 110 01 | fifteen ones and a zero, then fifteen bits.
        let bytes = [0b0101_1100, 0b1111_1111, 0, 0b1111_1111, 0, 0b0000_0000, 0b0000_0010];
        let mut bits = interval.read(&bytes);
        assert_eq!(table.difference(&mut bits), Some(0));
        assert_eq!(table.difference(&mut bits), Some(1));
        assert_eq!(table.difference(&mut bits), Some(-2));
        assert_eq!(table.difference(&mut bits), Some(2 - (1 << 15) + 1));
    }

    #[test]
    fn what_no_code_begins_is_refused() {
        let mut counts = [0; 16];
        counts[0] = 1;
        let table = Huffman::of(&counts, &[3], Kind::Coefficient).expect("a table");
        let mut interval = Interval::default();
        assert_eq!(table.coefficient(&mut interval.read(&[0x80])), None);
        counts[0] = 3;
        assert!(Huffman::of(&counts, &[3, 4, 5], Kind::Coefficient).is_err());
        assert!(Huffman::of(&[1; 16], &[1], Kind::Coefficient).is_err());
        counts[0] = 1;
        assert!(Huffman::of(&counts, &[17], Kind::Difference).is_err());
    }
}
