//! Step 2: what was received becomes rows of the catalog, so that it is found within a second of its answer.
//!
//! The rows are derived: what the queue loses, or a crash, is read again from the journal.

use std::sync::atomic::{AtomicBool, Ordering};

use filmgate_catalog::ReceivedInstance;
use filmgate_model::{Identity, RecordId};
use filmgate_seal::RecordTable;
use tokio::sync::{Mutex, Notify, mpsc};

use crate::{Error, Road, Verdict};

/// Rows that wait for the catalog; past it they are read again from the journal.
const ANNOUNCED_MAX: usize = 8192;
/// Rows written in one transaction.
const BATCH_MAX: usize = 256;

/// Committed instances on their way to the catalog.
pub(crate) struct Announced {
    sender: mpsc::Sender<ReceivedInstance>,
    receiver: Mutex<mpsc::Receiver<ReceivedInstance>>,
    arrived: Notify,
    /// Set when a row did not fit or was lost: the journal is asked for what the catalog lacks.
    missed: AtomicBool,
}

impl Default for Announced {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(ANNOUNCED_MAX);
        Self {
            sender,
            receiver: Mutex::new(receiver),
            arrived: Notify::new(),
            missed: AtomicBool::new(false),
        }
    }
}

impl Announced {
    /// Never blocks an association.
    pub(crate) fn announce(&self, row: ReceivedInstance) {
        if self.sender.try_send(row).is_err() {
            self.missed.store(true, Ordering::SeqCst);
        }
        self.arrived.notify_one();
    }
}

impl Road {
    /// Waits until something was received.
    pub async fn something_received(&self) {
        self.announced.arrived.notified().await;
    }

    /// Enters what was announced; the number of rows.
    ///
    /// # Errors
    /// When the catalog cannot be written; the rows are read again from the journal at the next call.
    pub async fn index_received(&self) -> Result<usize, Error> {
        if self.announced.missed.swap(false, Ordering::SeqCst) {
            let indexed = self.index_missing().await;
            self.announced.missed.fetch_or(indexed.is_err(), Ordering::SeqCst);
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
        self.announced.missed.fetch_or(entered.is_err(), Ordering::SeqCst);
        entered?;
        Ok(batch.len())
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
                    Ok(opened) => rows.push(received_instance(opened.table())),
                    Err(error) => {
                        tracing::error!(%record_id, error = &error as &dyn std::error::Error, "a journaled record does not open");
                    }
                }
            }
            self.catalog.record_received(&rows, self.clock.now()).await?;
        }
        Ok(missing.len())
    }
}

/// The catalog's row of a record.
pub(crate) fn received_instance(table: &RecordTable) -> ReceivedInstance {
    ReceivedInstance {
        record_id: table.record_id,
        identity: Identity::of(table.record_id, &table.facts, &table.provenance),
        facts: table.facts.clone(),
        provenance: table.provenance.clone(),
        dataset_bytes: table.dataset_bytes,
        record_bytes: table.record_bytes,
        dataset_sha256: table.dataset_sha256,
        pixel_digest: table.pixel_digest,
        quarantine: Verdict::of(table).reason().map(str::to_owned),
    }
}
