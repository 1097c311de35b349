//! Certificates, keys and revocation lists out of PEM files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::VerifierBuilderError,
};

/// TLS cannot be had with these files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read {what} {}: it must be PEM", path.display())]
    Read { what: &'static str, path: PathBuf, source: pem::Error },
    #[error("{what} {} holds none", path.display())]
    Empty { what: &'static str, path: PathBuf },
    #[error("use {what} {}", path.display())]
    Unusable { what: &'static str, path: PathBuf, source: rustls::Error },
    #[error("use the certificates of {}", path.display())]
    Verifier { path: PathBuf, source: VerifierBuilderError },
    #[error("{0:?} is no name or address that a certificate could be for")]
    ServerName(String),
}

pub(super) const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";
pub(super) const AUTHORITY: &str = "authority's certificate";
pub(super) const REVOCATION_LIST: &str = "certificate revocation list";

/// A certificate with those that lead to its authority, its own first.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    all(CERTIFICATE, path)
}

/// A private key: PKCS#8, PKCS#1 or SEC1.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| Error::Read {
        what: KEY,
        path: path.to_owned(),
        source,
    })
}

/// Certificates of authorities.
pub(super) fn authority_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    all(AUTHORITY, path)
}

/// Authorities whose certificates are believed.
pub(super) fn authorities(path: &Path) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for authority in authority_certificates(path)? {
        roots.add(authority).map_err(|source| Error::Unusable {
            what: AUTHORITY,
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(Arc::new(roots))
}

/// Lists of revoked certificates.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    all(REVOCATION_LIST, path)
}

fn all<T: PemObject>(what: &'static str, path: &Path) -> Result<Vec<T>, Error> {
    let read = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<T>, _>>);
    let found = read.map_err(|source| Error::Read { what, path: path.to_owned(), source })?;
    if found.is_empty() { Err(Error::Empty { what, path: path.to_owned() }) } else { Ok(found) }
}
