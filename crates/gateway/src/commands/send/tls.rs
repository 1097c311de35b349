//! `filmgate send --tls`.

use std::path::PathBuf;

use clap::Args;

use crate::tls::{ClientFiles, ClientTls, Error};

#[derive(Debug, Default, Args)]
pub(super) struct Arguments {
    /// Over TLS (PS3.15 B.12).
    #[arg(long, requires = "ca")]
    tls: bool,
    /// Authorities whose receivers are believed, PEM.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// Our certificate, with those that lead to its authority, PEM.
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name that the receiver's certificate is for, where it is not the host.
    #[arg(long, value_name = "NAME", requires = "tls")]
    server_name: Option<String>,
}

impl Arguments {
    /// TLS to a receiver at HOST:PORT; `None` when it was not asked for.
    pub(super) fn open(&self, to: &str) -> Result<Option<ClientTls>, Error> {
        let Some(ca) = self.ca.clone().filter(|_| self.tls) else { return Ok(None) };
        let files = ClientFiles {
            ca,
            certificate: self.cert.clone().unwrap_or_default(),
            key: self.key.clone().unwrap_or_default(),
        };
        let host = to.rsplit_once(':').map_or(to, |(host, _)| host);
        ClientTls::open(&files, self.server_name.as_deref().unwrap_or(host)).map(Some)
    }
}
