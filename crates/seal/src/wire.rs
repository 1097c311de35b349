//! The small pieces stored structures are made of: little-endian numbers, varints (LEB128), byte strings.

use crate::error::{Error, malformed};

/// Bytes of a varint at most (64 bits in groups of 7).
const VARINT_BYTES_MAX: usize = 10;

/// Appends a number in groups of seven bits, low ones first.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a byte string: its length as a varint, then the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A field of a tagged structure: its number, then its content as a byte string.
pub(crate) fn put_field(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    put_varint(out, field);
    put_bytes(out, content);
}

/// Takes pieces off the front of stored bytes; never beyond them.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`; `what` names the structure in errors.
    #[must_use]
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, what }
    }

    /// True when nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there are fewer.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (piece, rest) = self.rest.split_at_checked(length).ok_or(malformed(self.what, "ends early"))?;
        self.rest = rest;
        Ok(piece)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] when there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (piece, rest) = self.rest.split_first_chunk().ok_or(malformed(self.what, "ends early"))?;
        self.rest = rest;
        Ok(*piece)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the end.
    pub fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes, little endian.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the end.
    pub fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little endian.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the end.
    pub fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little endian.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the end.
    pub fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A varint.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is longer than 64 bits or cut off.
    pub fn varint(&mut self) -> Result<u64, Error> {
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

    /// A varint of 32 bits.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is longer or cut off.
    pub fn varint_u32(&mut self) -> Result<u32, Error> {
        u32::try_from(self.varint()?).map_err(|_| malformed(self.what, "number too large"))
    }

    /// A byte string.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is longer than what is left.
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.varint()?).map_err(|_| malformed(self.what, "ends early"))?;
        self.take(length)
    }

    /// A byte string in UTF-8.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not, or is longer than what is left.
    pub fn text(&mut self) -> Result<String, Error> {
        let text =
            std::str::from_utf8(self.bytes()?).map_err(|_| malformed(self.what, "text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// A count of things that take at least `bytes_min` each, so that it can be trusted for an allocation.
    ///
    /// # Errors
    /// [`Error::Malformed`] when so many do not fit in what is left.
    pub fn count(&mut self, bytes_min: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if count > self.remaining() / bytes_min.max(1) {
            return Err(malformed(self.what, "more entries than bytes"));
        }
        Ok(count)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`Error::Malformed`] when something is.
    pub fn end(&self) -> Result<(), Error> {
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
