//! Encapsulated pixel data: an offset table, fragments, a delimiter (PS3.5 A.4).

use filmgate_model::{Tag, VR, transfer_syntax::Encoding};

use super::{
    BulkKind, Capture, Container, Fragment, Fragments, Kind, Oddity, Reading, Scanner, Sink, Span, Value,
    head::{self, Head, ITEM, SEQUENCE_DELIMITER},
    notes::{FRAGMENTS_MAX, OFFSET_TABLE_BYTES_MAX},
};

impl Scanner {
    /// Encapsulated pixel data: items and a delimiter, nothing else (PS3.5 A.4).
    pub(super) fn place_in_fragments(
        &mut self,
        head: &Head,
        fragments: Fragments,
        sink: &mut impl Sink,
    ) -> bool {
        let span = if fragments.top_level { Span::Bulk } else { Span::Header };
        match (head.tag, head.length) {
            (ITEM, Some(length)) => self.enter_fragment(length, fragments, sink),
            (ITEM, None) => {
                let reason = "a fragment of undefined length".to_owned();
                self.give_up(Reading::Broken(reason), sink);
            }
            (SEQUENCE_DELIMITER, _) => {
                self.emit_head(span, sink);
                self.pop(sink);
                self.boundary(sink);
            }
            (tag, _) if tag.group() == 0xfffe => self.stray(span, sink),
            _ => {
                self.note(Oddity::MissingDelimiter);
                self.pop(sink);
                return false;
            }
        }
        true
    }

    fn enter_fragment(&mut self, length: u32, fragments: Fragments, sink: &mut impl Sink) {
        let is_table = fragments.items == 0;
        if let Some(Container { kind: Kind::Fragments(fragments), .. }) = self.stack.last_mut() {
            fragments.items += 1;
        }
        if fragments.top_level && !is_table {
            sink.fragment_begins();
        }
        self.emit_head(if fragments.top_level { Span::Bulk } else { Span::Header }, sink);
        let long = u64::from(length) > self.limits.non_bulk_value_bytes_max;
        let span = match (fragments.top_level, is_table) {
            (true, false) => Span::Pixels,
            (true, true) => Span::Bulk,
            (false, _) if long => Span::Bulk,
            (false, _) => Span::Header,
        };
        if fragments.top_level {
            self.note_fragment(length, is_table);
        } else if long {
            self.note_bulk(fragments.tag, length.into(), BulkKind::Plain);
        }
        let kept = fragments.top_level && is_table && length as usize <= OFFSET_TABLE_BYTES_MAX;
        let capture = if kept { Capture::BasicOffsetTable } else { Capture::Nothing };
        let remaining = self.clip(length.into());
        self.begin_value(Value { tag: fragments.tag, remaining, span, capture, announced: false }, sink);
    }

    fn note_fragment(&mut self, length: u32, is_table: bool) {
        let dataset_offset = self.offset;
        let pixel_data = self.scan.pixel_data.get_or_insert_default();
        if !is_table {
            pixel_data.fragments_total += 1;
            if pixel_data.fragments.len() < FRAGMENTS_MAX {
                pixel_data.fragments.push(Fragment { dataset_offset, bytes: length });
            }
        }
    }

    pub(super) fn enter_fragments(&mut self, head: &Head, encoding: Encoding, sink: &mut impl Sink) {
        if self.stack.len() >= 2 * self.limits.depth_max {
            self.note(Oddity::BeyondDepth);
            return self.give_up(Reading::Read, sink);
        }
        self.emit_head(Span::Header, sink);
        let top_level = self.is_first_pixel_data(head.tag);
        if top_level {
            self.scan.pixel_data.get_or_insert_default();
            self.note_bulk(head.tag, 0, BulkKind::Encapsulated);
        }
        sink.value_begins(head, encoding == Encoding::ExplicitBig, self.offset);
        let kind = Kind::Fragments(Fragments { tag: head.tag, top_level, items: 0 });
        let bound = self.bound();
        self.stack.push(Container { kind, end: None, bound, encoding, items: 0 });
        self.boundary(sink);
    }

    /// The length of encapsulated pixel data is known when it has passed.
    pub(super) fn close_fragments(&mut self, fragments: Fragments) {
        let offset = self.offset;
        if fragments.top_level
            && let Some(bulk) = self
                .scan
                .bulk_values
                .iter_mut()
                .rev()
                .find(|bulk| bulk.kind == BulkKind::Encapsulated && bulk.tag == fragments.tag)
        {
            bulk.bytes = offset.saturating_sub(bulk.dataset_offset);
        }
    }
}

/// True for a value of undefined length that is made of fragments (PS3.5 A.4), not of items with elements.
pub(super) fn is_encapsulated(tag: Tag, vr: VR) -> bool {
    head::is_pixel_data(tag) || matches!(vr, VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV)
}
