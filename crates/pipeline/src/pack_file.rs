//! The file of a pack under the pen: sealed records go in byte for byte, wherever they come from. Each is opened to its
//! last sample on the way and must be what was received: here, while there is another copy of it, is where it would be
//! noticed.

use std::{ops::Range, sync::Arc};

use filmgate_catalog::{Attributes, InstanceAttributes};
use filmgate_model::{PackId, RecordId, StudyKeyId, Timestamp, text::Hint};
use filmgate_seal::{
    Class, PackKind, PackWriter, RecordKey, RecordTable, TRAILER_BYTES, open_table, table_range,
};
use sha2::{Digest, Sha256};

use crate::{Error, Road, Texts, attributes, metadata, texts};

/// A pack as written to the local disk.
pub(crate) struct Written {
    pub(crate) pack_id: PackId,
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    /// The time its header bears.
    pub(crate) created_at: Timestamp,
    /// Where each record begins.
    pub(crate) offsets: Vec<(RecordId, u64)>,
    /// What its records state of the attributes that are kept beside the catalog's columns.
    pub(crate) attributes: Vec<InstanceAttributes>,
}

/// Bytes of a record that are read at once; a longer one goes piece by piece.
pub(crate) const RECORD_AT_ONCE_BYTES: u64 = 4 << 20;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// A pack file under the pen. Dropped before it is finished it is taken away.
pub(crate) struct NewPackFile {
    pack_id: PackId,
    created_at: Timestamp,
    file: filmgate_spool::PackFile,
    writer: PackWriter,
    digest: Sha256,
    bytes: u64,
    unwritten: Vec<u8>,
    offsets: Vec<(RecordId, u64)>,
    kept: Arc<Attributes>,
    attributes: Vec<InstanceAttributes>,
    texts: Texts,
}

impl NewPackFile {
    /// Bytes of the record that is being copied, in their order.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.unwritten.extend_from_slice(bytes);
        if self.unwritten.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// The record whose bytes were appended last is whole.
    pub(crate) fn add(&mut self, copied: &RecordCopy) {
        let hint = self.texts.hint(&copied.table.provenance);
        let metadata = kept_metadata(&copied.table, hint, copied.header.as_deref());
        self.attributes.extend(attributes::stated(&self.kept, &copied.table, &metadata));
        self.writer.stamp_metadata(texts::stamp(&copied.table, hint));
        self.offsets.push((copied.table.record_id, self.writer.add(&copied.table, &copied.key, &metadata)));
    }

    fn write(&mut self) -> Result<(), Error> {
        self.file.write(&self.unwritten)?;
        self.unwritten.clear();
        Ok(())
    }

    /// Adds the footer, syncs file and folder: durable under its name.
    pub(crate) fn finish(mut self) -> Result<Written, Error> {
        let writer = self.writer;
        let footer = writer.finish();
        self.digest.update(&footer);
        self.bytes += footer.len() as u64;
        self.unwritten.extend_from_slice(&footer);
        self.file.write(&self.unwritten)?;
        self.file.finish()?;
        let sha256 = self.digest.finalize().into();
        let Self { pack_id, created_at, bytes, offsets, attributes, .. } = self;
        Ok(Written { pack_id, bytes, sha256, created_at, offsets, attributes })
    }
}

/// A record on its way into a pack: which of its bytes come next, and what they must open to. It is the same bytes in
/// every pack; only its key is wrapped anew.
pub(crate) struct RecordCopy {
    key: RecordKey,
    table: Arc<RecordTable>,
    chunk: usize,
    copied: u64,
    digest: Sha256,
    header: Option<Vec<u8>>,
}

impl RecordCopy {
    pub(crate) fn new(key: RecordKey, table: Arc<RecordTable>) -> Self {
        Self { key, table, chunk: 0, copied: 0, digest: Sha256::new(), header: Some(Vec::new()) }
    }

    /// Length of the record.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.table.record_bytes
    }

    /// The bytes of the record to take next; `None` when all are taken.
    pub(crate) fn wanted(&self) -> Option<Range<u64>> {
        let end = self.table.chunks.get(self.chunk).map_or(self.table.record_bytes, |chunk| {
            chunk.record_offset.saturating_add(u64::from(chunk.sealed_bytes))
        });
        (self.copied < end).then_some(self.copied..end)
    }

    /// Takes the bytes that were wanted.
    ///
    /// # Errors
    /// When they do not open, or to other bytes than were received.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.chunk < self.table.chunks.len() { self.take_chunk(bytes) } else { self.take_table(bytes) }
    }

    fn take_chunk(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let table = Arc::clone(&self.table);
        let Some(chunk) = table.chunks.get(self.chunk) else { return Ok(()) };
        let sealed_at =
            usize::try_from(chunk.record_offset.saturating_sub(self.copied)).unwrap_or(usize::MAX);
        let sealed = bytes.get(sealed_at..).unwrap_or_default();
        let opened = filmgate_seal::open_chunk(&self.key, table.record_id, self.chunk as u32, chunk, sealed)?;
        self.digest.update(&opened);
        if let Some(header) = &mut self.header
            && chunk.class == Class::Header
        {
            header.extend_from_slice(&opened);
        }
        // Too many elements to be said as metadata.
        self.header = self.header.take().filter(|header| header.len() <= metadata::HEADER_BYTES_MAX);
        self.chunk += 1;
        self.copied += bytes.len() as u64;
        Ok(())
    }

    fn take_table(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (table, record_id) = (&self.table, self.table.record_id);
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        if digest != table.dataset_sha256 {
            return Err(Error::NotAsReceived(record_id));
        }
        // Read a second time, or from elsewhere: it must say the same.
        let trailer = bytes.len().saturating_sub(TRAILER_BYTES);
        let range = table_range(table.record_bytes, bytes.get(trailer..).unwrap_or_default())?;
        // A table that would begin amid the chunks is not this record's: its trailer changed.
        let before = range.start.checked_sub(self.copied).ok_or(Error::NotAsReceived(record_id))?;
        let start = usize::try_from(before).unwrap_or(usize::MAX);
        let again = open_table(&self.key, record_id, bytes.get(start..trailer).unwrap_or_default())?;
        if again.chunks != table.chunks {
            return Err(Error::NotAsReceived(record_id));
        }
        self.copied += bytes.len() as u64;
        Ok(())
    }
}

impl Road {
    /// Begins a pack; blocks on the disk.
    pub(crate) fn new_pack_file(
        &self,
        quarantine: bool,
        study_key_id: StudyKeyId,
    ) -> Result<NewPackFile, Error> {
        let pack_id = PackId::random(&self.random);
        let kind = if quarantine { PackKind::Quarantine } else { PackKind::Study };
        let study_key = self.keys.study_key(study_key_id)?;
        let now = self.clock.now();
        let (writer, header) =
            PackWriter::new(pack_id, self.keys.site_id(), study_key_id, &study_key, now, kind);
        let mut file = NewPackFile {
            pack_id,
            created_at: now,
            file: self.packs.create(pack_id)?,
            writer,
            digest: Sha256::new(),
            bytes: 0,
            unwritten: Vec::new(),
            offsets: Vec::new(),
            kept: self.catalog.attributes(),
            attributes: Vec::new(),
            texts: self.settings.texts.clone(),
        };
        file.append(&header)?;
        Ok(file)
    }
}

/// DICOM JSON for the footer; empty when it is too long to keep there, to be made when asked for.
fn kept_metadata(table: &RecordTable, hint: Hint, header: Option<&[u8]>) -> Vec<u8> {
    match header.map(|header| metadata::metadata_json(table, hint, header)) {
        Some(Ok(json)) => json,
        Some(Err(error)) => {
            let record_id = table.record_id;
            tracing::debug!(%record_id, error = &error as &dyn std::error::Error, "no metadata for the footer");
            Vec::new()
        }
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use filmgate_model::Provenance;
    use filmgate_seal::{RecordSealer, SealOptions};

    use super::*;

    fn sealed() -> (RecordKey, RecordTable, Vec<u8>) {
        let key = RecordKey::from_bytes([2; 32]);
        let mut sealer = RecordSealer::new(
            RecordId([1; 16]),
            key.clone(),
            Provenance::untold("1.2.840.10008.1.2.1"),
            &SealOptions::default(),
        );
        let mut whole = Vec::new();
        sealer.push(b"\x08\0\x18\0UI\x08\x001.2.3.5\0", &mut whole);
        let table = sealer.finish(&mut whole);
        (key, table, whole)
    }

    fn copy(key: &RecordKey, table: RecordTable, whole: &[u8]) -> Result<RecordCopy, Error> {
        let mut copy = RecordCopy::new(key.clone(), Arc::new(table));
        while let Some(range) = copy.wanted() {
            copy.take(&whole[range.start as usize..range.end as usize])?;
        }
        Ok(copy)
    }

    /// As if the codec had gone wrong at the door: everything opens, to other bytes than were received.
    #[test]
    fn what_does_not_open_to_what_was_received_is_not_packed() {
        let (key, table, whole) = sealed();
        let copied = copy(&key, table.clone(), &whole).expect("it is what was received");
        assert!(copied.header.is_some_and(|header| !header.is_empty()));
        let record_id = table.record_id;
        let other = RecordTable { dataset_sha256: [3; 32], ..table };
        assert!(matches!(copy(&key, other, &whole), Err(Error::NotAsReceived(id)) if id == record_id));
    }

    #[test]
    fn no_byte_of_a_record_can_change_on_the_way() {
        let (key, table, whole) = sealed();
        for at in 0..whole.len() {
            let mut rotten = whole.clone();
            rotten[at] ^= 1;
            assert!(copy(&key, table.clone(), &rotten).is_err(), "byte {at} of {}", whole.len());
        }
    }
}
