//! Commands beside a SPIFFE agent: its SVIDs as the job's identity, as the runner's proof, and on the connection.

mod front;

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::process::Command;

use self::front::Front;
use crate::harness::parts::job::{Done, job, run, trusted};
use crate::harness::wait::until;
use crate::harness::{Site, TrustDomain, Workload};

const PATH: &str = "/ns/shop/sa/deployer";

/// For workloads of the namespace `shop`, by whichever SVID.
const ROLE: (&str, &str) = (
    "config/roles/workload.toml",
    "description = \"for workloads\"\nenvironment = \"production\"\ntarget = \"api\"\n\
     ttl = { default = \"15m\", max = \"1h\" }\npolicies = [\"ci.mesh\"]\n\n[scopes.read]\n",
);
const POLICY: (&str, &str) = (
    "policies/ci/mesh.rego",
    "package ci.mesh\n\ndefault allow := false\n\nallow if {\n\tinput.operation == \"mint\"\n\
     \tinput.identity.namespace == \"shop\"\n}\n",
);

/// A broker that knows the trust domain of a workload, and the workload's agent.
struct Scene {
    site: Site,
    domain: TrustDomain,
    agent: Workload,
}

impl Scene {
    /// `runner` is the entry's table of runners, or empty.
    async fn new(runner: &str) -> Self {
        let site = Site::of_process(&[ROLE, POLICY]).await;
        let domain = TrustDomain::new("acme.example");
        site.write("bundle.json", &domain.document().to_string());
        let entry = format!(
            "profile = \"spiffe\"\ntrust_domain = \"acme.example\"\naudience = \"{}\"\n\
             bundle = {{ file = \"../bundle.json\" }}\npaths = [\"/ns/{{namespace}}/sa/{{service_account}}\"]\n{runner}",
            site.url
        );
        site.write("config/issuers/mesh.toml", &entry);
        let agent = Workload::start(&domain.workload(PATH, site.now()));
        Self { site, domain, agent }
    }

    fn job(&self, arguments: &[&str]) -> Command {
        let mut command = job(&self.site, arguments);
        command.env("SPIFFE_ENDPOINT_SOCKET", self.agent.socket());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Done {
        run(self.job(arguments)).await
    }
}

fn json_of(done: &Done) -> Value {
    serde_json::from_str(done.ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ci_token_a_jwt_svid_is_the_identity_and_bound_to_a_key() {
    let scene = Scene::new("").await;
    let app = scene.site.start().await;
    let who = json_of(&scene.run(&["whoami", "--json"]).await);
    assert_eq!(who["principal"], "spiffe:acme.example/ns/shop/sa/deployer", "{who}");
    assert_eq!(who["bound"], true, "{who}");
    let done = scene.run(&["exec", "workload", "--", "sh", "-c", "echo \"$TOLLGATE_ACCESS_TOKEN\""]).await;
    assert_eq!(done.ok().split('.').count(), 3);

    // Several identities: the first is meant unless one is named.
    let mut state = scene.domain.workload("/ns/bank/sa/teller", scene.site.now());
    state["jwt"].as_array_mut().unwrap().push(scene.domain.jwt_entry(PATH));
    scene.agent.serve(&state);
    assert_eq!(scene.run(&["exec", "workload", "--", "true"]).await.code(), Some(77));
    let named = format!("workload-api:{}", scene.domain.id(PATH));
    scene.run(&["exec", "workload", "--token-from", &named, "--", "true"]).await.ok();

    // A job of a CI platform is that job, agent or not.
    let who = json_of(&run(trusted(scene.job(&["whoami", "--json"]), &scene.site)).await);
    assert_eq!(who["kind"], "github");
    app.stop().await;
}

/// What an agent does, what the command says of it, and its exit status.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_gives_nothing_usable_is_named_with_a_fix() {
    let scene = Scene::new("").await;
    let app = scene.site.start().await;
    let jwt = |changes: Value| {
        let mut entry = scene.domain.jwt_entry(PATH);
        for (name, value) in changes.as_object().unwrap() {
            entry[name] = value.clone();
        }
        json!({ "jwt": [entry] })
    };
    let told = async |done: Done, code: i32, parts: &[&str]| {
        assert_eq!(done.code(), Some(code), "{done:?}");
        for part in parts {
            assert!(done.err.contains(part), "{part}: {}", done.err);
        }
    };
    let exec: &[&str] = &["exec", "workload", "--", "true"];

    scene.agent.serve(&json!({}));
    told(scene.run(exec).await, 69, &["no identity is issued", "selectors"]).await;
    scene.agent.deny("not today");
    told(scene.run(exec).await, 69, &["permission denied: not today", "selectors"]).await;
    scene.agent.serve(&jwt(json!({ "seconds": -60 })));
    told(scene.run(exec).await, 69, &["has expired by this machine's clock", "clock"]).await;
    scene.agent.serve(&jwt(json!({ "audience": ["https://other.example"] })));
    told(scene.run(exec).await, 69, &["a JWT-SVID for https://other.example"]).await;
    scene.agent.hang();
    told(scene.run(exec).await, 69, &["does not answer within 5 s", "healthcheck"]).await;

    // --wait rides out an entry that is on its way to the agent.
    scene.agent.deny("no identity issued");
    let waits = scene.job(&["exec", "workload", "--wait=60", "--", "true"]).spawn().unwrap();
    until("it asks", async || scene.agent.count().asked("FetchJWTSVID") > 5).await;
    scene.agent.serve(&jwt(json!({})));
    assert!(waits.wait_with_output().await.unwrap().status.success());

    let at = async |endpoint: &str, source: &str| {
        let mut command = job(&scene.site, &["exec", "workload", "--token-from", source, "--", "true"]);
        command.env("SPIFFE_ENDPOINT_SOCKET", endpoint);
        run(command).await
    };
    for source in ["workload-api", "x509-svid"] {
        told(at("", source).await, 64, &[]).await;
        told(at("/run/agent.sock", "workload-api").await, 64, &["SPIFFE_ENDPOINT_SOCKET", "unix:///"]).await;
    }
    told(at("unix:///nowhere/api.sock", "workload-api").await, 69, &["mounted"]).await;
    let no_api = NamedTempFile::new().unwrap();
    let endpoint = format!("unix://{}", no_api.path().display());
    told(at(&endpoint, "workload-api").await, 69, &["mounted"]).await;
    app.stop().await;
}

/// A role that wants a runner, and an entry that vouches for runners.
#[tokio::test(flavor = "multi_thread")]
async fn the_agents_svid_proves_the_runner_beside_a_ci_token() {
    // Agents hand out the same JWT-SVID for minutes: each role would take it once.
    let runner =
        "replay = \"off\"\n\n[runner]\nattributes = { id = \"service_account\", pool = \"namespace\" }\n";
    let scene = Scene::new(runner).await;
    let role = crate::harness::site::DEPLOY.replace("policies =", "runner = \"required\"\npolicies =");
    scene.site.write("config/roles/deploy.toml", &role);
    let app = scene.site.start().await;
    let exec = |more: &[&str]| {
        trusted(scene.job(&[&["exec", "deploy"], more, &["--", "true"]].concat()), &scene.site)
    };
    let alone = run(exec(&[])).await;
    assert!(alone.err.contains("runner_missing"), "{alone:?}");
    for source in ["workload-api", "auto"] {
        run(exec(&["--actor-token-from", source])).await.ok();
    }
    // The agent is gone: whoever named it is told, and `auto` asks without.
    scene.agent.stop();
    let named = run(exec(&["--actor-token-from", "workload-api"])).await;
    assert_eq!(named.code(), Some(69), "{named:?}");
    assert!(named.err.contains("the runner's token: the Workload API"), "{named:?}");
    let auto = run(exec(&["--actor-token-from", "auto"])).await;
    assert!(auto.err.contains("no proof of the runner") && auto.err.contains("runner_missing"), "{auto:?}");
    app.stop().await;
}

/// A handshake proves it: the role takes it as often as it is shown.
#[tokio::test(flavor = "multi_thread")]
async fn the_agents_certificate_proves_the_runner_beside_a_ci_token() {
    let runner = "\n[runner]\nattributes = { id = \"service_account\", pool = \"namespace\" }\n";
    let scene = Scene::new(runner).await;
    let role = crate::harness::site::DEPLOY.replace("policies =", "runner = \"required\"\npolicies =");
    scene.site.write("config/roles/deploy.toml", &role);
    let url = by_tls(&scene.site);
    let app = scene.site.start().await;
    for _ in 0..2 {
        let arguments = ["exec", "deploy", "--actor-token-from", "x509-svid", "--", "true"];
        let mut command = trusted(scene.job(&arguments), &scene.site);
        command.env("TOLLGATE_URL", &url).env("TOLLGATE_CA_FILE", scene.site.path("tls.crt"));
        command.env("TOLLGATE_AUDIENCE", &scene.site.url);
        run(command).await.ok();
    }
    app.stop().await;
}

/// The job's own token is looked for first, and an SVID shown beside it only when that is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_agents_jwt_svid_is_no_runners_proof_unless_it_is_asked_for() {
    let scene = Scene::new("").await;
    let app = scene.site.start().await;
    run(trusted(scene.job(&["exec", "deploy", "--", "true"]), &scene.site)).await.ok();
    assert_eq!(scene.agent.count().asked("FetchJWTSVID"), 0);
    app.stop().await;
}

/// Makes the broker end TLS itself, by a certificate of the web; returns its URL.
fn by_tls(site: &Site) -> String {
    let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    serve_by(site, &server.cert.pem(), &server.signing_key.serialize_pem())
}

fn serve_by(site: &Site, certificate: &str, key: &str) -> String {
    site.write("tls.crt", certificate);
    site.write("tls.key", key);
    let keys = "tls = { certificate = \"../tls.crt\", key = \"../tls.key\" }\n\n[store]";
    site.write("config/tollgate.toml", &site.settings("").replace("[store]", keys));
    site.url.replace("http://127.0.0.1", "https://localhost")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x509_svid_is_the_identity_without_a_token_and_the_one_of_now() {
    let scene = Scene::new("").await;
    let url = by_tls(&scene.site);
    let app = scene.site.start().await;
    let by_certificate = |arguments: &[&str]| {
        let mut command = scene.job(arguments);
        command.env("TOLLGATE_URL", &url).env("TOLLGATE_TOKEN_FROM", "x509-svid");
        command.env("TOLLGATE_CA_FILE", scene.site.path("tls.crt"));
        command
    };
    let who = json_of(&run(by_certificate(&["whoami", "--json"])).await);
    assert_eq!(who["principal"], "spiffe:acme.example/ns/shop/sa/deployer", "{who}");
    run(by_certificate(&["exec", "workload", "--", "true"])).await.ok();
    app.stop().await;
}

/// Heartbeats and the lease's end show what the agent gave last, also when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_command_shows_the_svid_of_now() {
    let scene = Scene::new("").await;
    let role = crate::harness::site::DEPLOY.replace("policies =", "heartbeat = \"5s\"\npolicies =");
    scene.site.write("config/roles/deploy.toml", &role);
    let app = scene.site.start().await;
    let front = Front::start(&scene.site).await;
    let [first, second] = [(), ()].map(|()| scene.domain.x509(PATH, scene.site.now()));
    let serve = |svid| scene.agent.serve(&json!({ "x509": [scene.domain.x509_entry(svid)] }));
    serve(&first);

    let child = "touch runs; while [ ! -e done ]; do sleep 0.1; done";
    let arguments = ["exec", "deploy", "--actor-token-from", "x509-svid", "--", "sh", "-c", child];
    let mut command = trusted(scene.job(&arguments), &scene.site);
    command.env("TOLLGATE_URL", &front.url).env("TOLLGATE_CA_FILE", scene.site.path("front.crt"));
    let running = command.spawn().unwrap();
    until("the child runs", async || scene.site.path("runs").exists()).await;
    assert_eq!(front.last_shown(), Some(first.certificate.clone()));
    serve(&second);
    until("a heartbeat", async || front.last_shown() == Some(second.certificate.clone())).await;
    scene.agent.stop();
    front.forget();
    scene.site.write("done", "");
    let ended = running.wait_with_output().await.unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("could not be ended"), "{ended:?}");
    assert_eq!(front.last_shown(), Some(second.certificate));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_ended_although_the_svid_expired_meanwhile() {
    let scene = Scene::new("").await;
    let url = by_tls(&scene.site);
    let app = scene.site.start().await;
    let expires = scene.site.now() + SignedDuration::from_secs(12);
    let svid = scene.domain.x509_until(PATH, scene.site.now(), Duration::from_secs(12));
    scene.agent.serve(&json!({ "x509": [scene.domain.x509_entry(&svid)] }));
    let child = "touch runs; while [ ! -e done ]; do sleep 0.1; done";
    let mut command = scene.job(&["exec", "workload", "--token-from", "x509-svid", "--", "sh", "-c", child]);
    command.env("TOLLGATE_URL", &url).env("TOLLGATE_CA_FILE", scene.site.path("tls.crt"));
    let running = command.spawn().unwrap();
    until("the child runs", async || scene.site.path("runs").exists()).await;
    scene.agent.stop();
    until("the SVID is dead", async || scene.site.now() > expires).await;
    scene.site.write("done", "");
    let ended = running.wait_with_output().await.unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("could not be ended"), "{ended:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_a_usable_certificate_is_named_with_a_fix() {
    let scene = Scene::new("").await;
    let url = by_tls(&scene.site);
    let app = scene.site.start().await;
    let told = async |source: &str, part: &str| {
        let mut command = scene.job(&["whoami", "--token-from", source]);
        command.env("TOLLGATE_URL", &url).env("TOLLGATE_CA_FILE", scene.site.path("tls.crt"));
        let done = run(command).await;
        assert_eq!(done.code(), Some(69), "{done:?}");
        assert!(done.err.contains(part), "{part}: {done:?}");
    };
    told(&format!("x509-svid:{}", scene.domain.id("/other")), "other SVIDs than the one that is named").await;
    let old = scene.site.now() - SignedDuration::from_hours(2);
    let expired = scene.domain.x509_until(PATH, old, Duration::from_hours(1));
    scene.agent.serve(&json!({ "x509": [scene.domain.x509_entry(&expired)] }));
    told("x509-svid", "by this machine's clock").await;
    scene.agent.deny("no identity issued");
    told("x509-svid", "no identity").await;
    scene.agent.hang();
    told("x509-svid", "it gave no SVID within 5 s").await;
    scene.agent.stop();
    told("x509-svid", "is the agent running").await;

    // Neither a proof of possession nor a second certificate goes with it.
    let mut bound = scene.job(&["whoami", "--token-from", "x509-svid", "--bind", "always"]);
    let bound = run({
        bound.env("TOLLGATE_URL", &url);
        bound
    })
    .await;
    assert_eq!(bound.code(), Some(64), "{bound:?}");
    let two =
        ["exec", "workload", "--token-from", "x509-svid", "--actor-token-from", "x509-svid", "--", "true"];
    let two = scene.run(&two).await;
    assert!(two.code() == Some(64) && two.err.contains("and not both"), "{two:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_believed_by_its_spiffe_id_whatever_its_host_name() {
    let scene = Scene::new("").await;
    let svid = scene.domain.x509("/tollgate", scene.site.now());
    let url = serve_by(&scene.site, &svid.certificate_pem(), &svid.key_pem());
    let app = scene.site.start().await;
    let whoami = async |server_id: &str, source: &str| {
        let mut command = scene.job(&["whoami", "--json", "--server-id", server_id, "--token-from", source]);
        command.env("TOLLGATE_URL", &url);
        // A proof of possession would be for another URL than the public one.
        command.env("TOLLGATE_AUDIENCE", &scene.site.url).env("TOLLGATE_BIND", "never");
        run(command).await
    };
    let id = scene.domain.id("/tollgate");
    for source in ["x509-svid", "workload-api"] {
        let who = json_of(&whoami(&id, source).await);
        assert_eq!(who["kind"], "spiffe", "{who}");
        let other = whoami(&scene.domain.id("/other"), source).await;
        assert_eq!(other.code(), Some(69), "{other:?}");
        assert!(other.err.contains("certificate"), "{other:?}");
        let unknown = whoami("spiffe://other.example/tollgate", source).await;
        assert_eq!(unknown.code(), Some(64), "{unknown:?}");
        assert!(unknown.err.contains("no bundle of other.example"), "{unknown:?}");
    }
    let plain = run(scene.job(&["whoami", "--token-from", "x509-svid"])).await;
    assert_eq!(plain.code(), Some(64), "{plain:?}");
    assert!(plain.err.contains("not https"), "{plain:?}");
    app.stop().await;
}
