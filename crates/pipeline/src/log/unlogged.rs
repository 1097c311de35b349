//! Packs that were verified before there was a log: each is named once, so that a rebuild need not find it by itself.

use std::sync::Arc;

use filmgate_log::PackStanding;
use filmgate_model::PackId;

use crate::{Error, Road};

/// Packs looked at in one round.
const ROUND: u32 = 256;

impl Road {
    /// States every verified pack of this node that no batch names; how many. The logs are read once, and only where the
    /// catalog cannot say of a pack that it is named.
    ///
    /// # Errors
    /// When the catalog fails, or no placement can be asked; the next call goes on.
    pub async fn name_unlogged(self: &Arc<Self>) -> Result<u64, Error> {
        let mut packs = self.catalog.unlogged_packs(self.node_id(), ROUND).await?;
        if packs.is_empty() {
            return Ok(0);
        }
        let (logs, mut stated) = (self.read_logs().await?, 0);
        while !packs.is_empty() {
            let is_named = |pack_id: &PackId| !matches!(logs.merge.pack(*pack_id), PackStanding::Unknown);
            let (named, unnamed): (Vec<_>, Vec<_>) = packs.into_iter().partition(is_named);
            self.catalog.note_logged(&named, self.clock.now()).await?;
            for pack_id in unnamed {
                stated += u64::from(self.name_pack(pack_id).await?);
            }
            packs = self.catalog.unlogged_packs(self.node_id(), ROUND).await?;
        }
        self.tell_log();
        tracing::info!(packs = stated, "packs that were verified before there was a log are named by it");
        Ok(stated)
    }

    async fn name_pack(&self, pack_id: PackId) -> Result<bool, Error> {
        let Some(pack) = self.catalog.pack(pack_id).await? else { return Ok(false) };
        self.catalog.state_fact(&self.fact_of(&pack)?, self.clock.now()).await?;
        Ok(true)
    }
}
