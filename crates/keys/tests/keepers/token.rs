//! A key of keys in a PKCS#11 token. One test at a time: SoftHSM2's module, its tokens and where it looks for them are the
//! process's, so each story runs in a process of its own.

use std::process::Command;

use filmgate_keys::{Error, Pkcs11Kek, Provider};

use crate::{Site, lives_through_an_absence, receives, softhsm::Token, told};

/// Runs a story of this file in a process whose SoftHSM2 has a folder of its own.
fn in_own_process(story: &str) -> bool {
    if std::env::var_os("SOFTHSM2_CONF").is_some() {
        return true;
    }
    if told("FILMGATE_TEST_SOFTHSM_MODULE").is_none() {
        return false;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (tokens, conf) = (folder.path().join("tokens"), folder.path().join("softhsm2.conf"));
    std::fs::create_dir(&tokens).expect("a folder of tokens");
    std::fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))
        .expect("its configuration");
    let mut own = Command::new(std::env::current_exe().expect("this test"));
    own.args(["--exact", &format!("token::{story}")]).env("SOFTHSM2_CONF", conf);
    let done = own.output().expect("run it");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    false
}

#[test]
fn a_token_keeps_the_key_of_keys() {
    if !in_own_process("a_token_keeps_the_key_of_keys") {
        return;
    }
    let Some(token) = Token::make("filmgate test") else { return };
    // Before the module looks for tokens the first time.
    let second = Token::make("second").expect("a token");
    let kek = token.kek("site");
    let site = Site::new();
    let error = site.create(&kek).err().expect("there is no key yet");
    assert!(error.is_configuration() && error.to_string().contains("filmgate key make"), "{error}");

    let keeper = Pkcs11Kek::new(token.settings("site"));
    keeper.make_key().expect("make");
    assert!(matches!(keeper.make_key(), Err(Error::KekRefused { .. })), "there is one already");
    let ring = site.create(&kek).expect("create");
    assert_eq!(ring.site_object().kek().provider, Provider::Pkcs11);
    assert_eq!(ring.site_object().kek().name, "filmgate test/site");
    receives(&ring).expect("receives");
    assert_eq!(site.open(&kek).expect("open").site_id(), ring.site_id());

    // Another key of the token, and a token's key by the same name that is not the same.
    Pkcs11Kek::new(token.settings("other")).make_key().expect("make");
    assert!(matches!(site.open(&token.kek("other")).err(), Some(Error::Wrong { .. })));
    Pkcs11Kek::new(second.settings("site")).make_key().expect("make");
    assert!(matches!(site.open(&second.kek("site")).err(), Some(Error::Wrong { .. })));

    // Whatever is changed of what the token wrapped does not open.
    let path = site.keys().join("site.key");
    let whole = std::fs::read(&path).expect("read");
    for place in [60, 70, 90, 120] {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        let (body, checksum) = changed.split_last_chunk_mut::<4>().expect("long enough");
        *checksum = crc32c::crc32c(body).to_le_bytes();
        std::fs::write(&path, &changed).expect("write");
        let error = site.open(&kek).err().expect("changed");
        assert!(error.is_permanent(), "byte {place}: {error}");
    }
    std::fs::write(&path, &whole).expect("write");
    site.open(&kek).expect("open");
}

#[test]
fn a_wrong_pin_is_tried_once() {
    if !in_own_process("a_wrong_pin_is_tried_once") {
        return;
    }
    let Some(token) = Token::make("filmgate test") else { return };
    Pkcs11Kek::new(token.settings("site")).make_key().expect("make");
    let (site, kek) = (Site::new(), token.kek("site"));
    let ring = site.create(&kek).expect("create");
    token.set_pin("9999");
    // A real token would be locked after three.
    for _ in 0..20 {
        let error = ring.renew(&kek).expect_err("a wrong PIN");
        let told = error.to_string();
        assert!(error.is_configuration() && told.contains("pin_file") && !told.contains("9999"), "{told}");
    }
    token.set_pin("1234");
    ring.renew(&kek).expect("the right one is taken up without a restart");
}

#[test]
fn a_token_that_is_pulled_costs_nothing_within_the_lease() {
    if !in_own_process("a_token_that_is_pulled_costs_nothing_within_the_lease") {
        return;
    }
    let Some(token) = Token::make("filmgate test") else { return };
    Pkcs11Kek::new(token.settings("site")).make_key().expect("make");
    let (site, kek) = (Site::new(), token.kek("site"));
    let ring = site.create(&kek).expect("create");
    lives_through_an_absence(&site, &ring, &kek, || token.pull(), || token.put_back());
}
