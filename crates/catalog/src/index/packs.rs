//! Packs, and their copy on the local disk.

use filmgate_model::{InstanceState, NodeId, PackId, StudyKeyId, Timestamp};

use super::{
    batch,
    placements::placements_of,
    tries::{PlacementTry, tries_of},
};
use crate::{
    Catalog, Error,
    engine::{
        AssertSqlSafe, Connection, Row, query,
        row::{fixed, get, id, optional_time, time, unsigned, word},
    },
};

pub use super::placements::PlacementState;

/// A pack and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The pack.
    pub pack_id: PackId,
    /// The node that made it.
    pub node_id: NodeId,
    /// The study its records are of.
    pub study_instance_uid: String,
    /// The key its footer is sealed under.
    pub study_key_id: StudyKeyId,
    /// Holds quarantined records.
    pub quarantine: bool,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it stands; its instances stand there too, except quarantined ones.
    pub state: InstanceState,
    /// Why, when retrying or damaged.
    pub reason: Option<String>,
    /// When it is tried again, when retrying.
    pub next_try_at: Option<Timestamp>,
    /// Failed tries so far.
    pub attempts: u64,
    /// A copy is on this node's disk.
    pub local: bool,
    /// Its records stand in another pack since then.
    pub replaced_at: Option<Timestamp>,
    /// The buckets it was put in.
    pub placements: Vec<PlacementState>,
    /// The buckets that were tried in vain, the one due first at the head.
    pub tries: Vec<PlacementTry>,
}

impl Pack {
    /// How often in a row a placement was tried in vain.
    #[must_use]
    pub fn attempts_in(&self, placement: &str) -> u64 {
        let tries = self.tries.iter().find(|tried| tried.placement == placement);
        tries.map_or(0, |tried| tried.attempts)
    }
}

/// A pack the catalog knows, as a start compares it with the folder of packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPack {
    /// The pack.
    pub pack_id: PackId,
    /// Where it stands.
    pub state: InstanceState,
    /// This node made it; of another's it may have a copy.
    pub own: bool,
    /// A copy is said to be on this node's disk.
    pub local: bool,
}

/// A local pack that may be unlinked: it is verified in every required placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvictablePack {
    /// The pack.
    pub pack_id: PackId,
    /// Its length.
    pub bytes: u64,
}

/// What [`pack`] reads; the node that asks is parameter 2.
pub(super) const COLUMNS: &str =
    "pack_id, node_id, study_instance_uid, study_key_id, quarantine, bytes, sha256, created_at, state,
    reason, next_try_at, attempts, EXISTS (SELECT 1 FROM index_local_packs l
        WHERE l.pack_id = index_packs.pack_id AND l.node_id = $2) AS local, replaced_at
    FROM index_packs";

impl Catalog {
    /// Verified packs with a local copy, the one read longest ago first, behind the first `skip`; only those of
    /// quarantined records when asked so.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn evictable(
        &self,
        quarantined: bool,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<EvictablePack>, Error> {
        self.engine
            .run("list packs to evict", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT l.pack_id, l.bytes FROM index_local_packs l JOIN index_packs p ON p.pack_id = l.pack_id
                     WHERE l.site_id = $1 AND l.node_id = $2 AND p.state = 'verified'
                        AND (p.quarantine = TRUE OR $3 = FALSE)
                     ORDER BY l.last_read_at, l.pack_id LIMIT $4 OFFSET $5",
                )
                .bind(self.site())
                .bind(self.node())
                .bind(quarantined)
                .bind(i64::from(limit))
                .bind(i64::from(skip))
                .fetch_all(&mut reader)
                .await?;
                let packs = rows.iter().map(|row| {
                    Ok(EvictablePack { pack_id: PackId(id(row, "pack_id")?), bytes: unsigned(row, "bytes")? })
                });
                packs.collect()
            })
            .await
    }

    /// A local copy is about to be unlinked. False when it must stay: the pack is not verified.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn record_evicted(&self, pack_id: PackId) -> Result<bool, Error> {
        self.engine
            .run("record an eviction", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                let verified =
                    query("SELECT pack_id FROM index_packs WHERE pack_id = $1 AND state = 'verified'")
                        .bind(pack_id.as_bytes().as_slice())
                        .fetch_optional(&mut transaction)
                        .await?
                        .is_some();
                if verified {
                    self.forget_local(&mut transaction, pack_id).await?;
                }
                transaction.commit().await?;
                Ok(verified)
            })
            .await
    }

    /// A pack another node made was copied to this node's disk.
    ///
    /// # Errors
    /// [`Error::UnknownPack`]; or when a statement fails.
    pub async fn record_cached(&self, pack_id: PackId, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("record a cached pack", async {
                let mut writer = self.engine.writer().await?;
                let known = query(
                    "INSERT INTO index_local_packs (pack_id, node_id, site_id, bytes, last_read_at)
                     SELECT pack_id, $2, site_id, bytes, $3 FROM index_packs WHERE pack_id = $1
                     ON CONFLICT (pack_id, node_id) DO UPDATE SET last_read_at = excluded.last_read_at",
                )
                .bind(pack_id.as_bytes().as_slice())
                .bind(self.node())
                .bind(at.0)
                .execute(&mut writer)
                .await?;
                if known.rows_affected() == 0 { Err(Error::UnknownPack(pack_id)) } else { Ok(()) }
            })
            .await
    }

    /// A pack another node made is not on this node's disk any more.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn forget_cached(&self, pack_id: PackId) -> Result<(), Error> {
        self.engine
            .run("forget a cached pack", async {
                let mut writer = self.engine.writer().await?;
                self.forget_local(&mut writer, pack_id).await
            })
            .await
    }

    pub(super) async fn forget_local(&self, writer: &mut Connection, pack_id: PackId) -> Result<(), Error> {
        query("DELETE FROM index_local_packs WHERE pack_id = $1 AND node_id = $2")
            .bind(pack_id.as_bytes().as_slice())
            .bind(self.node())
            .execute(writer)
            .await?;
        Ok(())
    }

    /// Local copies were read: they are evicted later than others.
    ///
    /// # Errors
    /// When a statement fails; then nothing is noted.
    pub async fn record_read(&self, packs: &[PackId], at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("record what was read", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                for run in batch::runs(packs, 1, READ_AT_ONCE) {
                    let which = batch::values(3, run.len(), 1);
                    let sql = format!(
                        "UPDATE index_local_packs SET last_read_at = $1 WHERE node_id = $2 AND pack_id IN {which}"
                    );
                    let mut query = query(AssertSqlSafe(sql)).bind(at.0).bind(self.node());
                    for pack_id in run {
                        query = query.bind(pack_id.as_bytes().as_slice());
                    }
                    query.execute(&mut transaction).await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// The pack; `None` when it is not known.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn pack(&self, pack_id: PackId) -> Result<Option<Pack>, Error> {
        let sql = format!("SELECT {COLUMNS} WHERE site_id = $1 AND pack_id = $3");
        self.engine
            .run("read a pack", async {
                let mut reader = self.engine.reader().await?;
                let query = query(AssertSqlSafe(sql))
                    .bind(self.site())
                    .bind(self.node())
                    .bind(pack_id.as_bytes().as_slice());
                match query.fetch_optional(&mut reader).await? {
                    Some(row) => Ok(Some(pack(&mut reader, &row).await?)),
                    None => Ok(None),
                }
            })
            .await
    }

    /// Every pack of the site, oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn packs_by_age(&self) -> Result<Vec<PackId>, Error> {
        self.engine
            .run("list the packs of the site", async {
                let mut reader = self.engine.reader().await?;
                let packs =
                    query("SELECT pack_id FROM index_packs WHERE site_id = $1 ORDER BY created_at, pack_id");
                let rows = packs.bind(self.site()).fetch_all(&mut reader).await?;
                rows.iter().map(|row| Ok(PackId(id(row, "pack_id")?))).collect()
            })
            .await
    }

    /// Every pack this node made or has on its disk, oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn known_packs(&self) -> Result<Vec<KnownPack>, Error> {
        self.engine
            .run("list packs", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT p.pack_id, p.state, p.node_id, l.pack_id IS NOT NULL AS local FROM index_packs p
                     LEFT JOIN index_local_packs l ON l.pack_id = p.pack_id AND l.node_id = $2
                     WHERE p.site_id = $1 AND (p.node_id = $2 OR l.pack_id IS NOT NULL)
                     ORDER BY p.created_at, p.pack_id",
                )
                .bind(self.site())
                .bind(self.node())
                .fetch_all(&mut reader)
                .await?;
                let packs = rows.iter().map(|row| {
                    let (pack_id, state) = (PackId(id(row, "pack_id")?), word(row, "state")?);
                    let own = NodeId(id(row, "node_id")?) == self.node_id;
                    Ok(KnownPack { pack_id, state, own, local: get(row, "local")? })
                });
                packs.collect()
            })
            .await
    }
}

/// Packs noted as read in one statement.
const READ_AT_ONCE: usize = 64;

pub(super) async fn pack(reader: &mut Connection, row: &Row) -> Result<Pack, Error> {
    let pack_id = PackId(id(row, "pack_id")?);
    Ok(Pack {
        pack_id,
        node_id: NodeId(id(row, "node_id")?),
        study_instance_uid: get(row, "study_instance_uid")?,
        study_key_id: StudyKeyId(id(row, "study_key_id")?),
        quarantine: get(row, "quarantine")?,
        bytes: unsigned(row, "bytes")?,
        sha256: fixed(row, "sha256")?,
        created_at: time(row, "created_at")?,
        state: word(row, "state")?,
        reason: get(row, "reason")?,
        next_try_at: optional_time(row, "next_try_at")?,
        attempts: unsigned(row, "attempts")?,
        local: get(row, "local")?,
        replaced_at: optional_time(row, "replaced_at")?,
        placements: placements_of(reader, pack_id).await?,
        tries: tries_of(reader, pack_id).await?,
    })
}
