//! The bits of an entropy-coded interval, the highest of a byte first.

/// Zeroes behind the last byte, so that eight bytes can be read at once nearly always.
const PADDING: usize = 8;

/// One interval without its stuffed bytes (ISO/IEC 10918-1 F.1.2.3), kept to be used again.
#[derive(Default)]
pub(super) struct Interval {
    bytes: Vec<u8>,
}

impl Interval {
    /// Takes the stuffing out of `coded`.
    pub(super) fn read<'a>(&'a mut self, coded: &[u8]) -> Bits<'a> {
        self.bytes.clear();
        self.bytes.reserve(coded.len() + PADDING);
        let mut rest = coded;
        while let Some(at) = rest.iter().position(|byte| *byte == 0xFF) {
            self.bytes.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            // 0xFF 0x00 is a byte; a lone 0xFF before another or before the end fills.
            match rest {
                [_, 0, after @ ..] => {
                    self.bytes.push(0xFF);
                    rest = after;
                }
                [_, after @ ..] => rest = after,
                [] => {}
            }
        }
        self.bytes.extend_from_slice(rest);
        let end = self.bytes.len();
        self.bytes.resize(end + PADDING, 0);
        Bits { bytes: &self.bytes, end, next: 0, buffer: 0, count: 0 }
    }
}

/// Reads bits; behind the last there are zeroes, and [`Bits::is_overrun`] tells that some were taken.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Bytes without the padding.
    end: usize,
    /// The first that is not in `buffer`.
    next: usize,
    /// Bits to come, the next one highest.
    buffer: u64,
    /// How many of them are sure.
    count: u32,
}

impl Bits<'_> {
    /// Brings at least 56 bits near: more than a code and what belongs to it.
    #[inline]
    pub(super) fn refill(&mut self) {
        if let Some(word) = self.bytes[self.next.min(self.bytes.len())..].first_chunk::<8>() {
            self.buffer |= u64::from_be_bytes(*word) >> self.count;
        } else {
            // The last bytes are padding; what follows it is zero already.
            let rest = &self.bytes[self.next.min(self.bytes.len())..];
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.buffer |= u64::from_be_bytes(word) >> self.count;
        }
        self.next += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    /// The next `count` bits (1 to 32), which stay.
    #[inline]
    pub(super) fn peek(&self, count: u32) -> u32 {
        (self.buffer >> (64 - count)) as u32
    }

    /// Passes over so many.
    #[inline]
    pub(super) fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// True when more bits were taken than there are.
    pub(super) fn is_overrun(&self) -> bool {
        self.next * 8 - self.count as usize > self.end * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_is_taken_out_and_the_end_is_seen() {
        let mut interval = Interval::default();
        let mut bits = interval.read(&[0xFF, 0x00, 0xA5, 0xFF]);
        bits.refill();
        assert_eq!(bits.peek(16), 0xFFA5);
        bits.skip(16);
        assert!(!bits.is_overrun());
        bits.refill();
        bits.skip(1);
        assert!(bits.is_overrun());
        for _ in 0..10 {
            bits.refill();
            assert_eq!(bits.peek(32), 0);
            bits.skip(32);
        }
        assert!(bits.is_overrun());
    }
}
