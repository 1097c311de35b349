//! Who was refused and what was changed by whom: one structured line each, target `audit`, whatever else is logged.
//!
//! A line names peers, titles and settings; never a patient, a key or a token.

use std::net::SocketAddr;

use filmgate_dimse::Rejection;

use crate::tls::HandshakeError;

/// A peer that got no TLS.
pub(crate) fn tls_refused(door: &'static str, peer: SocketAddr, error: &HandshakeError) {
    metrics::counter!("filmgate_tls_refused_total", "door" => door).increment(1);
    tracing::warn!(target: "audit", event = "tls-refused", door, %peer, reason = %error, "a peer was refused");
}

/// An association that was refused; for the moment, or because of who asked for it.
pub(crate) fn association_refused(
    peer: SocketAddr,
    calling_ae: &str,
    called_ae: &str,
    rejection: Rejection,
    why: &str,
) {
    let reason = if why.is_empty() { rejection.meaning() } else { why };
    if !rejection.is_permanent() {
        tracing::info!(
            target: "audit", event = "association-refused", %peer, ae.calling = calling_ae, ae.called = called_ae,
            reason, "refused for the moment"
        );
        return;
    }
    let help = if rejection == Rejection::CALLING_AE { "`filmgate ae allow` lets it in" } else { "" };
    tracing::warn!(
        target: "audit", event = "association-refused", %peer, ae.calling = calling_ae, ae.called = called_ae, reason,
        help, "an association was refused"
    );
}

/// A caller that no rule knows, while the door is learning.
pub(crate) fn caller_let_in(peer: SocketAddr, calling_ae: &str) {
    tracing::info!(
        target: "audit", event = "caller-let-in", %peer, ae.calling = calling_ae, "the door is learning"
    );
}
