//! Suite 1: AES-256-GCM with explicit nonces (NIST SP 800-38D). Suite 2 is reserved for SM4-GCM.

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, inout::InOutBuf},
};

use crate::error::Error;

/// AES-256-GCM, HKDF-SHA256, SHA-256.
pub const SUITE_AES_256_GCM: u8 = 1;

/// SM4-GCM and SM3; reserved.
pub const SUITE_SM4_GCM: u8 = 2;

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;

/// Bytes an AEAD tag adds to what is sealed.
pub(crate) const TAG_BYTES: usize = 16;

/// Refuses suites this version does not know.
pub(crate) fn known_suite(suite: u8) -> Result<(), Error> {
    if suite == SUITE_AES_256_GCM {
        Ok(())
    } else {
        Err(Error::Newer { what: "suite", number: suite.into() })
    }
}

/// Seals `buffer[start..]` in place and appends the tag.
///
/// # Panics
/// Beyond 64 GiB, which no caller comes near: what is sealed at once is bounded to a few MiB.
pub(crate) fn seal_tail(
    cipher: &Aes256Gcm,
    nonce: [u8; NONCE_BYTES],
    associated_data: &[u8],
    buffer: &mut Vec<u8>,
    start: usize,
) {
    let plain = InOutBuf::from(buffer.get_mut(start..).unwrap_or_default());
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), associated_data, plain)
        .expect("what is sealed at once is far below GCM's limit");
    buffer.extend_from_slice(&tag);
}

/// Opens sealed bytes with their tag at the end.
pub(crate) fn open(
    cipher: &Aes256Gcm,
    nonce: [u8; NONCE_BYTES],
    associated_data: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, Error> {
    let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Error::Forged)?;
    let mut plain = body.to_vec();
    cipher
        .decrypt_inout_detached(
            &nonce.into(),
            associated_data,
            InOutBuf::from(plain.as_mut_slice()),
            &(*tag).into(),
        )
        .map_err(|_| Error::Forged)?;
    Ok(plain)
}
