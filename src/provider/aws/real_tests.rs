//! Against a real server that enforces trust, role and session policies.
//!
//! It checks neither the signature nor the expiry of a web-identity token, and enforces a session policy on `AssumeRole`
//! only: signatures are verified by `OpenBao` (see `vault`), session policies here by `AssumeRole`, which sends the same.

use http::Method;
use serde_json::json;

use super::*;
use crate::config::{ProviderRole, Role, TargetKind};
use crate::domain::Code;
use crate::ledger::Planned;
use crate::ledger::testing::authorised;
use crate::provider::real_parts::{self, Signer};
use crate::provider::testing::{aws_role, aws_scope, aws_target, federation, grant_of};

const ROLE: &str = "arn:aws:iam::000000000000:role/deploy";

fn ambient() -> AwsAccess {
    AwsAccess::Ambient { access_key_id: "test".into(), secret_access_key: "test".into(), session_token: None }
}

fn by_federation() -> AwsAccess {
    AwsAccess::Federation { audience: "sts.amazonaws.com".into() }
}

fn settings() -> AwsRole {
    let tags = [("repository".to_owned(), "repository".to_owned())].into();
    AwsRole { role_arn: ROLE.into(), external_id: Some("ext-1".into()), tags }
}

/// A bucket with two objects, and a role that may do everything with both, once `trust` lets it be assumed.
async fn server(trust: serde_json::Value) -> real_parts::Aws {
    let server = real_parts::Aws::start().await;
    let role = trust.to_string();
    server
        .set_up(&[
            ("Action", "CreateRole"),
            ("Version", "2010-05-08"),
            ("RoleName", "deploy"),
            ("AssumeRolePolicyDocument", &role),
        ])
        .await;
    let allowed = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:*", "sts:AssumeRole"], "Resource": "*"}]});
    server
        .set_up(&[
            ("Action", "PutRolePolicy"),
            ("Version", "2010-05-08"),
            ("RoleName", "deploy"),
            ("PolicyName", "all"),
            ("PolicyDocument", &allowed.to_string()),
        ])
        .await;
    for path in ["/bucket", "/bucket/acme/shop/x", "/bucket/acme/other/x"] {
        let (status, body) = server.s3(&Signer::root(), Method::PUT, path).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    server
}

fn trusts_keys() -> serde_json::Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
        "Condition": {"StringEquals": {"sts:ExternalId": "ext-1"}}}]})
}

fn grant(server: &real_parts::Aws, role: Role, seconds: u64, at: Timestamp) -> Grant {
    scoped(server, role, aws_scope(&["s3:GetObject"], &["arn:aws:s3:::bucket/{repository}/*"]), seconds, at)
}

fn scoped(server: &real_parts::Aws, role: Role, scope: AwsScope, seconds: u64, at: Timestamp) -> Grant {
    let scope = ScopeSpec::Aws(scope);
    let target = TargetKind::Aws(aws_target(server.url.clone(), ambient()));
    grant_of(role, [("read", scope)], target, seconds, at)
}

fn role() -> Role {
    let mut role = aws_role(ROLE);
    role.provider = ProviderRole::Aws(settings());
    role
}

async fn mint(
    server: &real_parts::Aws,
    access: AwsAccess,
    grant: Grant,
    settings: &AwsRole,
) -> Result<Minted, Refusal> {
    let clock = Clock::system();
    let target = aws_target(server.url.clone(), access);
    let aws = Aws::new(&"aws".parse().unwrap(), &target, federation(clock.clone()), clock).unwrap();
    let handle = aws.plan(&grant, settings)?;
    aws.mint(&authorised(Planned::new(grant, handle)), settings).await
}

fn signer(minted: &Minted) -> Signer {
    let Credential::Aws(keys) = &minted.credential else { panic!("not AWS keys") };
    Signer::of(keys)
}

const WHO: &[(&str, &str)] = &[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];

#[tokio::test]
async fn a_call_inside_the_scope_works_and_one_outside_is_refused_by_the_server() {
    let server = server(trusts_keys()).await;
    let grant = grant(&server, role(), 900, Clock::system().now());
    let session = names::session_name(grant.facts().decision());
    let minted = mint(&server, ambient(), grant, &settings()).await.unwrap();
    let signer = signer(&minted);
    assert_eq!(server.s3(&signer, Method::GET, "/bucket/acme/shop/x").await, (200, "hello".into()));
    assert_eq!(server.s3(&signer, Method::GET, "/bucket/acme/other/x").await.0, 403);
    assert_eq!(server.s3(&signer, Method::PUT, "/bucket/acme/shop/x").await.0, 403);
    let (status, body) = server.query("sts", &signer, WHO).await;
    assert_eq!(status, 200);
    assert!(body.contains(&format!("assumed-role/deploy/{session}")), "{body}");
}

#[tokio::test]
async fn a_wrong_external_id_is_refused_by_the_server() {
    let server = server(trusts_keys()).await;
    let settings = AwsRole { external_id: Some("ext-2".into()), ..settings() };
    let grant = grant(&server, role(), 900, Clock::system().now());
    let refusal = mint(&server, ambient(), grant, &settings).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderRefused);
    assert!(refusal.detail.unwrap().starts_with("STS: AccessDenied"));
}

#[tokio::test]
async fn c_14_the_server_closes_the_window_and_the_way_out_of_it() {
    let server = server(trusts_keys()).await;
    let now = Clock::system().now();
    let chains = [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE),
        ("RoleSessionName", "chained"),
        ("ExternalId", "ext-1"),
    ];
    for (seconds, chained) in [(300, 403), (900, 200)] {
        let scope = aws_scope(&["s3:GetObject", "sts:AssumeRole"], &["*"]);
        let grant = scoped(&server, role(), scope, seconds, now);
        let open = mint(&server, ambient(), grant, &settings()).await.unwrap();
        assert_eq!(server.s3(&signer(&open), Method::GET, "/bucket/acme/shop/x").await.0, 200);
        let (status, body) = server.query("sts", &signer(&open), &chains).await;
        assert_eq!(status, chained, "{body}");
    }

    // Granted two minutes ago for one minute: AWS's session lives on, the window is closed.
    let ago = now - SignedDuration::from_secs(120);
    let closed = mint(&server, ambient(), grant(&server, role(), 60, ago), &settings()).await.unwrap();
    assert!(closed.window.unwrap().session_ends > now);
    assert_eq!(server.s3(&signer(&closed), Method::GET, "/bucket/acme/shop/x").await.0, 403);
}

#[tokio::test]
async fn c_13_web_identity_is_trusted_for_one_role_and_audience_only() {
    let provider = "tollgate.example/federation";
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": format!("arn:aws:iam::000000000000:oidc-provider/{provider}")},
        "Action": ["sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity", "sts:TagSession"],
        "Condition": {"StringEquals": {
            format!("{provider}:sub"): "role:default:deploy", format!("{provider}:aud"): "sts.amazonaws.com"}}}]});
    let server = server(trust).await;
    server
        .set_up(&[
            ("Action", "CreateOpenIDConnectProvider"),
            ("Version", "2010-05-08"),
            ("Url", "https://tollgate.example/federation"),
            ("ClientIDList.member.1", "sts.amazonaws.com"),
            ("ThumbprintList.member.1", "0000000000000000000000000000000000000000"),
        ])
        .await;
    let now = Clock::system().now();
    let minted = mint(&server, by_federation(), grant(&server, role(), 900, now), &settings()).await.unwrap();
    assert_eq!(server.query("sts", &signer(&minted), WHO).await.0, 200);

    let other = Role { name: "other".parse().unwrap(), ..role() };
    let refusal =
        mint(&server, by_federation(), grant(&server, other, 900, now), &settings()).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderRefused);
    let elsewhere = AwsAccess::Federation { audience: "https://vault.example".into() };
    let refusal = mint(&server, elsewhere, grant(&server, role(), 900, now), &settings()).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderRefused);
}
