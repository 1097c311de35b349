//! From stored values to greys: each form of table and window.

use super::*;

#[test]
fn a_linear_window() {
    // PS3.3 C.11.2.1.2: centre 2048, width 4096 is black up to 0 and white from 4095 on.
    let mono = with_window(dataset("MONOCHROME2", 12, false), "2048", "4096", "");
    // 1000 → 255 * 1000 / 4095 = 62.27; 2048 → 127.53.
    assert_eq!(greys_of(&mono, &[0, 1000, 2048, 4095]), [0, 62, 128, 255]);
    // Centre 0, width 100 (the standard's example): (x + 0.5) / 99 + 0.5; 10 → 154.54.
    let mono = with_window(dataset("MONOCHROME2", 16, true), "0", "100", "LINEAR");
    assert_eq!(greys_of(&mono, &[-51, -50, 10, 49, 50]), [0, 0, 155, 255, 255]);
}

#[test]
fn a_window_of_width_1_is_a_threshold() {
    let mono = with_window(dataset("MONOCHROME2", 16, false), "100", "1", "LINEAR");
    assert_eq!(greys_of(&mono, &[0, 99, 100, 101]), [0, 0, 255, 255]);
}

#[test]
fn an_exact_window() {
    // (x - 100) / 50 + 0.5; 110 → 0.7 * 255 = 178.5.
    let mono = with_window(dataset("MONOCHROME2", 16, false), "100", "50", "LINEAR_EXACT");
    assert_eq!(greys_of(&mono, &[75, 76, 100, 110, 125, 126]), [0, 5, 128, 179, 255, 255]);
}

#[test]
fn a_sigmoid() {
    // 255 / (1 + exp(-4 (x - 100) / 50)); 110 → 255 / (1 + e^-0.8) = 175.91; 0 → 0.085; 50 → 4.59.
    let mono = with_window(dataset("MONOCHROME2", 16, false), "100", "50", "SIGMOID");
    assert_eq!(greys_of(&mono, &[0, 50, 100, 110, 200]), [0, 5, 128, 176, 255]);
}

#[test]
fn a_window_of_no_width_gives_way_to_the_frame() {
    for width in ["0", "-5", "nonsense"] {
        let mono = with_window(dataset("MONOCHROME2", 16, false), "100", width, "");
        assert_eq!(greys_of(&mono, &[10, 60, 110]), [0, 128, 255], "{width}");
    }
    // Of values that differ by less than 1 a width below 1 is meant.
    let mut fine = with_window(dataset("MONOCHROME2", 16, false), "0.5", "0.5", "");
    put_text(&mut fine, tags::RESCALE_SLOPE, "0.01");
    put_text(&mut fine, tags::RESCALE_INTERCEPT, "0");
    assert_eq!(greys_of(&fine, &[20, 25, 50, 75, 80]), [0, 0, 128, 255, 255]);
}

#[test]
fn the_first_of_several_windows() {
    let mono = with_window(dataset("MONOCHROME2", 16, false), "100\\2000", "101\\4000", "");
    assert_eq!(greys_of(&mono, &[49, 99, 150]), [0, 126, 255]);
}

#[test]
fn stored_values_are_rescaled_before_the_window() {
    let mut ct = with_window(dataset("MONOCHROME2", 12, false), "40", "400", "");
    put_text(&mut ct, tags::RESCALE_SLOPE, "1");
    put_text(&mut ct, tags::RESCALE_INTERCEPT, "-1024");
    // 1063 stored is 39: (39 - 39.5) / 399 + 0.5 = 0.4987 → 127.18.
    assert_eq!(greys_of(&ct, &[0, 864, 1063, 1264]), [0, 0, 127, 255]);
}

#[test]
fn a_slope_of_zero_is_none() {
    let mut mono = with_window(dataset("MONOCHROME2", 16, false), "100", "101", "");
    put_text(&mut mono, tags::RESCALE_SLOPE, "0");
    assert_eq!(greys_of(&mono, &[49, 150]), [0, 255]);
}

#[test]
fn signed_samples_below_sixteen_bits() {
    let mono = with_window(dataset("MONOCHROME2", 12, true), "0", "4096", "");
    // -2048 is all black, 2047 all white; what lies above the bits stored changes nothing.
    assert_eq!(greys_of(&mono, &[-2048, 0, 2047, 0x0FFF]), [0, 128, 255, 127]);
}

#[test]
fn a_modality_table() {
    let mut mono = with_window(dataset("MONOCHROME2", 16, true), "50", "101", "");
    // Three entries from -1 on: 0, 50, 99. Beyond its ends the table goes on as there.
    put_items(&mut mono, tags::MODALITY_LUT_SEQUENCE, vec![lut([3, 0xFFFF, 16], &[0, 50, 99])]);
    // (50 - 49.5) / 100 + 0.5 → 128.78; 99 → 253.73.
    assert_eq!(greys_of(&mono, &[-9, -1, 0, 1, 7]), [1, 1, 129, 254, 254]);
}

#[test]
fn the_table_of_an_angiogram_is_for_measuring() {
    let mut xa = with_window(dataset("MONOCHROME2", 16, false), "100", "101", "");
    put_items(&mut xa, tags::MODALITY_LUT_SEQUENCE, vec![lut([2, 0, 16], &[9, 9])]);
    put_text(&mut xa, tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.12.1");
    put_text(&mut xa, tags::PIXEL_INTENSITY_RELATIONSHIP, "LOG");
    assert_eq!(greys_of(&xa, &[49, 150]), [0, 255]);
    put_text(&mut xa, tags::PIXEL_INTENSITY_RELATIONSHIP, "LIN");
    assert_eq!(greys_of(&xa, &[49, 150]), [0, 0]);
}

#[test]
fn a_table_of_interest_goes_before_the_window() {
    let mut mono = with_window(dataset("MONOCHROME2", 16, false), "100", "101", "");
    // Entries of 12 bits: 4095 is white. 1024 → 63.77.
    let table = lut([4, 10, 12], &[0, 1024, 2048, 4095]);
    put_items(&mut mono, tags::VOILUT_SEQUENCE, vec![table]);
    assert_eq!(greys_of(&mono, &[0, 10, 11, 12, 13, 99]), [0, 0, 64, 128, 255, 255]);
}

#[test]
fn tables_of_bytes() {
    // Four entries of 8 bits in two words, then in four, then of an odd number.
    for data in [&[0x4000, 0xFF80][..], &[0, 0x40, 0x80, 0xFF]] {
        let mut mono = dataset("MONOCHROME2", 16, false);
        put_items(&mut mono, tags::VOILUT_SEQUENCE, vec![lut([4, 0, 8], data)]);
        assert_eq!(greys_of(&mono, &[0, 1, 2, 3]), [0, 0x40, 0x80, 0xFF]);
    }
    let mut mono = dataset("MONOCHROME2", 16, false);
    put_items(&mut mono, tags::VOILUT_SEQUENCE, vec![lut([3, 0, 8], &[0x4000, 0x0080])]);
    assert_eq!(greys_of(&mono, &[0, 1, 2, 3]), [0, 0x40, 0x80, 0x80]);
}

#[test]
fn a_table_of_all_words() {
    let entries: Vec<u16> = (0..=u16::MAX).map(|word| u16::MAX - word).collect();
    let mut mono = dataset("MONOCHROME2", 16, false);
    put_items(&mut mono, tags::VOILUT_SEQUENCE, vec![lut([0, 0, 16], &entries)]);
    assert_eq!(greys_of(&mono, &[0, 0x8000, 0xFFFF]), [255, 127, 0]);
}

#[test]
fn a_broken_table_gives_way_to_the_window() {
    for broken in [lut([0, 0, 99], &[1, 2]), lut([4, 0, 16], &[]), InMemDicomObject::new_empty()] {
        let mut mono = with_window(dataset("MONOCHROME2", 16, false), "100", "101", "");
        put_items(&mut mono, tags::VOILUT_SEQUENCE, vec![broken]);
        assert_eq!(greys_of(&mono, &[49, 150]), [0, 255]);
    }
}

#[test]
fn monochrome_1_is_inverted_once() {
    let inverted = with_window(dataset("MONOCHROME1", 16, false), "100", "101", "");
    assert_eq!(greys_of(&inverted, &[49, 99, 150]), [255, 129, 0]);
    // The shape, where there is one, says it all (PS3.3 C.8.11.3, C.11.6).
    for (photometric, shape, first) in
        [("MONOCHROME1", "INVERSE", 255), ("MONOCHROME2", "INVERSE", 255), ("MONOCHROME2", "IDENTITY", 0)]
    {
        let mut mono = with_window(dataset(photometric, 16, false), "100", "101", "");
        put_text(&mut mono, tags::PRESENTATION_LUT_SHAPE, shape);
        assert_eq!(greys_of(&mono, &[49, 150]), [first, 255 - first], "{photometric} {shape}");
    }
}

#[test]
fn padding_is_black_and_not_counted() {
    let mut mono = dataset("MONOCHROME1", 16, true);
    put_words(&mut mono, tags::PIXEL_PADDING_VALUE, &[(-2000_i16) as u16]);
    assert_eq!(greys_of(&mono, &[-2000, 0, 50, 100]), [0, 255, 128, 0]);
    put_words(&mut mono, tags::PIXEL_PADDING_RANGE_LIMIT, &[(-1000_i16) as u16]);
    assert_eq!(greys_of(&mono, &[-2000, -1500, -1000, 0, 100]), [0, 0, 0, 255, 0]);
}

#[test]
fn a_frame_of_one_value_is_black() {
    assert_eq!(greys_of(&dataset("MONOCHROME2", 16, false), &[7, 7, 7]), [0, 0, 0]);
}

#[test]
fn outliers_do_not_darken_the_rest() {
    let mut samples: Vec<i32> = (0..10_000).map(|sample| 1000 + sample % 101).collect();
    samples[17] = 65_535;
    samples[18] = 0;
    let greys = greys_of(&dataset("MONOCHROME2", 16, false), &samples);
    assert_eq!((greys[0], greys[50], greys[100], greys[17], greys[18]), (0, 128, 255, 255, 0));
}

#[test]
fn bytes_are_greys_as_they_are() {
    let bytes: Vec<i32> = (0..256).collect();
    let greys: Vec<u8> = (0..=255).collect();
    assert_eq!(greys_of(&dataset("MONOCHROME2", 8, false), &bytes), greys);
    assert_eq!(greys_of(&dataset("MONOCHROME2", 7, false), &[0, 64, 127]), [0, 129, 255]);
    assert_eq!(greys_of(&dataset("MONOCHROME2", 8, true), &[-128, 0, 127]), [0, 128, 255]);
}

#[test]
fn one_bit_is_black_or_white() {
    let mut seg = dataset("MONOCHROME2", 1, false);
    put_words(&mut seg, tags::BITS_ALLOCATED, &[1]);
    assert_eq!(greys_of(&seg, &[0, 1, 1, 0]), [0, 255, 255, 0]);
}

#[test]
fn a_window_asked_for_goes_before_all_others() {
    let mut mono = with_window(dataset("MONOCHROME2", 16, false), "5", "3", "");
    put_items(&mut mono, tags::VOILUT_SEQUENCE, vec![lut([2, 0, 16], &[0, 9])]);
    let asked = Window { center: 100.0, width: 101.0, function: Function::Linear };
    let options = RenderOptions { window: Some(asked), ..RenderOptions::default() };
    assert_eq!(shown_as(&mono, &[49, 99, 150], &options).bytes, [0, 126, 255]);
}

#[test]
fn each_frame_has_its_own_groups() {
    let mut enhanced = dataset("MONOCHROME2", 16, false);
    put_text(&mut enhanced, tags::NUMBER_OF_FRAMES, "2");
    let group = |slope: &str, center: &str| {
        let mut transform = InMemDicomObject::new_empty();
        put_text(&mut transform, tags::RESCALE_SLOPE, slope);
        put_text(&mut transform, tags::RESCALE_INTERCEPT, "0");
        let mut group = InMemDicomObject::new_empty();
        put_items(&mut group, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, vec![transform]);
        put_items(&mut group, tags::FRAME_VOILUT_SEQUENCE, vec![window(center, "101", "LINEAR")]);
        group
    };
    let mut shared = group("3", "0");
    shared.remove_element(tags::FRAME_VOILUT_SEQUENCE);
    let mut second = group("1", "200");
    second.remove_element(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
    put_items(&mut enhanced, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
    put_items(&mut enhanced, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, vec![group("2", "100"), second]);
    let image = ImagePixel::of(&enhanced).unwrap();
    let mut frame = Frame::of(&image, vec![50, 0, 75, 0]);
    frame.columns = 2;
    let greys = |number| {
        let rendering = Rendering::of(&enhanced, &image, number).unwrap();
        rendering.render(&frame, &RenderOptions::default()).unwrap().bytes
    };
    // 100 and 150 around 100; 150 and 225 around 200.
    assert_eq!(greys(1), [129, 255]);
    assert_eq!(greys(2), [1, 193]);
    assert!(Rendering::of(&enhanced, &image, 3).is_err() && Rendering::of(&enhanced, &image, 0).is_err());
}

#[test]
fn wide_samples_and_fractions() {
    let mut dose = dataset("MONOCHROME2", 16, false);
    put_words(&mut dose, tags::BITS_ALLOCATED, &[32]);
    put_words(&mut dose, tags::BITS_STORED, &[32]);
    assert_eq!(greys_of(&dose, &[0, 50_000, 100_000]), [0, 128, 255]);
    let image = ImagePixel { sample: Sample::F32, bits_stored: 32, ..ImagePixel::of(&dose).unwrap() };
    let bytes = [f32::NAN, -1.0, -0.5, 0.0].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut frame = Frame::of(&image, bytes);
    frame.columns = 4;
    let rendering = Rendering::of(&dose, &image, 1).unwrap();
    assert_eq!(rendering.render(&frame, &RenderOptions::default()).unwrap().bytes, [0, 0, 128, 255]);
    let asked = Window { center: -0.5, width: 0.5, function: Function::Linear };
    let options = RenderOptions { window: Some(asked), ..RenderOptions::default() };
    assert_eq!(rendering.render(&frame, &options).unwrap().bytes, [0, 0, 128, 255]);
}
