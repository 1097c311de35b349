//! Rendering by values worked out by hand.

mod colours;
mod drawn;
mod greys;
mod pictures;

use dicom_core::{DataElement, PrimitiveValue, VR, value::DataSetSequence};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use filmgate_model::Tag;

use super::*;
use crate::{Frame, ImagePixel, Sample};

/// A dataset of an image with one row of samples of 16 bits.
fn dataset(photometric: &str, bits_stored: u16, signed: bool) -> InMemDicomObject {
    let mut dataset = InMemDicomObject::new_empty();
    put_words(&mut dataset, tags::SAMPLES_PER_PIXEL, &[1]);
    put_text(&mut dataset, tags::PHOTOMETRIC_INTERPRETATION, photometric);
    put_words(&mut dataset, tags::ROWS, &[1]);
    put_words(&mut dataset, tags::COLUMNS, &[1]);
    put_words(&mut dataset, tags::BITS_ALLOCATED, &[if bits_stored > 8 { 16 } else { 8 }]);
    put_words(&mut dataset, tags::BITS_STORED, &[bits_stored]);
    put_words(&mut dataset, tags::PIXEL_REPRESENTATION, &[signed.into()]);
    dataset
}

fn put_words(dataset: &mut InMemDicomObject, tag: Tag, words: &[u16]) {
    dataset.put(DataElement::new(tag, VR::US, PrimitiveValue::U16(words.into())));
}

fn put_text(dataset: &mut InMemDicomObject, tag: Tag, text: &str) {
    dataset.put(DataElement::new(tag, VR::LO, PrimitiveValue::from(text)));
}

fn put_items(dataset: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    dataset.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

fn lut(descriptor: [u16; 3], data: &[u16]) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    put_words(&mut item, tags::LUT_DESCRIPTOR, &descriptor);
    item.put(DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16(data.into())));
    item
}

fn window(center: &str, width: &str, function: &str) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    put_text(&mut item, tags::WINDOW_CENTER, center);
    put_text(&mut item, tags::WINDOW_WIDTH, width);
    put_text(&mut item, tags::VOILUT_FUNCTION, function);
    item
}

fn with_window(mut dataset: InMemDicomObject, center: &str, width: &str, function: &str) -> InMemDicomObject {
    window(center, width, function).into_iter().for_each(|element| {
        dataset.put(element);
    });
    dataset
}

/// What is shown of samples.
fn shown_of(dataset: &InMemDicomObject, samples: &[i32]) -> Raster {
    shown_as(dataset, samples, &RenderOptions::default())
}

fn shown_as(dataset: &InMemDicomObject, samples: &[i32], options: &RenderOptions<'_>) -> Raster {
    let image = ImagePixel::of(dataset).unwrap();
    let bytes = samples.iter().flat_map(|sample| match image.sample.bytes() {
        1 => vec![*sample as u8],
        2 => (*sample as u16).to_le_bytes().to_vec(),
        _ => sample.to_le_bytes().to_vec(),
    });
    let mut frame = Frame::of(&image, bytes.collect());
    frame.columns = samples.len() as u32;
    Rendering::of(dataset, &image, 1).unwrap().render(&frame, options).unwrap()
}

fn greys_of(dataset: &InMemDicomObject, samples: &[i32]) -> Vec<u8> {
    let raster = shown_of(dataset, samples);
    assert_eq!(raster.format, Format::Gray8);
    raster.bytes
}
