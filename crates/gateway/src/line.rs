//! What an association runs over: TCP as it is, or TLS over it.

use std::{
    io::{self, IoSliceMut, Read, Write},
    net::TcpStream,
    time::Duration,
};

use filmgate_dimse::Transport;

use crate::tls::{PeerCertificate, TlsStream};

/// A connection ready for an association.
pub(crate) enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Line {
    /// What the peer has proven to be, over TLS.
    pub(crate) fn peer_certificate(&self) -> Option<PeerCertificate> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.peer_certificate(),
        }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_vectored(buffers),
            Self::Tls(stream) => stream.read_vectored(buffers),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Transport for Line {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Plain(stream) => Transport::set_read_timeout(stream, timeout),
            Self::Tls(stream) => stream.set_read_timeout(timeout),
        }
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Plain(stream) => Transport::set_write_timeout(stream, timeout),
            Self::Tls(stream) => stream.set_write_timeout(timeout),
        }
    }

    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.prepare(),
            // Done before the handshake.
            Self::Tls(_) => Ok(()),
        }
    }

    fn shutdown(&self) {
        match self {
            Self::Plain(stream) => Transport::shutdown(stream),
            Self::Tls(stream) => stream.shutdown(),
        }
    }
}
