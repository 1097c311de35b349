//! The steps that run by themselves: one task a step, each doing one unit of work at a time.

use std::{future::Future, sync::Arc, time::Duration};

use filmgate_model::spawn;
use filmgate_pipeline::{Error, Road};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

/// How long a step rests when it found nothing to do.
const REST: Duration = Duration::from_millis(200);
/// How long it rests after a failure of its own.
const REST_AFTER_ERROR: Duration = Duration::from_secs(2);
/// How often room on the disk is looked at.
const EVICT_EVERY: Duration = Duration::from_secs(10);

/// Told to every worker when it should end.
pub(crate) type Stop = watch::Receiver<bool>;

/// Starts every step. The handles end soon after `stop` turns true; one that ends before is a fault.
pub(crate) fn start(road: &Arc<Road>, stop: &Stop) -> Vec<(&'static str, JoinHandle<()>)> {
    let worker = |name: &'static str, handle| (name, handle);
    vec![
        worker("index", spawn(index(Arc::clone(road), stop.clone()))),
        worker("pack", spawn(repeat("pack", REST, Arc::clone(road), stop.clone(), pack))),
        worker("upload", spawn(repeat("upload", REST, Arc::clone(road), stop.clone(), upload))),
        worker("verify", spawn(repeat("verify", REST, Arc::clone(road), stop.clone(), verify))),
        worker("evict", spawn(repeat("evict", EVICT_EVERY, Arc::clone(road), stop.clone(), evict))),
    ]
}

/// What was received is entered at once.
async fn index(road: Arc<Road>, mut stop: Stop) {
    while !*stop.borrow() {
        match road.index_received().await {
            Ok(0) => {
                tokio::select! {
                    biased;
                    _ = stop.changed() => {}
                    () = road.something_received() => {}
                    () = sleep(REST * 5) => {}
                }
            }
            Ok(_) => {}
            Err(error) => rest_after("index", &error, &mut stop).await,
        }
    }
}

async fn pack(road: Arc<Road>) -> Result<bool, Error> {
    let due = road.studies_to_pack().await?;
    let mut failed = None;
    for study in &due {
        // One study that cannot be packed does not hold up the others.
        failed = road.pack(study).await.err().or(failed);
    }
    failed.map_or(Ok(!due.is_empty()), Err)
}

async fn upload(road: Arc<Road>) -> Result<bool, Error> {
    let Some(job) = road.next_upload(&[]).await? else { return Ok(false) };
    road.upload(&job).await?;
    Ok(true)
}

async fn verify(road: Arc<Road>) -> Result<bool, Error> {
    let Some(job) = road.next_to_verify(&[]).await? else { return Ok(false) };
    road.verify(&job).await?;
    Ok(true)
}

async fn evict(road: Arc<Road>) -> Result<bool, Error> {
    Ok(road.evict().await? > 0)
}

/// Does units of work until told to stop; a unit is never cut, the rest between them always can be.
async fn repeat<F>(
    name: &'static str,
    rest: Duration,
    road: Arc<Road>,
    mut stop: Stop,
    unit: fn(Arc<Road>) -> F,
) where
    F: Future<Output = Result<bool, Error>>,
{
    while !*stop.borrow() {
        match unit(Arc::clone(&road)).await {
            Ok(true) => {}
            Ok(false) => pause(rest, &mut stop).await,
            Err(error) => rest_after(name, &error, &mut stop).await,
        }
    }
}

async fn rest_after(worker: &'static str, error: &Error, stop: &mut Stop) {
    tracing::error!(worker, error = error as &dyn std::error::Error, "a step failed and is tried again");
    metrics::counter!("filmgate_worker_failures_total", "worker" => worker).increment(1);
    pause(REST_AFTER_ERROR, stop).await;
}

async fn pause(rest: Duration, stop: &mut Stop) {
    tokio::select! {
        biased;
        _ = stop.changed() => {}
        () = sleep(rest) => {}
    }
}
