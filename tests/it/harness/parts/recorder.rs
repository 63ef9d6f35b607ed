//! Stands between Tollgate and a real server: remembers every request, passes it on, and can answer in its place.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, Uri};
use tollgate::net::{Client, Request, Rules};

use crate::harness::wait::PATIENCE;

/// What the recorder does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Passes it on.
    PassOn,
    /// Answers in the server's place.
    Answer { status: u16, kind: &'static str, body: String },
    /// Never answers.
    Silent,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Recorded {
    /// The value of a form field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(self.body.as_bytes());
        fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The names of all form fields, sorted.
    pub(crate) fn fields(&self) -> Vec<String> {
        let mut names: Vec<_> =
            url::form_urlencoded::parse(self.body.as_bytes()).map(|(key, _)| key.into_owned()).collect();
        names.sort();
        names
    }
}

struct Shared {
    upstream: String,
    client: Client,
    seen: Mutex<Vec<Recorded>>,
    behaviour: Mutex<Behaviour>,
}

/// A running recorder.
pub(crate) struct Recorder {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Recorder {
    /// Starts in front of the server at `upstream`.
    pub(crate) async fn start(upstream: &str) -> Self {
        let rules = Rules {
            allow_networks: Vec::new(),
            insecure_loopback: true,
            extra_roots: None,
            timeout: PATIENCE,
            max_bytes: 1 << 20,
        };
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client: Client::new(rules).unwrap(),
            seen: Mutex::default(),
            behaviour: Mutex::new(Behaviour::PassOn),
        });
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// The requests since the last look.
    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    shared.seen.lock().unwrap().push(Recorded { headers: headers.clone(), body: body.clone() });
    let behaviour = shared.behaviour.lock().unwrap().clone();
    let (status, kind, body) = match behaviour {
        Behaviour::Silent => std::future::pending().await,
        Behaviour::Answer { status, kind, body } => {
            (StatusCode::from_u16(status).unwrap(), kind.to_owned(), body.into_bytes())
        }
        Behaviour::PassOn => {
            let url = format!("{}{uri}", shared.upstream).parse().unwrap();
            // The headers as they are, the host among them: it is part of what was signed.
            let answer =
                shared.client.send(Request { method, url, headers, body: body.into() }).await.unwrap();
            let kind = answer.headers.get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
            (answer.status, kind.unwrap_or_default(), answer.body.to_vec())
        }
    };
    Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}
