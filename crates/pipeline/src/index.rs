//! Step 2: what was received becomes rows of the catalog, so that it is found within a second of its answer.
//!
//! The rows are derived: what the queue loses, or a crash, is read again from the journal.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use filmgate_catalog::{Count, ReceivedInstance};
use filmgate_model::{Facts, Identity, Provenance, RecordId, Tag, Timestamp, tags};
use filmgate_seal::RecordTable;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, Notify, mpsc};

use crate::{Error, Road, Texts, Verdict};

/// Rows that wait for the catalog; past it they are read again from the journal.
const ANNOUNCED_MAX: usize = 8192;
/// When nothing came for so long, gathering rows is over.
const PAUSE: Duration = Duration::from_millis(50);
/// Rows written in one transaction.
const BATCH_MAX: usize = 1024;

/// Committed instances on their way to the catalog.
pub(crate) struct Announced {
    sender: mpsc::Sender<ReceivedInstance>,
    receiver: Mutex<mpsc::Receiver<ReceivedInstance>>,
    arrived: Notify,
    /// Rows that were announced and are not in the catalog yet, and bytes of their datasets.
    unentered: AtomicU64,
    unentered_bytes: AtomicU64,
    /// Set when a row did not fit or was lost: the journal is asked for what the catalog lacks.
    missed: AtomicBool,
    /// Set while it is.
    searching: AtomicBool,
}

impl Default for Announced {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(ANNOUNCED_MAX);
        Self {
            sender,
            receiver: Mutex::new(receiver),
            arrived: Notify::new(),
            unentered: AtomicU64::new(0),
            unentered_bytes: AtomicU64::new(0),
            missed: AtomicBool::new(false),
            searching: AtomicBool::new(false),
        }
    }
}

impl Announced {
    fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// Never blocks an association.
    pub(crate) fn announce(&self, row: ReceivedInstance) {
        let bytes = row.dataset_bytes;
        // Before it is sent: it must not be taken off again before it was added.
        self.unentered.fetch_add(1, Ordering::SeqCst);
        self.unentered_bytes.fetch_add(bytes, Ordering::SeqCst);
        if self.sender.try_send(row).is_err() {
            self.entered(1, bytes);
            self.missed.store(true, Ordering::SeqCst);
        }
        self.arrived.notify_one();
    }

    fn entered(&self, rows: u64, bytes: u64) {
        self.unentered.fetch_sub(rows, Ordering::SeqCst);
        self.unentered_bytes.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Road {
    /// Waits until something was received.
    pub async fn something_received(&self) {
        self.announced.arrived.notified().await;
    }

    /// How long to go on gathering rows that wait since `since`: while more arrive, many are written for little more
    /// than one. Zero when the time for that is over, when nothing more comes, and when a batch is full.
    #[must_use]
    pub fn gather_on(&self, since: Timestamp) -> Duration {
        let now = self.clock.now();
        let left =
            self.settings.yielding.gather.saturating_sub(Duration::from_millis(now.0.abs_diff(since.0)));
        let full = self.announced.waiting() >= BATCH_MAX;
        if full || self.silence() >= PAUSE { Duration::ZERO } else { left.min(PAUSE) }
    }

    /// Enters what was announced; the number of rows.
    ///
    /// # Errors
    /// When the catalog cannot be written; the rows are read again from the journal at the next call.
    pub async fn index_received(&self) -> Result<usize, Error> {
        if self.announced.missed.swap(false, Ordering::SeqCst) {
            self.announced.searching.store(true, Ordering::SeqCst);
            let indexed = self.index_missing().await;
            self.announced.missed.fetch_or(indexed.is_err(), Ordering::SeqCst);
            self.announced.searching.store(false, Ordering::SeqCst);
            return indexed;
        }
        let mut batch = Vec::new();
        let mut receiver = self.announced.receiver.lock().await;
        while let Ok(row) = receiver.try_recv() {
            batch.push(row);
            if batch.len() == BATCH_MAX {
                break;
            }
        }
        let entered = self.catalog.record_received(&batch, self.clock.now()).await;
        // First of all missed, so that they are never out of both counts.
        self.announced.missed.fetch_or(entered.is_err(), Ordering::SeqCst);
        self.announced.entered(batch.len() as u64, batch.iter().map(|row| row.dataset_bytes).sum());
        entered?;
        Ok(batch.len())
    }

    /// Instances on their way into the catalog; those of the journal when it is not known which they are.
    pub(crate) fn not_entered(&self) -> Count {
        let room = self.journal.room();
        let unknown = [&self.announced.missed, &self.announced.searching];
        if unknown.iter().any(|flag| flag.load(Ordering::SeqCst)) {
            return Count { instances: room.records, dataset_bytes: room.unpacked_bytes };
        }
        Count {
            instances: self.announced.unentered.load(Ordering::SeqCst),
            dataset_bytes: self.announced.unentered_bytes.load(Ordering::SeqCst),
        }
    }

    /// Whoever received it, it is this node that has it now.
    pub(crate) fn held_here(&self, row: ReceivedInstance) -> ReceivedInstance {
        let provenance = Provenance { node: self.node_id(), ..row.provenance };
        ReceivedInstance { provenance, ..row }
    }

    /// Enters every record of the journal that the catalog lacks; the number of rows.
    ///
    /// # Errors
    /// When the journal or the catalog fails.
    pub async fn index_missing(&self) -> Result<usize, Error> {
        let in_journal: Vec<RecordId> =
            self.journal.records().iter().map(|record| record.record_id).collect();
        let missing = self.catalog.missing_records(&in_journal).await?;
        for batch in missing.chunks(BATCH_MAX) {
            let mut rows = Vec::with_capacity(batch.len());
            for &record_id in batch {
                match self.open_journaled(record_id).await {
                    Ok(opened) => {
                        rows.push(self.held_here(received_instance(opened.table(), &self.settings.texts)))
                    }
                    Err(error) => {
                        tracing::error!(%record_id, error = &error as &dyn std::error::Error, "a journaled record does not open");
                    }
                }
            }
            self.catalog.record_recovered(&rows, self.clock.now()).await?;
        }
        Ok(missing.len())
    }
}

/// Attributes that say whom and what an image shows: two datasets that differ in one are not the same image.
const SHOWN: [Tag; 11] = [
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::ACCESSION_NUMBER,
    tags::MODALITY,
    tags::STUDY_DATE,
    tags::INSTANCE_NUMBER,
];

/// The same for the same pixels of the same patient and study, whatever encoding they came in, and whatever is set.
fn image_digest(pixels: [u8; 32], facts: &Facts) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(pixels);
    for tag in SHOWN {
        let text = facts.text(tag).unwrap_or_default();
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    digest.finalize().into()
}

/// The catalog's row of a record.
pub(crate) fn received_instance(table: &RecordTable, texts: &Texts) -> ReceivedInstance {
    let facts = table.facts.clone().read_by(texts.hint(&table.provenance));
    ReceivedInstance {
        record_id: table.record_id,
        identity: Identity::of(table.record_id, &table.facts, &table.provenance),
        provenance: table.provenance.clone(),
        dataset_bytes: table.dataset_bytes,
        record_bytes: table.record_bytes,
        dataset_sha256: table.dataset_sha256,
        pixel_digest: table.pixel_digest.map(|pixels| image_digest(pixels, &table.facts)),
        facts,
        quarantine: Verdict::of(table).reason().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 3: an image under another patient's name is other content, in whatever character set the name came.
    #[test]
    fn the_same_pixels_of_another_patient_are_another_image() {
        let facts = |name: &[u8], charset: &[u8]| {
            let mut facts = Facts::default();
            facts.insert(tags::SPECIFIC_CHARACTER_SET, charset);
            facts.insert(tags::PATIENT_NAME, name);
            facts
        };
        let utf8 = image_digest([1; 32], &facts("王^小东".as_bytes(), b"ISO_IR 192"));
        let gb18030 = image_digest([1; 32], &facts(b"\xcd\xf5^\xd0\xa1\xb6\xab ", b"GB18030"));
        assert_eq!(utf8, gb18030);
        assert_ne!(utf8, image_digest([2; 32], &facts("王^小东".as_bytes(), b"ISO_IR 192")));
        assert_ne!(utf8, image_digest([1; 32], &facts(b"Other^Name", b"ISO_IR 192")));
    }
}
