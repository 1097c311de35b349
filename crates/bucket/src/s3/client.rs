//! The client of one endpoint: two faces of it, for requests that carry much and for those that carry little.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedHttpClient, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use parking_lot::Mutex;
use tokio::runtime;

use super::settings::S3Settings;
use crate::Error;

/// A client of one endpoint; buckets of it share its connections.
///
/// Each runtime has connections of its own: one is driven by the threads it was made on, and what somebody waits for must not go over
/// one whose threads run when nothing better is to do.
#[derive(Clone)]
pub struct S3Client {
    faces: Arc<Faces>,
    pub(super) prefix: String,
    pub(super) part_size_bytes: u64,
}

struct Faces {
    settings: S3Settings,
    tls: TlsContext,
    of_runtimes: Mutex<HashMap<runtime::Id, Face>>,
}

#[derive(Clone)]
struct Face {
    quick: Client,
    bulk: Client,
}

impl S3Client {
    /// A client; nothing is asked of the endpoint yet.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting cannot work.
    pub fn new(settings: &S3Settings) -> Result<Self, Error> {
        let faces = Faces { settings: settings.clone(), tls: tls(settings)?, of_runtimes: Mutex::default() };
        Ok(Self {
            faces: Arc::new(faces),
            prefix: settings.prefix.clone(),
            part_size_bytes: settings.part_size_bytes,
        })
    }

    /// For what carries little: an answer must begin soon. To be called on a runtime.
    pub(super) fn quick(&self) -> Client {
        self.faces.of_this_runtime().quick
    }

    /// For what carries a part: the answer begins when all has arrived. To be called on a runtime.
    pub(super) fn bulk(&self) -> Client {
        self.faces.of_this_runtime().bulk
    }
}

impl Faces {
    fn of_this_runtime(&self) -> Face {
        let mut of_runtimes = self.of_runtimes.lock();
        of_runtimes.entry(runtime::Handle::current().id()).or_insert_with(|| self.make()).clone()
    }

    fn make(&self) -> Face {
        let provider = Provider::Rustls(CryptoMode::AwsLc);
        let http = Builder::new().tls_provider(provider).tls_context(self.tls.clone()).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.settings.connect_timeout)
            .operation_attempt_timeout(self.settings.operation_timeout);
        let quick = timeouts.clone().read_timeout(self.settings.read_timeout).build();
        let client = |timeouts| Client::from_conf(config(&self.settings, http.clone(), timeouts));
        Face { quick: client(quick), bulk: client(timeouts.build()) }
    }
}

fn config(settings: &S3Settings, http: SharedHttpClient, timeouts: TimeoutConfig) -> Config {
    let given = &settings.credentials;
    let token = given.session_token.as_ref().map(|token| token.reveal().to_owned());
    let secret = given.secret_access_key.reveal();
    let credentials = Credentials::new(&given.access_key_id, secret, token, None, "filmgate");
    let stalls = StalledStreamProtectionConfig::enabled()
        .upload_enabled(false)
        .download_enabled(true)
        .grace_period(settings.stall_timeout)
        .build();
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(credentials)
        .force_path_style(settings.path_style)
        .http_client(http)
        .timeout_config(timeouts)
        .stalled_stream_protection(stalls)
        // Tries are written down and made again by who asks; here each is one request.
        .retry_config(RetryConfig::disabled())
        // What the SDK adds by itself some servers refuse, and others pass over in silence; we state our own.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint);
    }
    config.build()
}

fn tls(settings: &S3Settings) -> Result<TlsContext, Error> {
    let trusted = match &settings.ca_pem {
        Some(pem) => TrustStore::empty().with_pem_certificate(certificates(pem)?),
        None => TrustStore::default(),
    };
    let tls = TlsContext::builder().with_trust_store(trusted).build();
    tls.map_err(|error| Error::Setting { key: "ca_file", why: error.to_string() })
}

/// The client would panic over a file without a certificate.
fn certificates(pem: &[u8]) -> Result<Vec<u8>, Error> {
    let text = std::str::from_utf8(pem).unwrap_or_default();
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(pem.to_vec());
    }
    Err(Error::Setting { key: "ca_file", why: "it holds no certificate in PEM form".into() })
}
