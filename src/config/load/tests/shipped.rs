//! The configuration in the repository.

use std::path::Path;

use super::KEY;
use crate::config::{Config, KeySource, ProviderRole};

fn shipped() -> Config {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let environment = [("TOLLGATE_KEY_ENCRYPTION_KEY".to_owned(), KEY.to_owned())];
    let (config, problems) =
        Config::load(&directory, environment).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(problems.is_empty(), "{problems}");
    config
}

#[test]
fn shipped_files_load_without_a_word() {
    let config = shipped();
    let roles: Vec<_> = config.roles.keys().map(crate::domain::RoleName::as_str).collect();
    assert_eq!(
        roles,
        [
            "admin/rotate-keys",
            "critical/payments",
            "debug/on-call",
            "deploy/preview",
            "deploy/production",
            "mesh/reports",
            "vault/app-secrets",
        ]
    );
    assert_eq!(config.issuers.len(), 6);
    let bundles = config.issuers.iter().filter(|(_, issuer)| matches!(issuer.keys, KeySource::Bundle(_)));
    assert_eq!(bundles.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["mesh"]);
    assert_eq!(config.tables["repositories"].rows.len(), 2);
}

#[test]
fn shipped_roles_show_every_provider_and_keep_their_promises() {
    let config = shipped();
    let provider = |name: &str| &config.roles[name].provider;
    assert!(matches!(provider("deploy/production"), ProviderRole::Aws(_)));
    assert!(matches!(provider("vault/app-secrets"), ProviderRole::Vault(_)));
    assert!(matches!(provider("deploy/preview"), ProviderRole::Jwt(_)));
    assert!(config.roles["debug/on-call"].ttl.max.as_secs() <= 30 * 60);
    assert!(config.roles["critical/payments"].declared["ticket"].required);
    assert!(config.roles["admin/rotate-keys"].declared["annotation"].required);
}
