//! What a picture is of: images, frames of one, and the presentation state that they are shown by.

use std::sync::Arc;

use filmgate_catalog::Location;
use filmgate_pipeline::{PresentationState, Road};

use super::{asking::Asking, named::Named, picture::Asked};
use crate::Error;

/// What is to be shown.
pub(super) struct Subject {
    /// In a study they may stand among others that show nothing.
    pub(super) instances: Vec<Location>,
    /// Frames of the one instance; without, the middle of all, or each of them.
    pub(super) frames: Option<Vec<u32>>,
    /// What shows them; without, their own attributes do.
    pub(super) state: Option<Arc<PresentationState>>,
}

impl Subject {
    /// What a path names, shown as it is asked.
    ///
    /// # Errors
    /// [`Error::NotFound`] when something of it is not here, [`Error::BadRequest`] when a presentation state is not for it.
    pub(super) async fn of(asking: &Asking, named: &Named, asked: &Asked) -> Result<Self, Error> {
        let frames = named.frames()?;
        let instances = named.instances(&asking.app).await?;
        let road = asking.road();
        match (&asked.presentation_state, instances.as_slice()) {
            (Some(uid), [first, ..]) => {
                let state = state_in(road, &first.study_instance_uid, None, uid).await?;
                Self { instances, frames, state: Some(state) }.within_its_state(asked)
            }
            // The images it is for stand for a presentation state (PS3.18 10.4.1.1.3).
            (None, [one]) if frames.is_none() && PresentationState::is_class(&one.sop_class_uid) => {
                let state = road.presentation_state(one).await?;
                let instances = road.catalog().instances_of_study(&one.study_instance_uid).await?;
                if !instances.iter().any(|instance| state.is_for(&instance.sop_instance_uid)) {
                    return Err(Error::NotFound("image that the presentation state is for"));
                }
                Self { instances, frames, state: Some(state) }.within_its_state(asked)
            }
            _ => Ok(Self { instances, frames, state: None }),
        }
    }

    /// Without what its presentation state is not for.
    fn within_its_state(mut self, asked: &Asked) -> Result<Self, Error> {
        let Some(state) = &self.state else { return Ok(self) };
        asked.leaves_to_a_state()?;
        self.instances.retain(|instance| match &self.frames {
            None => state.is_for(&instance.sop_instance_uid),
            Some(frames) => frames.iter().all(|frame| state.is_for_frame(&instance.sop_instance_uid, *frame)),
        });
        if self.instances.is_empty() { Err(for_others()) } else { Ok(self) }
    }

    /// The frames to show of an instance that has so many.
    pub(super) fn frames_of(&self, instance: &Location, count: u32) -> Vec<u32> {
        match (&self.frames, &self.state) {
            (Some(frames), _) => frames.clone(),
            (None, Some(state)) => state.frames(&instance.sop_instance_uid, count),
            (None, None) => (1..=count).collect(),
        }
    }
}

/// The presentation state of that UID in a study. Those of other studies are not looked for: a state is in the study of its images
/// (PS3.18 9.1.2), and who may see one study need not see another.
///
/// # Errors
/// [`Error::NotFound`] when it is not there, [`Error::BadRequest`] when it is none that pictures are made by.
pub(super) async fn state_in(
    road: &Arc<Road>,
    study: &str,
    series: Option<&str>,
    sop_instance_uid: &str,
) -> Result<Arc<PresentationState>, Error> {
    let found = road.catalog().served_instance(Some(study), series, sop_instance_uid).await?;
    let found = found.ok_or(Error::NotFound("presentation state"))?;
    if !PresentationState::is_class(&found.sop_class_uid) {
        let why = "the instance named is no greyscale or colour softcopy presentation state";
        return Err(Error::BadRequest(why.to_owned()));
    }
    Ok(road.presentation_state(&found).await?)
}

/// A presentation state shows something else.
pub(super) fn for_others() -> Error {
    Error::BadRequest("the presentation state is for other images or frames".to_owned())
}
