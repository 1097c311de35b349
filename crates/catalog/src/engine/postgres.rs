//! PostgreSQL: a pool of connections; the database may be shared by several nodes of a site.

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::pin,
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions, PgPool,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};
use tokio::{runtime::Handle, sync::Mutex};

use super::{
    connection::{Connection, Lease},
    migrations, query,
    row::get,
};
use crate::Error;

/// How a PostgreSQL database is reached and used.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user@host:5432/database`, with `sslmode`, `sslrootcert` and what else libpq knows as parameters.
    pub url: String,
    /// The password, when the URL has none.
    pub password: Option<String>,
    /// Connections at most.
    pub connections_max: u32,
    /// How long an operation waits for a connection before it fails as one that can be tried again.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
}

impl PostgresOptions {
    /// Eight connections, ten seconds to connect, two minutes a statement.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            connections_max: 8,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(120),
        }
    }

    /// Looks whether the URL can be understood, and whether what travels is encrypted; nothing is connected.
    ///
    /// # Errors
    /// [`Error::PostgresUrl`]; [`Error::Unfit`] for another machine without TLS that proves who answers.
    pub fn check(&self) -> Result<(), Error> {
        self.connect_options().map(|_| ())
    }

    fn connect_options(&self) -> Result<PgConnectOptions, Error> {
        let options = PgConnectOptions::from_str(&self.url).map_err(|_| Error::PostgresUrl)?;
        let options = match &self.password {
            Some(password) => options.password(password),
            None => options,
        };
        let proven = matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull);
        if !proven && !is_this_machine(&options) {
            let what = "patient data would travel to it without TLS that proves who answers: add \
                        ?sslmode=verify-full to its address, and &sslrootcert=FILE for an authority of your own";
            return Err(Error::Unfit { what });
        }
        let timeout = format!("{}ms", self.statement_timeout.as_millis());
        Ok(options
            .application_name("filmgate")
            .options([
                ("statement_timeout", timeout.as_str()),
                // Each statement sees what was committed before it, which locks of studies rely on.
                ("default_transaction_isolation", "read committed"),
            ])
            .disable_statement_logging())
    }
}

fn is_this_machine(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    options.get_socket().is_some() || host.starts_with('/') || host == "localhost" || loopback
}

impl std::fmt::Debug for PostgresOptions {
    /// Without URL and password: either may hold a secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PostgresOptions")
            .field("connections_max", &self.connections_max)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

/// A connection idle for longer is tried before it is used: the server may have gone meanwhile.
const TRIED_AFTER_IDLE: Duration = Duration::from_secs(1);
/// The oldest PostgreSQL that is tested.
const VERSION_MIN: i64 = 13;

pub(super) struct Postgres {
    pool: PgPool,
    /// Where it was opened.
    runtime: Handle,
    writing: Mutex<()>,
}

impl Postgres {
    pub(super) async fn connect(options: &PostgresOptions) -> Result<Self, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max.max(2))
            .acquire_timeout(options.connect_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    Ok(meta.idle_for < TRIED_AFTER_IDLE || sqlx::Connection::ping(connection).await.is_ok())
                })
            })
            .connect_with(options.connect_options()?)
            .await
            .map_err(Error::Connect)?;
        let postgres = Self { pool, runtime: Handle::current(), writing: Mutex::new(()) };
        postgres.prove_fit().await?;
        let mut connection = postgres.acquire().await.map_err(Error::Connect)?;
        let migrating = migrations::POSTGRES.run_direct(None, &mut *connection, false).await;
        migrating.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(source) => Error::Connect(source),
            other => Error::Migrate(other),
        })?;
        Ok(postgres)
    }

    /// Refuses a server that would answer otherwise than SQLite does, or answer before a commit is on its disk.
    async fn prove_fit(&self) -> Result<(), Error> {
        let mut reader = self.reader().await?;
        let row = query(
            "SELECT current_setting('server_version_num')::bigint / 10000 AS version,
                current_setting('server_encoding') AS encoding,
                current_setting('synchronous_commit') AS synchronous_commit",
        )
        .fetch_one(&mut reader)
        .await?;
        let version: i64 = get(&row, "version")?;
        if version < VERSION_MIN {
            return Err(Error::Unfit { what: "the server is older than PostgreSQL 13: bring it up to date" });
        }
        if get::<&str>(&row, "encoding")? != "UTF8" {
            return Err(Error::Unfit {
                what: "the database is not encoded in UTF8: make it with ENCODING 'UTF8'",
            });
        }
        if !["on", "remote_apply"].contains(&get(&row, "synchronous_commit")?) {
            return Err(Error::Unfit {
                what: "synchronous_commit is not on, so a commit could be lost: \
                       ALTER ROLE … SET synchronous_commit = on",
            });
        }
        Ok(())
    }

    pub(super) async fn writer(&self) -> Result<Lease<'_>, Error> {
        let right = self.writing.lock().await;
        Ok(Lease::Writing(Connection::Postgres(self.acquire().await?), right))
    }

    pub(super) async fn reader(&self) -> Result<Lease<'_>, Error> {
        Ok(Lease::Pooled(Connection::Postgres(self.acquire().await?)))
    }

    /// A connection lives on the runtime it was made on, and operations come from several, one of which ends before the
    /// catalog does: all are made on the one the catalog was opened on.
    async fn acquire(&self) -> Result<PoolConnection<sqlx::Postgres>, sqlx::Error> {
        let mut acquired = pin!(self.pool.acquire());
        poll_fn(|context| {
            let _on = self.runtime.enter();
            acquired.as_mut().poll(context)
        })
        .await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
