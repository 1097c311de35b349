//! What a peer's certificate says of it: a fingerprint, and the common name of its subject.
//!
//! The certificate has been checked by then; this only reads two things out of it, and anything odd gives no name.

use sha2::{Digest, Sha256};

/// DER of the object identifier 2.5.4.3, commonName (RFC 5280 A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const VERSION: u8 = 0xA0;

/// A certificate a peer has shown and proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerCertificate {
    /// SHA-256 of it.
    pub(crate) fingerprint: [u8; 32],
    /// Common name of its subject; empty when there is none that can be read.
    pub(crate) common_name: String,
}

impl PeerCertificate {
    /// Of a certificate in DER.
    pub(crate) fn read(der: &[u8]) -> Self {
        let common_name = subject(der).and_then(common_name).unwrap_or_default();
        Self { fingerprint: Sha256::digest(der).into(), common_name }
    }
}

/// The subject's name (RFC 5280 4.1): after version, serial number, signature, issuer and validity.
fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let (_, whole, _) = element(certificate)?;
    let (_, mut rest, _) = element(whole)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    for _ in 0..4 {
        rest = element(rest)?.2;
    }
    let (tag, name, _) = element(rest)?;
    (tag == SEQUENCE).then_some(name)
}

fn common_name(mut name: &[u8]) -> Option<String> {
    while !name.is_empty() {
        let (tag, set, rest) = element(name)?;
        name = rest;
        let (_, pair, _) = element(set).filter(|_| tag == SET)?;
        let (tag, kind, value) = element(pair)?;
        if tag == OBJECT_IDENTIFIER && kind == COMMON_NAME {
            let (_, text, _) = element(value)?;
            return std::str::from_utf8(text)
                .ok()
                .filter(|text| !text.chars().any(char::is_control))
                .map(str::to_owned);
        }
    }
    None
}

/// Tag, content and what follows of a DER element with a tag of one byte.
pub(super) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if *first >= 0x80 {
        let count = usize::from(first & 0x7F);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, behind) = rest.split_at_checked(count)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = behind;
    }
    let (content, behind) = rest.split_at_checked(length)?;
    Some((*tag, content, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Radiology");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn the_common_name_is_found() {
        for name in [
            "CT_1",
            "放射科 CT",
            "a name of more than one hundred and twenty-seven bytes, which takes a length of \
                     two bytes in DER and so is another way through the reader of lengths",
        ] {
            assert_eq!(PeerCertificate::read(&certificate(name)).common_name, name);
        }
    }

    #[test]
    fn whatever_is_broken_gives_no_name_and_no_panic() {
        let whole = certificate("CT_1");
        for length in 0..whole.len() {
            PeerCertificate::read(&whole[..length]);
            let mut flipped = whole.clone();
            flipped[length] ^= 0x80;
            PeerCertificate::read(&flipped);
        }
        assert_eq!(PeerCertificate::read(b"no certificate").common_name, "");
    }
}
