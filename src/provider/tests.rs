//! The registry: which provider a grant goes to, and what it does where role and target do not fit.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::testing::{
    NOW, Stub, answer, aws_role, aws_scope, aws_target, grant_of, jwt_grant, jwt_target, keyring, now,
    vault_grant, vault_role, vault_settings, vault_target,
};
use std::path::PathBuf;

use super::*;
use crate::config::{
    AuditSettings, AwsAccess, DenialDetail, Limits, ScopeSpec, ServerSettings, Settings, SigningSettings,
    StorePlace, StoreSettings, Target, TelemetrySettings, VaultTarget,
};
use crate::domain::Credential;
use crate::ledger::testing::authorised;
use crate::secret::Fingerprint;

fn settings() -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        workload_api: None,
        blocks: crate::config::BlockSettings::default(),
        webhooks: BTreeMap::default(),
        server: ServerSettings {
            url: "https://tollgate.example".parse().unwrap(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            operations_listen: None,
            spiffe_listen: None,
            tls: None,
            trusted_proxies: Vec::new(),
            tenant: "default".parse().unwrap(),
            admin_socket: None,
        },
        store: StoreSettings {
            place: StorePlace::Sqlite(PathBuf::new()),
            key_encryption_key: "".into(),
            previous_key_encryption_keys: Vec::new(),
        },
        signing: SigningSettings::default(),
        audit: AuditSettings::default(),
        telemetry: TelemetrySettings::default(),
        limits: Limits {
            concurrency: 1,
            connections: 1,
            body_bytes: 1,
            request_timeout: second,
            policy_timeout: second,
            refusals_per_minute: 1,
            exchanges_per_minute: 1,
            ..Limits::default()
        },
        zone: jiff::tz::TimeZone::UTC,
        denials: DenialDetail::None,
        policies: PathBuf::new(),
        operations: crate::config::Operations::default(),
        sources: BTreeMap::default(),
    }
}

fn config(targets: Vec<(&str, TargetKind)>, roles: Vec<Role>) -> Config {
    let named = |(name, kind): (&str, TargetKind)| {
        let name: TargetName = name.parse().unwrap();
        (name.clone(), Arc::new(Target { name, kind, concurrency: None }))
    };
    Config {
        settings: settings(),
        issuers: BTreeMap::default(),
        roles: roles.into_iter().map(|role| (role.name.clone(), Arc::new(role))).collect(),
        targets: targets.into_iter().map(named).collect(),
        tables: BTreeMap::default(),
        revision: Fingerprint::of(b"config"),
    }
}

fn providers(targets: Vec<(&str, TargetKind)>, roles: Vec<Role>) -> Result<Providers, SetupError> {
    Providers::new(&config(targets, roles), keyring(), Clock::manual(now()), None)
}

fn with_all(vault: &Stub) -> Providers {
    let aws = aws_target(vault.url.clone(), AwsAccess::Federation { audience: "sts.amazonaws.com".into() });
    let targets = vec![
        ("api", TargetKind::Jwt(jwt_target())),
        ("aws", TargetKind::Aws(aws)),
        ("vault", TargetKind::Vault(vault_target(vault.url.clone()))),
    ];
    providers(targets, vec![vault_role(vault_settings())]).unwrap()
}

#[tokio::test]
async fn a_grant_goes_to_the_provider_of_its_target() {
    let stub = Stub::start([answer(503, r#"{"errors":["Vault is sealed"]}"#)]).await;
    let providers = with_all(&stub);
    let planned = providers.plan(jwt_grant()).await.unwrap();
    assert!(matches!(planned.handle(), Handle::Jwt { .. }));
    let minted = providers.mint(&authorised(planned)).await.unwrap();
    assert!(matches!(minted.credential, Credential::Jwt { .. }));
    assert_eq!(minted.dies_at.as_second(), NOW + 900);

    let role = aws_role("arn:aws:iam::123456789012:role/deploy");
    let target = TargetKind::Jwt(jwt_target());
    let scope = ScopeSpec::Aws(aws_scope(&["s3:GetObject"], &["*"]));
    let planned = providers.plan(grant_of(role, [("read", scope)], target, 900, now())).await.unwrap();
    assert!(matches!(planned.handle(), Handle::Aws { .. }));
    assert!(stub.seen().is_empty());

    let (grant, refusal) = providers.plan(vault_grant(&["a"])).await.unwrap_err();
    assert_eq!((refusal.code, stub.seen().len()), (Code::ProviderUnavailable, 1));
    assert_eq!(grant.facts().target().name.as_str(), "vault");
}

#[tokio::test]
async fn a_role_of_another_kind_than_its_target_mints_nothing() {
    let targets = vec![("api", TargetKind::Vault(vault_target("http://127.0.0.1:1".parse().unwrap())))];
    let providers = providers(targets, Vec::new()).unwrap();
    assert_eq!(providers.plan(jwt_grant()).await.unwrap_err().1.code, Code::Internal);
    assert!(!providers.discard(&jwt_grant(), &Handle::Jwt { jti: "x".into() }).await);
}

#[tokio::test]
async fn a_target_that_is_not_configured_mints_nothing() {
    let providers = providers(Vec::new(), Vec::new()).unwrap();
    assert_eq!(providers.plan(jwt_grant()).await.unwrap_err().1.code, Code::Internal);
}

#[tokio::test]
async fn c_06_says_what_an_end_can_do() {
    let stub = Stub::start([answer(503, "")]).await;
    let providers = with_all(&stub);
    let (api, vault): (TargetName, TargetName) = ("api".parse().unwrap(), "vault".parse().unwrap());
    let jwt = Handle::Jwt { jti: "x".into() };
    let aws = Handle::Aws { role_arn: "x".into(), session_name: "y".into() };
    assert_eq!(providers.end(&api, "deploy", &jwt).await.unwrap(), Ended::DiesAtExpiry);
    assert_eq!(providers.end(&api, "deploy", &aws).await.unwrap(), Ended::DiesAtExpiry);
    let accessor = Handle::Vault { accessor: "x".into() };
    let code = async |target, role| providers.end(target, role, &accessor).await.unwrap_err().code;
    assert_eq!(code(&vault, "deploy").await, Code::ProviderUnavailable);
    assert_eq!(code(&vault, "removed").await, Code::ProviderRefused);
    assert_eq!(code(&api, "deploy").await, Code::Internal);
}

#[tokio::test]
async fn discarding_tells_what_is_known_to_be_dead() {
    let stub = Stub::start([answer(503, "")]).await;
    let providers = with_all(&stub);
    assert!(providers.discard(&jwt_grant(), &Handle::Jwt { jti: "x".into() }).await);
    let accessor = Handle::Vault { accessor: "x".into() };
    assert!(!providers.discard(&vault_grant(&["a"]), &accessor).await);
}

#[test]
fn a_target_that_cannot_be_set_up_says_which_and_why() {
    let setup = |change: fn(&mut VaultTarget)| {
        let mut target = vault_target("http://127.0.0.1:1".parse().unwrap());
        change(&mut target);
        let Err(error) = providers(vec![("vault", TargetKind::Vault(target))], Vec::new()) else {
            panic!("it was set up")
        };
        error.to_string()
    };
    assert!(setup(|t| t.mount = "../sys".into()).starts_with("target vault: mount must be"));
    assert!(setup(|t| t.namespace = Some("a\nb".into())).starts_with("target vault: namespace must be"));
    let missing = setup(|t| t.ca_file = Some("/nonexistent/ca.pem".into()));
    assert_eq!(missing, "target vault: the HTTP client cannot be built");
    let broken = setup(|t| t.ca_file = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into()));
    assert_eq!(broken, "target vault: the HTTP client cannot be built");
}
