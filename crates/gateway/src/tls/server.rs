//! What a door shows of itself and asks of its peers, read again when its files change.
//!
//! Sessions are not resumed: a certificate revoked meanwhile would come in again on the old one's word.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::signal::unix::Signal;

use super::{Error, files, profile};
use crate::workers::Stop;

/// How often the files of a door are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// A peer without one is refused.
    Required,
    /// Checked when shown.
    Asked,
    /// Not asked for.
    Ignored,
}

/// Where a door's TLS comes from.
#[derive(Debug, Clone)]
pub(crate) struct ServerFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: PathBuf,
    /// Empty: nothing is revoked.
    pub(crate) crl: PathBuf,
    pub(crate) client_certificates: ClientCertificates,
    /// Protocols over it, best first (RFC 7301); none where there is only one.
    pub(crate) alpn: &'static [&'static [u8]],
}

impl ServerFiles {
    fn read(&self) -> Result<Arc<ServerConfig>, Error> {
        let builder = ServerConfig::builder_with_provider(profile::provider());
        let builder =
            builder.with_protocol_versions(&profile::VERSIONS).map_err(|source| self.unusable(source))?;
        let builder = match self.verifier()? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = (files::chain(&self.certificate)?, files::key(&self.key)?);
        let mut config = builder.with_single_cert(chain, key).map_err(|source| self.unusable(source))?;
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// With a revocation list, a certificate whose issuer has none in it is refused as well: its standing is unknown.
    fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
        if self.client_certificates == ClientCertificates::Ignored {
            return Ok(None);
        }
        let roots = files::authorities(&self.client_ca)?;
        let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, profile::provider());
        if !self.crl.as_os_str().is_empty() {
            let lists = files::revocation_lists(&self.crl)?;
            verifier = verifier.with_crls(lists).only_check_end_entity_revocation();
        }
        if self.client_certificates == ClientCertificates::Asked {
            verifier = verifier.allow_unauthenticated();
        }
        let path = if self.crl.as_os_str().is_empty() { &self.client_ca } else { &self.crl };
        verifier.build().map(Some).map_err(|source| Error::Verifier { path: path.clone(), source })
    }

    fn unusable(&self, source: rustls::Error) -> Error {
        Error::Unusable { what: "certificate and key", path: self.certificate.clone(), source }
    }

    /// What changes when a file does.
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let files = [&self.certificate, &self.key, &self.client_ca, &self.crl];
        let stamp = |path: &PathBuf| {
            let file = fs::metadata(path).ok()?;
            Some(Stamp { inode: file.ino(), bytes: file.len(), changed: (file.ctime(), file.ctime_nsec()) })
        };
        files.into_iter().map(stamp).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// TLS of a door.
pub(crate) struct ServerTls {
    door: &'static str,
    files: ServerFiles,
    held: Mutex<Held>,
}

struct Held {
    config: Arc<ServerConfig>,
    /// Of the files as they were read last, whether they could be used or not.
    stamps: Vec<Option<Stamp>>,
}

impl ServerTls {
    /// Reads the files of a door.
    pub(crate) fn open(door: &'static str, files: ServerFiles) -> Result<Arc<Self>, Error> {
        let stamps = files.stamps();
        let held = Mutex::new(Held { config: files.read()?, stamps });
        Ok(Arc::new(Self { door, files, held }))
    }

    /// As it holds now, for the next connection.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.held.lock().config)
    }

    /// Reads the files again if they changed, or in any case. What cannot be used leaves the door as it was: a
    /// certificate may have been replaced before its key.
    fn refresh(&self, in_any_case: bool) {
        let stamps = self.files.stamps();
        if !in_any_case && stamps == self.held.lock().stamps {
            return;
        }
        let read = self.files.read();
        let mut held = self.held.lock();
        held.stamps = stamps;
        match read {
            Ok(config) => {
                held.config = config;
                tracing::info!(target: "audit", event = "certificates-read", door = self.door);
            }
            Err(error) => tracing::error!(
                door = self.door,
                error = &error as &dyn std::error::Error,
                "the changed certificates cannot be used; those read before still hold"
            ),
        }
    }
}

/// Looks at the files of every door now and then, and at once when told to (SIGHUP), until `stop`.
pub(crate) async fn watch(doors: Vec<Arc<ServerTls>>, mut told: Signal, mut stop: Stop) {
    loop {
        let in_any_case = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            _ = told.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY), if !doors.is_empty() => false,
        };
        for door in &doors {
            let door = Arc::clone(door);
            if filmgate_model::compute(move || door.refresh(in_any_case)).await.is_err() {
                tracing::error!("reading certificates panicked");
            }
        }
    }
}
