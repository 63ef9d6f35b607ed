//! What somebody wants ended is ended as soon as its target can, whatever the other targets do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::Site;
use crate::harness::wait::{soon, until};

/// A Vault that can stop answering.
#[derive(Clone, Default)]
struct Vault {
    hangs: Arc<AtomicBool>,
    revokes: Arc<AtomicBool>,
    logins: Arc<AtomicUsize>,
    /// Ends that it has begun and not answered, now and at most.
    ending: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// Ends that it has begun since it last counted, and how many of them are answered.
    begun: Arc<AtomicUsize>,
    answers: Arc<watch::Sender<usize>>,
}

fn auth(accessor: &str, policy: &str, seconds: u64, renewable: bool) -> Response {
    axum::Json(json!({ "auth": {
        "client_token": format!("s.{accessor}"), "accessor": accessor, "policies": [policy],
        "lease_duration": seconds, "renewable": renewable, "orphan": false, "num_uses": 0,
    } }))
    .into_response()
}

impl Vault {
    /// One that answers every end.
    fn new() -> Self {
        let vault = Self::default();
        vault.answers.send_replace(usize::MAX);
        vault
    }

    async fn login(self) -> Response {
        let n = self.logins.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        auth(&format!("login-{n}"), "login", 60, true)
    }

    async fn revoke(self) -> StatusCode {
        let here = self.ending.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(here, Ordering::SeqCst);
        let ticket = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.answers.subscribe().wait_for(|answers| ticket <= *answers).await.unwrap();
        self.ending.fetch_sub(1, Ordering::SeqCst);
        let works = self.revokes.load(Ordering::SeqCst);
        if works { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Starts it; the file of a target and of a role named `name` that mint here.
    async fn files(&self, name: &str) -> [(String, String); 2] {
        let (login, revoke) = (self.clone(), self.clone());
        let revoke = async move || revoke.clone().revoke().await;
        let router = Router::new()
            .route("/v1/auth/jwt/login", post(async move || login.clone().login().await))
            .route("/v1/auth/token/renew-self", post(async || auth("login", "login", 900, true)))
            .route("/v1/auth/token/create", post(async || auth("child", "read-app", 900, false)))
            .route("/v1/auth/token/revoke-accessor", post(revoke))
            .route("/v1/auth/token/revoke-self", post(async || StatusCode::NO_CONTENT));
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let target = format!(
            "provider = \"vault\"\naddress = \"http://{address}\"\nmount = \"jwt\"\n\
             audience = \"https://{name}.example\"\ninsecure_loopback = true\n"
        );
        let role = format!(
            "description = \"{name}\"\nenvironment = \"production\"\ntarget = \"{name}\"\n\
             ttl = {{ default = \"15m\", max = \"1h\" }}\npolicies = [\"ci.test\"]\n\n[vault]\nlogin_role = \"app\"\n\n\
             [scopes.read]\npolicies = [\"read-app\"]\n"
        );
        [(format!("config/targets/{name}.toml"), target), (format!("config/roles/{name}.toml"), role)]
    }
}

/// Gets a lease and asks to end it, which the target does not confirm; its id and secret.
async fn wanted_ended(site: &Site, role: &str) -> (String, String) {
    let leased = site.api().credentials(&site.token(), &json!({ "role": role })).await.ok();
    let lease = |name: &str| leased["lease"][name].as_str().unwrap().to_owned();
    let (id, secret) = (lease("id"), lease("secret"));
    assert_eq!(site.api().end(&id, &secret).await.code(), "provider_unavailable");
    (id, secret)
}

#[tokio::test]
async fn a_target_that_hangs_does_not_hold_up_the_ends_at_the_others() {
    let (dead, well) = (Vault::new(), Vault::new());
    let site = Site::new(&[]).await;
    for (path, text) in [dead.files("dead").await, well.files("well").await].concat() {
        site.write(&path, &text);
    }
    let app = site.start().await;
    // The longest waiting ones are those that cannot be ended: one after the other they would take over a minute.
    for _ in 0..16 {
        wanted_ended(&site, "dead").await;
    }
    let (id, secret) = wanted_ended(&site, "well").await;
    app.stop().await;

    // The pause after the ends that failed.
    site.clock.set(site.now() + Duration::from_secs(5));
    dead.hangs.store(true, Ordering::SeqCst);
    well.revokes.store(true, Ordering::SeqCst);
    let before = dead.logins.load(Ordering::SeqCst);
    let app = site.start().await;
    let ended: Value = soon("the end at the living target", async || {
        let status = site.api().get(&format!("/v1/leases/{id}"), Some(&secret)).await.ok();
        (!status["ended_at"].is_null()).then_some(status)
    })
    .await;
    assert_eq!(ended["id"], id);
    soon("the look at the hanging one", async || (dead.logins.load(Ordering::SeqCst) > before).then_some(()))
        .await;
    app.stop().await;
    assert_eq!(dead.logins.load(Ordering::SeqCst), before + 1, "it was asked once, and left alone");
}

#[tokio::test]
async fn a_target_is_asked_by_one_first_and_then_by_eight_at_once() {
    let vault = Vault::new();
    let site = Site::new(&[]).await;
    for (path, text) in vault.files("slow").await {
        site.write(&path, &text);
    }
    let app = site.start().await;
    for _ in 0..24 {
        wanted_ended(&site, "slow").await;
    }
    app.stop().await;
    site.clock.set(site.now() + Duration::from_secs(5));
    vault.most.store(0, Ordering::SeqCst);
    vault.revokes.store(true, Ordering::SeqCst);
    vault.begun.store(0, Ordering::SeqCst);
    vault.answers.send_replace(0);
    let app = site.start().await;
    let at_once = |count: usize| {
        let ending = Arc::clone(&vault.ending);
        async move {
            until("so many ends are under way", async || ending.load(Ordering::SeqCst) == count).await;
        }
    };
    at_once(1).await;
    // Until it is known whether the target answers nobody else asks it.
    assert_eq!(vault.most.load(Ordering::SeqCst), 1);
    vault.answers.send_replace(1);
    at_once(8).await;
    vault.answers.send_replace(usize::MAX);
    until("all are ended", async || site.rows("leases WHERE ended_at IS NOT NULL") == 24).await;
    assert_eq!(vault.most.load(Ordering::SeqCst), 8);
    app.stop().await;
}
