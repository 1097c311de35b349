//! The outbox: facts on their way into the bucket's log.

use filmgate_model::{FactId, PackId, Timestamp};

use crate::{
    Catalog, Error,
    engine::{
        Connection, Row, query,
        row::{get, id, optional_id, unsigned},
    },
};

/// A fact on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its id for ever.
    pub fact_id: FactId,
    /// Its kind, as the log numbers it.
    pub kind: u64,
    /// What it says, as the log stores it.
    pub body: Vec<u8>,
    /// The pack that is verified once this is logged.
    pub pack_id: Option<PackId>,
    /// The pack whose bytes go once this is logged.
    pub goes: Option<PackId>,
}

impl Catalog {
    /// Facts of this node that are not in the log yet, in the order in which they came true.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn outgoing(&self, limit: u32) -> Result<Vec<Outgoing>, Error> {
        self.engine
            .run("list what is to be logged", async {
                let mut reader = self.engine.reader().await?;
                let rows = query(
                    "SELECT fact_id, kind, body, pack_id, goes FROM book_outbox WHERE site_id = $1 AND node_id = $2
                     ORDER BY number LIMIT $3",
                )
                .bind(self.site())
                .bind(self.node_id.as_bytes().as_slice())
                .bind(i64::from(limit))
                .fetch_all(&mut reader)
                .await?;
                rows.iter().map(outgoing).collect()
            })
            .await
    }

    /// How many facts of this node are not in the log yet.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn count_outgoing(&self) -> Result<u64, Error> {
        self.engine
            .run("count what is to be logged", async {
                let mut reader = self.engine.reader().await?;
                let row =
                    query("SELECT COUNT(*) AS facts FROM book_outbox WHERE site_id = $1 AND node_id = $2")
                        .bind(self.site())
                        .bind(self.node_id.as_bytes().as_slice())
                        .fetch_one(&mut reader)
                        .await?;
                unsigned(&row, "facts")
            })
            .await
    }

    /// States something that changes nothing here by itself.
    ///
    /// # Errors
    /// When a statement fails.
    pub async fn state_fact(&self, fact: &Outgoing, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("state a fact", async {
                let mut writer = self.engine.writer().await?;
                self.put_out(&mut writer, fact, at).await
            })
            .await
    }

    /// Writes a fact down within the operation it tells of. A pack's is there once, whatever is repeated.
    pub(crate) async fn put_out(
        &self,
        writer: &mut Connection,
        fact: &Outgoing,
        at: Timestamp,
    ) -> Result<(), Error> {
        query(
            "INSERT INTO book_outbox (fact_id, site_id, node_id, kind, body, pack_id, goes, entered_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(fact.fact_id.as_bytes().as_slice())
        .bind(self.site())
        .bind(self.node_id.as_bytes().as_slice())
        .bind(i64::try_from(fact.kind).map_err(|_| Error::TooLarge { what: "a fact's kind" })?)
        .bind(fact.body.as_slice())
        .bind(fact.pack_id.as_ref().map(|pack_id| pack_id.as_bytes().as_slice()))
        .bind(fact.goes.as_ref().map(|pack_id| pack_id.as_bytes().as_slice()))
        .bind(at.0)
        .execute(writer)
        .await?;
        Ok(())
    }
}

fn outgoing(row: &Row) -> Result<Outgoing, Error> {
    Ok(Outgoing {
        fact_id: FactId(id(row, "fact_id")?),
        kind: unsigned(row, "kind")?,
        body: get::<&[u8]>(row, "body")?.to_vec(),
        pack_id: optional_id(row, "pack_id")?.map(PackId),
        goes: optional_id(row, "goes")?.map(PackId),
    })
}
