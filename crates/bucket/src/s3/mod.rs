//! A bucket of an S3 server.
//!
//! Servers differ, mostly in silence, so little is asked of them: names are unique by construction, and the condition
//! "only if new" is sent as a second belt; digests go with every content; an answer that was lost is left to the
//! caller, who asks by [`Bucket::head`]. Each call is one request: tries are made again by who writes them down.

mod checksums;
mod client;
mod errors;
mod parts;
mod probe;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod versions;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives::ByteStream};
use bytes::{Bytes, BytesMut};

pub use client::S3Client;
pub use settings::{Role, S3Credentials, S3Settings, Secret};

use self::{checksums::Checksums, errors::told};
use crate::{Bucket, Error, Multipart, ObjectInfo, Probe, ProbeToken, Source, is_object_name, multipart};

/// A bucket of an endpoint.
#[derive(Clone)]
pub struct S3Bucket {
    client: S3Client,
    bucket: String,
    role: Role,
    /// A probe saw the server refuse to replace an object by a whole one.
    refuses_to_replace: Arc<AtomicBool>,
    /// A probe saw the server refuse content that is not what its SHA-256 says.
    checks_sha256: Arc<AtomicBool>,
    /// A probe saw no versions kept, and none ever asked for: what is deleted is gone.
    never_versioned: Arc<AtomicBool>,
}

impl S3Bucket {
    /// The bucket of this name; nothing is asked of the endpoint yet.
    #[must_use]
    pub fn new(client: &S3Client, bucket: impl Into<String>, role: Role) -> Self {
        Self {
            client: client.clone(),
            bucket: bucket.into(),
            role,
            refuses_to_replace: Arc::default(),
            checks_sha256: Arc::default(),
            never_versioned: Arc::default(),
        }
    }

    /// An object's name as the server knows it.
    fn key(&self, name: &str) -> Result<String, Error> {
        if is_object_name(name) {
            Ok(format!("{}{name}", self.client.prefix))
        } else {
            Err(Error::Name(name.to_owned()))
        }
    }

    /// Our name of an object the server lists.
    fn name_of(&self, key: Option<&str>) -> Option<String> {
        key?.strip_prefix(self.client.prefix.as_str()).map(str::to_owned)
    }

    async fn put_whole(&self, name: &str, content: Bytes) -> Result<(), Error> {
        let checksums = self.checksums(&content).await?;
        let put = self.client.bulk().put_object().bucket(&self.bucket).key(self.key(name)?);
        let put = put.if_none_match("*").set_content_md5(checksums.md5).checksum_sha256(checksums.sha256);
        let put = put.body(ByteStream::from(content)).customize().disable_payload_signing().send().await;
        put.map(|_| ()).map_err(|error| told(name, error))
    }

    async fn checksums(&self, content: &Bytes) -> Result<Checksums, Error> {
        Checksums::of(content, !self.checks_sha256.load(Ordering::Relaxed)).await
    }

    async fn bytes_of(&self, name: &str) -> Result<u64, Error> {
        let found = self.head(name).await?;
        found.map(|object| object.bytes).ok_or_else(|| Error::NotFound(name.to_owned()))
    }
}

#[async_trait]
impl Bucket for S3Bucket {
    async fn put(&self, name: &str, content: &Source) -> Result<(), Error> {
        // Not every server heeds the condition, and hardly any when parts are made into an object.
        let in_parts = content.bytes() > self.client.part_size_bytes;
        let is_refused = !in_parts && self.refuses_to_replace.load(Ordering::Relaxed);
        if !is_refused && self.head(name).await?.is_some() {
            return Err(Error::Exists(name.to_owned()));
        }
        if in_parts {
            return multipart::put_in_parts(self, name, content, self.client.part_size_bytes).await;
        }
        let content = content.read_off_thread(0..content.bytes()).await?;
        self.put_whole(name, content).await
    }

    async fn get(&self, name: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let short = |bytes| Error::Short { name: name.to_owned(), bytes };
        if range.is_empty() {
            let bytes = self.bytes_of(name).await?;
            let is_inside = range.start == range.end && range.end <= bytes;
            return if is_inside { Ok(Bytes::new()) } else { Err(short(bytes)) };
        }
        let get = self.client.quick().get_object().bucket(&self.bucket).key(self.key(name)?);
        match get.range(format!("bytes={}-{}", range.start, range.end - 1)).send().await {
            Ok(answer) => content_of(name, &range, answer).await,
            // The range begins past the end (RFC 9110 15.5.17).
            Err(error) if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 416) => {
                Err(short(self.bytes_of(name).await?))
            }
            Err(error) => Err(told(name, error)),
        }
    }

    async fn head(&self, name: &str) -> Result<Option<ObjectInfo>, Error> {
        let head = self.client.quick().head_object().bucket(&self.bucket).key(self.key(name)?);
        match head.send().await.map_err(|error| told(name, error)) {
            Ok(found) => {
                let bytes = found.content_length().and_then(|bytes| u64::try_from(bytes).ok());
                let bytes = bytes.ok_or_else(|| unreadable("an object without a length"))?;
                Ok(Some(ObjectInfo { name: name.to_owned(), bytes }))
            }
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Error> {
        let prefix = format!("{}{prefix}", self.client.prefix);
        let list = self.client.quick().list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| told("the list of objects", error))?;
            found.extend(page.contents().iter().filter_map(|object| {
                let bytes = object.size().and_then(|bytes| u64::try_from(bytes).ok())?;
                Some(ObjectInfo { name: self.name_of(object.key())?, bytes })
            }));
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let delete = self.client.quick().delete_object().bucket(&self.bucket).key(self.key(name)?);
        match delete.send().await.map_err(|error| told(name, error)) {
            Ok(_) | Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        if self.never_versioned.load(Ordering::Relaxed) { Ok(()) } else { self.delete_versions(name).await }
    }

    async fn versions_left(&self, prefix: &str) -> Result<usize, Error> {
        let prefix = format!("{}{prefix}", self.client.prefix);
        let list = self.client.quick().list_object_versions().bucket(&self.bucket).prefix(prefix);
        match list.send().await.map_err(|error| told("the versions of objects", error)) {
            // One page tells that there are some. A mark of deletion is nothing that could be read.
            Ok(page) => Ok(page.versions().len()),
            // A server that knows no versions keeps none.
            Err(Error::Rejected(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn parts(&self) -> Option<&dyn Multipart> {
        Some(self)
    }

    async fn probe(&self, token: &ProbeToken) -> Result<Option<Probe>, Error> {
        let probe = self.find_out(token).await?;
        self.refuse_unfit(&probe)?;
        self.refuses_to_replace.store(probe.honours_conditions, Ordering::Relaxed);
        self.checks_sha256.store(probe.checks_sha256, Ordering::Relaxed);
        self.never_versioned.store(!probe.keeps_versions, Ordering::Relaxed);
        Ok(Some(probe))
    }
}

/// The body of an answer, which must be as long as what was asked for; never more of it is taken into memory.
async fn content_of(name: &str, range: &Range<u64>, mut answer: GetObjectOutput) -> Result<Bytes, Error> {
    let wanted = range.end - range.start;
    match answer.content_length().and_then(|bytes| u64::try_from(bytes).ok()) {
        Some(length) if length == wanted => {}
        Some(length) if length < wanted => {
            return Err(Error::Short { name: name.to_owned(), bytes: range.start + length });
        }
        _ => return Err(unreadable("an answer of another length than was asked for")),
    }
    let wanted = usize::try_from(wanted).map_err(|_| unreadable("more than fits in memory"))?;
    let mut content = BytesMut::new();
    while let Some(piece) = answer.body.next().await {
        let piece = piece.map_err(|error| unreadable(&format!("an answer cut short: {error}")))?;
        if content.len() + piece.len() > wanted {
            return Err(unreadable("an answer longer than it said"));
        }
        if piece.len() == wanted {
            return Ok(piece);
        }
        if content.is_empty() {
            content.reserve(wanted);
        }
        content.extend_from_slice(&piece);
    }
    if content.len() == wanted { Ok(content.freeze()) } else { Err(unreadable("an answer cut short")) }
}

fn unreadable(what: &str) -> Error {
    Error::Unavailable { reason: format!("the server gave {what}"), retry_after: None }
}
