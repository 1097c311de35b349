//! `[dicom]` and `[web]`: where others come in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
};

use filmgate_model::AeTitle;
use filmgate_web::{Compress, OpenTo};
use serde::{Deserialize, Serialize};

use super::{DicomTls, Error, WebTls};

/// The DICOM door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dicom {
    pub(crate) bind: SocketAddr,
    pub(crate) aet: AeTitle,
    pub(crate) accept_any_called_aet: bool,
    pub(crate) accept_unknown_callers: bool,
    pub(crate) known_callers: BTreeSet<AeTitle>,
    pub(crate) callers_remembered_max: u32,
    pub(crate) allow_plain: bool,
    pub(crate) insecure: bool,
    pub(crate) associations_max: usize,
    pub(crate) associations_per_peer_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_peer_max: usize,
    pub(crate) max_pdu_bytes: u32,
    pub(crate) artim_ms: u64,
    pub(crate) association_idle_timeout_ms: u64,
    pub(crate) association_progress_window_ms: u64,
    pub(crate) association_progress_bytes_min: u64,
    pub(crate) association_lifetime_ms: u64,
    pub(crate) async_operations_max: u16,
    pub(crate) private_sop_classes: BTreeSet<String>,
    pub(crate) private_syntaxes: BTreeMap<String, PrivateEncoding>,
    pub(crate) tls: DicomTls,
}

impl Default for Dicom {
    fn default() -> Self {
        Self {
            bind: ([127, 0, 0, 1], 11112).into(),
            aet: "FILMGATE".parse().expect("an AE title"),
            accept_any_called_aet: false,
            accept_unknown_callers: false,
            known_callers: BTreeSet::new(),
            callers_remembered_max: 1000,
            allow_plain: false,
            insecure: false,
            associations_max: 64,
            associations_per_peer_max: 48,
            connections_max: 256,
            connections_per_peer_max: 128,
            max_pdu_bytes: 131_072,
            artim_ms: 10_000,
            association_idle_timeout_ms: 60_000,
            association_progress_window_ms: 60_000,
            association_progress_bytes_min: 128 << 10,
            association_lifetime_ms: 86_400_000,
            async_operations_max: 8,
            private_sop_classes: BTreeSet::new(),
            private_syntaxes: BTreeMap::new(),
            tls: DicomTls::default(),
        }
    }
}

impl Web {
    /// A door that others can reach speaks TLS, and asks who they are.
    pub(super) fn check_openness(&self) -> Result<(), Error> {
        let refuse = |key: &str, why: &str| {
            Err(Error::Value { key: format!("web.{key}"), why: format!("{} {why}", self.bind) })
        };
        if self.bind.ip().is_loopback() || self.insecure {
            return Ok(());
        }
        if !self.tls.enabled {
            return refuse(
                "bind",
                "is not a loopback address, so tokens and images would go over the network in the clear; set \
                 web.tls, or web.insecure = true where a proxy in front speaks TLS",
            );
        }
        if self.open_to == OpenTo::Everybody {
            return refuse(
                "open_to",
                "is not a loopback address, so anybody could see everything; or web.insecure = true",
            );
        }
        Ok(())
    }
}

impl Dicom {
    /// A door that others can reach without TLS, and one that takes images from anybody, must be meant so.
    pub(super) fn check_openness(&self) -> Result<(), Error> {
        let plain = !self.bind.ip().is_loopback();
        if plain && !self.allow_plain {
            return Err(Error::Value {
                key: "dicom.bind".into(),
                why: format!(
                    "{} is not a loopback address, so images would go over the network in the clear, and a caller is \
                     known by what it calls itself alone; use dicom.tls, or set dicom.allow_plain = true where modalities \
                     speak no TLS",
                    self.bind
                ),
            });
        }
        let tls = &self.tls;
        let anonymous_tls = tls.enabled && !tls.require_client_certificate && !tls.bind.ip().is_loopback();
        if !self.accept_unknown_callers || self.insecure || !(plain || anonymous_tls) {
            return Ok(());
        }
        Err(Error::Value {
            key: "dicom.accept_unknown_callers".into(),
            why: "the door is not on a loopback address, so anybody could send; let callers in by `filmgate ae allow` \
                  or `filmgate ae learn`, or set dicom.insecure = true"
                .into(),
        })
    }
}

/// How a private transfer syntax encodes its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PrivateEncoding {
    ExplicitLittle,
    ExplicitBig,
    ImplicitLittle,
}

/// The web door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Web {
    pub(crate) bind: SocketAddr,
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) open_to: OpenTo,
    pub(crate) insecure: bool,
    pub(crate) session_idle_ms: u64,
    pub(crate) session_lifetime_ms: u64,
    pub(crate) set_up_link_lifetime_ms: u64,
    pub(crate) login_failures_max: u32,
    pub(crate) password_memory_kib: u32,
    pub(crate) password_passes: u32,
    pub(crate) connections_max: usize,
    pub(crate) streams_max: u32,
    pub(crate) request_head_timeout_ms: u64,
    pub(crate) request_progress_window_ms: u64,
    pub(crate) request_progress_bytes_min: u64,
    pub(crate) request_timeout_ms: u64,
    pub(crate) answer_stall_timeout_ms: u64,
    pub(crate) stow_requests_max: usize,
    pub(crate) stow_instance_bytes_max: u64,
    pub(crate) retrieve_requests_max: usize,
    pub(crate) compress: Compress,
    pub(crate) answers_kept_ms: u64,
    pub(crate) query_results_max: u32,
    pub(crate) tls: WebTls,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            bind: ([127, 0, 0, 1], 8080).into(),
            hosts: BTreeSet::new(),
            open_to: OpenTo::Loopback,
            insecure: false,
            session_idle_ms: 1_800_000,
            session_lifetime_ms: 43_200_000,
            set_up_link_lifetime_ms: 86_400_000,
            login_failures_max: 5,
            password_memory_kib: 65_536,
            password_passes: 3,
            connections_max: 256,
            streams_max: 64,
            request_head_timeout_ms: 30_000,
            request_progress_window_ms: 30_000,
            request_progress_bytes_min: 64 << 10,
            request_timeout_ms: 60_000,
            answer_stall_timeout_ms: 60_000,
            stow_requests_max: 16,
            stow_instance_bytes_max: 16 << 30,
            retrieve_requests_max: 64,
            compress: Compress::Remote,
            answers_kept_ms: 300_000,
            query_results_max: 1000,
            tls: WebTls::default(),
        }
    }
}

/// The image viewer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Viewer {
    pub(crate) path: PathBuf,
}
