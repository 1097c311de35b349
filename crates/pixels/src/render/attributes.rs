//! Attributes, read as what they mean whatever they were written as.

use dicom_core::value::{PrimitiveValue, Value};
use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

/// Most of what is asked for is absent: `element` would make an error of it, with a backtrace each time.
fn primitive(dataset: &InMemDicomObject, tag: Tag) -> Option<&PrimitiveValue> {
    match dataset.get(tag)?.value() {
        Value::Primitive(value) => Some(value),
        _ => None,
    }
}

/// All numbers of an element, those of text (DS, IS) too; what is no finite number ends them.
pub(super) fn numbers(dataset: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    let numbers = match primitive(dataset, tag) {
        None => Vec::new(),
        Some(value @ (PrimitiveValue::Str(_) | PrimitiveValue::Strs(_))) => {
            let text = value.to_str();
            text.split('\\').map_while(|part| part.trim_matches([' ', '\0']).parse().ok()).collect()
        }
        Some(value) => value.to_multi_float64().unwrap_or_default(),
    };
    numbers.into_iter().take_while(|number: &f64| number.is_finite()).collect()
}

/// The first number of an element.
pub(super) fn number(dataset: &InMemDicomObject, tag: Tag) -> Option<f64> {
    numbers(dataset, tag).into_iter().next()
}

/// Words (US or SS), which an element of unknown VR holds as bytes.
pub(super) fn words(dataset: &InMemDicomObject, tag: Tag) -> Vec<i64> {
    match primitive(dataset, tag) {
        None => Vec::new(),
        Some(PrimitiveValue::U8(bytes)) => {
            bytes.chunks_exact(2).map(|word| i64::from(u16::from_le_bytes([word[0], word[1]]))).collect()
        }
        Some(_) => numbers(dataset, tag).into_iter().map(|number| number as i64).collect(),
    }
}

/// The bytes of a value of bytes or words (OB, OW, US, SS, UN), little endian.
pub(super) fn bytes(dataset: &InMemDicomObject, tag: Tag) -> Vec<u8> {
    match primitive(dataset, tag) {
        Some(PrimitiveValue::U8(bytes)) => bytes.to_vec(),
        Some(PrimitiveValue::U16(words)) => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        Some(PrimitiveValue::I16(words)) => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        Some(value) => {
            let words = value.to_multi_int::<u16>().unwrap_or_default();
            words.into_iter().flat_map(u16::to_le_bytes).collect()
        }
        None => Vec::new(),
    }
}

/// The text of an element without the padding of its ends; empty when there is none.
pub(super) fn text(dataset: &InMemDicomObject, tag: Tag) -> String {
    let text = primitive(dataset, tag).map(PrimitiveValue::to_str).unwrap_or_default();
    text.trim_matches([' ', '\0']).to_owned()
}

/// The items of a sequence.
pub(super) fn items(dataset: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    dataset.get(tag).and_then(|element| element.items()).unwrap_or_default()
}

/// True where an element is there and has a value.
pub(super) fn has(dataset: &InMemDicomObject, tag: Tag) -> bool {
    match dataset.get(tag).map(|element| element.value()) {
        Some(Value::Primitive(value)) => !matches!(value, PrimitiveValue::Empty),
        Some(Value::Sequence(sequence)) => !sequence.items().is_empty(),
        _ => false,
    }
}
