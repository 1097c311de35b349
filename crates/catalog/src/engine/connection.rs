//! A connection of either database, on loan; transactions on it.

use std::{
    collections::BTreeSet,
    ops::{Deref, DerefMut},
};

use sqlx::{AssertSqlSafe, Database, Postgres, Sqlite, SqliteConnection, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::MutexGuard;

use super::{bounded::Deadline, query};
use crate::Error;

type SqliteTransactions = <Sqlite as Database>::TransactionManager;
type PostgresTransactions = <Postgres as Database>::TransactionManager;

/// What statements run on.
pub(crate) enum Connection {
    Sqlite(SqliteConnection, Deadline),
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    /// Begins a transaction. It is rolled back when it is dropped before [`Transaction::commit`].
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        match self {
            Self::Sqlite(connection, _) => SqliteTransactions::begin(connection, None).await?,
            Self::Postgres(connection) => PostgresTransactions::begin(connection, None).await?,
        }
        Ok(Transaction { connection: self, open: true })
    }

    /// Other nodes may write to the same database at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Parameters one statement should have at most, where SQLite should have no more than `of_sqlite`: a round trip to
    /// PostgreSQL costs more than the parameters in it.
    pub(crate) fn parameters_max(&self, of_sqlite: usize) -> usize {
        match self {
            Self::Sqlite(..) => of_sqlite,
            Self::Postgres(_) => POSTGRES_PARAMETERS_MAX,
        }
    }

    /// Within a transaction: holds these studies until it ends. Which copy of a SOP Instance UID is served, and whether
    /// one is new, is decided by one node at a time; every statement after this one sees what the node before committed.
    /// An operation calls it once, before it changes anything, so that no two wait for each other.
    pub(crate) async fn lock_studies(&mut self, site: &[u8], studies: &[&str]) -> Result<(), Error> {
        if !self.is_shared() {
            return Ok(());
        }
        // In order of their numbers, whoever comes.
        let numbers: BTreeSet<i64> = studies.iter().map(|study| lock_number(site, study)).collect();
        let numbers: Vec<i64> = numbers.into_iter().collect();
        for run in numbers.chunks(LOCKS_AT_ONCE) {
            let locks: Vec<_> =
                (1..=run.len()).map(|number| format!("pg_advisory_xact_lock(${number})")).collect();
            let locks = query(AssertSqlSafe(format!("SELECT {}", locks.join(", "))));
            run.iter().fold(locks, |locks, number| locks.bind(*number)).execute(self).await?;
        }
        Ok(())
    }
}

/// PostgreSQL counts parameters in 16 bits; a quarter of that is enough to make a round trip worth while.
const POSTGRES_PARAMETERS_MAX: usize = 16_000;
/// Locks taken in one statement.
const LOCKS_AT_ONCE: usize = 16;

/// FNV-1a: the same number for the same study on every node and in every version. Two studies that share one only
/// wait for each other.
fn lock_number(site: &[u8], study: &str) -> i64 {
    let bytes = site.iter().chain(study.as_bytes());
    let number = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |number, byte| {
        (number ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    number.cast_signed()
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
            Connection::Sqlite(connection, _) => SqliteTransactions::commit(connection).await?,
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
            Connection::Sqlite(connection, _) => SqliteTransactions::start_rollback(connection),
            Connection::Postgres(connection) => PostgresTransactions::start_rollback(connection),
        }
    }
}
