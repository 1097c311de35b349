//! FORMAT.md, followed by hand: nothing here uses the code that writes or opens.

use std::{fs, path::PathBuf};

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, inout::InOutBuf},
};
use filmgate_model::{PackId, Random, SiteId, StudyKeyId, Timestamp, tags};
use filmgate_seal::{PackKind, PackWriter, SealOptions, footer_range, open_footer, open_record, pack_header};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use crate::support::*;

const STUDY_KEY: [u8; 32] = [42; 32];

/// Takes pieces off the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        piece
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn varint(&mut self) -> u64 {
        let mut number = 0;
        for place in 0.. {
            let byte = self.u8();
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.varint() as usize;
        self.take(length)
    }

    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).expect("UTF-8")
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four")) as usize
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight")) as usize
}

fn decrypt(key: &[u8; 32], nonce: [u8; 12], associated: &[u8], sealed: &[u8]) -> Vec<u8> {
    let (body, tag) = sealed.split_last_chunk::<16>().expect("a tag");
    let mut plain = body.to_vec();
    Aes256Gcm::new(&(*key).into())
        .decrypt_inout_detached(
            &nonce.into(),
            associated,
            InOutBuf::from(plain.as_mut_slice()),
            &(*tag).into(),
        )
        .expect("decrypts");
    plain
}

fn unpack(codec: u8, packed: Vec<u8>, raw_bytes: usize) -> Vec<u8> {
    let raw = match codec {
        0 => packed,
        1 => zstd::bulk::decompress(&packed, raw_bytes).expect("a zstd frame"),
        _ => panic!("codec {codec}"),
    };
    assert_eq!(raw.len(), raw_bytes);
    raw
}

fn open_piece(
    sealed: &Sealed,
    domain: u8,
    number: u32,
    last: bool,
    codec: u8,
    raw_bytes: usize,
    bytes: &[u8],
) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[0] = domain;
    nonce[8..].copy_from_slice(&number.to_le_bytes());
    let mut associated = vec![1, domain];
    associated.extend_from_slice(sealed.id.as_bytes());
    associated.extend_from_slice(&number.to_le_bytes());
    associated.extend_from_slice(&[last.into(), codec]);
    associated.extend_from_slice(&(raw_bytes as u32).to_le_bytes());
    assert_eq!(associated.len(), 28);
    decrypt(sealed.key.as_bytes(), nonce, &associated, bytes)
}

/// A signed slope with a little noise: 300 rows of 500 samples.
fn sample_pixels() -> Vec<u8> {
    let noise = noise(150_000);
    let sample = |at: usize| (at / 500 * 3 + at % 500) as i16 - 700 + i16::from(noise[at] & 7);
    (0..150_000).flat_map(|at| sample(at).to_le_bytes()).collect()
}

/// One plane of residuals.
fn plane(coder: u8, packed: &[u8]) -> Vec<u8> {
    match coder {
        0 => packed.to_vec(),
        1 => zstd::bulk::decompress(packed, 75_000).expect("a zstd frame"),
        2 => vec![0; 75_000],
        _ => panic!("coder {coder}"),
    }
}

/// Codec 2 of signed little-endian words of one component, one sample after the other.
fn restore(packed: &[u8], coders: &[u8], row_samples: usize) -> Vec<u8> {
    let (packed_high, packed_low) = packed[4..].split_at(u32_at(packed, 0));
    let (high, low) = (plane(coders[0], packed_high), plane(coders[1], packed_low));
    let mut samples: Vec<i16> = Vec::new();
    for (at, (high, low)) in high.iter().zip(&low).enumerate() {
        let folded = u16::from_be_bytes([*high, *low]);
        let residual = (folded >> 1) as i16 ^ -((folded & 1) as i16);
        let (column, row) = (at % row_samples, at / row_samples);
        let left = if column > 0 { samples[at - 1] } else { 0 };
        let up = if row > 0 { samples[at - row_samples] } else { 0 };
        let up_left = if column > 0 && row > 0 { samples[at - row_samples - 1] } else { 0 };
        let predicted = if up_left >= left.max(up) {
            left.min(up)
        } else if up_left <= left.min(up) {
            left.max(up)
        } else {
            left + up - up_left
        };
        samples.push(predicted.wrapping_add(residual));
    }
    samples.into_iter().flat_map(i16::to_le_bytes).collect()
}

fn sample_dataset() -> Vec<u8> {
    Dataset::explicit_start()
        .short((0x20, 0x0e), b"UI", b"1.2.3.6\0")
        .number((0x28, 2), 1)
        .number((0x28, 0x10), 300)
        .number((0x28, 0x11), 500)
        .number((0x28, 0x100), 16)
        .number((0x28, 0x103), 1)
        .long(PIXELS, b"OW", &sample_pixels())
        .raw(&[0; 16])
        .bytes
}

#[test]
fn a_record_reads_by_the_book() {
    let dataset = sample_dataset();
    let sealed = seal(&dataset, EXPLICIT);
    let record = &sealed.record;
    let (body, trailer) = record.split_at(record.len() - 16);
    assert_eq!(&trailer[..8], b"FGRC\x00\x01\x00\x00");
    let (chunks, table) = body.split_at(body.len() - u64_at(trailer, 8));
    assert_eq!((table[0], table[1], table[3]), (0, 1, 0));
    let fields = open_piece(&sealed, 1, 0, true, table[2], u32_at(table, 4), &table[8..]);
    let fields = unpack(table[2], fields, u32_at(table, 4));
    let mut fields = Cursor(&fields);
    let mut seen = Vec::new();
    while !fields.0.is_empty() {
        let number = fields.varint();
        let mut content = Cursor(fields.bytes());
        read_field(number, &mut content, &sealed, chunks, &dataset);
        assert!(content.0.is_empty(), "field {number} is read to its end");
        seen.push(number);
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

fn read_field(number: u64, content: &mut Cursor<'_>, sealed: &Sealed, chunks: &[u8], dataset: &[u8]) {
    match number {
        1 => assert_eq!(content.take(16), sealed.id.as_bytes()),
        2 => {
            assert_eq!(content.take(8), 1_700_000_000_000u64.to_le_bytes());
            assert_eq!(content.u8(), 1);
            assert_eq!(content.take(16), [7; 16]);
            let texts: Vec<_> = (0..6).map(|_| content.text()).collect();
            assert_eq!(texts, ["CT_1", "FILMGATE", "192.0.2.7:40000", EXPLICIT, "1.2.3.4", "1.2.3.5"]);
            assert!(content.bytes().is_empty());
        }
        3 => {
            assert_eq!(content.take(4), [8, 0, 0x16, 0]);
            assert_eq!(content.bytes(), b"1.2.3.4\0");
            content.take(content.0.len());
        }
        4 => assert_eq!((content.u8(), content.text()), (0, "")),
        5 => assert_eq!(content.u8(), 8, "trailing padding"),
        6 => {
            assert_eq!(content.u8(), 2);
            assert_eq!(content.varint(), dataset.len() as u64);
            assert_eq!(content.take(32), Sha256::digest(dataset).as_slice());
            assert_eq!(content.varint(), 65_536);
        }
        7 => assert_eq!(
            (content.u8(), content.take(32)),
            (1, blake3::hash(&sample_pixels()).as_bytes().as_slice())
        ),
        8 => read_chunks(content, sealed, chunks, dataset),
        9 => {
            assert_eq!((content.varint(), content.varint()), (1, 0));
            assert_eq!(content.take(4), [0xe0, 0x7f, 0x10, 0]);
            assert_eq!((content.u8(), content.varint(), content.varint()), (1, 110, 300_000));
        }
        other => panic!("field {other}"),
    }
}

fn read_chunks(content: &mut Cursor<'_>, sealed: &Sealed, mut chunks: &[u8], dataset: &[u8]) {
    let count = content.varint();
    let mut opened = Vec::new();
    let mut kinds = Vec::new();
    for number in 0..count {
        let (flags, codec) = (content.u8(), content.u8());
        assert_eq!(content.varint(), opened.len() as u64);
        let (raw_bytes, sealed_bytes) = (content.varint() as usize, content.varint() as usize);
        let mut coders = &[][..];
        if flags & 2 != 0 {
            let shape = (content.u8(), content.u8(), content.varint(), content.u8());
            assert_eq!(shape, (2, 2, 1000, 1));
            coders = content.bytes();
        }
        kinds.push((flags, codec, raw_bytes));
        let (now, later) = chunks.split_at(sealed_bytes);
        let packed = open_piece(sealed, 0, number as u32, number + 1 == count, codec, raw_bytes, now);
        opened.extend(match codec {
            2 => restore(&packed, coders, 500),
            _ => unpack(codec, packed, raw_bytes),
        });
        chunks = later;
    }
    assert!(chunks.is_empty());
    assert!(opened == dataset);
    // 300 rows of 1000 bytes are shared evenly by two chunks; the padding passes unread behind the second.
    assert_eq!(kinds, [(0, 1, 110), (3, 2, 150_000), (3, 2, 150_000), (1, 0, 16)]);
}

fn derived(purpose: &[u8], context: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(b"filmgate"), &STUDY_KEY)
        .expand(&[purpose, &[0], context].concat(), &mut key)
        .expect("32 bytes");
    key
}

fn counter(number: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&number.to_le_bytes());
    nonce
}

fn sample_pack(sealed: &Sealed) -> Vec<u8> {
    let (mut writer, mut pack) = PackWriter::new(
        PackId([1; 16]),
        SiteId([2; 16]),
        StudyKeyId([3; 16]),
        &STUDY_KEY,
        Timestamp(5),
        PackKind::Quarantine,
    );
    writer.stamp_metadata(300);
    writer.add(&sealed.table, &sealed.key, br#"{"00080018":{}}"#);
    pack.extend_from_slice(&sealed.record);
    pack.extend_from_slice(&writer.finish());
    pack
}

#[test]
fn a_pack_reads_by_the_book() {
    let sealed = seal(&sample_dataset(), EXPLICIT);
    let pack = sample_pack(&sealed);
    let (header, rest) = pack.split_at(64);
    assert_eq!(&header[..8], b"FGPK\x00\x01\x02\x00");
    assert_eq!(header[8..56], [[1; 16], [2; 16], [3; 16]].concat());
    assert_eq!(header[56..], 5i64.to_le_bytes());
    let (rest, trailer) = rest.split_at(rest.len() - 64);
    assert_eq!(&trailer[56..], b"\x00\x01\x00\x00FGPE");
    assert_eq!((u32_at(trailer, 0), u32_at(trailer, 4), u64_at(trailer, 16)), (1, 1, pack.len()));
    let (records, block) = rest.split_at(rest.len() - u64_at(trailer, 8));
    assert!(records == sealed.record);
    assert_eq!(trailer[24..56], *Sha256::digest([header, block].concat()));
    // The one block.
    assert_eq!((block[1], &block[2..4], u32_at(block, 8)), (1, &[0, 0][..], block.len() - 12));
    let associated = [header, &[0; 4], &block[..12]].concat();
    let packed = decrypt(&derived(b"pack footer", &[1; 16]), counter(0), &associated, &block[12..]);
    let raw = unpack(block[0], packed, u32_at(block, 4));
    assert_eq!(u32_at(&raw, 0), raw.len() - 4);
    let mut entry = Cursor(&raw[4..]);
    assert_eq!(entry.take(16), sealed.id.as_bytes());
    assert_eq!((entry.varint(), entry.varint()), (64, sealed.record.len() as u64));
    let wrapped = entry.take(61);
    assert_eq!((wrapped[0], &wrapped[1..13]), (1, &counter(0)[..]));
    let associated = [&[1], header, sealed.id.as_bytes()].concat();
    let key = decrypt(&derived(b"pack record keys", &[1; 16]), counter(0), &associated, &wrapped[13..]);
    assert_eq!(key, sealed.key.as_bytes());
    let mut fields = Cursor(entry.bytes());
    assert_eq!((fields.varint(), fields.bytes()), (1, &sealed.id.as_bytes()[..]));
    assert_eq!((entry.varint(), entry.bytes()), (300, &br#"{"00080018":{}}"#[..]));
    assert!(entry.0.is_empty());
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sealed/v0")
}

/// A sample made before still opens. To make it anew after a change of version 0, run with
/// `FILMGATE_WRITE_FIXTURES=1`.
#[test]
fn the_kept_sample_opens() {
    let dataset = sample_dataset();
    let path = fixtures().join("study.pack");
    if std::env::var_os("FILMGATE_WRITE_FIXTURES").is_some() {
        let sealed = seal_in(&dataset, EXPLICIT, &SealOptions::default(), &[1000]);
        fs::create_dir_all(fixtures()).expect("the folder");
        fs::write(&path, sample_pack(&sealed)).expect("the sample");
    }
    let pack = fs::read(&path).expect("the sample");
    let header = pack_header(&pack).expect("a header");
    let range = footer_range(pack.len() as u64, &pack[pack.len() - 64..]).expect("a trailer");
    let footer = open_footer(&STUDY_KEY, &header, &pack[range.start as usize..]).expect("the footer opens");
    let [packed] = footer.records.as_slice() else { panic!("one record") };
    let start = packed.offset as usize;
    let record = &pack[start..start + packed.table.record_bytes as usize];
    let (table, opened) = open_record(&packed.key, packed.record_id, record).expect("the record opens");
    assert!(opened == dataset);
    assert_eq!(table, packed.table);
    assert_eq!(table.facts.text(tags::SOP_INSTANCE_UID).as_deref(), Some("1.2.3.5"));
    assert_eq!(packed.metadata_generator, 300);
    // Not by chance: another key opens nothing.
    let other = Random::seeded(1).array();
    assert!(open_footer(&other, &header, &pack[range.start as usize..]).is_err());
}
