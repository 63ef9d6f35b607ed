//! A sentinel per secret: none of them leaves the process but in the one answer that hands it out, at any log level.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::json;
use tollgate::clock::Clock;

use crate::harness::api::Answer;
use crate::harness::book::hex;
use crate::harness::collector::Collector;
use crate::harness::site::DEPLOY;
use crate::harness::source::{FactServer, GOOD, Says};
use crate::harness::{Server, Site};

const SOURCE: &str = "sentinel-source-7fa1c9d2e4b8";
/// Of a webhook, and long enough for one.
const WEBHOOK: &str = "sentinel-webhook-51b0d3c7a9e4f26880";
const AWS_SECRET: &str = "SentinelAwsSecret0a9b8c7d6e5f4a3b2c1d0e9f";
const AWS_SESSION: &str = "SentinelAwsSession1f2e3d4c5b6a7988776655";
const COLLECTOR: &str = "sentinel-collector-91d5e6f7a8b0";
const SINK: &str = "sentinel-sink-5be0cd19137e";
const MISPLACED: &str = "sentinel-misplaced-3c6ef372fe94";
/// What [`Site::settings`] seals with.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// As many leading characters of a secret may be met by chance.
const BY_CHANCE: usize = 12;

/// Secrets by name, in every spelling that a careless line could have.
#[derive(Default)]
struct Sentinels(Vec<(String, String)>);

impl Sentinels {
    fn add(&mut self, name: &str, secret: &[u8]) {
        let spellings = [
            ("plain", String::from_utf8(secret.to_vec()).unwrap()),
            ("base64", STANDARD.encode(secret)),
            ("base64url", URL_SAFE_NO_PAD.encode(secret)),
            ("hex", hex(secret)),
        ];
        for (spelling, mut text) in spellings {
            text.truncate(BY_CHANCE + 1);
            self.0.push((format!("{name} ({spelling})"), text));
        }
    }

    /// A token is secret by its signature; what it says is in the record, and its header is anybody's.
    fn add_token(&mut self, name: &str, token: &str) {
        self.add(name, token.rsplit('.').next().unwrap().as_bytes());
        self.0.push((format!("{name} (payload)"), token.split('.').nth(1).unwrap().to_owned()));
    }

    fn found_in(&self, text: &[u8]) -> Vec<&str> {
        // What is no UTF-8 is replaced; every needle is.
        let text = String::from_utf8_lossy(text);
        self.0.iter().filter(|(_, needle)| text.contains(needle)).map(|(name, _)| name.as_str()).collect()
    }

    fn assert_absent(&self, place: &str, text: &[u8]) {
        assert!(!text.is_empty(), "{place} is empty: nothing was looked at");
        let found = self.found_in(text);
        assert!(found.is_empty(), "{place} holds {found:?}");
    }
}

/// Roles for a signed token that needs a fact, and for AWS with keys of Tollgate's own.
async fn site(source: &FactServer, aws: &FactServer, collector: &Collector, siem: &FactServer) -> Site {
    let deploy = DEPLOY.replace("[jwt]", "sources = [\"commits\"]\n[jwt]");
    let policy = "package ci.test\n\nallow if input.context.signed == true\n";
    let open = "package ci.open\n\nallow := true\n";
    let target = format!(
        "provider = \"aws\"\nregion = \"eu-central-1\"\nendpoint = \"{}\"\ninsecure_loopback = true\n\
         access = \"ambient\"\naccess_key_id = \"AKIAIOSFODNN7EXAMPLE\"\n\
         secret_access_key = {{ value = \"{AWS_SECRET}\" }}\nsession_token = {{ value = \"{AWS_SESSION}\" }}\n",
        aws.url()
    );
    let cloud = "description = \"x\"\ntarget = \"cloud\"\nttl = { default = \"15m\", max = \"1h\" }\n\
                 policies = [\"ci.open\"]\n[aws]\nrole_arn = \"arn:aws:iam::111111111111:role/deploy\"\n\
                 [scopes.read]\nactions = [\"s3:GetObject\"]\nresources = [\"arn:aws:s3:::artifacts/*\"]\n";
    let mut site = Site::new(&[
        ("config/roles/deploy.toml", deploy.as_str()),
        ("config/roles/cloud.toml", cloud),
        ("config/targets/cloud.toml", target.as_str()),
        ("policies/ci/test.rego", policy),
        ("policies/ci/open.rego", open),
    ])
    .await;
    let otlp = format!(", headers = {{ x-collector-key = {{ value = \"{COLLECTOR}\" }} }}");
    let traces = collector.settings(&otlp);
    let settings = format!(
        "{traces}\n[audit]\nstdout = true\nfile = \"../audit.jsonl\"\n\
         [webhooks.falco]\nsecret = {{ value = \"{WEBHOOK}\" }}\nauth = \"bearer\"\nduration = \"1h\"\n\
         subjects = {{ repository = \"/repo\" }}\n{}\
         auth = {{ header = \"authorization\", value = {{ value = \"Bearer {SOURCE}\" }} }}\n\
         [audit.sinks.one]\nkind = \"splunk_hec\"\nurl = \"{siem}\"\ninsecure_loopback = true\n\
         token = {{ value = \"{SINK}\" }}\n\
         [audit.sinks.two]\nkind = \"elasticsearch\"\nurl = \"{siem}\"\ninsecure_loopback = true\nindex = \"a\"\n\
         api_key = {{ value = \"{SINK}\" }}\n",
        source.settings("commits", "signed"),
        siem = siem.url(),
    );
    site.write("config/tollgate.toml", &site.settings(&settings));
    let runners = site.issuer_file("[runner]\nattributes = { id = \"run_id\" }");
    let audience = |of: &str| format!("audience = \"{}{of}\"", site.url);
    site.write("config/issuers/runners.toml", &runners.replace(&audience(""), &audience("/runner")));
    site.clock = Clock::system();
    site
}

/// Everything that goes well.
async fn successes(site: &Site, sentinels: &mut Sentinels) {
    let api = site.api();
    let token = site.token();
    let answer = api.deploy(&token).await.ok();
    let secret = answer["lease"]["secret"].as_str().unwrap();
    let id = answer["lease"]["id"].as_str().unwrap();
    api.get(&format!("/v1/leases/{id}"), Some(secret)).await.ok();
    api.end(id, secret).await.ok();
    api.get("/v1/whoami", Some(&token)).await.ok();
    api.get(&format!("/v1/decisions/{}", answer["decision"].as_str().unwrap()), Some(&token)).await.ok();
    let alert = [("authorization", &*format!("Bearer {WEBHOOK}")), ("content-type", "application/json")];
    let alert = api.send(Method::POST, "/v1/blocks/webhook/falco", &alert, "{\"repo\":\"acme/other\"}").await;
    alert.ok();
    let actor = site.token_with(&json!({ "aud": format!("{}/runner", site.url) }));
    let beside = [("tollgate-actor-token", actor.as_str())];
    api.credentials_with(&site.token(), &json!({ "role": "deploy" }), &beside).await.ok();
    sentinels.add_token("actor token", &actor);
    let exchanged = site.token();
    let oauth = api.exchange(&exchanged, &[("audience", "deploy")]).await.ok();
    for token in [&token, &exchanged] {
        sentinels.add_token("identity token", token);
    }
    sentinels.add_token("credential", answer["credential"]["token"].as_str().unwrap());
    sentinels.add_token("credential", oauth["access_token"].as_str().unwrap());
    for answer in [&answer, &oauth] {
        sentinels.add(
            "lease secret",
            answer["lease"]["secret"].as_str().unwrap().trim_start_matches("tgl_").as_bytes(),
        );
    }
}

/// Everything that goes wrong; returns the answers.
async fn failures(
    site: &Site,
    source: &FactServer,
    aws: &FactServer,
    sentinels: &mut Sentinels,
) -> Vec<Answer> {
    let api = site.api();
    let mut answers = Vec::new();
    let used = site.token();
    api.deploy(&used).await.ok();
    let now = site.now().as_second();
    let forged = site.issuer.forge(&site.issuer.github(&site.url, now));
    let expired = site.issuer.sign(&site.issuer.github(&site.url, now - 4000));
    let elsewhere = site.token_with(&json!({ "aud": "https://other.example" }));
    let stranger = site.token_with(&json!({ "repository_owner_id": "66" }));
    for token in [&used, &forged, &expired, &elsewhere, &stranger] {
        sentinels.add_token("refused token", token);
        answers.push(api.deploy(token).await);
        answers.push(api.exchange(token, &[("audience", "deploy")]).await);
    }
    let mut fresh = || {
        let token = site.token();
        sentinels.add_token("unlucky token", &token);
        token
    };
    source.says(Says::Json(format!("{{\"echo\": \"{SOURCE}")));
    answers.push(api.deploy(&fresh()).await);
    source.says(Says::Redirect);
    answers.push(api.deploy(&fresh()).await);
    source.says(Says::Json(GOOD.to_owned()));
    let cloud = json!({ "role": "cloud" });
    for says in [Says::Html, Says::Status(403), Says::Status(500)] {
        aws.says(says);
        answers.push(api.credentials(&fresh(), &cloud).await);
    }
    let bearer = format!("Bearer {}", fresh());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for body in [
        format!("{{\"role\":\"deploy\",\"token\":\"{MISPLACED}\" x"),
        format!("{{\"role\":[\"{MISPLACED}\"]}}"),
        format!("{{\"role\":\"deploy\",\"ttl\":\"{MISPLACED}\"}}"),
    ] {
        answers.push(api.send(Method::POST, "/v1/credentials", &headers, &body).await);
    }
    let (sender, nearly) = (format!("Bearer {WEBHOOK}"), format!("Bearer {WEBHOOK}{MISPLACED}"));
    for (bearer, body) in [
        (&sender, format!("{{\"repo\":[\"{MISPLACED}\"]}}")),
        (&sender, format!("{{\"{MISPLACED}\":1}}")),
        (&nearly, "{}".to_owned()),
    ] {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        answers.push(api.send(Method::POST, "/v1/blocks/webhook/falco", &headers, &body).await);
    }
    let basic = format!("Basic {MISPLACED}");
    answers.push(api.send(Method::GET, "/v1/whoami", &[("authorization", &basic)], "").await);
    answers.push(api.get(&format!("/v1/whoami?access_token={MISPLACED}"), None).await);
    answers.push(api.get(&format!("/{MISPLACED}"), None).await);
    let wrong = format!("tgl_{}", URL_SAFE_NO_PAD.encode([0x5e; 32]));
    sentinels.add("guessed lease secret", &wrong.as_bytes()[4..]);
    answers.push(api.end("019cadfd-8900-4da0-b03f-0590c2ac6c55", &wrong).await);
    answers
}

async fn leaks_nothing(format: &str) {
    let (source, aws) = (FactServer::start().await, FactServer::start().await);
    let collector = Collector::start().await;
    let siem = FactServer::start().await;
    siem.says(Says::Json(format!("{{\"text\": \"{SINK}\", \"code\": 4, \"errors\": \"{SINK}\"}}")));
    let site = site(&source, &aws, &collector, &siem).await;
    let mut sentinels = Sentinels::default();
    for (name, secret) in [
        ("source header", SOURCE),
        ("collector header", COLLECTOR),
        ("webhook secret", WEBHOOK),
        ("AWS secret key", AWS_SECRET),
        ("AWS session token", AWS_SESSION),
        ("sink token", SINK),
        ("misplaced secret", MISPLACED),
    ] {
        sentinels.add(name, secret.as_bytes());
    }
    sentinels.add("key-encryption key", &STANDARD.decode(KEY).unwrap());

    let mut server = Server::start_tracing(&site.config(), format, site.folder.path());
    successes(&site, &mut sentinels).await;
    let answers = failures(&site, &source, &aws, &mut sentinels).await;
    let metrics = site.api().get("/metrics", None).await;
    siem.until_asked(2).await;
    for scheme in ["Splunk", "ApiKey"] {
        let header = format!("{scheme} {SINK}");
        assert!(siem.seen().iter().any(|seen| seen.ends_with(&header)), "{scheme} was not sent");
    }
    server.signal("TERM");
    assert!(server.wait().success());

    for answer in &answers {
        assert!(answer.status >= 400, "{}", answer.text);
        sentinels.assert_absent("an error answer", answer.text.as_bytes());
        sentinels.assert_absent("its headers", format!("{:?}", answer.headers).as_bytes());
    }
    sentinels.assert_absent("/metrics", metrics.text.as_bytes());
    let traces: Vec<u8> = collector.posted().iter().flat_map(|posted| posted.body.to_vec()).collect();
    sentinels.assert_absent("the traces", &traces);
    for entry in std::fs::read_dir(site.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        // The reserve is filler, sixteen megabytes of it.
        let written = path.is_file() && !path.to_str().unwrap().ends_with(".reserve");
        if written && std::fs::metadata(&path).unwrap().len() > 0 {
            sentinels.assert_absent(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
    assert!(site.store().is_file());
    let log = std::fs::read_to_string(site.path("stderr")).unwrap();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log was not at its most talkative");
    for file in ["stdout", "audit.jsonl"] {
        assert!(std::fs::read_to_string(site.path(file)).unwrap().contains("\"leased\""), "{file}");
    }
}

#[tokio::test]
async fn s_01_no_secret_is_in_logs_records_metrics_or_errors_with_json_logs() {
    leaks_nothing("json").await;
}

#[tokio::test]
async fn s_01_no_secret_is_in_logs_records_metrics_or_errors_with_logs_for_people() {
    leaks_nothing("pretty").await;
}

#[test]
fn the_search_finds_a_secret_in_each_spelling() {
    let mut sentinels = Sentinels::default();
    sentinels.add("x", AWS_SECRET.as_bytes());
    let hex = hex(AWS_SECRET.as_bytes());
    for text in
        [AWS_SECRET.to_owned(), STANDARD.encode(AWS_SECRET), hex, format!("\"{}…\"", &AWS_SECRET[..13])]
    {
        assert!(!sentinels.found_in(format!("log: {text}").as_bytes()).is_empty(), "{text}");
    }
    assert!(sentinels.found_in(b"log: nothing").is_empty());
}
