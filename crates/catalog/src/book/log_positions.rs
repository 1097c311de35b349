//! How far a catalog has come with what a node's data directory stated in the log.

use filmgate_model::IncarnationId;

use crate::{
    Catalog, Error,
    engine::{
        Connection, query,
        row::{id, unsigned},
    },
};

/// A place in a run of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// The run.
    pub incarnation: IncarnationId,
    /// The last batch of it that is entered; 0 for none yet.
    pub sequence: u64,
}

impl Catalog {
    /// How far this node's own batches are entered; `None` when none was heard of.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn log_position(&self) -> Result<Option<LogPosition>, Error> {
        self.engine
            .run("look how far the log is entered", async {
                let mut reader = self.engine.reader().await?;
                let row = query(
                    "SELECT incarnation, sequence FROM book_log_positions WHERE site_id = $1 AND node_id = $2",
                )
                .bind(self.site())
                .bind(self.node())
                .fetch_optional(&mut reader)
                .await?;
                let position = row.map(|row| {
                    Ok(LogPosition {
                        incarnation: IncarnationId(id(&row, "incarnation")?),
                        sequence: unsigned(&row, "sequence")?,
                    })
                });
                position.transpose()
            })
            .await
    }

    /// All that this node stated up to there is entered.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn note_log_position(&self, position: LogPosition) -> Result<(), Error> {
        self.engine
            .run("note how far the log is entered", async {
                let mut writer = self.engine.writer().await?;
                self.set_log_position(&mut writer, position).await
            })
            .await
    }

    pub(crate) async fn set_log_position(
        &self,
        writer: &mut Connection,
        position: LogPosition,
    ) -> Result<(), Error> {
        let sequence = i64::try_from(position.sequence);
        query(
            "INSERT INTO book_log_positions (site_id, node_id, incarnation, sequence) VALUES ($1, $2, $3, $4)
             ON CONFLICT (site_id, node_id) DO UPDATE SET
                incarnation = excluded.incarnation, sequence = excluded.sequence",
        )
        .bind(self.site())
        .bind(self.node())
        .bind(position.incarnation.as_bytes().as_slice())
        .bind(sequence.map_err(|_| Error::TooLarge { what: "a batch's number" })?)
        .execute(writer)
        .await?;
        Ok(())
    }
}
