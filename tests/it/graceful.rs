//! The end of a server: what was begun is finished, and nothing new is.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::harness::wait::soon;
use crate::harness::{Server, Site};

/// A Vault that answers logins only when it is told to.
struct SlowVault {
    url: String,
    asked: Arc<Notify>,
    go_on: Arc<Notify>,
}

fn auth(accessor: &str, policies: &Value, seconds: u64, renewable: bool) -> axum::Json<Value> {
    axum::Json(json!({ "auth": {
        "client_token": format!("s.{accessor}"), "accessor": accessor, "policies": policies,
        "lease_duration": seconds, "renewable": renewable, "orphan": false, "num_uses": 0,
    } }))
}

impl SlowVault {
    async fn start() -> Self {
        let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (Arc::clone(&asked), Arc::clone(&go_on));
        let login = post(async move || {
            tell.notify_one();
            wait.notified().await;
            auth("login", &json!(["login"]), 60, true)
        });
        let router = Router::new()
            .route("/v1/auth/jwt/login", login)
            .route("/v1/auth/token/renew-self", post(async || auth("login", &json!(["login"]), 900, true)))
            .route("/v1/auth/token/create", post(async || auth("child", &json!(["read-app"]), 900, false)));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, go_on }
    }

    async fn site(&self) -> Site {
        let target = format!(
            "provider = \"vault\"\naddress = \"{}\"\nmount = \"jwt\"\naudience = \"https://vault.example\"\n\
             insecure_loopback = true\n",
            self.url
        );
        let role = "description = \"slow\"\nenvironment = \"production\"\ntarget = \"vault\"\nttl = { default = \"15m\", max = \"1h\" }\n\
                    policies = [\"ci.test\"]\n\n[vault]\nlogin_role = \"app\"\n\n[scopes.read]\npolicies = [\"read-app\"]\n";
        Site::of_process(&[("config/targets/vault.toml", &target), ("config/roles/app.toml", role)]).await
    }
}

#[tokio::test]
async fn sigterm_finishes_a_mint_in_flight_and_accepts_nobody_new() {
    let vault = SlowVault::start().await;
    let site = vault.site().await;
    let mut server = Server::start(&site.config(), "");
    let (api, token) = (site.api(), site.token());
    let asking = tokio::spawn(async move { api.credentials(&token, &json!({ "role": "app" })).await });
    vault.asked.notified().await;
    server.signal("TERM");
    let address = site.url.trim_start_matches("http://").to_owned();
    soon("a closed port", async || tokio::net::TcpStream::connect(&address).await.err()).await;
    vault.go_on.notify_one();
    let leased = asking.await.unwrap().ok();
    assert_eq!(leased["credential"]["token"], "s.child");
    assert!(server.wait().success());
    assert_eq!(leases(&site), 1);
}

// Several threads: waiting for the process must not hold up the Vault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mint_whose_client_is_gone_is_recorded_before_the_end() {
    let vault = SlowVault::start().await;
    let site = vault.site().await;
    let mut server = Server::start(&site.config(), "");
    let (api, token) = (site.api(), site.token());
    let asking = tokio::spawn(async move { api.credentials(&token, &json!({ "role": "app" })).await });
    vault.asked.notified().await;
    asking.abort();
    server.signal("TERM");
    let address = site.url.trim_start_matches("http://").to_owned();
    soon("a closed port", async || tokio::net::TcpStream::connect(&address).await.err()).await;
    vault.go_on.notify_one();
    assert!(server.wait().success());
    assert_eq!(leases(&site), 1);
}

fn leases(site: &Site) -> u32 {
    let store = rusqlite::Connection::open(site.store()).unwrap();
    store.query_row("SELECT count(*) FROM leases", [], |row| row.get(0)).unwrap()
}
