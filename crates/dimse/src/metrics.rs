//! What is counted: associations by how they began and ended, requests, bytes. Labels are from closed sets.

use metrics::counter;

use crate::error::Error;

/// `role`: "acceptor" or "requestor".
pub(crate) fn established(role: &'static str) {
    counter!("filmgate_association_established_total", "role" => role).increment(1);
}

pub(crate) fn released(role: &'static str) {
    counter!("filmgate_association_released_total", "role" => role).increment(1);
}

/// An association, or the attempt at one, that ended otherwise than by release.
pub(crate) fn failed(role: &'static str, error: &Error) {
    let reason = match error {
        Error::Io { .. } => "io",
        Error::Timeout { .. } => "timeout",
        Error::TooSlow(_) => "too_slow",
        Error::Refused { .. } => "refused",
        Error::Rejected { .. } => "rejected",
        Error::AbortedByPeer(_) => "aborted_by_peer",
        Error::Closed => "closed",
        Error::ReleasedByPeer { .. } => "released_by_peer",
        Error::Protocol { .. } | Error::AssociatePdu { .. } => "protocol",
        Error::Unusable(_) | Error::OutOfTurn(_) => "unusable",
        Error::Dataset(_) => "dataset",
    };
    counter!("filmgate_association_failed_total", "role" => role, "reason" => reason).increment(1);
}

pub(crate) fn aborted_here() {
    counter!("filmgate_association_aborted_total").increment(1);
}

/// `command`: "echo", "store", "unsupported".
pub(crate) fn request(command: &'static str) {
    counter!("filmgate_dimse_requests_total", "command" => command).increment(1);
}

pub(crate) fn dataset_received(bytes: u64) {
    counter!("filmgate_dimse_received_bytes_total").increment(bytes);
}

pub(crate) fn dataset_sent(bytes: u64) {
    counter!("filmgate_dimse_sent_bytes_total").increment(bytes);
}
