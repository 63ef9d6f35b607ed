use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::domain::{Code, Refusal};

fn limits(concurrency: usize, request_timeout: Duration) -> Limits {
    Limits {
        concurrency,
        connections: 8,
        body_bytes: 1024,
        request_timeout,
        policy_timeout: Duration::from_secs(1),
        refusals_per_minute: 1,
        exchanges_per_minute: 1,
        ..Limits::default()
    }
}

/// `routes` as the real router wraps them.
fn wrapped(routes: Router, limits: &Limits) -> Router {
    let gate = limits::Gate::new(limits);
    let probes = Router::new().route("/livez", get(|| async { "ok" }));
    let probes = probes.layer(from_fn_with_state(gate.clone(), limits::contain));
    let admit =
        |State(gate): State<limits::Gate>, request, next| async move { gate.admit(request, next).await };
    shell(routes.layer(from_fn_with_state(gate, admit)).merge(probes))
}

async fn send(router: &Router, request: Request) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, 64 * 1024).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn ask(path: &str) -> Request {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_with_codes() {
    let router = wrapped(Router::new().route("/x", post(|| async {})), &limits(8, MINUTE));
    let (status, _, body) = send(&router, ask("/nowhere")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains(r#""code":"not_found""#), "{body}");
    let (status, headers, body) = send(&router, ask("/x")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers[ALLOW], "POST");
    assert!(body.contains(r#""code":"method_not_allowed""#), "{body}");
}

#[tokio::test]
async fn every_answer_carries_security_headers_and_may_not_be_stored() {
    let cached = get(|| async { ([(CACHE_CONTROL, "public, max-age=300")], "keys") });
    let router = Router::new().route("/x", get(|| async { "secret" })).route("/keys", cached);
    let router = wrapped(router, &limits(8, MINUTE));
    for path in ["/x", "/nowhere", "/livez"] {
        let (_, headers, _) = send(&router, ask(path)).await;
        assert_eq!(headers[CACHE_CONTROL], "no-store", "{path}");
        assert_eq!(headers["pragma"], "no-cache", "{path}");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
        assert!(!headers.contains_key("server"), "{path}");
    }
    assert_eq!(send(&router, ask("/keys")).await.1[CACHE_CONTROL], "public, max-age=300");
}

#[tokio::test]
async fn the_request_id_is_ours() {
    let router = wrapped(Router::new(), &limits(8, MINUTE));
    let request = Request::builder().uri("/x").header("x-request-id", "planted").body(Body::empty()).unwrap();
    let (_, headers, body) = send(&router, request).await;
    let id = headers["x-request-id"].to_str().unwrap();
    assert_eq!(id.len(), 32);
    assert!(body.contains(&format!("urn:tollgate:request:{id}")), "{body}");
    assert_ne!(send(&router, ask("/x")).await.1["x-request-id"], id);
}

/// A route that says when it was entered, and ends when it is let go.
fn held() -> (Router, Arc<Semaphore>, Arc<Notify>) {
    let (entered, go) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (enter, wait) = (Arc::clone(&entered), Arc::clone(&go));
    let handler = move || async move {
        enter.add_permits(1);
        wait.notified().await;
        "done"
    };
    (Router::new().route("/held", get(handler)), entered, go)
}

#[tokio::test]
async fn s_07_sheds_what_exceeds_the_limit_and_still_answers_probes() {
    let (inner, entered, go) = held();
    let router = wrapped(inner, &limits(1, MINUTE));
    let first = tokio::spawn({
        let router = router.clone();
        async move { send(&router, ask("/held")).await }
    });
    entered.acquire().await.unwrap().forget();
    let (status, headers, body) = send(&router, ask("/held")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers[RETRY_AFTER], "1");
    assert!(body.contains(r#""code":"overloaded""#), "{body}");
    assert_eq!(send(&router, ask("/livez")).await.0, StatusCode::OK);
    go.notify_one();
    assert_eq!(first.await.unwrap().2, "done");
    go.notify_one();
    assert_eq!(send(&router, ask("/held")).await.2, "done");
}

#[tokio::test]
async fn s_07_a_client_that_hangs_up_makes_no_room_while_its_work_runs() {
    let (inner, entered, go) = held();
    let router = wrapped(inner, &limits(1, MINUTE));
    let first = tokio::spawn({
        let router = router.clone();
        async move { send(&router, ask("/held")).await }
    });
    entered.acquire().await.unwrap().forget();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(send(&router, ask("/held")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    go.notify_one();
    // The permit comes back once the abandoned work has ended.
    while send(&router, ask("/held")).await.0 != StatusCode::OK {
        go.notify_one();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn s_07_a_request_ends_in_time_and_its_work_goes_on() {
    let (inner, entered, _go) = held();
    let router = wrapped(inner, &limits(1, Duration::from_millis(20)));
    let (status, _, body) = send(&router, ask("/held")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(body.contains(r#""code":"timeout""#), "{body}");
    entered.acquire().await.unwrap().forget();
    assert_eq!(send(&router, ask("/held")).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

/// A body that never comes.
struct Silent;

impl hyper::body::Body for Silent {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn s_07_slow_senders_hold_no_permit() {
    let router = wrapped(Router::new().route("/x", get(|| async { "done" })), &limits(1, MINUTE));
    let slow = Request::builder().uri("/x").body(Body::new(Silent)).unwrap();
    let mut slow = std::pin::pin!(router.clone().oneshot(slow));
    assert!(tokio::time::timeout(Duration::from_millis(5), slow.as_mut()).await.is_err());
    assert_eq!(send(&router, ask("/x")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn s_07_a_body_beyond_the_limit_is_refused_at_the_gate() {
    let router = wrapped(Router::new().route("/x", post(|| async { "done" })), &limits(1, MINUTE));
    let large = Request::post("/x").body(Body::from(vec![b'a'; 1025])).unwrap();
    let (status, _, body) = send(&router, large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(body.contains(r#""code":"request_too_large""#), "{body}");
}

async fn panics() -> &'static str {
    panic!("with the request's hunter2")
}

#[tokio::test]
async fn a_panic_is_an_internal_failure_that_tells_nothing() {
    let router = wrapped(Router::new().route("/x", get(panics)), &limits(1, MINUTE));
    for _ in 0..2 {
        let (status, _, body) = send(&router, ask("/x")).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(body.contains(r#""code":"internal""#) && !body.contains("hunter2"), "{body}");
    }
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

async fn refuses() -> Failure {
    let refusal = Refusal::new(Code::TokenExpired, "expired").with_detail("claims");
    let decision = crate::domain::DecisionId::from_bytes([1; 16]);
    Failure::denied(crate::broker::Denied { decision, refusal }, DenialDetail::Full)
}

#[tokio::test]
async fn s_01_the_log_line_names_the_route_and_holds_no_token_path_or_query() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let router = wrapped(Router::new().route("/v1/things/{id}", get(refuses)), &limits(8, MINUTE));
    let request = Request::builder()
        .uri("/v1/things/pathsecret?token=querysecret")
        .header("authorization", "Bearer headersecret")
        .header("x-request-id", "planted")
        .body(Body::from("bodysecret"))
        .unwrap();
    send(&router, request).await;
    send(&router, ask("/pathsecret")).await;
    drop(guard);
    let text = lines.text();
    for secret in ["pathsecret", "querysecret", "headersecret", "bodysecret", "planted", "claims"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let (first, second) = text.trim_end().split_once('\n').unwrap();
    for field in [
        " WARN ",
        "method=GET",
        "route=\"/v1/things/{id}\"",
        "status=401",
        "code=\"token_expired\"",
        "decision=01010101-0101-0101-0101-010101010101",
        "micros=",
        "bytes=",
    ] {
        assert!(first.contains(field), "{field}: {first}");
    }
    assert!(second.contains("route=\"none\"") && second.contains("status=404"), "{second}");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status_and_in_flight_returns_to_zero() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let guard = metrics::set_default_local_recorder(&recorder);
    let router = wrapped(Router::new().route("/x/{id}", get(|| async { "" })), &limits(8, MINUTE));
    send(&router, ask("/x/1")).await;
    send(&router, ask("/x/2")).await;
    send(&router, ask("/random-path")).await;
    drop(guard);
    let text = handle.render();
    assert!(text.contains(r#"tollgate_http_requests_total{route="/x/{id}",status="200"} 2"#), "{text}");
    assert!(text.contains(r#"tollgate_http_requests_total{route="none",status="404"} 1"#), "{text}");
    assert!(text.contains("tollgate_http_requests_in_flight 0"), "{text}");
    assert!(text.contains("tollgate_http_request_duration_seconds"), "{text}");
    assert!(!text.contains("random-path"), "{text}");
}
