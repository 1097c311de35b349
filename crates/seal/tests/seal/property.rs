//! Arbitrary datasets, splits and bytes.

use filmgate_model::RecordId;
use filmgate_seal::{
    PACK_TRAILER_BYTES, RecordKey, SealOptions, footer_range, open_record, open_table, pack_header,
    pack_trailer, table_range,
};
use proptest::{collection::vec, prelude::*};

use crate::support::*;

/// A piece of a dataset, sound or not.
#[derive(Debug, Clone)]
enum Piece {
    Short(u16, Vec<u8>),
    Long(u16, [u8; 2], Vec<u8>),
    Head(u16, [u8; 2], u32),
    Plain((u16, u16), u32),
    Raw(Vec<u8>),
    Pixels(usize),
}

fn piece() -> impl Strategy<Value = Piece> {
    let group = || prop_oneof![Just(8u16), Just(0x10), Just(0x28), Just(0x7fe0), Just(9), any::<u16>()];
    let long_vr = || prop_oneof![Just(*b"OB"), Just(*b"SQ"), Just(*b"UN"), Just(*b"UT"), Just(*b"OW")];
    let length = || prop_oneof![Just(UNDEFINED), 0..200u32, 60_000..70_000u32, any::<u32>()];
    let marker = prop_oneof![Just(ITEM), Just(ITEM_END), Just(SEQUENCE_END), Just(PIXELS)];
    prop_oneof![
        4 => (group(), vec(any::<u8>(), 0..40)).prop_map(|(group, value)| Piece::Short(group, value)),
        2 => (group(), long_vr(), vec(any::<u8>(), 0..300)).prop_map(|(group, vr, value)| Piece::Long(group, vr, value)),
        3 => (group(), long_vr(), length()).prop_map(|(group, vr, length)| Piece::Head(group, vr, length)),
        4 => (marker, prop_oneof![Just(0), length()]).prop_map(|(tag, length)| Piece::Plain(tag, length)),
        1 => vec(any::<u8>(), 0..50).prop_map(Piece::Raw),
        1 => (0..200_000usize).prop_map(Piece::Pixels),
    ]
}

fn dataset() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), vec(piece(), 0..40)).prop_map(|(sound_start, pieces)| {
        let start = if sound_start { Dataset::explicit_start() } else { Dataset::new() };
        let whole = pieces.into_iter().fold(start, |dataset, piece| match piece {
            Piece::Short(group, value) => dataset.short((group, 0x18), b"LO", &value),
            Piece::Long(group, vr, value) => dataset.long((group, 0x20), &vr, &value),
            Piece::Head(group, vr, length) => dataset.long_head((group, 0x10), &vr, length),
            Piece::Plain(tag, length) => dataset.plain(tag, length),
            Piece::Raw(bytes) => dataset.raw(&bytes),
            Piece::Pixels(bytes) => dataset.long(PIXELS, b"OW", &vec![7; bytes]),
        });
        whole.bytes
    })
}

fn syntax() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(EXPLICIT), Just(IMPLICIT), Just(BIG), Just(DEFLATED), Just(JPEG), Just(PRIVATE)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_dataset_comes_back_however_it_is_split(
        dataset in dataset(),
        syntax in syntax(),
        pieces in vec(1..5000usize, 1..20),
        chunk_size_bytes in 4096..70_000usize,
    ) {
        let options = SealOptions { chunk_size_bytes, ..SealOptions::default() };
        let sealed = seal_in(&dataset, syntax, &options, &pieces);
        sealed.check(&dataset);
        let whole = seal_in(&dataset, syntax, &options, &[usize::MAX]);
        prop_assert_eq!(&whole.table, &sealed.table);
        prop_assert!(whole.record == sealed.record);
        // Visits end, balanced, whatever the bytes are.
        sealed.lines();
    }

    #[test]
    fn arbitrary_bytes_seal_and_come_back(dataset in vec(any::<u8>(), 0..3000), syntax in syntax()) {
        let sealed = seal_in(&dataset, syntax, &SealOptions::default(), &[1, 7, 64]);
        sealed.check(&dataset);
        sealed.lines();
    }

    #[test]
    fn arbitrary_bytes_open_to_an_error(bytes in vec(any::<u8>(), 0..300), length in any::<u64>()) {
        let key = RecordKey::from_bytes([1; 32]);
        prop_assert!(open_table(&key, RecordId([2; 16]), &bytes).is_err());
        prop_assert!(open_record(&key, RecordId([2; 16]), &bytes).is_err());
        prop_assert!(table_range(length, &bytes).is_err());
        prop_assert!(pack_header(&bytes).is_err());
        prop_assert!(pack_trailer(&bytes).is_err());
        let mut trailer = vec![0; PACK_TRAILER_BYTES];
        for (place, byte) in trailer.iter_mut().zip(&bytes) {
            *place = *byte;
        }
        trailer[56..].copy_from_slice(&[0, 1, 0, 0, b'F', b'G', b'P', b'E']);
        // A trailer may be believed only within its pack.
        if let Ok(range) = footer_range(length, &trailer) {
            prop_assert!(range.start >= 64 && range.end == length);
        }
    }
}
