//! Who was refused and what was changed by whom: one structured line each, target `audit`, whatever else is logged.
//!
//! A line names peers, titles and settings; never a patient, a key or a token.

use std::net::SocketAddr;

use crate::tls::HandshakeError;

/// A peer that got no TLS.
pub(crate) fn tls_refused(door: &'static str, peer: SocketAddr, error: &HandshakeError) {
    metrics::counter!("filmgate_tls_refused_total", "door" => door).increment(1);
    tracing::warn!(target: "audit", event = "tls-refused", door, %peer, reason = %error, "a peer was refused");
}
