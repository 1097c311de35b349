//! TLS in front of a plain server: what comes in over TLS goes on as it is.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio_rustls::TlsAcceptor;

use super::certificates::Issued;

/// Listens until the test ends.
pub(crate) struct TlsFront {
    address: SocketAddr,
}

impl TlsFront {
    /// Shows this certificate and passes everything on to `upstream`.
    pub(crate) fn before(upstream: SocketAddr, shown: &Issued) -> Self {
        let certificate = CertificateDer::from_pem_file(&shown.certificate).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&shown.key).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate and its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("its own address");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let acceptor = acceptor.clone();
                // A client that goes away, or wants no such certificate, is what some tests are after.
                thread::spawn(move || drop(pass_on(client, &acceptor, upstream)));
            }
        });
        Self { address }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn pass_on(client: TcpStream, acceptor: &TlsAcceptor, upstream: SocketAddr) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    client.set_nonblocking(true)?;
    client.set_nodelay(true)?;
    runtime.block_on(async {
        let mut client = acceptor.accept(tokio::net::TcpStream::from_std(client)?).await?;
        let mut server = tokio::net::TcpStream::connect(upstream).await?;
        server.set_nodelay(true)?;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    })
}
