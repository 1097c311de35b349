//! What is stated of content that is sent, so that a server can refuse it when it arrives changed. Some heed the MD5 and
//! not the SHA-256, some both, some neither: both are stated, and neither is trusted unless a probe saw it work.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::{Error, blocking::blocking};

/// Digests of content, as headers carry them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksums {
    pub(super) md5: String,
    pub(super) sha256: String,
    pub(super) sha256_raw: [u8; 32],
}

impl Checksums {
    /// Digests content on a thread that may block.
    pub(super) async fn of(content: &Bytes) -> Result<Self, Error> {
        let content = content.clone();
        blocking(move || Self::now(&content)).await
    }

    /// The same here and now, for little content.
    pub(super) fn now(content: &[u8]) -> Self {
        let sha256_raw: [u8; 32] = Sha256::digest(content).into();
        Self { md5: STANDARD.encode(Md5::digest(content)), sha256: STANDARD.encode(sha256_raw), sha256_raw }
    }
}
