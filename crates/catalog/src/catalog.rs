//! The catalog as a value: options, opening, closing, wiping.

use std::{path::Path, sync::Arc, time::Duration};

use filmgate_model::{NodeId, SiteId};

use crate::{
    Attributes, Error, Teller,
    engine::{AssertSqlSafe, Engine, PostgresOptions, Readers, query},
};

/// Whose catalog it is and how it is driven.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// The site every row belongs to.
    pub site_id: SiteId,
    /// This node: what it received, it packs and uploads.
    pub node_id: NodeId,
    /// Connections for reading beside the one that writes.
    pub readers: usize,
    /// Bytes of pages of a file that those keep in memory, together; 2 MB each at least.
    pub pages_bytes: u64,
    /// Every operation is driven to its end before its future first returns `Pending` (simulations).
    pub blocking: bool,
    /// Puts what others must know into the words of the log; without one nothing is told.
    pub teller: Option<Teller>,
    /// Attributes kept beside the columns, to be asked for and answered with.
    pub attributes: Attributes,
    /// How long a search may take the database; not in memory.
    pub search_time_max: Duration,
}

impl CatalogOptions {
    /// Four readers with 256 MiB of pages, not blocking, nothing told, no attributes beside those the standard asks for, ten seconds
    /// a search.
    #[must_use]
    pub fn new(site_id: SiteId, node_id: NodeId) -> Self {
        Self {
            site_id,
            node_id,
            readers: 4,
            pages_bytes: 256 << 20,
            blocking: false,
            teller: None,
            attributes: Attributes::default(),
            search_time_max: Duration::from_secs(10),
        }
    }
}

/// What the gateway knows. Methods are whole operations, grouped by noun in `index/`, `book/` and `search/`.
pub struct Catalog {
    pub(crate) engine: Engine,
    pub(crate) site_id: SiteId,
    pub(crate) node_id: NodeId,
    pub(crate) teller: Option<Teller>,
    pub(crate) attributes: Arc<Attributes>,
    pub(crate) search_time_max: Duration,
}

/// Derived tables, in an order in which they can be emptied.
const INDEX_TABLES: [&str; 16] = [
    "index_moves",
    "index_upload_parts",
    "index_uploads",
    "index_tries",
    "index_placements",
    "index_local_packs",
    "index_packs",
    "index_dropped_copies",
    "index_instances",
    "index_counts",
    "index_attributes",
    "index_grams",
    "index_series",
    "index_studies",
    "index_patients",
    "index_study_keys",
];

impl Catalog {
    /// Opens the encrypted file, makes it when missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::WrongKey`] when the file does not open with `key`.
    pub async fn open(path: &Path, key: &[u8; 32], options: &CatalogOptions) -> Result<Self, Error> {
        let readers = Readers { count: options.readers, pages_bytes: options.pages_bytes };
        let engine = Engine::open_file(path, key, readers, options.blocking).await?;
        Self::over(engine, options).await
    }

    /// A catalog in memory, unencrypted, with one connection: for tests and simulations.
    ///
    /// # Errors
    /// When SQLite cannot be started.
    pub async fn in_memory(options: &CatalogOptions) -> Result<Self, Error> {
        let engine = Engine::in_memory(options.blocking).await?;
        Self::over(engine, options).await
    }

    /// Connects to a PostgreSQL database, which several nodes of the site may share, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::PostgresUrl`] and [`Error::Unfit`] until a person changes something; [`Error::Connect`] while the server
    /// is away.
    pub async fn connect(database: &PostgresOptions, options: &CatalogOptions) -> Result<Self, Error> {
        let engine = Engine::connect(database).await?;
        Self::over(engine, options).await
    }

    async fn over(engine: Engine, options: &CatalogOptions) -> Result<Self, Error> {
        let catalog = Self {
            engine,
            site_id: options.site_id,
            node_id: options.node_id,
            teller: options.teller,
            attributes: Arc::new(options.attributes.clone()),
            search_time_max: options.search_time_max,
        };
        catalog.fold_studies().await?;
        Ok(catalog)
    }

    /// What is kept beside the columns.
    #[must_use]
    pub fn attributes(&self) -> Arc<Attributes> {
        Arc::clone(&self.attributes)
    }

    /// Which database it is in: `sqlite` or `postgresql`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// Ends the connections to a database server, when those on loan are back; a file is closed with the catalog. For the
    /// end of a process: the runtime they live on must not end before them.
    pub async fn disconnect(&self) {
        self.engine.disconnect().await;
    }

    /// True when other nodes of the site may work on the same database: what is entered here, they see.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.engine.name() == "postgresql"
    }

    /// Closes every connection in order.
    ///
    /// # Errors
    /// When the last write-back fails; nothing committed is lost by it.
    pub async fn close(self) -> Result<(), Error> {
        self.engine.close().await.map_err(|error| error.while_doing("close catalog"))
    }

    /// Empties the derived half of the site, and only that, before log, packs and journal refill it. Nodes that share
    /// the catalog lose what they have not uploaded from it until their next start enters it again.
    ///
    /// # Errors
    /// When a statement fails; then nothing was emptied.
    pub async fn wipe_index(&self) -> Result<(), Error> {
        self.engine
            .run("wipe the index", async {
                let mut writer = self.engine.writer().await?;
                let mut transaction = writer.begin().await?;
                for table in INDEX_TABLES {
                    query(AssertSqlSafe(format!("DELETE FROM {table} WHERE site_id = $1")))
                        .bind(self.site())
                        .execute(&mut transaction)
                        .await?;
                }
                transaction.commit().await
            })
            .await
    }

    /// So many bytes of pages stay in memory with the connection that writes, from now on: rows that are entered by the thousand
    /// touch the same pages of the indexes again and again. `None` is as it was at the start. PostgreSQL sees to its own.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn keep_pages(&self, bytes: Option<u64>) -> Result<(), Error> {
        self.engine.run("keep pages", self.engine.keep_pages(bytes)).await
    }

    /// This node's bytes, as a parameter of statements about its own disk and jobs.
    pub(crate) fn node(&self) -> &[u8] {
        self.node_id.as_bytes()
    }

    /// The site's bytes, as the first parameter of most statements.
    pub(crate) fn site(&self) -> &[u8] {
        self.site_id.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use filmgate_model::Random;

    use super::*;
    use crate::engine::row::get;

    #[test]
    fn wiping_names_every_derived_table() {
        let random = Random::seeded(1);
        let mut options = CatalogOptions::new(SiteId::random(&random), NodeId::random(&random));
        options.blocking = true;
        let listed = futures::executor::block_on(async {
            // Not through `run`: one executor cannot stand inside another.
            options.blocking = false;
            let catalog = Catalog::in_memory(&options).await.expect("in memory");
            let sql =
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'index!_%' ESCAPE '!'";
            let mut writer = catalog.engine.writer().await.expect("writer");
            let rows = query(sql).fetch_all(&mut writer).await.expect("tables");
            rows.iter()
                .map(|row| get(row, "name").expect("a name"))
                .collect::<std::collections::BTreeSet<String>>()
        });
        assert_eq!(listed, INDEX_TABLES.into_iter().map(String::from).collect());
    }
}
