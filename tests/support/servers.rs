//! Servers that `cargo xtask test` starts (`cargo xtask servers` by hand): S3 and PostgreSQL, told by the environment.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::process::finish;

const DEADLINE: Duration = Duration::from_secs(60);

/// A value that `cargo xtask test` sets. Without it a test that needs it is left out, which in CI is a failure.
pub(crate) fn told(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(value.is_some() || !in_ci, "{name} is not set: run the tests by `cargo xtask test`");
    if value.is_none() {
        println!("{name} is not set: left out (start `cargo xtask servers`)");
    }
    value
}

/// A name nobody else in this run uses: lower-case letters, digits and hyphens.
fn own_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The S3 server and the credentials it takes.
#[derive(Debug, Clone)]
pub(crate) struct S3 {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl S3 {
    pub(crate) fn told() -> Option<Self> {
        Some(Self {
            endpoint: told("FILMGATE_TEST_S3_ENDPOINT")?,
            region: told("FILMGATE_TEST_S3_REGION")?,
            access_key: told("FILMGATE_TEST_S3_ACCESS_KEY")?,
            secret_key: told("FILMGATE_TEST_S3_SECRET_KEY")?,
        })
    }

    /// True where the server has what `cargo xtask` says some lack: `versions`, `conditions`. What it lacks is told.
    pub(crate) fn has(&self, what: &str) -> bool {
        let lacks = std::env::var("FILMGATE_TEST_S3_LACKS").unwrap_or_default();
        let has = !lacks.split(' ').any(|lacking| lacking == what);
        if !has {
            println!("the S3 server has no {what}: left out");
        }
        has
    }

    /// Makes a bucket nobody else uses.
    pub(crate) fn make_bucket(&self) -> String {
        let bucket = own_name();
        self.ask("PUT", &format!("/{bucket}"));
        bucket
    }

    /// A signed request without a body; what it answers, if it answers well.
    pub(crate) fn ask(&self, method: &str, path_and_query: &str) -> String {
        // A POST says that nothing follows.
        let more: &[&str] = if method == "POST" { &["-d", ""] } else { &[] };
        self.request(method, path_and_query, more)
    }

    /// Puts a setting of a bucket.
    pub(crate) fn put(&self, path_and_query: &str, body: &str) {
        self.request("PUT", path_and_query, &["-H", "Content-Type: application/xml", "--data-binary", body]);
    }

    /// The name of every object of a bucket below a prefix that ends in a slash, sorted.
    pub(crate) fn names(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let quoted = |name: &str| name.replace('/', "%2F");
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            // Parameters in the order they are signed in.
            let page =
                format!("/{bucket}?list-type=2&prefix={}&start-after={}", quoted(prefix), quoted(&after));
            let listing = self.ask("GET", &page);
            names.extend(tagged(&listing, "Key"));
            if !listing.contains("<IsTruncated>true") {
                return names;
            }
            after.clone_from(names.last().expect("a page of it"));
        }
    }

    /// Name and id of every version of the objects below a prefix, and how many marks of deletion there are.
    pub(crate) fn versions(&self, bucket: &str, prefix: &str) -> (Vec<(String, String)>, usize) {
        let listing = self.ask("GET", &format!("/{bucket}?prefix={}&versions=", prefix.replace('/', "%2F")));
        assert!(listing.contains("<IsTruncated>false"), "more versions than one answer lists: {listing}");
        let versions = listing.split("<Version>").skip(1);
        let versions = versions.map(|one| (tagged(one, "Key"), tagged(one, "VersionId")));
        let mut versions: Vec<_> = versions.map(|(key, id)| (key[0].clone(), id[0].clone())).collect();
        versions.sort();
        (versions, listing.matches("<DeleteMarker>").count())
    }

    /// From here on a bucket keeps what is replaced or deleted in it.
    pub(crate) fn keep_versions(&self, bucket: &str) {
        self.put(
            &format!("/{bucket}?versioning="),
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status></VersioningConfiguration>",
        );
    }

    /// Makes a bucket that locks objects.
    pub(crate) fn make_locking_bucket(&self) -> String {
        let bucket = own_name();
        self.request("PUT", &format!("/{bucket}"), &["-H", "x-amz-bucket-object-lock-enabled: true"]);
        bucket
    }

    fn request(&self, method: &str, path_and_query: &str, more: &[&str]) -> String {
        let user = format!("{}:{}", self.access_key, self.secret_key);
        let signature = format!("aws:amz:{}:s3", self.region);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-X", method, "--user", &user, "--aws-sigv4", &signature])
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(more)
            .arg(format!("{}{path_and_query}", self.endpoint));
        finish(&mut curl, DEADLINE).ended(0).out
    }
}

/// What stands between the tags of this name, one after the other.
fn tagged(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let inside = xml.split(open.as_str()).skip(1).filter_map(|rest| rest.split(close.as_str()).next());
    inside.map(str::to_owned).collect()
}

/// A database of one's own, dropped with this.
#[derive(Debug)]
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    /// On the PostgreSQL that `cargo xtask test` started.
    pub(crate) fn make() -> Option<Self> {
        let server = told("FILMGATE_TEST_POSTGRES_URL")?;
        let database = Self { server, name: own_name() };
        database.server_does(&format!("CREATE DATABASE \"{}\"", database.name));
        Some(database)
    }

    /// Where it is, user included.
    pub(crate) fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("the URL ends in a database");
        format!("{server}/{}", self.name)
    }

    /// From here on nobody is connected to it, and nobody can be.
    pub(crate) fn take_away(&self) {
        self.server_does(&format!("ALTER DATABASE \"{}\" WITH ALLOW_CONNECTIONS false", self.name));
        let others = format!("FROM pg_stat_activity WHERE datname = '{}'", self.name);
        self.server_does(&format!("SELECT pg_terminate_backend(pid) {others}"));
    }

    /// It takes connections again.
    pub(crate) fn bring_back(&self) {
        self.server_does(&format!("ALTER DATABASE \"{}\" WITH ALLOW_CONNECTIONS true", self.name));
    }

    /// The rows of an answer, one text each.
    pub(crate) fn tells(&self, sql: &str) -> Vec<String> {
        psql(&self.url(), sql).lines().map(str::to_owned).collect()
    }

    /// What a person could do to it by hand.
    pub(crate) fn does(&self, sql: &str) {
        psql(&self.url(), sql);
    }

    fn server_does(&self, sql: &str) {
        psql(&self.server, sql);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.server_does(&format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name));
        }
    }
}

fn psql(url: &str, sql: &str) -> String {
    let programs = told("FILMGATE_TEST_POSTGRES_BIN").map(PathBuf::from).expect("set beside the URL");
    let options = ["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql];
    finish(Command::new(programs.join("psql")).arg(url).args(options), DEADLINE).ended(0).out
}
