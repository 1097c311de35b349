//! How a piece is compressed before it is sealed, and its bounded way back.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Error, malformed};

/// How the bytes of a chunk, a table or a footer block are written before they are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Stored = 0,
    /// One zstd frame.
    Zstd = 1,
    /// Median edge prediction, zigzag and byte planes of native samples. Reserved: this version neither writes nor opens it.
    SplitPredictor = 2,
}

impl Codec {
    /// Its number in stored formats.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The codec of a number.
    ///
    /// # Errors
    /// [`Error::Newer`] for a number this version does not know.
    pub fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Stored),
            1 => Ok(Self::Zstd),
            2 => Ok(Self::SplitPredictor),
            _ => Err(Error::Newer { what: "codec", number: number.into() }),
        }
    }
}

/// Contexts are about a megabyte: one of each per thread, not per record.
struct Contexts {
    compressor: Option<(i32, Compressor<'static>)>,
    decompressor: Option<Decompressor<'static>>,
    scratch: Vec<u8>,
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> =
        const { RefCell::new(Contexts { compressor: None, decompressor: None, scratch: Vec::new() }) };
}

/// Appends `raw` to `out`, compressed when that makes it smaller; which of the two is returned.
pub(crate) fn encode(raw: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Codec {
    if let Some(level) = level
        && CONTEXTS.with_borrow_mut(|contexts| contexts.compress(raw, level, out))
    {
        return Codec::Zstd;
    }
    out.extend_from_slice(raw);
    Codec::Stored
}

impl Contexts {
    /// False, with nothing appended, when `raw` does not shrink.
    fn compress(&mut self, raw: &[u8], level: i32, out: &mut Vec<u8>) -> bool {
        let kept = self.compressor.take().filter(|(kept_level, _)| *kept_level == level);
        let Some((_, mut compressor)) = kept.or_else(|| Some((level, Compressor::new(level).ok()?))) else {
            return false;
        };
        self.scratch.clear();
        // Always the same room, so that equal bytes become equal bytes.
        self.scratch.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let done = compressor.compress_to_buffer(raw, &mut self.scratch);
        self.compressor = Some((level, compressor));
        let shrank = done.is_ok() && self.scratch.len() < raw.len();
        if shrank {
            out.extend_from_slice(&self.scratch);
        }
        shrank
    }

    fn decompress(&mut self, packed: &[u8], raw_bytes: usize) -> Result<Vec<u8>, Error> {
        let damaged = malformed("zstd frame", "does not decompress to its stated length");
        let mut decompressor =
            self.decompressor.take().or_else(|| Decompressor::new().ok()).ok_or(damaged.clone())?;
        let mut raw = Vec::with_capacity(raw_bytes);
        let done = decompressor.decompress_to_buffer(packed, &mut raw);
        self.decompressor = Some(decompressor);
        if done.is_ok() && raw.len() == raw_bytes { Ok(raw) } else { Err(damaged) }
    }
}

/// The raw bytes of an opened piece. `raw_bytes` must have been checked against the format's limit.
pub(crate) fn decode(codec: Codec, packed: Vec<u8>, raw_bytes: usize) -> Result<Vec<u8>, Error> {
    match codec {
        Codec::Stored if packed.len() == raw_bytes => Ok(packed),
        Codec::Stored => Err(malformed("stored piece", "has another length than stated")),
        Codec::Zstd => CONTEXTS.with_borrow_mut(|contexts| contexts.decompress(&packed, raw_bytes)),
        Codec::SplitPredictor => Err(Error::Newer { what: "codec", number: codec.number().into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_shrink_is_stored() {
        let mut out = b"before".to_vec();
        assert_eq!(encode(&[7; 4096], Some(1), &mut out), Codec::Zstd);
        assert_eq!(decode(Codec::Zstd, out[6..].to_vec(), 4096), Ok(vec![7; 4096]));
        for raw in [&b""[..], b"x", b"no shorter"] {
            let mut out = Vec::new();
            assert_eq!(encode(raw, Some(1), &mut out), Codec::Stored);
            assert_eq!(out, raw);
        }
        assert_eq!(encode(&[7; 4096], None, &mut Vec::new()), Codec::Stored);
    }

    #[test]
    fn a_wrong_stated_length_is_an_error() {
        let mut packed = Vec::new();
        encode(&[7; 4096], Some(1), &mut packed);
        assert!(decode(Codec::Zstd, packed.clone(), 4095).is_err());
        assert!(decode(Codec::Zstd, packed.clone(), 4097).is_err());
        assert!(decode(Codec::Stored, packed, 1).is_err());
        assert_eq!(decode(Codec::SplitPredictor, vec![], 0), Err(Error::Newer { what: "codec", number: 2 }));
    }
}
