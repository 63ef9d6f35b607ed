//! Sources over HTTP: what they give, and every way they give nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::config::{DeclaredKey, DeclaredType, SourceAuth};
use crate::facts::Origin;
use crate::facts::testing::role;

/// Long enough that only a source which never answers runs into it.
const PATIENT: Duration = Duration::from_secs(20);

/// A request's path with its query, and its `x-key` header.
type Asked = (String, Option<String>);

/// A server on loopback, and what it was asked.
struct Upstream {
    url: String,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Upstream {
    async fn start<F, Fut>(answer: F) -> Self
    where
        F: Fn() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let app = Router::new().fallback(move |request: Request| {
            let auth = request.headers().get("x-key").map(|value| value.to_str().unwrap().to_owned());
            log.lock().unwrap().push((request.uri().to_string(), auth));
            let answer = answer.clone();
            async move { answer().await }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, seen }
    }

    async fn with(status: u16, body: &'static str) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        Self::start(move || async move { (status, body).into_response() }).await
    }

    fn asked(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(uri, _)| uri.clone()).collect()
    }

    /// A source that asks this server at `path` for `signed`.
    fn source(&self, path: &str) -> FactSource {
        FactSource {
            url: format!("{}{path}", self.url),
            auth: None,
            issuers: None,
            facts: [("commit_signed".parse().unwrap(), "/verification/verified".to_owned())].into(),
            timeout: PATIENT,
            max_bytes: 256,
            cache: Duration::ZERO,
            ca_file: None,
            allow_networks: Vec::new(),
            insecure_loopback: true,
        }
    }
}

const SIGNED: &str = r#"{"verification": {"verified": true}}"#;

fn asking(sources: Vec<(&str, FactSource)>) -> Config {
    let mut role = role();
    role.sources = sources.iter().map(|(name, _)| (*name).to_owned()).collect();
    config(role, sources.into_iter().map(|(name, source)| (name.to_owned(), source)).collect())
}

/// Why `commit_signed` could not be had from the one source.
async fn failure(source: FactSource) -> String {
    let facts = gather(&gatherer(&asking(vec![("commits", source)])), &ask()).await.unwrap();
    assert!(!facts.input().context.facts.contains_key("commit_signed"), "a failure has no value");
    assert_eq!(
        facts.origins().by_path()["context.commit_signed"],
        Origin::Source("commits".into()),
        "its key is reserved"
    );
    let failure = &facts.failed()["context.commit_signed"];
    assert_eq!(failure.source, "commits");
    failure.detail.clone()
}

#[tokio::test]
async fn a_source_gives_its_facts_and_is_their_origin() {
    let upstream = Upstream::with(200, SIGNED).await;
    let mut source = upstream.source("/repos/{repository:path}/commits/{branch}?id={repository}");
    source.auth = Some(SourceAuth { header: "x-key".into(), value: "secret".to_owned().into() });
    let facts = gather(&gatherer(&asking(vec![("commits", source)])), &ask()).await.unwrap();
    assert_eq!(facts.input().context.facts["commit_signed"], json!(true));
    assert_eq!(facts.origins().by_path()["context.commit_signed"], Origin::Source("commits".into()));
    assert!(facts.failed().is_empty());
    let seen = upstream.seen.lock().unwrap().clone();
    assert_eq!(seen, [("/repos/acme/shop/commits/main?id=acme%2Fshop".into(), Some("secret".into()))]);
}

#[tokio::test]
async fn p_11_a_source_is_not_asked_about_another_platforms_identities_and_its_facts_are_not_there() {
    let upstream = Upstream::with(200, SIGNED).await;
    let mut source = upstream.source("/{branch}");
    source.issuers = Some(["gitlab".parse().unwrap()].into());
    let why = failure(source).await;
    assert_eq!(why, "it knows nothing of identities of the issuer github, and was not asked");
    assert!(upstream.asked().is_empty());
    let mut source = upstream.source("/{branch}");
    source.issuers = Some(["github".parse().unwrap()].into());
    let facts = gather(&gatherer(&asking(vec![("commits", source)])), &ask()).await.unwrap();
    assert_eq!(facts.input().context.facts["commit_signed"], json!(true));
}

#[tokio::test]
async fn a_declared_value_selects_what_is_asked_and_nothing_else() {
    let upstream = Upstream::with(200, SIGNED).await;
    let mut config = asking(vec![("tickets", upstream.source("/tickets/{declared.ticket}/state"))]);
    let mut role = config.roles.values().next().unwrap().as_ref().clone();
    let kind = DeclaredType::Text { max_bytes: 64 };
    role.declared = [("ticket".parse().unwrap(), DeclaredKey { kind, required: false, one_of: None })].into();
    config.roles.insert(role.name.clone(), Arc::new(role));
    let gatherer = gatherer(&config);
    let mut ask = ask();
    let mut failed = async |ticket: Option<&str>| {
        ask.declared = ticket.map(|ticket| ("ticket".parse().unwrap(), text(ticket))).into_iter().collect();
        let facts = gather(&gatherer, &ask).await.unwrap();
        facts.failed().get("context.commit_signed").map(|failure| failure.detail.clone())
    };
    assert_eq!(
        failed(Some("OPS-1/../?x=#y")).await.unwrap().split(',').next(),
        Some("the value of a placeholder is empty")
    );
    assert_eq!(failed(None).await.unwrap(), "the caller declared no `ticket` to ask with");
    assert!(upstream.asked().is_empty());
    assert_eq!(failed(Some("OPS-1/x?y#z")).await, None);
    assert_eq!(upstream.asked(), ["/tickets/OPS-1%2Fx%3Fy%23z/state"]);
}

#[tokio::test]
async fn p_11_a_source_without_its_attribute_fails_before_any_request() {
    let upstream = Upstream::with(200, SIGNED).await;
    assert_eq!(failure(upstream.source("/{commit}")).await, "this identity has no `commit` to ask with");
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn p_11_nonsense_is_a_failure_and_never_a_value() {
    for (status, body, expected) in [
        (500, SIGNED, "it answered with status 500 Internal Server Error"),
        (404, SIGNED, "it answered with status 404 Not Found"),
        (206, SIGNED, "it answered with status 206 Partial Content"),
        (302, SIGNED, "the answer redirects, which is not followed"),
        (200, "<html>verified</html>", "the answer cannot be read: not JSON (line 1, column 1)"),
        (200, "{}", "the answer has nothing at `/verification/verified` for `commit_signed`"),
        (
            200,
            r#"{"verification": {"verified": null}}"#,
            "the answer's value for `commit_signed` is null, not text, a whole number, true or false",
        ),
    ] {
        let upstream = Upstream::with(status, body).await;
        assert_eq!(failure(upstream.source("/")).await, expected);
    }
}

#[tokio::test]
async fn p_11_an_answer_over_the_cap_is_a_failure() {
    let long = || async { format!("{SIGNED}{}", " ".repeat(300)).into_response() };
    let upstream = Upstream::start(long).await;
    assert_eq!(failure(upstream.source("/")).await, "the answer is larger than 256 bytes");
}

#[tokio::test]
async fn p_11_a_source_that_hangs_or_is_gone_is_a_failure() {
    let upstream = Upstream::start(std::future::pending).await;
    let mut slow = upstream.source("/");
    slow.timeout = Duration::from_millis(50);
    assert!(failure(slow).await.starts_with("no answer within 50ms"));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut gone = upstream.source("/");
    gone.url = format!("http://{closed}/");
    assert!(failure(gone).await.starts_with("cannot reach 127.0.0.1"));
}

#[tokio::test]
async fn i_01_a_source_on_a_private_address_needs_configuration() {
    let upstream = Upstream::with(200, SIGNED).await;
    let mut source = upstream.source("/");
    source.insecure_loopback = false;
    assert!(failure(source).await.starts_with("address refused"));
    assert!(upstream.asked().is_empty());
}

#[tokio::test]
async fn one_source_failing_leaves_the_others() {
    let (good, bad) = (Upstream::with(200, SIGNED).await, Upstream::with(503, SIGNED).await);
    let mut tickets = bad.source("/");
    tickets.facts =
        [("ticket_approved", "/a"), ("ticket_age", "/b")].map(|(k, p)| (k.parse().unwrap(), p.into())).into();
    let gatherer = gatherer(&asking(vec![("commits", good.source("/")), ("tickets", tickets)]));
    let facts = gather(&gatherer, &ask()).await.unwrap();
    assert_eq!(facts.input().context.facts["commit_signed"], json!(true));
    let failed: Vec<_> = facts.failed().keys().map(String::as_str).collect();
    assert_eq!(failed, ["context.ticket_age", "context.ticket_approved"]);
}

#[tokio::test]
async fn good_answers_are_kept_as_long_as_configured_and_failures_never() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let upstream = Upstream::start(move || {
        let call = count.fetch_add(1, Ordering::SeqCst);
        async move { if call == 0 { StatusCode::BAD_GATEWAY.into_response() } else { SIGNED.into_response() } }
    })
    .await;
    let mut source = upstream.source("/{repository_id}");
    source.cache = Duration::from_mins(1);
    let clock = Clock::manual(friday_night());
    let gatherer = Gatherer::new(&asking(vec![("commits", source)]), clock.clone()).unwrap();
    let ask = ask();
    let known = async || gather(&gatherer, &ask).await.unwrap().failed().is_empty();
    assert_eq!((known().await, calls.load(Ordering::SeqCst)), (false, 1));
    assert_eq!((known().await, calls.load(Ordering::SeqCst)), (true, 2), "the failure was not kept");
    clock.set(friday_night() + Duration::from_secs(59));
    assert_eq!((known().await, calls.load(Ordering::SeqCst)), (true, 2), "the answer was kept");
    clock.set(friday_night() + Duration::from_mins(1));
    assert_eq!((known().await, calls.load(Ordering::SeqCst)), (true, 3), "and is old now");
    clock.set(friday_night());
    assert_eq!(
        (known().await, calls.load(Ordering::SeqCst)),
        (true, 4),
        "an answer from the future is not kept"
    );
}

#[tokio::test]
async fn answers_are_kept_apart_by_what_was_asked() {
    let upstream = Upstream::with(200, SIGNED).await;
    let mut one = upstream.source("/{branch}");
    one.cache = PATIENT;
    let mut other = upstream.source("/{repository_id}");
    other.cache = PATIENT;
    other.facts = [("other".parse().unwrap(), "/verification/verified".to_owned())].into();
    gather(&gatherer(&asking(vec![("one", one), ("other", other)])), &ask()).await.unwrap();
    let mut asked = upstream.asked();
    asked.sort();
    assert_eq!(asked, ["/1234", "/main"]);
}

#[tokio::test]
async fn the_same_question_at_the_same_time_is_asked_once() {
    let upstream = Upstream::with(200, SIGNED).await;
    let mut source = upstream.source("/");
    source.cache = PATIENT;
    let gatherer = gatherer(&asking(vec![("commits", source)]));
    let ask = ask();
    for facts in join_all((0..8).map(|_| gather(&gatherer, &ask))).await {
        assert!(facts.unwrap().failed().is_empty());
    }
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test]
async fn s_07_a_slow_source_gets_sixteen_requests_at_once_and_no_more() {
    let gate = Arc::new(Semaphore::new(0));
    let handle = Arc::clone(&gate);
    let upstream = Upstream::start(move || {
        let gate = Arc::clone(&handle);
        async move {
            let _open = gate.acquire().await.unwrap();
            SIGNED.into_response()
        }
    })
    .await;
    let other = Upstream::with(200, SIGNED).await;
    let slow = gatherer(&asking(vec![("commits", upstream.source("/"))]));
    let quick = gatherer(&asking(vec![("commits", other.source("/"))]));
    let ask = ask();
    let watch = async {
        while upstream.asked().len() < 16 {
            tokio::task::yield_now().await;
        }
        // A seventeenth request would be there by the time that these have come and gone.
        for _ in 0..20 {
            gather(&quick, &ask).await.unwrap();
        }
        let at_once = upstream.asked().len();
        gate.add_permits(17);
        at_once
    };
    let (all, at_once) = tokio::join!(join_all((0..17).map(|_| gather(&slow, &ask))), watch);
    assert_eq!(at_once, 16);
    assert!(all.iter().all(|facts| facts.as_ref().unwrap().failed().is_empty()), "the last one had its turn");
}

#[tokio::test]
async fn s_07_waiting_for_a_place_counts_as_the_source_s_time() {
    let upstream = Upstream::start(std::future::pending).await;
    let mut source = upstream.source("/");
    source.timeout = Duration::from_millis(50);
    let gatherer = gatherer(&asking(vec![("commits", source)]));
    let ask = ask();
    let all = join_all((0..17).map(|_| gather(&gatherer, &ask))).await;
    let last = all.last().unwrap().as_ref().unwrap();
    let detail = &last.failed()["context.commit_signed"].detail;
    assert_eq!(detail, "no answer within 50ms, waiting for a place included");
}
