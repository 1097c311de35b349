//! Palettes.

use super::*;

/// A dataset with a palette, its red, green and blue table given as words.
fn with_palette(mut dataset: InMemDicomObject, descriptor: [u16; 3], data: [&[u16]; 3]) -> InMemDicomObject {
    let descriptors = [
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    ];
    let tables = [
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ];
    for ((tag, table), data) in descriptors.into_iter().zip(tables).zip(data) {
        put_words(&mut dataset, tag, &descriptor);
        dataset.put(DataElement::new(table, VR::OW, PrimitiveValue::U16(data.into())));
    }
    dataset
}

#[test]
fn palettes_of_words_and_of_bytes() {
    let wide = with_palette(
        dataset("PALETTE COLOR", 8, false),
        [3, 10, 16],
        [&[0, 0xFF00, 0x8000], &[0, 0, 0x1234], &[0xFFFF, 0, 0]],
    );
    let raster = shown_of(&wide, &[0, 10, 11, 12, 200]);
    assert_eq!(raster.format, Format::Rgb8);
    assert_eq!(raster.bytes, [0, 0, 255, 0, 0, 255, 255, 0, 0, 128, 0x12, 0, 128, 0x12, 0]);
    let narrow = with_palette(
        dataset("PALETTE COLOR", 8, false),
        [4, 0, 8],
        [&[0x0100, 0x0302], &[0x1110, 0x1312], &[0x2120, 0x2322]],
    );
    assert_eq!(shown_of(&narrow, &[0, 3]).bytes, [0, 0x10, 0x20, 3, 0x13, 0x23]);
    // Bytes written as words, stated as 16 bits.
    let slip = with_palette(dataset("PALETTE COLOR", 8, false), [2, 0, 16], [&[7, 255], &[8, 1], &[9, 2]]);
    assert_eq!(shown_of(&slip, &[0, 1]).bytes, [7, 8, 9, 255, 1, 2]);
}

#[test]
fn a_palette_is_missed() {
    let colours = dataset("PALETTE COLOR", 8, false);
    let image = ImagePixel::of(&colours).unwrap();
    assert!(Rendering::of(&colours, &image, 1).is_err());
}

#[test]
fn a_palette_for_values_below_zero() {
    let colours = with_palette(
        dataset("PALETTE COLOR", 16, true),
        [2, 0xFFFF, 16],
        [&[0x1000, 0x2000], &[0x3000, 0x4000], &[0x5000, 0x6000]],
    );
    assert_eq!(shown_of(&colours, &[-1, 0]).bytes, [0x10, 0x30, 0x50, 0x20, 0x40, 0x60]);
}

fn with_segments(descriptor: [u16; 3], data: &[u16]) -> InMemDicomObject {
    let mut colours = with_palette(dataset("PALETTE COLOR", 8, false), descriptor, [&[], &[], &[]]);
    for (table, segmented) in [
        (tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA),
        (tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA, tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA),
        (tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA, tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA),
    ] {
        colours.remove_element(table);
        colours.put(DataElement::new(segmented, VR::OW, PrimitiveValue::U16(data.into())));
    }
    colours
}

#[test]
fn a_segmented_palette_of_words() {
    // Two entries 0 and 0x1000, four steps up to 0x5000, then both again.
    let data = [0, 2, 0, 0x1000, 1, 4, 0x5000, 2, 2, 0, 0];
    let colours = with_segments([12, 0, 16], &data);
    let samples: Vec<i32> = (0..12).collect();
    let bytes = shown_of(&colours, &samples).bytes;
    let reds: Vec<u8> = bytes.chunks_exact(3).map(|pixel| pixel[0]).collect();
    assert_eq!(reds, [0, 0x10, 0x20, 0x30, 0x40, 0x50, 0, 0x10, 0x20, 0x30, 0x40, 0x50]);
}

#[test]
fn a_segmented_palette_of_bytes() {
    // One entry 10, two steps up to 30; then one segment from byte 3 on, a ramp from 30 to 30; padded to words.
    let bytes: [u8; 12] = [0, 1, 10, 1, 2, 30, 2, 1, 3, 0, 0, 0];
    let words: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let colours = with_segments([5, 0, 8], &words);
    let bytes = shown_of(&colours, &[0, 1, 2, 3, 4]).bytes;
    let reds: Vec<u8> = bytes.chunks_exact(3).map(|pixel| pixel[0]).collect();
    assert_eq!(reds, [10, 20, 30, 30, 30]);
}

#[test]
fn broken_segments_are_an_error() {
    for data in [
        &[1, 4, 0x5000][..],
        &[0, 9, 1],
        &[7, 1, 1],
        &[0, 0],
        &[0, 1, 5, 2, 1, 6, 0],
        &[0, 1, 5, 2, 9, 0xFFFF, 0xFFFF],
        &[],
    ] {
        let colours = with_segments([12, 0, 16], data);
        let image = ImagePixel::of(&colours).unwrap();
        assert!(Rendering::of(&colours, &image, 1).is_err(), "{data:?}");
    }
}

#[test]
fn a_supplemental_palette_colours_the_values_it_covers() {
    let mixed = with_palette(
        with_window(dataset("MONOCHROME2", 16, false), "500", "1001", ""),
        [2, 1000, 16],
        [&[0xFF00, 0x8000], &[0, 0], &[0, 0x4000]],
    );
    assert_eq!(shown_of(&mixed, &[1000]).format, Format::Gray8);
    let mut mixed = mixed;
    put_text(&mut mixed, tags::PIXEL_PRESENTATION, "MIXED");
    let raster = shown_of(&mixed, &[0, 500, 1000, 1001]);
    assert_eq!(raster.bytes, [0, 0, 0, 128, 128, 128, 255, 0, 0, 128, 0, 0x40]);
}
