//! Tokens, the administrator and log-ins. Of every secret only the SHA-256 is kept; each is 256 random bits, so nothing
//! can be guessed from how long a look-up by digest takes. The password's hash is argon2id.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use filmgate_catalog::{Catalog, Session, Token};
use filmgate_model::{Clock, Random, Timestamp, compute};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{Asker, Grant, Grants};

/// How every token begins, so that a person and a scanner of sources know one when they see it.
const TOKEN_PREFIX: &str = "fg_";
/// Passwords hashed at a time: each takes its memory.
const HASHES_MAX: usize = 2;
/// Addresses whose failures are remembered.
const ADDRESSES_MAX: usize = 1000;
/// Failures of one address are forgotten after so long.
const FAILURES_FOR: Duration = Duration::from_secs(60);
/// How exactly it is known when a token or a log-in was used last.
const USED_WITHIN: Duration = Duration::from_secs(60);
const PASSWORD_CHARACTERS_MIN: usize = 12;
const PASSWORD_BYTES_MAX: usize = 1024;
const NAME_CHARACTERS_MAX: usize = 64;
/// Scopes and single studies of one token: every request of its bearer reads them.
const GRANTS_MAX: usize = 256;

/// Limits of log-ins.
#[derive(Debug, Clone)]
pub struct UserSettings {
    /// A log-in that was not used for so long is over.
    pub session_idle: Duration,
    /// And in any case after so long.
    pub session_lifetime: Duration,
    /// A set-up link is good for so long.
    pub set_up_lifetime: Duration,
    /// Wrong passwords that one address may try in a minute.
    pub login_failures_max: u32,
    /// Memory of one hash, in KiB.
    pub password_memory_kib: u32,
    /// Passes over it.
    pub password_passes: u32,
}

impl Default for UserSettings {
    fn default() -> Self {
        Self {
            session_idle: Duration::from_secs(30 * 60),
            session_lifetime: Duration::from_secs(12 * 3600),
            set_up_lifetime: Duration::from_secs(24 * 3600),
            login_failures_max: 5,
            // RFC 9106 4, the second recommended option.
            password_memory_kib: 64 * 1024,
            password_passes: 3,
        }
    }
}

/// What cannot be done for a user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// It makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// The password, link or token is not the right one.
    #[error("{0}")]
    Wrong(&'static str),
    /// Too many wrong ones.
    #[error("too many failures: wait a minute")]
    TooMany,
    /// The catalog.
    #[error("use the catalog")]
    Catalog(#[from] filmgate_catalog::Error),
}

/// A token to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// What it is good for.
    pub scopes: Vec<Grant>,
    /// For how long, in milliseconds; `None` is for ever.
    pub lifetime_ms: Option<u64>,
}

/// A token that was made: the one time it is told.
#[derive(Serialize)]
pub struct CreatedToken {
    /// What people call it.
    pub name: String,
    /// The token.
    pub token: String,
    /// Until when, ISO 8601.
    pub expires_at: Option<String>,
}

/// A token, for people.
#[derive(Debug, Serialize)]
pub struct TokenShown {
    name: String,
    scope: String,
    created_at: String,
    created_by: String,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

/// Everybody that may ask by a secret.
pub struct Users {
    catalog: Arc<Catalog>,
    clock: Clock,
    random: Random,
    settings: UserSettings,
    /// Digest of the secret that the command line of this machine brings.
    local: [u8; 32],
    hashing: Semaphore,
    failures: Mutex<BTreeMap<IpAddr, (u32, Timestamp)>>,
}

impl Users {
    /// Users of a site, and the secret by which the command line of this machine is known while this lives.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        clock: Clock,
        random: Random,
        settings: UserSettings,
    ) -> (Self, String) {
        let secret = secret(&random);
        let users = Self {
            catalog,
            clock,
            random,
            settings,
            local: digest(&secret),
            hashing: Semaphore::new(HASHES_MAX),
            failures: Mutex::default(),
        };
        (users, secret)
    }

    /// How log-ins are limited.
    #[must_use]
    pub fn settings(&self) -> &UserSettings {
        &self.settings
    }

    /// Whose token this is; `Nobody` when it is none, revoked or expired.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn bearer(&self, token: &str) -> Result<Asker, UserError> {
        let digest = digest(token);
        if digest == self.local {
            return Ok(Asker::CommandLine);
        }
        self.bearer_of(&digest).await
    }

    async fn bearer_of(&self, digest: &[u8; 32]) -> Result<Asker, UserError> {
        let now = self.clock.now();
        let Some(token) = self.catalog.token_of(digest, now).await? else { return Ok(Asker::Nobody) };
        if token.last_used_at.is_none_or(|last| now.since(last) >= USED_WITHIN) {
            self.catalog.token_used(&token.token_id, now).await?;
        }
        Ok(Asker::Token(token.name, Grants::parse(&token.scope)))
    }

    /// Makes a token.
    ///
    /// # Errors
    /// When the name is taken or says nothing, or the catalog cannot be used.
    pub async fn create_token(&self, new: &NewToken, by: &str) -> Result<CreatedToken, UserError> {
        let name = new.name.trim();
        if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || name.chars().any(char::is_control)
        {
            return Err(UserError::Senseless(format!(
                "a token needs a name of 1 to {NAME_CHARACTERS_MAX} characters"
            )));
        }
        if new.scopes.is_empty() {
            return Err(UserError::Senseless("a token without a scope is good for nothing".into()));
        }
        if new.scopes.len() > GRANTS_MAX {
            return Err(UserError::Senseless(format!("a token has {GRANTS_MAX} scopes and studies at most")));
        }
        let (now, text) = (self.clock.now(), format!("{TOKEN_PREFIX}{}", secret(&self.random)));
        let token = Token {
            token_id: self.random.array(),
            name: name.to_owned(),
            digest: digest(&text),
            scope: Grants::from_iter(new.scopes.iter().cloned()).to_string(),
            created_at: now,
            created_by: by.to_owned(),
            expires_at: new.lifetime_ms.map(|lifetime| now.plus(Duration::from_millis(lifetime))),
            last_used_at: None,
            revoked_at: None,
        };
        if !self.catalog.add_token(&token).await? {
            return Err(UserError::Senseless(format!(
                "a token was called {name:?} before: take another name"
            )));
        }
        tracing::info!(target: "audit", event = "token-created", by, name, scope = token.scope);
        Ok(CreatedToken {
            name: token.name,
            token: text,
            expires_at: token.expires_at.map(|at| at.to_string()),
        })
    }

    /// Every token there is or was.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn tokens(&self) -> Result<Vec<TokenShown>, UserError> {
        let shown = |token: Token| TokenShown {
            name: token.name,
            scope: token.scope,
            created_at: token.created_at.to_string(),
            created_by: token.created_by,
            expires_at: token.expires_at.map(|at| at.to_string()),
            last_used_at: token.last_used_at.map(|at| at.to_string()),
            revoked_at: token.revoked_at.map(|at| at.to_string()),
        };
        Ok(self.catalog.tokens().await?.into_iter().map(shown).collect())
    }

    /// Makes a token good for nothing, at once.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn revoke_token(&self, name: &str, by: &str) -> Result<(), UserError> {
        if !self.catalog.revoke_token(name, self.clock.now()).await? {
            return Err(UserError::Senseless(format!("no token that is good is called {name:?}")));
        }
        tracing::info!(target: "audit", event = "token-revoked", by, name);
        Ok(())
    }

    /// True when somebody has set the administrator's password.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn has_administrator(&self) -> Result<bool, UserError> {
        Ok(self.catalog.password_hash().await?.is_some())
    }

    /// The secret of a new set-up link; links before it are no good any more.
    ///
    /// # Errors
    /// When the catalog cannot be used.
    pub async fn open_set_up(&self, by: &str) -> Result<String, UserError> {
        let (secret, now) = (secret(&self.random), self.clock.now());
        self.catalog.open_set_up(&digest(&secret), now.plus(self.settings.set_up_lifetime), now).await?;
        tracing::info!(target: "audit", event = "set-up-link-made", by);
        Ok(secret)
    }

    /// Sets the administrator's password by a link, once; everybody else is logged out.
    ///
    /// # Errors
    /// When the link is not good any more, or the password too short.
    pub async fn set_up(&self, secret: &str, password: String, from: IpAddr) -> Result<(), UserError> {
        const OVER: UserError =
            UserError::Wrong("this link was used or is too old; `filmgate set-up` makes another");
        check_password(&password)?;
        self.may_try(from)?;
        let digest = digest(secret);
        if !self.catalog.is_set_up_open(&digest, self.clock.now()).await? {
            self.failed(from, "set-up");
            return Err(OVER);
        }
        let hash = self.hash(password).await?;
        if !self.catalog.set_up(&digest, &hash, self.clock.now()).await? {
            return Err(OVER);
        }
        tracing::info!(target: "audit", event = "administrator-set-up", %from);
        Ok(())
    }

    /// Logs the administrator in; what comes back is the cookie's secret.
    ///
    /// # Errors
    /// When the password is wrong, or too many were.
    pub async fn log_in(&self, password: String, from: IpAddr) -> Result<String, UserError> {
        self.may_try(from)?;
        let stored = self.catalog.password_hash().await?;
        let Some(stored) = stored else {
            return Err(UserError::Wrong("there is no administrator yet; use the set-up link"));
        };
        if !self.verify(password, stored).await? {
            self.failed(from, "log-in");
            return Err(UserError::Wrong("this is not the password"));
        }
        self.failures.lock().remove(&from);
        let secret = self.begin_session(None).await?;
        tracing::info!(target: "audit", event = "logged-in", %from);
        Ok(secret)
    }

    /// A new log-in; what comes back is the cookie's secret.
    async fn begin_session(&self, token_digest: Option<[u8; 32]>) -> Result<String, UserError> {
        let (secret, now) = (secret(&self.random), self.clock.now());
        let ends_at = now.plus(self.settings.session_lifetime);
        let session = Session { last_used_at: now, ends_at, token_digest };
        self.catalog.add_session(&digest(&secret), &session).await?;
        Ok(secret)
    }

    /// Logs the bearer of a token in, who may what it says as long as it is good; what comes back is the cookie's secret, and who
    /// that is.
    ///
    /// # Errors
    /// When the token is no good, or good for nothing that a browser shows.
    pub async fn log_in_by_token(&self, token: &str, from: IpAddr) -> Result<(String, Asker), UserError> {
        let digest = digest(token);
        let asker = self.bearer_of(&digest).await?;
        if asker == Asker::Nobody {
            self.failed(from, "token");
            return Err(UserError::Wrong("this token was revoked, is too old, or never was one"));
        }
        if !asker.readable().is_any() {
            return Err(UserError::Wrong("this token is not for reading: there is nothing to show"));
        }
        let secret = self.begin_session(Some(digest)).await?;
        tracing::info!(target: "audit", event = "logged-in", who = asker.name(), %from);
        Ok((secret, asker))
    }

    /// Whose log-in a cookie is; `Nobody` when it is over.
    ///
    /// # Errors
    /// When the catalog cannot be asked.
    pub async fn session(&self, secret: &str) -> Result<Asker, UserError> {
        let (digest, now) = (digest(secret), self.clock.now());
        let Some(session) = self.catalog.session(&digest).await? else { return Ok(Asker::Nobody) };
        let unused_for = now.since(session.last_used_at);
        if session.ends_at <= now || unused_for >= self.settings.session_idle {
            return Ok(Asker::Nobody);
        }
        if unused_for >= USED_WITHIN.min(self.settings.session_idle / 4) {
            self.catalog.session_used(&digest, now).await?;
        }
        match session.token_digest {
            Some(token) => self.bearer_of(&token).await,
            None => Ok(Asker::Administrator),
        }
    }

    /// Ends a log-in.
    ///
    /// # Errors
    /// When the catalog cannot be used.
    pub async fn log_out(&self, secret: &str) -> Result<(), UserError> {
        tracing::info!(target: "audit", event = "logged-out");
        Ok(self.catalog.end_session(&digest(secret)).await?)
    }

    fn may_try(&self, from: IpAddr) -> Result<(), UserError> {
        let now = self.clock.now();
        let mut failures = self.failures.lock();
        failures.retain(|_, (_, last)| now.since(*last) < FAILURES_FOR);
        let tried = failures.get(&from).map_or(0, |(count, _)| *count);
        // With the table full, an address that is not in it waits: whoever filled it did not mean well.
        if tried >= self.settings.login_failures_max || (tried == 0 && failures.len() >= ADDRESSES_MAX) {
            return Err(UserError::TooMany);
        }
        // Counted before the answer is known, so that many tries at once are as many.
        failures.insert(from, (tried + 1, now));
        Ok(())
    }

    fn failed(&self, from: IpAddr, what: &'static str) {
        tracing::warn!(target: "audit", event = "refused", what, %from, "a wrong password, link or token");
    }

    async fn hash(&self, password: String) -> Result<String, UserError> {
        let (argon2, salt) = (self.argon2()?, self.random.array::<16>());
        let _turn = self.turn().await?;
        let hashed = compute(move || {
            let hash: Result<PasswordHash, _> = argon2.hash_password_with_salt(password.as_bytes(), &salt);
            hash.map(|hash| hash.to_string())
        });
        hashed
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| UserError::Senseless("the password cannot be hashed".into()))
    }

    async fn verify(&self, password: String, stored: String) -> Result<bool, UserError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let _turn = self.turn().await?;
        let verified = compute(move || {
            let hash = PasswordHash::new(&stored).ok();
            hash.is_some_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        Ok(verified.await.unwrap_or(false))
    }

    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, UserError> {
        self.hashing.acquire().await.map_err(|_| UserError::TooMany)
    }

    fn argon2(&self) -> Result<Argon2<'static>, UserError> {
        let params = Params::new(self.settings.password_memory_kib, self.settings.password_passes, 1, None);
        let params = params.map_err(|error| UserError::Senseless(error.to_string()))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

fn check_password(password: &str) -> Result<(), UserError> {
    let long_enough =
        password.chars().count() >= PASSWORD_CHARACTERS_MIN && password.len() <= PASSWORD_BYTES_MAX;
    if long_enough {
        return Ok(());
    }
    Err(UserError::Senseless(format!("a password has at least {PASSWORD_CHARACTERS_MIN} characters")))
}

/// 256 random bits.
fn secret(random: &Random) -> String {
    random.array::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
