//! A record's elements as a dataset in memory: what rendering and film read. Pixel data is left out; the other long values, such
//! as look-up tables and overlays, are brought as far as a limit allows.

use filmgate_model::{
    Tag, VR, tags,
    text::{Charset, Hint},
};
use filmgate_seal::{BulkKind, Value, Visitor};

use dicom_core::{
    DataElement, Length, PrimitiveValue,
    value::{C, DataSetSequence},
};
use dicom_object::InMemDicomObject;

use crate::{Error, OpenRecord, metadata::HEADER_BYTES_MAX};

/// Bytes of long values that are brought into memory beside the header.
const LONG_VALUES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes that elements in memory may take, about: a few deflated bytes can hold a great many.
const ELEMENTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an element takes beside its value, about.
const ELEMENT_BYTES: usize = 128;

/// A dataset without its pixels.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its elements; text is decoded, numbers are numbers.
    pub elements: InMemDicomObject,
}

impl OpenRecord {
    /// Its elements in memory, without pixel data.
    ///
    /// # Errors
    /// When they cannot be fetched, or are more than is read of one instance.
    pub async fn dataset(&self) -> Result<Dataset, Error> {
        let header = self.header(HEADER_BYTES_MAX).await?;
        let mut builder = Builder::new(self.table().facts.charset_by(self.hint()), self.hint());
        filmgate_seal::visit(self.table(), &header, &mut builder)?;
        if builder.is_full() {
            return Err(Error::MetadataTooLong(ELEMENTS_BYTES_MAX));
        }
        let mut left = LONG_VALUES_BYTES_MAX;
        let long_values = std::mem::take(&mut builder.long_values);
        let mut elements = builder.finish();
        for long in long_values {
            if long.bytes > left {
                continue;
            }
            left -= long.bytes;
            let bytes = self.value_range(long.dataset_offset..long.dataset_offset + long.bytes).await?;
            let mut bytes = bytes.to_vec();
            if self.table().encoding == Some(filmgate_model::Encoding::ExplicitBig) {
                bytes.chunks_exact_mut(filmgate_seal::unit_bytes(long.vr)).for_each(<[u8]>::reverse);
            }
            long.put(&mut elements, &bytes);
        }
        Ok(Dataset { elements })
    }
}

/// A value that was not read along with the header.
struct LongValue {
    /// Sequences it stands in, outermost first, each with the number of the item.
    within: Vec<(Tag, usize)>,
    tag: Tag,
    vr: VR,
    dataset_offset: u64,
    bytes: u64,
}

impl LongValue {
    fn put(&self, elements: &mut InMemDicomObject, bytes: &[u8]) {
        let element = DataElement::new(self.tag, self.vr, value_of(self.vr, bytes, Charset::default()));
        let [outer, inner @ ..] = self.within.as_slice() else {
            elements.put(element);
            return;
        };
        let below = Self { within: inner.to_vec(), ..*self };
        // Depth is bounded by the scanner's.
        elements.update_value(outer.0, |value| {
            if let Some(item) = value.items_mut().and_then(|items| items.get_mut(outer.1)) {
                below.put(item, bytes);
            }
        });
    }
}

/// Builds a dataset out of the events of its elements.
struct Builder {
    hint: Hint,
    elements: Vec<DataElement<InMemDicomObject>>,
    /// Sequences that are open.
    open: Vec<Sequence>,
    /// Character sets in force, those of the items within each other last.
    character_sets: Vec<Charset>,
    long_values: Vec<LongValue>,
    /// What all of it takes in memory, about.
    bytes: usize,
}

struct Sequence {
    tag: Tag,
    items: Vec<InMemDicomObject>,
    /// Elements of the item that is open.
    elements: Vec<DataElement<InMemDicomObject>>,
    /// Character sets in force around it.
    character_sets: usize,
}

impl Builder {
    /// Of a dataset in a character set.
    fn new(charset: Charset, hint: Hint) -> Self {
        Self {
            hint,
            elements: Vec::new(),
            open: Vec::new(),
            character_sets: vec![charset],
            long_values: Vec::new(),
            bytes: 0,
        }
    }

    /// Past its limit nothing more is taken: what there is will not be used.
    fn is_full(&self) -> bool {
        self.bytes > ELEMENTS_BYTES_MAX
    }

    fn charset(&self) -> Charset {
        self.character_sets.last().copied().unwrap_or_default()
    }

    fn put(&mut self, element: DataElement<InMemDicomObject>) {
        match self.open.last_mut() {
            Some(sequence) => sequence.elements.push(element),
            None => self.elements.push(element),
        }
    }

    fn finish(mut self) -> InMemDicomObject {
        while !self.open.is_empty() {
            self.item_end();
            self.sequence_end();
        }
        InMemDicomObject::from_element_iter(self.elements)
    }
}

impl Visitor for Builder {
    fn element(&mut self, tag: Tag, vr: VR, value: Value<'_>) {
        self.bytes += ELEMENT_BYTES + if let Value::Bytes(bytes) = value { 2 * bytes.len() } else { 0 };
        if self.is_full() {
            return;
        }
        match value {
            Value::Bytes(bytes) => {
                // Of the dataset as a whole it is known, with what all of its text tells.
                if tag == tags::SPECIFIC_CHARACTER_SET && !self.open.is_empty() {
                    self.character_sets.push(Charset::of(bytes, [], self.hint));
                }
                let value = value_of(vr, bytes, self.charset());
                self.put(DataElement::new(tag, vr, value));
            }
            Value::Bulk { dataset_offset, bytes, kind: BulkKind::Plain } => {
                let within = self.open.iter().map(|sequence| (sequence.tag, sequence.items.len())).collect();
                self.long_values.push(LongValue { within, tag, vr, dataset_offset, bytes });
            }
            // That there are such pixels says how the samples are to be read.
            Value::Bulk { .. } => self.put(DataElement::new(tag, vr, PrimitiveValue::Empty)),
        }
    }

    fn sequence_start(&mut self, tag: Tag) {
        let character_sets = self.character_sets.len();
        self.open.push(Sequence { tag, items: Vec::new(), elements: Vec::new(), character_sets });
    }

    fn item_end(&mut self) {
        self.bytes += ELEMENT_BYTES;
        if let Some(sequence) = self.open.last_mut() {
            let elements = std::mem::take(&mut sequence.elements);
            if self.bytes <= ELEMENTS_BYTES_MAX {
                sequence.items.push(InMemDicomObject::from_element_iter(elements));
            }
            self.character_sets.truncate(sequence.character_sets);
        }
    }

    fn sequence_end(&mut self) {
        if let Some(sequence) = self.open.pop() {
            let value = DataSetSequence::new(sequence.items, Length::UNDEFINED);
            self.put(DataElement::new(sequence.tag, VR::SQ, value));
        }
    }
}

/// A value of a VR; numbers are little endian.
fn value_of(vr: VR, bytes: &[u8], charset: Charset) -> PrimitiveValue {
    if bytes.is_empty() {
        return PrimitiveValue::Empty;
    }
    let words2 = || bytes.chunks_exact(2).map(|word| [word[0], word[1]]);
    let words4 = || bytes.as_chunks::<4>().0.iter().copied();
    let words8 = || bytes.as_chunks::<8>().0.iter().copied();
    match vr {
        VR::US | VR::OW => PrimitiveValue::U16(words2().map(u16::from_le_bytes).collect()),
        VR::SS => PrimitiveValue::I16(words2().map(i16::from_le_bytes).collect()),
        VR::UL | VR::OL => PrimitiveValue::U32(words4().map(u32::from_le_bytes).collect()),
        VR::SL => PrimitiveValue::I32(words4().map(i32::from_le_bytes).collect()),
        VR::FL | VR::OF => PrimitiveValue::F32(words4().map(f32::from_le_bytes).collect()),
        VR::FD | VR::OD => PrimitiveValue::F64(words8().map(f64::from_le_bytes).collect()),
        VR::UV | VR::OV => PrimitiveValue::U64(words8().map(u64::from_le_bytes).collect()),
        VR::SV => PrimitiveValue::I64(words8().map(i64::from_le_bytes).collect()),
        VR::AT => PrimitiveValue::Tags(words4().map(tag_of).collect()),
        VR::OB | VR::UN | VR::SQ => PrimitiveValue::U8(C::from_slice(bytes)),
        _ => text_of(vr, bytes, charset),
    }
}

/// Text without its padding; several values apart, where the VR may have several (PS3.5 6.4).
fn text_of(vr: VR, bytes: &[u8], charset: Charset) -> PrimitiveValue {
    let text = charset.decode(vr, bytes).text;
    let trimmed = |text: &str| text.trim_matches([' ', '\0']).to_owned();
    match vr {
        VR::ST | VR::LT | VR::UT | VR::UR => PrimitiveValue::Str(trimmed(&text)),
        _ => PrimitiveValue::Strs(text.split('\\').map(trimmed).collect()),
    }
}

/// A group and an element, each little endian.
fn tag_of([a, b, c, d]: [u8; 4]) -> Tag {
    Tag(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}
