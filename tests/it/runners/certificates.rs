//! A client certificate beside a token: the runner, the key that the token is bound to, or a reason to refuse.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use rcgen::date_time_ymd;
use serde_json::{Value, json};

use super::renewals::block;
use super::role;
use crate::harness::book::{leased, refused};
use crate::harness::mesh::{Mesh, Svid, TlsApi, authority, bare_key, svid};

const RUNNER: &str = "spiffe://acme.example/ns/deploy/sa/runner";
const OTHER: &str = "spiffe://acme.example/ns/deploy/sa/other";

/// Allows whoever runs on the one runner.
const POLICY: (&str, &str) = (
    "policies/ci/test.rego",
    "package ci.test

default allow := false

allow if {
	input.operation == \"mint\"
	input.identity.trust == \"trusted\"
	input.runner.spiffe_id == \"spiffe://acme.example/ns/deploy/sa/runner\"
	input.runner.pool == \"deploy\"
}
",
);

const FOR_RUNNERS: &str = "[runner]\nattributes = { id = \"spiffe_id\", pool = \"namespace\" }";

fn claims(answer: &Value) -> Value {
    let token = answer["credential"]["token"].as_str().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn policy_sees_a_runner_that_connects_with_its_svid() {
    let mesh = Mesh::new(&[POLICY], FOR_RUNNERS, "").await;
    let app = mesh.site.start().await;
    let client = mesh.client(Some(&mesh.svid(RUNNER)));
    // The runner's certificate is not used up, unlike the job's token.
    for _ in 0..2 {
        let answer = client.deploy(Some(&mesh.site.token()), &[]).await;
        let record = leased(&mesh.site, &app, &answer).await;
        let expected = json!({
            "id": RUNNER, "issuer": "spiffe://acme.example", "kind": "spiffe", "pool": "deploy", "spiffe_id": RUNNER,
            "tenant": "default", "principal": "spiffe:acme.example/ns/deploy/sa/runner",
        });
        assert_eq!(record.input.as_ref().unwrap()["runner"], expected);
        assert_eq!(record.origins["runner.spiffe_id"]["origin"], "runner");
        assert_eq!(claims(&answer.json)["act"]["sub"], "spiffe:acme.example/ns/deploy/sa/runner");
    }
    let who = client.get("/v1/whoami", Some(&mesh.site.token()), &[]).await.ok();
    assert_eq!((&who["kind"], &who["runner"]["id"]), (&json!("github"), &json!(RUNNER)));
    // A runner's JWT-SVID fills it likewise.
    let actor = mesh.jwt_svid(RUNNER);
    let answer =
        mesh.client(None).deploy(Some(&mesh.site.token()), &[("tollgate-actor-token", &actor)]).await;
    let record = leased(&mesh.site, &app, &answer).await;
    assert_eq!(record.input.unwrap()["runner"]["spiffe_id"], RUNNER);

    let alone = mesh.client(None).deploy(Some(&mesh.site.token()), &[]).await;
    assert_eq!(refused(&mesh.site, &app, &alone, "not_allowed").await.input.unwrap().get("runner"), None);
    // Alone it is nobody: this domain is one of runners.
    assert_eq!(client.deploy(None, &[]).await.code(), "runner_not_identity");
    app.stop().await;
}

#[tokio::test]
async fn c_15_a_block_on_a_spiffe_id_stops_the_runner_whatever_its_own_id_is() {
    let mesh = Mesh::new(&[POLICY], FOR_RUNNERS, "").await;
    mesh.entry(&FOR_RUNNERS.replace("id = \"spiffe_id\"", "id = \"service_account\""));
    let app = mesh.site.start().await;
    let client = mesh.client(Some(&mesh.svid(RUNNER)));
    let answer = client.deploy(Some(&mesh.site.token()), &[]).await;
    let record = leased(&mesh.site, &app, &answer).await;
    assert_eq!(record.input.unwrap()["runner"]["id"], "runner");
    block(&app, &format!("runner:{RUNNER}")).await;
    assert_eq!(client.deploy(Some(&mesh.site.token()), &[]).await.code(), "blocked");
    assert_eq!(mesh.site.rows("leases WHERE end_asked_at IS NOT NULL"), 1);
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_certificate_beside_a_token_is_never_overlooked() {
    let mesh = Mesh::new(&[POLICY], FOR_RUNNERS, "").await;
    let app = mesh.site.start().await;
    let ours = |uris: &[&str]| svid(&mesh.authority, uris, |_| {});
    let expired = svid(&mesh.authority, &[RUNNER], |params| params.not_after = date_time_ymd(2026, 3, 2));
    for (shown, code) in [
        (svid(&authority(), &[RUNNER], |_| {}), "certificate_untrusted"),
        (expired, "certificate_untrusted"),
        (ours(&[]), "certificate_invalid"),
        (ours(&[RUNNER, OTHER]), "certificate_invalid"),
        (ours(&["https://acme.example/runner"]), "certificate_invalid"),
        (ours(&["spiffe://evil.example/ns/deploy/sa/runner"]), "issuer_unknown"),
        (ours(&["spiffe://acme.example/vm/7"]), "identity_not_admitted"),
        (bare_key(), "certificate_invalid"),
        (ours(&[OTHER]), "not_allowed"),
    ] {
        let answer = mesh.client(Some(&shown)).deploy(Some(&mesh.site.token()), &[]).await;
        refused(&mesh.site, &app, &answer, code).await;
        if code != "not_allowed" {
            let who = mesh.client(Some(&shown)).get("/v1/whoami", Some(&mesh.site.token()), &[]).await;
            assert_eq!(who.code(), code);
        }
    }
    // A domain whose identities are none of runners vouches for none.
    mesh.entry("");
    app.reload().await.unwrap();
    let client = mesh.client(Some(&mesh.svid(RUNNER)));
    let answer = client.deploy(Some(&mesh.site.token()), &[]).await;
    refused(&mesh.site, &app, &answer, "actor_refused").await;
    // The certificate of whom the token is about too proves nothing more, and is no reason to refuse.
    let who = client.get("/v1/whoami", Some(&mesh.jwt_svid(RUNNER)), &[]).await.ok();
    assert_eq!((&who["subject"], who.get("runner")), (&json!(RUNNER), None));
    // Nor does its other SVID, where the domain vouches for both.
    mesh.entry(&FOR_RUNNERS.replace("[runner]", "[runner]\nidentities = true"));
    app.reload().await.unwrap();
    let own = mesh.jwt_svid(RUNNER);
    let answer = client.get("/v1/whoami", None, &[("tollgate-actor-token", &own)]).await;
    assert_eq!(answer.code(), "actor_refused");
    assert_eq!(mesh.site.rows("leases"), 0);
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_token_and_a_certificate_name_one_runner() {
    let mesh = Mesh::new(&[POLICY], FOR_RUNNERS, "").await;
    let app = mesh.site.start().await;
    let client = mesh.client(Some(&mesh.svid(RUNNER)));
    let other = mesh.jwt_svid(OTHER);
    let answer = client.deploy(Some(&mesh.site.token()), &[("tollgate-actor-token", &other)]).await;
    refused(&mesh.site, &app, &answer, "runner_ambiguous").await;
    let same = mesh.jwt_svid(RUNNER);
    let answer = client.deploy(Some(&mesh.site.token()), &[("tollgate-actor-token", &same)]).await;
    leased(&mesh.site, &app, &answer).await;
    // Neither covers for the other.
    let broken = format!("{same}x");
    let answer = client.deploy(Some(&mesh.site.token()), &[("tollgate-actor-token", &broken)]).await;
    refused(&mesh.site, &app, &answer, "token_malformed").await;
    let client = mesh.client(Some(&svid(&authority(), &[RUNNER], |_| {})));
    let same = mesh.jwt_svid(RUNNER);
    let answer = client.deploy(Some(&mesh.site.token()), &[("tollgate-actor-token", &same)]).await;
    refused(&mesh.site, &app, &answer, "certificate_untrusted").await;
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_lease_of_a_runner_that_connected_is_renewed_over_its_connections_alone() {
    let mesh = Mesh::new(&[POLICY], FOR_RUNNERS, "").await;
    mesh.site.write("config/roles/deploy.toml", &role("runner = \"required\"\nmax_session = \"2h\""));
    let app = mesh.site.start().await;
    let granted = mesh.client(Some(&mesh.svid(RUNNER))).deploy(Some(&mesh.site.token()), &[]).await.ok();
    let path = format!("/v1/leases/{}/renew", granted["lease"]["id"].as_str().unwrap());
    let bearer = format!("Bearer {}", granted["lease"]["secret"].as_str().unwrap());
    let renew = async |shown: Option<&Svid>| {
        let client = mesh.client(shown);
        client.send(Method::POST, &path, &[("authorization", &bearer)], &json!({ "ttl": "50m" })).await
    };
    assert_eq!(renew(None).await.code(), "runner_missing");
    assert_eq!(renew(Some(&mesh.svid(OTHER))).await.code(), "runner_differs");
    assert_eq!(renew(Some(&svid(&authority(), &[RUNNER], |_| {}))).await.code(), "certificate_untrusted");
    // Its SVID is another one within the hour, and it is the same runner.
    renew(Some(&mesh.svid(RUNNER))).await.ok();
    app.stop().await;
}

/// A stolen token beside the thief's own SVID: two good identities, which nothing ties together but what the role asks for.
#[tokio::test]
async fn i_22_two_unrelated_identities_are_two_until_the_role_asks_for_more() {
    let thieves = format!("tenant = \"elsewhere\"\n{FOR_RUNNERS}");
    let mesh = Mesh::new(&[POLICY], &thieves, "").await;
    let app = mesh.site.start().await;
    let runner = mesh.svid(RUNNER);
    let client = mesh.client(Some(&runner));
    let answer = client.deploy(Some(&mesh.site.token()), &[]).await;
    refused(&mesh.site, &app, &answer, "runner_tenant_differs").await;
    // A role of runners for several tenants: both are proved, and it is not claimed that they are one job.
    mesh.site.write("config/roles/deploy.toml", &role("same_tenant = false"));
    app.reload().await.unwrap();
    let answer = client.deploy(Some(&mesh.site.token()), &[]).await;
    let record = leased(&mesh.site, &app, &answer).await;
    assert_eq!(record.input.as_ref().unwrap()["identity"]["bound"], false);
    assert_eq!(record.input.as_ref().unwrap()["runner"]["tenant"], "elsewhere");
    // Bound to the key of the runner that shows it, a token is of no use on another one.
    mesh.site.write("config/roles/deploy.toml", &role("same_tenant = false\npossession = \"required\""));
    app.reload().await.unwrap();
    let answer = client.deploy(Some(&mesh.site.token()), &[]).await;
    refused(&mesh.site, &app, &answer, "possession_required").await;
    let stolen = runner.token(&mesh.site);
    let thief = mesh.client(Some(&mesh.svid(RUNNER)));
    assert_eq!(thief.deploy(Some(&stolen), &[]).await.code(), "proof_missing");
    let answer = client.deploy(Some(&stolen), &[]).await;
    let record = leased_bound(&mesh, &app, &answer).await;
    assert_eq!(record["identity"]["bound"], true);
    assert_eq!(record["runner"]["spiffe_id"], RUNNER);
    app.stop().await;
}

/// The input of a lease whose secret needs its key.
async fn leased_bound(mesh: &Mesh, app: &tollgate::app::App, answer: &crate::harness::api::Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(mesh.site.rows("leases WHERE bound_to IS NOT NULL"), 1);
    let id = answer.json["decision"].as_str().unwrap().parse().unwrap();
    app.broker().ledger().decision(id).await.unwrap().unwrap().input.unwrap()
}

#[tokio::test]
async fn i_22_a_connection_with_the_key_is_as_good_as_a_proof_of_it() {
    let mesh = Mesh::new(&[], "", "").await;
    let app = mesh.site.start().await;
    let key = bare_key();
    let (client, plain) = (mesh.client(Some(&key)), mesh.client(None));
    let token = key.token(&mesh.site);
    for thief in [&plain, &mesh.client(Some(&bare_key()))] {
        assert_eq!(thief.deploy(Some(&token), &[]).await.code(), "proof_missing");
    }
    let granted = client.deploy(Some(&token), &[]).await.ok();
    assert_eq!(claims(&granted)["cnf"], json!({ "jkt": key.thumbprint() }));
    assert_eq!(claims(&granted).get("act"), None, "a key is nobody");

    let path = format!("/v1/leases/{}", granted["lease"]["id"].as_str().unwrap());
    let secret = granted["lease"]["secret"].as_str();
    assert_eq!(plain.get(&path, secret, &[]).await.code(), "proof_missing");
    assert_eq!(mesh.client(Some(&bare_key())).get(&path, secret, &[]).await.code(), "proof_missing");
    assert_eq!(client.get(&path, secret, &[]).await.status, 200);
    let bearer = format!("Bearer {}", secret.unwrap());
    let end = async |client: &TlsApi| {
        client.send(Method::DELETE, &path, &[("authorization", &bearer)], &Value::Null).await
    };
    assert_eq!(end(&plain).await.code(), "proof_missing");
    assert_eq!(end(&client).await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn i_22_an_svid_satisfies_what_wants_a_key_and_what_it_gets_is_bound_to_it() {
    let workload = "package ci.test\n\ndefault allow := false\n\nallow if {\n\tinput.operation == \"mint\"\n\t\
                    input.identity.kind == \"spiffe\"\n\tinput.identity.bound\n}\n";
    let mesh = Mesh::new(&[("policies/ci/test.rego", workload)], "possession = \"required\"", "").await;
    let lease = "max_session = \"2h\"";
    mesh.site.write("config/roles/deploy.toml", &role(lease));
    let app = mesh.site.start().await;
    let shown = mesh.svid(RUNNER);
    let client = mesh.client(Some(&shown));
    // Unless the role asks for it, nothing hangs on a key that changes within the hour.
    let granted = client.deploy(None, &[]).await.ok();
    assert_eq!(claims(&granted).get("cnf"), None);
    mesh.site.write("config/roles/deploy.toml", &role(&format!("possession = \"required\"\n{lease}")));
    app.reload().await.unwrap();
    let granted = client.deploy(None, &[]).await.ok();
    assert_eq!(claims(&granted)["cnf"], json!({ "x5t#S256": shown.hash() }));
    let path = format!("/v1/leases/{}", granted["lease"]["id"].as_str().unwrap());
    let secret = granted["lease"]["secret"].as_str();
    let next = mesh.svid(RUNNER);
    let rotated = mesh.client(Some(&next));
    let bearer = format!("Bearer {}", secret.unwrap());
    let renew = async |client: &TlsApi| {
        let ttl = json!({ "ttl": "50m" });
        client.send(Method::POST, &format!("{path}/renew"), &[("authorization", &bearer)], &ttl).await
    };
    assert_eq!(renew(&mesh.client(None)).await.code(), "proof_missing");
    let renewed = renew(&rotated).await.ok();
    assert_eq!(
        claims(&renewed)["cnf"],
        json!({ "x5t#S256": next.hash() }),
        "its token is of the SVID of now"
    );
    // Its token proves no key, for the role and for the entry.
    let token = mesh.jwt_svid(RUNNER);
    assert_eq!(mesh.client(None).deploy(Some(&token), &[]).await.code(), "possession_required");
    app.stop().await;
}

/// A workload that is bound to its SPIFFE ID, and whoever has stolen its lease's secret.
async fn bound_workload(role_wants: &str) -> (Mesh, tollgate::app::App) {
    let policy = "package ci.test\n\ndefault allow := false\n\nallow if {\n\tinput.operation == \"mint\"\n\t\
                  input.identity.kind == \"spiffe\"\n}\n";
    let mesh = Mesh::new(&[("policies/ci/test.rego", policy)], "", "").await;
    let lease = "max_session = \"2h\"\nheartbeat = \"1h\"";
    mesh.site.write("config/roles/deploy.toml", &role(&format!("{role_wants}{lease}")));
    let app = mesh.site.start().await;
    (mesh, app)
}

#[tokio::test]
async fn i_22_a_lease_of_an_svid_is_held_by_its_next_one_and_by_nobody_else() {
    let (mesh, app) = bound_workload("possession = \"required\"\n").await;
    let granted = mesh.client(Some(&mesh.svid(RUNNER))).deploy(None, &[]).await.ok();
    let path = format!("/v1/leases/{}", granted["lease"]["id"].as_str().unwrap());
    let bearer = format!("Bearer {}", granted["lease"]["secret"].as_str().unwrap());
    let send = async |shown: Option<&Svid>, method: Method, path: &str| {
        let bearer = [("authorization", bearer.as_str())];
        let body = if path.ends_with("/renew") { json!({ "ttl": "50m" }) } else { Value::Null };
        mesh.client(shown).send(method, path, &bearer, &body).await
    };
    let (beat, renew) = (format!("{path}/heartbeat"), format!("{path}/renew"));
    let foreign = RUNNER.replace("acme.example", "evil.example");
    let expired = svid(&mesh.authority, &[RUNNER], |params| params.not_after = date_time_ymd(2026, 3, 2));
    for (shown, code) in [
        (None, "proof_missing"),
        (Some(&bare_key()), "proof_missing"),
        (Some(&mesh.svid(OTHER)), "proof_missing"),
        (Some(&mesh.svid(&foreign)), "proof_missing"),
        (Some(&svid(&authority(), &[RUNNER], |_| {})), "certificate_untrusted"),
        (Some(&expired), "certificate_untrusted"),
    ] {
        assert_eq!(send(shown, Method::GET, &path).await.code(), code);
        assert_eq!(send(shown, Method::POST, &beat).await.code(), code);
        assert_eq!(send(shown, Method::POST, &renew).await.code(), code);
        assert_eq!(send(shown, Method::DELETE, &path).await.code(), code);
    }
    let next = mesh.svid(RUNNER);
    assert_eq!(send(Some(&next), Method::GET, &path).await.status, 200);
    assert_eq!(send(Some(&next), Method::POST, &beat).await.status, 200);
    send(Some(&next), Method::POST, &renew).await.ok();

    // What the trust domain takes back holds nothing from then on; nor does anything once the domain is gone.
    let successor = authority();
    mesh.publish(&successor).await;
    app.reload().await.unwrap();
    assert_eq!(send(Some(&next), Method::POST, &beat).await.code(), "certificate_untrusted");
    let under_it = svid(&successor, &[RUNNER], |_| {});
    assert_eq!(send(Some(&under_it), Method::POST, &beat).await.status, 200);
    mesh.remove_entry();
    app.reload().await.unwrap();
    assert_eq!(send(Some(&under_it), Method::POST, &beat).await.code(), "issuer_unknown");
    mesh.entry("");
    app.reload().await.unwrap();
    assert_eq!(send(Some(&under_it), Method::DELETE, &path).await.status, 200);
    app.stop().await;
}

/// The lease was bound to nothing, so that its secret alone renews it: that is never called proved.
#[tokio::test]
async fn i_22_a_renewal_is_bound_only_by_what_its_lease_is_bound_to() {
    let (mesh, app) = bound_workload("").await;
    let client = mesh.client(Some(&mesh.svid(RUNNER)));
    let granted = client.deploy(None, &[]).await.ok();
    let path = format!("/v1/leases/{}/renew", granted["lease"]["id"].as_str().unwrap());
    let bearer = format!("Bearer {}", granted["lease"]["secret"].as_str().unwrap());
    let renew = async |client: &TlsApi, ttl: &str| {
        client.send(Method::POST, &path, &[("authorization", &bearer)], &json!({ "ttl": ttl })).await
    };
    let decided = async |answer: &Value| {
        let id = answer["decision"].as_str().unwrap().parse().unwrap();
        app.broker().ledger().decision(id).await.unwrap().unwrap().input.unwrap()
    };
    assert_eq!(decided(&granted).await["identity"]["bound"], true);
    let thief = mesh.client(None);
    let renewed = renew(&thief, "40m").await.ok();
    assert_eq!(decided(&renewed).await["identity"]["bound"], false);
    let wanted = "possession = \"required\"\nmax_session = \"2h\"";
    mesh.site.write("config/roles/deploy.toml", &role(wanted));
    app.reload().await.unwrap();
    assert_eq!(renew(&thief, "50m").await.code(), "possession_required");
    assert_eq!(renew(&client, "50m").await.code(), "possession_required", "the lease stays what it is");
    app.stop().await;
}
