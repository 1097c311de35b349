//! Packing reads its records from the journal.

use std::{borrow::Cow, ops::Range, sync::Arc};

use filmgate_catalog::RecordToPack;
use filmgate_model::{RecordId, StudyKeyId};
use filmgate_spool::{Journal, JournalRecord};

use crate::{
    Error, Road,
    pack_file::{NewPackFile, RECORD_AT_ONCE_BYTES, RecordCopy, Written},
};

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
        let mut file = self.new_pack_file(quarantine, study_key_id)?;
        for record in records {
            let record_id = record.record_id;
            let copied = self.copy_journaled(record_id, &mut file);
            copied.map_err(|error| Error::Record { record_id, source: Box::new(error) })?;
        }
        file.finish()
    }

    fn copy_journaled(&self, record_id: RecordId, file: &mut NewPackFile) -> Result<(), Error> {
        let journaled = self.journaled(record_id)?;
        let (key, table) = self.table_of(&journaled.record, |range| journaled.read(range))?;
        let mut copy = RecordCopy::new(key, Arc::new(table));
        while let Some(range) = copy.wanted() {
            let bytes = journaled.read(range)?;
            copy.take(&bytes)?;
            file.append(&bytes)?;
        }
        file.add(&copy);
        Ok(())
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
