//! Keys: a key of keys in a file, under it the site's key, under that the keys of studies and of the journal.
//!
//! ```text
//! KEK (key file) -> site key -> study keys   -> record keys in packs
//!                            -> landing keys -> record keys in the journal
//!                            -> the catalog's key
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
//! Files under `<data_dir>/keys/`: `site.key`, `landing/<id>.key`, `study/<id>.key`. The latter are byte for byte the
//! objects `v1/key/<id>/1` of the bucket. FORMAT.md gives them to the byte.
//!
//! | module | what |
//! | --- | --- |
//! | `kek` | the key file |
//! | `key_file` | the one format of a stored key |
//! | `ring` | opening and making; what is derived from the site key |
//! | `landing` | keys of the journal: rotated daily, destroyed when nothing needs them |
//! | `study` | keys of studies: made, kept, taken over from a bucket |

mod error;
mod kek;
mod key_file;
mod landing;
mod ring;
mod study;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use kek::Kek;
pub use ring::KeyRing;
