//! The listener for proxies that end TLS: what counts as one, and what is read of what it passes on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use rcgen::date_time_ymd;
use serde_json::{Value, json};
use tollgate::app::App;

use crate::harness::mesh::{Mesh, Svid, authority, bare_key, escaped, svid};
use crate::harness::site::DEPLOY;

const PROXY: &str = "spiffe://acme.example/ns/ingress/sa/envoy";
const WORKLOAD: &str = "spiffe://acme.example/ns/shop/sa/deployer";
const XFCC: &str = "x-forwarded-client-cert";

const BOTH: &str = "[runner]\nidentities = true\nattributes = { id = \"spiffe_id\" }";

/// Allows whoever has a SPIFFE identity of the shop, and jobs on a runner of it.
const POLICY: (&str, &str) = (
    "policies/ci/test.rego",
    "package ci.test

default allow := false

allow if {
	input.operation == \"mint\"
	input.identity.namespace == \"shop\"
}

allow if {
	input.operation == \"mint\"
	input.runner.spiffe_id == \"spiffe://acme.example/ns/shop/sa/deployer\"
}
",
);

fn listener(header: &str) -> String {
    format!("proxy = {{ listen = \"127.0.0.1:0\", header = \"{header}\", spiffe_ids = [\"{PROXY}\"] }}")
}

async fn scene() -> (Mesh, App) {
    let mesh = Mesh::new(&[POLICY], BOTH, &listener("xfcc")).await;
    mesh.site.write("config/roles/deploy.toml", &DEPLOY.replace(", \"branch\"", ""));
    let app = mesh.site.start().await;
    (mesh, app)
}

/// The header as Envoy writes it for `client`.
fn envoy(client: &Svid) -> String {
    let pem = escaped(&client.certificate.pem());
    format!("By={PROXY};Hash=00ff;Subject=\"\";URI={WORKLOAD};Cert=\"{pem}\";Chain=\"{pem}\"")
}

#[tokio::test]
async fn another_listener_for_proxies_needs_a_restart_and_other_proxies_do_not() {
    let (mesh, app) = scene().await;
    let settings = std::fs::read_to_string(mesh.site.path("config/tollgate.toml")).unwrap();
    let reload = async |from: &str, to: &str| {
        mesh.site.write("config/tollgate.toml", &settings.replace(from, to));
        app.reload().await.err().map(|problems| problems.iter().map(ToString::to_string).collect::<String>())
    };
    assert_eq!(reload("/sa/envoy", "/sa/other").await, None);
    let changed = reload("proxy = { listen = \"127.0.0.1:0\"", "proxy = { listen = \"127.0.0.1:9\"").await;
    assert_eq!(reload(&listener("xfcc"), "").await, None, "nobody is let in any more");
    let added = reload("", "").await;
    for told in [changed, added] {
        assert!(told.as_ref().unwrap().contains("server.proxy.listen is read only at start"), "{told:?}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_proxy_passes_on_who_asks_and_where_it_runs() {
    let (mesh, app) = scene().await;
    let proxy = mesh.through(&app, Some(&mesh.svid(PROXY)));
    let workload = envoy(&mesh.svid(WORKLOAD));
    let answer = proxy.deploy(None, &[(XFCC, &workload)]).await.ok();
    assert_eq!(answer["credential"]["kind"], "jwt");
    let who = proxy.get("/v1/whoami", None, &[(XFCC, &workload)]).await.ok();
    assert_eq!((&who["subject"], who.get("runner")), (&json!(WORKLOAD), None));
    proxy.deploy(Some(&mesh.site.token()), &[(XFCC, &workload)]).await.ok();
    // A key behind the proxy is as good as one before it.
    let key = mesh.svid(WORKLOAD);
    let bound = key.token(&mesh.site);
    assert_eq!(proxy.deploy(Some(&bound), &[(XFCC, &workload)]).await.code(), "proof_missing");
    proxy.deploy(Some(&bound), &[(XFCC, &envoy(&key))]).await.ok();

    // Without a client's certificate there is a token, or nobody: the proxy itself is neither caller nor runner.
    let who = proxy.get("/v1/whoami", Some(&mesh.site.token()), &[]).await.ok();
    assert_eq!((&who["kind"], who.get("runner")), (&json!("github"), None));
    assert_eq!(proxy.get("/v1/whoami", None, &[]).await.code(), "token_missing");

    mesh.server(&listener("rfc9440"));
    app.reload().await.unwrap();
    let der = format!(":{}:", STANDARD.encode(mesh.svid(WORKLOAD).certificate.der()));
    let root = format!(":{}:", STANDARD.encode(mesh.authority.der()));
    let fields = [("client-cert", der.as_str()), ("client-cert-chain", root.as_str())];
    assert_eq!(proxy.get("/v1/whoami", None, &fields).await.ok()["subject"], WORKLOAD);
    assert_eq!(proxy.get("/v1/whoami", None, &[(XFCC, &workload)]).await.code(), "token_missing");
    app.stop().await;
}

#[tokio::test]
async fn i_21_a_header_is_nothing_without_the_proxys_svid() {
    let (mesh, app) = scene().await;
    let forged = envoy(&mesh.svid(WORKLOAD));
    let ours = mesh.svid(WORKLOAD);
    let expired = svid(&mesh.authority, &[PROXY], |params| params.not_after = date_time_ymd(2026, 3, 2));
    let mut asked = 0;
    for shown in [
        None,
        Some(&ours),
        Some(&svid(&authority(), &[PROXY], |_| {})),
        Some(&svid(&mesh.authority, &["spiffe://evil.example/ns/ingress/sa/envoy"], |_| {})),
        Some(&svid(&mesh.authority, &[PROXY, WORKLOAD], |_| {})),
        Some(&bare_key()),
        Some(&expired),
    ] {
        let client = mesh.through(&app, shown);
        for token in [None, Some(mesh.site.token())] {
            let answer = client.deploy(token.as_deref(), &[(XFCC, &forged)]).await;
            assert_eq!((answer.status, answer.code()), (401, "proxy_refused"), "{}", answer.text);
            asked += 1;
        }
    }
    // On the other listener it is not read: a client is what it shows itself, whoever it says it is.
    let der = format!(":{}:", STANDARD.encode(ours.certificate.der()));
    let headers = [(XFCC, forged.as_str()), ("client-cert", der.as_str())];
    assert_eq!(mesh.client(None).deploy(None, &headers).await.code(), "token_missing");
    let who = mesh.client(Some(&mesh.svid(PROXY))).get("/v1/whoami", None, &headers).await.ok();
    assert_eq!(who["subject"], PROXY);
    let who = mesh.client(None).get("/v1/whoami", Some(&mesh.site.token()), &headers).await.ok();
    assert_eq!(who.get("runner"), None);
    nothing_minted(&mesh, &app, "proxy_refused", asked).await;
    app.stop().await;
}

#[tokio::test]
async fn i_21_what_a_proxy_passes_on_is_verified_again() {
    let (mesh, app) = scene().await;
    let proxy = mesh.through(&app, Some(&mesh.svid(PROXY)));
    let good = escaped(&mesh.svid(WORKLOAD).certificate.pem());
    let foreign = svid(&authority(), &[WORKLOAD], |_| {});
    let expired = svid(&mesh.authority, &[WORKLOAD], |params| params.not_after = date_time_ymd(2026, 3, 2));
    let two = svid(&mesh.authority, &[WORKLOAD, PROXY], |_| {});
    let elsewhere = mesh.svid("spiffe://evil.example/ns/shop/sa/deployer");
    let broken = "forwarded_certificate_invalid";
    for (header, code) in [
        (format!("URI={WORKLOAD}"), broken),
        (format!("By={PROXY};Hash=00ff;Subject=\"\";URI={WORKLOAD}"), broken),
        (format!("Cert=\"{good}\",Cert=\"{good}\""), broken),
        (format!("URI={WORKLOAD},Cert=\"{good}\""), broken),
        (format!("Cert=\"{}\"", &good[..good.len() / 2]), broken),
        (String::new(), broken),
        (envoy(&foreign), "certificate_untrusted"),
        (envoy(&expired), "certificate_untrusted"),
        (envoy(&two), "certificate_invalid"),
        (envoy(&bare_key()), "certificate_invalid"),
        (envoy(&elsewhere), "issuer_unknown"),
    ] {
        let alone = proxy.deploy(None, &[(XFCC, &header)]).await;
        assert_eq!(alone.code(), code, "{header}: {}", alone.text);
        let beside = proxy.deploy(Some(&mesh.site.token()), &[(XFCC, &header)]).await;
        assert_eq!(beside.code(), code, "{header}: {}", beside.text);
    }
    let line = format!("Cert=\"{good}\"");
    let twice = proxy.deploy(None, &[(XFCC, &line), (XFCC, &line)]).await;
    assert_eq!((twice.status, twice.code()), (400, broken));
    nothing_minted(&mesh, &app, broken, 13).await;
    app.stop().await;
}

/// What a client's own header could say, if the proxy passed it through: any public key, in a certificate that anybody makes.
#[tokio::test]
async fn i_21_a_key_that_nothing_but_a_proxy_vouches_for_proves_nothing() {
    let (mesh, app) = scene().await;
    let proxy = mesh.through(&app, Some(&mesh.svid(PROXY)));
    let key = bare_key();
    let bound = key.token(&mesh.site);
    let actor = mesh.jwt_svid(WORKLOAD);
    let actor = ("tollgate-actor-token", actor.as_str());
    let forged = envoy(&key);
    let stolen = proxy.deploy(Some(&bound), &[actor, (XFCC, &forged)]).await;
    assert_eq!(stolen.code(), "proof_missing");
    assert!(stolen.text.contains("a proxy passed on the certificate"), "{}", stolen.text);
    assert_eq!(mesh.site.rows("authorisations"), 0);

    let client = mesh.client(Some(&key));
    let granted = client.deploy(Some(&bound), &[actor]).await.ok();
    let path = format!("/v1/leases/{}", granted["lease"]["id"].as_str().unwrap());
    let secret = granted["lease"]["secret"].as_str();
    assert_eq!(proxy.get(&path, secret, &[(XFCC, &forged)]).await.code(), "proof_missing");
    assert_eq!(client.get(&path, secret, &[]).await.status, 200);

    // Nor does a name help that no bundle vouches for; one that it vouches for does.
    let named = svid(&authority(), &[WORKLOAD], |_| {});
    let bound = named.token(&mesh.site);
    assert_eq!(proxy.deploy(Some(&bound), &[(XFCC, &envoy(&named))]).await.code(), "certificate_untrusted");
    app.stop().await;
}

#[tokio::test]
async fn i_23_a_proxy_is_verified_for_each_request_of_a_connection_that_stays() {
    let (mesh, app) = scene().await;
    let proxy = mesh.through(&app, Some(&mesh.svid(PROXY)));
    let client = [(XFCC, envoy(&mesh.svid(WORKLOAD)))];
    let client = [(client[0].0, client[0].1.as_str())];
    let whoami = async || -> Value { proxy.get("/v1/whoami", None, &client).await.json };
    assert_eq!(whoami().await["subject"], WORKLOAD);
    mesh.publish(&authority()).await;
    mesh.site.clock.set(mesh.site.now() + SignedDuration::from_mins(61));
    assert_eq!(whoami().await["code"], "proxy_refused");
    mesh.publish(&mesh.authority).await;
    app.reload().await.unwrap();
    assert_eq!(whoami().await["subject"], WORKLOAD);
    mesh.server(&listener("xfcc").replace("sa/envoy", "sa/another"));
    app.reload().await.unwrap();
    assert_eq!(whoami().await["code"], "proxy_refused");
    mesh.server("");
    app.reload().await.unwrap();
    assert_eq!(whoami().await["code"], "proxy_refused", "no proxies are left");
    app.stop().await;
}

/// Nothing was decided for anybody, and `code` was counted `times`.
async fn nothing_minted(mesh: &Mesh, app: &App, code: &str, times: i64) {
    assert_eq!(mesh.site.rows("leases"), 0);
    assert_eq!(mesh.site.rows("authorisations"), 0);
    assert_eq!(mesh.site.counted(app, code).await, times);
}
