//! Another node of the site as a store to read from: HTTPS, both sides showing a certificate of the site's authority.

use std::{fs, ops::Range, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use filmgate_bucket::{Bucket, Error, ObjectInfo, Source};
use filmgate_model::compute;
use filmgate_pipeline::Peers;
use ureq::{
    Agent,
    http::StatusCode,
    tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem},
};

use crate::{
    config::{self, milliseconds},
    tls,
};

/// What the settings say of the other nodes; the certificates are read now, so that a wrong one is told at the start.
pub(crate) fn open(settings: &config::Peers) -> anyhow::Result<Peers> {
    let agent = agent(settings)?;
    Ok(Peers {
        own_url: (!settings.url.is_empty()).then(|| settings.url.trim_end_matches('/').to_owned()),
        reach: Some(Box::new(move |url| Arc::new(PeerStore { agent: agent.clone(), url: url.to_owned() }))),
        announce_every: milliseconds(settings.announce_ms),
        absent_after: milliseconds(settings.absent_after_ms),
    })
}

fn agent(settings: &config::Peers) -> anyhow::Result<Agent> {
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(tls::provider());
    if !settings.ca.as_os_str().is_empty() {
        let authorities = certificates(&settings.ca).context("peers.ca")?;
        tls = tls.root_certs(RootCerts::Specific(Arc::new(authorities)));
    }
    if !settings.certificate.as_os_str().is_empty() {
        let chain = certificates(&settings.certificate).context("peers.certificate")?;
        let key = PrivateKey::from_pem(&read(&settings.key)?).context("peers.key")?;
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    let timeout = milliseconds(settings.request_timeout_ms);
    let agent = Agent::config_builder().tls_config(tls.build()).http_status_as_error(false);
    Ok(agent.timeout_global(Some(timeout)).timeout_connect(Some(timeout / 4)).max_redirects(0).build().into())
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let pem = read(path)?;
    let items: Result<Vec<_>, _> = parse_pem(&pem).collect();
    let items = items.with_context(|| format!("read {}", path.display()))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    ensure!(!certificates.is_empty(), "{} holds no certificate in PEM", path.display());
    Ok(certificates)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// What one node gives: sealed records, by range. There is nothing to write and nothing to list.
struct PeerStore {
    agent: Agent,
    url: String,
}

/// A node that says it has no room for a question yet is asked again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[async_trait]
impl Bucket for PeerStore {
    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let (agent, url, owned) =
            (self.agent.clone(), format!("{}/api/peer/{name}", self.url), name.to_owned());
        let asked = compute(move || ask(&agent, &url, &owned, &range)).await;
        asked.map_err(|error| unavailable(error.to_string()))?
    }

    async fn put(&self, _: &str, _: &Source) -> Result<(), Error> {
        Err(unavailable("another node is read, never written".to_owned()))
    }

    async fn head(&self, _: &str) -> Result<Option<ObjectInfo>, Error> {
        Err(unavailable("another node is asked for what is known to be there".to_owned()))
    }

    async fn list(&self, _: &str) -> Result<Vec<ObjectInfo>, Error> {
        Err(unavailable("another node does not list what it has".to_owned()))
    }

    async fn delete(&self, _: &str) -> Result<(), Error> {
        Err(unavailable("another node is read, never written".to_owned()))
    }
}

fn ask(agent: &Agent, url: &str, name: &str, range: &Range<u64>) -> Result<Bytes, Error> {
    let wanted = range.end.saturating_sub(range.start);
    if wanted == 0 {
        return Ok(Bytes::new());
    }
    let header = format!("bytes={}-{}", range.start, range.end - 1);
    let asked = agent.get(url).header("range", header).call();
    let answer = asked.map_err(|error| unavailable(error.to_string()))?;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => {}
        StatusCode::NOT_FOUND => return Err(Error::NotFound(name.to_owned())),
        status => return Err(unavailable(format!("the node answers {status}"))),
    }
    let body = answer.into_body().into_with_config().limit(wanted).read_to_vec();
    let bytes = body.map_err(|error| unavailable(error.to_string()))?;
    if bytes.len() as u64 == wanted {
        Ok(bytes.into())
    } else {
        Err(Error::Short { name: name.to_owned(), bytes: bytes.len() as u64 })
    }
}

fn unavailable(reason: String) -> Error {
    Error::Unavailable { reason, retry_after: Some(RETRY_AFTER) }
}
