//! The client of one endpoint: two faces of it, for requests that carry much and for those that carry little.

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

use super::settings::S3Settings;
use crate::Error;

/// A client of one endpoint; buckets of it share its connections.
#[derive(Clone)]
pub struct S3Client {
    /// For what carries little: an answer must begin soon.
    pub(super) quick: Client,
    /// For what carries a part: the answer begins when all has arrived.
    pub(super) bulk: Client,
    pub(super) prefix: String,
    pub(super) part_size_bytes: u64,
}

impl S3Client {
    /// A client; nothing is asked of the endpoint yet.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting cannot work.
    pub fn new(settings: &S3Settings) -> Result<Self, Error> {
        let http = http_client(settings)?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(settings.connect_timeout)
            .operation_attempt_timeout(settings.operation_timeout);
        let quick = timeouts.clone().read_timeout(settings.read_timeout).build();
        let client = |timeouts| Client::from_conf(config(settings, http.clone(), timeouts));
        Ok(Self {
            quick: client(quick),
            bulk: client(timeouts.build()),
            prefix: settings.prefix.clone(),
            part_size_bytes: settings.part_size_bytes,
        })
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

fn http_client(settings: &S3Settings) -> Result<SharedHttpClient, Error> {
    let trusted = match &settings.ca_pem {
        Some(pem) => TrustStore::empty().with_pem_certificate(certificates(pem)?),
        None => TrustStore::default(),
    };
    let tls = TlsContext::builder().with_trust_store(trusted).build();
    let tls = tls.map_err(|error| Error::Setting { key: "ca_file", why: error.to_string() })?;
    Ok(Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls).build_https())
}

/// The client would panic over a file without a certificate.
fn certificates(pem: &[u8]) -> Result<Vec<u8>, Error> {
    let text = std::str::from_utf8(pem).unwrap_or_default();
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(pem.to_vec());
    }
    Err(Error::Setting { key: "ca_file", why: "it holds no certificate in PEM form".into() })
}
