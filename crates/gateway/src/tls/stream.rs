//! TLS under an association: blocking, within the limits of the link above.
//!
//! A read is bounded by its time limit as a whole, however slowly a TLS record drips in: what is counted as progress is
//! only what came out of whole records.

use std::{
    cell::RefCell,
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use filmgate_dimse::Transport;
use rustls::{Connection, ServerConnection};

use super::{PeerCertificate, ServerTls, refusal};

/// Bytes read from the socket at a time: two records, where rustls by itself asks for a quarter of one.
const READ_BYTES: usize = 32 * 1024;
/// How long a peer that was refused is given to read why.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The least a socket can be told to wait.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// Why no TLS came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the TLS handshake was not over in time")]
    TooSlow,
    #[error("the connection ended amid the TLS handshake")]
    Gone(#[source] io::Error),
    #[error("no TLS with this peer: {}", refusal::words(.0))]
    Refused(#[source] rustls::Error),
}

/// An established TLS connection.
pub(crate) struct TlsStream {
    // `Transport::shutdown` has a word to send, and but a shared reference.
    connection: RefCell<Connection>,
    socket: BufReader<TcpStream>,
    read_timeout: RefCell<Option<Duration>>,
    write_timeout: RefCell<Option<Duration>>,
}

impl TlsStream {
    /// Answers a peer's handshake.
    pub(crate) fn accept(
        socket: TcpStream,
        tls: &ServerTls,
        within: Duration,
    ) -> Result<Self, HandshakeError> {
        let connection = ServerConnection::new(tls.current()).map_err(HandshakeError::Refused)?;
        Self::shake_hands(connection.into(), socket, within)
    }

    /// Takes a connection through its handshake.
    pub(super) fn shake_hands(
        connection: Connection,
        socket: TcpStream,
        within: Duration,
    ) -> Result<Self, HandshakeError> {
        let mut stream = Self {
            connection: RefCell::new(connection),
            socket: BufReader::with_capacity(READ_BYTES, socket),
            read_timeout: RefCell::default(),
            write_timeout: RefCell::new(Some(within)),
        };
        let shaken = stream.until_shaken(within);
        if matches!(shaken, Err(HandshakeError::Refused(_))) {
            stream.last_words();
        }
        shaken.map(|()| stream)
    }

    fn until_shaken(&mut self, within: Duration) -> Result<(), HandshakeError> {
        let deadline = Instant::now() + within;
        self.socket.get_ref().set_nodelay(true).map_err(HandshakeError::Gone)?;
        self.socket.get_ref().set_write_timeout(Some(within)).map_err(HandshakeError::Gone)?;
        while self.connection.get_mut().is_handshaking() {
            self.send().map_err(failed)?;
            if self.connection.get_mut().is_handshaking()
                && self.receive(Some(deadline)).map_err(failed)? == 0
            {
                return Err(HandshakeError::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        self.send().map_err(failed)
    }

    /// The alert goes out, and the connection is closed so that it is not lost to a reset.
    fn last_words(&mut self) {
        let _ = self.send();
        let mut socket = self.socket.get_ref();
        let _ = socket.shutdown(Shutdown::Write);
        let deadline = Instant::now() + LAST_WORDS;
        let mut unread = [0; 1024];
        while let Some(left) = left_until(deadline) {
            let read = socket.set_read_timeout(Some(left)).and_then(|()| socket.read(&mut unread));
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    }

    /// What the peer showed of itself.
    pub(crate) fn peer_certificate(&self) -> Option<PeerCertificate> {
        let connection = self.connection.borrow();
        connection.peer_certificates()?.first().map(|certificate| PeerCertificate::read(certificate))
    }

    /// One read from the socket, taken in; 0 when the peer has closed.
    fn receive(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        if self.socket.buffer().is_empty() {
            let left = match deadline {
                Some(deadline) => Some(left_until(deadline).ok_or(io::ErrorKind::TimedOut)?),
                None => None,
            };
            self.socket.get_ref().set_read_timeout(left)?;
        }
        let connection = self.connection.get_mut();
        let read = connection.read_tls(&mut self.socket)?;
        if let Err(fault) = connection.process_new_packets() {
            // The alert that says so; the peer may be gone.
            let _ = self.send();
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        Ok(read)
    }

    /// Everything that waits to go out, within the time limit of a write.
    fn send(&self) -> io::Result<()> {
        let deadline = self.write_timeout.borrow().map(|limit| Instant::now() + limit);
        let mut connection = self.connection.borrow_mut();
        let mut socket = self.socket.get_ref();
        while connection.wants_write() {
            match connection.write_tls(&mut socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if connection.wants_write() && deadline.is_some_and(|deadline| left_until(deadline).is_none()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

/// What a handshake failed of.
pub(crate) fn failed(error: io::Error) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return HandshakeError::TooSlow,
        _ => {}
    }
    match error.downcast::<rustls::Error>() {
        Ok(fault) => HandshakeError::Refused(fault),
        Err(error) => HandshakeError::Gone(error),
    }
}

fn left_until(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (left >= LEAST_WAIT).then_some(left)
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = self.read_timeout.borrow().map(|limit| Instant::now() + limit);
        loop {
            match self.connection.get_mut().reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.receive(deadline)?;
                    self.send()?;
                }
                // Closed without a last word (close_notify). Many peers do; what an association carries says by itself
                // where it ends, so nothing can be cut off unnoticed.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.connection.get_mut().writer().write(bytes)?;
        self.send()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl Transport for TlsStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeout.replace(timeout);
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.write_timeout.replace(timeout);
        self.socket.get_ref().set_write_timeout(timeout)
    }

    fn shutdown(&self) {
        self.connection.borrow_mut().send_close_notify();
        // Closed already by the peer is the usual case.
        let _ = self.send();
        let _ = self.socket.get_ref().shutdown(Shutdown::Both);
    }
}
