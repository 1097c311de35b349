//! Markers and what they head (ISO/IEC 10918-1 annex B).

use crate::{Error, decode::jpeg::broken};

pub(super) const SOI: u8 = 0xD8;
pub(super) const EOI: u8 = 0xD9;
pub(super) const SOS: u8 = 0xDA;
pub(super) const DQT: u8 = 0xDB;
pub(super) const DHT: u8 = 0xC4;
pub(super) const DRI: u8 = 0xDD;
pub(super) const APP0: u8 = 0xE0;
pub(super) const APP14: u8 = 0xEE;
const RST0: u8 = 0xD0;
const RST7: u8 = 0xD7;

/// Walks a codestream.
pub(super) struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    /// Of a codestream; it begins with its first marker.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [0xFF, SOI, rest @ ..] => Ok(Self { rest }),
            _ => Err(broken("it does not begin as one")),
        }
    }

    /// The next marker and what belongs to it, without its length; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Error> {
        // Before a marker any number of fill bytes may stand; what a wrong length left is passed over.
        let Some(at) = self.rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF))
        else {
            return Ok(None);
        };
        let marker = self.rest[at + 1];
        self.rest = &self.rest[at + 2..];
        if matches!(marker, EOI) {
            return Ok(None);
        }
        if matches!(marker, 1 | RST0..=SOI) {
            return Ok(Some((marker, &[])));
        }
        let cut = || broken("it ends within a header");
        let (length, rest) = self.rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let body = length.checked_sub(2).and_then(|length| rest.get(..length)).ok_or_else(cut)?;
        self.rest = &rest[body.len()..];
        Ok(Some((marker, body)))
    }

    /// The entropy-coded bytes that follow a scan's header, cut at restarts.
    pub(super) fn entropy_coded(&mut self) -> Vec<&'a [u8]> {
        let (mut intervals, mut start, mut at) = (Vec::new(), 0, 0);
        let bytes = self.rest;
        loop {
            let Some(found) = bytes[at..].iter().position(|byte| *byte == 0xFF) else {
                at = bytes.len();
                break;
            };
            at += found;
            match bytes.get(at + 1) {
                Some(0) => at += 2,
                Some(0xFF) => at += 1,
                Some(RST0..=RST7) => {
                    intervals.push(&bytes[start..at]);
                    at += 2;
                    start = at;
                }
                Some(_) => break,
                None => {
                    at = bytes.len();
                    break;
                }
            }
        }
        intervals.push(&bytes[start..at]);
        self.rest = &bytes[at..];
        intervals
    }
}
