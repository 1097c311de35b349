//! What each head means where it stands: the standard's rules and those for what the field does to them.

use filmgate_model::{Tag, VR, transfer_syntax::Encoding};

use super::{
    BulkKind, BulkValue, Capture, Container, Kind, NativeLayout, Oddity, Reading, Scanner, Sink, Span, State,
    Value, capture_of,
    fragments::is_encapsulated,
    head::{self, Form, Head, ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER},
    notes::BULK_VALUES_MAX,
    sniff,
};

/// Data Set Trailing Padding (PS3.10 7.2).
const TRAILING_PADDING: Tag = Tag(0xfffc, 0xfffc);

impl Scanner {
    /// As many bytes as a head may take are there; more are asked for, or the head is placed.
    pub(super) fn on_head(&mut self, sink: &mut impl Sink) {
        if self.header_bytes > self.limits.header_bytes_max {
            self.note(Oddity::BeyondHeaderBytes);
            return self.give_up(Reading::Read, sink);
        }
        loop {
            let encoding = self.encoding_here();
            let Some(head) = head::decode(self.head.get(..self.head_have).unwrap_or_default(), encoding)
            else {
                self.head_want = head::HEAD_BYTES_MAX;
                return;
            };
            // Each round leaves one container, so this ends.
            if self.place(&head, encoding, sink) {
                return;
            }
        }
    }

    /// The encoding of the element whose head is held.
    fn encoding_here(&mut self) -> Encoding {
        let first = self.head;
        match self.stack.last_mut() {
            Some(Container { kind: Kind::Item { fresh, .. }, encoding, .. }) => {
                if *fresh && first.get(..2) != Some(&[0xfe, 0xff]) {
                    *fresh = false;
                    *encoding = sniff::item_encoding(*encoding, &first);
                }
                *encoding
            }
            Some(container) => container.encoding,
            // File meta information that was left in front of a dataset is explicit in any (PS3.10 7.1).
            None if first.starts_with(&[2, 0]) => sniff::item_encoding(self.encoding, &first),
            None => self.encoding,
        }
    }

    /// False when the head does not belong to the innermost container, which was left for it.
    fn place(&mut self, head: &Head, encoding: Encoding, sink: &mut impl Sink) -> bool {
        match self.stack.last().map(|container| (container.kind, container.end)) {
            Some((Kind::Fragments(fragments), _)) => self.place_in_fragments(head, fragments, sink),
            Some((Kind::Sequence(_), end)) => self.place_in_sequence(head, end, sink),
            Some((Kind::Item { .. }, end)) => self.place_in_item(head, end, encoding, sink),
            None => {
                self.place_at_top(head, encoding, sink);
                true
            }
        }
    }

    /// A sequence: items and a delimiter (PS3.5 7.5).
    fn place_in_sequence(&mut self, head: &Head, end: Option<u64>, sink: &mut impl Sink) -> bool {
        match head.tag {
            ITEM => self.enter_item(head, sink),
            SEQUENCE_DELIMITER if end.is_none() => {
                self.emit_head(Span::Header, sink);
                self.pop(sink);
                self.boundary(sink);
            }
            tag if tag.group() == 0xfffe => self.stray(Span::Header, sink),
            // No item where the sequence says how long it is: stepped over as a whole.
            _ if end.is_some() => {
                self.note(Oddity::NoItem);
                self.emit_head(Span::Header, sink);
                self.step_over(end.unwrap_or(self.offset).saturating_sub(self.offset));
                self.skip_empty(sink);
            }
            // The sequence has ended without a delimiter.
            _ => {
                self.note(Oddity::MissingDelimiter);
                self.pop(sink);
                return false;
            }
        }
        true
    }

    fn place_in_item(
        &mut self,
        head: &Head,
        end: Option<u64>,
        encoding: Encoding,
        sink: &mut impl Sink,
    ) -> bool {
        match head.tag {
            ITEM_DELIMITER if end.is_none() => {
                self.emit_head(Span::Header, sink);
                self.pop(sink);
                self.boundary(sink);
            }
            // The next item, or the end of the sequence, without the delimiter of this one.
            ITEM | SEQUENCE_DELIMITER if end.is_none() => {
                self.note(Oddity::MissingDelimiter);
                self.pop(sink);
                return false;
            }
            ITEM => self.stray_item(head, sink),
            tag if tag.group() == 0xfffe => self.stray(Span::Header, sink),
            _ => self.element(head, encoding, sink),
        }
        true
    }

    fn place_at_top(&mut self, head: &Head, encoding: Encoding, sink: &mut impl Sink) {
        match head.tag {
            ITEM => self.stray_item(head, sink),
            tag if tag.group() == 0xfffe => self.stray(Span::Header, sink),
            // Zeros behind the last element; in front of any they are no dataset.
            Tag(0, 0) if head.length == Some(0) => {
                self.note(Oddity::TrailingPadding);
                let empty = self.elements == 0;
                let reading = if empty { Reading::Broken(NOTHING.to_owned()) } else { Reading::Read };
                self.give_up(reading, sink);
            }
            _ => self.element(head, encoding, sink),
        }
    }

    /// A delimiter where none belongs has no meaning and, whatever its length says, no value (PS3.5 7.5).
    pub(super) fn stray(&mut self, span: Span, sink: &mut impl Sink) {
        self.note(Oddity::StrayDelimiter);
        self.emit_head(span, sink);
        self.boundary(sink);
    }

    /// An item outside of a sequence is entered, so that its elements are not taken for those around it.
    fn stray_item(&mut self, head: &Head, sink: &mut impl Sink) {
        self.note(Oddity::StrayDelimiter);
        self.enter_item(head, sink);
    }

    fn enter_item(&mut self, head: &Head, sink: &mut impl Sink) {
        let encoding = self.stack.last().map_or(self.encoding, |container| container.encoding);
        let number = self.stack.last().map_or(0, |container| container.items);
        if let Some(container) = self.stack.last_mut() {
            container.items = container.items.saturating_add(1);
        }
        self.enter(Kind::Item { number, fresh: true }, head, encoding, sink);
    }

    /// Enters a container, or passes it by when it is too deep.
    fn enter(&mut self, kind: Kind, head: &Head, encoding: Encoding, sink: &mut impl Sink) {
        let too_deep = self.stack.len() >= 2 * self.limits.depth_max;
        if too_deep && head.length.is_none() {
            self.note(Oddity::BeyondDepth);
            return self.give_up(Reading::Read, sink);
        }
        self.emit_head(Span::Header, sink);
        let length = head.length.map(|length| self.clip(length.into()));
        if too_deep {
            self.note(Oddity::BeyondDepth);
            self.step_over(length.unwrap_or(0));
            return self.skip_empty(sink);
        }
        match kind {
            Kind::Sequence(tag) => sink.sequence_begins(tag),
            Kind::Item { .. } => sink.item_begins(),
            Kind::Fragments(_) => {}
        }
        let end = length.map(|length| self.offset + length);
        let bound = end.unwrap_or(self.bound());
        self.stack.push(Container { kind, end, bound, encoding, items: 0 });
        self.boundary(sink);
    }

    /// A step over nothing has already been made.
    fn skip_empty(&mut self, sink: &mut impl Sink) {
        if let State::Value(Value { remaining: 0, .. }) = self.state {
            self.boundary(sink);
        }
    }

    pub(super) fn bound(&self) -> u64 {
        self.stack.last().map_or(u64::MAX, |container| container.bound)
    }

    /// A length, cut to what the container around has left: the outer length is believed.
    pub(super) fn clip(&mut self, length: u64) -> u64 {
        let left = self.bound().saturating_sub(self.offset);
        if length > left {
            self.note(Oddity::LengthMismatch);
        }
        length.min(left)
    }

    fn element(&mut self, head: &Head, encoding: Encoding, sink: &mut impl Sink) {
        self.note_form(head);
        let vr = head.vr.unwrap_or(VR::UN);
        match head.length {
            None if is_encapsulated(head.tag, vr) => self.enter_fragments(head, encoding, sink),
            None => {
                // An undefined length under UN hides a sequence in implicit VR little endian (PS3.5 6.2.2 note 4).
                let inner = if vr == VR::UN { Encoding::ImplicitLittle } else { encoding };
                self.enter(Kind::Sequence(head.tag), head, inner, sink);
            }
            Some(length) => match self.sequence_inside(head.tag, vr, length, encoding) {
                Some(inner) => self.enter(Kind::Sequence(head.tag), head, inner, sink),
                None => self.value(head, vr, encoding, sink),
            },
        }
    }

    fn note_form(&mut self, head: &Head) {
        match head.form {
            Form::Regular => {}
            Form::ImplicitInExplicit => self.note(Oddity::ImplicitElement),
            Form::UnknownVr => self.note(Oddity::UnknownVr),
        }
        if head.length.is_some_and(|length| length % 2 == 1) {
            self.note(Oddity::OddLength);
        }
    }

    /// The encoding inside a sequence of defined length that is worth entering.
    fn sequence_inside(&self, tag: Tag, vr: VR, length: u32, encoding: Encoding) -> Option<Encoding> {
        let long = u64::from(length) > self.limits.non_bulk_value_bytes_max;
        let deep = self.stack.len() >= 2 * self.limits.depth_max;
        match vr {
            VR::SQ if (long || self.limits.enter_all) && !deep => Some(encoding),
            // A known sequence under UN was once implicit VR little endian (PS3.5 6.2.2 note 2).
            VR::UN if !long && self.limits.enter_all && !deep && head::dictionary_vr(tag) == VR::SQ => {
                Some(Encoding::ImplicitLittle)
            }
            _ => None,
        }
    }

    /// True once for each kind of pixel data of the top level: a second one gets no chunks of its own.
    pub(super) fn is_first_pixel_data(&mut self, tag: Tag) -> bool {
        if !self.stack.is_empty() || !head::is_pixel_data(tag) {
            return false;
        }
        let first = !self.pixels_seen.contains(&tag);
        if first {
            self.pixels_seen.push(tag);
        } else {
            self.note(Oddity::RepeatedPixelData);
        }
        first
    }

    fn value(&mut self, head: &Head, vr: VR, encoding: Encoding, sink: &mut impl Sink) {
        self.emit_head(Span::Header, sink);
        let top_level = self.stack.is_empty();
        let length = self.clip(head.length.unwrap_or(0).into());
        let big_endian = encoding == Encoding::ExplicitBig;
        let span = if length > 0 && self.is_first_pixel_data(head.tag) {
            sink.native_begins(NativeLayout::of(&self.scan.facts, head.tag, big_endian));
            self.note_bulk(head.tag, length, BulkKind::Native);
            Span::Pixels
        } else if length > self.limits.non_bulk_value_bytes_max {
            self.note_bulk(head.tag, length, BulkKind::Plain);
            Span::Bulk
        } else {
            Span::Header
        };
        let capture =
            if top_level { capture_of(&self.scan, head.tag, vr, length, encoding) } else { Capture::Nothing };
        sink.value_begins(head, big_endian, self.offset);
        self.begin_value(Value { tag: head.tag, remaining: length, span, capture, announced: true }, sink);
    }

    pub(super) fn note_bulk(&mut self, tag: Tag, bytes: u64, kind: BulkKind) {
        if self.scan.bulk_values.len() >= BULK_VALUES_MAX {
            return;
        }
        let mut within = Vec::new();
        let mut around = None;
        for container in &self.stack {
            match container.kind {
                Kind::Sequence(tag) => around = Some(tag),
                Kind::Item { number, .. } => within.push((around.take().unwrap_or(ITEM), number)),
                Kind::Fragments(_) => {}
            }
        }
        self.scan.bulk_values.push(BulkValue { within, tag, dataset_offset: self.offset, bytes, kind });
    }

    /// Keeps what was captured of a value that has passed.
    pub(super) fn keep(&mut self, value: Value) {
        let turned =
            |unit: usize, bytes: &mut Vec<u8>| bytes.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
        match value.capture {
            Capture::Nothing => {}
            Capture::Fact { turn } => {
                if turn {
                    turned(2, &mut self.captured);
                }
                self.scan.facts.insert(value.tag, &self.captured);
            }
            Capture::BasicOffsetTable => {
                let table = std::mem::take(&mut self.captured);
                self.scan.pixel_data.get_or_insert_default().basic_offset_table = Some(table);
            }
            Capture::ExtendedOffsetTable { turn } => {
                let table = self.take_table(turn);
                self.scan.pixel_data.get_or_insert_default().extended_offset_table = Some(table);
            }
            Capture::ExtendedOffsetTableLengths { turn } => {
                let table = self.take_table(turn);
                self.scan.pixel_data.get_or_insert_default().extended_offset_table_lengths = Some(table);
            }
        }
    }

    fn take_table(&mut self, turn: bool) -> Vec<u8> {
        let mut table = std::mem::take(&mut self.captured);
        if turn {
            table.chunks_exact_mut(8).for_each(<[u8]>::reverse);
        }
        table
    }

    /// How a dataset that was followed to its last byte reads.
    pub(super) fn reading_at_end(&mut self) -> Reading {
        if self.head_have > 0 {
            // Up to eleven bytes of zeros behind the last element are padding; anything else is the head of one that is
            // not there.
            let zeros = self.head.iter().take(self.head_have).all(|&byte| byte == 0);
            if self.elements == 0 || !zeros || !self.stack.is_empty() {
                return Reading::Broken("cut off inside the head of an element".to_owned());
            }
            self.note(Oddity::TrailingPadding);
        }
        if let State::Value(Value { tag, remaining, .. }) = self.state {
            // Padding may stop anywhere.
            return if tag == TRAILING_PADDING {
                Reading::Read
            } else {
                Reading::Broken(format!("{remaining} bytes missing of {tag}"))
            };
        }
        if self.stack.iter().any(|container| container.end.is_some()) {
            return Reading::Broken("cut off inside a sequence of defined length".to_owned());
        }
        if !self.stack.is_empty() {
            self.note(Oddity::MissingDelimiter);
        }
        let empty = self.elements == 0 && self.stack.is_empty();
        if empty { Reading::Broken(NOTHING.to_owned()) } else { Reading::Read }
    }
}

/// Why a dataset without a single element is broken.
const NOTHING: &str = "no element found";
