//! Connections, and how an operation is driven.
//!
//! One connection writes, a few read (SQLite in WAL mode has one writer anyway). In memory there is one for both.

use std::{
    future::Future,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard};

use crate::{Error, error::sqlite_code};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// SQLite's "file is not a database": what a wrong key looks like.
const NOT_A_DATABASE: i64 = 26;

pub(crate) struct Engine {
    writer: Mutex<SqliteConnection>,
    readers: Vec<Mutex<SqliteConnection>>,
    next_reader: AtomicUsize,
    blocking: bool,
}

impl Engine {
    /// Opens or makes the encrypted file.
    pub(crate) async fn open_file(
        path: &Path,
        key: &[u8; 32],
        readers: usize,
        blocking: bool,
    ) -> Result<Self, Error> {
        let options = file_options(path, key);
        drive(blocking, async {
            let mut writer = options.connect().await.map_err(|source| opening(path, source))?;
            MIGRATIONS.run_direct(None, &mut writer, false).await.map_err(|error| migrating(path, error))?;
            let mut pool = Vec::with_capacity(readers);
            for _ in 0..readers {
                pool.push(Mutex::new(options.connect().await.map_err(|source| opening(path, source))?));
            }
            Ok(Self::new(writer, pool, blocking))
        })
        .await
    }

    /// A catalog that lives as long as this value.
    pub(crate) async fn in_memory(blocking: bool) -> Result<Self, Error> {
        let options = quiet(SqliteConnectOptions::new().in_memory(true));
        let path = Path::new(":memory:");
        drive(blocking, async {
            let mut writer = options.connect().await.map_err(|source| opening(path, source))?;
            MIGRATIONS.run_direct(None, &mut writer, false).await.map_err(|error| migrating(path, error))?;
            Ok(Self::new(writer, Vec::new(), blocking))
        })
        .await
    }

    fn new(writer: SqliteConnection, readers: Vec<Mutex<SqliteConnection>>, blocking: bool) -> Self {
        Self { writer: Mutex::new(writer), readers, next_reader: AtomicUsize::new(0), blocking }
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

    /// The one connection that writes.
    pub(crate) async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }

    /// A connection to read from: a free one, else the next in turn.
    pub(crate) async fn reader(&self) -> MutexGuard<'_, SqliteConnection> {
        let free = self.readers.iter().find_map(|reader| reader.try_lock().ok());
        if let Some(reader) = free {
            return reader;
        }
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let next = turn.checked_rem(self.readers.len()).and_then(|index| self.readers.get(index));
        next.unwrap_or(&self.writer).lock().await
    }

    /// Closes every connection in order; the last one folds the WAL into the file.
    pub(crate) async fn close(self) -> Result<(), Error> {
        let blocking = self.blocking;
        drive(blocking, async {
            for reader in self.readers {
                reader.into_inner().close().await?;
            }
            Ok(self.writer.into_inner().close().await?)
        })
        .await
    }
}

/// tokio's own budget would make its locks return `Pending` for ever inside `block_on`, hence `unconstrained`.
async fn drive<T>(blocking: bool, work: impl Future<Output = T> + Send) -> T {
    if blocking { futures::executor::block_on(tokio::task::unconstrained(work)) } else { work.await }
}

fn file_options(path: &Path, key: &[u8; 32]) -> SqliteConnectOptions {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // A raw key: it is random already, so SQLCipher's slow derivation is not needed.
        // What a wrong key leads to is our error to report, not SQLCipher's to print; only behind the key's value
        // does that setting come before the first page is read.
        .pragma("key", format!("\"x'{digits}'\"; PRAGMA cipher_log_level = NONE"))
        .pragma("temp_store", "MEMORY")
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    quiet(options)
}

/// Statements are not logged: the first of them carries the key. LIKE tells cases apart as PostgreSQL's does
/// (PS3.4 C.2.2.2.4); where case must not count the folded column is asked.
fn quiet(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options.foreign_keys(true).pragma("case_sensitive_like", "ON").disable_statement_logging()
}

fn opening(path: &Path, source: sqlx::Error) -> Error {
    let path = path.to_owned();
    match sqlite_code(&source) {
        Some(NOT_A_DATABASE) => Error::WrongKey { path },
        _ => Error::Open { path, source },
    }
}

fn migrating(path: &Path, error: sqlx::migrate::MigrateError) -> Error {
    match error {
        sqlx::migrate::MigrateError::Execute(source) => opening(path, source),
        other => Error::Migrate(other),
    }
}
