//! Before the first object is put in a placement, it is found out what the store does, and whether it is fit for packs and
//! for keys. A store that is away is asked when it is back: this holds up no start.

use filmgate_bucket::{Probe, ProbeToken};

use crate::{Error, Placement, Road};

/// What a placement was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Probed {
    /// Where packs go; `None` for a store there is nothing to find out about.
    pub packs: Option<Probe>,
    /// Where keys go.
    pub keys: Option<Probe>,
}

impl Road {
    /// What a placement does: found out at the first call that the store answers, remembered from then on.
    ///
    /// # Errors
    /// When the store does not answer, or must not be used; then the error says what to do.
    pub async fn probe(&self, placement: &Placement) -> Result<Probed, Error> {
        if let Some(probed) = self.probed_of(&placement.name) {
            return Ok(probed);
        }
        let at = self.clock.now();
        // No other node and no other moment has this token, and nothing random is used up for it.
        let token = format!("{}{}", self.keys.node_id(), at.0);
        let packs = placement.bucket.probe(&ProbeToken { token: token.clone(), at_ms: at.0 }).await?;
        let keys = placement.keys.probe(&ProbeToken { token, at_ms: at.0 }).await?;
        let probed = Probed { packs, keys };
        if packs.is_some() || keys.is_some() {
            tracing::info!(placement = placement.name, ?packs, ?keys, "a placement was tried");
        }
        self.probed.lock().insert(placement.name.clone(), probed);
        Ok(probed)
    }

    /// What is known of a placement; `None` until it was asked.
    pub(crate) fn probed_of(&self, placement: &str) -> Option<Probed> {
        self.probed.lock().get(placement).copied()
    }
}
