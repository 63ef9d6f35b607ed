//! `[signing]`, and the keys that seal what it has in the store.

use secrecy::ExposeSecret;

use super::{KEY, Tree, tree};
use crate::config::KmsSettings;

const MAIN: &str = "tollgate.toml";

#[test]
fn former_key_encryption_keys_are_secrets_like_the_one_in_use() {
    let former = |list: &str| {
        let line = format!("previous_key_encryption_keys = {list}\n[sources.commits]");
        tree().edit(MAIN, "[sources.commits]", &line)
    };
    assert!(tree().clean().settings.store.previous_key_encryption_keys.is_empty());
    let two = former(&format!("[{{ env = \"KEK\" }}, {{ value = \"{KEY}\" }}]"));
    let settings = two.load().unwrap().0.settings;
    assert_eq!(settings.store.previous_key_encryption_keys.len(), 2);
    assert!(!format!("{settings:?}").contains(KEY));
    let short = former("[{ value = \"c2hvcnQ=\" }]").load().unwrap_err();
    assert!(short.iter().any(|problem| problem.code == "bad_key"));
}

/// `[signing.federation]` with this `kms`.
fn kms(kms: &str) -> Tree {
    let section = format!("[signing.federation]\nkms = {{ {kms} }}\n[sources.commits]");
    tree().edit(MAIN, "[sources.commits]", &section)
}

const TRANSIT: &str = "kind = \"vault-transit\", address = \"https://bao.example\", key = \"tollgate\", token = { env = \"KEK\" }";

#[test]
fn a_purpose_signs_by_a_kms_if_it_says_so() {
    let KmsSettings::Transit(transit) = kms(TRANSIT).clean().settings.signing.federation.unwrap();
    assert_eq!((transit.mount.as_str(), transit.key.as_str()), ("transit", "tollgate"));
    assert!(!format!("{transit:?}").contains(transit.token.expose_secret()));
    let none = tree().clean().settings.signing;
    assert!(none.federation.is_none() && none.credentials.is_none() && none.checkpoints.is_none());
}

#[test]
fn a_kms_that_is_written_wrongly_does_not_load_instead_of_falling_back_to_the_store() {
    let at = "tollgate.toml:8 signing.federation.kms";
    kms("kind = \"hsm\"").stops("unknown_word", &format!("{at}.kind"));
    kms(&TRANSIT.replace("https", "http")).stops("url_insecure", &format!("{at}.address"));
    kms(&TRANSIT.replace("\"tollgate\"", "\"a/../b\"")).stops("bad_value", &format!("{at}.key"));
    kms(&format!("{TRANSIT}, mount = \"/transit\"")).stops("bad_value", &format!("{at}.mount"));
    kms(&TRANSIT.replace("env", "envv")).load().unwrap_err();
}
