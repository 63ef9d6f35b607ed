//! The SVID as a client certificate: towards Vault, and towards the database.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{TOLLGATE, state};
use crate::harness::api::Answer;
use crate::harness::parts::bao::Bao;
use crate::harness::parts::postgres::Postgres;
use crate::harness::site::free_port;
use crate::harness::trust_domain::Svid;
use crate::harness::wait::until;
use crate::harness::{Site, TrustDomain, Workload};

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

/// The certificate and the key in files that only their owner may read.
fn files(folder: &Path, svid: &Svid) -> (String, String) {
    let (certificate, key) = (folder.join("svid.pem"), folder.join("svid.key"));
    std::fs::write(&certificate, svid.certificate_pem()).unwrap();
    std::fs::write(&key, svid.key_pem()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    (text(&certificate), text(&key))
}

/// What the agent gives Tollgate: an SVID that `issuer` vouches for, and the bundle of `domain`.
fn shown_by(site: &Site, domain: &TrustDomain, issuer: &TrustDomain) -> Value {
    let mut given = state(site, domain, &[]);
    let svid = issuer.x509(TOLLGATE, site.now());
    given["x509"][0] = issuer.x509_entry(&svid);
    given["x509"][0]["bundle"] = domain.x509_bundle().into();
    given
}

fn agent_of(site: &Site, agent: &Workload) -> String {
    site.settings(&format!("[workload_api]\nendpoint = \"{}\"\n", agent.socket()))
}

/// A Vault that has an SVID of its own, and lets nobody in who shows none of its trust domain.
struct Vault {
    bao: Bao,
    port: u16,
    id: String,
    /// Its certificate and key lie here.
    _folder: TempDir,
}

impl Vault {
    async fn of(domain: &TrustDomain) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = domain.x509("/vault", tollgate::clock::Clock::system().now());
        let (certificate, key) = files(folder.path(), &server);
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, pem(domain.authority())).unwrap();
        let (port, cluster) = (free_port(), free_port());
        let bao = Bao::with(&format!(
            "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  \
             tls_cert_file = \"{certificate}\"\n  tls_key_file = \"{key}\"\n  \
             tls_client_ca_file = \"{}\"\n  tls_require_and_verify_client_cert = true\n}}\n",
            authority.display()
        ))
        .await;
        Self { bao, port, id: server.id, _folder: folder }
    }

    /// The target's file, with `more` at its end.
    fn target(&self, more: &str) -> String {
        format!(
            "provider = \"vault\"\naddress = \"https://127.0.0.1:{}\"\nmount = \"jwt\"\n\
             audience = \"https://vault.example\"\ninsecure_loopback = true\n{more}\n",
            self.port
        )
    }

    /// What a target says that knows this Vault and shows it the SVID.
    fn whole(&self) -> String {
        format!("spiffe_id = \"{}\"\nclient_certificate = {{ workload_api = true }}", self.id)
    }
}

async fn mint(site: &Site) -> Answer {
    site.api().credentials(&site.token(), &json!({ "role": "vault/app" })).await
}

#[tokio::test]
async fn i_23_a_server_is_believed_no_longer_than_the_authorities_that_vouched_for_it() {
    let ours = TrustDomain::new("acme.example");
    let vault = Vault::of(&ours).await;
    let site = vault.bao.site(&[("config/targets/bao.toml", &vault.target(&vault.whole()))]).await;
    let agent = Workload::start(&shown_by(&site, &ours, &ours));
    site.write("config/tollgate.toml", &agent_of(&site, &agent));
    let app = site.start().await;
    vault.bao.trust(&site).await;
    assert_eq!(mint(&site).await.status, 200);
    // Our own SVID is good there still: only who vouches for Vault is another.
    agent.serve(&shown_by(&site, &TrustDomain::new("acme.example"), &ours));
    until("nobody vouches for it", async || mint(&site).await.status != 200).await;
    assert_eq!(mint(&site).await.code(), "provider_unavailable");
    app.stop().await;
}

#[tokio::test]
async fn vault_sees_the_svid_of_now_and_is_known_by_its_own() {
    let ours = TrustDomain::new("acme.example");
    let vault = Vault::of(&ours).await;
    let whole = vault.whole();
    let site = vault.bao.site(&[("config/targets/bao.toml", &vault.target(&whole))]).await;
    let rogue = TrustDomain::new("acme.example");
    let agent = Workload::start(&shown_by(&site, &ours, &rogue));
    site.write("config/tollgate.toml", &agent_of(&site, &agent));
    let app = site.start().await;
    vault.bao.trust(&site).await;
    let mint = async || mint(&site).await;
    assert_eq!(mint().await.code(), "provider_unavailable", "Vault does not know who vouches for it");
    agent.serve(&shown_by(&site, &ours, &ours));
    until("the next SVID is shown", async || mint().await.status == 200).await;

    // Without the certificate nobody is let in; a server with another id is not believed.
    let other = "spiffe_id = \"spiffe://acme.example/other\"\nclient_certificate = { workload_api = true }";
    for broken in [format!("spiffe_id = \"{}\"", vault.id).as_str(), other] {
        site.write("config/targets/bao.toml", &vault.target(broken));
        app.reload().await.unwrap();
        assert_eq!(mint().await.code(), "provider_unavailable", "{broken}");
    }
    site.write("config/targets/bao.toml", &vault.target(&whole));
    app.reload().await.unwrap();
    assert_eq!(mint().await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn the_database_sees_the_svid_of_now_on_new_connections() {
    let ours = TrustDomain::new("acme.example");
    let postgres = Postgres::start();
    let site = Site::of_process(&[]).await;
    let database = postgres.database();
    let folder = postgres.data.clone();
    let server = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    for (name, text) in [
        ("server.pem", server.cert.pem()),
        ("server.key", server.signing_key.serialize_pem()),
        ("clients.pem", pem(ours.authority())),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(folder.join(name), private).unwrap();
        Postgres::give(&folder.join(name));
    }
    let settings =
        "ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\nssl_ca_file = 'clients.pem'\n";
    let of_now = std::fs::read_to_string(folder.join("postgresql.conf")).unwrap();
    std::fs::write(folder.join("postgresql.conf"), format!("{of_now}\n{settings}")).unwrap();
    let only = "hostssl all tollgate 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n";
    std::fs::write(folder.join("pg_hba.conf"), only).unwrap();
    postgres.stop_at_once();
    postgres.start_again();

    site.write("server.pem", &server.cert.pem());
    let agent = Workload::start(&shown_by(&site, &ours, &ours));
    let place = |more: &str| {
        let place =
            format!("postgres = {{ url = \"{}\", ca = \"../server.pem\"{more} }}", postgres.url(&database));
        let settings = agent_of(&site, &agent).replace("sqlite = \"../ledger.db\"", &place);
        settings.replace("[store]", "admin_socket = \"../admin.sock\"\n\n[store]")
    };
    site.write("config/tollgate.toml", &place(""));
    let refused = tollgate::app::App::start(site.source(), site.clock.clone(), None).await;
    assert!(refused.is_err(), "a database that wants a certificate is shown none");
    site.write("config/tollgate.toml", &place(", client_certificate = { workload_api = true }"));
    let app = site.start().await;
    let (api, token) = (site.api(), site.token());
    let reads = async || api.send(Method::GET, "/v1/whoami", &[], "").await.status;
    let writes = async || api.deploy(&site.token()).await.status;
    assert_eq!((api.deploy(&token).await.status, reads().await), (200, 401));

    // An SVID that the database does not believe: connections that are open live on, and new ones are refused.
    let rogue = TrustDomain::new("acme.example");
    agent.serve(&shown_by(&site, &ours, &rogue));
    assert_eq!(writes().await, 200);
    until("the agent has told", async || agent.count().open() >= 4).await;
    postgres.stop_at_once();
    postgres.start_again();
    assert_eq!(writes().await, 503);
    agent.serve(&shown_by(&site, &ours, &ours));
    until("the next SVID is shown", async || writes().await == 200).await;
    app.stop().await;
}
