//! `[bucket.NAME]`: a placement every pack must reach.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;

/// One placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bucket {
    pub(crate) kind: BucketKind,
    pub(crate) path: PathBuf,
    pub(crate) keys_path: PathBuf,
    pub(crate) bucket: String,
    pub(crate) keys_bucket: String,
    pub(crate) prefix: String,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) path_style: bool,
    pub(crate) ca_file: PathBuf,
    pub(crate) credentials: CredentialsFrom,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
    pub(crate) secret_access_key_file: PathBuf,
    pub(crate) require_object_lock: bool,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) read_timeout_ms: u64,
    pub(crate) stall_timeout_ms: u64,
    pub(crate) operation_timeout_ms: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            kind: BucketKind::Local,
            path: PathBuf::new(),
            keys_path: PathBuf::new(),
            bucket: String::new(),
            keys_bucket: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            region: "us-east-1".into(),
            path_style: true,
            ca_file: PathBuf::new(),
            credentials: CredentialsFrom::Settings,
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            secret_access_key_file: PathBuf::new(),
            require_object_lock: false,
            connect_timeout_ms: 5_000,
            read_timeout_ms: 30_000,
            stall_timeout_ms: 20_000,
            operation_timeout_ms: 300_000,
        }
    }
}

/// What a placement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BucketKind {
    #[default]
    Local,
    S3,
}

/// Where the credentials of an S3 server come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CredentialsFrom {
    /// `access_key_id` and `secret_access_key` or its file.
    Settings,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    Environment,
}
