//! What an association runs over.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

/// A blocking byte stream with time limits: TCP, TLS over it, or a simulated one.
pub trait Transport: Read + Write {
    /// How long a read may block; `None` for ever. A read that runs out fails with `WouldBlock` or `TimedOut`.
    ///
    /// # Errors
    /// As the stream says.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// How long a write may block; `None` for ever.
    ///
    /// # Errors
    /// As the stream says.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Done once before the first byte: for TCP, `TCP_NODELAY`. Every PDU and every response is one write, so
    /// Nagle's algorithm could only hold them back (40 ms an instance with delayed acknowledgements).
    ///
    /// # Errors
    /// As the stream says.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    /// Closes both directions; called once, errors are of no use to anyone.
    fn shutdown(&self);
}

impl Transport for TcpStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_write_timeout(self, timeout)
    }

    fn prepare(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }

    fn shutdown(&self) {
        // Already closed by the peer is the usual case.
        let _ = Self::shutdown(self, Shutdown::Both);
    }
}
