//! How datasets are read: the standard's rules, and one test for each thing the field does to them.

use std::{collections::BTreeMap, io::Write, sync::Arc};

use filmgate_model::{tags, transfer_syntax::Encoding};
use filmgate_seal::{Class, Codec, Oddity, Reading, SealOptions};
use flate2::{Compression, write::DeflateEncoder, write::ZlibEncoder};

use crate::support::*;

fn broken(dataset: &[u8], syntax: &str) {
    let sealed = seal(dataset, syntax);
    assert!(matches!(sealed.table.reading, Reading::Broken(_)), "{:?}", sealed.table.reading);
}

#[test]
fn the_three_encodings_say_the_same() {
    let explicit = Dataset::explicit_start().number((0x28, 0x10), 512).bytes;
    let implicit = Dataset::implicit_start().implicit((0x28, 0x10), &512u16.to_le_bytes()).bytes;
    let big = Dataset::big()
        .short((8, 0x16), b"UI", b"1.2.3.4\0")
        .short((8, 0x18), b"UI", b"1.2.3.5\0")
        .number((0x28, 0x10), 512)
        .bytes;
    let mut seen = Vec::new();
    for (dataset, syntax) in [(explicit, EXPLICIT), (implicit, IMPLICIT), (big, BIG)] {
        let sealed = read_with(&dataset, syntax, &[]);
        assert_eq!(sealed.table.facts.number(tags::ROWS), Some(512));
        assert_eq!(sealed.table.facts.text(tags::SOP_INSTANCE_UID).as_deref(), Some("1.2.3.5"));
        seen.push(sealed.lines());
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    assert_eq!(seen[0][2], "(0028,0010) US [0, 2]");
}

#[test]
fn sequences_of_both_lengths_are_entered() {
    let dataset = Dataset::explicit_start()
        .long_head((8, 0x1140), b"SQ", 26)
        .plain(ITEM, 18)
        .short((8, 0x1150), b"UI", b"1.2.3.4.5\0")
        .long_head((8, 0x1140), b"SQ", UNDEFINED)
        .plain(ITEM, UNDEFINED)
        .short((8, 0x1150), b"UI", b"1.2.3.6\0")
        .plain(ITEM_END, 0)
        .plain(SEQUENCE_END, 0)
        .short((0x10, 0x20), b"LO", b"ID")
        .bytes;
    let lines = read_with(&dataset, EXPLICIT, &[]).lines();
    assert_eq!(
        lines[2..],
        [
            "(0008,1140) SQ",
            " item",
            "  (0008,1150) UI [49, 46, 50, 46, 51, 46, 52, 46, 53, 0]",
            "(0008,1140) SQ",
            " item",
            "  (0008,1150) UI [49, 46, 50, 46, 51, 46, 54, 0]",
            "(0010,0020) LO ID",
        ]
    );
}

/// PS3.5 6.2.2 note 4: an undefined length under UN is a sequence in implicit VR little endian.
#[test]
fn un_of_undefined_length_is_an_implicit_sequence() {
    let dataset = Dataset::explicit_start()
        .long_head((9, 0x1001), b"UN", UNDEFINED)
        .plain(ITEM, UNDEFINED)
        .implicit((0x10, 0x20), b"IN")
        .plain(ITEM_END, 0)
        .plain(SEQUENCE_END, 0)
        .short((0x10, 0x20), b"LO", b"ID")
        .bytes;
    let sealed = read_with(&dataset, EXPLICIT, &[]);
    assert_eq!(sealed.table.facts.text(tags::PATIENT_ID).as_deref(), Some("ID"));
    assert_eq!(sealed.lines()[2..], ["(0009,1001) SQ", " item", "  (0010,0020) LO IN", "(0010,0020) LO ID"]);
}

#[test]
fn explicit_items_under_un_are_read_too() {
    let dataset = Dataset::explicit_start()
        .long_head((9, 0x1001), b"UN", UNDEFINED)
        .plain(ITEM, UNDEFINED)
        .short((0x10, 0x20), b"LO", b"IN")
        .plain(ITEM_END, 0)
        .plain(SEQUENCE_END, 0)
        .short((0x10, 0x20), b"LO", b"ID")
        .bytes;
    assert_eq!(read_with(&dataset, EXPLICIT, &[]).lines()[4..], ["  (0010,0020) LO IN", "(0010,0020) LO ID"]);
}

/// A known sequence under UN with a length holds implicit VR little endian (PS3.5 6.2.2 note 2).
#[test]
fn a_known_sequence_under_un_is_entered_when_visited() {
    let dataset = Dataset::explicit_start()
        .long_head((8, 0x1140), b"UN", 18)
        .plain(ITEM, 10)
        .implicit((0x10, 0x20), b"IN")
        .bytes;
    assert_eq!(
        read_with(&dataset, EXPLICIT, &[]).lines()[2..],
        ["(0008,1140) SQ", " item", "  (0010,0020) LO IN"]
    );
}

#[test]
fn implicit_items_in_an_explicit_dataset() {
    let dataset = Dataset::explicit_start()
        .long_head((8, 0x1140), b"SQ", UNDEFINED)
        .plain(ITEM, UNDEFINED)
        .implicit((8, 0x1150), b"1.2.3.4\0")
        .implicit((8, 0x1155), b"1.2.3.6\0")
        .plain(ITEM_END, 0)
        .plain(ITEM, UNDEFINED)
        .short((8, 0x1150), b"UI", b"1.2.3.4\0")
        .plain(ITEM_END, 0)
        .plain(SEQUENCE_END, 0)
        .short((0x10, 0x20), b"LO", b"ID")
        .bytes;
    let lines = read_with(&dataset, EXPLICIT, &[]).lines();
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[8], "(0010,0020) LO ID");
}

#[test]
fn an_implicit_element_among_explicit_ones() {
    let dataset =
        Dataset::explicit_start().implicit((0x10, 0x10), b"A^B ").short((0x10, 0x20), b"LO", b"ID").bytes;
    let sealed = read_with(&dataset, EXPLICIT, &[Oddity::ImplicitElement]);
    assert_eq!(sealed.lines()[2..], ["(0010,0010) PN A^B", "(0010,0020) LO ID"]);
}

/// PS3.5 7.5: an item of undefined length ends with a delimiter; the next item or the sequence's end will do.
#[test]
fn missing_item_delimiters() {
    let dataset = Dataset::explicit_start()
        .long_head((8, 0x1140), b"SQ", UNDEFINED)
        .plain(ITEM, UNDEFINED)
        .short((8, 0x1150), b"UI", b"1.2.3.4\0")
        .plain(ITEM, UNDEFINED)
        .short((8, 0x1150), b"UI", b"1.2.3.4\0")
        .plain(SEQUENCE_END, 0)
        .short((0x10, 0x20), b"LO", b"ID")
        .bytes;
    let sealed = read_with(&dataset, EXPLICIT, &[Oddity::MissingDelimiter]);
    assert_eq!(sealed.table.facts.text(tags::PATIENT_ID).as_deref(), Some("ID"));
    assert_eq!(sealed.lines().iter().filter(|line| line.trim() == "item").count(), 2);
}

#[test]
fn a_missing_sequence_delimiter() {
    let dataset = Dataset::explicit_start()
        .long_head((8, 0x1140), b"SQ", UNDEFINED)
        .plain(ITEM, 16)
        .short((8, 0x1150), b"UI", b"1.2.3.4\0")
        .short((0x10, 0x20), b"LO", b"ID")
        .bytes;
    let sealed = read_with(&dataset, EXPLICIT, &[Oddity::MissingDelimiter]);
    assert_eq!(sealed.table.facts.text(tags::PATIENT_ID).as_deref(), Some("ID"));
}

#[test]
fn delimiters_missing_at_the_end() {
    let dataset = Dataset::explicit_start()
        .long_head((8, 0x1140), b"SQ", UNDEFINED)
        .plain(ITEM, UNDEFINED)
        .short((8, 0x1150), b"UI", b"1.2.3.4\0")
        .bytes;
    read_with(&dataset, EXPLICIT, &[Oddity::MissingDelimiter]);
}

#[test]
fn stray_delimiters_are_stepped_over_whatever_their_length() {
    let dataset = Dataset::explicit_start()
        .plain(ITEM_END, 0)
        .plain(SEQUENCE_END, 77)
        .long_head((8, 0x1140), b"SQ", 24)
        .plain(ITEM, 16)
        .short((8, 0x1150), b"UI", b"1.2.3.4\0")
        .plain(SEQUENCE_END, 0)
        .short((0x10, 0x20), b"LO", b"ID")
        .bytes;
    let sealed = read_with(&dataset, EXPLICIT, &[Oddity::StrayDelimiter]);
    assert_eq!(sealed.table.facts.text(tags::PATIENT_ID).as_deref(), Some("ID"));
}

#[test]
fn elements_of_a_stray_item_are_not_the_datasets_own() {
    let dataset = Dataset::explicit_start()
        .plain(ITEM, 10)
        .short((0x10, 0x20), b"LO", b"NO")
        .short((0x10, 0x20), b"LO", b"ID")
        .bytes;
    let sealed = read_with(&dataset, EXPLICIT, &[Oddity::StrayDelimiter]);
    assert_eq!(sealed.table.facts.text(tags::PATIENT_ID).as_deref(), Some("ID"));
}

#[test]
fn trailing_zeros_of_any_number() {
    for zeros in [1, 7, 8, 9, 11, 12, 100, 5000] {
        let dataset = Dataset::explicit_start().raw(&vec![0; zeros]).bytes;
        let sealed = read_with(&dataset, EXPLICIT, &[Oddity::TrailingPadding]);
        assert_eq!(sealed.lines().len(), 2);
    }
    let dataset = Dataset::implicit_start().raw(&[0; 100]).bytes;
    read_with(&dataset, IMPLICIT, &[Oddity::TrailingPadding]);
}

/// PS3.10 7.2.
#[test]
fn trailing_padding_element_whole_and_cut() {
    let whole = Dataset::explicit_start().long((0xfffc, 0xfffc), b"OB", &[0; 100]).bytes;
    read_with(&whole, EXPLICIT, &[]);
    let cut = Dataset::explicit_start().long_head((0xfffc, 0xfffc), b"OB", 100).raw(&[0; 50]).bytes;
    read_with(&cut, EXPLICIT, &[]);
}

/// PS3.5 7.1.1 wants even lengths; odd ones are believed.
#[test]
fn odd_lengths_are_taken_as_they_stand() {
    let dataset =
        Dataset::explicit_start().short((0x10, 0x10), b"PN", b"A^B").short((0x10, 0x20), b"LO", b"ID").bytes;
    assert_eq!(read_with(&dataset, EXPLICIT, &[Oddity::OddLength]).lines()[3], "(0010,0020) LO ID");
}

/// PS3.5 7.1.2: VRs to come have a 32-bit length.
#[test]
fn unknown_vrs_of_both_forms() {
    for vr in [b"ZZ", b"XY"] {
        let long =
            Dataset::explicit_start().long((9, 0x1001), vr, b"ab").short((0x10, 0x20), b"LO", b"ID").bytes;
        assert_eq!(read_with(&long, EXPLICIT, &[Oddity::UnknownVr]).lines()[3], "(0010,0020) LO ID");
    }
    for vr in [b"ZZ", b"??", b"--", b"  "] {
        let short =
            Dataset::explicit_start().short((9, 0x1001), vr, b"ab").short((0x10, 0x20), b"LO", b"ID").bytes;
        assert_eq!(read_with(&short, EXPLICIT, &[Oddity::UnknownVr]).lines()[3], "(0010,0020) LO ID");
    }
}

#[test]
fn cut_off_inside_an_element_is_broken() {
    let whole = Dataset::explicit_start()
        .long_head((8, 0x1140), b"SQ", 70_016)
        .plain(ITEM, 70_008)
        .short((8, 0x1150), b"UI", b"1.2.3.4\0")
        .long((8, 0x1160), b"OB", &noise(69_980))
        .long((0x7fe0, 0x10), b"OW", &noise(1000));
    assert_eq!(seal(&whole.bytes, EXPLICIT).table.reading, Reading::Read);
    let first = 16;
    let cuts =
        [5, 12, first + 3, first + 9, 50, 70, 1000, 70_063, whole.bytes.len() - 1000, whole.bytes.len() - 1];
    for cut in cuts {
        broken(&whole.bytes[..cut], EXPLICIT);
    }
    for cut in [first, 2 * first] {
        assert_eq!(seal(&whole.bytes[..cut], EXPLICIT).table.reading, Reading::Read, "between elements");
    }
}

#[test]
fn a_fragment_cut_off_is_broken_a_missing_delimiter_is_not() {
    let start = Dataset::explicit_start().long_head(PIXELS, b"OB", UNDEFINED).plain(ITEM, 0).plain(ITEM, 100);
    broken(&start.clone().raw(&[1; 99]).bytes, JPEG);
    read_with(&start.raw(&[1; 100]).bytes, JPEG, &[Oddity::MissingDelimiter]);
    let undefined =
        Dataset::explicit_start().long_head(PIXELS, b"OB", UNDEFINED).plain(ITEM, 0).plain(ITEM, UNDEFINED);
    broken(&undefined.raw(&[1; 100]).bytes, JPEG);
}

#[test]
fn a_dataset_of_nothing_is_broken() {
    for syntax in [EXPLICIT, IMPLICIT, BIG, DEFLATED] {
        broken(b"", syntax);
        broken(b"hello, world: this is no dataset at all, whatever its syntax says", syntax);
        broken(&[0; 300], syntax);
        broken(&noise(3000), syntax);
    }
}

#[test]
fn nothing_of_an_unknown_syntax_is_unread_and_accepted() {
    for dataset in [&b""[..], b"hello, world: this is no dataset at all", &noise(300_000)] {
        let sealed = seal(dataset, PRIVATE);
        assert!(matches!(sealed.table.reading, Reading::Unread(_)));
        assert!(sealed.lines().is_empty());
    }
}

#[test]
fn a_huge_declared_length_is_only_counted() {
    for syntax in [EXPLICIT, IMPLICIT] {
        let head = match syntax {
            IMPLICIT => Dataset::implicit_start().plain(PIXELS, 0xffff_fff0),
            _ => Dataset::explicit_start().long_head(PIXELS, b"OB", 0xffff_fff0),
        };
        let sealed = seal(&head.raw(&[1; 100]).bytes, syntax);
        assert_eq!(
            sealed.table.reading,
            Reading::Broken("4294967180 bytes missing of (7FE0,0010)".to_owned())
        );
        assert_eq!(sealed.table.bulk_values[0].bytes, 100);
    }
}

#[test]
fn sequences_beyond_the_depth_are_accepted() {
    let nested = |levels: usize| {
        (0..levels).fold(Dataset::explicit_start(), |dataset, _| {
            dataset.long_head((8, 0x1140), b"SQ", UNDEFINED).plain(ITEM, UNDEFINED)
        })
    };
    let closed = |levels: usize| {
        (0..levels).fold(nested(levels), |dataset, _| dataset.plain(ITEM_END, 0).plain(SEQUENCE_END, 0))
    };
    let after = |dataset: Dataset| dataset.short((0x10, 0x20), b"LO", b"ID").bytes;
    let sealed = read_with(&after(closed(64)), EXPLICIT, &[]);
    assert_eq!(sealed.table.facts.text(tags::PATIENT_ID).as_deref(), Some("ID"));
    for levels in [65, 20_000] {
        let sealed = read_with(&after(closed(levels)), EXPLICIT, &[Oddity::BeyondDepth]);
        assert_eq!(sealed.table.facts.text(tags::PATIENT_ID), None);
        assert_eq!(sealed.lines().iter().filter(|line| line.ends_with("SQ")).count(), 64);
    }
    // With a length it is one value, and reading goes on behind it.
    let deep = nested(64).long((8, 0x1140), b"SQ", &Dataset::new().plain(ITEM, 0).bytes);
    let deep = (0..64).fold(deep, |dataset, _| dataset.plain(ITEM_END, 0).plain(SEQUENCE_END, 0));
    let sealed = read_with(&after(deep), EXPLICIT, &[]);
    assert_eq!(sealed.table.facts.text(tags::PATIENT_ID).as_deref(), Some("ID"));
}

#[test]
fn a_dataset_in_another_encoding_than_declared() {
    let explicit = Dataset::explicit_start().number((0x28, 0x10), 512).bytes;
    let implicit = Dataset::implicit_start().implicit((0x28, 0x10), &512u16.to_le_bytes()).bytes;
    let big = Dataset::big().short((8, 0x16), b"UI", b"1.2.3.4\0").number((0x28, 0x10), 512).bytes;
    let cases = [
        (&explicit, IMPLICIT, Encoding::ExplicitLittle),
        (&explicit, BIG, Encoding::ExplicitLittle),
        (&explicit, DEFLATED, Encoding::ExplicitLittle),
        (&implicit, EXPLICIT, Encoding::ImplicitLittle),
        (&implicit, JPEG, Encoding::ImplicitLittle),
        (&big, EXPLICIT, Encoding::ExplicitBig),
    ];
    for (dataset, syntax, encoding) in cases {
        let sealed = read_with(dataset, syntax, &[Oddity::OtherEncoding]);
        assert_eq!(sealed.table.encoding, Some(encoding), "{syntax}");
        assert_eq!(sealed.table.facts.number(tags::ROWS), Some(512));
    }
}

#[test]
fn a_private_syntax_is_configured_or_sniffed() {
    let explicit = Dataset::explicit_start().number((0x28, 0x10), 512).bytes;
    let implicit = Dataset::implicit_start().implicit((0x28, 0x10), &512u16.to_le_bytes()).bytes;
    for dataset in [&explicit, &implicit] {
        let sealed = read_with(dataset, PRIVATE, &[]);
        assert_eq!(sealed.table.facts.number(tags::ROWS), Some(512));
    }
    // Deflated bytes show nothing: only the configuration helps.
    let deflated = deflate(&explicit);
    assert!(matches!(seal(&deflated, PRIVATE).table.reading, Reading::Unread(_)));
    let private_syntaxes = Arc::new(BTreeMap::from([(PRIVATE.to_owned(), Encoding::Deflated)]));
    let options = SealOptions { private_syntaxes, ..SealOptions::default() };
    let sealed = seal_in(&deflated, PRIVATE, &options, &[7]);
    assert_eq!(sealed.table.reading, Reading::Read);
    assert_eq!(sealed.table.facts.number(tags::ROWS), Some(512));
    // A guess that ends badly leaves an unread dataset, not a broken one.
    assert!(matches!(seal(&explicit[..explicit.len() - 1], PRIVATE).table.reading, Reading::Unread(_)));
}

fn deflate(dataset: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(dataset).expect("to memory");
    encoder.finish().expect("to memory")
}

#[test]
fn a_deflated_dataset_is_inflated_to_be_read_and_kept_as_it_came() {
    let plain = Dataset::explicit_start()
        .number((0x28, 0x10), 512)
        .long(PIXELS, b"OW", &vec![5; 300_000])
        .short((0xfffa, 0xfff0), b"LO", b"after ")
        .bytes;
    let sealed = read_with(&deflate(&plain), DEFLATED, &[]);
    assert_eq!(sealed.table.facts.number(tags::ROWS), Some(512));
    assert_eq!(sealed.table.encoding, Some(Encoding::Deflated));
    assert!(
        sealed.table.chunks.iter().all(|chunk| chunk.class == Class::Header && chunk.codec == Codec::Stored)
    );
    assert!(sealed.lines().contains(&"(7FE0,0010) OW bulk 300000 Native".to_owned()));
    assert_eq!(sealed.lines().last().map(String::as_str), Some("(FFFA,FFF0) LO after"));
    let native = read_with(&plain, EXPLICIT, &[]);
    assert_eq!(sealed.table.pixel_digest, native.table.pixel_digest);
    assert!(sealed.table.pixel_digest.is_some());
}

#[test]
fn deflated_datasets_of_the_field() {
    let plain = Dataset::explicit_start()
        .number((0x28, 0x10), 512)
        .raw(&[])
        .long(PIXELS, b"OW", &noise(70_000))
        .bytes;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain).expect("to memory");
    let zlib = encoder.finish().expect("to memory");
    assert_eq!(read_with(&zlib, DEFLATED, &[]).table.facts.number(tags::ROWS), Some(512));
    let mut padded = deflate(&plain);
    padded.push(0);
    read_with(&padded, DEFLATED, &[]);
    broken(&deflate(&plain)[..30_000], DEFLATED);
    let mut damaged = deflate(&plain);
    damaged.splice(0..4, [0xff; 4]);
    broken(&damaged, DEFLATED);
}

#[test]
fn a_deflate_bomb_is_inflated_to_its_limit() {
    let plain = Dataset::explicit_start().long(PIXELS, b"OW", &vec![0; 20_000_000]).bytes;
    let options = SealOptions { inflated_bytes_max: 1_000_000, ..SealOptions::default() };
    let bomb = deflate(&plain);
    assert!(bomb.len() < 30_000);
    let sealed = seal_in(&bomb, DEFLATED, &options, &[1000]);
    sealed.check(&bomb);
    assert_eq!(sealed.table.reading, Reading::Read);
    assert_eq!(sealed.table.oddities, [Oddity::BeyondInflatedBytes]);
    assert_eq!(sealed.table.facts.text(tags::SOP_INSTANCE_UID).as_deref(), Some("1.2.3.5"));
}

#[test]
fn a_header_without_end_passes_unread_behind_its_limit() {
    let dataset =
        (0..2000).fold(Dataset::explicit_start(), |dataset, _| dataset.short((9, 1), b"LO", &[b'x'; 64]));
    let options = SealOptions { header_bytes_max: 10_000, ..SealOptions::default() };
    let sealed = seal_in(&dataset.bytes, EXPLICIT, &options, &[1000]);
    sealed.check(&dataset.bytes);
    assert_eq!(sealed.table.reading, Reading::Read);
    assert_eq!(sealed.table.oddities, [Oddity::BeyondHeaderBytes]);
    assert!(sealed.header_bytes().len() < 11_000);
    assert!(sealed.lines().len() > 100);
}

#[test]
fn signed_pixels_make_their_values_signed() {
    let dataset = Dataset::implicit_start()
        .implicit((0x28, 0x103), &[1, 0])
        .implicit((0x28, 0x106), &[0xff, 0xff])
        .bytes;
    assert_eq!(read_with(&dataset, IMPLICIT, &[]).lines()[3], "(0028,0106) SS [255, 255]");
}

#[test]
fn big_endian_numbers_arrive_turned() {
    let dataset = Dataset::big()
        .short((8, 0x16), b"UI", b"1.2.3.4\0")
        .short((0x18, 0x9072), b"FD", &1.5f64.to_be_bytes())
        .short((0x28, 9), b"AT", &[0x00, 0x18, 0x10, 0x63])
        .short((0x28, 0x3002), b"US", &[1, 0, 0, 0, 0, 16])
        .bytes;
    let lines = read_with(&dataset, BIG, &[]).lines();
    assert_eq!(lines[1], format!("(0018,9072) FD {:?}", 1.5f64.to_le_bytes()));
    assert_eq!(lines[2], "(0028,0009) AT [24, 0, 99, 16]");
    assert_eq!(lines[3], "(0028,3002) US [0, 1, 0, 0, 16, 0]");
}

#[test]
fn the_first_of_a_repeated_element_counts() {
    let dataset =
        Dataset::explicit_start().short((0x10, 0x20), b"LO", b"ID").short((0x10, 0x20), b"LO", b"NO").bytes;
    assert_eq!(read_with(&dataset, EXPLICIT, &[]).table.facts.text(tags::PATIENT_ID).as_deref(), Some("ID"));
}

/// File meta information in front of a dataset stays explicit under any syntax (PS3.10 7.1).
#[test]
fn group_two_left_in_an_implicit_dataset() {
    let dataset = Dataset::new()
        .short((2, 0x10), b"UI", b"1.2.840.10008.1.2\0")
        .implicit((8, 0x16), b"1.2.3.4\0")
        .implicit((8, 0x18), b"1.2.3.5\0")
        .bytes;
    let sealed = seal(&dataset, IMPLICIT);
    assert_eq!(sealed.table.reading, Reading::Read);
    assert_eq!(sealed.table.facts.text(tags::SOP_INSTANCE_UID).as_deref(), Some("1.2.3.5"));
}
