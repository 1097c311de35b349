//! A table from bytes; every count and length is checked before it is believed.

use filmgate_model::{
    Door, FACT_BYTES_MAX, Facts, NodeId, Provenance, RecordId, Tag, Timestamp, transfer_syntax::Encoding,
};

use super::{chunk_flag, digest, field, sample_flag};
use crate::{
    aead::TAG_BYTES,
    codec::Codec,
    error::{Error, at_most, malformed},
    record::{
        options::CHUNK_BYTES_MAX,
        table::{ChunkEntry, Class, RecordTable, SampleShape},
    },
    scan::{BulkKind, BulkValue, Fragment, Oddity, PixelData, Reading},
    wire::Reader,
};

const WHAT: &str = "record table";

/// Fields below this number may not be skipped by those who do not know them.
const OPTIONAL_FIELDS_FROM: u64 = 64;

/// What the fields of a table say; those that must be there are asked for at the end.
#[derive(Default)]
struct Fields {
    record_id: Option<RecordId>,
    provenance: Option<Provenance>,
    facts: Facts,
    reading: Reading,
    oddities: Vec<Oddity>,
    dataset: Option<Dataset>,
    pixel_digest: Option<[u8; 32]>,
    chunks: Option<Vec<ChunkEntry>>,
    bulk_values: Vec<BulkValue>,
    pixel_data: Option<PixelData>,
}

struct Dataset {
    encoding: Option<Encoding>,
    bytes: u64,
    sha256: [u8; 32],
    non_bulk_value_bytes_max: u64,
}

/// Reads a table back. `around_bytes` is what the record holds beside its chunks: sealed table and trailer.
pub(crate) fn decode(bytes: &[u8], around_bytes: u64) -> Result<RecordTable, Error> {
    let mut reader = Reader::new(WHAT, bytes);
    let mut fields = Fields::default();
    while !reader.is_empty() {
        let number = reader.varint()?;
        let content = reader.bytes()?;
        fields.read(number, Reader::new(WHAT, content))?;
    }
    fields.into_table(around_bytes)
}

impl Fields {
    fn read(&mut self, number: u64, mut content: Reader<'_>) -> Result<(), Error> {
        match number {
            field::RECORD_ID => self.record_id = Some(RecordId(content.array()?)),
            field::PROVENANCE => self.provenance = Some(decode_provenance(&mut content)?),
            field::FACTS => self.facts = decode_facts(&mut content)?,
            field::READING => self.reading = decode_reading(&mut content)?,
            field::ODDITIES => self.oddities = decode_oddities(&mut content)?,
            field::DATASET => self.dataset = Some(decode_dataset(&mut content)?),
            field::PIXEL_DIGEST => self.pixel_digest = decode_pixel_digest(&mut content)?,
            field::CHUNKS => self.chunks = Some(decode_chunks(&mut content)?),
            field::BULK_VALUES => self.bulk_values = decode_bulk_values(&mut content)?,
            field::PIXEL_DATA => self.pixel_data = Some(decode_pixel_data(&mut content)?),
            unknown if unknown < OPTIONAL_FIELDS_FROM => {
                return Err(Error::Newer { what: "record table field", number: unknown });
            }
            _ => return Ok(()),
        }
        content.end()
    }

    fn into_table(self, around_bytes: u64) -> Result<RecordTable, Error> {
        let missing = malformed(WHAT, "lacks a field");
        let dataset = self.dataset.ok_or(missing.clone())?;
        let chunks = self.chunks.ok_or(missing.clone())?;
        check_chunks(&chunks, dataset.bytes)?;
        let chunk_bytes =
            chunks.last().map_or(0, |last| last.record_offset.saturating_add(last.sealed_bytes.into()));
        Ok(RecordTable {
            record_id: self.record_id.ok_or(missing.clone())?,
            provenance: self.provenance.ok_or(missing)?,
            facts: self.facts,
            reading: self.reading,
            oddities: self.oddities,
            encoding: dataset.encoding,
            dataset_bytes: dataset.bytes,
            dataset_sha256: dataset.sha256,
            pixel_digest: self.pixel_digest,
            record_bytes: chunk_bytes.saturating_add(around_bytes),
            non_bulk_value_bytes_max: dataset.non_bulk_value_bytes_max,
            chunks,
            bulk_values: self.bulk_values,
            pixel_data: self.pixel_data,
        })
    }
}

/// Chunks cover the dataset without gap or overlap.
fn check_chunks(chunks: &[ChunkEntry], dataset_bytes: u64) -> Result<(), Error> {
    let mut covered = 0u64;
    for chunk in chunks {
        if chunk.dataset_offset != covered {
            return Err(malformed(WHAT, "chunks do not follow each other"));
        }
        covered = covered.saturating_add(chunk.raw_bytes.into());
    }
    if covered == dataset_bytes { Ok(()) } else { Err(malformed(WHAT, "chunks do not cover the dataset")) }
}

fn decode_provenance(content: &mut Reader<'_>) -> Result<Provenance, Error> {
    let received_at = Timestamp(i64::from_le_bytes(content.array()?));
    let door = match content.u8()? {
        1 => Door::CStore,
        2 => Door::Stow,
        number => return Err(Error::Newer { what: "door", number: number.into() }),
    };
    Ok(Provenance {
        received_at,
        door,
        node: NodeId(content.array()?),
        calling_ae: content.text()?,
        called_ae: content.text()?,
        peer: content.text()?,
        transfer_syntax_uid: content.text()?,
        sop_class_uid: content.text()?,
        sop_instance_uid: content.text()?,
        file_meta: content.bytes()?.to_vec(),
    })
}

fn read_tag(content: &mut Reader<'_>) -> Result<Tag, Error> {
    Ok(Tag(content.u16()?, content.u16()?))
}

fn decode_facts(content: &mut Reader<'_>) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    while !content.is_empty() {
        let tag = read_tag(content)?;
        let value = content.bytes()?;
        at_most("fact", value.len() as u64, FACT_BYTES_MAX as u64)?;
        facts.insert(tag, value);
    }
    Ok(facts)
}

fn decode_reading(content: &mut Reader<'_>) -> Result<Reading, Error> {
    let kind = content.u8()?;
    let reason = content.text()?;
    match kind {
        0 => Ok(Reading::Read),
        1 => Ok(Reading::Unread(reason)),
        2 => Ok(Reading::Broken(reason)),
        number => Err(Error::Newer { what: "reading", number: number.into() }),
    }
}

/// Oddities are remarks: one that is not known is left out.
fn decode_oddities(content: &mut Reader<'_>) -> Result<Vec<Oddity>, Error> {
    let numbers = content.take(content.remaining())?;
    Ok(numbers.iter().filter_map(|&number| Oddity::from_number(number)).collect())
}

fn decode_dataset(content: &mut Reader<'_>) -> Result<Dataset, Error> {
    let encoding = match content.u8()? {
        0 => None,
        1 => Some(Encoding::ImplicitLittle),
        2 => Some(Encoding::ExplicitLittle),
        3 => Some(Encoding::ExplicitBig),
        4 => Some(Encoding::Deflated),
        number => return Err(Error::Newer { what: "encoding", number: number.into() }),
    };
    let (bytes, sha256) = (content.varint()?, content.array()?);
    Ok(Dataset { encoding, bytes, sha256, non_bulk_value_bytes_max: content.varint()? })
}

fn decode_chunks(content: &mut Reader<'_>) -> Result<Vec<ChunkEntry>, Error> {
    const ENTRY_BYTES_MIN: usize = 5;
    let count = content.count(ENTRY_BYTES_MIN)?;
    let mut chunks: Vec<ChunkEntry> = Vec::with_capacity(count);
    let mut record_offset = 0u64;
    for number in 1..=count {
        let chunk = decode_chunk(content, record_offset, number == count)?;
        record_offset = record_offset.saturating_add(chunk.sealed_bytes.into());
        chunks.push(chunk);
    }
    if chunks.is_empty() { Err(malformed(WHAT, "has no chunk")) } else { Ok(chunks) }
}

fn decode_chunk(content: &mut Reader<'_>, record_offset: u64, last: bool) -> Result<ChunkEntry, Error> {
    let flags = content.u8()?;
    if flags & !chunk_flag::ALL != 0 {
        return Err(Error::Newer { what: "chunk flags", number: flags.into() });
    }
    let codec = Codec::from_number(content.u8()?)?;
    let dataset_offset = content.varint()?;
    let raw_bytes = content.varint_u32()?;
    let sealed_bytes = content.varint_u32()?;
    at_most("chunk", raw_bytes.into(), CHUNK_BYTES_MAX.into())?;
    at_most("sealed chunk", sealed_bytes.into(), u64::from(raw_bytes) + TAG_BYTES as u64)?;
    Ok(ChunkEntry {
        class: if flags & chunk_flag::BULK == 0 { Class::Header } else { Class::Bulk },
        codec,
        dataset_offset,
        raw_bytes,
        record_offset,
        sealed_bytes,
        last,
        shape: if flags & chunk_flag::SHAPE == 0 { None } else { Some(decode_shape(content)?) },
    })
}

/// A digest of an algorithm that is not known here compares with nothing: as good as none.
fn decode_pixel_digest(content: &mut Reader<'_>) -> Result<Option<[u8; 32]>, Error> {
    let algorithm = content.u8()?;
    let bytes = content.take(content.remaining())?;
    if algorithm != digest::BLAKE3 {
        return Ok(None);
    }
    let pixels = bytes.try_into().map_err(|_| malformed("pixel digest", "has the wrong length"))?;
    Ok(Some(pixels))
}

fn decode_shape(content: &mut Reader<'_>) -> Result<SampleShape, Error> {
    let sample_bytes = content.u8()?;
    let flags = content.u8()?;
    if flags & !sample_flag::ALL != 0 {
        return Err(Error::Newer { what: "sample flags", number: flags.into() });
    }
    Ok(SampleShape {
        sample_bytes,
        big_endian: flags & sample_flag::BIG_ENDIAN != 0,
        signed: flags & sample_flag::SIGNED != 0,
        row_bytes: content.varint_u32()?,
        components: content.u8()?,
        plane_coders: content.bytes()?.to_vec(),
    })
}

fn decode_bulk_values(content: &mut Reader<'_>) -> Result<Vec<BulkValue>, Error> {
    const ENTRY_BYTES_MIN: usize = 8;
    const STEP_BYTES_MIN: usize = 5;
    let count = content.count(ENTRY_BYTES_MIN)?;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let steps = content.count(STEP_BYTES_MIN)?;
        let within = (0..steps)
            .map(|_| Ok((read_tag(content)?, content.varint_u32()?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let tag = read_tag(content)?;
        let kind = match content.u8()? {
            0 => BulkKind::Plain,
            1 => BulkKind::Native,
            2 => BulkKind::Encapsulated,
            number => return Err(Error::Newer { what: "bulk kind", number: number.into() }),
        };
        values.push(BulkValue {
            within,
            tag,
            kind,
            dataset_offset: content.varint()?,
            bytes: content.varint()?,
        });
    }
    Ok(values)
}

fn decode_pixel_data(content: &mut Reader<'_>) -> Result<PixelData, Error> {
    const FRAGMENT_BYTES_MIN: usize = 2;
    let fragments_total = content.varint()?;
    let count = content.count(FRAGMENT_BYTES_MIN)?;
    let mut fragments = Vec::with_capacity(count);
    let mut end = 0u64;
    for _ in 0..count {
        let dataset_offset = end.wrapping_add(content.varint()?);
        let bytes = content.varint_u32()?;
        fragments.push(Fragment { dataset_offset, bytes });
        end = dataset_offset.wrapping_add(bytes.into());
    }
    let mut table = || match content.u8()? {
        0 => Ok(None),
        _ => Ok::<_, Error>(Some(content.bytes()?.to_vec())),
    };
    Ok(PixelData {
        fragments_total,
        fragments,
        basic_offset_table: table()?,
        extended_offset_table: table()?,
        extended_offset_table_lengths: table()?,
    })
}
