//! Configurations that facts cannot be gathered by.

use super::*;
use crate::config::{SourceAuth, TableBinding};
use crate::facts::testing::role;
use crate::facts::{InvalidSource, SetupError};

/// A source of `keys` that nobody asks.
fn source(keys: &[&str]) -> FactSource {
    FactSource {
        url: "https://facts.example/{repository_id}".into(),
        auth: None,
        issuers: None,
        facts: keys.iter().map(|key| (key.parse().unwrap(), format!("/{key}"))).collect(),
        timeout: Duration::from_secs(1),
        max_bytes: 1024,
        cache: Duration::ZERO,
        ca_file: None,
        allow_networks: Vec::new(),
        insecure_loopback: false,
    }
}

fn error(config: &Config) -> SetupError {
    Gatherer::new(config, Clock::manual(friday_night())).unwrap_err()
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
