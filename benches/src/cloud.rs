//! The S3 server that `cargo xtask bench` starts, and the plain client our figures stand beside: the SDK the gateway uses, with
//! its defaults, doing nothing but the copying.

use std::{env, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Config, Credentials, Region},
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use filmgate_bucket::{Role, S3Bucket, S3Client, S3Credentials, S3Settings, Secret};
use filmgate_model::{Random, spawn};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

/// Where the server is, and who may ask.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl Server {
    /// As the environment tells.
    pub(crate) fn told() -> Result<Self> {
        let told = |name: &str| {
            env::var(name).with_context(|| format!("{name} is not set: run this by `cargo xtask bench`"))
        };
        Ok(Self {
            endpoint: told("FILMGATE_TEST_S3_ENDPOINT")?,
            region: told("FILMGATE_TEST_S3_REGION")?,
            access_key: told("FILMGATE_TEST_S3_ACCESS_KEY")?,
            secret_key: told("FILMGATE_TEST_S3_SECRET_KEY")?,
        })
    }

    /// The plain client.
    pub(crate) fn plain(&self) -> Plain {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(Credentials::new(&self.access_key, &self.secret_key, None, None, "bench"))
            .force_path_style(true)
            .endpoint_url(&self.endpoint);
        Plain(Client::from_conf(config.build()))
    }

    /// A bucket as the gateway uses it.
    pub(crate) fn bucket(&self, name: &str, role: Role, part_size_bytes: u64) -> Result<S3Bucket> {
        let client = S3Client::new(&S3Settings {
            endpoint: Some(self.endpoint.clone()),
            region: self.region.clone(),
            path_style: true,
            ca_pem: None,
            credentials: S3Credentials {
                access_key_id: self.access_key.clone(),
                secret_access_key: Secret::new(self.secret_key.clone()),
                session_token: None,
            },
            prefix: String::new(),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(20),
            operation_timeout: Duration::from_secs(300),
            part_size_bytes,
        })?;
        Ok(S3Bucket::new(&client, name, role))
    }
}

/// Parts of one object that wait for room at a time.
const PARTS_WAITING: usize = 16;

/// The SDK, used plainly.
#[derive(Debug, Clone)]
pub(crate) struct Plain(Client);

impl Plain {
    pub(crate) async fn make_bucket(&self, name: &str) -> Result<()> {
        self.0.create_bucket().bucket(name).send().await.with_context(|| format!("make bucket {name}"))?;
        Ok(())
    }

    /// Every object below a prefix, with its size.
    pub(crate) async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<(String, u64)>> {
        let list = self.0.list_objects_v2().bucket(bucket).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            found.extend(
                page?.contents().iter().filter_map(|object| {
                    Some((object.key()?.to_owned(), u64::try_from(object.size()?).ok()?))
                }),
            );
        }
        Ok(found)
    }

    /// A range of an object.
    pub(crate) async fn get(&self, bucket: &str, name: &str, start: u64, bytes: u64) -> Result<Bytes> {
        let range = format!("bytes={start}-{}", start + bytes - 1);
        let answer = self.0.get_object().bucket(bucket).key(name).range(range).send().await?;
        let content = answer.body.collect().await?.into_bytes();
        ensure!(content.len() as u64 == bytes, "{} bytes came of {bytes}", content.len());
        Ok(content)
    }

    /// Puts each content as an object of its own, so many at a time.
    pub(crate) async fn put_each(&self, bucket: &str, contents: &[Bytes], at_a_time: usize) -> Result<()> {
        let put = |(number, content): (usize, &Bytes)| {
            let put = self.0.put_object().bucket(bucket).key(format!("plain/{number}"));
            let put = put.body(ByteStream::from(content.clone()));
            async move { Ok(spawn(async move { put.send().await.map(drop) }).await??) }
        };
        stream::iter(contents.iter().enumerate().map(put)).buffer_unordered(at_a_time).try_collect().await
    }

    /// Copies each content in parts; over all of them no more than so many parts are on their way.
    pub(crate) async fn copy_in_parts(
        &self,
        bucket: &str,
        contents: &[Bytes],
        part_bytes: usize,
        parts_in_flight: usize,
    ) -> Result<()> {
        let flight = Arc::new(Semaphore::new(parts_in_flight));
        let copies = contents.iter().enumerate().map(|(number, content)| {
            let (plain, bucket, content) = (self.clone(), bucket.to_owned(), content.clone());
            let (name, flight) = (format!("plain/{number}"), Arc::clone(&flight));
            let copy = async move { plain.copy(&bucket, &name, &content, part_bytes, flight).await };
            async move { spawn(copy).await? }
        });
        stream::iter(copies).buffer_unordered(parts_in_flight).try_collect().await
    }

    async fn copy(
        &self,
        bucket: &str,
        name: &str,
        content: &Bytes,
        part_bytes: usize,
        flight: Arc<Semaphore>,
    ) -> Result<()> {
        let begun = self.0.create_multipart_upload().bucket(bucket).key(name).send().await?;
        let upload_id = begun.upload_id().context("an upload's id")?;
        let starts = (0..content.len()).step_by(part_bytes);
        let parts = (1..).zip(starts).map(|(number, start): (i32, usize)| {
            let part = content.slice(start..content.len().min(start + part_bytes));
            let put = self.0.upload_part().bucket(bucket).key(name).upload_id(upload_id).part_number(number);
            let flight = Arc::clone(&flight);
            async move {
                let _room = flight.acquire_owned().await?;
                let put = put.body(ByteStream::from(part)).send().await?;
                let done =
                    CompletedPart::builder().part_number(number).set_e_tag(put.e_tag().map(Into::into));
                Ok::<_, anyhow::Error>(done.set_checksum_crc32(put.checksum_crc32().map(Into::into)).build())
            }
        });
        let parts: Vec<CompletedPart> = stream::iter(parts).buffered(PARTS_WAITING).try_collect().await?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.0.complete_multipart_upload().bucket(bucket).key(name).upload_id(upload_id);
        complete.multipart_upload(parts).send().await?;
        Ok(())
    }
}

/// A name no bucket of this server has yet.
pub(crate) fn bucket_name(what: &str) -> String {
    format!("bench-{what}-{:016x}", Random::system().u64())
}
