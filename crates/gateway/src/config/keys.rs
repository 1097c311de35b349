//! `[keys]`: which site this is, and who keeps its key of keys. Secrets are only ever named by their files.

use std::path::PathBuf;

use filmgate_keys::{Pkcs11Settings, SecretFile, TransitLogin, TransitSettings};
use filmgate_model::SiteId;
use serde::{Deserialize, Serialize};

use super::{Error, milliseconds};

/// Keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    pub(crate) site: Site,
    pub(crate) provider: KeyProvider,
    pub(crate) lease_ms: u64,
    pub(crate) retry_delay_min_ms: u64,
    pub(crate) retry_delay_max_ms: u64,
    pub(crate) require_backup: bool,
    pub(crate) rotation_grace_ms: u64,
    pub(crate) pkcs11: Pkcs11,
    pub(crate) transit: Transit,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            site: Site::Found,
            provider: KeyProvider::File,
            lease_ms: 3_600_000,
            retry_delay_min_ms: 1_000,
            retry_delay_max_ms: 60_000,
            require_backup: false,
            rotation_grace_ms: 86_400_000,
            pkcs11: Pkcs11::default(),
            transit: Transit::default(),
        }
    }
}

/// Who keeps the key of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyProvider {
    File,
    Pkcs11,
    Transit,
}

/// A key of keys in a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pkcs11 {
    pub(crate) module: PathBuf,
    pub(crate) token: String,
    pub(crate) key: String,
    pub(crate) pin_file: PathBuf,
}

impl Default for Pkcs11 {
    fn default() -> Self {
        Self {
            module: PathBuf::new(),
            token: String::new(),
            key: "filmgate".into(),
            pin_file: PathBuf::new(),
        }
    }
}

/// A key of keys in a transit engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Transit {
    pub(crate) address: String,
    pub(crate) mount: String,
    pub(crate) key: String,
    pub(crate) namespace: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) token_file: PathBuf,
    pub(crate) role_id: String,
    pub(crate) secret_id_file: PathBuf,
    pub(crate) timeout_ms: u64,
}

impl Default for Transit {
    fn default() -> Self {
        Self {
            address: String::new(),
            mount: "transit".into(),
            key: "filmgate".into(),
            namespace: String::new(),
            ca_file: PathBuf::new(),
            token_file: PathBuf::new(),
            role_id: String::new(),
            secret_id_file: PathBuf::new(),
            timeout_ms: 5_000,
        }
    }
}

impl Keys {
    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |key: &str, why: &str| Err(Error::Value { key: key.to_owned(), why: why.to_owned() });
        let missing = |path: &PathBuf| path.as_os_str().is_empty();
        if self.lease_ms < 10_000 {
            return refuse("keys.lease_ms", "in less than 10 s no provider can be asked again");
        }
        if self.retry_delay_min_ms == 0 || self.retry_delay_min_ms > self.retry_delay_max_ms {
            return refuse("keys.retry_delay_min_ms", "it must lie within 1 and keys.retry_delay_max_ms");
        }
        let (pkcs11, transit) = (&self.pkcs11, &self.transit);
        match self.provider {
            KeyProvider::File => Ok(()),
            KeyProvider::Pkcs11 if missing(&pkcs11.module) => refuse(
                "keys.pkcs11.module",
                "it must name the token's library, such as /usr/lib/softhsm/libsofthsm2.so",
            ),
            KeyProvider::Pkcs11 if pkcs11.token.is_empty() => {
                refuse("keys.pkcs11.token", "it must be the token's label")
            }
            KeyProvider::Pkcs11 if missing(&pkcs11.pin_file) => {
                refuse("keys.pkcs11.pin_file", "it must name a file with the user's PIN")
            }
            KeyProvider::Pkcs11 => Ok(()),
            KeyProvider::Transit if !is_private(&transit.address) => refuse(
                "keys.transit.address",
                "it must be https://HOST:PORT; plain http is for 127.0.0.1 alone, for keys go over it",
            ),
            KeyProvider::Transit if transit.address.starts_with("https:") && missing(&transit.ca_file) => {
                refuse("keys.transit.ca_file", "it must name the certificates the server is checked with")
            }
            KeyProvider::Transit if missing(&transit.token_file) == transit.role_id.is_empty() => {
                refuse("keys.transit.token_file", "either it or keys.transit.role_id must be set")
            }
            KeyProvider::Transit if !transit.role_id.is_empty() && missing(&transit.secret_id_file) => {
                refuse("keys.transit.secret_id_file", "keys.transit.role_id needs it")
            }
            KeyProvider::Transit => Ok(()),
        }
    }

    pub(crate) fn lease(&self) -> filmgate_pipeline::KeyLease {
        filmgate_pipeline::KeyLease {
            lease: milliseconds(self.lease_ms),
            retry_delay_min: milliseconds(self.retry_delay_min_ms),
            retry_delay_max: milliseconds(self.retry_delay_max_ms),
        }
    }
}

/// True when nobody between can read what goes there.
fn is_private(address: &str) -> bool {
    let loopback = ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"];
    address.starts_with("https://") || loopback.iter().any(|start| address.starts_with(start))
}

impl Pkcs11 {
    pub(crate) fn settings(&self) -> Pkcs11Settings {
        Pkcs11Settings {
            module: self.module.clone(),
            token: self.token.clone(),
            key: self.key.clone(),
            pin: SecretFile::new(&self.pin_file),
        }
    }
}

impl Transit {
    pub(crate) fn settings(&self) -> TransitSettings {
        let login = if self.role_id.is_empty() {
            TransitLogin::Token(SecretFile::new(&self.token_file))
        } else {
            TransitLogin::AppRole {
                role_id: self.role_id.clone(),
                secret_id: SecretFile::new(&self.secret_id_file),
            }
        };
        TransitSettings {
            address: self.address.clone(),
            mount: self.mount.clone(),
            key: self.key.clone(),
            namespace: self.namespace.clone(),
            ca_file: (!self.ca_file.as_os_str().is_empty()).then(|| self.ca_file.clone()),
            login,
            timeout: milliseconds(self.timeout_ms),
        }
    }
}

/// Which site an empty data directory is to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Site {
    /// The one whose keys the buckets hold; a new one when they hold none.
    #[default]
    Found,
    /// A new one, whatever the buckets hold.
    New,
    /// This one.
    Named(SiteId),
}

impl From<Site> for String {
    fn from(site: Site) -> Self {
        match site {
            Site::Found => Self::new(),
            Site::New => "new".to_owned(),
            Site::Named(id) => id.to_string(),
        }
    }
}

impl TryFrom<String> for Site {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "" => Ok(Self::Found),
            "new" => Ok(Self::New),
            id => id.parse().map(Self::Named).map_err(|_| {
                format!("{id:?} is neither empty nor \"new\" nor a site's id, which is 32 hexadecimal digits")
            }),
        }
    }
}
