//! The words of the domain: identifiers, time, application entities, transfer syntaxes, what is known of an instance
//! and the state it is in.
//!
//! Everything here is plain data. No crate of ours is used, nothing is read from disk or network, and time and
//! randomness come from outside: [`Clock`] and [`Random`] are handed in, so that a simulation replays by its seed.
//!
//! | module | what |
//! | --- | --- |
//! | `id` | random 128-bit identifiers of records, packs, keys, nodes, sites |
//! | `clock`, `random`, `runtime` | injected time and randomness; the one `spawn` and the one `compute` |
//! | `pace` | how slowly a peer may bring what it has begun |
//! | `ae_title`, `transfer_syntax`, `part10` | DICOM's own words, and the head of a file |
//! | `network` | networks of IP addresses |
//! | `text`, `json` | the one text decoder; the DICOM JSON model |
//! | `facts`, `state` | what is known of an instance, and where it stands |

mod ae_title;
mod attribute;
mod clock;
mod facts;
mod id;
pub mod json;
mod network;
mod pace;
pub mod part10;
mod random;
mod runtime;
mod state;
pub mod text;
pub mod transfer_syntax;

pub use ae_title::{AE_TITLE_CHARACTERS_MAX, AeTitle, ParseAeTitleError};
pub use attribute::{attribute_named, vr_of};
pub use clock::{Clock, Timestamp};
pub use dicom_core::{Tag, VR};
pub use dicom_dictionary_std::{tags, uids};
pub use facts::{Door, FACT_BYTES_MAX, Facts, INDEXED_TAGS, Identity, Provenance};
pub use id::{
    FactId, IncarnationId, LandingKeyId, LogKeyId, NodeId, PackId, ParseIdError, RecordId, SiteId, StudyKeyId,
};
pub use network::{Network, ParseNetworkError};
pub use pace::{Pace, Progress, TooSlow};
pub use random::Random;
pub use runtime::{compute, spawn};
pub use state::{InstanceState, ParseStateError};
pub use transfer_syntax::Encoding;
