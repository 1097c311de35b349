//! Packs list and open themselves with the study key alone.

use filmgate_model::{PackId, Random, SiteId, StudyKeyId, Timestamp};
use filmgate_seal::{
    Error, FooterBlocks, PACK_HEADER_BYTES, PACK_TRAILER_BYTES, PackFooter, PackKind, PackWriter,
    footer_range, open_footer, open_record, pack_header,
};

use crate::support::*;

const STUDY_KEY: [u8; 32] = [42; 32];

fn instance(series: &str, number: usize) -> Sealed {
    let dataset = Dataset::explicit_start()
        .short((0x20, 0x0e), b"UI", series.as_bytes())
        .short((0x20, 0x13), b"IS", format!("{number:4}").as_bytes())
        .long(PIXELS, b"OW", &noise(1000 + 2 * number))
        .bytes;
    seal_in(&dataset, EXPLICIT, &Default::default(), &[500])
}

/// A pack of the records, with metadata of the given length each.
fn pack_of(records: &[Sealed], metadata_bytes: usize) -> Vec<u8> {
    let random = Random::seeded(1);
    let (mut writer, mut pack) = PackWriter::new(
        PackId::random(&random),
        SiteId::random(&random),
        StudyKeyId::random(&random),
        &STUDY_KEY,
        Timestamp(5),
        PackKind::Study,
    );
    writer.stamp_metadata(3);
    for record in records {
        let metadata = metadata_of(record, metadata_bytes);
        assert_eq!(writer.add(&record.table, &record.key, &metadata), pack.len() as u64);
        pack.extend_from_slice(&record.record);
    }
    assert_eq!(writer.bytes(), pack.len() as u64);
    pack.extend_from_slice(&writer.finish());
    pack
}

/// Metadata that does not compress, another for each record.
fn metadata_of(record: &Sealed, bytes: usize) -> Vec<u8> {
    let mut metadata = vec![0; bytes];
    Random::seeded(record.record.len() as u64).fill(&mut metadata);
    metadata
}

fn open(pack: &[u8], key: &[u8; 32]) -> Result<PackFooter, Error> {
    let header = pack_header(&pack[..PACK_HEADER_BYTES])?;
    let trailer = &pack[pack.len() - PACK_TRAILER_BYTES..];
    let range = footer_range(pack.len() as u64, trailer)?;
    open_footer(key, &header, &pack[range.start as usize..range.end as usize])
}

#[test]
fn a_pack_gives_back_its_records() {
    let records: Vec<_> =
        (0..20).map(|number| instance(["1.2.3.1\0", "1.2.3.2\0"][number % 2], number)).collect();
    // Metadata of all lengths: many records to a block, one, and several blocks to a record.
    for metadata_bytes in [0, 100, 200_000, 700_000, 2_500_000] {
        let records = &records[..if metadata_bytes > 100 { 5 } else { 20 }];
        let pack = pack_of(records, metadata_bytes);
        let footer = open(&pack, &STUDY_KEY).expect("the pack opens");
        assert_eq!(footer.records.len(), records.len());
        assert_eq!((footer.kind, footer.created_at), (PackKind::Study, Timestamp(5)));
        for sealed in records {
            let packed = footer.records.iter().find(|packed| packed.record_id == sealed.id).expect("listed");
            assert_eq!(packed.table, sealed.table);
            assert_eq!(packed.key, sealed.key);
            assert_eq!(packed.metadata_generator, 3);
            assert!(packed.metadata_json == metadata_of(sealed, metadata_bytes));
            let range = packed.offset as usize..packed.offset as usize + packed.table.record_bytes as usize;
            assert!(open_record(&packed.key, packed.record_id, &pack[range]).is_ok());
        }
    }
}

#[test]
fn an_empty_pack_opens() {
    assert!(open(&pack_of(&[], 0), &STUDY_KEY).expect("opens").records.is_empty());
}

#[test]
fn a_footer_opens_block_by_block() {
    let records: Vec<_> = (0..4).map(|number| instance("1.2.3.1\0", number)).collect();
    let pack = pack_of(&records, 600_000);
    let header = pack_header(&pack).expect("a header");
    let trailer = &pack[pack.len() - PACK_TRAILER_BYTES..];
    let range = footer_range(pack.len() as u64, trailer).expect("a trailer");
    let mut blocks = FooterBlocks::new(&STUDY_KEY, &header, trailer).expect("a trailer");
    let mut rest = &pack[range.start as usize..];
    let mut counts = Vec::new();
    while !blocks.is_finished() {
        let (head, after) = rest.split_first_chunk().expect("a head");
        let (sealed, after) = after.split_at(FooterBlocks::sealed_bytes(head).expect("a head"));
        counts.push(blocks.open(head, sealed).expect("opens").len());
        rest = after;
    }
    assert_eq!(counts, [1, 1, 1, 1]);
    assert_eq!(rest.len(), PACK_TRAILER_BYTES);
}

#[test]
fn any_flipped_bit_of_header_or_footer_is_noticed() {
    let pack = pack_of(&[instance("1.2.3.1\0", 1)], 100);
    let range = footer_range(pack.len() as u64, &pack[pack.len() - PACK_TRAILER_BYTES..]).expect("a trailer");
    let places = (0..PACK_HEADER_BYTES).chain(range.start as usize..pack.len());
    for place in places {
        for bit in 0..8 {
            let mut flipped = pack.clone();
            flipped[place] ^= 1 << bit;
            assert!(open(&flipped, &STUDY_KEY).is_err(), "byte {place} bit {bit}");
        }
    }
    assert!(open(&pack, &[41; 32]).is_err());
    assert!(open(&pack[..pack.len() - 1], &STUDY_KEY).is_err());
}

#[test]
fn blocks_cannot_be_moved_left_out_or_taken_from_elsewhere() {
    let records: Vec<_> = (0..3).map(|number| instance("1.2.3.1\0", number)).collect();
    let pack = pack_of(&records, 600_000);
    let header = pack_header(&pack).expect("a header");
    let trailer = &pack[pack.len() - PACK_TRAILER_BYTES..];
    let range = footer_range(pack.len() as u64, trailer).expect("a trailer");
    let footer = &pack[range.start as usize..];
    let block_bytes = 12 + FooterBlocks::sealed_bytes(footer.first_chunk().expect("a head")).expect("a head");
    let moved =
        [&footer[block_bytes..2 * block_bytes], &footer[..block_bytes], &footer[2 * block_bytes..]].concat();
    assert!(open_footer(&STUDY_KEY, &header, &moved).is_err());
    assert!(open_footer(&STUDY_KEY, &header, &footer[block_bytes..]).is_err());
    assert!(open_footer(&STUDY_KEY, &header, trailer).is_err());
    let elsewhere = filmgate_seal::PackHeader { pack_id: PackId([1; 16]), ..header };
    assert!(open_footer(&STUDY_KEY, &elsewhere, footer).is_err());
}

#[test]
fn a_footer_is_not_believed_beyond_its_limits() {
    let pack = pack_of(&[instance("1.2.3.1\0", 1)], 100);
    let trailer_at = pack.len() - PACK_TRAILER_BYTES;
    let range = footer_range(pack.len() as u64, &pack[trailer_at..]).expect("a trailer");
    let head: [u8; FooterBlocks::HEAD_BYTES] = *pack[range.start as usize..].first_chunk().expect("a head");
    // Raw and sealed length of a block.
    for place in [4, 8] {
        let mut head = head;
        head[place..place + 4].copy_from_slice(&(2_u32 << 20).to_le_bytes());
        assert!(matches!(FooterBlocks::sealed_bytes(&head), Err(Error::BeyondLimit { .. })), "at {place}");
    }
    // Bytes of all blocks.
    let mut trailer = pack[trailer_at..].to_vec();
    trailer[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(footer_range(pack.len() as u64, &trailer).is_err());
}
