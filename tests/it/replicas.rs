//! Two servers on one PostgreSQL: one broker to its callers, whichever of them answers, stops or dies.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tollgate::clock::random_bytes;

use crate::harness::book::hex;
use crate::harness::parts::postgres::Postgres;
use crate::harness::receiver::{Product, Receiver};
use crate::harness::replicas::ask_until;
use crate::harness::wait::until;
use crate::harness::{Api, Replicas, Server, Site, process};

/// Points of an exchange, and how many authorisations and leases a crash there leaves.
const CRASHES: &[(&str, [&str; 2])] = &[
    ("before_commit_of_Authorise", ["0", "0"]),
    ("after_commit_of_Authorise", ["1", "0"]),
    ("before_commit_of_Lease", ["1", "0"]),
    ("after_commit_of_Lease", ["0", "1"]),
];

fn lease(answer: &Value) -> [String; 2] {
    ["id", "secret"].map(|part| answer["lease"][part].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn i_10_two_servers_on_one_database_are_one_broker() {
    let scene = Replicas::new().await;
    let _one = scene.start("");
    let (_two, beside) = scene.start_beside();
    let api = scene.site.api();
    for (first, second) in [(&api, &beside), (&beside, &api)] {
        let token = scene.site.token();
        let granted = first.deploy(&token).await.ok();
        assert_eq!(second.deploy(&token).await.code(), "token_replayed");
        let [id, secret] = lease(&granted);
        assert_eq!(second.end(&id, &secret).await.status, 200);
        let (path, bearer) = (format!("/v1/leases/{id}"), Some(secret.as_str()));
        let seen = first.get(&path, bearer).await.ok();
        assert_eq!(seen, second.get(&path, bearer).await.ok());
        let decision = granted["decision"].as_str().unwrap();
        assert_eq!(scene.run(&["explain", decision])["result"], "allow");
    }
    // One set of keys, made by whichever came first.
    assert_eq!(api.get("/jwks", None).await.ok(), beside.get("/jwks", None).await.ok());
    assert!(scene.run(&["keys", "list"]).as_array().unwrap().len() >= 4);
    // Lists are read from the database by whoever may read it.
    let listed = |arguments: &[&str]| {
        let done = scene.command(arguments).arg("--config").arg(scene.site.config()).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap().lines().count()
    };
    let of_leases = ["live", "ended"].map(|state| listed(&["leases", "--state", state]));
    assert_eq!(of_leases, [2, 0], "nothing can end these tokens: they live until they expire");
    assert_eq!(listed(&["audit", "search", "--outcome", "allow"]), 2);
    assert_eq!(listed(&["audit", "export"]).to_string(), scene.count("audit"));
    scene.is_whole();
}

#[tokio::test]
async fn s_14_the_database_is_reached_as_configured_whatever_the_environment_says() {
    let scene = Replicas::new().await;
    drop(scene.start(""));
    let list =
        |variable: &str, value: &str| scene.command(&["keys", "list"]).env(variable, value).output().unwrap();
    for (variable, value) in [
        ("PGHOST", "192.0.2.1"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGPORT", "1"),
        ("PGUSER", "nobody"),
        ("PGDATABASE", "other"),
        ("PGPASSWORD", "wrong"),
        ("PGSSLMODE", "require"),
        ("PGSSLROOTCERT", "/nowhere.pem"),
    ] {
        let done = list(variable, value);
        assert!(done.status.success(), "{variable}: {done:?}");
    }
    for variable in ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
        let done = list(variable, "x");
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(1) && told.contains(variable), "{told}");
    }
}

#[tokio::test]
async fn a_crash_at_a_commit_leaves_what_was_recorded_and_the_other_server_takes_the_retry() {
    let scene = Replicas::new().await;
    let (_two, beside) = scene.start_beside();
    for (point, left) in CRASHES {
        let before = ["authorisations", "leases"].map(|table| scene.count(table));
        let before = before.map(|count| count.parse::<u64>().unwrap());
        let mut server = scene.start(point);
        let (token, key) = (scene.site.token(), hex(&random_bytes::<16>().unwrap()));
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key.as_str()),
        ];
        let body = json!({ "role": "deploy" }).to_string();
        let answer = scene.site.api().try_send(Method::POST, "/v1/credentials", &headers, &body).await;
        assert!(answer.is_err(), "{point} was not passed");
        assert!(!server.wait().success());
        let more = |table: usize| left[table].parse::<u64>().unwrap() + before[table];
        assert_eq!(
            [scene.count("authorisations"), scene.count("leases")],
            [more(0).to_string(), more(1).to_string()],
            "{point}"
        );
        let retried = beside.send(Method::POST, "/v1/credentials", &headers, &body).await.ok();
        let decision = retried["decision"].as_str().unwrap();
        assert_eq!(scene.run(&["explain", decision])["result"], "allow", "{point}");
        scene.is_whole();
    }
}

#[tokio::test]
async fn s_02_a_database_that_stops_under_load_loses_no_grant_and_both_servers_recover() {
    let scene = Replicas::new().await;
    let _one = scene.start("");
    let (_two, beside) = scene.start_beside();
    let api = scene.site.api();
    let stop = tokio_util::sync::CancellationToken::new();
    let clients = [&api, &beside, &api, &beside].map(|api| ask_until(api.clone(), &scene.site, &stop));
    let [a, b, c, d] = clients;
    let interruptions = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            scene.postgres.stop_at_once();
            tokio::time::sleep(Duration::from_millis(300)).await;
            scene.postgres.start_again();
            for api in [&api, &beside] {
                until("the server recovers", async || api.deploy(&scene.site.token()).await.status == 200)
                    .await;
            }
        }
        stop.cancel();
    };
    let (a, b, c, d, ()) = tokio::join!(a, b, c, d, interruptions);
    let told = scene.all_recorded([a, b, c, d]);
    assert!(told > 20, "only {told} were granted");
    scene.is_whole();
}

#[tokio::test]
async fn a_store_that_is_copied_goes_on_in_the_database() {
    let postgres = Postgres::start();
    let database = postgres.database();
    let site = Site::of_process(&[]).await;
    let (from, to) = (format!("sqlite:{}", site.store().display()), postgres.url(&database));
    let copy = ["--json", "store", "copy", "--from", &from, "--to", &to];
    let server = Server::start(&site.config(), "");
    let token = site.token();
    let granted = site.api().deploy(&token).await.ok();
    assert_eq!(process::run(&copy).status.code(), Some(64), "a server uses the file");
    server.signal("TERM");
    let mut server = server;
    assert!(server.wait().success());

    let copied = process::run(&copy);
    assert!(copied.status.success(), "{copied:?}");
    let copied: Value = serde_json::from_slice(&copied.stdout).unwrap();
    assert_eq!(copied["verified"]["intact"], true);
    assert_eq!(process::run(&copy).status.code(), Some(64), "the database is not empty");

    let scene = Replicas { postgres, database, site };
    scene.configure("");
    let _server = scene.start("");
    let api = scene.site.api();
    assert_eq!(api.deploy(&token).await.code(), "token_replayed");
    let [id, secret] = lease(&granted);
    assert_eq!(api.end(&id, &secret).await.status, 200);
    scene.is_whole();
}

/// Places of the records that `receiver` has, and of those in the database; neither twice.
fn sent_and_stored(receiver: &Receiver, scene: &Replicas) -> [BTreeSet<String>; 2] {
    let place = |event: Value| Some(format!("{}|{}", event["writer"].as_i64()?, event["seq"].as_i64()?));
    let stored = scene.postgres.sql(&scene.database, "SELECT writer, seq FROM audit");
    [receiver.taken().into_iter().filter_map(place).collect(), stored.into_iter().collect()]
}

#[tokio::test]
async fn a_sink_goes_on_at_the_other_server_when_its_own_is_killed() {
    let receiver = Receiver::start(Product::Splunk).await;
    let sink = format!(
        "[audit.sinks.siem]\nkind = \"splunk_hec\"\nurl = \"{}\"\ninsecure_loopback = true\n\
         token = {{ value = \"x\" }}",
        receiver.url
    );
    let scene = Replicas::with(&sink).await;
    let all_arrive = async || {
        until("the records of both servers arrive", async || {
            let [sent, stored] = sent_and_stored(&receiver, &scene);
            sent == stored
        })
        .await;
    };
    let mut one = scene.start("");
    scene.site.api().deploy(&scene.site.token()).await.ok();
    all_arrive().await;
    let (_two, beside) = scene.start_beside();
    beside.deploy(&scene.site.token()).await.ok();
    all_arrive().await;
    one.kill();
    beside.deploy(&scene.site.token()).await.ok();
    all_arrive().await;
    scene.is_whole();
}

/// The key that signs what `api` hands out, and whether its key set has `kid`.
async fn signs(scene: &Replicas, api: &Api, kid: &str) -> (String, bool) {
    let granted = api.deploy(&scene.site.token()).await.ok();
    let token = granted["credential"]["token"].as_str().unwrap();
    let signs = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let jwks = api.get("/jwks", None).await.ok();
    let published = jwks["keys"].as_array().unwrap().iter().any(|key| key["kid"] == kid);
    (signs, published)
}

#[tokio::test]
async fn c_11_a_key_that_is_revoked_at_one_server_is_used_by_none() {
    let scene = Replicas::new().await;
    let _one = scene.start("");
    let (_two, beside) = scene.start_beside();
    let api = scene.site.api();
    let (stolen, _) = signs(&scene, &api, "").await;
    assert_eq!(signs(&scene, &beside, &stolen).await, (stolen.clone(), true));
    scene.run(&["keys", "revoke", &stolen, "--rotate", "--yes"]);
    let (next, published) = signs(&scene, &api, &stolen).await;
    assert!(next != stolen && !published, "at once where it was revoked");
    until("the other server follows", async || {
        signs(&scene, &beside, &stolen).await == (next.clone(), false)
    })
    .await;
    scene.is_whole();
}
