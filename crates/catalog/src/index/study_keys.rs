//! Which key a study's packs are sealed under. The keys themselves are never here.

use filmgate_model::{NodeId, StudyKeyId, Timestamp};

use crate::{
    Catalog, Error,
    engine::{query, row::optional_id},
};

/// A key the logs name, of packs that live no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKey {
    /// The key.
    pub study_key_id: StudyKeyId,
    /// Whose packs were sealed under it.
    pub node_id: NodeId,
    /// Their study.
    pub study_instance_uid: String,
    /// It is of a quarantine pack.
    pub quarantine: bool,
    /// When the first of them was made.
    pub since: Timestamp,
}

impl Catalog {
    /// This node's newest key of a study; `None` when it has none yet, or when all it has go with what was deleted of the
    /// study.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn study_key(
        &self,
        study_instance_uid: &str,
        quarantine: bool,
    ) -> Result<Option<StudyKeyId>, Error> {
        self.engine
            .run("look for a study's key", async {
                let mut reader = self.engine.reader().await?;
                let row = query(
                    "SELECT study_key_id FROM index_study_keys k
                     WHERE site_id = $1 AND study_instance_uid = $2 AND node_id = $3 AND quarantine = $4
                        AND NOT EXISTS (SELECT 1 FROM book_shredded_keys g WHERE g.study_key_id = k.study_key_id)
                        AND NOT EXISTS (SELECT 1 FROM book_deletions d
                            WHERE d.site_id = $1 AND d.study_instance_uid = $2 AND d.sop_instance_uid IS NULL
                                AND d.confirmed_at IS NOT NULL AND d.cancelled_at IS NULL
                                AND COALESCE(d.done_at, d.confirmed_at) >= k.remembered_at)
                     ORDER BY remembered_at DESC, study_key_id LIMIT 1",
                )
                .bind(self.site())
                .bind(study_instance_uid)
                .bind(self.node())
                .bind(quarantine)
                .fetch_optional(&mut reader)
                .await?;
                let key = row.map(|row| optional_id(&row, "study_key_id")).transpose()?.flatten();
                Ok(key.map(StudyKeyId))
            })
            .await
    }

    /// Remembers keys of packs that are gone: they are destroyed with what was deleted of their study, or may be asked to be.
    ///
    /// # Errors
    /// When a statement fails; then none is remembered.
    pub async fn restore_study_keys(&self, keys: &[FoundKey]) -> Result<(), Error> {
        self.engine
            .run("remember keys of packs that are gone", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                for key in keys {
                    query(REMEMBER)
                        .bind(key.study_key_id.as_bytes().as_slice())
                        .bind(self.site())
                        .bind(key.node_id.as_bytes().as_slice())
                        .bind(&key.study_instance_uid)
                        .bind(key.quarantine)
                        .bind(key.since.0)
                        .execute(&mut transaction)
                        .await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// Forgets a key of a study, so that nothing more is sealed under it; the key itself stays.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn forget_study_key(&self, study_key_id: StudyKeyId) -> Result<(), Error> {
        self.engine
            .run("forget a study's key", async {
                let mut writer = self.engine.writer().await?;
                query("DELETE FROM index_study_keys WHERE site_id = $1 AND study_key_id = $2")
                    .bind(self.site())
                    .bind(study_key_id.as_bytes().as_slice())
                    .execute(&mut writer)
                    .await?;
                Ok(())
            })
            .await
    }

    /// Remembers a key of a study; the key is in the local key cache already.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn remember_study_key(
        &self,
        study_instance_uid: &str,
        quarantine: bool,
        study_key_id: StudyKeyId,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("remember a study's key", async {
                let mut writer = self.engine.writer().await?;
                query(REMEMBER)
                    .bind(study_key_id.as_bytes().as_slice())
                    .bind(self.site())
                    .bind(self.node())
                    .bind(study_instance_uid)
                    .bind(quarantine)
                    .bind(at.0)
                    .execute(&mut writer)
                    .await?;
                Ok(())
            })
            .await
    }
}

const REMEMBER: &str = "
INSERT INTO index_study_keys (study_key_id, site_id, node_id, study_instance_uid, quarantine, remembered_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (study_key_id) DO NOTHING";
