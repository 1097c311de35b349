//! Authorities and what they sign: every kind of certificate a door must tell apart, as PEM files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use super::process::finish;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    Server,
    Client,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    serial: SerialNumber,
}

impl Issued {
    /// SHA-256 of the certificate, as openssl tells it.
    pub(crate) fn fingerprint(&self) -> String {
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&self.certificate);
        let told = finish(&mut openssl, Duration::from_secs(30)).ended(0).out;
        told.trim().rsplit('=').next().expect("a fingerprint").to_owned()
    }
}

/// A hospital's own authority.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) certificate: PathBuf,
}

impl Authority {
    /// A new one that keeps its files in a folder of this name below `home`.
    pub(crate) fn new(home: &Path, name: &str) -> Self {
        let folder = home.join(name);
        std::fs::create_dir_all(&folder).expect("make a folder");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let certificate = folder.join("ca.pem");
        std::fs::write(&certificate, issuer.pem()).expect("write the authority's certificate");
        Self { folder, issuer, certificate }
    }

    /// A certificate for localhost under this common name.
    pub(crate) fn issue(&self, name: &str, usage: Usage) -> Issued {
        self.issue_with(name, usage, |_| ())
    }

    /// One whose time was over long ago.
    pub(crate) fn issue_expired(&self, name: &str, usage: Usage) -> Issued {
        self.issue_with(name, usage, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn issue_with(&self, name: &str, usage: Usage, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![match usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        // RFC 5280 4.1.2.2: positive, so its first bit is 0.
        let serial = SerialNumber::from_slice(&serial_of(name).to_be_bytes());
        params.serial_number = Some(serial.clone());
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let issued = Issued {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
            serial,
        };
        std::fs::write(&issued.certificate, certificate.pem()).expect("write a certificate");
        std::fs::write(&issued.key, key.serialize_pem()).expect("write a key");
        issued
    }

    /// The list of what it revoked.
    pub(crate) fn revoke(&self, revoked: &[&Issued]) -> PathBuf {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|issued| RevokedCertParams {
                    serial_number: issued.serial.clone(),
                    revocation_time: date_time_ymd(2024, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.folder.join("crl.pem");
        let list = list.signed_by(&self.issuer).expect("a list");
        std::fs::write(&path, list.pem().expect("PEM")).expect("write the list");
        path
    }
}

/// A number of its own for each name (FNV-1a), below 2^63.
fn serial_of(name: &str) -> u64 {
    let mixed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    mixed >> 1
}
