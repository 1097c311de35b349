//! The small pieces stored structures are made of: little-endian numbers, varints (LEB128), byte strings.

use crate::error::{Error, malformed};

/// Bytes of a varint at most (64 bits in groups of 7).
const VARINT_BYTES_MAX: usize = 10;

pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A field of a tagged structure: its number, then its content as a byte string.
pub(crate) fn put_field(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    put_varint(out, field);
    put_bytes(out, content);
}

/// Takes pieces off the front of stored bytes; never beyond them.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (piece, rest) = self.rest.split_at_checked(length).ok_or(malformed(self.what, "ends early"))?;
        self.rest = rest;
        Ok(piece)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (piece, rest) = self.rest.split_first_chunk().ok_or(malformed(self.what, "ends early"))?;
        self.rest = rest;
        Ok(*piece)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0u64;
        for place in 0..VARINT_BYTES_MAX {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * place as u32;
            if bits.leading_zeros() < shift {
                return Err(malformed(self.what, "number too large"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(malformed(self.what, "number too long"))
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32, Error> {
        u32::try_from(self.varint()?).map_err(|_| malformed(self.what, "number too large"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.varint()?).map_err(|_| malformed(self.what, "ends early"))?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        let text =
            std::str::from_utf8(self.bytes()?).map_err(|_| malformed(self.what, "text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// A count of things that take at least `bytes_min` each, so that it can be trusted for an allocation.
    pub(crate) fn count(&mut self, bytes_min: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if count > self.remaining() / bytes_min.max(1) {
            return Err(malformed(self.what, "more entries than bytes"));
        }
        Ok(count)
    }

    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.is_empty() { Ok(()) } else { Err(malformed(self.what, "bytes left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_back_and_are_bounded() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            let mut reader = Reader::new("test", &bytes);
            assert_eq!(reader.varint(), Ok(number));
            assert!(reader.is_empty());
        }
        assert!(Reader::new("test", &[0x80; 11]).varint().is_err());
        assert!(
            Reader::new("test", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02])
                .varint()
                .is_err()
        );
        assert!(Reader::new("test", &[5, 0]).count(1).is_err());
    }
}
