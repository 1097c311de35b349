//! The blob store: named objects that are written once and read by range.
//!
//! One trait, [`Bucket`], and what ships behind it: an [`S3Bucket`], a [`LocalBucket`] in a folder, a [`MemoryBucket`]
//! for simulations and a [`FaultyBucket`] around any of them. Stores that take large objects in parts say so by
//! [`Bucket::parts`]. This crate knows no DICOM, no keys and no catalog.
//!
//! Invariants:
//! - An object's name is never reused: [`Bucket::put`] over an existing name is an error and leaves the object as it is.
//! - A put that returned is durable; one that failed may or may not have left the object (the caller asks by
//!   [`Bucket::head`] and reads back, trusting only its own digest).
//! - Memory is bounded by one piece of [`PIECE_BYTES`] or one part, never by the object.
//! - A server's word is believed only where a [`Probe`] saw it act: servers accept headers and do nothing about them.

mod blocking;
mod error;
mod faulty;
mod local;
mod memory;
mod multipart;
mod probe;
mod s3;
mod source;
#[cfg(test)]
mod suite;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::Error;
pub use faulty::{Fault, FaultyBucket, Operation};
pub use local::LocalBucket;
pub use memory::MemoryBucket;
pub use multipart::{ListedPart, Multipart, OpenUpload, PARTS_MAX, Part};
pub use probe::{Probe, ProbeToken};
pub use s3::{Role, S3Bucket, S3Client, S3Credentials, S3Settings, Secret};
pub use source::{PIECE_BYTES, Source};

/// What a bucket says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The whole name, slashes included.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A store of named objects.
#[async_trait]
pub trait Bucket: Send + Sync + 'static {
    /// Writes a new object and makes it durable.
    ///
    /// # Errors
    /// [`Error::Exists`] when the name is taken; [`Error::Source`] when the content could not be read.
    async fn put(&self, name: &str, content: &Source) -> Result<(), Error>;

    /// Reads `range` of an object; the answer is as long as the range.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Short`] when the object ends before the range does.
    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error>;

    /// Looks an object up; `None` when there is none.
    ///
    /// # Errors
    /// When the store could not be asked.
    async fn head(&self, name: &str) -> Result<Option<ObjectInfo>, Error>;

    /// All objects whose names begin with `prefix`, ordered by name.
    ///
    /// # Errors
    /// When the store could not be asked.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Error>;

    /// Removes an object; removing one that is not there is no error.
    ///
    /// # Errors
    /// When the store could not be asked.
    async fn delete(&self, name: &str) -> Result<(), Error>;

    /// How many earlier versions of objects whose names begin with `prefix` the store still gives to who asks for them:
    /// what [`Bucket::delete`] left behind. 0 where versions cannot be.
    ///
    /// # Errors
    /// When the store could not be asked.
    async fn versions_left(&self, _prefix: &str) -> Result<usize, Error> {
        Ok(0)
    }

    /// How a large object is put so that what has arrived is not sent again; `None` where [`Bucket::put`] does as well.
    fn parts(&self) -> Option<&dyn Multipart> {
        None
    }

    /// Tries what the store does. `None` for a store there is nothing to find out about.
    ///
    /// # Errors
    /// When the store could not be asked; [`Error::Unfit`] when it must not be used for what it is meant for.
    async fn probe(&self, _token: &ProbeToken) -> Result<Option<Probe>, Error> {
        Ok(None)
    }
}

/// True for a name that may stand in a bucket: plain segments between slashes, nothing that could leave a folder.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.split('/')
        .all(|segment| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain))
}
