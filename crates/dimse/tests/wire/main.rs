//! Associations over real sockets, and what hostile or broken peers do to them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod hostile;
mod loopback;
mod support;
