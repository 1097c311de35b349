//! The thin layer between our statements and the two databases: SQLite (one writer, encrypted, WAL) and PostgreSQL
//! (a pool, several nodes). Above it nothing is generic and nothing knows which of the two it speaks to:
//!
//! ```text
//! let mut writer = self.engine.writer().await?;
//! let mut transaction = writer.begin().await?;
//! query("UPDATE … WHERE record_id = $1").bind(id).execute(&mut transaction).await?;
//! transaction.commit().await?;
//! ```
//!
//! One SQL text therefore: parameters are `$n`, booleans `TRUE` and `FALSE`, sums are cast (`CAST(SUM(x) AS BIGINT)`,
//! PostgreSQL's is a decimal), a scalar is a column with a name. A NUL never reaches a database: PostgreSQL's text has
//! no place for it, and the same value must be found on both.

mod bounded;
mod builder;
mod connection;
mod migrations;
mod postgres;
pub(crate) mod row;
mod sqlite;
mod statement;

use std::{future::Future, path::Path};

pub(crate) use builder::QueryBuilder;
pub(crate) use connection::Connection;
pub use postgres::PostgresOptions;
pub(crate) use row::Row;
pub(crate) use sqlite::Readers;
pub(crate) use sqlx::AssertSqlSafe;
pub(crate) use statement::{Statement, query};
#[cfg(test)]
pub(crate) use {migrations::postgres_before as migrations_before, sqlite::old_file};

use crate::Error;
use connection::Lease;

/// The database of a catalog.
pub(crate) struct Engine {
    database: Database,
    blocking: bool,
}

enum Database {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

impl Engine {
    /// Opens or makes the encrypted file.
    pub(crate) async fn open_file(
        path: &Path,
        key: &[u8; 32],
        readers: Readers,
        blocking: bool,
    ) -> Result<Self, Error> {
        let database = drive(blocking, sqlite::Sqlite::open(path, key, readers)).await?;
        Ok(Self { database: Database::Sqlite(database), blocking })
    }

    /// A catalog that lives as long as this value.
    pub(crate) async fn in_memory(blocking: bool) -> Result<Self, Error> {
        let database = drive(blocking, sqlite::Sqlite::in_memory()).await?;
        Ok(Self { database: Database::Sqlite(database), blocking })
    }

    /// Connects to a PostgreSQL database and brings its schema up to date.
    pub(crate) async fn connect(options: &PostgresOptions) -> Result<Self, Error> {
        Ok(Self {
            database: Database::Postgres(postgres::Postgres::connect(options).await?),
            blocking: false,
        })
    }

    /// The database's name for people.
    pub(crate) fn name(&self) -> &'static str {
        match self.database {
            Database::Sqlite(_) => "sqlite",
            Database::Postgres(_) => "postgresql",
        }
    }

    /// Runs an operation; in blocking mode to its end before this future first returns `Pending`, so that a
    /// simulation's single thread sees one call in flight whatever sqlx's own thread does.
    pub(crate) async fn run<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        drive(self.blocking, work).await.map_err(|error| error.while_doing(doing))
    }

    /// The connection that writes: one at a time in a process, whichever the database, so that operations of one node
    /// never wait for each other's locks inside the database.
    pub(crate) async fn writer(&self) -> Result<Lease<'_>, Error> {
        match &self.database {
            Database::Sqlite(sqlite) => Ok(sqlite.writer().await),
            Database::Postgres(postgres) => postgres.writer().await,
        }
    }

    /// A connection to read from.
    pub(crate) async fn reader(&self) -> Result<Lease<'_>, Error> {
        match &self.database {
            Database::Sqlite(sqlite) => Ok(sqlite.reader().await),
            Database::Postgres(postgres) => postgres.reader().await,
        }
    }

    /// So many bytes of pages stay in memory with the connection that writes; SQLite's default when none are named.
    pub(crate) async fn keep_pages(&self, bytes: Option<u64>) -> Result<(), Error> {
        let mut writer = self.writer().await?;
        if writer.is_shared() {
            return Ok(());
        }
        let kib = bytes.map_or(sqlite::PAGES_KIB, |bytes| bytes / 1024);
        // Below zero the number counts KiB, not pages.
        query(AssertSqlSafe(format!("PRAGMA cache_size = -{kib}"))).execute(&mut writer).await?;
        Ok(())
    }

    /// Ends the connections to a server, when those on loan are back.
    pub(crate) async fn disconnect(&self) {
        if let Database::Postgres(postgres) = &self.database {
            postgres.close().await;
        }
    }

    /// Closes every connection in order.
    pub(crate) async fn close(self) -> Result<(), Error> {
        let close = async {
            match self.database {
                Database::Sqlite(sqlite) => sqlite.close().await,
                Database::Postgres(postgres) => {
                    postgres.close().await;
                    Ok(())
                }
            }
        };
        drive(self.blocking, close).await
    }
}

/// tokio's own budget would make its locks return `Pending` for ever inside `block_on`, hence `unconstrained`.
async fn drive<T>(blocking: bool, work: impl Future<Output = T> + Send) -> T {
    if blocking { futures::executor::block_on(tokio::task::unconstrained(work)) } else { work.await }
}
