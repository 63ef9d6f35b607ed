//! What the commands need of a broker: exchange, end, whoami, explain, lists; and retries that are safe to make.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::agent::Agent;
use super::failure::{Failure, Status};
use super::possession::{JobKey, Shown};
use crate::causes;
use crate::clock::random_bytes;
use crate::domain::{IssuerUrl, Renewal, RoleName, Scalar, ScopeName, Ttl};
use crate::net::{Client, NetError, Request, Response, Rules, read_ca_file};

/// Longest that one request to the broker may take; the broker's own limit is shorter.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// Largest answer that is read, bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Names a PEM file of authorities that vouch for the broker, beside the platform's.
const CA_FILE: &str = "TOLLGATE_CA_FILE";

/// A client that may reach any address, as its user says where to go; http only to a literal loopback address.
pub(super) fn http_client() -> Result<Client, Failure> {
    Client::new(rules()?).map_err(|error| Failure::new(Status::Failed, error.to_string()))
}

fn rules() -> Result<Rules, Failure> {
    let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse::<IpNet>().ok());
    let ca_file = std::env::var_os(CA_FILE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let failed = |error: NetError| Failure::new(Status::Failed, error.to_string());
    let extra_roots = read_ca_file(ca_file.as_deref()).map_err(failed)?;
    Ok(Rules {
        allow_networks: everywhere.collect(),
        insecure_loopback: true,
        extra_roots,
        timeout: REQUEST_TIMEOUT,
        max_bytes: MAX_ANSWER_BYTES,
    })
}

/// The body of `POST /v1/credentials`.
#[derive(Debug, Serialize)]
pub(super) struct AskBody {
    pub(super) role: RoleName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scopes: Option<BTreeSet<ScopeName>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<Ttl>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) declared: BTreeMap<String, Scalar>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) dry_run: bool,
}

/// The part of the answer that the commands use.
#[derive(Deserialize)]
pub(super) struct Granted {
    pub(super) decision: String,
    pub(super) lease: LeaseAnswer,
    pub(super) credential: CredentialAnswer,
    pub(super) scopes: BTreeSet<String>,
    pub(super) ttl: String,
}

/// The lease of an answer.
#[derive(Deserialize)]
pub(super) struct LeaseAnswer {
    pub(super) id: String,
    pub(super) secret: SecretString,
    pub(super) dies_at: String,
    pub(super) revocable: String,
    pub(super) heartbeat_seconds: Option<u64>,
    pub(super) renewable_until: Option<Timestamp>,
    pub(super) renewal: Option<Renewal>,
    /// The key that it is bound to, as the token was that it came for.
    #[serde(skip)]
    pub(super) key: Option<Arc<JobKey>>,
}

impl LeaseAnswer {
    /// What proves to the broker whose lease it is.
    pub(super) fn shown(&self) -> Shown {
        Shown { key: self.key.clone(), ..self.secret.clone().into() }
    }
}

/// The part of a renewal's answer that the commands use.
#[derive(Deserialize)]
struct RenewedAnswer {
    lease: RenewedLease,
}

#[derive(Deserialize)]
struct RenewedLease {
    dies_at: Timestamp,
}

/// The credential of an answer.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum CredentialAnswer {
    Aws {
        access_key_id: String,
        secret_access_key: SecretString,
        session_token: SecretString,
        region: String,
        endpoint: Option<String>,
    },
    Vault {
        address: String,
        namespace: Option<String>,
        token: SecretString,
    },
    Jwt {
        token: SecretString,
    },
}

/// A refusal as the broker words it (RFC 9457).
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ProblemAnswer {
    pub(super) code: String,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reasons: Vec<serde_json::Value>,
    /// Seconds after which to ask again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after: Option<u32>,
}

/// How an attempt failed, and whether another one makes sense.
pub(super) enum Attempt {
    /// The broker cannot be reached or cannot answer now.
    Unavailable(Failure),
    /// The broker refused.
    Refused(Box<ProblemAnswer>),
}

/// A broker.
pub(super) struct Broker {
    base: Url,
    http: Http,
}

/// What reaches the broker.
enum Http {
    /// One client for all requests.
    Web(Client),
    /// A client for each: what the agent says changes while a command runs.
    Agent(Agent),
}

impl Broker {
    /// A client of the broker at `url`.
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        Self::reached(url, Http::Web(http_client()?))
    }

    /// A client of the broker at `url` with the certificates of `agent`.
    pub(super) fn by_agent(url: &str, agent: Agent) -> Result<Self, Failure> {
        Self::reached(url, Http::Agent(agent))
    }

    fn reached(url: &str, http: Http) -> Result<Self, Failure> {
        let base: IssuerUrl = url.parse().map_err(|error| {
            Failure::new(Status::Usage, format!("the broker's URL: {error}"))
                .with_hint("say --url https://tollgate.example or set TOLLGATE_URL")
        })?;
        let base = format!("{}/", base.as_str().trim_end_matches('/'));
        let base = Url::parse(&base).map_err(|e| Failure::new(Status::Usage, e.to_string()))?;
        Ok(Self { base, http })
    }

    /// Asks once for a credential.
    pub(super) async fn exchange(
        &self,
        shown: &Shown,
        ask: &AskBody,
        idempotency_key: &str,
    ) -> Result<Granted, Attempt> {
        let answer = self.post_ask(shown, ask, idempotency_key).await?;
        let mut granted: Granted = parse(&answer)?;
        granted.lease.key.clone_from(&shown.key);
        Ok(granted)
    }

    /// Asks what would be decided.
    pub(super) async fn dry_run(&self, shown: &Shown, ask: &AskBody) -> Result<serde_json::Value, Attempt> {
        let answer = self.post_ask(shown, ask, &new_idempotency_key()).await?;
        parse(&answer)
    }

    async fn post_ask(&self, shown: &Shown, ask: &AskBody, key: &str) -> Result<Response, Attempt> {
        let failed = |error: String| Attempt::Unavailable(Failure::new(Status::Failed, error));
        let request = Request::post_json(self.url("v1/credentials")?, ask)
            .map_err(|error| failed(error.to_string()))?
            .header("idempotency-key", key)
            .map_err(|error| failed(error.to_string()))?;
        self.send(shown.on(request)?).await
    }

    /// What the broker sees in these tokens.
    pub(super) async fn whoami(&self, shown: &Shown) -> Result<serde_json::Value, Attempt> {
        self.get("v1/whoami", shown).await
    }

    /// Reads a JSON document with `token` as proof.
    pub(super) async fn get(&self, path: &str, token: &Shown) -> Result<serde_json::Value, Attempt> {
        parse(&self.get_raw(path, token).await?)
    }

    /// Reads whatever is at `path` with `token` as proof.
    pub(super) async fn get_raw(&self, path: &str, token: &Shown) -> Result<Response, Attempt> {
        self.send(token.on(Request::get(self.url(path)?))?).await
    }

    /// Ends a lease of somebody else, with an identity's `token` as proof.
    pub(super) async fn end_of_other(
        &self,
        lease: &str,
        token: &Shown,
    ) -> Result<serde_json::Value, Attempt> {
        let url = self.url(&format!("v1/leases/{lease}"))?;
        let request = Request { method: http::Method::DELETE, ..Request::get(url) };
        parse(&self.send(token.on(request)?).await?)
    }

    /// Ends a lease; the answer says what is known of it.
    pub(super) async fn end(&self, lease: &str, secret: &Shown) -> Result<serde_json::Value, Attempt> {
        let url = self.url(&format!("v1/leases/{lease}"))?;
        let request = Request { method: http::Method::DELETE, ..Request::get(url) };
        parse(&self.send(secret.on(request)?).await?)
    }

    /// Says that the holder of a lease is there.
    pub(super) async fn beat(&self, lease: &LeaseAnswer) -> Result<(), Attempt> {
        self.post_lease(lease, "heartbeat", None).await.map(drop)
    }

    /// Renews a lease, for a runner that proves itself again by `actor`; returns when it dies now.
    pub(super) async fn renew(
        &self,
        lease: &LeaseAnswer,
        actor: Option<&SecretString>,
    ) -> Result<Timestamp, Attempt> {
        let answer: RenewedAnswer = parse(&self.post_lease(lease, "renew", actor).await?)?;
        Ok(answer.lease.dies_at)
    }

    async fn post_lease(
        &self,
        lease: &LeaseAnswer,
        what: &str,
        actor: Option<&SecretString>,
    ) -> Result<Response, Attempt> {
        let url = self.url(&format!("v1/leases/{}/{what}", lease.id))?;
        let request = Request { method: http::Method::POST, ..Request::get(url) };
        self.send(Shown { actor: actor.cloned(), ..lease.shown() }.on(request)?).await
    }

    fn url(&self, path: &str) -> Result<Url, Attempt> {
        self.base
            .join(path)
            .map_err(|error| Attempt::Unavailable(Failure::new(Status::Usage, error.to_string())))
    }

    async fn send(&self, request: Request) -> Result<Response, Attempt> {
        let answer = match &self.http {
            Http::Web(client) => client.send(request).await,
            Http::Agent(agent) => agent.client(rules()?).await?.send(request).await,
        };
        let answer = answer.map_err(|error| {
            let why = causes::in_full(&error);
            Attempt::Unavailable(
                Failure::new(Status::Unavailable, format!("the broker at {}: {why}", self.base))
                    .with_hint("check the URL and the network; --wait rides out a restart"),
            )
        })?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let problem = serde_json::from_slice::<ProblemAnswer>(&answer.body);
        match problem {
            Ok(problem) if answer.status.as_u16() != 503 => Err(Attempt::Refused(Box::new(problem))),
            Ok(problem) => Err(Attempt::Unavailable(refused(&problem, Status::Unavailable))),
            Err(_) => Err(Attempt::Unavailable(Failure::new(
                Status::Unavailable,
                format!("{} answered {} and no reason: is it a Tollgate?", self.base, answer.status),
            ))),
        }
    }
}

/// `request` with `token` as proof of who asks.
pub(super) fn bearer(request: Request, token: &SecretString) -> Result<Request, Failure> {
    let value = SecretString::from(format!("Bearer {}", token.expose_secret()));
    request
        .header("authorization", value.expose_secret())
        .map_err(|_| Failure::new(Status::Usage, "the token holds characters that no token has"))
}

/// `request` with the token of the runner, if it proves itself.
pub(super) fn beside(request: Request, actor: Option<&SecretString>) -> Result<Request, Failure> {
    let Some(actor) = actor else { return Ok(request) };
    request
        .header("tollgate-actor-token", actor.expose_secret())
        .map_err(|_| Failure::new(Status::Usage, "the runner's token holds characters that no token has"))
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure)
    }
}

fn parse<T: for<'a> Deserialize<'a>>(answer: &Response) -> Result<T, Attempt> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        let message = format!("the broker's answer cannot be read: {error}");
        Attempt::Unavailable(Failure::new(Status::Failed, message))
    })
}

/// A key for one request and its retries.
pub(super) fn new_idempotency_key() -> String {
    let bytes: [u8; 16] = random_bytes().unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A refusal as a failed command.
pub(super) fn refused(problem: &ProblemAnswer, status: Status) -> Failure {
    let decision = problem.decision.as_deref().map(|id| format!(" (decision {id})")).unwrap_or_default();
    let mut message = format!("{}{decision}: {}", problem.code, problem.detail);
    for reason in &problem.reasons {
        let text = |name: &str| reason.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(message, "\n  {} {}  {}", text("package"), text("id"), text("message"));
    }
    let hint = [problem.fix.clone(), problem.next.as_ref().map(|next| format!("see: {next}"))];
    let hint: Vec<_> = hint.into_iter().flatten().collect();
    Failure { status, message, hint: (!hint.is_empty()).then(|| hint.join("\n")) }
}

impl From<Attempt> for Failure {
    fn from(attempt: Attempt) -> Self {
        match attempt {
            Attempt::Unavailable(failure) => failure,
            Attempt::Refused(problem) => refused(&problem, Status::Denied),
        }
    }
}

/// The pause before attempt number `attempt` (from 1): doubling, capped, with jitter so that a fleet does not march.
pub(super) fn pause(attempt: u32) -> Duration {
    let base = Duration::from_millis(250).saturating_mul(1 << attempt.min(6)).min(MAX_PAUSE);
    let [jitter] = random_bytes::<1>().unwrap_or([128]);
    base.mul_f64(0.5 + f64::from(jitter) / 512.0)
}

impl Granted {
    /// All secret values, for masking.
    pub(super) fn secrets(&self) -> Vec<&str> {
        let credential = match &self.credential {
            CredentialAnswer::Aws { secret_access_key, session_token, .. } => {
                vec![secret_access_key.expose_secret(), session_token.expose_secret()]
            }
            CredentialAnswer::Vault { token, .. } | CredentialAnswer::Jwt { token } => {
                vec![token.expose_secret()]
            }
        };
        credential.into_iter().chain([self.lease.secret.expose_secret()]).collect()
    }
}
