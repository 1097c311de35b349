//! The key of keys in a token (PKCS#11): made by one command, pulled while a gateway receives, and put back.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::keys::outlives_its_keeper;
use crate::support::files_below;
use crate::support::gateway::Home;
use crate::support::process::finish;
use crate::support::servers::told;

const LABEL: &str = "filmgate story";

/// A SoftHSM2 of one's own. Its module looks for tokens where a variable says, so each gateway has its own ones.
struct Token {
    module: String,
    tokens: PathBuf,
    conf: PathBuf,
    pin: PathBuf,
}

impl Token {
    /// `None` where there is no SoftHSM2.
    fn make(home: &Home) -> Option<Self> {
        let module = told("FILMGATE_TEST_SOFTHSM_MODULE")?;
        let folder = home.path().join("softhsm");
        let token = Self {
            module,
            tokens: folder.join("tokens"),
            conf: folder.join("softhsm2.conf"),
            pin: folder.join("pin"),
        };
        fs::create_dir_all(&token.tokens).expect("a folder of tokens");
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", token.tokens.display());
        fs::write(&token.conf, conf).expect("its configuration");
        fs::write(&token.pin, "1234\n").expect("the PIN's file");
        let mut util = Command::new("softhsm2-util");
        util.args(["--init-token", "--free", "--label", LABEL, "--so-pin", "4321", "--pin", "1234"]);
        finish(util.env("SOFTHSM2_CONF", &token.conf), Duration::from_secs(30)).ended(0);
        Some(token)
    }

    fn keeps_the_key_of(&self, home: Home) -> Home {
        home.with_variable("SOFTHSM2_CONF", self.conf.display())
            .set("KEYS__PROVIDER", "pkcs11")
            .set("KEYS__PKCS11__MODULE", &self.module)
            .set("KEYS__PKCS11__TOKEN", LABEL)
            .set("KEYS__PKCS11__KEY", "site")
            .set("KEYS__PKCS11__PIN_FILE", self.pin.display())
    }

    /// Its files are elsewhere.
    fn pull(&self) {
        fs::rename(&self.tokens, self.tokens.with_extension("pulled")).expect("pull the token");
        fs::create_dir(&self.tokens).expect("an empty slot");
    }

    fn put_back(&self) {
        fs::remove_dir_all(&self.tokens).expect("clear the slot");
        fs::rename(self.tokens.with_extension("pulled"), &self.tokens).expect("put the token back");
    }
}

/// The key is made once and never leaves; a gateway that finds none says how to make it, and makes nothing else.
#[test]
fn receiving_outlives_a_token_that_is_pulled_for_its_lease() {
    let home = Home::new();
    let Some(token) = Token::make(&home) else { return };
    let home = token
        .keeps_the_key_of(home)
        .set("KEYS__LEASE_MS", 20_000)
        .set("KEYS__RETRY_DELAY_MIN_MS", 50)
        .set("KEYS__RETRY_DELAY_MAX_MS", 500);
    let none = home.run(&["serve", "--json"]).ended(64);
    assert!(none.err.contains("filmgate key make"), "{}", none.err);
    assert!(files_below(&home.bucket_keys_dir()).is_empty(), "nothing was made");
    assert_eq!(home.run(&["key", "make"]).ended(0).out.trim(), "made");
    home.run(&["key", "make"]).ended(64);

    outlives_its_keeper(&home, || token.pull(), || token.put_back());

    token.put_back();
    let keeper = home.run(&["key", "status", "--json"]).ended(0).json()["keeper"].clone();
    assert!(keeper.as_str().is_some_and(|keeper| keeper.contains("filmgate story/site")), "{keeper}");
    assert!(!home.key_path().exists(), "no key file was made beside it");
    // Another machine with the same token: the bucket comes back.
    fs::remove_dir_all(home.data_dir()).expect("lose the machine");
    assert_eq!(home.run(&["rebuild", "--json"]).ended(0).json()["instances"], 4);
    home.run(&["verify", "--deep", "--json"]).ended(0);
}
