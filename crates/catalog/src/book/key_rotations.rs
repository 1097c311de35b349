//! Who changes the keys of the site now: one node at a time.

use filmgate_model::{NodeId, Timestamp};

use crate::{
    Catalog, Error,
    engine::{
        query,
        row::{id, time},
    },
};

/// A node that changes the keys of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRotator {
    /// The node.
    pub node_id: NodeId,
    /// Its last sign of life.
    pub held_at: Timestamp,
}

impl Catalog {
    /// This node changes the keys of the site from now on, or still does. Another one that does is told, unless it gave no
    /// sign since `stale_before`.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn hold_rotation(
        &self,
        stale_before: Timestamp,
        at: Timestamp,
    ) -> Result<Option<KeyRotator>, Error> {
        self.engine
            .run("begin to change the keys of the site", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                query(
                    "INSERT INTO book_key_rotations (site_id, node_id, held_at) VALUES ($1, $2, $3)
                     ON CONFLICT (site_id) DO UPDATE SET node_id = excluded.node_id, held_at = excluded.held_at
                        WHERE book_key_rotations.node_id = excluded.node_id OR book_key_rotations.held_at < $4",
                )
                .bind(self.site())
                .bind(self.node())
                .bind(at.0)
                .bind(stale_before.0)
                .execute(&mut transaction)
                .await?;
                let row = query("SELECT node_id, held_at FROM book_key_rotations WHERE site_id = $1")
                    .bind(self.site())
                    .fetch_one(&mut transaction)
                    .await?;
                let holder = KeyRotator { node_id: NodeId(id(&row, "node_id")?), held_at: time(&row, "held_at")? };
                transaction.commit().await?;
                Ok(Some(holder).filter(|holder| holder.node_id != self.node_id))
            })
            .await
    }

    /// This node is done with it.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn release_rotation(&self) -> Result<(), Error> {
        self.engine
            .run("end the change of the site's keys", async {
                let mut writer = self.engine.writer().await?;
                query("DELETE FROM book_key_rotations WHERE site_id = $1 AND node_id = $2")
                    .bind(self.site())
                    .bind(self.node())
                    .execute(&mut writer)
                    .await?;
                Ok(())
            })
            .await
    }
}
