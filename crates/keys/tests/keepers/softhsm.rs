//! A token of SoftHSM2. The module is one for the whole process, and so are its tokens: each test has one by its own label.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use filmgate_keys::{Kek, Pkcs11Kek, Pkcs11Settings, SecretFile};
use tempfile::TempDir;

/// The folder of all tokens of this process, which SoftHSM2 finds by its configuration.
fn tokens() -> &'static Path {
    static TOKENS: OnceLock<PathBuf> = OnceLock::new();
    TOKENS.get_or_init(|| {
        PathBuf::from(std::env::var("SOFTHSM2_CONF").expect("set by the parent")).with_file_name("tokens")
    })
}

/// A token with one key.
pub(crate) struct Token {
    folder: TempDir,
    module: String,
    label: String,
}

impl Token {
    /// `None` where there is no SoftHSM2.
    pub(crate) fn make(label: &str) -> Option<Self> {
        let module = super::told("FILMGATE_TEST_SOFTHSM_MODULE")?;
        let token = Self { folder: tempfile::tempdir().expect("a folder"), module, label: label.to_owned() };
        token.set_pin("1234");
        token.util(&["--init-token", "--free", "--label", label, "--so-pin", "4321", "--pin", "1234"]);
        Some(token)
    }

    fn util(&self, arguments: &[&str]) {
        let done = Command::new("softhsm2-util").args(arguments).output().expect("softhsm2-util");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    pub(crate) fn set_pin(&self, pin: &str) {
        std::fs::write(self.pin_file(), format!("{pin}\n")).expect("the PIN's file");
    }

    fn pin_file(&self) -> PathBuf {
        self.folder.path().join("pin")
    }

    pub(crate) fn settings(&self, key: &str) -> Pkcs11Settings {
        Pkcs11Settings {
            module: self.module.clone().into(),
            token: self.label.clone(),
            key: key.to_owned(),
            pin: SecretFile::new(self.pin_file()),
        }
    }

    pub(crate) fn kek(&self, key: &str) -> Kek {
        Kek::Pkcs11(Box::new(Pkcs11Kek::new(self.settings(key))))
    }

    /// As if the token was pulled: its files are elsewhere.
    pub(crate) fn pull(&self) {
        std::fs::rename(tokens(), tokens().with_extension("pulled")).expect("pull the token");
        std::fs::create_dir(tokens()).expect("an empty slot");
    }

    pub(crate) fn put_back(&self) {
        std::fs::remove_dir_all(tokens()).expect("clear the slot");
        std::fs::rename(tokens().with_extension("pulled"), tokens()).expect("put the token back");
    }
}
