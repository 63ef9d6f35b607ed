//! A fact source on loopback, which answers what a test says, or not at all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use tokio::sync::Semaphore;

/// How the source answers.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// This JSON.
    Json(String),
    /// This status, and JSON that would be good.
    Status(u16),
    /// A web page.
    Html,
    /// Go elsewhere, where the answer is good.
    Redirect,
    /// Nothing, for longer than anybody waits.
    Nothing,
    /// The good answer, once there is a permit for it.
    Wait(Arc<Semaphore>),
    /// Too much.
    Oversize,
}

struct Shared {
    url: String,
    says: Mutex<Says>,
    seen: Mutex<Vec<String>>,
}

/// A running source.
#[derive(Clone)]
pub(crate) struct FactServer(Arc<Shared>);

/// What a good answer holds.
pub(crate) const GOOD: &str = r#"{"verified": true}"#;

impl FactServer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let shared = Arc::new(Shared {
            url: format!("http://{}", listener.local_addr().unwrap()),
            says: Mutex::new(Says::Json(GOOD.to_owned())),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self(shared)
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    pub(crate) fn says(&self, says: Says) {
        *self.0.says.lock().unwrap() = says;
    }

    /// Settings of a source `name` that asks this server for the fact `key`, patiently, and keeps nothing.
    pub(crate) fn settings(&self, name: &str, key: &str) -> String {
        format!(
            "[sources.{name}]\nurl = \"{}/fact\"\ninsecure_loopback = true\nfacts = {{ {key} = \"/verified\" }}\n\
             timeout = \"30s\"\ncache = \"0s\"\n",
            self.url()
        )
    }

    /// Waits until `count` requests have arrived.
    pub(crate) async fn until_asked(&self, count: usize) {
        while self.seen().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Path, query and `authorization` of every request so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.0.seen.lock().unwrap().clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let seen = format!("{} {}", request.uri(), header.unwrap_or("-"));
    shared.seen.lock().unwrap().push(seen);
    if request.uri().path() == "/elsewhere" {
        return GOOD.into_response();
    }
    let says = shared.says.lock().unwrap().clone();
    match says {
        Says::Json(text) => text.into_response(),
        Says::Status(status) => (StatusCode::from_u16(status).unwrap(), GOOD).into_response(),
        Says::Html => axum::response::Html("<h1>Sign in</h1>").into_response(),
        Says::Redirect => Redirect::temporary("/elsewhere").into_response(),
        Says::Nothing => {
            tokio::time::sleep(Duration::from_mins(2)).await;
            GOOD.into_response()
        }
        Says::Wait(go) => {
            go.acquire().await.unwrap().forget();
            GOOD.into_response()
        }
        Says::Oversize => {
            format!("{{\"verified\": true, \"x\": \"{}\"}}", "x".repeat(1 << 20)).into_response()
        }
    }
}
