//! A key of keys in the transit engine of Vault or OpenBao: it wraps and unwraps there and never leaves. Both speak the same
//! HTTP; the associated data goes along, so that the server itself refuses what does not belong together.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::{Value, json};
use ureq::{
    Agent,
    http::StatusCode,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};
use zeroize::Zeroizing;

use super::{Algorithm, KekName, Provider, SecretFile, Wrapped};
use crate::{Error, key_file::Key};

const KEEPER: &str = "Vault or OpenBao";
/// An answer is a line of JSON.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Which key of which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitSettings {
    /// `https://HOST:PORT`; plain http for loopback alone.
    pub address: String,
    /// Where the engine is mounted.
    pub mount: String,
    /// The key's name; of type aes256-gcm96.
    pub key: String,
    /// The namespace, or nothing.
    pub namespace: String,
    /// Certificates the server's is checked with; none: whatever rustls has by default, which is nothing.
    pub ca_file: Option<PathBuf>,
    /// How we log in.
    pub login: TransitLogin,
    /// How long a request may take.
    pub timeout: Duration,
}

/// How we log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransitLogin {
    /// A token that somebody renews.
    Token(SecretFile),
    /// AppRole.
    AppRole {
        /// The role's id.
        role_id: String,
        /// Its secret id.
        secret_id: SecretFile,
    },
}

/// A key of keys in a transit engine.
pub struct TransitKek {
    settings: TransitSettings,
    agent: Agent,
    /// The token an AppRole login gave.
    token: Mutex<Option<Zeroizing<String>>>,
}

impl std::fmt::Debug for TransitKek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TransitKek({:?})", self.settings)
    }
}

impl TransitKek {
    /// Nothing is asked before the first use.
    ///
    /// # Errors
    /// When the file of certificates cannot be read.
    pub fn new(settings: TransitSettings) -> Result<Self, Error> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path).map_err(Error::io("read certificates", path))?;
            let roots: Vec<_> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            tls = tls.root_certs(RootCerts::new_with_certs(&roots));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Ok(Self { settings, agent: config.new_agent(), token: Mutex::default() })
    }

    pub(crate) fn name(&self, version: u32) -> KekName {
        let TransitSettings { namespace, mount, key, .. } = &self.settings;
        let name = [namespace.trim_matches('/'), mount, key].join("/");
        KekName { provider: Provider::Transit, name: name.trim_start_matches('/').to_owned(), version }
    }

    pub(crate) fn wrap(&self, key: &Key, associated_data: &[u8]) -> Result<Wrapped, Error> {
        let plain = Zeroizing::new(STANDARD.encode(key.as_slice()));
        let body =
            json!({ "plaintext": plain.as_str(), "associated_data": STANDARD.encode(associated_data) });
        let answer =
            self.ask("encrypt", &body)?.map_err(|reason| refused(reason, "see the server's policies"))?;
        let cipher = text(&answer, "ciphertext")?;
        let version = cipher.split(':').nth(1).and_then(|version| version.strip_prefix('v')?.parse().ok());
        let kek = self.name(version.ok_or_else(|| strange("a ciphertext without a version"))?);
        Ok(Wrapped { kek, algorithm: Algorithm::Transit, bytes: cipher.into_bytes() })
    }

    pub(crate) fn unwrap(&self, wrapped: &Wrapped, associated_data: &[u8]) -> Result<Option<Key>, Error> {
        let cipher = String::from_utf8_lossy(&wrapped.bytes);
        let body = json!({ "ciphertext": cipher, "associated_data": STANDARD.encode(associated_data) });
        // Refused as such: it was not made with this key, or not for this object.
        let Ok(answer) = self.ask("decrypt", &body)? else { return Ok(None) };
        let plain = Zeroizing::new(STANDARD.decode(text(&answer, "plaintext")?).unwrap_or_default());
        Ok(<[u8; 32]>::try_from(plain.as_slice()).ok().map(Zeroizing::new))
    }

    /// The answer's data; inside, why the request itself was refused (400).
    fn ask(&self, what: &str, body: &Value) -> Result<Result<Value, String>, Error> {
        let TransitSettings { mount, key, .. } = &self.settings;
        let path = format!("{mount}/{what}/{key}");
        let (mut status, mut answer) = self.post(&path, Some(&self.token()?), body)?;
        if status == StatusCode::FORBIDDEN && self.token.lock().take().is_some() {
            // The token an earlier login gave has ended.
            (status, answer) = self.post(&path, Some(&self.token()?), body)?;
        }
        let reason = || answer["errors"][0].as_str().unwrap_or("no reason given").to_owned();
        match status.as_u16() {
            200 => Ok(Ok(answer["data"].clone())),
            400 => Ok(Err(reason())),
            403 => Err(refused(
                reason(),
                "renew token or AppRole secret, or its policy: encrypt and decrypt with the key",
            )),
            404 => Err(refused(
                format!("there is no key {mount}/{key}"),
                "correct keys.transit.mount and keys.transit.key",
            )),
            // 429, 472, 473, 5xx: standby, sealed, overloaded.
            status => {
                Err(Error::KekAway { keeper: KEEPER, reason: format!("it answers {status}: {}", reason()) })
            }
        }
    }

    fn token(&self) -> Result<Zeroizing<String>, Error> {
        let (role_id, secret_id) = match &self.settings.login {
            TransitLogin::Token(file) => return file.read(),
            TransitLogin::AppRole { role_id, secret_id } => (role_id, secret_id),
        };
        if let Some(token) = &*self.token.lock() {
            return Ok(token.clone());
        }
        let secret_id = secret_id.read()?;
        let body = json!({ "role_id": role_id, "secret_id": secret_id.as_str() });
        let (status, answer) = self.post("auth/approle/login", None, &body)?;
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Error::KekAway { keeper: KEEPER, reason: format!("it answers {}", status.as_u16()) });
        }
        let Some(token) = answer["auth"]["client_token"].as_str() else {
            let advice = "correct keys.transit.role_id and the file keys.transit.secret_id_file names";
            return Err(refused("it does not accept the AppRole".to_owned(), advice));
        };
        let token = Zeroizing::new(token.to_owned());
        *self.token.lock() = Some(token.clone());
        Ok(token)
    }

    fn post(
        &self,
        path: &str,
        token: Option<&Zeroizing<String>>,
        body: &Value,
    ) -> Result<(StatusCode, Value), Error> {
        let away = |error: ureq::Error| Error::KekAway { keeper: KEEPER, reason: error.to_string() };
        let mut request =
            self.agent.post(format!("{}/v1/{path}", self.settings.address.trim_end_matches('/')));
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token.as_str());
        }
        if !self.settings.namespace.is_empty() {
            request = request.header("X-Vault-Namespace", &self.settings.namespace);
        }
        let request = request.header("content-type", "application/json");
        let mut response = request.send(body.to_string().as_bytes()).map_err(away)?;
        let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(away)?;
        let answer = Zeroizing::new(answer);
        Ok((response.status(), serde_json::from_slice(&answer).unwrap_or(Value::Null)))
    }
}

fn text(answer: &Value, field: &'static str) -> Result<String, Error> {
    answer[field].as_str().map(str::to_owned).ok_or_else(|| strange(field))
}

fn strange(what: &str) -> Error {
    Error::KekAway { keeper: KEEPER, reason: format!("its answer cannot be understood ({what})") }
}

fn refused(reason: String, advice: &'static str) -> Error {
    Error::KekRefused { keeper: KEEPER, reason, advice }
}
