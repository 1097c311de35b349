//! What we show and ask when we call.

use std::{net::TcpStream, path::PathBuf, sync::Arc, time::Duration};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::{Error, HandshakeError, TlsStream, files, profile};

/// Where our side of a call comes from.
#[derive(Debug, Clone)]
pub(crate) struct ClientFiles {
    /// Authorities whose servers are believed.
    pub(crate) ca: PathBuf,
    /// Our certificate and its key; empty to show none.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl ClientFiles {
    /// Reads them, for connections that speak one of these protocols (RFC 7301).
    pub(crate) fn read(&self) -> Result<ClientConfig, Error> {
        let unusable =
            |source| Error::Unusable { what: "certificate and key", path: self.certificate.clone(), source };
        let builder = ClientConfig::builder_with_provider(profile::provider());
        let builder = builder.with_protocol_versions(&profile::VERSIONS).map_err(unusable)?;
        let builder = builder.with_root_certificates(files::authorities(&self.ca)?);
        if self.certificate.as_os_str().is_empty() {
            return Ok(builder.with_no_client_auth());
        }
        let (chain, key) = (files::chain(&self.certificate)?, files::key(&self.key)?);
        builder.with_client_auth_cert(chain, key).map_err(unusable)
    }
}

/// TLS of calls to one server.
#[derive(Debug, Clone)]
pub(crate) struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl ClientTls {
    /// `server` is the name or address that the server's certificate must be for.
    pub(crate) fn open(files: &ClientFiles, server: &str) -> Result<Self, Error> {
        let name = server.trim_start_matches('[').trim_end_matches(']').to_owned();
        let server_name = ServerName::try_from(name).map_err(|_| Error::ServerName(server.to_owned()))?;
        Ok(Self { config: Arc::new(files.read()?), server_name })
    }

    /// Shakes hands over an open connection.
    pub(crate) fn connect(&self, socket: TcpStream, within: Duration) -> Result<TlsStream, HandshakeError> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.server_name.clone());
        TlsStream::shake_hands(connection.map_err(HandshakeError::Refused)?.into(), socket, within)
    }
}
