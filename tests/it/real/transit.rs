//! Signing by the transit engine of a real `OpenBao`: what it signs verifies, it rotates with a lag, and it may be down.

use jiff::SignedDuration;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use tollgate::app::App;
use tollgate::clock::Clock;

use crate::harness::parts::bao::Bao;
use crate::harness::parts::job::{job, run};
use crate::harness::{Server, Site};

/// What Tollgate's token may do there: as the README says, for each key.
fn policy() -> String {
    let of = |key: &str| {
        let rule = |path: String, can: &str| format!("path \"{path}\" {{ capabilities = [\"{can}\"] }}\n");
        let (read, sign) = (format!("transit/keys/{key}"), format!("transit/sign/{key}"));
        rule(format!("{read}/rotate"), "update") + &rule(sign, "update") + &rule(read, "read")
    };
    ["tollgate-es", "tollgate-rs", "tollgate-open"].map(of).concat()
}

/// A transit engine with a key of each kind, and a token that may sign with them.
async fn token(bao: &Bao) -> String {
    bao.write("sys/mounts/transit", json!({ "type": "transit" })).await;
    bao.write("transit/keys/tollgate-es", json!({ "type": "ecdsa-p256" })).await;
    bao.write("transit/keys/tollgate-rs", json!({ "type": "rsa-2048" })).await;
    bao.write("transit/keys/tollgate-open", json!({ "type": "ecdsa-p256", "exportable": true })).await;
    bao.write("sys/policies/acl/tollgate-sign", json!({ "policy": policy() })).await;
    another_token(bao).await
}

async fn another_token(bao: &Bao) -> String {
    let made = json!({ "policies": ["tollgate-sign"], "no_default_policy": true, "ttl": "1h" });
    let made = bao.write("auth/token/create", made).await;
    made["auth"]["client_token"].as_str().unwrap().to_owned()
}

/// `tollgate.toml` with the key of `OpenBao` for each purpose.
fn settings(site: &Site, bao: &Bao, token: &str, keys: &[(&str, &str)]) {
    let section = |(purpose, key): &(&str, &str)| {
        format!(
            "[signing.{purpose}]\nkms = {{ kind = \"vault-transit\", address = \"{}\", key = \"{key}\", \
             token = {{ file = \"../transit-token\" }}, insecure_loopback = true }}\n",
            bao.url
        )
    };
    let sections: String = keys.iter().map(section).collect();
    site.write("transit-token", token);
    site.write("config/tollgate.toml", &site.settings(&sections));
}

/// A Tollgate on a clock of its own whose credentials are signed there by `key`.
async fn site(bao: &Bao, key: &str) -> Site {
    let token = token(bao).await;
    let mut site = bao.site(&[]).await;
    site.clock = Clock::manual(Clock::system().now());
    settings(&site, bao, &token, &[("credentials", key)]);
    site
}

/// A credential of now: the id of the key that signed it, once it verifies with the published keys.
async fn signed_by(site: &Site) -> String {
    let leased = site.api().deploy(&site.token()).await.ok();
    let token = leased["credential"]["token"].as_str().unwrap();
    let header = decode_header(token).unwrap();
    let keys: JwkSet = serde_json::from_value(site.api().get("/jwks", None).await.ok()).unwrap();
    let jwk = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap();
    header.kid.unwrap()
}

async fn published(site: &Site) -> Vec<Value> {
    let keys = site.api().get("/jwks", None).await.ok();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect()
}

/// The same Tollgate, later.
async fn later(site: &Site, app: App, by: SignedDuration) -> App {
    app.stop().await;
    site.clock.set(site.now() + by);
    site.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_signed_by_openbao_verifies_and_its_key_rotates_there_with_a_lag() {
    let bao = Bao::start().await;
    let site = site(&bao, "tollgate-es").await;
    let app = site.start().await;
    let first = signed_by(&site).await;
    assert_eq!(published(&site).await, [json!(first)], "no key of the store");

    let rotated = run(job(&site, &["keys", "--config", "config", "rotate", "credentials"])).await;
    assert!(rotated.ok().contains("published"), "{rotated:?}");
    assert_eq!(published(&site).await.len(), 2);
    assert_eq!(signed_by(&site).await, first, "the newest version is not used before verifiers know it");
    let again = run(job(&site, &["keys", "--config", "config", "rotate", "credentials"])).await;
    again.ok();
    let (_, described) = bao.read("transit/keys/tollgate-es", bao.root()).await;
    assert_eq!(described["latest_version"], 2, "one rotation at a time");
    let app = later(&site, app, SignedDuration::from_mins(61)).await;
    let second = signed_by(&site).await;
    assert_ne!(second, first);

    // Somebody rotates it there: it is published first all the same.
    bao.write("transit/keys/tollgate-es/rotate", json!({})).await;
    let app = later(&site, app, SignedDuration::from_mins(1)).await;
    assert_eq!(signed_by(&site).await, second);
    assert_eq!(published(&site).await.len(), 3);

    // Revoked, the one that is published takes over at once.
    let revoke = ["keys", "--config", "config", "revoke", &second, "--rotate", "--yes"];
    run(job(&site, &revoke)).await.ok();
    let third = signed_by(&site).await;
    assert!(third != second && !published(&site).await.contains(&json!(second)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kms_that_is_sealed_or_gone_issues_nothing_keeps_the_keys_published_and_comes_back() {
    let mut bao = Bao::start().await;
    let site = site(&bao, "tollgate-es").await;
    let app = site.start().await;
    let kid = signed_by(&site).await;

    bao.seal().await;
    let sealed = site.api().deploy(&site.token()).await;
    assert_eq!((sealed.status, sealed.code()), (503, "signing_unavailable"), "{}", sealed.json);
    let decision = sealed.json["decision"].as_str().unwrap().parse().unwrap();
    let ledger = app.broker().ledger();
    assert_eq!(ledger.decision(decision).await.unwrap().unwrap().result, "allow", "what was decided");
    assert!(ledger.unleased(site.now()).await.unwrap().is_empty(), "nothing is left that may live");
    assert_eq!(published(&site).await, [json!(kid)]);

    // It also starts while its KMS is down: verifiers still need the keys.
    let app = later(&site, app, SignedDuration::from_secs(2)).await;
    assert_eq!(published(&site).await, [json!(kid)]);
    assert_eq!(site.api().deploy(&site.token()).await.code(), "signing_unavailable");
    bao.unseal().await;
    site.clock.set(site.now() + SignedDuration::from_secs(2));
    assert_eq!(signed_by(&site).await, kid);

    bao.stop();
    let gone = site.api().deploy(&site.token()).await;
    assert_eq!((gone.status, gone.code()), (503, "signing_unavailable"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_reads_a_new_token_and_refuses_another_key() {
    let bao = Bao::start().await;
    let site = site(&bao, "tollgate-es").await;
    let app = site.start().await;
    let kid = signed_by(&site).await;
    let old = std::fs::read_to_string(site.path("transit-token")).unwrap();
    bao.write("auth/token/revoke", json!({ "token": old })).await;
    assert_eq!(site.api().deploy(&site.token()).await.code(), "signing_unavailable");

    let new = another_token(&bao).await;
    site.write("transit-token", &new);
    app.reload().await.unwrap();
    assert_eq!(signed_by(&site).await, kid);
    settings(&site, &bao, &new, &[("credentials", "tollgate-rs")]);
    let problems = app.reload().await.unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("signing (all but tokens)")));
    assert_eq!(signed_by(&site).await, kid);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purpose_moves_from_the_store_to_a_kms_with_a_lag_and_back_at_once() {
    let bao = Bao::start().await;
    let site = site(&bao, "tollgate-rs").await;
    let with_kms = std::fs::read_to_string(site.path("config/tollgate.toml")).unwrap();
    site.write("config/tollgate.toml", &site.settings(""));
    let app = site.start().await;
    let stored = signed_by(&site).await;
    site.write("config/tollgate.toml", &with_kms);
    let app = later(&site, app, SignedDuration::from_secs(1)).await;
    assert_eq!(signed_by(&site).await, stored, "verifiers do not know the new key yet");
    let app = later(&site, app, SignedDuration::from_mins(61)).await;
    let moved = signed_by(&site).await;
    assert_ne!(moved, stored);
    site.write("config/tollgate.toml", &site.settings(""));
    let app = later(&site, app, SignedDuration::from_secs(1)).await;
    let back = signed_by(&site).await;
    assert!(back != stored && back != moved);
    assert!(published(&site).await.contains(&json!(moved)), "tokens that it signed still verify");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openbao_believes_federation_tokens_that_its_own_transit_engine_signs() {
    let bao = Bao::start().await;
    let token = token(&bao).await;
    let site = bao.site(&[]).await;
    settings(&site, &bao, &token, &[("federation", "tollgate-rs"), ("checkpoints", "tollgate-es")]);
    let _server = Server::start(&site.config(), "");
    bao.trust(&site).await;
    site.api().credentials(&site.token(), &json!({ "role": "vault/app" })).await.ok();
    let verified = run(job(&site, &["audit", "verify", "--config", "config"])).await;
    assert!(verified.ok().contains("whole"), "checkpoints are signed there too: {verified:?}");
    let counted = async |outcome: &str| {
        let metrics = site.api().get("/metrics", None).await.text;
        let name = format!("tollgate_kms_calls_total{{outcome=\"{outcome}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        count.parse::<u64>().unwrap() > 0
    };
    assert!(counted("done").await && !counted("unavailable").await);
    bao.seal().await;
    let refused = site.api().credentials(&site.token(), &json!({ "role": "vault/app" })).await;
    assert_eq!(refused.code(), "signing_unavailable");
    assert!(counted("unavailable").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn c_11_a_token_that_openbao_refuses_and_a_key_that_can_be_taken_out_are_named() {
    let bao = Bao::start().await;
    let site = site(&bao, "tollgate-open").await;
    let refused = |site: &Site| {
        let done = crate::harness::process::run(&["serve", "--config", site.config().to_str().unwrap()]);
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8(done.stderr).unwrap()
    };
    let said = refused(&site);
    assert!(said.contains("exportable"), "{said}");
    settings(&site, &bao, "s.sentinel-token", &[("credentials", "tollgate-es")]);
    let said = refused(&site);
    assert!(said.contains("403") && !said.contains("sentinel"), "{said}");
}
