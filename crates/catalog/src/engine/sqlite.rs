//! SQLite: one connection writes, a few read (in WAL mode there is one writer anyway). In memory there is one for both.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::Mutex;

use super::{
    bounded::{Deadline, INSTRUCTIONS},
    connection::{Connection, Lease},
    migrations,
};
use crate::{Error, error::sqlite_code};

/// Pages that a connection keeps in memory at least, in KiB: SQLite's default.
pub(super) const PAGES_KIB: u64 = 2000;
/// More than this SQLite cannot count.
const PAGES_KIB_MAX: u64 = i32::MAX as u64;
/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows that wait for who asked: those of a long series come without threads waking each other in between.
const ROWS_WAITING: usize = 1024;
/// SQLite's "file is not a database": what a wrong key looks like.
const NOT_A_DATABASE: i64 = 26;

/// The connections that only read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readers {
    pub(crate) count: usize,
    /// Bytes of pages that all of them keep in memory.
    pub(crate) pages_bytes: u64,
}

pub(super) struct Sqlite {
    writer: Mutex<Connection>,
    readers: Vec<Mutex<Connection>>,
    next_reader: AtomicUsize,
}

impl Sqlite {
    /// Opens or makes the encrypted file.
    pub(super) async fn open(path: &Path, key: &[u8; 32], readers: Readers) -> Result<Self, Error> {
        let digest = PageDigest::of(path, key).await?;
        let options = file_options(path, key, digest);
        let writer = connect(&options, path).await?;
        // A page that is not in memory is decrypted and authenticated anew, and a search looks at thousands. What was read
        // before somebody else's commit is not looked at again: SQLite then forgets all of it.
        let kib = readers.pages_bytes / 1024 / readers.count.max(1) as u64;
        let options = options.pragma("cache_size", format!("-{}", kib.clamp(PAGES_KIB, PAGES_KIB_MAX)));
        let mut pool = Vec::with_capacity(readers.count);
        for _ in 0..readers.count {
            let reader = options.connect().await.map_err(|source| opening(path, source))?;
            pool.push(Mutex::new(bounded(reader).await.map_err(|source| opening(path, source))?));
        }
        Ok(Self::new(writer, pool))
    }

    pub(super) async fn in_memory() -> Result<Self, Error> {
        let options = quiet(SqliteConnectOptions::new().in_memory(true));
        Ok(Self::new(connect(&options, Path::new(":memory:")).await?, Vec::new()))
    }

    fn new(writer: SqliteConnection, readers: Vec<Mutex<Connection>>) -> Self {
        // The connection that writes is never cut off: nothing sets its deadline where there are readers, and nothing
        // looks at it.
        let writer = Mutex::new(Connection::Sqlite(writer, Deadline::never()));
        Self { writer, readers, next_reader: AtomicUsize::new(0) }
    }

    /// The one connection that writes.
    pub(super) async fn writer(&self) -> Lease<'_> {
        Lease::Kept(self.writer.lock().await)
    }

    /// A connection to read from: a free one, else the next in turn.
    pub(super) async fn reader(&self) -> Lease<'_> {
        let free = self.readers.iter().find_map(|reader| reader.try_lock().ok());
        if let Some(reader) = free {
            return Lease::Kept(reader);
        }
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        let next = turn.checked_rem(self.readers.len()).and_then(|index| self.readers.get(index));
        Lease::Kept(next.unwrap_or(&self.writer).lock().await)
    }

    /// Closes every connection in order; the last one folds the WAL into the file.
    pub(super) async fn close(self) -> Result<(), Error> {
        for connection in self.readers.into_iter().chain([self.writer]) {
            if let Connection::Sqlite(connection, _) = connection.into_inner() {
                connection.close().await?;
            }
        }
        Ok(())
    }
}

/// A connection to read from, which looks at its deadline.
async fn bounded(mut reader: SqliteConnection) -> Result<Connection, sqlx::Error> {
    let deadline = Deadline::never();
    let looked_at = deadline.clone();
    reader.lock_handle().await?.set_progress_handler(INSTRUCTIONS, move || !looked_at.is_over());
    Ok(Connection::Sqlite(reader, deadline))
}

/// The connection that writes, its schema up to date.
async fn connect(options: &SqliteConnectOptions, path: &Path) -> Result<SqliteConnection, Error> {
    let mut writer = options.connect().await.map_err(|source| opening(path, source))?;
    let migrating = migrations::SQLITE.run_direct(None, &mut writer, false).await;
    migrating.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(source) => opening(path, source),
        other => Error::Migrate(other),
    })?;
    Ok(writer)
}

/// What every page of a file is authenticated by: checked for each page that is read, it takes most of the time of a search that
/// finds its pages nowhere in memory.
#[derive(Debug, Clone, Copy)]
enum PageDigest {
    /// Processors have instructions for it.
    Sha256,
    /// SQLCipher's own choice, and that of files made before.
    Sha512,
}

impl PageDigest {
    /// Of a file that is there: the one by which it opens. Of a new one the faster.
    async fn of(path: &Path, key: &[u8; 32]) -> Result<Self, Error> {
        if !std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            return Ok(Self::Sha256);
        }
        for digest in [Self::Sha256, Self::Sha512] {
            let options = file_options(path, key, digest).create_if_missing(false);
            match options.connect().await {
                Ok(connection) => {
                    connection.close().await?;
                    return Ok(digest);
                }
                Err(source) if sqlite_code(&source) == Some(NOT_A_DATABASE) => {}
                Err(source) => return Err(opening(path, source)),
            }
        }
        Err(Error::WrongKey { path: path.to_owned() })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "HMAC_SHA256",
            Self::Sha512 => "HMAC_SHA512",
        }
    }
}

fn file_options(path: &Path, key: &[u8; 32], digest: PageDigest) -> SqliteConnectOptions {
    let digest = digest.as_str();
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // A raw key: it is random already, so SQLCipher's slow derivation is not needed.
        // What a wrong key leads to is our error to report, not SQLCipher's to print; only behind the key's value
        // does that setting come before the first page is read.
        .pragma(
            "key",
            format!(
                "\"x'{digits}'\"; PRAGMA cipher_log_level = NONE; PRAGMA cipher_hmac_algorithm = {digest}"
            ),
        )
        .pragma("temp_store", "MEMORY")
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    quiet(options)
}

/// Statements are not logged: the first of them carries the key. LIKE tells cases apart as PostgreSQL's does
/// (PS3.4 C.2.2.2.4); where case must not count the folded column is asked.
fn quiet(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .foreign_keys(true)
        .row_buffer_size(ROWS_WAITING)
        .pragma("case_sensitive_like", "ON")
        .disable_statement_logging()
}

fn opening(path: &Path, source: sqlx::Error) -> Error {
    let path = path.to_owned();
    match sqlite_code(&source) {
        Some(NOT_A_DATABASE) => Error::WrongKey { path },
        _ => Error::Open { path, source },
    }
}

/// A file as it was before a migration.
#[cfg(test)]
pub(crate) async fn old_file(path: &Path, key: &[u8; 32], version: i64) -> SqliteConnection {
    let mut connection = file_options(path, key, PageDigest::Sha512).connect().await.expect("a file");
    migrations::sqlite_before(version).run_direct(None, &mut connection, false).await.expect("an old schema");
    connection
}
