//! Settings of TLS at the doors.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;

/// DICOM over TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DicomTls {
    pub(crate) enabled: bool,
    pub(crate) bind: SocketAddr,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: PathBuf,
    pub(crate) crl: PathBuf,
    pub(crate) require_client_certificate: bool,
    pub(crate) handshake_timeout_ms: u64,
    pub(crate) warn_days: u32,
}

impl Default for DicomTls {
    fn default() -> Self {
        Self {
            enabled: false,
            bind: ([127, 0, 0, 1], 2762).into(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            crl: PathBuf::new(),
            require_client_certificate: true,
            handshake_timeout_ms: 10_000,
            warn_days: 30,
        }
    }
}

impl DicomTls {
    /// Refuses a door that could not open, or that nobody could come through.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        for (key, path) in [("certificate", &self.certificate), ("key", &self.key)] {
            if path.as_os_str().is_empty() {
                return refuse("dicom.tls", key, "dicom.tls is enabled and needs it: name a PEM file");
            }
        }
        let has_ca = !self.client_ca.as_os_str().is_empty();
        if self.require_client_certificate && !has_ca {
            return refuse(
                "dicom.tls",
                "client_ca",
                "peers must show a certificate, and no authority is named for it",
            );
        }
        if !self.crl.as_os_str().is_empty() && !has_ca {
            return refuse("dicom.tls", "crl", "it is of no use without dicom.tls.client_ca");
        }
        if self.handshake_timeout_ms == 0 {
            return refuse("dicom.tls", "handshake_timeout_ms", "with 0 nobody could come in");
        }
        Ok(())
    }
}

/// The web over TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebTls {
    pub(crate) enabled: bool,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: PathBuf,
    pub(crate) crl: PathBuf,
    pub(crate) peers: BTreeSet<String>,
    pub(crate) handshake_timeout_ms: u64,
    pub(crate) warn_days: u32,
    pub(crate) hsts_max_age_s: u64,
}

impl Default for WebTls {
    fn default() -> Self {
        Self {
            enabled: false,
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            crl: PathBuf::new(),
            peers: BTreeSet::new(),
            handshake_timeout_ms: 10_000,
            warn_days: 30,
            hsts_max_age_s: 31_536_000,
        }
    }
}

impl WebTls {
    /// Refuses a door that could not open.
    pub(super) fn check(&self) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        let section = "web.tls";
        for (key, path) in [("certificate", &self.certificate), ("key", &self.key)] {
            if path.as_os_str().is_empty() {
                return refuse(section, key, "web.tls is enabled and needs it: name a PEM file");
            }
        }
        let has_ca = !self.client_ca.as_os_str().is_empty();
        if !self.peers.is_empty() && !has_ca {
            return refuse(section, "client_ca", "peers are named, and no authority for their certificates");
        }
        if !self.crl.as_os_str().is_empty() && !has_ca {
            return refuse(section, "crl", "it is of no use without web.tls.client_ca");
        }
        if self.handshake_timeout_ms == 0 {
            return refuse(section, "handshake_timeout_ms", "with 0 nobody could come in");
        }
        Ok(())
    }
}

fn refuse(section: &str, key: &str, why: &str) -> Result<(), Error> {
    Err(Error::Value { key: format!("{section}.{key}"), why: why.to_owned() })
}
