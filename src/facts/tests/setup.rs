//! Configurations that facts cannot be gathered by.

use super::*;
use crate::config::{
    Algorithm, AttributeRule, DeclaredKey, DeclaredType, Issuer, KeySource, Profile, Replay, SourceAuth,
    TableBinding,
};
use crate::facts::testing::role;
use crate::facts::{Collision, InvalidSource, SetupError};

/// A source of `keys` that nobody asks.
fn source(keys: &[&str]) -> FactSource {
    FactSource {
        url: "https://facts.example/{repository_id}".into(),
        auth: None,
        facts: keys.iter().map(|key| (key.parse().unwrap(), format!("/{key}"))).collect(),
        timeout: Duration::from_secs(1),
        max_bytes: 1024,
        cache: Duration::ZERO,
        allow_networks: Vec::new(),
        insecure_loopback: false,
    }
}

fn declaring(key: &str) -> Role {
    let spec = DeclaredKey { kind: DeclaredType::Boolean, required: false, one_of: None };
    let mut role = role();
    role.declared = [(key.parse().unwrap(), spec)].into();
    role
}

fn error(config: &Config) -> SetupError {
    Gatherer::new(config, Clock::manual(friday_night())).unwrap_err()
}

fn collides(role: Role, sources: &[(&str, &[&str])]) -> String {
    let sources = sources.iter().map(|(name, keys)| ((*name).to_owned(), source(keys))).collect();
    match error(&config(role, sources)) {
        SetupError::Collision(Collision::Fact { key, .. }) => key.to_string(),
        other => panic!("{other}"),
    }
}

#[test]
fn p_12_a_declared_key_cannot_stand_in_for_a_source() {
    // Not even for a role that does not ask the source: the key means the same to every policy.
    let sources: &[(&str, &[&str])] = &[("commits", &["commit_signed"])];
    assert_eq!(collides(declaring("commit_signed"), sources), "commit_signed");
}

#[test]
fn p_06_neither_sources_nor_callers_can_fill_what_tollgate_sets() {
    for key in ["time", "source_ip", "requested_ttl", "branch", "environment"] {
        assert_eq!(collides(declaring(key), &[]), key);
        assert_eq!(collides(role(), &[("evil", &[key])]), key);
    }
}

#[test]
fn p_06_an_issuer_cannot_give_an_attribute_that_tollgate_sets() {
    let mut config = config(role(), BTreeMap::new());
    config.issuers.insert("people".parse().unwrap(), Arc::new(issuer("trust")));
    assert!(matches!(error(&config), SetupError::Collision(Collision::Attribute { .. })));
    config.issuers.insert("people".parse().unwrap(), Arc::new(issuer("on_call")));
    gatherer(&config);
}

/// An issuer entry whose only extra attribute is `attribute`.
fn issuer(attribute: &str) -> Issuer {
    Issuer {
        name: "people".parse().unwrap(),
        url: "https://login.example".parse().unwrap(),
        audience: "https://tollgate.example".into(),
        audience_list: false,
        profile: Profile::GitHub,
        keys: KeySource::Discovery { jwks_hosts: Vec::new() },
        algorithms: vec![Algorithm::Es256],
        require: Vec::new(),
        tenant: AttributeRule::Constant(text("default")),
        attributes: [(attribute.parse().unwrap(), AttributeRule::Constant(text("trusted")))].into(),
        replay: Replay::Once,
        max_age: Duration::from_mins(10),
        skew: Duration::from_secs(30),
        allow_networks: Vec::new(),
        insecure_loopback: false,
    }
}

#[test]
fn two_sources_of_one_role_cannot_share_a_key_but_two_roles_may_ask_differently() {
    let sources: &[(&str, &[&str])] = &[("github", &["commit_signed"]), ("gitlab", &["commit_signed"])];
    let mut both = role();
    both.sources = vec!["github".into(), "gitlab".into()];
    assert_eq!(collides(both, sources), "commit_signed");
    let mut one = role();
    one.sources = vec!["gitlab".into()];
    let sources = sources.iter().map(|(name, keys)| ((*name).to_owned(), source(keys))).collect();
    gatherer(&config(one, sources));
}

#[test]
fn names_that_lead_nowhere_are_refused() {
    let mut dangling = role();
    dangling.sources = vec!["commits".into()];
    assert!(matches!(error(&config(dangling, BTreeMap::new())), SetupError::NoSource { .. }));
    let mut dangling = role();
    dangling.table = Some(TableBinding { table: "t".into(), attribute: "repository_id".into() });
    assert!(matches!(error(&config(dangling, BTreeMap::new())), SetupError::NoTable { .. }));
    let mut without_target = config(role(), BTreeMap::new());
    without_target.targets.clear();
    assert!(matches!(error(&without_target), SetupError::NoTarget { .. }));
}

#[test]
fn sources_that_cannot_work_are_refused_and_name_no_secret() {
    let broken = |change: fn(&mut FactSource)| {
        let mut source = source(&["a"]);
        change(&mut source);
        match error(&config(role(), [("s".to_owned(), source)].into())) {
            SetupError::Source { source, .. } => source,
            other => panic!("{other}"),
        }
    };
    assert!(matches!(broken(|s| s.url = "https://{branch}.example/".into()), InvalidSource::Url(_)));
    assert!(matches!(
        broken(|s| s.facts = [("a".parse().unwrap(), "a".to_owned())].into()),
        InvalidSource::Pointer(_)
    ));
    let header = broken(|s| {
        s.auth = Some(SourceAuth { header: "x-key".into(), value: "sentinel\r\nevil: 1".to_owned().into() });
    });
    assert!(matches!(header, InvalidSource::Header));
    assert!(!format!("{header:?} {header}").contains("sentinel"));
}

#[test]
fn s_01_the_secret_of_a_source_is_in_no_debug_output() {
    let mut secret = source(&["a"]);
    let value = "sentinel".to_owned().into();
    secret.auth = Some(SourceAuth { header: "authorization".into(), value });
    let mut role = role();
    role.sources = vec!["s".into()];
    let gatherer = gatherer(&config(role, [("s".to_owned(), secret)].into()));
    assert!(!format!("{gatherer:?}").contains("sentinel"));
}
