//! Blocks that machines set: alerts of a webhook, and security events of an issuer.

use std::fmt::Write;
use std::process::Command;

use aws_lc_rs::hmac;
use http::Method;
use serde_json::{Value, json};

use crate::harness::api::Answer;
use crate::harness::files::root;
use crate::harness::parts::program;
use crate::harness::{Server, Site};

const SECRET: &str = "c2VjcmV0LW9mLXRoZS10ZXN0cy1zaWVtLTMyYnl0ZXM=";
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A site with a webhook `siem` that is signed, and one, `falco`, that is not.
async fn site() -> Site {
    let site = Site::new(&[]).await;
    let webhooks = format!(
        "[webhooks.siem]\nsecret = {{ value = \"{SECRET}\" }}\nsubjects = {{ repository = \"/fields/repo\" }}\n\
         reason = \"/rule\"\nduration = \"1h\"\n\n\
         [webhooks.falco]\nsecret = {{ value = \"{SECRET}\" }}\nauth = \"bearer\"\n\
         subjects = {{ repository = \"/output_fields/k8s.pod.label.repository\" }}\nduration = \"1h\"\n"
    );
    site.write("config/tollgate.toml", &site.settings(&webhooks));
    let events = format!("security_events = {{ audience = \"{}/v1/events\" }}", site.url);
    site.write("config/issuers/ci.toml", &site.issuer_file(&events));
    site
}

fn signature(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mac = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    let hex = mac.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    format!("t={at},v1={hex}")
}

async fn alert(site: &Site, name: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = [&[("content-type", "application/json; charset=utf-8")], headers].concat();
    site.api().send(Method::POST, &format!("/v1/blocks/webhook/{name}"), &headers, body).await
}

#[tokio::test]
async fn a_signed_alert_blocks_once_and_names_its_rule() {
    let site = site().await;
    let app = site.start().await;
    let body = json!({ "rule": "token in a log", "fields": { "repo": 70_107_786 } }).to_string();
    let signed = signature(SECRET, site.now().as_second(), &body);
    let headers = [("x-tollgate-signature", signed.as_str())];
    assert_eq!(site.api().deploy(&site.token()).await.status, 200);

    let set = alert(&site, "siem", &headers, &body).await.ok();
    let blocks = app.broker().blocks(None, false).await.unwrap();
    assert_eq!((blocks.len(), set["blocks"][0].as_str().unwrap()), (1, blocks[0].id.to_string().as_str()));
    assert_eq!(blocks[0].subject.to_string(), "repository:70107786");
    assert_eq!(blocks[0].reason.as_str(), "alert of webhook siem: token in a log");
    assert_eq!(blocks[0].by, "webhook siem");
    assert_eq!(blocks[0].expires_at, Some(site.now() + std::time::Duration::from_hours(1)));
    assert_eq!(site.api().deploy(&site.token()).await.code(), "blocked");

    // Somebody lifts it; the recorded alert does not bring it back.
    app.broker().lift(blocks[0].id, None, "a test".into()).await.unwrap();
    let again = alert(&site, "siem", &headers, &body).await.ok();
    assert_eq!((&again["blocks"], &again["seen_before"]), (&json!([]), &json!(true)));
    assert_eq!(site.api().deploy(&site.token()).await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_signed_with_the_webhooks_secret_is_refused_alike_and_counted() {
    let site = site().await;
    let app = site.start().await;
    let body = json!({ "fields": { "repo": "acme/shop" } }).to_string();
    let now = site.now().as_second();
    let good = signature(SECRET, now, &body);
    let bearer = format!("Bearer {SECRET}");
    let mut told = std::collections::BTreeSet::new();
    for (name, headers) in [
        ("siem", vec![]),
        (
            "siem",
            vec![("x-tollgate-signature", signature("another secret of thirty-two bytes!!", now, &body))],
        ),
        ("siem", vec![("x-tollgate-signature", signature(SECRET, now - 301, &body))]),
        ("siem", vec![("x-tollgate-signature", signature(SECRET, now, "{}"))]),
        ("siem", vec![("authorization", bearer.clone())]),
        ("falco", vec![("x-tollgate-signature", good.clone())]),
        ("falco", vec![("authorization", format!("{bearer}x"))]),
        ("nobody", vec![("x-tollgate-signature", good.clone())]),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refused = alert(&site, name, &headers, &body).await;
        assert_eq!((refused.status, refused.code()), (401, "alert_refused"), "{name} {headers:?}");
        told.insert(refused.json["detail"].as_str().unwrap().to_owned());
    }
    assert_eq!(told.len(), 1, "they tell nothing apart: {told:?}");
    assert!(app.broker().blocks(None, true).await.unwrap().is_empty());
    assert_eq!(site.counted(&app, "alert_refused").await, 8);

    let headers = [("x-tollgate-signature", good.as_str())];
    assert_eq!(alert(&site, "siem", &headers, &body).await.status, 200, "and the good one is taken");
    let nobody = json!({ "rule": "x" }).to_string();
    let signed = signature(SECRET, now, &nobody);
    let refused = alert(&site, "siem", &[("x-tollgate-signature", signed.as_str())], &nobody).await;
    assert_eq!((refused.status, refused.code()), (400, "request_malformed"));
    app.stop().await;
}

#[tokio::test]
async fn falcosidekicks_alert_blocks_by_its_bearer_secret() {
    let site = site().await;
    let app = site.start().await;
    // The shape of Falco's JSON output, as falcosidekick passes it on.
    let body = json!({
        "uuid": "d6fbe4f5-5e0f-4d5e-8a0f-3d1d4a7a9e0a", "output": "Terminal shell in container",
        "priority": "Critical", "rule": "Terminal shell in container", "time": "2026-03-02T10:00:00Z",
        "source": "syscall", "tags": ["container", "shell"], "hostname": "node-1",
        "output_fields": { "k8s.ns.name": "ci", "k8s.pod.label.repository": "acme/shop", "proc.pid": 7 },
    });
    let bearer = format!("Bearer {SECRET}");
    alert(&site, "falco", &[("authorization", bearer.as_str())], &body.to_string()).await.ok();
    assert_eq!(site.api().deploy(&site.token()).await.code(), "blocked");
    app.stop().await;
}

fn event(site: &Site, jti: &str, subject: &Value) -> Value {
    json!({
        "iss": site.issuer.url(), "aud": format!("{}/v1/events", site.url), "jti": jti,
        "iat": site.now().as_second(), "sub_id": subject,
        "events": { REVOKED: { "event_timestamp": site.now().as_second(),
            "reason_admin": { "en": "laptop stolen" } } },
    })
}

async fn push(site: &Site, token: &str) -> Answer {
    let headers = [("content-type", "application/secevent+jwt")];
    site.api().send(Method::POST, "/v1/events", &headers, token).await
}

fn own(site: &Site) -> Value {
    json!({ "format": "iss_sub", "iss": site.issuer.url(), "sub": "repo:acme/shop:environment:production" })
}

#[tokio::test]
async fn a_revoked_session_blocks_the_identity_until_its_old_tokens_are_dead() {
    let site = site().await;
    let app = site.start().await;
    assert_eq!(site.api().deploy(&site.token()).await.status, 200);
    let token = site.issuer.sign_event(&event(&site, "1", &own(&site)));
    let pushed = push(&site, &token).await;
    assert_eq!((pushed.status, pushed.text.as_str()), (202, ""));
    assert_eq!(site.api().deploy(&site.token()).await.code(), "blocked");
    let other = json!({ "sub": "repo:acme/shop:ref:refs/heads/main" });
    assert_eq!(site.api().deploy(&site.token_with(&other)).await.status, 200, "it is about one subject");

    let block = app.broker().blocks(None, false).await.unwrap().remove(0);
    assert_eq!(block.reason.as_str(), "session revoked: laptop stolen");
    assert_eq!((block.by.as_str(), block.tenant.as_ref().unwrap().as_str()), ("issuer ci", "default"));
    // As long as a token that was issued just before could be used: max_age and skew of the issuer.
    assert_eq!(block.expires_at, Some(site.now() + std::time::Duration::from_secs(630)));

    app.broker().lift(block.id, None, "a test".into()).await.unwrap();
    assert_eq!(push(&site, &token).await.status, 202, "no news is no error");
    assert!(app.broker().blocks(None, false).await.unwrap().is_empty(), "the same event counts once");

    let principal = app.broker().whoami(&site.token().into()).await.unwrap().caller.principal().to_string();
    let opaque = json!({ "format": "opaque", "id": principal });
    assert_eq!(push(&site, &site.issuer.sign_event(&event(&site, "2", &opaque))).await.status, 202);
    assert_eq!(site.api().deploy(&site.token_with(&other)).await.code(), "blocked");
    app.stop().await;
}

#[tokio::test]
async fn i_12_an_event_is_no_identity_and_an_identity_no_event() {
    let site = site().await;
    let app = site.start().await;
    let event = event(&site, "1", &own(&site));
    let refused = push(&site, &site.issuer.sign(&event)).await;
    assert_eq!(
        (refused.status, refused.code(), &refused.json["err"]),
        (400, "token_kind_refused", &json!("invalid_request"))
    );
    let mut identity = site.issuer.github(&site.url, site.now().as_second());
    assert_eq!(push(&site, &site.issuer.sign_event(&identity)).await.code(), "token_kind_refused");
    identity["events"] = event["events"].clone();
    assert_eq!(push(&site, &site.issuer.sign_event(&identity)).await.code(), "token_audience_refused");
    assert_eq!(site.api().deploy(&site.issuer.sign_event(&identity)).await.code(), "token_kind_refused");
    app.stop().await;
}

#[tokio::test]
async fn c_15_an_event_that_is_forged_foreign_old_or_about_others_blocks_nobody() {
    let site = site().await;
    let app = site.start().await;
    let changed = |pointer: &str, value: Value| {
        let mut event = event(&site, "1", &own(&site));
        *event.pointer_mut(pointer).unwrap() = value;
        site.issuer.sign_event(&event)
    };
    let now = site.now().as_second();
    let stranger = json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "x" });
    let foreign = json!({ "format": "opaque", "id": "github:repository:1" });
    for (token, err) in [
        (changed("/iss", json!("https://other.example")), "invalid_issuer"),
        (changed("/aud", json!(site.url)), "invalid_audience"),
        (changed("/iat", json!(now - 24 * 3600 - 31)), "invalid_request"),
        (changed("/iat", json!(now + 31)), "invalid_request"),
        (changed("/iat", json!("1")), "invalid_request"),
        (changed("/jti", Value::Null), "invalid_request"),
        (changed("/events", json!({ "https://example.com/another": {} })), "invalid_request"),
        (changed("/sub_id", stranger), "invalid_request"),
        (changed("/sub_id", foreign), "invalid_request"),
        (changed("/sub_id", json!({ "format": "email", "email": "a@example.com" })), "invalid_request"),
        ("not.a.token".to_owned(), "invalid_request"),
    ] {
        let refused = push(&site, &token).await;
        assert_eq!((refused.status, &refused.json["err"]), (400, &json!(err)), "{}", refused.text);
        assert!(refused.json["description"].is_string());
        assert_eq!(refused.headers["content-type"], "application/json");
    }
    let event = event(&site, "1", &own(&site));
    let (unsigned, _) =
        site.issuer.sign_event(&event).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (_, other) =
        site.issuer.sign(&event).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let forged = push(&site, &format!("{unsigned}.{other}")).await;
    assert_eq!((forged.code(), &forged.json["err"]), ("token_signature_invalid", &json!("invalid_key")));
    assert!(app.broker().blocks(None, true).await.unwrap().is_empty());

    let verification =
        json!({ "https://schemas.openid.net/secevent/ssf/event-type/verification": { "state": "x" } });
    assert_eq!(push(&site, &changed("/events", verification)).await.status, 202, "the stream is tried out");
    app.stop().await;
}

/// Prints, as JSON, the headers that falcosidekick would add, its path, and an alert of the rule in which each field of
/// the output is the field's own name.
const FALCO: &str = "
import json, re, sys, urllib.parse, yaml
sidekick = yaml.safe_load(open('deploy/webhooks/falcosidekick.yaml'))['webhook']
[rule] = yaml.safe_load(open('deploy/webhooks/falco_rules.yaml'))
fields = re.findall(r'%([a-z0-9_.]+(?:\\[[a-z-]+\\])?)', rule['output'])
alert = {'rule': rule['rule'], 'output': rule['output'], 'output_fields': {name: name for name in fields}}
print(json.dumps([sidekick['customHeaders'], urllib.parse.urlparse(sidekick['address']).path, alert]))
";

#[tokio::test]
async fn the_shipped_examples_pull_the_switch() {
    let site = Site::of_process(&[]).await;
    let example = std::fs::read_to_string(root().join("deploy/webhooks/webhooks.toml")).unwrap();
    site.write("config/tollgate.toml", &site.settings(&example));
    site.write("secret", &format!("{SECRET}\n"));
    let secrets = [("TOLLGATE_WEBHOOK_SIEM", SECRET), ("TOLLGATE_WEBHOOK_FALCO", SECRET)];
    let _server = Server::start_with(&site.config(), &secrets);
    assert_eq!(site.api().deploy(&site.token()).await.status, 200);

    // What the Sigma rule's fields give.
    let event =
        json!({ "action": "secret_scanning_alert.create", "repo": "acme/shop", "repo_id": 70_107_786 });
    site.write("alert.json", &event.to_string());
    let sent = Command::new(program("python"))
        .arg(root().join("deploy/webhooks/send.py"))
        .args([format!("{}/v1/blocks/webhook/siem", site.url)])
        .arg(site.path("secret"))
        .stdin(std::fs::File::open(site.path("alert.json")).unwrap())
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(site.api().deploy(&site.token()).await.code(), "blocked");

    let read = Command::new(program("python")).args(["-c", FALCO]).current_dir(root()).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let [headers, path, mut alert]: [Value; 3] = serde_json::from_slice(&read.stdout).unwrap();
    let label = &mut alert["output_fields"]["k8s.pod.label[repository-id]"];
    assert!(label.is_string(), "the rule's output has no such field");
    *label = json!("12");
    let bearer = headers["Authorization"].as_str().unwrap().replace("REPLACE-ME", SECRET);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json; charset=utf-8")];
    let taken = site.api().send(Method::POST, path.as_str().unwrap(), &headers, &alert.to_string()).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    let other = json!({ "repository_id": "12", "repository": "acme/other" });
    assert_eq!(site.api().deploy(&site.token_with(&other)).await.code(), "blocked");
}
