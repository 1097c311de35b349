//! Why a handshake failed, in words that say whose turn it is. Never a key, never more of a certificate than its fault.

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

/// What the log tells of a refused peer.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "it showed no certificate".into(),
        Error::InvalidCertificate(fault) => format!("its certificate {}", certificate_words(fault)),
        Error::PeerIncompatible(lack) => {
            format!("it is too old or too strange: {}", incompatible_words(lack))
        }
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "it does not speak TLS of today".into(),
        Error::AlertReceived(alert) => format!("it refused us: {alert:?}"),
        other => other.to_string(),
    }
}

fn certificate_words(fault: &CertificateError) -> &'static str {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::Revoked => "is revoked",
        CertificateError::UnknownIssuer => "is of an authority not known here",
        CertificateError::UnknownRevocationStatus => {
            "is of an authority that the revocation list says nothing of"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not meant for this side of a connection"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::BadSignature => "is not signed by whom it names",
        _ => "cannot be believed",
    }
}

fn incompatible_words(lack: &PeerIncompatible) -> String {
    match lack {
        // Suites with a static key have no group to exchange one in.
        PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon => "no cipher suite of the profile is offered".into(),
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        // TLS 1.1 has no such extension, so that is what is missed first.
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => "neither TLS 1.2 nor 1.3 is offered".into(),
        other => format!("{other:?}"),
    }
}
