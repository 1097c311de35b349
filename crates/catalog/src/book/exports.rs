//! Which export of the book was the last, and which node makes the next: one of several that share a catalog.

use filmgate_model::{IncarnationId, NodeId, Timestamp};

use crate::{
    Catalog, Error,
    engine::{
        query,
        row::{fixed, get, id, signed, time, unsigned},
    },
};

/// An export that was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookExport {
    /// SHA-256 of what it holds.
    pub digest: [u8; 32],
    /// Who made it.
    pub node_id: NodeId,
    /// The run of batches it stands beside.
    pub incarnation: IncarnationId,
    /// Its number.
    pub number: u64,
    /// Where it was proven.
    pub placements: Vec<String>,
    /// When.
    pub exported_at: Timestamp,
}

impl Catalog {
    /// The last export that was proven in every bucket, whichever node made it.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn last_book_export(&self) -> Result<Option<BookExport>, Error> {
        self.engine
            .run("look for the last export of the book", async {
                let mut reader = self.engine.reader().await?;
                let row = query("SELECT * FROM book_exports WHERE site_id = $1 AND digest IS NOT NULL")
                    .bind(self.site())
                    .fetch_optional(&mut reader)
                    .await?;
                let export = row.map(|row| {
                    let placements: &str = get(&row, "placements")?;
                    Ok(BookExport {
                        digest: fixed(&row, "digest")?,
                        node_id: NodeId(id(&row, "node_id")?),
                        incarnation: IncarnationId(id(&row, "incarnation")?),
                        number: unsigned(&row, "number")?,
                        placements: placements.split_whitespace().map(str::to_owned).collect(),
                        exported_at: time(&row, "exported_at")?,
                    })
                });
                export.transpose()
            })
            .await
    }

    /// Claims the next export for this node; its number, above `after`, which is given out once. `None` when another node
    /// makes one and gave a sign since `stale_before`, or when the last one holds the same unless it is to be made `anew`.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn claim_book_export(
        &self,
        digest: &[u8; 32],
        anew: bool,
        after: u64,
        stale_before: Timestamp,
        at: Timestamp,
    ) -> Result<Option<u64>, Error> {
        self.engine
            .run("claim an export of the book", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                query(
                    "INSERT INTO book_exports (site_id, last_number) VALUES ($1, 0)
                     ON CONFLICT (site_id) DO NOTHING",
                )
                .bind(self.site())
                .execute(&mut transaction)
                .await?;
                let claimed = query(
                    "UPDATE book_exports SET claimed_by = $2, claimed_at = $3,
                        last_number = (CASE WHEN last_number < $4 THEN $4 ELSE last_number END) + 1
                     WHERE site_id = $1 AND ($5 OR digest IS NULL OR digest <> $6)
                        AND (claimed_by IS NULL OR claimed_by = $2 OR claimed_at < $7)
                     RETURNING last_number",
                )
                .bind(self.site())
                .bind(self.node())
                .bind(at.0)
                .bind(signed(after, "the number of an export")?)
                .bind(anew)
                .bind(digest.as_slice())
                .bind(stale_before.0)
                .fetch_optional(&mut transaction)
                .await?;
                transaction.commit().await?;
                claimed.map(|row| unsigned(&row, "last_number")).transpose()
            })
            .await
    }

    /// An export is proven in every bucket.
    ///
    /// # Errors
    /// When the statement fails.
    pub async fn finish_book_export(&self, export: &BookExport) -> Result<(), Error> {
        self.engine
            .run("write down an export of the book", async {
                let mut writer = self.engine.writer().await?;
                query(
                    "UPDATE book_exports SET claimed_by = NULL, claimed_at = NULL, digest = $2, node_id = $3,
                        incarnation = $4, number = $5, placements = $6, exported_at = $7
                     WHERE site_id = $1 AND (number IS NULL OR number < $5)",
                )
                .bind(self.site())
                .bind(export.digest.as_slice())
                .bind(export.node_id.as_bytes().as_slice())
                .bind(export.incarnation.as_bytes().as_slice())
                .bind(signed(export.number, "the number of an export")?)
                .bind(export.placements.join(" "))
                .bind(export.exported_at.0)
                .execute(&mut writer)
                .await?;
                Ok(())
            })
            .await
    }
}
