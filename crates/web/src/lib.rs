//! The gateway over HTTP: DICOMweb for viewers and senders, a small API for the command line, a status page, the image
//! viewer, health and metrics.
//!
//! Invariants:
//! - An instance is streamed chunk by chunk, both ways; memory is bounded by the requests at work, never by what an
//!   instance, a study or a request declares.
//! - A failure before the first byte is a status with a reason; one after it breaks the body off, never ends it in order.
//! - One SOP Instance UID is answered once, whatever copies are kept.
//! - What a client reads of an error names no file, key or patient; query strings are never logged.
//! - A route is answered only to who has the scope that the one list of routes asks for, and described as it stands there; one that is
//!   not in the list is answered to nobody.
//!
//! Absent on purpose: decoding of pixels (the road does it, elsewhere), TLS (whoever accepts connections brings it).
//!
//! | module | what |
//! | --- | --- |
//! | `routes/` | every route with what it needs, and the OpenAPI document of them |
//! | `router`, `guard` | what stands before each; who is answered, and with which headers |
//! | `access/` | who asks, and whether they may: scopes, tokens, the administrator |
//! | `dicomweb/` | QIDO-RS, WADO-RS, STOW-RS (PS3.18 chapter 10) |
//! | `api`, `callers` | records, status, verification, and who may associate, as JSON |
//! | `status_page` | the page a person opens first |
//! | `viewer/` | the list of studies, the image viewer, and what that does not show |
//! | `compression` | what leaves compressed |
//! | `health`, `metrics` | for those who watch |

mod access;
mod api;
mod body;
mod callers;
mod compression;
mod custody;
mod dicomweb;
mod error;
mod extract;
mod guard;
mod health;
mod keys;
mod metrics;
mod peer;
mod router;
mod routes;
mod settings;
mod status_page;
mod still_shown;
mod streaming;
mod viewer;

use std::sync::Arc;

use filmgate_model::Random;
use filmgate_pipeline::{Callers, Road};
use metrics_exporter_prometheus::PrometheusHandle;

pub use access::{
    Asker, ClientCertificate, CreatedToken, Grant, Grants, NewToken, ParseGrantError, Readable, Scope,
    TokenShown, UserError, UserSettings, Users,
};
pub use compression::Compress;
pub use error::Error;
pub use router::router;
pub use settings::{OpenTo, WebSettings};
pub use viewer::{ViewerFolder, ViewerFolderError};

/// What the web server stands on.
pub struct Web {
    road: Arc<Road>,
    callers: Arc<Callers>,
    users: Arc<Users>,
    settings: WebSettings,
    metrics: PrometheusHandle,
    random: Random,
    viewer: Option<ViewerFolder>,
}

impl Web {
    /// Over a road, what is known of callers and of users, with limits, and the recorder that every crate reports to.
    #[must_use]
    pub fn new(
        road: Arc<Road>,
        callers: Arc<Callers>,
        users: Arc<Users>,
        settings: WebSettings,
        metrics: PrometheusHandle,
    ) -> Self {
        // Boundaries of bodies in parts: no rule hangs on them, so no simulation needs them again.
        Self { road, callers, users, settings, metrics, random: Random::system(), viewer: None }
    }

    /// With the image viewer, when there is one.
    #[must_use]
    pub fn with_viewer(mut self, viewer: Option<ViewerFolder>) -> Self {
        self.viewer = viewer;
        self
    }
}
