//! What the path of a resource names (PS3.18 10.4.1.1): a study, one of its series or instances, or frames of one.

use filmgate_catalog::Location;
use serde::Deserialize;

use super::frames::numbers;
use crate::{Error, router::App};

/// The steps of a path.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Named {
    study: String,
    series: Option<String>,
    instance: Option<String>,
    frames: Option<String>,
}

impl Named {
    /// True for one instance, or frames of it.
    pub(super) fn is_instance(&self) -> bool {
        self.instance.is_some()
    }

    /// What it is called when it is not here.
    pub(super) fn level(&self) -> &'static str {
        match (&self.series, &self.instance) {
            (None, _) => "study",
            (Some(_), None) => "series",
            (Some(_), Some(_)) => "instance",
        }
    }

    /// Its instances, each SOP Instance UID once.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there are none.
    pub(super) async fn instances(&self, app: &App) -> Result<Vec<Location>, Error> {
        let catalog = app.road().catalog();
        let found = match (&self.series, &self.instance) {
            (None, _) => catalog.instances_of_study(&self.study).await?,
            (Some(series), None) => catalog.instances_of_series(&self.study, series).await?,
            (Some(series), Some(instance)) => {
                Vec::from_iter(catalog.served_instance(Some(&self.study), Some(series), instance).await?)
            }
        };
        if found.is_empty() { Err(Error::NotFound(self.level())) } else { Ok(found) }
    }

    /// The one instance it names.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not here.
    pub(super) async fn instance(&self, app: &App) -> Result<Location, Error> {
        self.instances(app).await?.into_iter().next().ok_or(Error::NotFound("instance"))
    }

    /// The frames it names, where it names any.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when they are no numbers.
    pub(super) fn frames(&self) -> Result<Option<Vec<u32>>, Error> {
        self.frames.as_deref().map(numbers).transpose()
    }
}
