//! The S3 server behind a proxy that counts and spoils requests.

use std::net::SocketAddr;
use std::sync::Arc;

use filmgate_faults::Proxy;

use super::gateway::Home;
use super::servers::S3;

/// A server behind a proxy, and buckets of one's own there.
pub(crate) struct Cloud {
    pub(crate) s3: S3,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) packs: String,
    keys: String,
}

impl Cloud {
    /// The one that the environment tells of.
    pub(crate) fn told() -> Option<Self> {
        let s3 = S3::told()?;
        let upstream = s3.endpoint.strip_prefix("http://").expect("plain HTTP on loopback");
        let upstream: SocketAddr = upstream.trim_end_matches('/').parse().expect("an address");
        let proxy = Arc::new(Proxy::before(upstream).expect("a proxy"));
        let (packs, keys) = (s3.make_bucket(), s3.make_bucket());
        Some(Self { s3, proxy, packs, keys })
    }

    /// Settings by which `placement` is this server. Retries come soon, and silence is not borne for long.
    pub(crate) fn set(&self, home: Home, placement: &str) -> Home {
        let key = |key: &str| format!("BUCKET__{placement}__{key}");
        home.set(&key("KIND"), "s3")
            .set(&key("BUCKET"), &self.packs)
            .set(&key("KEYS_BUCKET"), &self.keys)
            .set(&key("ENDPOINT"), format!("http://{}", self.proxy.address()))
            .set(&key("REGION"), &self.s3.region)
            .set(&key("ACCESS_KEY_ID"), &self.s3.access_key)
            .set(&key("SECRET_ACCESS_KEY"), &self.s3.secret_key)
            .set(&key("READ_TIMEOUT_MS"), 5_000)
            .set(&key("OPERATION_TIMEOUT_MS"), 10_000)
            .set("UPLOAD__RETRY_DELAY_MIN_MS", 100)
            .set("UPLOAD__RETRY_DELAY_MAX_MS", 800)
    }

    /// Times that packs were read since the proxy forgot.
    pub(crate) fn pack_reads(&self) -> usize {
        let is_read = |target: &str| target.starts_with(&format!("/{}/v1/pack/", self.packs));
        let passed = self.proxy.passed();
        passed
            .iter()
            .filter(|passed| passed.request.method == "GET" && is_read(&passed.request.target))
            .count()
    }
}
