//! Tries that failed: why a pack is not in a placement yet, and when it is tried again there.

use filmgate_model::{PackId, Timestamp};

use crate::{
    Catalog, Error,
    engine::{
        Connection, query,
        row::{get, optional_time, time, unsigned},
    },
};

/// A placement that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementTry {
    /// The bucket's name in the configuration.
    pub placement: String,
    /// How often in a row.
    pub attempts: u64,
    /// Why the last one failed.
    pub reason: String,
    /// When the next one is due.
    pub next_try_at: Timestamp,
}

impl Catalog {
    /// Earliest time a pack of this node is tried again in a placement; `None` when none waits for that.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn next_retry_at(&self, placement: &str) -> Result<Option<Timestamp>, Error> {
        self.engine
            .run("look for the next retry", async {
                let mut reader = self.engine.reader().await?;
                let row = query(
                    "SELECT MIN(t.next_try_at) AS due FROM index_tries t
                     JOIN index_packs p ON p.pack_id = t.pack_id
                     WHERE p.site_id = $1 AND p.node_id = $2 AND t.placement = $3
                        AND p.state IN ('packed', 'uploaded', 'retrying')",
                )
                .bind(self.site())
                .bind(self.node())
                .bind(placement)
                .fetch_one(&mut reader)
                .await?;
                optional_time(&row, "due")
            })
            .await
    }
}

/// The tries of a pack that failed, the one due first at the head.
pub(crate) async fn tries_of(reader: &mut Connection, pack_id: PackId) -> Result<Vec<PlacementTry>, Error> {
    let rows = query(
        "SELECT placement, attempts, reason, next_try_at FROM index_tries WHERE pack_id = $1
         ORDER BY next_try_at, placement",
    )
    .bind(pack_id.as_bytes().as_slice())
    .fetch_all(reader)
    .await?;
    let tries = rows.iter().map(|row| {
        Ok(PlacementTry {
            placement: get(row, "placement")?,
            attempts: unsigned(row, "attempts")?,
            reason: get(row, "reason")?,
            next_try_at: time(row, "next_try_at")?,
        })
    });
    tries.collect()
}

/// Notes a try that failed; the same one noted twice counts once.
pub(crate) async fn note_try(
    writer: &mut Connection,
    site: &[u8],
    pack_id: PackId,
    placement: &str,
    reason: &str,
    next_try_at: Timestamp,
) -> Result<(), Error> {
    query(
        "INSERT INTO index_tries (pack_id, placement, site_id, attempts, reason, next_try_at)
         VALUES ($1, $2, $3, 1, $4, $5)
         ON CONFLICT (pack_id, placement) DO UPDATE SET
            attempts = index_tries.attempts
                + CASE WHEN index_tries.next_try_at = excluded.next_try_at THEN 0 ELSE 1 END,
            reason = excluded.reason, next_try_at = excluded.next_try_at",
    )
    .bind(pack_id.as_bytes().as_slice())
    .bind(placement)
    .bind(site)
    .bind(reason)
    .bind(next_try_at.0)
    .execute(writer)
    .await?;
    Ok(())
}

/// A try went well: those before it are over.
pub(crate) async fn clear_try(
    writer: &mut Connection,
    pack_id: PackId,
    placement: &str,
) -> Result<(), Error> {
    query("DELETE FROM index_tries WHERE pack_id = $1 AND placement = $2")
        .bind(pack_id.as_bytes().as_slice())
        .bind(placement)
        .execute(writer)
        .await?;
    Ok(())
}
