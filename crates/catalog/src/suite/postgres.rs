//! A PostgreSQL database of its own for a test, on the server that `FILMGATE_TEST_POSTGRES_URL` names.

use std::{
    io::Write,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};

/// Names the server: `postgres://user@host:port/database`. `cargo xtask test` starts one and sets it.
pub const SERVER: &str = "FILMGATE_TEST_POSTGRES_URL";

static NEXT: AtomicUsize = AtomicUsize::new(1);

/// An empty database; [`TestDatabase::remove`] drops it.
#[derive(Debug)]
pub struct TestDatabase {
    server: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    /// Makes one, sorted by a language's rules where the server knows some, which must not show in any answer. `None`
    /// without a server: told, and in CI a failure.
    ///
    /// # Panics
    /// Without a server in CI, and when the server refuses.
    pub async fn create() -> Option<Self> {
        let Ok(server) = std::env::var(SERVER) else {
            assert!(
                !std::env::var("CI").is_ok_and(|ci| ci == "true"),
                "{SERVER} is not set: no PostgreSQL to test"
            );
            // Straight to the descriptor: the test harness keeps what a passing test prints.
            let _ = writeln!(std::io::stderr(), "left out: {SERVER} is not set (cargo xtask test sets it)");
            return None;
        };
        let server = PgConnectOptions::from_str(&server).expect("FILMGATE_TEST_POSTGRES_URL is an address");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = Self { server, name: format!("filmgate_test_{}_{number}", std::process::id()) };
        let mut connection = database.ask("DROP DATABASE IF EXISTS {} WITH (FORCE)").await;
        let icu = "SELECT 1 FROM pg_collation WHERE collname = 'en-x-icu'";
        let icu = connection.fetch_optional(icu).await.expect("collations").is_some();
        let rules = if icu { "LOCALE_PROVIDER icu ICU_LOCALE 'en'" } else { "" };
        drop(database.ask(&format!("CREATE DATABASE {{}} TEMPLATE template0 ENCODING 'UTF8' {rules}")).await);
        Some(database)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.clone().database(&self.name).to_url_lossy().into()
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes a setting of it: `name = value`, for connections made from now on.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn alter(&self, setting: &str) {
        drop(self.ask(&format!("ALTER DATABASE {{}} SET {setting}")).await);
    }

    /// Ends every connection to it, as a server that is stopped does.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn cut_connections(&self) {
        drop(self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'").await);
    }

    /// Drops it, whoever is still connected.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn remove(self) {
        drop(self.ask("DROP DATABASE IF EXISTS {} WITH (FORCE)").await);
    }

    /// Runs a statement about it on the server's own database.
    async fn ask(&self, statement: &str) -> PgConnection {
        let options = self.server.clone().disable_statement_logging();
        let mut connection = PgConnection::connect_with(&options).await.expect("connect to the test server");
        let statement = statement.replace("{}", &self.name);
        connection.execute(AssertSqlSafe(statement)).await.expect("the test server does as it is told");
        connection
    }
}
