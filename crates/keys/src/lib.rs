//! The keys of a node: key of keys → site key → landing and study keys → record keys.
//!
//! | key | lives | wrapped by |
//! | --- | --- | --- |
//! | key of keys ([`Kek`]) | a file beside the data directory | nothing: whoever has it has everything |
//! | site key | `keys/site.key` | the key of keys |
//! | landing keys | `keys/landing/<id>.key` | the site key; each wraps record keys in the journal for a day |
//! | study keys | `keys/study/<id>.key`, the same bytes as the bucket's `v1/key/<id>/1` | the site key |
//!
//! Invariants:
//! - No long-lived key is used itself: each use has a key derived for its purpose (HKDF), and what a wrapped key belongs
//!   to is bound into it, so that no file can stand in for another.
//! - A key is durable before anything is wrapped by it.
//! - Wrapped keys are in these files, in the bucket's key objects and in the journal's commit frames, and nowhere else.
//!
//! Absent on purpose: hardware and network key stores, generations other than the first, the study a key belongs to.

mod error;
mod files;
mod kek;
mod ring;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use kek::Kek;
pub use ring::KeyRing;
