//! Reads a dataset as it passes: where elements lie, which bytes are bulk, what the catalog wants to know.
//!
//! A step machine: bytes are pushed in any pieces, nothing is called recursively, and what is kept is bounded. A declared
//! length is counted down, never allocated. Whatever the bytes are, each is handed on exactly once and in order; trouble
//! only ends the reading, never the passing on.

mod fragments;
pub(crate) mod head;
pub(crate) mod inflate;
mod notes;
pub(crate) mod pixel;
mod rules;
pub(crate) mod sniff;

use filmgate_model::{FACT_BYTES_MAX, Facts, INDEXED_TAGS, Tag, VR, tags, transfer_syntax::Encoding};

pub use head::unit_bytes;
use head::{HEAD_BYTES_MAX, HEAD_BYTES_MIN, Head};
pub use inflate::{Inflater, Inflation};
pub use notes::{BULK_VALUES_MAX, FRAGMENTS_MAX, OFFSET_TABLE_BYTES_MAX};
pub use notes::{BulkKind, BulkValue, Fragment, Oddity, PixelData, Reading};
use pixel::NativeLayout;

/// What a run of bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// Element heads and short values.
    Header,
    /// Long values, and what frames the fragments of encapsulated pixel data.
    Bulk,
    /// Bulk that is pixels: native samples or the content of fragments, at the top level.
    Pixels,
}

/// Where scanned bytes and events go.
pub(crate) trait Sink {
    /// Every byte of the dataset, in order.
    fn bytes(&mut self, span: Span, bytes: &[u8]);
    /// Native pixels of the top level begin.
    fn native_begins(&mut self, _layout: NativeLayout) {}
    /// A fragment of top-level pixel data begins, its item head included.
    fn fragment_begins(&mut self) {}
    /// An element begins whose value is no sequence; encapsulated values have no length.
    fn value_begins(&mut self, _head: &Head, _big_endian: bool, _value_offset: u64) {}
    /// It ends, before `end_offset`.
    fn value_ends(&mut self, _end_offset: u64) {}
    fn sequence_begins(&mut self, _tag: Tag) {}
    fn item_begins(&mut self) {}
    fn item_ends(&mut self) {}
    fn sequence_ends(&mut self) {}
}

/// Bounds of a scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Longer values are bulk.
    pub(crate) non_bulk_value_bytes_max: u64,
    /// Beyond this the rest of the dataset is passed on unread.
    pub(crate) header_bytes_max: u64,
    /// Sequences within each other.
    pub(crate) depth_max: usize,
    /// Enters short sequences of defined length too, which are stepped over otherwise.
    pub(crate) enter_all: bool,
}

/// What a scan has found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) facts: Facts,
    pub(crate) reading: Reading,
    pub(crate) oddities: Vec<Oddity>,
    pub(crate) bulk_values: Vec<BulkValue>,
    pub(crate) pixel_data: Option<PixelData>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sequence(Tag),
    /// With its number, from 0, and whether its first element is still to come.
    Item {
        number: u32,
        fresh: bool,
    },
    Fragments(Fragments),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fragments {
    tag: Tag,
    /// The dataset's own pixel data, not that of an icon or the like.
    top_level: bool,
    /// Items so far: the first holds the basic offset table (PS3.5 A.4).
    items: u64,
}

#[derive(Debug, Clone, Copy)]
struct Container {
    kind: Kind,
    /// Where it ends by its own length.
    end: Option<u64>,
    /// Where the innermost container of defined length around its content ends.
    bound: u64,
    encoding: Encoding,
    /// Items entered so far, of a sequence.
    items: u32,
}

/// What is kept of the value that is passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Capture {
    Nothing,
    Fact { turn: bool },
    BasicOffsetTable,
    ExtendedOffsetTable { turn: bool },
    ExtendedOffsetTableLengths { turn: bool },
}

#[derive(Debug, Clone, Copy)]
struct Value {
    tag: Tag,
    remaining: u64,
    span: Span,
    capture: Capture,
    /// False for bytes that are stepped over without being an element.
    announced: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    Value(Value),
    /// Everything that is left passes unread.
    Rest,
}

pub(crate) struct Scanner {
    limits: Limits,
    encoding: Encoding,
    offset: u64,
    header_bytes: u64,
    head: [u8; HEAD_BYTES_MAX],
    head_have: usize,
    head_want: usize,
    state: State,
    stack: Vec<Container>,
    captured: Vec<u8>,
    elements: u64,
    /// Why reading ended before the dataset did.
    ended: Option<Reading>,
    pixels_seen: Vec<Tag>,
    scan: Scan,
}

impl Scanner {
    /// A scanner of a dataset in `encoding`; a deflated one is pushed inflated.
    pub(crate) fn new(encoding: Encoding, limits: Limits) -> Self {
        let encoding = if encoding == Encoding::Deflated { Encoding::ExplicitLittle } else { encoding };
        Self {
            limits,
            encoding,
            offset: 0,
            header_bytes: 0,
            head: [0; HEAD_BYTES_MAX],
            head_have: 0,
            head_want: HEAD_BYTES_MIN,
            state: State::Head,
            stack: Vec::new(),
            captured: Vec::new(),
            elements: 0,
            ended: None,
            pixels_seen: Vec::new(),
            scan: Scan::default(),
        }
    }

    /// Takes the next bytes of the dataset.
    pub(crate) fn push(&mut self, mut input: &[u8], sink: &mut impl Sink) {
        while !input.is_empty() {
            let used = match self.state {
                State::Head => self.take_head(input, sink),
                State::Value(value) => self.take_value(value, input, sink),
                State::Rest => {
                    self.emit(Span::Bulk, input, sink);
                    input.len()
                }
            };
            input = input.get(used..).unwrap_or_default();
        }
    }

    /// What the next bytes are and how many at least, while nothing but where they go has to be done with them:
    /// they may then bypass [`Scanner::push`], see [`Scanner::bypassed`].
    pub(crate) fn plain_bulk(&self) -> Option<(Span, u64)> {
        match self.state {
            State::Value(Value { span, capture: Capture::Nothing, remaining, .. })
                if span != Span::Header =>
            {
                Some((span, remaining))
            }
            State::Rest => Some((Span::Bulk, u64::MAX)),
            _ => None,
        }
    }

    /// The next `bytes`, no more than [`Scanner::plain_bulk`] gave, have gone where they go.
    pub(crate) fn bypassed(&mut self, bytes: u64, sink: &mut impl Sink) {
        self.offset += bytes;
        if let State::Value(value) = self.state {
            self.passed(value, bytes, sink);
        }
    }

    /// Steps over bulk bytes that are not at hand, when a stored header is read again.
    pub(crate) fn skip(&mut self, mut gap_bytes: u64, sink: &mut impl Sink) {
        if let State::Value(value) = self.state {
            let taken = value.remaining.min(gap_bytes);
            gap_bytes -= taken;
            self.offset += taken;
            self.passed(value, taken, sink);
        }
        let in_fragments = matches!(self.stack.last(), Some(Container { kind: Kind::Fragments(_), .. }));
        if gap_bytes > 0 && in_fragments && self.head_have == 0 {
            self.offset += gap_bytes;
            gap_bytes = 0;
            self.pop(sink);
            self.boundary(sink);
        }
        if gap_bytes > 0 {
            self.offset += gap_bytes;
            self.state = State::Rest;
        }
    }

    fn take_head(&mut self, input: &[u8], sink: &mut impl Sink) -> usize {
        let taken = input.len().min(self.head_want - self.head_have);
        for (place, byte) in self.head[self.head_have..].iter_mut().zip(&input[..taken]) {
            *place = *byte;
        }
        self.head_have += taken;
        if self.head_have == self.head_want {
            self.on_head(sink);
        }
        taken
    }

    fn take_value(&mut self, value: Value, input: &[u8], sink: &mut impl Sink) -> usize {
        let taken = usize::try_from(value.remaining).map_or(input.len(), |left| left.min(input.len()));
        let bytes = input.get(..taken).unwrap_or_default();
        match value.capture {
            Capture::Nothing => {}
            // One byte more tells that it is longer.
            Capture::Fact { .. } => {
                let room = (FACT_BYTES_MAX + 1).saturating_sub(self.captured.len());
                self.captured.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            }
            Capture::BasicOffsetTable
            | Capture::ExtendedOffsetTable { .. }
            | Capture::ExtendedOffsetTableLengths { .. } => {
                self.captured.extend_from_slice(bytes);
            }
        }
        self.emit(value.span, bytes, sink);
        self.passed(value, taken as u64, sink);
        taken
    }

    fn passed(&mut self, mut value: Value, taken: u64, sink: &mut impl Sink) {
        value.remaining -= taken;
        self.state = State::Value(value);
        if value.remaining == 0 {
            self.end_value(value, sink);
        }
    }

    fn emit(&mut self, span: Span, bytes: &[u8], sink: &mut impl Sink) {
        self.offset += bytes.len() as u64;
        if span == Span::Header {
            self.header_bytes += bytes.len() as u64;
        }
        if !bytes.is_empty() {
            sink.bytes(span, bytes);
        }
    }

    /// Hands on the head that has been held back until it was known where it belongs.
    fn emit_head(&mut self, span: Span, sink: &mut impl Sink) {
        let head = self.head;
        let have = self.head_have;
        self.head_have = 0;
        self.head_want = HEAD_BYTES_MIN;
        self.emit(span, head.get(..have).unwrap_or_default(), sink);
    }

    fn begin_value(&mut self, value: Value, sink: &mut impl Sink) {
        self.captured.clear();
        self.state = State::Value(value);
        if value.remaining == 0 {
            self.end_value(value, sink);
        }
    }

    fn end_value(&mut self, value: Value, sink: &mut impl Sink) {
        self.keep(value);
        if value.announced {
            self.elements += 1;
            sink.value_ends(self.offset);
        }
        self.boundary(sink);
    }

    /// Back between elements: leaves containers whose length is used up.
    fn boundary(&mut self, sink: &mut impl Sink) {
        self.state = State::Head;
        while let Some(end) = self.stack.last().and_then(|container| container.end) {
            if self.offset >= end {
                self.pop(sink);
                continue;
            }
            let left = end - self.offset;
            if left < HEAD_BYTES_MIN as u64 {
                // Too little for another element: stepped over with its container.
                self.note(Oddity::LengthMismatch);
                self.step_over(left);
            }
            break;
        }
    }

    fn step_over(&mut self, bytes: u64) {
        let value = Value {
            tag: head::ITEM,
            remaining: bytes,
            span: Span::Header,
            capture: Capture::Nothing,
            announced: false,
        };
        self.state = State::Value(value);
    }

    fn pop(&mut self, sink: &mut impl Sink) {
        let Some(container) = self.stack.pop() else { return };
        match container.kind {
            Kind::Sequence(_) => {
                self.elements += 1;
                sink.sequence_ends();
            }
            Kind::Item { .. } => sink.item_ends(),
            Kind::Fragments(fragments) => {
                self.elements += 1;
                self.close_fragments(fragments);
                sink.value_ends(self.offset);
            }
        }
    }

    /// Ends the reading; the rest of the dataset passes as bulk.
    fn give_up(&mut self, reading: Reading, sink: &mut impl Sink) {
        self.ended.get_or_insert(reading);
        self.emit_head(Span::Bulk, sink);
        self.state = State::Rest;
    }

    fn note(&mut self, oddity: Oddity) {
        if !self.scan.oddities.contains(&oddity) {
            self.scan.oddities.push(oddity);
        }
    }

    /// The dataset has ended.
    pub(crate) fn finish(mut self, sink: &mut impl Sink) -> Scan {
        let reading = self.ended.take().unwrap_or_else(|| self.reading_at_end());
        if self.head_have > 0 {
            self.emit_head(Span::Header, sink);
        }
        if let State::Value(value) = self.state
            && value.announced
        {
            sink.value_ends(self.offset);
        }
        while !self.stack.is_empty() {
            self.pop(sink);
        }
        self.scan.reading = reading;
        for bulk in &mut self.scan.bulk_values {
            bulk.bytes = bulk.bytes.min(self.offset.saturating_sub(bulk.dataset_offset));
        }
        self.scan
    }

    /// Bytes held at the moment, for tests of the bound.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.captured.capacity()
            + self.stack.capacity() * size_of::<Container>()
            + self.scan.bulk_values.capacity() * size_of::<BulkValue>()
            + self.scan.pixel_data.as_ref().map_or(0, PixelData::held_bytes)
    }
}

/// What of a top-level value is kept by its tag.
fn capture_of(scan: &Scan, tag: Tag, vr: VR, length: u64, encoding: Encoding) -> Capture {
    let turn = encoding == Encoding::ExplicitBig;
    let table_fits = length <= notes::OFFSET_TABLE_BYTES_MAX as u64;
    match tag {
        tags::EXTENDED_OFFSET_TABLE if table_fits => Capture::ExtendedOffsetTable { turn },
        tags::EXTENDED_OFFSET_TABLE_LENGTHS if table_fits => Capture::ExtendedOffsetTableLengths { turn },
        // The first counts where a tag comes twice.
        _ if INDEXED_TAGS.contains(&tag)
            && (length <= FACT_BYTES_MAX as u64 || Facts::keeps_beginning_of(tag))
            && scan.facts.raw(tag).is_none() =>
        {
            Capture::Fact { turn: turn && vr == VR::US }
        }
        _ => Capture::Nothing,
    }
}
