//! The key of keys that the settings name.

use filmgate_keys::{Kek, Pkcs11Kek, TransitKek};
use filmgate_model::Random;

use crate::{
    config::{KeyProvider, Settings},
    failure,
};

/// The key of keys; `None` for a key file that is not there yet.
pub(crate) fn open(settings: &Settings) -> anyhow::Result<Option<Kek>> {
    let keys = &settings.keys;
    match keys.provider {
        KeyProvider::File if !settings.key_file().exists() => Ok(None),
        KeyProvider::File => Ok(Some(Kek::load_file(&settings.key_file())?)),
        KeyProvider::Pkcs11 => Ok(Some(Kek::Pkcs11(Box::new(Pkcs11Kek::new(keys.pkcs11.settings()))))),
        KeyProvider::Transit => Ok(Some(Kek::Transit(Box::new(TransitKek::new(keys.transit.settings())?)))),
    }
}

/// The same, which must be there.
pub(crate) fn existing(settings: &Settings) -> anyhow::Result<Kek> {
    match open(settings)? {
        Some(kek) => Ok(kek),
        None => Ok(Kek::load_file(&settings.key_file())?),
    }
}

/// The same, made when there is none yet.
pub(crate) fn existing_or_new(settings: &Settings, random: &Random) -> anyhow::Result<Kek> {
    if let Some(kek) = open(settings)? {
        return Ok(kek);
    }
    let path = settings.key_file();
    let kek = Kek::create_file(&path, random)?;
    failure::eprint(&format!(
        "filmgate: made the key {}. Copy this off the machine: without it nothing stored here can be opened.",
        path.display()
    ));
    Ok(kek)
}
