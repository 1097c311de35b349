//! Limits of the web server, and what its pages say of the gateway.

use std::time::Duration;

use filmgate_model::Pace;
use serde::{Deserialize, Serialize};

use crate::Compress;

/// Who needs neither token nor log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenTo {
    /// No one.
    Nobody,
    /// Whoever asks from this machine, for localhost, directly.
    Loopback,
    /// Everyone. For closed networks and trials.
    Everybody,
}

/// Limits and rules of the web server; each is a setting of the configuration.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// Bytes one instance sent by STOW-RS may have.
    pub stow_instance_bytes_max: u64,
    /// What the body of a STOW-RS request must bring, or it is given up.
    pub request_pace: Pace,
    /// STOW-RS requests at work at one time.
    pub stow_requests_max: usize,
    /// Answers of instances or bulk data under way at one time; and as many to other nodes of the site.
    pub retrieve_requests_max: usize,
    /// A client that takes nothing of an answer for so long is given up.
    pub retrieve_stall_timeout: Duration,
    /// For whom answers are compressed.
    pub compress: Compress,
    /// A client may show images and metadata again for so long without asking whether they are still there.
    pub answers_kept: Duration,
    /// Rows a search answers with at most, and without a limit of its own.
    pub query_results_max: u32,
    /// An answer must begin within this time; what is sent to us (STOW-RS) and verification take as long as they take.
    pub request_timeout: Duration,
    /// Who needs neither token nor log-in.
    pub open_to: OpenTo,
    /// True when what is answered goes over TLS.
    pub is_tls: bool,
    /// Browsers are told to come by TLS alone for so long (RFC 6797); none are told when it is zero or without TLS.
    pub hsts: Duration,
    /// Common names of the certificates of other nodes, which may read everything.
    pub peers: Vec<String>,
    /// Host names the gateway answers to beside localhost and loopback addresses; `None` answers to any. Guards what a
    /// page in a user's browser could otherwise read by pointing a name of its own at this address.
    pub hosts: Option<Vec<String>>,
    /// The called AE title, as the status page tells it a person who wants to send.
    pub ae_title: String,
    /// Where associations are accepted, host and port, likewise.
    pub dicom_address: String,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            stow_instance_bytes_max: 16 * 1024 * 1024 * 1024,
            request_pace: Pace { window: Duration::from_secs(30), bytes_min: 64 * 1024 },
            stow_requests_max: 16,
            retrieve_requests_max: 64,
            retrieve_stall_timeout: Duration::from_secs(60),
            compress: Compress::Remote,
            answers_kept: Duration::from_secs(300),
            query_results_max: 1000,
            request_timeout: Duration::from_secs(60),
            open_to: OpenTo::Loopback,
            is_tls: false,
            hsts: Duration::ZERO,
            peers: Vec::new(),
            hosts: Some(Vec::new()),
            ae_title: String::new(),
            dicom_address: String::new(),
        }
    }
}
