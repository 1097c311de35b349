//! A key of keys in the transit engine of OpenBao.

use filmgate_keys::{Error, Provider, SecretFile, TransitLogin};
use serde_json::json;

use crate::{
    Site,
    bao::{Bao, kek},
    lives_through_an_absence, receives,
};

#[test]
fn a_server_keeps_the_key_of_keys() {
    let Some(bao) = Bao::start() else { return };
    let (site, keeper) = (Site::new(), bao.kek());
    let ring = site.create(&keeper).expect("create");
    let name = ring.site_object().kek().clone();
    assert_eq!((name.provider, name.name.as_str(), name.version), (Provider::Transit, "transit/filmgate", 1));
    receives(&ring).expect("receives");

    // Rotated at the server: what is there still opens, by its version.
    bao.must("POST", "transit/keys/filmgate/rotate", &json!({}));
    assert_eq!(site.open(&keeper).expect("open").site_id(), ring.site_id());
    let second = Site::new();
    assert_eq!(second.create(&keeper).expect("create").site_object().kek().version, 2);
    // The server forgets the old version.
    bao.must("POST", "transit/keys/filmgate/config", &json!({ "min_decryption_version": 2 }));
    let error = site.open(&keeper).err().expect("forgotten");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    bao.must("POST", "transit/keys/filmgate/config", &json!({ "min_decryption_version": 1 }));
    site.open(&keeper).expect("open");

    // Another key; and one site's object under another's name, which the server refuses by the associated data.
    bao.must("POST", "transit/keys/other", &json!({}));
    let other = kek(filmgate_keys::TransitSettings { key: "other".to_owned(), ..bao.settings() });
    assert!(matches!(site.open(&other).err(), Some(Error::Wrong { .. })));
    let missing = kek(filmgate_keys::TransitSettings { key: "none".to_owned(), ..bao.settings() });
    let error = Site::new().create(&missing);
    // Encrypting under a name makes a key where the policy lets one, as root's does.
    assert!(error.is_ok() || matches!(error, Err(Error::KekRefused { .. })));
    let path = site.keys().join("site.key");
    let mut moved = std::fs::read(&path).expect("read");
    moved[7] ^= 1;
    let (body, checksum) = moved.split_last_chunk_mut::<4>().expect("long enough");
    *checksum = crc32c::crc32c(body).to_le_bytes();
    std::fs::write(&path, &moved).expect("write");
    assert!(matches!(site.open(&keeper).err(), Some(Error::Damaged { .. })), "bound to its site");
}

#[test]
fn an_approle_logs_in_and_a_refusal_says_what_to_do() {
    let Some(bao) = Bao::start() else { return };
    bao.must("POST", "sys/auth/approle", &json!({ "type": "approle" }));
    let policy = r#"path "transit/encrypt/filmgate" { capabilities = ["update"] }
        path "transit/decrypt/filmgate" { capabilities = ["update"] }"#;
    bao.must("PUT", "sys/policies/acl/filmgate", &json!({ "policy": policy }));
    let role = json!({ "token_policies": "filmgate", "token_ttl": "1h" });
    bao.must("POST", "auth/approle/role/filmgate", &role);
    let role_id =
        bao.must("GET", "auth/approle/role/filmgate/role-id", &json!(null))["data"]["role_id"].clone();
    let secret =
        bao.must("POST", "auth/approle/role/filmgate/secret-id", &json!({}))["data"]["secret_id"].clone();
    let file = bao.path("secret-id");
    std::fs::write(&file, secret.as_str().expect("a secret id")).expect("its file");
    let login = TransitLogin::AppRole {
        role_id: role_id.as_str().expect("a role id").to_owned(),
        secret_id: SecretFile::new(&file),
    };
    let settings = filmgate_keys::TransitSettings { login, ..bao.settings() };
    let (site, keeper) = (Site::new(), kek(settings.clone()));
    let ring = site.create(&keeper).expect("create");

    // Every token is revoked: it logs in again by itself.
    bao.must("PUT", "sys/leases/revoke-prefix/auth/approle/login", &json!({}));
    ring.renew(&keeper).expect("logs in again");

    std::fs::write(&file, "not-a-secret-id").expect("its file");
    let told = site.open(&kek(settings)).err().expect("refused");
    assert!(told.is_configuration() && told.to_string().contains("keys.transit"), "{told}");
    assert!(!told.to_string().contains("not-a-secret-id"), "{told}");

    std::fs::write(bao.path("token"), "s.wrong\n").expect("a wrong token");
    let error = site.open(&bao.kek()).err().expect("refused");
    assert!(matches!(error, Error::KekRefused { .. }) && error.to_string().contains("policy"), "{error}");
    std::fs::remove_file(bao.path("token")).expect("lose the token");
    assert!(matches!(site.open(&bao.kek()).err(), Some(Error::Missing { what: "secret file", .. })));
}

#[test]
fn a_server_that_stops_costs_nothing_within_the_lease() {
    let Some(bao) = Bao::start() else { return };
    let (site, keeper) = (Site::new(), bao.kek());
    let ring = site.create(&keeper).expect("create");
    let come = || {
        bao.start_again();
        let error = ring.renew(&keeper).expect_err("it is sealed");
        assert!(matches!(error, Error::KekAway { .. }), "{error}");
        bao.unseal();
    };
    lives_through_an_absence(&site, &ring, &keeper, || bao.stop(), come);
}
