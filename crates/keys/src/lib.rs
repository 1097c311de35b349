//! Keys: a key of keys in a file, under it the site's key, under that the keys of studies and of the journal.
//!
//! ```text
//! KEK -> site key -> study keys    -> record keys in packs
//!                 -> landing keys  -> record keys in the journal
//!                 -> log keys      -> the bucket's log
//!                 -> signing keys  -> who wrote the log
//!                 -> the catalog's key
//! ```
//!
//! Invariants:
//! - No long-lived key is used itself: each use derives its own by HKDF, named by its purpose and what it is for.
//! - A wrapped key opens only as what it is: kind, site, identifier, generation and suite are bound as associated data,
//!   and so is the name of its object in the bucket.
//! - A key is durable before anything is wrapped under it.
//! - There is no trial decryption: whatever is wrapped names the key it is wrapped under.
//! - Keys are wiped from memory when dropped and never printed.
//!
//! Files under `<data_dir>/keys/`: `node`, `site.key`, `catalog.key`, `landing/<id>.key`, `study/<id>.key`, `log/<id>.key`,
//! `signing/<id>.key`. The site's, the studies' and the log's are byte for byte objects `v1/key/<id>/<generation>` of every
//! bucket: a site is a thing of its bucket, and a data directory is one node of it. FORMAT.md gives them to the byte.
//!
//! | module | what |
//! | --- | --- |
//! | `kek` | the key of keys: who keeps it |
//! | `site` | the keys of the site, as one object |
//! | `node` | which node of the site a data directory is |
//! | `key_file` | the one format of every other stored key |
//! | `ring` | opening, making and joining a site |
//! | `rotate` | re-wrapping under another key of keys or another site key |
//! | `take` | taking over what another node re-wrapped, without losing a key |
//! | `lease` | how long what is opened is held |
//! | `sheet` | what a person keeps on paper to bring a site back |
//! | `landing` | keys of the journal: rotated daily, destroyed when nothing needs them |
//! | `kept` | keys of studies and of the log: made, kept, taken over from a bucket |
//! | `shred` | keys of studies that are destroyed, and stay so |
//! | `peer` | record keys between the nodes of a site |
//! | `signing` | what a node signs with |

mod error;
mod kek;
mod kept;
mod key_file;
mod landing;
mod lease;
mod node;
mod peer;
mod ring;
mod rotate;
mod sheet;
mod shred;
mod signing;
mod site;
mod take;
#[cfg(test)]
mod take_tests;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use kek::{
    FileKek, Kek, KekName, Pkcs11Kek, Pkcs11Settings, Provider, SecretFile, TransitKek, TransitLogin,
    TransitSettings,
};
pub use key_file::STORED_KEY_BYTES;
pub use lease::Lease;
pub use peer::PEER_KEY_BYTES;
pub use ring::KeyRing;
pub use rotate::Rewrapped;
pub use sheet::{Sheet, SheetError};
pub use signing::{SIGNATURE_BYTES, VERIFYING_KEY_BYTES, is_signed};
pub use site::SiteObject;
