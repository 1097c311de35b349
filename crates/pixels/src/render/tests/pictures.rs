//! Sizes, kept tables, and pictures as files.

use super::*;

#[test]
fn pixels_of_other_shape_are_stretched_to_a_viewport() {
    let mut mono = dataset("MONOCHROME2", 8, false);
    put_text(&mut mono, tags::PIXEL_SPACING, "2\\1");
    let viewport = Viewport { width: 40, height: 40, region: None };
    let options = RenderOptions { viewport: Some(viewport), ..RenderOptions::default() };
    let raster = shown_as(&mono, &[9, 9, 9, 9], &options);
    assert_eq!((raster.width, raster.height), (40, 20));
    assert!(raster.bytes.iter().all(|grey| *grey == 9));
    let plain = shown_of(&mono, &[9, 9, 9, 9]);
    assert_eq!((plain.width, plain.height), (4, 1));
}

#[test]
fn a_table_can_be_kept_where_the_window_is_stated() {
    let plain = dataset("MONOCHROME2", 16, false);
    let windowed = with_window(plain.clone(), "100", "101", "");
    let image = ImagePixel::of(&plain).unwrap();
    let options = RenderOptions::default();
    assert!(Rendering::of(&plain, &image, 1).unwrap().is_of_frame(&options));
    let rendering = Rendering::of(&windowed, &image, 1).unwrap();
    assert!(!rendering.is_of_frame(&options));
    let table = rendering.table(&Frame::of(&image, vec![49, 0]), &options).unwrap();
    let other = Frame::of(&image, vec![150, 0]);
    assert_eq!(rendering.render_by(&table, &other, &options).unwrap().bytes, [255]);
    let bytes = Frame { sample: Sample::U8, ..other };
    assert!(rendering.render_by(&table, &bytes, &options).is_err());
}

#[test]
fn a_frame_cut_short_is_an_error() {
    let mono = dataset("MONOCHROME2", 16, false);
    let image = ImagePixel::of(&mono).unwrap();
    let rendering = Rendering::of(&mono, &image, 1).unwrap();
    assert!(rendering.render(&Frame::of(&image, vec![1]), &RenderOptions::default()).is_err());
}

#[test]
fn pictures_are_written() {
    let grey = Raster { width: 16, height: 9, format: Format::Gray8, bytes: (0..144).collect() };
    let jpeg = grey.to_jpeg(90).unwrap();
    assert!(jpeg.starts_with(&[0xFF, 0xD8]) && jpeg.ends_with(&[0xFF, 0xD9]));
    // One component in the frame header (SOF0).
    let header = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    assert_eq!(jpeg[header + 9], 1);
    assert!(grey.to_jpeg(1).unwrap().len() < grey.to_jpeg(100).unwrap().len());
    for format in [Format::Gray8, Format::Rgb8] {
        let raster = Raster {
            width: 16,
            height: 9,
            format,
            bytes: (0..144 * format.pixel_bytes()).map(|byte| byte as u8).collect(),
        };
        let png = raster.to_png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut bytes).unwrap();
        assert_eq!(bytes, raster.bytes);
        assert!(raster.to_jpeg(75).is_ok());
    }
    assert!(Raster::black(70_000, 1, Format::Gray8).to_jpeg(50).is_err());
    assert!(Raster::black(0, 0, Format::Gray8).to_png().is_err());
}
