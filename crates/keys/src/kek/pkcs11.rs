//! A key of keys in a hardware security module, reached by PKCS#11: an AES-256 key that was never outside of it.
//!
//! Each use opens a session of its own and closes it, so that a token that was pulled and put back serves again. A PIN that
//! was refused is never tried a second time: tokens lock themselves after a few wrong ones.

use std::path::PathBuf;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error as TokenError, RvError},
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::{AuthPin, Ulong},
};
use filmgate_model::Random;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::{Algorithm, KekName, Provider, SecretFile, Wrapped};
use crate::{Error, key_file::Key};

const KEEPER: &str = "PKCS#11 token";
const IV_BYTES: usize = 12;
const TAG_BITS: u64 = 128;
const KEY_BYTES: usize = 32;

/// Which key of which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pkcs11Settings {
    /// The module's shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The key's label.
    pub key: String,
    /// The user's PIN.
    pub pin: SecretFile,
}

/// A key of keys in a token.
pub struct Pkcs11Kek {
    settings: Pkcs11Settings,
    module: Mutex<Option<Pkcs11>>,
    /// The PIN the token refused.
    refused: Mutex<Option<Zeroizing<String>>>,
}

impl std::fmt::Debug for Pkcs11Kek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pkcs11Kek({:?})", self.settings)
    }
}

impl Pkcs11Kek {
    /// Nothing is asked before the first use.
    #[must_use]
    pub fn new(settings: Pkcs11Settings) -> Self {
        Self { settings, module: Mutex::default(), refused: Mutex::default() }
    }

    /// Makes the key in the token, there for good and never to leave it.
    ///
    /// # Errors
    /// [`Error::KekRefused`] when there is one by that name already.
    pub fn make_key(&self) -> Result<(), Error> {
        self.with_session(true, |session| {
            if !session.find_objects(&self.template()).map_err(told)?.is_empty() {
                return Err(refused(
                    format!("there is a key {} already", self.settings.key),
                    "use it, or another name",
                ));
            }
            let mut template = self.template();
            template.extend([
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::ValueLen(Ulong::from(KEY_BYTES as u64)),
            ]);
            template.retain(|attribute| !matches!(attribute, Attribute::Class(_)));
            session.generate_key(&Mechanism::AesKeyGen, &template).map_err(told).map(drop)
        })
    }

    pub(crate) fn name(&self) -> KekName {
        let name = format!("{}/{}", self.settings.token, self.settings.key);
        KekName { provider: Provider::Pkcs11, name, version: 1 }
    }

    pub(crate) fn wrap(&self, key: &Key, associated_data: &[u8], random: &Random) -> Result<Wrapped, Error> {
        self.with_session(false, |session| {
            let handle = self.key(session)?;
            let mut iv: [u8; IV_BYTES] = random.array();
            let sealed = {
                let gcm = GcmParams::new(&mut iv, associated_data, TAG_BITS.into()).map_err(told)?;
                session.encrypt(&Mechanism::AesGcm(gcm), handle, key.as_slice()).map_err(told)?
            };
            // Some modules choose the nonce themselves and leave it where ours was.
            let bytes = [iv.as_slice(), &sealed].concat();
            Ok(Wrapped { kek: self.name(), algorithm: Algorithm::Pkcs11AesGcm, bytes })
        })
    }

    pub(crate) fn unwrap(&self, wrapped: &Wrapped, associated_data: &[u8]) -> Result<Option<Key>, Error> {
        let Some((iv, sealed)) = wrapped.bytes.split_first_chunk::<IV_BYTES>() else { return Ok(None) };
        self.with_session(false, |session| {
            let handle = self.key(session)?;
            let mut iv = *iv;
            let gcm = GcmParams::new(&mut iv, associated_data, TAG_BITS.into()).map_err(told)?;
            match session.decrypt(&Mechanism::AesGcm(gcm), handle, sealed) {
                Ok(plain) => {
                    Ok(<[u8; KEY_BYTES]>::try_from(Zeroizing::new(plain).as_slice()).ok().map(Zeroizing::new))
                }
                Err(TokenError::Pkcs11(
                    RvError::EncryptedDataInvalid
                    | RvError::EncryptedDataLenRange
                    | RvError::DataInvalid
                    | RvError::GeneralError,
                    _,
                )) => Ok(None),
                Err(error) => Err(told(error)),
            }
        })
    }

    /// The key, if it is the one kind that may be used: AES-256, made in the token, never to leave it.
    fn key(&self, session: &Session) -> Result<ObjectHandle, Error> {
        let found = session.find_objects(&self.template()).map_err(told)?;
        let [handle] = found[..] else {
            let reason = format!("it holds {} AES keys named {}", found.len(), self.settings.key);
            return Err(refused(reason, "make one with `filmgate key make`, or correct keys.pkcs11.key"));
        };
        let asked = [AttributeType::NeverExtractable, AttributeType::ValueLen];
        for attribute in session.get_attributes(handle, &asked).map_err(told)? {
            let fits = match attribute {
                Attribute::NeverExtractable(never) => never,
                Attribute::ValueLen(bytes) => u64::from(bytes) == KEY_BYTES as u64,
                _ => true,
            };
            if !fits {
                let reason = format!("key {} could leave the token, or is no AES-256 key", self.settings.key);
                return Err(refused(reason, "make another with `filmgate key make`"));
            }
        }
        Ok(handle)
    }

    fn template(&self) -> Vec<Attribute> {
        vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(self.settings.key.as_bytes().to_vec()),
        ]
    }

    /// Runs `work` in a session; whatever fails takes the module along, and the next use begins anew.
    fn with_session<T>(
        &self,
        write: bool,
        work: impl FnOnce(&Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut module = self.module.lock();
        let done = self.log_in(&mut module, write).and_then(|session| work(&session));
        if matches!(done, Err(Error::KekAway { .. }))
            && let Some(broken) = module.take()
        {
            // It may be beyond that already.
            drop(broken.finalize());
        }
        done
    }

    fn log_in(&self, module: &mut Option<Pkcs11>, write: bool) -> Result<Session, Error> {
        let module = match module {
            Some(module) => module,
            empty => empty.insert(self.load()?),
        };
        let slot = self.slot(module)?;
        let session = if write { module.open_rw_session(slot) } else { module.open_ro_session(slot) };
        let session = session.map_err(told)?;
        let pin = self.settings.pin.read()?;
        let advice = "correct keys.pkcs11.pin_file; it is not tried again before, for a token locks itself";
        if self.refused.lock().as_ref() == Some(&pin) {
            return Err(refused("the PIN was refused".to_owned(), advice));
        }
        match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            Ok(()) | Err(TokenError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(TokenError::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => {
                *self.refused.lock() = Some(pin);
                Err(refused("the PIN is wrong".to_owned(), advice))
            }
            Err(TokenError::Pkcs11(RvError::PinLocked, _)) => {
                Err(refused("the PIN is locked".to_owned(), "have the security officer set it anew"))
            }
            Err(error) => Err(told(error)),
        }
    }

    fn load(&self) -> Result<Pkcs11, Error> {
        let module = Pkcs11::new(&self.settings.module).map_err(|error| {
            refused(format!("{}: {error}", self.settings.module.display()), "correct keys.pkcs11.module")
        })?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(TokenError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
            Err(error) => Err(told(error)),
        }
    }

    fn slot(&self, module: &Pkcs11) -> Result<Slot, Error> {
        for slot in module.get_slots_with_token().map_err(told)? {
            if module.get_token_info(slot).is_ok_and(|info| info.label().trim_end() == self.settings.token) {
                return Ok(slot);
            }
        }
        let reason = format!("there is no token {} (keys.pkcs11.token)", self.settings.token);
        Err(Error::KekAway { keeper: KEEPER, reason })
    }
}

fn refused(reason: String, advice: &'static str) -> Error {
    Error::KekRefused { keeper: KEEPER, reason, advice }
}

/// What is not told apart may pass: the module is loaded anew and asked again.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn told(error: TokenError) -> Error {
    Error::KekAway { keeper: KEEPER, reason: error.to_string() }
}
