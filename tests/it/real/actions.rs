//! GitHub Actions: the runner's token endpoint, asked by the real `@actions/core` and by `tollgate exec`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tollgate::clock::Clock;

use crate::harness::Site;
use crate::harness::parts::issuer::NpmIssuer;
use crate::harness::parts::job::{job, run};
use crate::harness::parts::node;

/// The proof that the runner gives to its jobs.
const PROOF: &str = "runner-proof";

/// A stand-in for the runner's token endpoint; its tokens are the issuer's.
struct Runner {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    issuer: NpmIssuer,
    claims: Value,
    asked: Mutex<Vec<Asked>>,
    /// How many requests still find it busy.
    busy: AtomicUsize,
}

/// What is part of the contract between a job and its runner.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    query: Vec<(String, String)>,
    authorization: String,
}

impl Runner {
    async fn start(site: &Site, issuer: NpmIssuer) -> Self {
        let mut claims = site.issuer.github(&site.url, site.now().as_second());
        claims["iss"] = issuer.url.clone().into();
        let shared = Arc::new(Shared { issuer, claims, asked: Mutex::default(), busy: AtomicUsize::new(0) });
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        // The real URL, too, holds a query already.
        let url = format!("http://{}/idtoken?api-version=2.0", listener.local_addr().unwrap());
        let router = Router::new().route("/idtoken", get(token)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    fn variables(&self, proof: &str) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("ACTIONS_ID_TOKEN_REQUEST_URL", self.url.clone()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", proof.to_owned()),
        ])
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

async fn token(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    let audience = query.iter().find(|(name, _)| name == "audience").map(|(_, value)| value.clone());
    let refused = authorization != format!("Bearer {PROOF}");
    shared.asked.lock().unwrap().push(Asked { query, authorization });
    if shared.busy.load(Ordering::SeqCst) > 0 {
        shared.busy.fetch_sub(1, Ordering::SeqCst);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if refused {
        return (StatusCode::FORBIDDEN, axum::Json(json!({ "message": "no" }))).into_response();
    }
    let mut claims = shared.claims.clone();
    claims["aud"] = audience.into();
    let jwt = shared.issuer.sign(&claims).await;
    axum::Json(json!({ "count": jwt.len(), "value": jwt })).into_response()
}

async fn site(issuer: &NpmIssuer) -> Site {
    let mut site = Site::new(&[]).await;
    let ci = site.issuer_file("replay = \"off\"").replace(site.issuer.url(), &issuer.url);
    site.write("config/issuers/ci.toml", &ci.replace("ES256", "RS256"));
    site.clock = Clock::system();
    site
}

fn payload(token: &str) -> Value {
    let payload = token.trim().split('.').nth(1).unwrap_or_else(|| panic!("not a token: {token:?}"));
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_asks_the_runner_as_actions_core_does_and_the_exchange_works() {
    let issuer = NpmIssuer::start().await;
    let site = site(&issuer).await;
    let app = site.start().await;
    let runner = Runner::start(&site, issuer).await;

    let script = "import { getIDToken } from '@actions/core';
        const token = await getIDToken(process.env.AUDIENCE);
        process.stdout.write('\\ntoken ' + token + '\\n');";
    let mut core: tokio::process::Command = node(script).into();
    core.envs(runner.variables(PROOF)).env("AUDIENCE", &site.url);
    let core = run(core).await;
    let theirs = core.ok().lines().find_map(|line| line.strip_prefix("token ")).unwrap().to_owned();
    let asked = runner.asked();
    assert_eq!(asked.len(), 1);
    let query = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(asked[0].query, [query("api-version", "2.0"), query("audience", &site.url)]);

    // The same request by exec, where the source is named and where it is found, if it is told to make no key.
    let exec = |arguments: &[&str]| {
        let show = ["--", "sh", "-c", "echo \"$TOLLGATE_ACCESS_TOKEN\""];
        let mut exec = job(&site, &[&["exec", "deploy"], arguments, &show].concat());
        exec.envs(runner.variables(PROOF));
        exec
    };
    for source in ["github", "auto"] {
        let exec = run(exec(&["--bind", "never", "--token-from", source])).await;
        assert_eq!(payload(exec.ok())["aud"], "https://api.example", "{exec:?}");
        assert_eq!(runner.asked(), asked, "the same request as that of @actions/core");
    }
    // Else it asks for the audience with its key, and looks after the lease with proofs.
    let bound = run(exec(&[])).await;
    let credential = payload(bound.ok());
    assert!(!bound.err.contains("could not be ended"), "{bound:?}");
    let jkt = credential["cnf"]["jkt"].as_str().unwrap_or_else(|| panic!("{credential}"));
    let audience = format!("{}#jkt={jkt}", site.url);
    assert_eq!(runner.asked()[0].query, [query("api-version", "2.0"), query("audience", &audience)]);
    let mut whoami = job(&site, &["whoami", "--json"]);
    whoami.envs(runner.variables(PROOF));
    let whoami: Value = serde_json::from_str(run(whoami).await.ok()).unwrap();
    assert_eq!(whoami["bound"], true);
    runner.asked();
    // `env` hands the key on with the lease secret, and `revoke` ends the lease with both.
    let mut both = crate::harness::parts::job::script(
        &site,
        "variables=$($TOLLGATE env deploy); eval \"$variables\"; $TOLLGATE revoke --json;
         TOLLGATE_LEASE_KEY= $TOLLGATE revoke 2>&1 || echo refused",
    );
    both.envs(runner.variables(PROOF));
    let both = run(both).await;
    assert!(both.ok().contains("\"ended_at\"") && both.out.contains("proof_missing"), "{both:?}");
    // And what @actions/core got is a token that the same role accepts.
    assert_eq!(payload(&theirs)["aud"], site.url);
    site.api().deploy(&theirs).await.ok();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_the_permission_is_told_what_to_add() {
    let issuer = NpmIssuer::start().await;
    let site = site(&issuer).await;
    let runner = Runner::start(&site, issuer).await;
    let mut refused = job(&site, &["exec", "deploy", "--token-from", "github", "--", "true"]);
    refused.envs(runner.variables("another proof"));
    let refused = run(refused).await;
    assert_eq!(refused.code(), Some(64), "{refused:?}");
    assert!(refused.err.contains("403") && refused.err.contains("id-token: write"), "{refused:?}");

    let missing = run(job(&site, &["exec", "deploy", "--token-from", "github", "--", "true"])).await;
    assert_eq!(missing.code(), Some(64), "{missing:?}");
    assert!(missing.err.contains("id-token: write"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_rides_out_a_runner_that_is_busy_and_asks_for_a_fresh_token_each_time() {
    let issuer = NpmIssuer::start().await;
    let site = site(&issuer).await;
    let app = site.start().await;
    let runner = Runner::start(&site, issuer).await;
    runner.shared.busy.store(1, Ordering::SeqCst);
    let exec = |more: &[&str]| {
        let mut exec = job(&site, &[&["exec", "deploy"], more, &["--", "true"]].concat());
        exec.envs(runner.variables(PROOF));
        run(exec)
    };
    let impatient = exec(&[]).await;
    assert_eq!(impatient.code(), Some(69), "{impatient:?}");
    runner.shared.busy.store(1, Ordering::SeqCst);
    runner.asked();
    exec(&["--wait=30"]).await.ok();
    assert_eq!(runner.asked().len(), 2);
    app.stop().await;
}
