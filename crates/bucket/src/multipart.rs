//! Objects put in parts: what has arrived is not sent again, whatever happens in between.

use async_trait::async_trait;
use bytes::Bytes;
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::{Error, Source};

/// Parts of one object at most, in every S3 server.
pub const PARTS_MAX: u64 = 10_000;

/// A part that has arrived, as its sender keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place in the object, from 1.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
    /// What the store calls it.
    pub etag: String,
    /// SHA-256 of what was sent.
    pub sha256: [u8; 32],
}

/// A part as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// Its place in the object, from 1.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
    /// What the store calls it.
    pub etag: String,
}

impl Part {
    /// The part that `content` makes, should the store have it under this name.
    #[must_use]
    pub fn of(number: u32, content: &[u8], etag: String) -> Self {
        Self { number, bytes: content.len() as u64, etag, sha256: Sha256::digest(content).into() }
    }

    /// True when the store lists the very part we keep.
    #[must_use]
    pub fn is_listed_as(&self, listed: &ListedPart) -> bool {
        self.number == listed.number && self.bytes == listed.bytes && self.etag == listed.etag
    }
}

impl ListedPart {
    /// True when what the store has is `content`. Stores that encrypt call parts by something else than their MD5; then
    /// this is false, and the part is sent again.
    #[must_use]
    pub fn is(&self, content: &[u8]) -> bool {
        self.bytes == content.len() as u64 && self.etag == etag_of(content)
    }
}

/// What most stores call a part: its MD5 in hexadecimal digits.
pub(crate) fn etag_of(content: &[u8]) -> String {
    hex::encode(Md5::digest(content))
}

/// An upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The object it is to become.
    pub name: String,
    /// What the store calls the upload.
    pub upload_id: String,
    /// When it was begun, in milliseconds since 1970; 0 when the store does not say.
    pub begun_at_ms: i64,
}

/// A store that takes an object in parts. Until an upload is completed there is no object.
#[async_trait]
pub trait Multipart: Send + Sync {
    /// Begins an upload; what the store calls it.
    ///
    /// # Errors
    /// When the store could not be asked; then an upload may have been begun all the same, and is listed.
    async fn begin(&self, name: &str) -> Result<String, Error>;

    /// Puts a part. One of this number that is there already is replaced.
    ///
    /// # Errors
    /// [`Error::UploadGone`] when the store does not know the upload.
    async fn put_part(&self, name: &str, upload_id: &str, number: u32, content: Bytes)
    -> Result<Part, Error>;

    /// The parts that have arrived, in order.
    ///
    /// # Errors
    /// [`Error::UploadGone`] when the store does not know the upload.
    async fn list_parts(&self, name: &str, upload_id: &str) -> Result<Vec<ListedPart>, Error>;

    /// Makes the parts, in order and without a gap, into the object.
    ///
    /// # Errors
    /// [`Error::UploadGone`] when the store does not know the upload, perhaps because it is complete.
    async fn complete(&self, name: &str, upload_id: &str, parts: &[Part]) -> Result<(), Error>;

    /// Gives an upload and its parts up; one that is not known is no error.
    ///
    /// # Errors
    /// When the store could not be asked.
    async fn abort(&self, name: &str, upload_id: &str) -> Result<(), Error>;

    /// The uploads under way whose names begin with `prefix`.
    ///
    /// # Errors
    /// When the store could not be asked.
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Error>;
}

/// Puts content in parts of `part_bytes`, one after the other, keeping nothing: an upload that fails is given up.
pub(crate) async fn put_in_parts(
    parts: &dyn Multipart,
    name: &str,
    content: &Source,
    part_bytes: u64,
) -> Result<(), Error> {
    let upload_id = parts.begin(name).await?;
    let put = put_all(parts, name, &upload_id, content, part_bytes).await;
    if put.is_err()
        && let Err(error) = parts.abort(name, &upload_id).await
    {
        tracing::warn!(%error, object = name, "an upload that failed could not be given up");
    }
    put
}

async fn put_all(
    parts: &dyn Multipart,
    name: &str,
    upload_id: &str,
    content: &Source,
    part_bytes: u64,
) -> Result<(), Error> {
    let mut done = Vec::new();
    for (number, range) in (1..).zip(content.parts(part_bytes)) {
        let content = content.read_off_thread(range).await?;
        done.push(parts.put_part(name, upload_id, number, content).await?);
    }
    parts.complete(name, upload_id, &done).await
}
