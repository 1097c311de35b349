//! The nodes that share this catalog: where each is reached, and what only it holds.

use filmgate_model::{NodeId, Timestamp};

use crate::{
    Catalog, Error,
    engine::{
        Row, query,
        row::{get, id, optional_time, unsigned},
    },
};

/// A node of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node.
    pub node_id: NodeId,
    /// Where other nodes fetch from it; `None` when it gives nothing.
    pub url: Option<String>,
    /// When it was last there; `None` for one that never said so, whose instances are known all the same.
    pub last_seen_at: Option<Timestamp>,
    /// Instances that are not verified: only this node has their bytes for sure.
    pub held: u64,
}

impl Catalog {
    /// This node is here now, and reached there.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn announce_node(
        &self,
        url: Option<&str>,
        started_at: Timestamp,
        at: Timestamp,
    ) -> Result<(), Error> {
        self.engine
            .run("announce this node", async {
                let mut writer = self.engine.writer().await?;
                query(
                    "INSERT INTO book_nodes (site_id, node_id, url, started_at, last_seen_at)
                     VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (site_id, node_id) DO UPDATE SET
                        url = excluded.url, started_at = excluded.started_at, last_seen_at = excluded.last_seen_at",
                )
                .bind(self.site())
                .bind(self.node_id.as_bytes().as_slice())
                .bind(url)
                .bind(started_at.0)
                .bind(at.0)
                .execute(&mut writer)
                .await?;
                Ok(())
            })
            .await
    }

    /// Where a node is reached; `None` when it never said so, or gives nothing.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn node_url(&self, node_id: NodeId) -> Result<Option<String>, Error> {
        self.engine
            .run("look up a node", async {
                let mut reader = self.engine.reader().await?;
                let row = query("SELECT url FROM book_nodes WHERE site_id = $1 AND node_id = $2")
                    .bind(self.site())
                    .bind(node_id.as_bytes().as_slice())
                    .fetch_optional(&mut reader)
                    .await?;
                row.map_or(Ok(None), |row| get(&row, "url"))
            })
            .await
    }

    /// Every node that is known, by announcement or by what it received; this one too.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.engine
            .run("list nodes", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(NODES).bind(self.site()).fetch_all(&mut reader).await?;
                rows.iter().map(node).collect()
            })
            .await
    }
}

/// What is verified or deleted no single node holds.
const NODES: &str = "
WITH held AS (
    SELECT node_id, COUNT(*) AS instances FROM index_instances i
    WHERE site_id = $1 AND (state IN ('received', 'packed', 'uploaded', 'retrying')
        OR state = 'quarantined' AND NOT EXISTS (
            SELECT 1 FROM index_packs p WHERE p.pack_id = i.pack_id AND p.state = 'verified'))
    GROUP BY node_id),
named AS (
    SELECT node_id FROM book_nodes WHERE site_id = $1 UNION SELECT node_id FROM held)
SELECT named.node_id AS node_id, n.url AS url, n.last_seen_at AS last_seen_at,
    COALESCE(held.instances, 0) AS instances
FROM named
LEFT JOIN book_nodes n ON n.site_id = $1 AND n.node_id = named.node_id
LEFT JOIN held ON held.node_id = named.node_id
ORDER BY named.node_id";

fn node(row: &Row) -> Result<Node, Error> {
    Ok(Node {
        node_id: NodeId(id(row, "node_id")?),
        url: get(row, "url")?,
        last_seen_at: optional_time(row, "last_seen_at")?,
        held: unsigned(row, "instances")?,
    })
}
