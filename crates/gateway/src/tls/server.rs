//! What a door shows of itself and asks of its peers, read again when its files change.
//!
//! Sessions are not resumed: a certificate revoked meanwhile would come in again on the old one's word.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use filmgate_model::Timestamp;
use filmgate_pipeline::{Notice, Road};
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::signal::unix::Signal;

use super::{
    Error,
    ends::{self, Ending},
    files, profile,
};
use crate::workers::Stop;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
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
    /// A person is told so many days before one of them ends.
    pub(crate) warn_days: u32,
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

    /// When each file ends: of what is in it, the first.
    fn endings(&self) -> Vec<Ending> {
        let certificate = files::chain(&self.certificate).unwrap_or_default();
        let mut endings: Vec<_> =
            first_end(files::CERTIFICATE, &self.certificate, &certificate, ends::of_certificate)
                .into_iter()
                .collect();
        if self.client_certificates != ClientCertificates::Ignored {
            let authorities = files::authority_certificates(&self.client_ca).unwrap_or_default();
            endings.extend(first_end(files::AUTHORITY, &self.client_ca, &authorities, ends::of_certificate));
            if !self.crl.as_os_str().is_empty() {
                let lists = files::revocation_lists(&self.crl).unwrap_or_default();
                endings.extend(first_end(files::REVOCATION_LIST, &self.crl, &lists, ends::of_list));
            }
        }
        endings
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
    endings: Vec<Ending>,
    /// Of the files as they were read last, whether they could be used or not.
    stamps: Vec<Option<Stamp>>,
}

impl ServerTls {
    /// Reads the files of a door.
    pub(crate) fn open(door: &'static str, files: ServerFiles) -> Result<Arc<Self>, Error> {
        let stamps = files.stamps();
        let held = Mutex::new(Held { config: files.read()?, endings: files.endings(), stamps });
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
        let (read, endings) = (self.files.read(), self.files.endings());
        let mut held = self.held.lock();
        held.stamps = stamps;
        match read {
            Ok(config) => {
                held.config = config;
                held.endings = endings;
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

fn first_end<T: AsRef<[u8]>>(
    what: &'static str,
    path: &Path,
    found: &[T],
    ends: impl Fn(&[u8]) -> Option<Timestamp>,
) -> Option<Ending> {
    let ends_at = found.iter().filter_map(|der| ends(der.as_ref())).min()?;
    Some(Ending { ends_at, what, path: path.to_owned() })
}

impl ServerTls {
    /// What ends soon, or has ended.
    fn notices(&self, now: Timestamp) -> Vec<Notice> {
        let soon = now.plus(DAY * self.files.warn_days);
        let held = self.held.lock();
        let ending = held.endings.iter().filter(|ending| ending.ends_at <= soon);
        ending.map(|ending| self.notice(ending, now)).collect()
    }

    fn notice(&self, ending: &Ending, now: Timestamp) -> Notice {
        let Ending { ends_at, what, path } = ending;
        let when = if *ends_at <= now { "ended" } else { "ends" };
        let then = match *what {
            files::REVOCATION_LIST => "bring the authority's next list, or what it revoked since is let in",
            _ => "put another in its place: past that, peers refuse the door or are refused",
        };
        let detail = format!("the {what} of the {} door {when} at {ends_at}: {then}", self.door);
        let subject = path.display().to_string();
        Notice { kind: "certificate-ends", subject, detail, due_at: Some(*ends_at) }
    }
}

/// Says of each what is to be done, once a day.
fn say(notices: &[Notice], said: &mut BTreeMap<String, Timestamp>, now: Timestamp) {
    said.retain(|detail, _| notices.iter().any(|notice| notice.detail == *detail));
    for notice in notices {
        if said.get(&notice.detail).is_none_or(|last| now.0.abs_diff(last.0) >= DAY.as_millis() as u64) {
            tracing::warn!(file = notice.subject, "{}", notice.detail);
            said.insert(notice.detail.clone(), now);
        }
    }
}

/// Looks at the files of every door now and then, and at once when told to (SIGHUP), until `stop`; `road` shows which of
/// them end soon.
pub(crate) async fn watch(doors: Vec<Arc<ServerTls>>, road: Arc<Road>, mut told: Signal, mut stop: Stop) {
    let mut said = BTreeMap::new();
    loop {
        let now = road.clock().now();
        let notices: Vec<_> = doors.iter().flat_map(|door| door.notices(now)).collect();
        say(&notices, &mut said, now);
        road.set_notices(notices);
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
