//! What is stated of content that is sent, so that a server can refuse it when it arrives changed. Some heed the MD5 and
//! not the SHA-256, some both, some neither: both are stated until a probe saw the SHA-256 heeded, and neither is trusted
//! unless a probe saw it work. Headers are signed and bodies are not: that would be a third digest, here and there.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::{Error, blocking::blocking};

/// Digests of content, as headers carry them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksums {
    pub(super) md5: Option<String>,
    pub(super) sha256: String,
    pub(super) sha256_raw: [u8; 32],
}

impl Checksums {
    /// Digests content on a thread that may block; the MD5 only when it is wanted.
    pub(super) async fn of(content: &Bytes, with_md5: bool) -> Result<Self, Error> {
        let content = content.clone();
        blocking(move || Self { md5: with_md5.then(|| md5_of(&content)), ..Self::sha256_of(&content) }).await
    }

    /// Both digests, here and now, for little content.
    pub(super) fn now(content: &[u8]) -> Self {
        Self { md5: Some(md5_of(content)), ..Self::sha256_of(content) }
    }

    fn sha256_of(content: &[u8]) -> Self {
        let sha256_raw: [u8; 32] = Sha256::digest(content).into();
        Self { md5: None, sha256: STANDARD.encode(sha256_raw), sha256_raw }
    }
}

fn md5_of(content: &[u8]) -> String {
    STANDARD.encode(Md5::digest(content))
}
