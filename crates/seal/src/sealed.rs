//! Bytes sealed whole: what a log batch or a book export holds. Records and packs are sealed in pieces instead.

use filmgate_model::Random;
use zeroize::Zeroizing;

use crate::{
    aead::{self, NONCE_BYTES, SUITE_AES_256_GCM, TAG_BYTES},
    error::{Error, malformed},
    key::WrappingKey,
};

/// Bytes that sealing adds: suite, nonce, tag.
pub const SEALED_EXTRA_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;

/// Seals bytes: suite (1 byte), random nonce (12), sealed bytes, tag (16). Opening needs the same associated data.
#[must_use]
pub fn seal_bytes(key: &WrappingKey, plain: &[u8], associated_data: &[u8], random: &Random) -> Vec<u8> {
    let nonce: [u8; NONCE_BYTES] = random.array();
    let mut sealed = Vec::with_capacity(plain.len() + SEALED_EXTRA_BYTES);
    sealed.push(SUITE_AES_256_GCM);
    sealed.extend_from_slice(&nonce);
    let start = sealed.len();
    sealed.extend_from_slice(plain);
    let bound = [&[SUITE_AES_256_GCM], associated_data].concat();
    aead::seal_tail(&key.cipher(), nonce, &bound, &mut sealed, start);
    sealed
}

/// The bytes in `sealed`.
///
/// # Errors
/// [`Error::Forged`] when bytes, key and associated data do not belong together, [`Error::Newer`] for an unknown suite,
/// [`Error::Malformed`] when they are too short.
pub fn open_bytes(
    key: &WrappingKey,
    sealed: &[u8],
    associated_data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let short = malformed("sealed bytes", "end early");
    let (&suite, rest) = sealed.split_first().ok_or(short.clone())?;
    aead::known_suite(suite)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(short)?;
    let bound = [&[suite], associated_data].concat();
    Ok(Zeroizing::new(aead::open(&key.cipher(), *nonce, &bound, sealed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_open_only_whole_and_with_what_they_are_bound_to() {
        let random = Random::seeded(1);
        let key = WrappingKey::random(&random);
        let sealed = seal_bytes(&key, b"twelve facts", b"place 1", &random);
        assert_eq!(sealed.len(), 12 + SEALED_EXTRA_BYTES);
        assert_eq!(open_bytes(&key, &sealed, b"place 1").expect("opens").as_slice(), b"twelve facts");
        assert_eq!(open_bytes(&key, &sealed, b"place 2"), Err(Error::Forged));
        for place in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[place] ^= 1;
            assert!(open_bytes(&key, &flipped, b"place 1").is_err(), "byte {place}");
            assert!(open_bytes(&key, &sealed[..place], b"place 1").is_err(), "cut at {place}");
        }
    }
}
