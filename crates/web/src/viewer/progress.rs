//! How much of a study is here, and how much of that is safe in every bucket.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use filmgate_catalog::StudyProgress;
use filmgate_model::InstanceState;
use serde::Serialize;

use crate::{
    Error,
    dicomweb::Pairs,
    extract::{Path, Reader},
    router::App,
};

/// Studies told of at one time: a page of the list.
const STUDIES_MAX: usize = 100;

/// How far a study is.
#[derive(Serialize)]
pub(crate) struct Progress {
    study_instance_uid: String,
    /// Instances that are here, whatever their state, but for those that were deleted.
    arrived: u64,
    /// Of them, those that every bucket gave back equal.
    verified: u64,
    /// Of them, those a person should look at: damaged, or with a node that is away.
    troubled: u64,
    /// Records by state.
    states: BTreeMap<&'static str, u64>,
    /// Of the datasets as received.
    dataset_bytes: u64,
}

impl From<StudyProgress> for Progress {
    fn from(study: StudyProgress) -> Self {
        let of = |state| study.records.get(&state).copied().unwrap_or(0);
        Self {
            arrived: study.records.values().sum::<u64>().saturating_sub(of(InstanceState::Deleted)),
            verified: of(InstanceState::Verified),
            troubled: of(InstanceState::Damaged) + of(InstanceState::Absent),
            states: study.records.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
            dataset_bytes: study.dataset_bytes,
            study_instance_uid: study.study_instance_uid,
        }
    }
}

/// One study.
pub(crate) async fn study(
    State(app): State<App>,
    Path(study): Path<String>,
) -> Result<Json<Progress>, Error> {
    let progress = app.road().catalog().progress_of_studies(&[study]).await?;
    progress.into_iter().next().map(|study| Json(study.into())).ok_or(Error::NotFound("study"))
}

/// The studies that `study` names, once or more; those that are not here, or not for who asks, are left out.
pub(crate) async fn studies(
    State(app): State<App>,
    Reader(readable): Reader,
    query: Pairs,
) -> Result<Json<Vec<Progress>>, Error> {
    let named = query.0.into_iter().filter(|(name, _)| name == "study").map(|(_, value)| value);
    let studies: Vec<String> = named.filter(|study| readable.has(study)).take(STUDIES_MAX).collect();
    let progress = app.road().catalog().progress_of_studies(&studies).await?;
    Ok(Json(progress.into_iter().map(Progress::from).collect()))
}
