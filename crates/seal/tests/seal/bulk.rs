//! What is long: values of their own, pixels by frame or fragment, and how their chunks lie.

use filmgate_model::{Tag, tags};
use filmgate_seal::{BulkKind, BulkValue, Class, Codec, Fragment, Oddity, Reading};

use crate::support::*;

#[test]
fn long_values_are_bulk_wherever_they_stand() {
    let dataset = Dataset::explicit_start()
        .long((8, 0x1160), b"OB", &noise(65_536))
        .long((9, 0x1001), b"OB", &noise(65_537))
        .long_head((0x5400, 0x100), b"SQ", UNDEFINED)
        .plain(ITEM, 8)
        .implicit((9, 1), b"")
        .plain(ITEM, UNDEFINED)
        .long((0x5400, 0x1010), b"OW", &noise(100_000))
        .plain(ITEM_END, 0)
        .plain(SEQUENCE_END, 0)
        .short((0x5600, 0x20), b"LO", b"after ")
        .bytes;
    let sealed = seal(&dataset, EXPLICIT);
    let plain = |within: &[(Tag, u32)], tag, bytes, dataset_offset| BulkValue {
        within: within.to_vec(),
        tag,
        dataset_offset,
        bytes,
        kind: BulkKind::Plain,
    };
    let first = 32 + 12 + 65_536 + 12;
    let second = first + 65_537 + 12 + 8 + 8 + 8 + 12;
    assert_eq!(
        sealed.table.bulk_values,
        [
            plain(&[], Tag(9, 0x1001), 65_537, first),
            plain(&[(Tag(0x5400, 0x100), 1)], Tag(0x5400, 0x1010), 100_000, second),
        ]
    );
    let lines = sealed.lines();
    assert_eq!(lines[3], "(0009,1001) OB bulk 65537 Plain");
    assert_eq!(lines[8], "  (5400,1010) OW bulk 100000 Plain");
    assert_eq!(lines[9], "(5600,0020) LO after");
    let header: usize = sealed.table.header_chunks().map(|(_, chunk)| chunk.raw_bytes as usize).sum();
    assert_eq!(header, dataset.len() - 65_537 - 100_000);
}

/// A long sequence of defined length is entered, so that what is long in it is bulk; what disagrees with its length is
/// cut at its end.
#[test]
fn a_long_sequence_of_defined_length_is_entered() {
    let item = Dataset::new().plain(ITEM, 80_028).long((0x5400, 0x1010), b"OW", &noise(80_000)).raw(&[0; 16]);
    let with = |extra: &[u8]| {
        let item = item.clone().raw(extra);
        Dataset::explicit_start()
            .long((0x5400, 0x100), b"SQ", &item.bytes)
            .short((0x5600, 0x20), b"LO", b"after ")
            .bytes
    };
    let sealed = seal(&with(&[]), EXPLICIT);
    assert_eq!(sealed.table.reading, Reading::Read);
    assert_eq!(sealed.table.bulk_values.len(), 1);
    assert_eq!(sealed.lines().last().map(String::as_str), Some("(5600,0020) LO after"));
    // A few bytes that are no element, and an item that says it is longer than its sequence.
    let sealed = seal(&with(&[1, 2, 3]), EXPLICIT);
    assert!(sealed.table.oddities.contains(&Oddity::LengthMismatch));
    assert_eq!(sealed.lines().last().map(String::as_str), Some("(5600,0020) LO after"));
    let longer = Dataset::new().plain(ITEM, 90_000).long((0x5400, 0x1010), b"OW", &noise(80_000));
    let dataset = Dataset::explicit_start().long((0x5400, 0x100), b"SQ", &longer.bytes).short(
        (0x5600, 0x20),
        b"LO",
        b"after ",
    );
    let sealed = read_with(&dataset.bytes, EXPLICIT, &[Oddity::LengthMismatch]);
    assert_eq!(sealed.lines().last().map(String::as_str), Some("(5600,0020) LO after"));
}

#[test]
fn a_sequence_whose_content_is_no_item_is_stepped_over() {
    for length in [100, 70_000] {
        let dataset = Dataset::explicit_start()
            .long((0x5400, 0x100), b"SQ", &vec![0x41; length])
            .short((0x5600, 0x20), b"LO", b"after ")
            .bytes;
        let sealed = seal(&dataset, EXPLICIT);
        assert_eq!(sealed.table.reading, Reading::Read);
        assert_eq!(sealed.lines().last().map(String::as_str), Some("(5600,0020) LO after"));
    }
}

#[test]
fn encapsulated_pixels_are_noted_by_fragment() {
    let fragments = [noise(40_000), noise(100), noise(50_000), noise(300_000)];
    let mut dataset = Dataset::explicit_start()
        .long((0x7fe0, 1), b"OV", &[1, 0, 0, 0, 0, 0, 0, 0])
        .long_head(PIXELS, b"OB", UNDEFINED)
        .implicit(ITEM, &[0, 0, 0, 0, 8, 0, 0, 0]);
    let mut expected = Vec::new();
    for fragment in &fragments {
        expected
            .push(Fragment { dataset_offset: dataset.bytes.len() as u64 + 8, bytes: fragment.len() as u32 });
        dataset = dataset.implicit(ITEM, fragment);
    }
    let dataset = dataset.plain(SEQUENCE_END, 0).short((0xfffa, 0xfff0), b"LO", b"after ").bytes;
    let sealed = read_with(&dataset, JPEG, &[]);
    let pixel_data = sealed.table.pixel_data.clone().expect("noted");
    assert_eq!(pixel_data.fragments, expected);
    assert_eq!(pixel_data.fragments_total, 4);
    assert_eq!(pixel_data.basic_offset_table, Some(vec![0, 0, 0, 0, 8, 0, 0, 0]));
    assert_eq!(pixel_data.extended_offset_table, Some(vec![1, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(sealed.table.bulk_values[0].kind, BulkKind::Encapsulated);
    assert_eq!(sealed.table.bulk_values[0].bytes, 390_100 + 8 + 5 * 8 + 8);
    assert_eq!(sealed.table.pixel_digest, Some(blake3::hash(&fragments.concat()).into()));
    assert_eq!(sealed.lines()[3..], ["(7FE0,0010) OB bulk 390156 Encapsulated", "(FFFA,FFF0) LO after"]);
    // Chunks begin at fragments, item heads included, unless the one before is small.
    let bulk: Vec<_> = sealed.table.chunks.iter().filter(|chunk| chunk.class == Class::Bulk).collect();
    let starts: Vec<u64> = bulk.iter().map(|chunk| chunk.dataset_offset).collect();
    let third = expected[3].dataset_offset - 8;
    assert_eq!(
        starts,
        [expected[0].dataset_offset - 24, expected[1].dataset_offset - 8, third, third + 262_144]
    );
    assert!(bulk.iter().all(|chunk| chunk.codec == Codec::Stored && chunk.shape.is_none()));
}

#[test]
fn bytes_like_a_delimiter_inside_a_fragment_end_nothing() {
    let inside = Dataset::new().raw(&[1; 50]).plain(SEQUENCE_END, 0).raw(&[2; 50]).bytes;
    let dataset = Dataset::explicit_start()
        .long_head(PIXELS, b"OB", UNDEFINED)
        .plain(ITEM, 0)
        .implicit(ITEM, &inside)
        .plain(SEQUENCE_END, 0)
        .bytes;
    assert_eq!(read_with(&dataset, JPEG, &[]).table.pixel_data.map(|pixels| pixels.fragments_total), Some(1));
}

#[test]
fn an_element_after_fragments_without_delimiter_is_found() {
    let dataset = Dataset::explicit_start()
        .long_head(PIXELS, b"OB", UNDEFINED)
        .plain(ITEM, 0)
        .implicit(ITEM, &[1; 100])
        .short((0xfffa, 0xfff0), b"LO", b"after ")
        .bytes;
    let sealed = read_with(&dataset, JPEG, &[Oddity::MissingDelimiter]);
    assert_eq!(sealed.lines()[2..], ["(7FE0,0010) OB bulk 116 Encapsulated", "(FFFA,FFF0) LO after"]);
}

#[test]
fn pixels_of_an_icon_are_not_the_datasets_own() {
    let dataset = Dataset::explicit_start()
        .long_head((0x88, 0x200), b"SQ", UNDEFINED)
        .plain(ITEM, UNDEFINED)
        .long_head(PIXELS, b"OB", UNDEFINED)
        .plain(ITEM, 0)
        .implicit(ITEM, &noise(100))
        .implicit(ITEM, &noise(70_000))
        .plain(SEQUENCE_END, 0)
        .plain(ITEM_END, 0)
        .plain(SEQUENCE_END, 0)
        .number((0x28, 0x10), 2)
        .bytes;
    let sealed = read_with(&dataset, JPEG, &[]);
    assert_eq!(sealed.table.pixel_digest, None);
    assert_eq!(sealed.table.pixel_data, None);
    assert_eq!(sealed.table.bulk_values.len(), 1);
    assert_eq!(sealed.table.facts.number(tags::ROWS), Some(2));
    assert_eq!(sealed.lines()[4], "  (7FE0,0010) OB bulk 70132 Encapsulated");
}

#[test]
fn native_chunks_begin_at_rows_and_say_how_samples_lie() {
    let sample = |at: usize| ((at % 512 + at / 512) as u16).to_le_bytes();
    let pixels: Vec<u8> = (0..513 * 512 * 2).flat_map(sample).collect();
    let dataset = Dataset::explicit_start()
        .number((0x28, 2), 1)
        .number((0x28, 0x10), 513)
        .number((0x28, 0x11), 512)
        .number((0x28, 0x100), 16)
        .long(PIXELS, b"OW", &pixels)
        .bytes;
    let sealed = read_with(&dataset, EXPLICIT, &[]);
    let bulk: Vec<_> = sealed.table.chunks.iter().filter(|chunk| chunk.class == Class::Bulk).collect();
    assert!(bulk.iter().all(|chunk| chunk.raw_bytes == 171 * 1024 && chunk.codec == Codec::SplitPredictor));
    assert_eq!(bulk.len(), 6);
    let shape = bulk[0].shape.clone().expect("native");
    assert_eq!(
        (shape.sample_bytes, shape.big_endian, shape.signed, shape.row_bytes, shape.components),
        (2, false, false, 1024, 1)
    );
    assert_eq!(sealed.table.bulk_values[0].kind, BulkKind::Native);
    assert!(sealed.record.len() < 5000);
}

#[test]
fn a_second_pixel_data_gets_no_chunks_of_its_own() {
    let dataset =
        (0..1000).fold(Dataset::explicit_start(), |dataset, _| dataset.long(PIXELS, b"OW", &[1, 2]));
    let sealed = read_with(&dataset.bytes, EXPLICIT, &[Oddity::RepeatedPixelData]);
    assert!(sealed.table.chunks.len() <= 3);
}
