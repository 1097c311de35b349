//! Keys that this node's packs still need, whatever is said of them: a key is not destroyed here while the only copies of
//! something are sealed under it.

use std::{collections::BTreeSet, sync::Arc};

use filmgate_catalog::AlarmKind;
use filmgate_log::{Merge, PackStanding};
use filmgate_model::{PackId, StudyKeyId, compute};

use crate::{Error, Road, log::SiteLogs};

impl Road {
    /// Keys of packs of this node that count, and of packs on its disk that no log speaks of: what came after a data
    /// directory was brought back from a copy may be sealed under a key that was destroyed before.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn keys_in_use(
        self: &Arc<Self>,
        logs: &SiteLogs,
    ) -> Result<BTreeSet<StudyKeyId>, Error> {
        let mut keys: BTreeSet<StudyKeyId> = logs
            .merge
            .packs()
            .filter_map(|(_, standing)| match standing {
                PackStanding::Live(pack) | PackStanding::Disputed(pack) if pack.owner == self.node_id() => {
                    Some(pack.study_key_id)
                }
                _ => None,
            })
            .collect();
        let road = Arc::clone(self);
        for (pack_id, study_key_id) in compute(move || road.local_headers()).await?? {
            if is_untold(&logs.merge, pack_id) {
                keys.insert(study_key_id);
            }
        }
        Ok(keys)
    }

    /// A key that others destroyed is needed here: nothing more is sealed under it, and a person is told.
    pub(crate) async fn key_is_needed(&self, study_key_id: StudyKeyId) -> Result<(), Error> {
        self.catalog.forget_study_key(study_key_id).await?;
        let why = "other nodes destroy this key, and packs of this node are sealed under it: `filmgate repack --study … \
                   --new-key` moves them";
        let (kind, now) = (AlarmKind::KeyStillNeeded, self.clock.now());
        Ok(self.catalog.raise_alarm(kind, &study_key_id.to_string(), why, now).await?)
    }

    /// Packs on the local disk, and the key each is sealed under; blocks on the disk.
    fn local_headers(&self) -> Result<Vec<(PackId, StudyKeyId)>, Error> {
        let mut headers = Vec::new();
        for (pack_id, bytes) in self.packs.list()? {
            let header = 0..bytes.min(filmgate_seal::PACK_HEADER_BYTES as u64);
            let header = self.packs.open(pack_id)?.read(header)?;
            if let Ok(header) = filmgate_seal::pack_header(&header) {
                headers.push((pack_id, header.study_key_id));
            }
        }
        Ok(headers)
    }
}

fn is_untold(merge: &Merge, pack_id: PackId) -> bool {
    merge.pack(pack_id) == PackStanding::Unknown && !merge.is_said_gone(pack_id)
}
