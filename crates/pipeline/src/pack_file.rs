//! The file of a pack: records copied from the journal. Each is opened to its last sample on the way and must be what
//! was received: here, while its sender may still have it, is where it would be noticed.

use std::{borrow::Cow, ops::Range};

use filmgate_catalog::RecordToPack;
use filmgate_model::{PackId, RecordId, StudyKeyId};
use filmgate_seal::{Class, PackKind, PackWriter, RecordKey, RecordTable, TRAILER_BYTES, open_table};
use filmgate_spool::{Journal, JournalRecord};
use sha2::{Digest, Sha256};

use crate::{Error, METADATA_VERSION, Road, metadata};

/// A pack as written to the local disk.
pub(crate) struct Written {
    pub(crate) pack_id: PackId,
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
    /// Where each record begins.
    pub(crate) offsets: Vec<(RecordId, u64)>,
}

/// Bytes of a record that are read from the journal at once; a longer one goes piece by piece.
const RECORD_AT_ONCE_BYTES: u64 = 4 << 20;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// A pack file under the pen.
struct PackFile {
    file: filmgate_spool::PackFile,
    digest: Sha256,
    bytes: u64,
    unwritten: Vec<u8>,
}

impl PackFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.unwritten.extend_from_slice(bytes);
        if self.unwritten.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        self.file.write(&self.unwritten)?;
        self.unwritten.clear();
        Ok(())
    }

    /// Durable under its name; its length and digest.
    fn finish(mut self) -> Result<(u64, [u8; 32]), Error> {
        self.write()?;
        self.file.finish()?;
        Ok((self.bytes, self.digest.finalize().into()))
    }
}

/// A record in the journal, at hand when it is short.
struct Journaled<'a> {
    journal: &'a Journal,
    record: JournalRecord,
    whole: Option<Vec<u8>>,
}

impl Journaled<'_> {
    fn read(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>, Error> {
        let Some(whole) = &self.whole else {
            return Ok(self.journal.read(self.record.record_id, range)?.into());
        };
        // Its length is that of the record, which was read to its end.
        let slice = whole.get(range.start as usize..range.end as usize);
        Ok(slice.ok_or(filmgate_spool::Error::OutOfRange)?.into())
    }
}

impl Road {
    /// Copies the records, adds the footer, syncs file and folder; blocks on the disk. What was begun is taken away
    /// when it fails.
    ///
    /// # Errors
    /// [`Error::Record`] names the record that could not be read or opened.
    pub(crate) fn write_pack_file(
        &self,
        quarantine: bool,
        study_key_id: StudyKeyId,
        records: &[RecordToPack],
    ) -> Result<Written, Error> {
        let pack_id = PackId::random(&self.random);
        let kind = if quarantine { PackKind::Quarantine } else { PackKind::Study };
        let study_key = self.keys.study_key(study_key_id)?;
        let now = self.clock.now();
        let (writer, header) =
            PackWriter::new(pack_id, self.keys.site_id(), study_key_id, &study_key, now, kind);
        let mut writer = writer.with_metadata_generator(METADATA_VERSION);
        let mut file = PackFile {
            file: self.packs.create(pack_id)?,
            digest: Sha256::new(),
            bytes: 0,
            unwritten: Vec::new(),
        };
        file.append(&header)?;
        let mut offsets = Vec::with_capacity(records.len());
        for record in records {
            let record_id = record.record_id;
            let of_record = |error| Error::Record { record_id, source: Box::new(error) };
            let journaled = self.journaled(record_id).map_err(of_record)?;
            let read = |range: Range<u64>| journaled.read(range);
            let (key, table) = self.table_of(&journaled.record, read).map_err(of_record)?;
            let header = copy_record(&journaled, &key, &table, &mut file).map_err(of_record)?;
            offsets.push((record_id, writer.add(&table, &key, &kept_metadata(&table, header))));
        }
        file.append(&writer.finish())?;
        let (bytes, sha256) = file.finish()?;
        Ok(Written { pack_id, bytes, sha256, offsets })
    }

    fn journaled(&self, record_id: RecordId) -> Result<Journaled<'_>, Error> {
        let record = self.journal.record(record_id).ok_or(Error::NotFound(record_id))?;
        let whole = match record.record_bytes {
            0..=RECORD_AT_ONCE_BYTES => Some(self.journal.read(record_id, 0..record.record_bytes)?),
            _ => None,
        };
        Ok(Journaled { journal: &self.journal, record, whole })
    }
}

/// Copies one record byte for byte and opens it on the way. Bytes that rotted in the journal must not become a pack that
/// is then verified to be equally rotten; and what opens must have the digest that was taken at the door, of the dataset
/// before it was compressed. Gives the header chunks, unless they are too many.
fn copy_record(
    journaled: &Journaled<'_>,
    key: &RecordKey,
    table: &RecordTable,
    file: &mut PackFile,
) -> Result<Option<Vec<u8>>, Error> {
    let record_id = table.record_id;
    let mut header = Some(Vec::new());
    let mut digest = Sha256::new();
    let mut copied = 0;
    for (number, chunk) in (0u32..).zip(&table.chunks) {
        let end = chunk.record_offset + u64::from(chunk.sealed_bytes);
        let bytes = journaled.read(copied..end)?;
        let sealed_at = usize::try_from(chunk.record_offset.saturating_sub(copied)).unwrap_or(usize::MAX);
        let sealed = bytes.get(sealed_at..).unwrap_or_default();
        let opened = filmgate_seal::open_chunk(key, record_id, number, chunk, sealed)?;
        digest.update(&opened);
        if let Some(header) = &mut header
            && chunk.class == Class::Header
        {
            header.extend_from_slice(&opened);
        }
        header = header.filter(|header| header.len() <= metadata::HEADER_BYTES_MAX);
        file.append(&bytes)?;
        copied = end;
    }
    if <[u8; 32]>::from(digest.finalize()) != table.dataset_sha256 {
        return Err(Error::NotAsReceived(record_id));
    }
    let table_and_trailer = journaled.read(copied..table.record_bytes)?;
    let sealed_table = table_and_trailer.len().saturating_sub(TRAILER_BYTES);
    // Read a second time when the record is long: it must not have changed.
    let again = open_table(key, record_id, table_and_trailer.get(..sealed_table).unwrap_or_default())?;
    if again.chunks != table.chunks {
        return Err(Error::NotAsReceived(record_id));
    }
    file.append(&table_and_trailer)?;
    Ok(header)
}

/// DICOM JSON for the footer; empty when it is too long to keep there, to be made when asked for.
fn kept_metadata(table: &RecordTable, header: Option<Vec<u8>>) -> Vec<u8> {
    let made = header.map(|header| metadata::metadata_json(table, &header));
    match made {
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
    use std::sync::Arc;

    use filmgate_model::{Clock, Provenance, Random, Timestamp};
    use filmgate_seal::{RecordSealer, SealOptions};
    use filmgate_spool::{JournalOptions, PackFolder, RealDisk};

    use super::*;

    /// As if the codec had gone wrong at the door: everything opens, to other bytes than were received.
    #[test]
    fn what_does_not_open_to_what_was_received_is_not_packed() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(RealDisk);
        let (clock, random) = (Clock::manual(Timestamp(0)), Random::seeded(1));
        let options = JournalOptions::default();
        let (journal, _) =
            Journal::open(disk.clone(), &folder.path().join("journal"), options, &clock, &random)
                .expect("a journal");
        let packs = PackFolder::open_folder(disk, &folder.path().join("packs")).expect("a folder of packs");
        let (record_id, key) = (RecordId([1; 16]), RecordKey::from_bytes([2; 32]));
        let mut sealer = RecordSealer::new(
            record_id,
            key.clone(),
            Provenance::untold("1.2.840.10008.1.2.1"),
            &SealOptions::default(),
        );
        let mut whole = Vec::new();
        sealer.push(b"\x08\0\x18\0UI\x08\x001.2.3.5\0", &mut whole);
        let table = sealer.finish(&mut whole);
        let record = JournalRecord { record_id, record_bytes: table.record_bytes, wrapped_key: Vec::new() };
        let journaled = Journaled { journal: &journal, record, whole: Some(whole) };
        let copy = |table: &RecordTable, number| {
            let file = packs.create(PackId([number; 16])).expect("a pack");
            let mut file = PackFile { file, digest: Sha256::new(), bytes: 0, unwritten: Vec::new() };
            copy_record(&journaled, &key, table, &mut file)
        };
        assert!(copy(&table, 1).expect("it is what was received").is_some());
        let other = RecordTable { dataset_sha256: [3; 32], ..table };
        assert!(matches!(copy(&other, 2), Err(Error::NotAsReceived(id)) if id == record_id));
    }
}
