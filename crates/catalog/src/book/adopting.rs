//! Taking over from a node that is dead: what it was to do is this node's from then on.

use filmgate_model::{NodeId, PackId, Timestamp};

use crate::{
    Catalog, Error, Outgoing,
    engine::{Connection, query, row::signed},
};

/// What is taken over from a node.
#[derive(Debug, Clone, Copy)]
pub struct TakeOver<'a> {
    /// The dead node.
    pub node_id: NodeId,
    /// Its data directory is at hand, and what it held is here now; otherwise what only it held stays held by a node that
    /// is away.
    pub with_directory: bool,
    /// Nodes it had taken over from itself: their packs are taken over with its own.
    pub earlier: &'a [NodeId],
    /// Packs whose files were copied to this node's disk, and their lengths.
    pub copied: &'a [(PackId, u64)],
    /// What is told of it, and what the dead node had yet to tell.
    pub facts: &'a [Outgoing],
}

impl Catalog {
    /// Makes a dead node's packs, jobs and facts this node's, all or nothing.
    ///
    /// # Errors
    /// When a statement fails; then nothing was taken over.
    pub async fn take_over(&self, from: &TakeOver<'_>, at: Timestamp) -> Result<(), Error> {
        self.engine
            .run("take over from a dead node", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                if from.with_directory {
                    self.take_records(&mut transaction, from.node_id).await?;
                }
                for node_id in std::iter::once(&from.node_id).chain(from.earlier) {
                    self.take_packs(&mut transaction, *node_id, from.with_directory).await?;
                }
                for (pack_id, bytes) in from.copied {
                    self.note_copied(&mut transaction, *pack_id, *bytes, at).await?;
                }
                for fact in from.facts {
                    self.put_out(&mut transaction, fact, at).await?;
                }
                transaction.commit().await
            })
            .await
    }

    async fn take_records(&self, writer: &mut Connection, from: NodeId) -> Result<(), Error> {
        for sql in [
            "UPDATE index_instances SET node_id = $3
             WHERE site_id = $1 AND node_id = $2 AND state NOT IN ('verified', 'deleted')",
            "DELETE FROM book_nodes WHERE site_id = $1 AND node_id = $2 AND node_id <> $3",
        ] {
            self.of_node(writer, sql, from).await?;
        }
        Ok(())
    }

    /// Of a directory that is lost, what no bucket has for sure stays with it.
    async fn take_packs(&self, writer: &mut Connection, from: NodeId, all: bool) -> Result<(), Error> {
        let packs = match all {
            true => "UPDATE index_packs SET node_id = $3 WHERE site_id = $1 AND node_id = $2",
            false => {
                "UPDATE index_packs SET node_id = $3
                 WHERE site_id = $1 AND node_id = $2 AND state IN ('verified', 'damaged', 'deleted')"
            }
        };
        for sql in [
            packs,
            "UPDATE book_outbox SET node_id = $3 WHERE site_id = $1 AND node_id = $2",
            "UPDATE index_study_keys SET node_id = $3 WHERE site_id = $1 AND node_id = $2",
            "DELETE FROM index_local_packs WHERE site_id = $1 AND node_id = $2 AND node_id <> $3",
            "DELETE FROM book_retention_rules WHERE site_id = $1 AND node_id = $2 AND node_id <> $3",
        ] {
            self.of_node(writer, sql, from).await?;
        }
        Ok(())
    }

    async fn of_node(&self, writer: &mut Connection, sql: &'static str, from: NodeId) -> Result<(), Error> {
        query(sql)
            .bind(self.site())
            .bind(from.as_bytes().as_slice())
            .bind(self.node())
            .execute(writer)
            .await?;
        Ok(())
    }

    /// A pack the catalog does not know yet is entered from its file at the next look.
    async fn note_copied(
        &self,
        writer: &mut Connection,
        pack_id: PackId,
        bytes: u64,
        at: Timestamp,
    ) -> Result<(), Error> {
        query(
            "INSERT INTO index_local_packs (pack_id, node_id, site_id, bytes, last_read_at)
             SELECT p.pack_id, $2, $1, $4, $5 FROM index_packs p WHERE p.site_id = $1 AND p.pack_id = $3
             ON CONFLICT (pack_id, node_id) DO NOTHING",
        )
        .bind(self.site())
        .bind(self.node())
        .bind(pack_id.as_bytes().as_slice())
        .bind(signed(bytes, "a pack")?)
        .bind(at.0)
        .execute(writer)
        .await?;
        Ok(())
    }
}
