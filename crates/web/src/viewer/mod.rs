//! What a person opens: the list of studies, the image viewer, and a page for what that does not show.
//!
//! The viewer is OHIF, as `cargo xtask viewer` prepares it, served from a folder whose every file is known by a manifest.
//! Nothing of it asks another host, and its policy (CSP) would not let it.
//!
//! | file | what |
//! | --- | --- |
//! | `folder` | the prepared viewer: its manifest, checked when the gateway starts |
//! | `ohif` | its files under `/ohif/`, compressed as a browser takes them, with their policy |
//! | `enter` | `/viewer?study=…`: who shows it |
//! | `shown` | which SOP classes the viewer shows |
//! | `pages` | the list of studies and the page of one study |
//! | `progress` | how much of a study is here, and safe |
//! | `zip` | a study as one file |

pub(crate) mod enter;
mod folder;
pub(crate) mod ohif;
pub(crate) mod pages;
pub(crate) mod progress;
mod shown;
pub(crate) mod zip;

pub use folder::{ViewerFolder, ViewerFolderError};
