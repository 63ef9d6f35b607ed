//! Stands for a collector of events over HTTP: takes what is sent as the real ones do after their documentation, and for a
//! while does what a test says.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    /// The JSON values of the body, one after the other.
    pub(crate) fn values(&self) -> Vec<Value> {
        serde_json::Deserializer::from_str(&self.body).into_iter().map(Result::unwrap).collect()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

/// An answer: status, headers, body.
pub(crate) type Answer = (u16, Vec<(&'static str, String)>, String);

/// What a test has it say to one request.
type Line = Box<dyn FnOnce(&Received) -> Answer + Send>;

/// Which product it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    Splunk,
    Elasticsearch,
}

struct Shared {
    product: Product,
    seen: Mutex<Vec<Received>>,
    script: Mutex<VecDeque<Line>>,
    taken: Mutex<Vec<Value>>,
    ids: Mutex<BTreeSet<String>>,
}

/// A running collector.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    pub(crate) async fn start(product: Product) -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            product,
            seen: Mutex::default(),
            script: Mutex::default(),
            taken: Mutex::default(),
            ids: Mutex::default(),
        });
        let router = Router::new()
            .fallback(handle)
            .layer(axum::extract::DefaultBodyLimit::max(8 << 20))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// Says `line` to the next request that no other line is for.
    pub(crate) fn say(&self, line: impl FnOnce(&Received) -> Answer + Send + 'static) {
        self.shared.script.lock().unwrap().push_back(Box::new(line));
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Received> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The events that it has taken, in order.
    pub(crate) fn taken(&self) -> Vec<Value> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// Takes the events of a request at `places` alone.
    pub(crate) fn take(&self, received: &Received, places: &[usize]) {
        let events = self.shared.product.events(received);
        let mut taken = self.shared.taken.lock().unwrap();
        taken.extend(places.iter().map(|place| events[*place].1.clone()));
        let mut ids = self.shared.ids.lock().unwrap();
        ids.extend(places.iter().map(|place| events[*place].0.clone()));
    }
}

impl Product {
    /// Id (of Elasticsearch) and content of each event of a request.
    pub(crate) fn events(self, received: &Received) -> Vec<(String, Value)> {
        let values = received.values();
        match self {
            Self::Splunk => values.into_iter().map(|value| (String::new(), value["event"].clone())).collect(),
            Self::Elasticsearch => values
                .chunks(2)
                .map(|pair| (pair[0]["create"]["_id"].as_str().unwrap().to_owned(), pair[1].clone()))
                .collect(),
        }
    }
}

impl Shared {
    /// What the real one says when all is well.
    fn accept(&self, received: &Received) -> Answer {
        let events = self.product.events(received);
        let mut taken = self.taken.lock().unwrap();
        match self.product {
            Product::Splunk => {
                taken.extend(events.into_iter().map(|(_, event)| event));
                (200, vec![], json!({ "text": "Success", "code": 0 }).to_string())
            }
            Product::Elasticsearch => {
                let mut ids = self.ids.lock().unwrap();
                let mut errors = false;
                let items: Vec<_> = events
                    .into_iter()
                    .map(|(id, event)| {
                        if ids.insert(id) {
                            taken.push(event);
                            return json!({ "create": { "status": 201 } });
                        }
                        errors = true;
                        let error = json!({ "type": "version_conflict_engine_exception" });
                        json!({ "create": { "status": 409, "error": error } })
                    })
                    .collect();
                (200, vec![], json!({ "errors": errors, "items": items }).to_string())
            }
        }
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let received = Received { method, uri, headers, body };
    shared.seen.lock().unwrap().push(received.clone());
    let line = shared.script.lock().unwrap().pop_front();
    let (status, headers, body) = match line {
        Some(line) => line(&received),
        None => shared.accept(&received),
    };
    let mut answer = Response::builder().status(status).header("content-type", "application/json");
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    answer.body(body.into()).unwrap()
}
