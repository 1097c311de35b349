//! Overlays, shutters and presentation states.

use super::*;

/// A black image of bytes, so many columns and rows.
fn black(columns: u16, rows: u16) -> InMemDicomObject {
    let mut image = dataset("MONOCHROME2", 8, false);
    put_words(&mut image, tags::ROWS, &[rows]);
    put_words(&mut image, tags::COLUMNS, &[columns]);
    put_text(&mut image, tags::SOP_INSTANCE_UID, "1.2.3");
    image
}

fn drawn(dataset: &InMemDicomObject, fill: u8, options: &RenderOptions<'_>) -> Raster {
    let image = ImagePixel::of(dataset).unwrap();
    let frame = Frame::of(&image, vec![fill; image.frame_bytes() as usize]);
    Rendering::of(dataset, &image, 1).unwrap().render(&frame, options).unwrap()
}

fn put_numbers(dataset: &mut InMemDicomObject, tag: Tag, numbers: &[f32]) {
    dataset.put(DataElement::new(tag, VR::FL, PrimitiveValue::F32(numbers.into())));
}

fn put_overlay(dataset: &mut InMemDicomObject, group: u16, rows: u16, columns: u16, bits: &[u8]) {
    put_words(dataset, Tag(group, 0x0010), &[rows]);
    put_words(dataset, Tag(group, 0x0011), &[columns]);
    dataset.put(DataElement::new(Tag(group, 0x3000), VR::OB, PrimitiveValue::U8(bits.into())));
}

fn put_origin(dataset: &mut InMemDicomObject, group: u16, row: i16, column: i16) {
    let origin = PrimitiveValue::I16([row, column].as_slice().into());
    dataset.put(DataElement::new(Tag(group, 0x0050), VR::SS, origin));
}

const OVERLAYS: RenderOptions<'static> = RenderOptions {
    window: None,
    overlays: true,
    stored: None,
    presentation: None,
    viewport: None,
    annotations: &[],
    side_max: SIDE_MAX,
};

fn by(state: &InMemDicomObject) -> RenderOptions<'_> {
    RenderOptions { presentation: Some(state), ..RenderOptions::default() }
}

#[test]
fn overlays_are_drawn_where_they_begin() {
    let mut image = black(3, 3);
    // Two by two: both of the first row, the left of the second.
    put_overlay(&mut image, 0x6002, 2, 2, &[0b0111]);
    put_origin(&mut image, 0x6002, 2, 2);
    assert_eq!(drawn(&image, 0, &OVERLAYS).bytes, [0, 0, 0, 0, 255, 255, 0, 255, 0]);
    assert_eq!(drawn(&image, 0, &RenderOptions::default()).bytes, [0; 9]);
    // Partly outside.
    put_origin(&mut image, 0x6002, 0, 3);
    assert_eq!(drawn(&image, 0, &OVERLAYS).bytes, [0, 0, 255, 0, 0, 0, 0, 0, 0]);
    put_origin(&mut image, 0x6002, i16::MIN, i16::MAX);
    assert_eq!(drawn(&image, 0, &OVERLAYS).bytes, [0; 9]);
}

#[test]
fn an_overlay_with_too_few_bits_ends_where_they_do() {
    let mut image = black(3, 3);
    put_overlay(&mut image, 0x6000, 60_000, 60_000, &[0xFF]);
    assert_eq!(drawn(&image, 0, &OVERLAYS).bytes, [255, 255, 255, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn frames_of_an_overlay_belong_to_frames_of_the_image() {
    let mut image = black(2, 1);
    put_text(&mut image, tags::NUMBER_OF_FRAMES, "3");
    put_overlay(&mut image, 0x6000, 1, 2, &[0b1001]);
    put_text(&mut image, Tag(0x6000, 0x0015), "2");
    put_words(&mut image, Tag(0x6000, 0x0051), &[2]);
    let pixels = ImagePixel::of(&image).unwrap();
    let greys = |number| {
        let rendering = Rendering::of(&image, &pixels, number).unwrap();
        rendering.render(&Frame::of(&pixels, vec![0; 2]), &OVERLAYS).unwrap().bytes
    };
    assert_eq!([greys(1), greys(2), greys(3)], [[0, 0], [255, 0], [0, 255]]);
}

#[test]
fn an_overlay_in_unused_bits() {
    let mut image = dataset("MONOCHROME2", 12, false);
    put_words(&mut image, tags::COLUMNS, &[2]);
    put_words(&mut image, Tag(0x6000, 0x0010), &[1]);
    put_words(&mut image, Tag(0x6000, 0x0011), &[2]);
    put_words(&mut image, Tag(0x6000, 0x0102), &[12]);
    let image = with_window(image, "2048", "4096", "");
    let stored = [0, 0, 0, 0x10];
    assert_eq!(drawn(&image, 0, &RenderOptions { stored: Some(&stored), ..OVERLAYS }).bytes, [0, 255]);
    assert_eq!(drawn(&image, 0, &OVERLAYS).bytes, [0, 0]);
}

#[test]
fn shutters_cover_what_lies_outside() {
    let mut image = black(4, 3);
    put_text(&mut image, tags::SHUTTER_SHAPE, "RECTANGULAR");
    for (tag, edge) in [
        (tags::SHUTTER_LEFT_VERTICAL_EDGE, "2"),
        (tags::SHUTTER_RIGHT_VERTICAL_EDGE, "3"),
        (tags::SHUTTER_UPPER_HORIZONTAL_EDGE, "2"),
        (tags::SHUTTER_LOWER_HORIZONTAL_EDGE, "3"),
    ] {
        put_text(&mut image, tag, edge);
    }
    let plain = RenderOptions::default();
    assert_eq!(drawn(&image, 9, &plain).bytes, [0, 0, 0, 0, 0, 9, 9, 0, 0, 9, 9, 0]);
    put_words(&mut image, tags::SHUTTER_PRESENTATION_VALUE, &[0x8000]);
    assert_eq!(drawn(&image, 9, &plain).bytes[..6], [128, 128, 128, 128, 128, 9]);
    // What is seen lies within both.
    put_text(&mut image, tags::SHUTTER_SHAPE, "RECTANGULAR\\CIRCULAR");
    put_text(&mut image, tags::CENTER_OF_CIRCULAR_SHUTTER, "2\\2");
    put_text(&mut image, tags::RADIUS_OF_CIRCULAR_SHUTTER, "1");
    assert_eq!(drawn(&image, 9, &plain).bytes[5..], [9, 9, 128, 128, 9, 128, 128]);
}

#[test]
fn a_shutter_of_corners() {
    let mut image = black(4, 4);
    put_text(&mut image, tags::SHUTTER_SHAPE, "POLYGONAL");
    put_text(&mut image, tags::VERTICES_OF_THE_POLYGONAL_SHUTTER, "1\\1\\1\\4\\4\\1");
    let seen: Vec<bool> =
        drawn(&image, 9, &RenderOptions::default()).bytes.iter().map(|grey| *grey == 9).collect();
    assert_eq!(seen[4..8], [true, true, true, false]);
    assert_eq!(seen[8..12], [true, true, false, false]);
}

#[test]
fn a_presentation_state_replaces_all_transforms() {
    let mut image = with_window(dataset("MONOCHROME1", 12, false), "5", "3", "");
    put_text(&mut image, tags::RESCALE_SLOPE, "9");
    put_text(&mut image, tags::SOP_INSTANCE_UID, "1.2.3");
    // It says nothing: stored values over their whole range, low ones dark.
    let mut state = InMemDicomObject::new_empty();
    assert_eq!(shown_as(&image, &[0, 2048, 4095], &by(&state)).bytes, [0, 128, 255]);
    put_text(&mut state, tags::PRESENTATION_LUT_SHAPE, "INVERSE");
    assert_eq!(shown_as(&image, &[0, 2048, 4095], &by(&state)).bytes, [255, 127, 0]);
    // A table of presentation: three entries over all shades.
    put_items(&mut state, tags::PRESENTATION_LUT_SEQUENCE, vec![lut([3, 0, 8], &[200, 10, 100])]);
    assert_eq!(shown_as(&image, &[0, 900, 2048, 4095], &by(&state)).bytes, [200, 200, 10, 100]);
}

#[test]
fn a_presentation_state_windows_the_frames_it_names() {
    let mut image = dataset("MONOCHROME2", 16, true);
    put_text(&mut image, tags::SOP_INSTANCE_UID, "1.2.3");
    let referring = |mut item: InMemDicomObject, uid: &str, frame: &str| {
        let mut reference = InMemDicomObject::new_empty();
        put_text(&mut reference, tags::REFERENCED_SOP_INSTANCE_UID, uid);
        put_text(&mut reference, tags::REFERENCED_FRAME_NUMBER, frame);
        put_items(&mut item, tags::REFERENCED_IMAGE_SEQUENCE, vec![reference]);
        item
    };
    let mut state = InMemDicomObject::new_empty();
    put_text(&mut state, tags::RESCALE_SLOPE, "1");
    put_text(&mut state, tags::RESCALE_INTERCEPT, "-1000");
    let windows = vec![
        referring(window("7", "3", ""), "1.2.9", "1"),
        referring(window("7", "3", ""), "1.2.3", "2"),
        referring(window("7", "3", ""), "1.2.3", "first"),
        referring(window("0", "101", ""), "1.2.3", "1"),
        window("7", "3", ""),
    ];
    put_items(&mut state, tags::SOFTCOPY_VOILUT_SEQUENCE, windows);
    assert_eq!(shown_as(&image, &[949, 999, 1050], &by(&state)).bytes, [0, 126, 255]);
    // None are named by a value that is only padding.
    let all = vec![referring(window("0", "101", ""), "1.2.3", " "), window("7", "3", "")];
    put_items(&mut state, tags::SOFTCOPY_VOILUT_SEQUENCE, all);
    assert_eq!(shown_as(&image, &[949, 999, 1050], &by(&state)).bytes, [0, 126, 255]);
}

#[test]
fn a_presentation_state_turns_and_cuts() {
    let image = black(3, 2);
    let pixels = ImagePixel::of(&image).unwrap();
    let frame = Frame::of(&pixels, vec![1, 2, 3, 4, 5, 6]);
    let rendering = Rendering::of(&image, &pixels, 1).unwrap();
    let shown = |state: &InMemDicomObject| rendering.render(&frame, &by(state)).unwrap();
    let mut state = InMemDicomObject::new_empty();
    put_words(&mut state, tags::IMAGE_ROTATION, &[90]);
    put_text(&mut state, tags::IMAGE_HORIZONTAL_FLIP, "N");
    let turned = shown(&state);
    assert_eq!((turned.width, turned.height, turned.bytes), (2, 3, vec![4, 1, 5, 2, 6, 3]));
    put_text(&mut state, tags::IMAGE_HORIZONTAL_FLIP, "Y");
    assert_eq!(shown(&state).bytes, [1, 4, 2, 5, 3, 6]);
    // The corners are named as they lie once turned.
    let mut area = InMemDicomObject::new_empty();
    let corner = |column: i32, row: i32| PrimitiveValue::I32([column, row].as_slice().into());
    area.put(DataElement::new(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, VR::SL, corner(2, 2)));
    area.put(DataElement::new(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, VR::SL, corner(4, 1)));
    put_items(&mut state, tags::DISPLAYED_AREA_SELECTION_SEQUENCE, vec![area]);
    let cut = shown(&state);
    assert_eq!((cut.width, cut.height, cut.bytes), (2, 3, vec![2, 5, 3, 6, 0, 0]));
}

#[test]
fn a_presentation_state_shows_the_overlays_it_activates() {
    let mut image = black(2, 1);
    put_overlay(&mut image, 0x6000, 1, 2, &[0b01]);
    put_overlay(&mut image, 0x6002, 1, 2, &[0b11]);
    let mut state = InMemDicomObject::new_empty();
    put_text(&mut state, Tag(0x6000, 0x1001), "MARKS");
    let mut layer = InMemDicomObject::new_empty();
    put_text(&mut layer, tags::GRAPHIC_LAYER, "MARKS");
    put_words(&mut layer, tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_GRAYSCALE_VALUE, &[0x8000]);
    put_items(&mut state, tags::GRAPHIC_LAYER_SEQUENCE, vec![layer]);
    assert_eq!(drawn(&image, 0, &by(&state)).bytes, [128, 0]);
    // Its own bits go before the image's of the same group; those of a shutter are no drawing.
    put_overlay(&mut state, 0x6000, 1, 2, &[0b10]);
    assert_eq!(drawn(&image, 0, &by(&state)).bytes, [0, 128]);
    put_words(&mut state, tags::SHUTTER_OVERLAY_GROUP, &[0x6000]);
    put_words(&mut state, tags::SHUTTER_PRESENTATION_VALUE, &[0x4000]);
    assert_eq!(drawn(&image, 9, &by(&state)).bytes, [9, 64]);
}

/// A graphic of an annotation.
fn graphic(kind: &str, units: &str, points: &[f32]) -> InMemDicomObject {
    let mut object = InMemDicomObject::new_empty();
    put_text(&mut object, tags::GRAPHIC_TYPE, kind);
    put_text(&mut object, tags::GRAPHIC_ANNOTATION_UNITS, units);
    put_numbers(&mut object, tags::GRAPHIC_DATA, points);
    object
}

fn annotating(objects: Vec<InMemDicomObject>, texts: Vec<InMemDicomObject>) -> InMemDicomObject {
    let mut annotation = InMemDicomObject::new_empty();
    put_items(&mut annotation, tags::GRAPHIC_OBJECT_SEQUENCE, objects);
    put_items(&mut annotation, tags::TEXT_OBJECT_SEQUENCE, texts);
    let mut state = InMemDicomObject::new_empty();
    put_items(&mut state, tags::GRAPHIC_ANNOTATION_SEQUENCE, vec![annotation]);
    state
}

#[test]
fn graphics_are_drawn_at_their_pixels() {
    let image = black(4, 3);
    let state = annotating(vec![graphic("POLYLINE", "PIXEL", &[0.5, 1.5, 3.5, 1.5])], vec![]);
    assert_eq!(drawn(&image, 0, &by(&state)).bytes, [0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]);
    let state = annotating(vec![graphic("POLYLINE", "DISPLAY", &[0.125, 0.5, 0.125, 0.99])], vec![]);
    assert_eq!(drawn(&image, 0, &by(&state)).bytes, [0, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0]);
    // On a larger picture a line stays a line.
    let state = annotating(vec![graphic("POLYLINE", "PIXEL", &[0.5, 1.5, 3.5, 1.5])], vec![]);
    let viewport = Viewport { width: 40, height: 30, region: None };
    let large = drawn(&image, 0, &RenderOptions { viewport: Some(viewport), ..by(&state) });
    assert_eq!(large.bytes.iter().filter(|grey| **grey == 255).count(), 31);
}

#[test]
fn circles_ellipses_points_and_areas() {
    let image = black(40, 40);
    let painted = |object| {
        let raster = drawn(&image, 0, &by(&annotating(vec![object], vec![])));
        raster.bytes.iter().filter(|grey| **grey == 255).count()
    };
    let circle = graphic("CIRCLE", "PIXEL", &[20.0, 20.0, 30.0, 20.0]);
    assert!((50..90).contains(&painted(circle.clone())), "{}", painted(circle));
    let mut disc = graphic("ELLIPSE", "PIXEL", &[10.0, 20.0, 30.0, 20.0, 20.0, 15.0, 20.0, 25.0]);
    put_text(&mut disc, tags::GRAPHIC_FILLED, "Y");
    // Half axes of 10 and 5: 157 pixels and a rim.
    assert!((150..210).contains(&painted(disc.clone())), "{}", painted(disc));
    assert!((10..20).contains(&painted(graphic("POINT", "PIXEL", &[20.0, 20.0]))));
    assert!(painted(graphic("INTERPOLATED", "PIXEL", &[1.0, 1.0, 20.0, 30.0, 39.0, 1.0])) > 40);
    for odd in [graphic("CIRCLE", "PIXEL", &[1.0]), graphic("NONE", "", &[]), graphic("POLYLINE", "", &[])] {
        assert_eq!(painted(odd), 0);
    }
}

#[test]
fn texts_stand_in_their_boxes() {
    let image = black(100, 40);
    let mut words = InMemDicomObject::new_empty();
    put_text(&mut words, tags::UNFORMATTED_TEXT_VALUE, "L 12 mm\r\n2");
    put_text(&mut words, tags::BOUNDING_BOX_ANNOTATION_UNITS, "PIXEL");
    put_numbers(&mut words, tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER, &[50.0, 10.0]);
    put_numbers(&mut words, tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER, &[99.0, 30.0]);
    let bytes = drawn(&image, 0, &by(&annotating(vec![], vec![words]))).bytes;
    let white: Vec<_> = (0..bytes.len()).filter(|index| bytes[*index] == 255).collect();
    assert!(white.len() > 30, "{}", white.len());
    assert!(white.iter().all(|index| index % 100 >= 50 && (10..30).contains(&(index / 100))));
    let lines = ["NAME".to_owned()];
    let bytes = drawn(&image, 0, &RenderOptions { annotations: &lines, ..RenderOptions::default() }).bytes;
    assert!(bytes[..1500].contains(&255) && !bytes[1500..].contains(&255));
}
