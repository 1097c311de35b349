//! How an S3 endpoint is reached.

use std::{fmt, time::Duration};

/// Text that is shown to nobody.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "(empty)" } else { "(set)" })
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct S3Credentials {
    /// The access key's name.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// What goes with keys that were issued for a while.
    pub session_token: Option<Secret>,
}

/// An endpoint and how it is spoken to.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Its address, such as `https://s3.hospital.example:9000`; `None` is Amazon's of the region.
    pub endpoint: Option<String>,
    /// The region requests are signed for.
    pub region: String,
    /// The bucket stands in the path instead of the host's name.
    pub path_style: bool,
    /// Certificates (PEM) of the authorities the endpoint's is checked against; `None` takes those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// Who asks.
    pub credentials: S3Credentials,
    /// What stands before every name, such as `hospital-a/`; empty for none.
    pub prefix: String,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take to begin where little is sent.
    pub read_timeout: Duration,
    /// How long an answer under way may bring nothing.
    pub stall_timeout: Duration,
    /// How long any one request may take, with all that it carries.
    pub operation_timeout: Duration,
    /// Objects longer than this are put in parts of this size, in bytes.
    pub part_size_bytes: u64,
}

/// What a bucket is for, and what it must do to be fit for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Packs: versions and locks do no harm.
    Packs {
        /// A store that does not lock objects must not be used.
        require_object_lock: bool,
    },
    /// Keys: what is deleted must be gone, so versions and locks are refused.
    Keys,
}
