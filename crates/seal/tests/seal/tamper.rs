//! Nothing that was changed opens.

use filmgate_model::RecordId;
use filmgate_seal::{
    ChunkEntry, Codec, Error, RecordKey, SealOptions, TRAILER_BYTES, open_chunk, open_record, open_table,
    table_range,
};

use crate::support::*;

/// A record of several chunks of both classes.
fn sample() -> Sealed {
    let dataset = Dataset::explicit_start()
        .long(PIXELS, b"OW", &noise(20_000))
        .short((0xfffa, 0xfff0), b"LO", b"x ")
        .bytes;
    let options = SealOptions { chunk_size_bytes: 4096, ..SealOptions::default() };
    let sealed = seal_in(&dataset, EXPLICIT, &options, &[1000]);
    sealed.check(&dataset);
    assert_eq!(sealed.table.chunks.len(), 7);
    sealed
}

#[test]
fn any_flipped_bit_of_a_record_is_noticed() {
    let sealed = sample();
    let chunks_end = sealed.table.chunks.iter().map(|chunk| chunk.sealed_bytes as usize).sum::<usize>();
    // Every bit of what is small, every 97th of the pixels.
    let bits = (0..8 * chunks_end).step_by(97).chain(8 * chunks_end..8 * sealed.record.len());
    for bit in bits {
        let mut record = sealed.record.clone();
        record[bit / 8] ^= 1 << (bit % 8);
        assert!(open_record(&sealed.key, sealed.id, &record).is_err(), "bit {bit}");
    }
}

#[test]
fn a_record_cut_anywhere_does_not_open() {
    let sealed = sample();
    for length in (0..sealed.record.len()).step_by(13).chain(sealed.record.len() - 40..sealed.record.len()) {
        assert!(open_record(&sealed.key, sealed.id, &sealed.record[..length]).is_err(), "{length} bytes");
    }
    let mut longer = sealed.record.clone();
    longer.insert(0, 0);
    assert!(open_record(&sealed.key, sealed.id, &longer).is_err());
}

#[test]
fn chunks_open_only_in_their_own_place() {
    let sealed = sample();
    let chunks = &sealed.table.chunks;
    for (place, entry) in chunks.iter().enumerate() {
        for (other, _) in chunks.iter().enumerate() {
            // The sealed bytes of one chunk under the number and entry of another of equal length.
            let opened = open_chunk(&sealed.key, sealed.id, place as u32, entry, sealed.sealed_chunk(other));
            assert_eq!(opened.is_ok(), place == other, "chunk {other} as {place}");
        }
        let moved = open_chunk(&sealed.key, sealed.id, place as u32 + 1, entry, sealed.sealed_chunk(place));
        assert_eq!(moved, Err(Error::Forged));
    }
}

#[test]
fn what_a_chunk_is_bound_to_cannot_be_changed() {
    let sealed = sample();
    let entry = &sealed.table.chunks[1];
    let open = |key: &RecordKey, id: RecordId, entry: &ChunkEntry| {
        open_chunk(key, id, 1, entry, sealed.sealed_chunk(1))
    };
    assert!(open(&sealed.key, sealed.id, entry).is_ok());
    assert_eq!(open(&RecordKey::from_bytes([1; 32]), sealed.id, entry), Err(Error::Forged));
    assert_eq!(open(&sealed.key, RecordId([1; 16]), entry), Err(Error::Forged), "replayed in another record");
    let changes: [fn(&mut ChunkEntry); 3] =
        [|entry| entry.last = true, |entry| entry.codec = Codec::Zstd, |entry| entry.raw_bytes -= 1];
    for change in changes {
        let mut changed = entry.clone();
        change(&mut changed);
        assert_eq!(open(&sealed.key, sealed.id, &changed), Err(Error::Forged));
    }
    let huge = ChunkEntry { raw_bytes: u32::MAX, ..entry.clone() };
    assert!(matches!(open(&sealed.key, sealed.id, &huge), Err(Error::BeyondLimit { .. })));
}

#[test]
fn a_table_opens_only_as_its_own_records() {
    let sealed = sample();
    let length = sealed.record.len();
    let range = table_range(length as u64, &sealed.record[length - TRAILER_BYTES..]).expect("a trailer");
    let table = &sealed.record[range.start as usize..range.end as usize];
    assert_eq!(open_table(&sealed.key, sealed.id, table), Ok(sealed.table.clone()));
    assert_eq!(open_table(&sealed.key, RecordId([1; 16]), table), Err(Error::Forged));
    assert_eq!(open_table(&RecordKey::from_bytes([1; 32]), sealed.id, table), Err(Error::Forged));
    // A chunk is no table, whatever is written in front of it.
    let forged = [&table[..8], sealed.sealed_chunk(0)].concat();
    assert_eq!(open_table(&sealed.key, sealed.id, &forged), Err(Error::Forged));
    assert!(table_range(10, &sealed.record[length - TRAILER_BYTES..]).is_err());
    assert!(table_range(length as u64, &[0; TRAILER_BYTES]).is_err());
    assert!(table_range(length as u64, &[]).is_err());
}

#[test]
fn a_table_is_not_believed_beyond_its_limit() {
    let sealed = sample();
    let length = sealed.record.len();
    let trailer_at = length - TRAILER_BYTES;
    let range = table_range(length as u64, &sealed.record[trailer_at..]).expect("a trailer");
    let mut table = sealed.record[range.start as usize..range.end as usize].to_vec();
    table[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(open_table(&sealed.key, sealed.id, &table), Err(Error::BeyondLimit { .. })));
    let mut trailer = sealed.record[trailer_at..].to_vec();
    trailer[8..].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(table_range(u64::MAX, &trailer), Err(Error::BeyondLimit { .. })));
}

#[test]
fn numbers_of_newer_versions_say_so() {
    let sealed = sample();
    let version_at = sealed.record.len() - TRAILER_BYTES + 4;
    for (place, what) in [(version_at, "version"), (version_at + 1, "suite")] {
        let mut record = sealed.record.clone();
        record[place] = 9;
        assert_eq!(
            open_record(&sealed.key, sealed.id, &record).map(|_| ()),
            Err(Error::Newer { what, number: 9 })
        );
    }
}

#[test]
fn equal_datasets_seal_to_other_bytes_under_other_keys() {
    let dataset = Dataset::explicit_start().bytes;
    let one = seal_in(&dataset, EXPLICIT, &SealOptions::default(), &[100]);
    let other =
        seal_in(&Dataset::explicit_start().raw(&[0]).bytes, EXPLICIT, &SealOptions::default(), &[100]);
    assert_ne!(one.key, other.key);
    assert!(!one.record.windows(7).any(|window| window == b"1.2.3.4"), "nothing plain in a record");
    assert_ne!(one.sealed_chunk(0)[..16], other.sealed_chunk(0)[..16]);
}
