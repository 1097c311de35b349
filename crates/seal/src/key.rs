//! Keys: a record's own, keys that wrap others, and how one is derived from another.

use std::fmt;

use aes_gcm::{Aes256Gcm, KeyInit};
use filmgate_model::Random;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    aead::{self, NONCE_BYTES, SUITE_AES_256_GCM, TAG_BYTES},
    error::{Error, malformed},
};

/// Bytes of every key of suite 1.
pub const KEY_BYTES: usize = 32;

/// Bytes of a wrapped key: suite, nonce, sealed key, tag.
pub const WRAPPED_KEY_BYTES: usize = 1 + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// Salt of every derivation: separates this product's keys from any other use of the same secret.
const DERIVATION_SALT: &[u8] = b"filmgate";

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; KEY_BYTES]);

        impl $name {
            /// A fresh key.
            #[must_use]
            pub fn random(random: &Random) -> Self {
                Self(random.array())
            }

            /// A key from its bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
                Self(bytes)
            }

            /// Its bytes: secret, to be wrapped or used and nothing else.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }

            pub(crate) fn cipher(&self) -> Aes256Gcm {
                Aes256Gcm::new(&self.0.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

key!(
    /// The random key of one record; every chunk and the table are sealed under it.
    RecordKey
);
key!(
    /// A key that wraps other keys; derived for one purpose, never a long-lived secret itself.
    WrappingKey
);

impl WrappingKey {
    /// The wrapping key for `purpose` under `secret`; see [`derive`].
    #[must_use]
    pub fn derive(secret: &[u8; KEY_BYTES], purpose: &str, context: &[u8]) -> Self {
        Self(derive(secret, purpose, context))
    }
}

/// HKDF-SHA256 (RFC 5869): salt `filmgate`, info = purpose, a zero byte, context. The purpose must hold no zero byte.
#[must_use]
pub fn derive(secret: &[u8; KEY_BYTES], purpose: &str, context: &[u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    Hkdf::<Sha256>::new(Some(DERIVATION_SALT), secret)
        .expand_multi_info(&[purpose.as_bytes(), &[0], context], &mut key)
        .expect("32 bytes are within what HKDF-SHA256 gives");
    key
}

/// Wraps a key: suite (1 byte), random nonce (12), sealed key (32), tag (16).
///
/// `associated_data` is what the key belongs to; unwrapping needs the same.
#[must_use]
pub fn wrap_key(
    wrapping: &WrappingKey,
    key: &[u8; KEY_BYTES],
    associated_data: &[u8],
    random: &Random,
) -> Vec<u8> {
    wrap_with_nonce(wrapping, key, associated_data, random.array())
}

pub(crate) fn wrap_with_nonce(
    wrapping: &WrappingKey,
    key: &[u8; KEY_BYTES],
    associated_data: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Vec<u8> {
    let mut wrapped = Vec::with_capacity(WRAPPED_KEY_BYTES);
    wrapped.push(SUITE_AES_256_GCM);
    wrapped.extend_from_slice(&nonce);
    let start = wrapped.len();
    wrapped.extend_from_slice(key);
    aead::seal_tail(
        &wrapping.cipher(),
        nonce,
        &[&[SUITE_AES_256_GCM], associated_data].concat(),
        &mut wrapped,
        start,
    );
    wrapped
}

/// The key in `wrapped`.
///
/// # Errors
/// [`Error::Forged`] when bytes, wrapping key and associated data do not belong together, [`Error::Newer`] for an
/// unknown suite, [`Error::Malformed`] when the length is wrong.
pub fn unwrap_key(
    wrapping: &WrappingKey,
    wrapped: &[u8],
    associated_data: &[u8],
) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
    let wrong = malformed("wrapped key", "wrong length");
    let (&suite, rest) = wrapped.split_first().ok_or(wrong.clone())?;
    if suite != SUITE_AES_256_GCM {
        return Err(Error::Newer { what: "suite", number: suite.into() });
    }
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(wrong.clone())?;
    if sealed.len() != KEY_BYTES + TAG_BYTES {
        return Err(wrong);
    }
    let associated_data = [&[suite], associated_data].concat();
    let opened = Zeroizing::new(aead::open(&wrapping.cipher(), *nonce, &associated_data, sealed)?);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    key.copy_from_slice(opened.get(..KEY_BYTES).ok_or(Error::Forged)?);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_only_with_all_that_it_belongs_to() {
        let random = Random::seeded(1);
        let (wrapping, key) = (WrappingKey::random(&random), random.array());
        let wrapped = wrap_key(&wrapping, &key, b"record 1", &random);
        assert_eq!(wrapped.len(), WRAPPED_KEY_BYTES);
        assert_eq!(*unwrap_key(&wrapping, &wrapped, b"record 1").expect("opens"), key);
        assert_eq!(unwrap_key(&wrapping, &wrapped, b"record 2"), Err(Error::Forged));
        assert_eq!(unwrap_key(&WrappingKey::random(&random), &wrapped, b"record 1"), Err(Error::Forged));
        for place in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[place] ^= 1;
            assert!(unwrap_key(&wrapping, &flipped, b"record 1").is_err(), "byte {place}");
            assert!(unwrap_key(&wrapping, &wrapped[..place], b"record 1").is_err(), "cut at {place}");
        }
    }

    #[test]
    fn derived_keys_differ_by_secret_purpose_and_context() {
        let keys = [
            derive(&[1; 32], "a", b"x"),
            derive(&[2; 32], "a", b"x"),
            derive(&[1; 32], "b", b"x"),
            derive(&[1; 32], "a", b"y"),
            derive(&[1; 32], "ax", b""),
        ];
        for (place, key) in keys.iter().enumerate() {
            assert!(keys[..place].iter().all(|other| other != key));
        }
        assert_eq!(derive(&[1; 32], "a", b"x"), keys[0]);
    }

    #[test]
    fn keys_do_not_print() {
        let key = RecordKey::from_bytes([0xab; 32]);
        assert_eq!(format!("{key:?}"), "RecordKey(redacted)");
    }
}
