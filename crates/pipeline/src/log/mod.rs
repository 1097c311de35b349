//! The step that makes *verified* true: what is proven in every placement is named in the bucket's log, and only then is it
//! verified in the catalog.
//!
//! Order, always: batch synced here → accepted in every placement → catalog commit. A batch that was put, or may have been,
//! is put again unchanged; it is never made anew. A crash between any two finds the batch here and goes on with it.
//!
//! | file | what |
//! | --- | --- |
//! | `incarnation` | which run of batches this data directory writes, and its batches on the local disk |
//! | `writer` | the next batch |
//! | `reading` | the logs of all nodes, read from the bucket |
//! | `objections` | what the logs of other nodes have against a deletion |
//! | `unlogged` | packs that were verified before there was a log |
//! | `placing` | an object put, read back and found equal |

mod incarnation;
mod objections;
mod placing;
mod reading;
mod unlogged;
mod writer;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use filmgate_catalog::{Outgoing, Pack};
use filmgate_log::{Body, PackVerified};
use filmgate_model::{FactId, IncarnationId, LogKeyId, Timestamp, compute};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use self::writer::Writer;
pub(crate) use self::{incarnation::LogFolder, reading::SiteLogs};
use crate::{Error, Road, error::chain};

/// The site's log as this node writes it.
pub(crate) struct Log {
    folder: LogFolder,
    writer: tokio::sync::Mutex<Option<Writer>>,
    /// What the writer last said of itself: shown without waiting for it.
    pub(crate) told: Mutex<Option<(IncarnationId, u64)>>,
    /// Why nothing can be put now.
    problem: Mutex<Option<String>>,
    /// Something is to be stated.
    proven: Notify,
    /// What was last read of all logs for a deletion, and when.
    objections: Mutex<Option<(Timestamp, Arc<SiteLogs>)>>,
    pub(crate) heard: tokio::sync::Mutex<Heard>,
}

/// What was read of the logs of nodes with a catalog of their own.
#[derive(Default)]
pub(crate) struct Heard {
    /// When last.
    pub(crate) at: Option<Timestamp>,
    pub(crate) logs: SiteLogs,
    /// Logs of other sites in the same bucket.
    pub(crate) foreign: BTreeSet<IncarnationId>,
}

/// How the log stands.
#[derive(Debug, Clone, Serialize)]
pub struct LogStatus {
    /// The run of batches this node writes; `None` until the bucket could be asked.
    pub incarnation: Option<IncarnationId>,
    /// The last batch that every placement accepted.
    pub sequence: u64,
    /// Facts that are not in it yet: packs proven equal in every bucket and not named by the log among them.
    pub waiting: u64,
    /// Why nothing can be put now; `None` when it can.
    pub problem: Option<String>,
}

/// What one round of the step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Logged {
    /// Batches that every placement accepted.
    pub batches: u64,
    /// Packs that are verified now.
    pub packs: u64,
    /// A bucket failed: it is to be tried again.
    pub put_off: bool,
}

impl Log {
    pub(crate) fn new(folder: LogFolder) -> Self {
        Self {
            folder,
            writer: tokio::sync::Mutex::default(),
            told: Mutex::default(),
            problem: Mutex::default(),
            proven: Notify::new(),
            objections: Mutex::default(),
            heard: tokio::sync::Mutex::default(),
        }
    }
}

impl Road {
    /// Asks the buckets whether they know more of this data directory than it does itself. If so it was restored from a copy:
    /// what it said after that copy was made is entered, and another history begins.
    ///
    /// # Errors
    /// When disk, keys or a bucket fails; the log step asks again.
    pub(crate) async fn open_log(self: &Arc<Self>) -> Result<(), Error> {
        let mut slot = self.log.writer.lock().await;
        if slot.is_none() {
            *slot = Some(self.open_writer().await?);
        }
        Ok(())
    }

    /// Waits until something is to be stated.
    pub async fn something_proven(&self) {
        self.log.proven.notified().await;
    }

    /// How long packs are gathered into one batch.
    #[must_use]
    pub fn log_gather(&self) -> Duration {
        self.settings.log_gather
    }

    /// States what waits in the outbox, and a heartbeat when one is due. Running it again goes on where it was cut. A bucket's
    /// failure is no error here: it is shown, and what was synced here is put again at the next call.
    ///
    /// # Errors
    /// When disk, keys or the catalog fails.
    pub async fn write_log(self: &Arc<Self>) -> Result<Logged, Error> {
        let mut logged = Logged::default();
        let problem = match self.write_batches(&mut logged).await {
            Err(error @ (Error::Bucket(_) | Error::NotPlaced { .. })) => Some(chain(&error)),
            done => done.map(|()| None)?,
        };
        if let Some(problem) = &problem {
            tracing::info!(problem, "the bucket's log is put off");
        }
        logged.put_off = problem.is_some();
        *self.log.problem.lock() = problem;
        Ok(logged)
    }

    async fn write_batches(self: &Arc<Self>, logged: &mut Logged) -> Result<(), Error> {
        let mut slot = self.log.writer.lock().await;
        loop {
            let writer = match &mut *slot {
                Some(writer) => writer,
                none => none.insert(self.open_writer().await?),
            };
            match self.write_some(writer, logged).await {
                Ok(true) => {}
                Ok(false) => {
                    *self.log.told.lock() = Some((writer.incarnation(), writer.accepted()));
                    return Ok(());
                }
                Err(Error::Forked { sequence }) => {
                    let incarnation = writer.incarnation();
                    tracing::warn!(%incarnation, sequence, "the bucket holds another history of this data directory, which was restored from a copy; a new one begins");
                    *slot = Some(self.begin_anew(Some(incarnation)).await?);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One batch further: the one that waits, else the next. False when there is nothing to state.
    async fn write_some(self: &Arc<Self>, writer: &mut Writer, logged: &mut Logged) -> Result<bool, Error> {
        if !writer.is_pending() && !self.make_batch(writer).await? {
            return Ok(false);
        }
        logged.packs += self.settle_batch(writer).await?;
        logged.batches += 1;
        *self.log.told.lock() = Some((writer.incarnation(), writer.accepted()));
        Ok(true)
    }

    /// Puts the pending batch everywhere, and only then enters in the catalog what it says.
    async fn settle_batch(self: &Arc<Self>, writer: &mut Writer) -> Result<u64, Error> {
        self.place_log_key(writer).await?;
        for placement in &self.placements {
            self.place_batch(writer, placement).await?;
        }
        let (facts, now) = (writer.pending_facts(), self.clock.now());
        let packs = self.catalog.record_logged(facts, writer.last(), now).await?;
        metrics::counter!("filmgate_log_batches_total").increment(1);
        let place = writer.settled();
        let road = Arc::clone(self);
        // Those before it were accepted long ago; it stays, for the next one follows it.
        compute(move || road.log.folder.prune(place)).await??;
        Ok(packs)
    }

    /// The fact that a pack is verified.
    pub(crate) fn fact_of(&self, pack: &Pack) -> Result<Outgoing, Error> {
        let body = Body::PackVerified(PackVerified {
            pack_id: pack.pack_id,
            owner: pack.node_id,
            study_key_id: pack.study_key_id,
            study_instance_uid: pack.study_instance_uid.clone(),
            quarantine: pack.quarantine,
            bytes: pack.bytes,
            sha256: pack.sha256,
            created_at: pack.created_at,
        });
        Ok(Outgoing {
            fact_id: FactId::random(&self.random),
            kind: body.kind(),
            body: body.to_bytes()?,
            pack_id: Some(pack.pack_id),
            goes: None,
        })
    }

    /// Tells the step that something is in the outbox.
    pub(crate) fn tell_log(&self) {
        self.log.proven.notify_one();
    }

    /// The run of batches this node writes and its key, once every placement has accepted what it said; `None` before.
    /// Blocks on the disk.
    pub(crate) fn settled_history(&self) -> Result<Option<(IncarnationId, LogKeyId)>, Error> {
        let told = *self.log.told.lock();
        let Some((incarnation, accepted)) = told else { return Ok(None) };
        let known = self.log.folder.load()?.filter(|known| known.incarnation == incarnation && accepted > 0);
        Ok(known.map(|known| (known.incarnation, known.log_key)))
    }

    /// How the log stands.
    pub(crate) async fn log_status(&self) -> Result<LogStatus, Error> {
        let waiting = self.catalog.count_outgoing().await?;
        let told = *self.log.told.lock();
        Ok(LogStatus {
            incarnation: told.map(|(incarnation, _)| incarnation),
            sequence: told.map_or(0, |(_, sequence)| sequence),
            waiting,
            problem: self.log.problem.lock().clone(),
        })
    }
}
