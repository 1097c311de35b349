//! Uploads in parts.

use async_trait::async_trait;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, MultipartUpload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{S3Bucket, errors::told, unreadable};
use crate::{Error, ListedPart, Multipart, OpenUpload, Part};

/// What is kept of an ETag: some servers quote it, some do not.
fn plain(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// Of an upload, "not found" is said in several ways.
fn gone(error: Error) -> Error {
    match error {
        Error::NotFound(name) => Error::UploadGone(name),
        error => error,
    }
}

#[async_trait]
impl Multipart for S3Bucket {
    async fn begin(&self, name: &str) -> Result<String, Error> {
        let begin = self.client.quick().create_multipart_upload().bucket(&self.bucket).key(self.key(name)?);
        let begun = begin.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await;
        let begun = begun.map_err(|error| told(name, error))?;
        let upload_id = begun.upload_id().filter(|id| !id.is_empty());
        upload_id.map(str::to_owned).ok_or_else(|| unreadable("an upload without an id"))
    }

    async fn put_part(
        &self,
        name: &str,
        upload_id: &str,
        number: u32,
        content: Bytes,
    ) -> Result<Part, Error> {
        let checksums = self.checksums(&content).await?;
        let bytes = content.len() as u64;
        let put = self.client.bulk().upload_part().bucket(&self.bucket).key(self.key(name)?);
        let put = put.upload_id(upload_id).part_number(part_number(number)?);
        let put = put.set_content_md5(checksums.md5).checksum_sha256(checksums.sha256);
        let put = put.body(ByteStream::from(content)).customize().disable_payload_signing().send().await;
        let put = put.map_err(|error| gone(told(name, error)))?;
        let etag = put.e_tag().map(plain).ok_or_else(|| unreadable("a part without an ETag"))?;
        Ok(Part { number, bytes, etag, sha256: checksums.sha256_raw })
    }

    async fn list_parts(&self, name: &str, upload_id: &str) -> Result<Vec<ListedPart>, Error> {
        let list = self.client.quick().list_parts().bucket(&self.bucket).key(self.key(name)?);
        let mut pages = list.upload_id(upload_id).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| gone(told(name, error)))?;
            found.extend(page.parts().iter().filter_map(|part| {
                Some(ListedPart {
                    number: u32::try_from(part.part_number()?).ok()?,
                    bytes: u64::try_from(part.size()?).ok()?,
                    etag: plain(part.e_tag()?),
                })
            }));
        }
        found.sort_by_key(|part| part.number);
        Ok(found)
    }

    async fn complete(&self, name: &str, upload_id: &str, parts: &[Part]) -> Result<(), Error> {
        let completed = parts.iter().map(|part| {
            Ok(CompletedPart::builder()
                .part_number(part_number(part.number)?)
                .e_tag(format!("\"{}\"", part.etag))
                .checksum_sha256(STANDARD.encode(part.sha256))
                .build())
        });
        let completed = completed.collect::<Result<Vec<_>, Error>>()?;
        let upload = CompletedMultipartUpload::builder().set_parts(Some(completed)).build();
        let complete =
            self.client.bulk().complete_multipart_upload().bucket(&self.bucket).key(self.key(name)?);
        let complete = complete.upload_id(upload_id).multipart_upload(upload).if_none_match("*").send().await;
        complete.map(|_| ()).map_err(|error| gone(told(name, error)))
    }

    async fn abort(&self, name: &str, upload_id: &str) -> Result<(), Error> {
        let abort = self.client.quick().abort_multipart_upload().bucket(&self.bucket).key(self.key(name)?);
        match abort.upload_id(upload_id).send().await.map_err(|error| told(name, error)) {
            Ok(_) | Err(Error::UploadGone(_) | Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Error> {
        let prefix = format!("{}{prefix}", self.client.prefix);
        let (mut key_marker, mut id_marker) = (None, None);
        let mut found = Vec::new();
        loop {
            let list = self.client.quick().list_multipart_uploads().bucket(&self.bucket).prefix(&prefix);
            let list = list.set_key_marker(key_marker.take()).set_upload_id_marker(id_marker.take());
            let page = list.send().await.map_err(|error| told("the list of uploads", error))?;
            found.extend(page.uploads().iter().filter_map(|upload| self.open_upload(upload)));
            key_marker = page.next_key_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
            id_marker = page.next_upload_id_marker().filter(|marker| !marker.is_empty()).map(str::to_owned);
            // A page that is cut off and does not say where to go on would be asked for without end.
            if page.is_truncated() != Some(true) || key_marker.is_none() {
                return Ok(found);
            }
        }
    }
}

impl S3Bucket {
    fn open_upload(&self, upload: &MultipartUpload) -> Option<OpenUpload> {
        Some(OpenUpload {
            name: self.name_of(upload.key())?,
            upload_id: upload.upload_id()?.to_owned(),
            begun_at_ms: upload.initiated().and_then(|at| at.to_millis().ok()).unwrap_or(0),
        })
    }
}

fn part_number(number: u32) -> Result<i32, Error> {
    i32::try_from(number).map_err(|_| unreadable("a part's number past every limit"))
}
