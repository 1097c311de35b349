//! A change of the site key that a running gateway is asked for: one at a time, beside all it does otherwise.
//!
//! Receiving waits only while the keys of this data directory are wrapped anew, which are a handful; packs under way are
//! uploaded and verified with whichever wrapping of their key stands, for both open to the same key.

use std::{sync::Arc, time::Duration};

use filmgate_keys::Kek;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{Error, Road, Rotation, error::chain};

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RotationAsked {
    /// The end of a rotation: what is wrapped under the site key before goes.
    pub finish: bool,
    /// … whether or not other nodes had the time to see the new one.
    pub now: bool,
}

/// How the last one stands that this process was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct RotationStatus {
    /// What was asked for.
    pub asked: RotationAsked,
    /// How far it is.
    pub rotation: Rotation,
    /// It is not over.
    pub under_way: bool,
    /// Why it ended before its end; calling again goes on.
    pub problem: Option<String>,
}

/// What is asked for, and how it stands.
#[derive(Default)]
pub(crate) struct Rotating {
    told: Mutex<Option<RotationStatus>>,
    asked: Notify,
}

impl Road {
    /// Asks for a rotation; false when one is under way already.
    #[must_use]
    pub fn ask_rotation(&self, asked: RotationAsked) -> bool {
        let mut told = self.rotating.told.lock();
        if told.as_ref().is_some_and(|told| told.under_way) {
            return false;
        }
        *told = Some(RotationStatus { asked, rotation: Rotation::default(), under_way: true, problem: None });
        self.rotating.asked.notify_one();
        true
    }

    /// Waits until one is asked for.
    pub async fn rotation_asked(&self) -> RotationAsked {
        loop {
            self.rotating.asked.notified().await;
            if let Some(told) = self.rotating.told.lock().as_ref().filter(|told| told.under_way) {
                return told.asked;
            }
        }
    }

    /// Does what was asked for; how it went stands in the status.
    pub async fn rotate_as_asked(self: &Arc<Self>, kek: &Arc<Kek>, asked: RotationAsked, grace: Duration) {
        let told = |rotation| {
            if let Some(told) = self.rotating.told.lock().as_mut() {
                told.rotation = rotation;
            }
        };
        let done = match asked.finish {
            true => self.finish_when_settled(kek, asked.now, grace, told).await,
            false => self.rotate_site_key(kek, told).await,
        };
        let is_refused = |error: &&Error| matches!(error, Error::NotSettled | Error::RotatedElsewhere { .. });
        if let Some(error) = done.as_ref().err().filter(|error| !is_refused(error)) {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "the site key was not changed to the end"
            );
        }
        if let Some(told) = self.rotating.told.lock().as_mut() {
            told.under_way = false;
            match done {
                Ok(rotation) => told.rotation = rotation,
                Err(error) => told.problem = Some(chain(&error)),
            }
        }
    }

    /// Ends a rotation, not before other nodes had the time to see it unless it is to be `now`.
    ///
    /// # Errors
    /// [`Error::NotSettled`]; else as [`Road::finish_rotation`].
    pub async fn finish_when_settled(
        self: &Arc<Self>,
        kek: &Arc<Kek>,
        now: bool,
        grace: Duration,
        told: impl Fn(Rotation),
    ) -> Result<Rotation, Error> {
        if !now && !self.keys.is_settled(grace)? {
            return Err(Error::NotSettled);
        }
        self.finish_rotation(kek, told).await
    }

    pub(crate) fn rotation_status(&self) -> Option<RotationStatus> {
        self.rotating.told.lock().clone()
    }
}
