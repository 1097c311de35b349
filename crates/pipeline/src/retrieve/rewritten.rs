//! A dataset written anew as explicit VR little endian (PS3.5 A.2, A.4), with other pixels: how an instance leaves in another transfer
//! syntax than it came in. Every element but those that describe how pixels are encoded stays as it was, byte for byte; text stays
//! in its character set.
//!
//! The result is a list of pieces: bytes that are at hand, ranges of the stored dataset, and the place of the pixels. So nothing long
//! is ever held.

use std::ops::Range;

use filmgate_model::{Encoding, Tag, VR, tags};
use filmgate_seal::{RecordTable, Value, Visitor, unit_bytes};

use crate::Error;

const UNDEFINED: u32 = u32::MAX;
/// A value of a VR with a 16-bit length can be no longer (PS3.5 7.1.2).
const SHORT_VALUE_BYTES_MAX: usize = 0xfffe;

/// What stands where in a dataset that is written anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Elements, or heads of them.
    Bytes(Vec<u8>),
    /// A long value, as it is stored, with the bytes of each number that must be turned.
    Stored {
        /// Where it is.
        range: Range<u64>,
        /// 1 where it stays as it is.
        unit: usize,
    },
    /// The pixel data: its element, head and all.
    Pixels {
        /// As the dataset names it.
        tag: Tag,
        /// Its VR as it is stored.
        vr: VR,
        /// Its value as it is stored.
        range: Range<u64>,
    },
}

/// An attribute of the top level that says something else of the pixels written than of those stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) tag: Tag,
    pub(super) vr: VR,
    pub(super) value: Vec<u8>,
}

/// Writes events of the stored elements.
struct Rewriter {
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
    depth: usize,
    big_endian: bool,
    /// In the order of their tags.
    changed: std::iter::Peekable<std::vec::IntoIter<Changed>>,
}

/// The pieces of a record's dataset, `header` being its header chunks. `changed` replaces attributes of the top level.
pub(super) fn rewritten(
    table: &RecordTable,
    header: &[u8],
    mut changed: Vec<Changed>,
) -> Result<Vec<Piece>, Error> {
    changed.sort_by_key(|changed| changed.tag);
    let mut rewriter = Rewriter {
        pieces: Vec::new(),
        bytes: Vec::new(),
        depth: 0,
        big_endian: table.encoding == Some(Encoding::ExplicitBig),
        changed: changed.into_iter().peekable(),
    };
    filmgate_seal::visit(table, header, &mut rewriter)?;
    rewriter.change_before(Tag(u16::MAX, u16::MAX));
    rewriter.cut();
    Ok(rewriter.pieces)
}

impl Rewriter {
    /// What is gathered becomes a piece.
    fn cut(&mut self) {
        if !self.bytes.is_empty() {
            self.pieces.push(Piece::Bytes(std::mem::take(&mut self.bytes)));
        }
    }

    /// Writes what changed of attributes that the dataset did not have.
    fn change_before(&mut self, tag: Tag) {
        while let Some(changed) = self.changed.next_if(|changed| changed.tag < tag) {
            write_element(&mut self.bytes, changed.tag, changed.vr, &changed.value);
        }
    }

    /// True when an element of the top level is left out: what spoke of the encoding it came in.
    fn is_left_out(tag: Tag) -> bool {
        let offset_tables = [tags::EXTENDED_OFFSET_TABLE, tags::EXTENDED_OFFSET_TABLE_LENGTHS];
        tag.element() == 0 || tag == tags::DATA_SET_TRAILING_PADDING || offset_tables.contains(&tag)
    }
}

impl Visitor for Rewriter {
    fn element(&mut self, tag: Tag, vr: VR, value: Value<'_>) {
        if self.depth == 0 {
            self.change_before(tag);
            if let Some(changed) = self.changed.next_if(|changed| changed.tag == tag) {
                return write_element(&mut self.bytes, tag, changed.vr, &changed.value);
            }
            if Self::is_left_out(tag) {
                return;
            }
        } else if tag.element() == 0 {
            return;
        }
        match value {
            Value::Bytes(bytes) => write_element(&mut self.bytes, tag, vr, bytes),
            Value::Bulk { dataset_offset, bytes, kind } => {
                let range = dataset_offset..dataset_offset.saturating_add(bytes);
                let pixels = kind != filmgate_seal::BulkKind::Plain && self.depth == 0;
                if pixels {
                    self.cut();
                    return self.pieces.push(Piece::Pixels { tag, vr, range });
                }
                // A nested value of fragments goes as it is, delimiter and all: an icon that nobody converts.
                let encapsulated = kind == filmgate_seal::BulkKind::Encapsulated;
                let length = u32::try_from(bytes).ok().filter(|_| !encapsulated);
                let padding = length.is_some_and(|length| length % 2 == 1);
                let stated = length.map_or(UNDEFINED, |length| length.saturating_add(padding.into()));
                write_head(&mut self.bytes, tag, vr, stated);
                self.cut();
                let unit = if self.big_endian { unit_bytes(vr) } else { 1 };
                self.pieces.push(Piece::Stored { range, unit });
                if padding {
                    self.bytes.push(0);
                }
            }
        }
    }

    fn sequence_start(&mut self, tag: Tag) {
        if self.depth == 0 {
            self.change_before(tag);
        }
        self.depth += 1;
        write_head(&mut self.bytes, tag, VR::SQ, UNDEFINED);
    }

    fn item_start(&mut self) {
        write_item_head(&mut self.bytes, UNDEFINED);
    }

    fn item_end(&mut self) {
        write_delimiter(&mut self.bytes, ITEM_DELIMITER);
    }

    fn sequence_end(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        write_delimiter(&mut self.bytes, SEQUENCE_DELIMITER);
    }
}

const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_DELIMITER: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_DELIMITER: Tag = Tag(0xfffe, 0xe0dd);

fn write_tag(out: &mut Vec<u8>, tag: Tag) {
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
}

/// The head of an item (PS3.5 7.5): of a sequence, or of a fragment.
pub(super) fn write_item_head(out: &mut Vec<u8>, length: u32) {
    write_tag(out, ITEM);
    out.extend_from_slice(&length.to_le_bytes());
}

/// What ends a value of undefined length.
pub(super) fn write_sequence_end(out: &mut Vec<u8>) {
    write_delimiter(out, SEQUENCE_DELIMITER);
}

fn write_delimiter(out: &mut Vec<u8>, tag: Tag) {
    write_tag(out, tag);
    out.extend_from_slice(&[0; 4]);
}

/// True for the VRs whose length takes 16 bits (PS3.5 7.1.2).
fn is_short(vr: VR) -> bool {
    use VR::*;
    !matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

/// The head of an element with an explicit VR.
pub(super) fn write_head(out: &mut Vec<u8>, tag: Tag, vr: VR, length: u32) {
    // A long value under a VR with a short length is said as unknown (PS3.5 6.2.2).
    let too_long = is_short(vr) && length as usize > SHORT_VALUE_BYTES_MAX;
    let vr = if too_long { VR::UN } else { vr };
    write_tag(out, tag);
    out.extend_from_slice(vr.to_string().as_bytes());
    if is_short(vr) {
        out.extend_from_slice(&(length as u16).to_le_bytes());
    } else {
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&length.to_le_bytes());
    }
}

fn write_element(out: &mut Vec<u8>, tag: Tag, vr: VR, value: &[u8]) {
    let odd = value.len() % 2 == 1;
    write_head(out, tag, vr, (value.len() + usize::from(odd)) as u32);
    out.extend_from_slice(value);
    if odd {
        // Text is padded with a space, UIDs and bytes with a zero (PS3.5 6.2).
        out.push(if matches!(vr, VR::UI | VR::OB | VR::UN) { 0 } else { b' ' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_as_long_as_their_vr_wants() {
        let head = |vr, length| {
            let mut out = Vec::new();
            write_head(&mut out, Tag(0x0028, 0x3006), vr, length);
            out
        };
        assert_eq!(head(VR::US, 6), b"\x28\0\x06\x30US\x06\0");
        assert_eq!(head(VR::OW, 6), b"\x28\0\x06\x30OW\0\0\x06\0\0\0");
        // 65,536 entries of two bytes do not fit a US any more.
        assert_eq!(head(VR::US, 0x2_0000), b"\x28\0\x06\x30UN\0\0\0\0\x02\0");
    }

    #[test]
    fn odd_values_are_padded_by_their_vr() {
        let element = |vr, value: &[u8]| {
            let mut out = Vec::new();
            write_element(&mut out, Tag(0x0008, 0x0018), vr, value);
            out.split_off(8)
        };
        assert_eq!(element(VR::UI, b"1.2"), b"1.2\0");
        assert_eq!(element(VR::CS, b"RGB"), b"RGB ");
        assert_eq!(element(VR::CS, b"MR"), b"MR");
    }
}
