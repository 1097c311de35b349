//! A table as bytes.

use filmgate_model::{Door, Facts, Provenance, Tag, transfer_syntax::Encoding};

use super::{chunk_flag, digest, field, sample_flag};
use crate::{
    record::table::{ChunkEntry, Class, RecordTable},
    scan::{BulkValue, PixelData, Reading},
    wire::{put_bytes, put_field, put_varint},
};

pub(crate) fn encode(table: &RecordTable) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024 + 16 * table.chunks.len());
    put_field(&mut out, field::RECORD_ID, table.record_id.as_bytes());
    put_field(&mut out, field::PROVENANCE, &encode_provenance(&table.provenance));
    put_field(&mut out, field::FACTS, &encode_facts(&table.facts));
    put_field(&mut out, field::READING, &encode_reading(&table.reading));
    if !table.oddities.is_empty() {
        let numbers: Vec<u8> = table.oddities.iter().map(|oddity| *oddity as u8).collect();
        put_field(&mut out, field::ODDITIES, &numbers);
    }
    put_field(&mut out, field::DATASET, &encode_dataset(table));
    if let Some(pixels) = &table.pixel_digest {
        put_field(&mut out, field::PIXEL_DIGEST, &[&[digest::BLAKE3], pixels.as_slice()].concat());
    }
    put_field(&mut out, field::CHUNKS, &encode_chunks(&table.chunks));
    if !table.bulk_values.is_empty() {
        put_field(&mut out, field::BULK_VALUES, &encode_bulk_values(&table.bulk_values));
    }
    if let Some(pixel_data) = &table.pixel_data {
        put_field(&mut out, field::PIXEL_DATA, &encode_pixel_data(pixel_data));
    }
    out
}

fn encode_provenance(provenance: &Provenance) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&provenance.received_at.0.to_le_bytes());
    out.push(match provenance.door {
        Door::CStore => 1,
        Door::Stow => 2,
    });
    out.extend_from_slice(provenance.node.as_bytes());
    let texts = [
        &provenance.calling_ae,
        &provenance.called_ae,
        &provenance.peer,
        &provenance.transfer_syntax_uid,
        &provenance.sop_class_uid,
        &provenance.sop_instance_uid,
    ];
    for text in texts {
        put_bytes(&mut out, text.as_bytes());
    }
    put_bytes(&mut out, &provenance.file_meta);
    out
}

fn put_tag(out: &mut Vec<u8>, tag: Tag) {
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
}

fn encode_facts(facts: &Facts) -> Vec<u8> {
    let mut out = Vec::new();
    for (tag, value) in facts.iter() {
        put_tag(&mut out, tag);
        put_bytes(&mut out, value);
    }
    out
}

fn encode_reading(reading: &Reading) -> Vec<u8> {
    let (kind, reason) = match reading {
        Reading::Read => (0, ""),
        Reading::Unread(reason) => (1, reason.as_str()),
        Reading::Broken(reason) => (2, reason.as_str()),
    };
    let mut out = vec![kind];
    put_bytes(&mut out, reason.as_bytes());
    out
}

fn encode_dataset(table: &RecordTable) -> Vec<u8> {
    let mut out = vec![encoding_number(table.encoding)];
    put_varint(&mut out, table.dataset_bytes);
    out.extend_from_slice(&table.dataset_sha256);
    put_varint(&mut out, table.non_bulk_value_bytes_max);
    out
}

fn encoding_number(encoding: Option<Encoding>) -> u8 {
    match encoding {
        None => 0,
        Some(Encoding::ImplicitLittle) => 1,
        Some(Encoding::ExplicitLittle) => 2,
        Some(Encoding::ExplicitBig) => 3,
        Some(Encoding::Deflated) => 4,
    }
}

fn encode_chunks(chunks: &[ChunkEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 * chunks.len());
    put_varint(&mut out, chunks.len() as u64);
    for chunk in chunks {
        let bulk = if chunk.class == Class::Bulk { chunk_flag::BULK } else { 0 };
        let shaped = if chunk.shape.is_some() { chunk_flag::SHAPE } else { 0 };
        out.push(bulk | shaped);
        out.push(chunk.codec.number());
        put_varint(&mut out, chunk.dataset_offset);
        put_varint(&mut out, chunk.raw_bytes.into());
        put_varint(&mut out, chunk.sealed_bytes.into());
        if let Some(shape) = &chunk.shape {
            out.push(shape.sample_bytes);
            let order = if shape.big_endian { sample_flag::BIG_ENDIAN } else { 0 };
            let sign = if shape.signed { sample_flag::SIGNED } else { 0 };
            out.push(order | sign);
            put_varint(&mut out, shape.row_bytes.into());
            out.push(shape.components);
            put_bytes(&mut out, &shape.plane_coders);
        }
    }
    out
}

fn encode_bulk_values(values: &[BulkValue]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, values.len() as u64);
    for value in values {
        put_varint(&mut out, value.within.len() as u64);
        for (sequence, item) in &value.within {
            put_tag(&mut out, *sequence);
            put_varint(&mut out, (*item).into());
        }
        put_tag(&mut out, value.tag);
        out.push(value.kind as u8);
        put_varint(&mut out, value.dataset_offset);
        put_varint(&mut out, value.bytes);
    }
    out
}

fn encode_pixel_data(pixel_data: &PixelData) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, pixel_data.fragments_total);
    put_varint(&mut out, pixel_data.fragments.len() as u64);
    let mut end = 0;
    for fragment in &pixel_data.fragments {
        put_varint(&mut out, fragment.dataset_offset.wrapping_sub(end));
        put_varint(&mut out, fragment.bytes.into());
        end = fragment.dataset_offset.wrapping_add(fragment.bytes.into());
    }
    let tables = [
        &pixel_data.basic_offset_table,
        &pixel_data.extended_offset_table,
        &pixel_data.extended_offset_table_lengths,
    ];
    for table in tables {
        out.push(table.is_some().into());
        if let Some(table) = table {
            put_bytes(&mut out, table);
        }
    }
    out
}
