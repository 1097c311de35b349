//! One instance of a STOW-RS body, from its first byte to its sync.

use std::sync::Arc;

use bytes::Bytes;
use filmgate_model::{Provenance, compute, part10, spawn};
use filmgate_pipeline::{Committing, Error as RoadError, Received, Receiving, Road};
use tokio::task::{JoinError, JoinHandle};

use super::stow_answer::{Failure, Outcome};

/// Bytes gathered before they are sealed off the async threads.
const PIECE_BYTES: usize = 512 * 1024;

/// An instance that is arriving.
pub(crate) struct Part {
    road: Arc<Road>,
    /// What its head calls it.
    named: Named,
    step: Step,
    /// Bytes that came and are not sealed yet.
    pending: Vec<Bytes>,
    pending_bytes: usize,
    /// Bytes that came in all.
    bytes: u64,
    bytes_max: u64,
    /// The study the request is bound to.
    study: Option<String>,
}

/// SOP Class and Instance UID as the file meta information states them; empty when it does not.
#[derive(Default)]
struct Named {
    sop_class_uid: String,
    sop_instance_uid: String,
}

enum Step {
    /// Its file meta information is not complete.
    Head(Box<Provenance>),
    Receiving(Box<Receiving>),
    Failed(Failure),
}

/// An instance that is complete, or failed.
pub(crate) struct Ending {
    named: Named,
    step: EndStep,
}

enum EndStep {
    Syncing(JoinHandle<Result<Result<Received, RoadError>, JoinError>>),
    Failed(Failure),
}

impl Part {
    /// An instance of which nothing came yet.
    pub(crate) fn new(
        road: &Arc<Road>,
        announced: Provenance,
        bytes_max: u64,
        study: Option<String>,
    ) -> Self {
        Self {
            road: Arc::clone(road),
            named: Named::default(),
            step: Step::Head(Box::new(announced)),
            pending: Vec::new(),
            pending_bytes: 0,
            bytes: 0,
            bytes_max,
            study,
        }
    }

    /// Takes its next bytes. What fails is kept as its outcome; the rest of it is passed over then.
    pub(crate) async fn push(&mut self, bytes: Bytes) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > self.bytes_max {
            // What was received of it is given up, and its space.
            self.step = Step::Failed(Failure::Processing);
        }
        let gathered = match self.step {
            Step::Head(_) => part10::FILE_META_BYTES_MAX,
            Step::Receiving(_) => PIECE_BYTES,
            Step::Failed(_) => return self.pending.clear(),
        };
        self.pending_bytes += bytes.len();
        self.pending.push(bytes);
        if self.pending_bytes >= gathered {
            self.seal_pending().await;
        }
    }

    /// It is complete: seals what is left, commits, and begins to wait for the sync.
    pub(crate) async fn finish(mut self) -> Ending {
        self.seal_pending().await;
        let step = match self.step {
            Step::Receiving(receiving) => {
                // A task of its own: once begun it ends, also when the client is gone, so that what is committed is
                // synced and entered.
                let study = self.study;
                let committed = spawn(async move {
                    let committed = compute(move || receiving.finish_in(study.as_deref())).await;
                    committed.map(|committed| committed.map(|committing| spawn(synced(committing))))
                });
                match committed.await {
                    Ok(Ok(Ok(syncing))) => EndStep::Syncing(syncing),
                    Ok(Ok(Err(error))) => EndStep::Failed(Failure::of(&error)),
                    _ => EndStep::Failed(Failure::Processing),
                }
            }
            Step::Failed(failure) => EndStep::Failed(failure),
            Step::Head(_) => EndStep::Failed(Failure::NotUnderstood),
        };
        Ending { named: self.named, step }
    }

    async fn seal_pending(&mut self) {
        self.pending_bytes = 0;
        let pieces = std::mem::take(&mut self.pending);
        let step = std::mem::replace(&mut self.step, Step::Failed(Failure::Processing));
        let road = Arc::clone(&self.road);
        if let Ok((step, named)) = compute(move || step.taking(&road, &pieces)).await {
            self.step = step;
            self.named = named.unwrap_or(std::mem::take(&mut self.named));
        }
    }
}

impl Step {
    /// The step after these bytes, and what the head calls the instance once it is read.
    fn taking(self, road: &Arc<Road>, pieces: &[Bytes]) -> (Self, Option<Named>) {
        match self {
            Self::Head(announced) => Self::begin(road, *announced, &pieces.concat()),
            Self::Receiving(receiving) => (Self::sealing(receiving, pieces), None),
            Self::Failed(failure) => (Self::Failed(failure), None),
        }
    }

    /// Splits the head off and begins to receive what stands behind it.
    fn begin(road: &Arc<Road>, announced: Provenance, bytes: &[u8]) -> (Self, Option<Named>) {
        let Some(head) = part10::read_file_head(bytes) else {
            return (Self::Failed(Failure::NotUnderstood), None);
        };
        let (meta, dataset) = bytes.split_at(head.dataset_offset.min(bytes.len()));
        let named = Named {
            sop_class_uid: head.sop_class_uid.clone(),
            sop_instance_uid: head.sop_instance_uid.clone(),
        };
        let provenance = Provenance {
            file_meta: meta.to_vec(),
            transfer_syntax_uid: head.transfer_syntax_uid,
            sop_class_uid: head.sop_class_uid,
            sop_instance_uid: head.sop_instance_uid,
            ..announced
        };
        let step = match road.receive(provenance) {
            Ok(receiving) => Self::sealing(Box::new(receiving), &[dataset]),
            Err(error) => Self::Failed(Failure::of(&error)),
        };
        (step, Some(named))
    }

    fn sealing<B: AsRef<[u8]>>(mut receiving: Box<Receiving>, pieces: &[B]) -> Self {
        match pieces.iter().try_for_each(|piece| receiving.push(piece.as_ref())) {
            Ok(()) => Self::Receiving(receiving),
            Err(error) => Self::Failed(Failure::of(&error)),
        }
    }
}

async fn synced(committing: Committing) -> Result<Result<Received, RoadError>, JoinError> {
    compute(move || committing.wait()).await
}

impl Ending {
    /// What became of it, once that is known.
    pub(crate) async fn outcome(self) -> Outcome {
        let Named { sop_class_uid, sop_instance_uid } = self.named;
        let failed = |failure| Outcome::failed(sop_class_uid, sop_instance_uid, failure);
        match self.step {
            EndStep::Failed(failure) => failed(failure),
            EndStep::Syncing(waiting) => match waiting.await {
                Ok(Ok(Ok(received))) => Outcome::received(&received),
                Ok(Ok(Err(error))) => failed(Failure::of(&error)),
                _ => failed(Failure::Processing),
            },
        }
    }
}
