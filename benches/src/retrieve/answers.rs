//! What must be in an answer, or there is no figure.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use dicom_object::from_reader;
use serde::Serialize;
use serde_json::Value;

use crate::studies::{Slice, digest};

/// What an answer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "expected", rename_all = "lowercase")]
pub(super) enum Holds {
    /// A list of so many datasets.
    Datasets(usize),
    /// One part whose content has this SHA-256.
    Frame(String),
    /// A part for each instance: the SHA-256 of pixel data by SOP Instance UID.
    Instances(BTreeMap<String, String>),
    /// A JPEG of this width and height.
    Picture(u16, u16),
}

impl Holds {
    /// # Errors
    /// When it is not so.
    pub(super) fn check(&self, content_type: &str, body: &[u8]) -> Result<()> {
        match self {
            Self::Datasets(expected) => {
                let list: Vec<Value> = serde_json::from_slice(body).context("a list in DICOM JSON")?;
                ensure!(list.len() == *expected, "{} datasets instead of {expected}", list.len());
            }
            Self::Frame(expected) => {
                let parts = parts(content_type, body)?;
                ensure!(parts.len() == 1, "{} parts instead of a frame", parts.len());
                ensure!(digest(parts[0]) == *expected, "a frame is not what was sent");
            }
            Self::Instances(expected) => {
                let slices =
                    parts(content_type, body)?.into_iter().map(|part| Slice::of(&from_reader(part)?));
                let slices =
                    slices.map(|slice| slice.map(|slice| (slice.sop_instance_uid, slice.pixel_digest)));
                let slices = slices.collect::<Result<Vec<_>>>()?;
                ensure!(slices.len() == expected.len(), "{} instances, not {}", slices.len(), expected.len());
                ensure!(slices.into_iter().collect::<BTreeMap<_, _>>() == *expected, "not what was sent");
            }
            Self::Picture(width, height) => {
                let size = jpeg_size(body).context("a JPEG")?;
                ensure!(size == (*width, *height), "a picture of {size:?}");
            }
        }
        Ok(())
    }
}

/// The contents of the parts of a multipart body (RFC 2046 5.1.1).
fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<&'a [u8]>> {
    let (_, boundary) = content_type.split_once("boundary=").context("a boundary")?;
    let boundary = boundary.split(';').next().unwrap_or_default().trim().trim_matches('"');
    ensure!(!boundary.is_empty(), "an empty boundary");
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = &body[find(body, delimiter.as_bytes()).context("a first part")? + delimiter.len()..];
    while !rest.starts_with(b"--") {
        let end = find(rest, format!("\r\n{delimiter}").as_bytes()).context("the end of a part")?;
        let content = find(&rest[..end], b"\r\n\r\n").context("the head of a part")? + 4;
        parts.push(&rest[content..end]);
        rest = &rest[end + 2 + delimiter.len()..];
    }
    Ok(parts)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Width and height, from the frame header (ITU-T T.81 B.2.2).
fn jpeg_size(body: &[u8]) -> Option<(u16, u16)> {
    let mut rest = body.strip_prefix(b"\xff\xd8")?;
    loop {
        let (&[0xff, marker, high, low], _) = rest.split_first_chunk()? else { return None };
        if matches!(marker, 0xc0..=0xc2) {
            let &[height, more, width, last] = rest.get(5..9)?.first_chunk()?;
            return Some((u16::from_be_bytes([width, last]), u16::from_be_bytes([height, more])));
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low]))..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/related; type=\"application/octet-stream\"; boundary=\"b-1\"";

    #[test]
    fn parts_are_told_apart_by_their_boundary() {
        let body = b"\r\n--b-1\r\nA: 1\r\n\r\none\r\n--b-2\r\n--b-1\r\nA: 2\r\n\r\n\r\n--b-1--";
        assert_eq!(parts(TYPE, body).expect("parts"), [&b"one\r\n--b-2"[..], b""]);
        for cut in [&body[..body.len() - 7], b"", b"--b-1\r\nA: 1\r\n--b-1--"] {
            assert!(parts(TYPE, cut).is_err(), "{}", cut.escape_ascii());
        }
    }

    #[test]
    fn what_was_not_sent_is_noticed() {
        let frame = Holds::Frame(digest(b"one"));
        assert!(frame.check(TYPE, b"--b-1\r\nA: 1\r\n\r\none\r\n--b-1--").is_ok());
        assert!(frame.check(TYPE, b"--b-1\r\nA: 1\r\n\r\ntwo\r\n--b-1--").is_err());
        assert!(Holds::Datasets(2).check("", b"[{},{}]").is_ok());
        assert!(Holds::Datasets(2).check("", b"[{}]").is_err());
        let jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08\x01\x00\x02\x00\x01";
        assert!(Holds::Picture(512, 256).check("", jpeg).is_ok());
        assert!(Holds::Picture(256, 256).check("", jpeg).is_err());
    }
}
