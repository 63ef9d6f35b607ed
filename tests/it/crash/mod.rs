//! Crashes, on both stores: at every named point of the path, and at any moment under load. Afterwards the ledger and a
//! real `OpenBao` must agree on what is alive, and the audit chain must be whole.

mod books;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tollgate::clock::{Clock, random_bytes};

use crate::harness::parts::bao::Bao;
use crate::harness::{Api, Replicas, Server, Site, process};
use books::Books;

/// Every point of an exchange, in order.
const EXCHANGE: &[&str] = &[
    "after_authenticate",
    "after_facts",
    "after_decide",
    "after_plan",
    "before_commit_of_Authorise",
    "after_commit_of_Authorise",
    "after_authorise",
    "after_mint",
    "before_commit_of_Lease",
    "after_commit_of_Lease",
    "after_lease",
];

/// Every point of an end, and whether the lease is still wanted after a crash there.
const END: &[(&str, bool)] = &[
    ("before_commit_of_AskEnd", true),
    ("after_commit_of_AskEnd", false),
    ("before_commit_of_End", false),
    ("after_commit_of_End", false),
];

/// Every point of a renewal.
const RENEWAL: &[&str] = &[
    "before_commit_of_Authorise",
    "after_commit_of_Authorise",
    "after_authorise_renewal",
    "after_renewal",
    "before_commit_of_Renew",
    "after_commit_of_Renew",
];
/// Every point of setting a block, and whether it holds after a crash there.
const BLOCK: &[(&str, bool)] = &[("before_commit_of_SetBlocks", false), ("after_commit_of_SetBlocks", true)];

/// Rounds of killing at any moment, and exchanges at once in each.
const ROUNDS: usize = 5;
const AT_ONCE: usize = 8;

/// Seconds that a login lives which nobody extended: how long a crash may leave one that no record knows.
const LOGIN_TTL: u64 = 6;

/// A Tollgate that mints at a real `OpenBao`.
struct Scene {
    site: Site,
    bao: Bao,
    books: Books,
}

/// Runs each test on SQLite and on PostgreSQL.
macro_rules! on_both_stores {
    ($($name:ident)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(super::Scene::on_sqlite().await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(super::Scene::on_postgres().await).await;
                }
            )*
        }
    };
}

on_both_stores! {
    after_a_crash_at_any_point_of_an_exchange_the_ledger_knows_what_lives
    after_a_crash_at_any_point_of_an_end_what_was_to_be_ended_is_dead
    after_a_crash_at_any_point_of_a_renewal_the_lease_lives_and_no_longer_than_it_is_known_to
    c_15_after_a_crash_while_a_block_is_set_it_holds_whole_or_not_at_all
    a_retry_after_a_crash_gets_a_credential_and_ends_the_first
    killed_at_any_moment_under_load_the_ledger_knows_what_lives
}

impl Scene {
    async fn on_sqlite() -> Self {
        let bao = Bao::start().await;
        let site = bao.site(&[]).await;
        site.write("config/tollgate.toml", &site.settings("[limits]\nexchanges_per_minute = 100000"));
        let books = Books::of_file(&site.store());
        Self::of(bao, site, books).await
    }

    async fn on_postgres() -> Self {
        let bao = Bao::start().await;
        let Replicas { postgres, database, site } = Replicas::of(bao.site(&[]).await, "");
        Self::of(bao, site, Books::of_database(postgres, database)).await
    }

    async fn of(bao: Bao, site: Site, books: Books) -> Self {
        // OpenBao looks for the keys as soon as it is told where they are.
        let server = Server::start(&site.config(), "");
        bao.trust(&site).await;
        bao.login_role("app", json!({ "token_ttl": format!("{LOGIN_TTL}s") })).await;
        drop(server);
        Self { site, bao, books }
    }

    fn start(&self, crash_at: &str) -> Server {
        Server::start(&self.site.config(), crash_at)
    }

    /// Restarts after a crash, and waits until all is in order again.
    async fn recovers(&self, when: &str) -> Server {
        let server = self.start("");
        self.books.agree_with(&self.bao, when).await;
        self.books.are_whole(&self.site, when);
        server
    }

    /// Asks for the role `vault/app`; none if the server died.
    async fn ask(&self, token: &str, key: &str) -> Option<Value> {
        ask(&self.site.api(), token, key).await
    }
}

async fn ask(api: &Api, token: &str, key: &str) -> Option<Value> {
    let bearer = format!("Bearer {token}");
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("idempotency-key", key)];
    let body = json!({ "role": "vault/app" }).to_string();
    Some(api.try_send(Method::POST, "/v1/credentials", &headers, &body).await.ok()?.ok())
}

fn unique() -> String {
    format!("{:x}", u128::from_be_bytes(random_bytes().unwrap()))
}

async fn after_a_crash_at_any_point_of_an_exchange_the_ledger_knows_what_lives(scene: Scene) {
    for point in EXCHANGE {
        let mut server = scene.start(point);
        let answer = scene.ask(&scene.site.token(), &unique()).await;
        assert!(answer.is_none(), "{point} was not passed");
        assert!(!server.wait().success());
        drop(scene.recovers(point).await);
    }
    assert_eq!(scene.books.leased().len(), 2, "the crashes after the lease's commit");
}

async fn after_a_crash_at_any_point_of_an_end_what_was_to_be_ended_is_dead(scene: Scene) {
    let mut wanted = 0;
    for (point, still_wanted) in END {
        let mut server = scene.start(point);
        let leased = scene.ask(&scene.site.token(), &unique()).await.unwrap();
        let lease = |name: &str| leased["lease"][name].as_str().unwrap().to_owned();
        let bearer = format!("Bearer {}", lease("secret"));
        let path = format!("/v1/leases/{}", lease("id"));
        let headers = [("authorization", bearer.as_str())];
        let ended = scene.site.api().try_send(Method::DELETE, &path, &headers, "").await;
        assert!(ended.is_err(), "{point} was not passed");
        assert!(!server.wait().success());
        drop(scene.recovers(point).await);
        wanted += usize::from(*still_wanted);
        assert_eq!(scene.books.leased().len(), wanted, "{point}");
    }
}

async fn after_a_crash_at_any_point_of_a_renewal_the_lease_lives_and_no_longer_than_it_is_known_to(
    scene: Scene,
) {
    let role = crate::harness::parts::bao::ROLE
        .replace("policies = [\"ci", "max_session = \"2h\"\npolicies = [\"ci");
    scene.site.write("config/roles/vault/app.toml", &role);
    for point in RENEWAL {
        let server = scene.start("");
        let leased = scene.ask(&scene.site.token(), &unique()).await.unwrap();
        drop(server);
        let lease = |name: &str| leased["lease"][name].as_str().unwrap().to_owned();
        let mut server = scene.start(point);
        let bearer = format!("Bearer {}", lease("secret"));
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let path = format!("/v1/leases/{}/renew", lease("id"));
        let body = json!({ "ttl": "50m" }).to_string();
        let renewed = scene.site.api().try_send(Method::POST, &path, &headers, &body).await;
        assert!(renewed.is_err(), "{point} was not passed");
        assert!(!server.wait().success());
        let server = scene.recovers(point).await;
        let known =
            scene.site.api().get(&format!("/v1/leases/{}", lease("id")), Some(&lease("secret"))).await;
        let known = known.ok();
        assert_eq!(known["last_known"], "alive", "{point}");
        let dies_at: jiff::Timestamp = known["dies_at"].as_str().unwrap().parse().unwrap();
        let left = dies_at.duration_since(Clock::system().now()).as_secs();
        let longest = scene
            .bao
            .living()
            .await
            .iter()
            .filter(|token| token.decision.is_none())
            .map(|token| token.ttl)
            .max();
        assert!(
            longest.unwrap().cast_signed() <= left + 1,
            "{point}: {longest:?} s live, {left} s are known"
        );
        assert_eq!(scene.site.api().end(&lease("id"), &lease("secret")).await.status, 200);
        drop(server);
    }
}

async fn c_15_after_a_crash_while_a_block_is_set_it_holds_whole_or_not_at_all(scene: Scene) {
    for (point, holds) in BLOCK {
        let mut server = scene.start(point);
        scene.ask(&scene.site.token(), &unique()).await.unwrap();
        let config = scene.site.config();
        let start = ["block", "--config", config.to_str().unwrap()];
        let add = ["add", "repository:70107786", "--reason", "a crash", "--yes"];
        let done = process::run(&[&start[..], &add].concat());
        assert!(!done.status.success(), "{point} was not passed");
        assert!(!server.wait().success());
        let server = scene.recovers(point).await;
        assert_eq!(scene.books.leased().is_empty(), *holds, "{point}");
        let answer = scene.site.api().credentials(&scene.site.token(), &json!({ "role": "vault/app" })).await;
        assert_eq!(answer.status == 403, *holds, "{point}: {}", answer.text);
        drop(server);
    }
}

async fn a_retry_after_a_crash_gets_a_credential_and_ends_the_first(scene: Scene) {
    for point in ["after_authorise", "after_mint", "after_lease"] {
        let (token, key) = (scene.site.token(), unique());
        let mut server = scene.start(point);
        assert!(scene.ask(&token, &key).await.is_none());
        assert!(!server.wait().success());
        let server = scene.start("");
        let leased = scene.ask(&token, &key).await.unwrap();
        scene.books.agree_with(&scene.bao, point).await;
        let decision = leased["decision"].as_str().unwrap();
        assert!(scene.books.leased().values().eq([decision]), "{point}: {:?}", scene.books.leased());
        let lease = |name: &str| leased["lease"][name].as_str().unwrap().to_owned();
        assert_eq!(scene.site.api().end(&lease("id"), &lease("secret")).await.status, 200);
        drop(server);
    }
}

async fn killed_at_any_moment_under_load_the_ledger_knows_what_lives(scene: Scene) {
    let mut server = scene.start("");
    for round in 0..ROUNDS {
        let clients: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (api, issuer, url) =
                    (scene.site.api(), scene.site.issuer.clone(), scene.site.url.clone());
                tokio::spawn(async move {
                    loop {
                        let now = Clock::system().now().as_second();
                        let token = issuer.sign(&issuer.github(&url, now));
                        if ask(&api, &token, &unique()).await.is_none() {
                            return;
                        }
                    }
                })
            })
            .collect();
        let [moment] = random_bytes().unwrap();
        tokio::time::sleep(Duration::from_millis(100 + 4 * u64::from(moment))).await;
        server.kill();
        for client in clients {
            client.await.unwrap();
        }
        server = scene.recovers(&format!("round {round}")).await;
    }
    assert!(!scene.books.leased().is_empty(), "nothing was leased between the kills");
}
