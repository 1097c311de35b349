//! What a viewer asks for first is made before it asks: when records of a study were packed, their metadata and the middle frame of each
//! series are in memory.

use std::{collections::BTreeSet, sync::Arc};

use filmgate_catalog::Location;
use filmgate_model::PackId;

use super::frame_as::FrameSyntax;
use crate::{Error, Road};

impl Road {
    /// Warms a study; what cannot be read is left to who asks for it. Yields to receipt as the steps behind the journal do: call it
    /// when one of them is done.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn warm(self: &Arc<Self>, study_instance_uid: &str) -> Result<(), Error> {
        let series_max = self.settings.kept.warm_series_max;
        if series_max == 0 || self.journal.under_pressure() {
            return Ok(());
        }
        let instances = self.catalog.instances_of_study(study_instance_uid).await?;
        for series in
            instances.chunk_by(|a, b| a.series_instance_uid == b.series_instance_uid).take(series_max)
        {
            if let Err(error) = self.warm_series(series).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a series is not warmed");
            }
        }
        Ok(())
    }

    /// What stands in the packs' footers; what does not was too long to be kept there, and is made for nobody.
    async fn warm_metadata(self: &Arc<Self>, series: &[Location]) -> Result<(), Error> {
        let packs: BTreeSet<PackId> =
            series.iter().filter_map(|location| self.readable_pack_of(location)).collect();
        for pack_id in packs {
            for (record_id, json) in self.packed_metadata(pack_id).await? {
                self.keep_metadata(record_id, &json);
            }
        }
        Ok(())
    }

    async fn warm_series(self: &Arc<Self>, series: &[Location]) -> Result<(), Error> {
        self.warm_metadata(series).await?;
        let Some(middle) = series.get(series.len() / 2) else { return Ok(()) };
        // What would take long or much is left to who wants it.
        if self.open_found(middle).await?.header_is_long() {
            return Ok(());
        }
        match self.imaged(middle).await {
            Ok(imaged) => {
                let frame = imaged.frames.count / 2 + 1;
                self.frame(middle, &imaged, frame, FrameSyntax::Stored).await.map(drop)
            }
            Err(error) if error.is_no_image() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
