//! A connection of either database, on loan; transactions on it.

use std::ops::{Deref, DerefMut};

use sqlx::{Database, Postgres, Sqlite, SqliteConnection, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::MutexGuard;

use crate::Error;

type SqliteTransactions = <Sqlite as Database>::TransactionManager;
type PostgresTransactions = <Postgres as Database>::TransactionManager;

/// What statements run on.
pub(crate) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    /// Begins a transaction. It is rolled back when it is dropped before [`Transaction::commit`].
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        match self {
            Self::Sqlite(connection) => SqliteTransactions::begin(connection, None).await?,
            Self::Postgres(connection) => PostgresTransactions::begin(connection, None).await?,
        }
        Ok(Transaction { connection: self, open: true })
    }
}

/// A connection on loan.
pub(crate) enum Lease<'a> {
    /// One that stays open; others wait for it.
    Kept(MutexGuard<'a, Connection>),
    /// One of a pool, for reading.
    Pooled(Connection),
    /// One of a pool, with the right to write.
    Writing(Connection, #[expect(dead_code, reason = "held, not looked at")] MutexGuard<'a, ()>),
}

impl Deref for Lease<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Kept(connection) => connection,
            Self::Pooled(connection) | Self::Writing(connection, _) => connection,
        }
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        match self {
            Self::Kept(connection) => connection,
            Self::Pooled(connection) | Self::Writing(connection, _) => connection,
        }
    }
}

/// A transaction; statements run on it as on its connection.
pub(crate) struct Transaction<'c> {
    connection: &'c mut Connection,
    open: bool,
}

impl Transaction<'_> {
    /// Commits: what was done is synced when this returns.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        match &mut *self.connection {
            Connection::Sqlite(connection) => SqliteTransactions::commit(connection).await?,
            Connection::Postgres(connection) => PostgresTransactions::commit(connection).await?,
        }
        self.open = false;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        // Takes effect before the connection's next statement.
        match &mut *self.connection {
            Connection::Sqlite(connection) => SqliteTransactions::start_rollback(connection),
            Connection::Postgres(connection) => PostgresTransactions::start_rollback(connection),
        }
    }
}
