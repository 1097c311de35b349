//! The one profile of every TLS connection.

use std::sync::Arc;

use rustls::{
    CipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    version::{TLS12, TLS13},
};

/// TLS 1.2 shall be there, 1.3 may; nothing older shall be negotiated (PS3.15 B.12, RFC 8996).
pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Of TLS 1.2, the suites RFC 9325 4.2 recommends. They have what B.12 asks for: ephemeral keys and AEAD. Of TLS 1.3,
/// those of RFC 8446 9.1.
const SUITES: [CipherSuite; 7] = [
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// The cryptography behind it: aws-lc-rs, with these suites only.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| SUITES.contains(&suite.suite()));
    Arc::new(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_the_profile_is_there_and_no_other() {
        let provider = provider();
        let offered: Vec<CipherSuite> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
        assert_eq!(offered.len(), SUITES.len());
        assert!(SUITES.iter().all(|suite| offered.contains(suite)));
    }
}
