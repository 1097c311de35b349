//! A dataset's elements read again from its Header chunks alone, as a run of events.

use filmgate_model::{Tag, VR, tags, transfer_syntax::Encoding};

use crate::{
    error::{Error, malformed},
    record::{RecordTable, SealOptions},
    scan::{
        BulkKind, Limits, Scanner, Sink, Span,
        head::{self, Head},
        inflate::Inflater,
    },
};

/// A value as a visitor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// The bytes as received, except that numbers of a big-endian dataset are turned to little endian. Character sets,
    /// padding and multiplicity are the visitor's matter.
    Bytes(&'a [u8]),
    /// It lies in the chunks of this range of the dataset (of the inflated one, where that is deflated) and was not read.
    Bulk {
        /// Where it begins.
        dataset_offset: u64,
        /// How long it is; items and delimiter included where it is encapsulated.
        bytes: u64,
        /// What it holds.
        kind: BulkKind,
    },
}

/// Who is told of the elements. Starts and ends are always balanced.
pub trait Visitor {
    /// An element that is no sequence.
    fn element(&mut self, tag: Tag, vr: VR, value: Value<'_>);
    /// A sequence begins.
    fn sequence_start(&mut self, _tag: Tag) {}
    /// An item of the innermost sequence begins.
    fn item_start(&mut self) {}
    /// It ends.
    fn item_end(&mut self) {}
    /// The innermost sequence ends.
    fn sequence_end(&mut self) {}
}

/// Tells `visitor` of every element, in dataset order. `header_chunks` are the opened Header chunks, one after another.
///
/// Tolerant as sealing is: what could not be read then ends the visit without an error. Iterative; memory is that of
/// the longest value that is no bulk.
///
/// # Errors
/// When `header_chunks` are not as long as the table's Header chunks together.
pub fn visit(table: &RecordTable, header_chunks: &[u8], visitor: &mut impl Visitor) -> Result<(), Error> {
    let total: u64 = table.header_chunks().map(|(_, chunk)| u64::from(chunk.raw_bytes)).sum();
    if total != header_chunks.len() as u64 {
        return Err(malformed("header chunks", "have another length than the table says"));
    }
    let Some(encoding) = table.encoding else { return Ok(()) };
    let defaults = SealOptions::default();
    let limits = Limits {
        non_bulk_value_bytes_max: table.non_bulk_value_bytes_max,
        header_bytes_max: u64::MAX,
        depth_max: defaults.depth_max,
        enter_all: true,
    };
    let signed = table.facts.number(tags::PIXEL_REPRESENTATION) == Some(1);
    let mut scanner = Scanner::new(encoding, limits);
    let mut events = Events { visitor, signed, depth: 0, current: None, bytes: Vec::new() };
    if encoding == Encoding::Deflated {
        let mut inflater = Inflater::new(defaults.inflated_bytes_max);
        inflater.push(header_chunks, |inflated| scanner.push(inflated, &mut events));
    } else {
        push_chunks(table, header_chunks, &mut scanner, &mut events);
    }
    scanner.finish(&mut events);
    Ok(())
}

/// Header chunks are read, what lies between them is stepped over.
fn push_chunks(table: &RecordTable, mut header: &[u8], scanner: &mut Scanner, events: &mut impl Sink) {
    let mut offset = 0u64;
    for (_, chunk) in table.header_chunks() {
        scanner.skip(chunk.dataset_offset.saturating_sub(offset), events);
        let (now, later) = header.split_at(header.len().min(chunk.raw_bytes as usize));
        scanner.push(now, events);
        header = later;
        offset = chunk.dataset_offset.saturating_add(chunk.raw_bytes.into());
    }
    scanner.skip(table.dataset_bytes.saturating_sub(offset), events);
}

/// The scanner's events as a visitor's.
struct Events<'v, V> {
    visitor: &'v mut V,
    /// Pixels are signed, and with them the values of some tags.
    signed: bool,
    depth: usize,
    current: Option<Current>,
    bytes: Vec<u8>,
}

struct Current {
    tag: Tag,
    written_vr: VR,
    vr: VR,
    big_endian: bool,
    offset: u64,
    is_encapsulated: bool,
}

impl<V: Visitor> Events<'_, V> {
    fn vr_of(&self, head: &Head) -> VR {
        match head.vr.unwrap_or(VR::UN) {
            // What an older writer did not know may be known by now (PS3.5 6.2.2 note 2).
            VR::UN => self.signed_vr(head.tag, head::dictionary_vr(head.tag)),
            vr if head.is_stated => vr,
            vr => self.signed_vr(head.tag, vr),
        }
    }

    fn signed_vr(&self, tag: Tag, vr: VR) -> VR {
        match vr {
            VR::US if self.signed && head::follows_pixel_sign(tag) => VR::SS,
            // A sequence that was not entered is bytes.
            VR::SQ => VR::UN,
            vr => vr,
        }
    }

    fn kind_of(&self, current: &Current) -> BulkKind {
        match (self.depth, head::is_pixel_data(current.tag), current.is_encapsulated) {
            (_, _, true) => BulkKind::Encapsulated,
            (0, true, false) => BulkKind::Native,
            _ => BulkKind::Plain,
        }
    }
}

impl<V: Visitor> Sink for Events<'_, V> {
    fn bytes(&mut self, span: Span, bytes: &[u8]) {
        // Spans bound what is collected: a value in the header is a short one.
        if span == Span::Header && self.current.as_ref().is_some_and(|current| !current.is_encapsulated) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn value_begins(&mut self, head: &Head, big_endian: bool, value_offset: u64) {
        self.bytes.clear();
        let vr = self.vr_of(head);
        self.current = Some(Current {
            tag: head.tag,
            written_vr: head.vr.unwrap_or(VR::UN),
            vr: if vr == VR::SQ { VR::UN } else { vr },
            big_endian,
            offset: value_offset,
            is_encapsulated: head.length.is_none(),
        });
    }

    fn value_ends(&mut self, end_offset: u64) {
        let Some(current) = self.current.take() else { return };
        let length = end_offset.saturating_sub(current.offset);
        if current.is_encapsulated || self.bytes.len() as u64 != length {
            let kind = self.kind_of(&current);
            let value = Value::Bulk { dataset_offset: current.offset, bytes: length, kind };
            return self.visitor.element(current.tag, current.vr, value);
        }
        if current.big_endian {
            let unit = head::unit_bytes(current.written_vr);
            // A tag is two numbers of two bytes each (PS3.5 7.3).
            self.bytes.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
        }
        self.visitor.element(current.tag, current.vr, Value::Bytes(&self.bytes));
    }

    fn sequence_begins(&mut self, tag: Tag) {
        self.depth += 1;
        self.visitor.sequence_start(tag);
    }

    fn item_begins(&mut self) {
        self.visitor.item_start();
    }

    fn item_ends(&mut self) {
        self.visitor.item_end();
    }

    fn sequence_ends(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.visitor.sequence_end();
    }
}
