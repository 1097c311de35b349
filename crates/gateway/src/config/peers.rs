//! `[peers]`: how the nodes of a site that share a catalog reach each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;

/// The other nodes of the site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Peers {
    pub(crate) url: String,
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) announce_ms: u64,
    pub(crate) absent_after_ms: u64,
    pub(crate) request_timeout_ms: u64,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            url: String::new(),
            ca: PathBuf::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            announce_ms: 5_000,
            absent_after_ms: 20_000,
            request_timeout_ms: 20_000,
        }
    }
}

impl Peers {
    /// Refuses an address that others could not use, and times that would make every node absent.
    pub(super) fn check(&self) -> Result<(), Error> {
        let loopback = ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"];
        let plain_on_loopback = loopback.iter().any(|start| self.url.starts_with(start));
        if !self.url.is_empty() && !self.url.starts_with("https://") && !plain_on_loopback {
            return refuse(
                "url",
                "nodes speak to each other by https://, within one machine also by http://",
            );
        }
        if self.url.starts_with("https://") && self.ca.as_os_str().is_empty() {
            return refuse("ca", "name the authority (PEM) that the nodes' certificates come from");
        }
        if self.certificate.as_os_str().is_empty() != self.key.as_os_str().is_empty() {
            return refuse("key", "a certificate needs its key, and a key its certificate");
        }
        if self.announce_ms == 0 || self.absent_after_ms < 2 * self.announce_ms {
            return refuse(
                "absent_after_ms",
                "it must be at least twice peers.announce_ms, which is at least 1",
            );
        }
        Ok(())
    }
}

fn refuse(key: &str, why: &str) -> Result<(), Error> {
    Err(Error::Value { key: format!("peers.{key}"), why: why.to_owned() })
}
