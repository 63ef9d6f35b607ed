//! The walk itself: each step says what was expected and shows what came.

use std::path::Path;
use std::process::Stdio;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command as Process;

use super::{ROLE, fetch_token};
use crate::causes;
use crate::cli::audit::verify::report_json;
use crate::cli::client::{AskBody, Attempt, Broker, CredentialAnswer, Granted, new_idempotency_key};
use crate::cli::failure::{Failure, Status};
use crate::cli::output::{Output, Tone};
use crate::cli::whoami::print_members;
use crate::config::StorePlace;
use crate::demo::{Demo, TokenProfile, TokenRequest};
use crate::domain::Scalar;
use crate::ledger::Reader;

/// The steps, and how many went otherwise than expected.
pub(super) struct Walk {
    demo: Demo,
    broker: Broker,
    output: Output,
    failed: usize,
}

impl Walk {
    /// A walk through `demo`.
    pub(super) fn new(demo: Demo, output: Output) -> Result<Self, Failure> {
        Ok(Self { broker: Broker::new(&demo.url)?, demo, output, failed: 0 })
    }

    /// Takes every step; gives the demo back, and how many steps went otherwise than expected.
    pub(super) async fn all(mut self) -> Result<(Demo, usize), Failure> {
        self.who().await?;
        let granted = self.allowed().await?;
        self.narrowed().await?;
        self.denied().await?;
        if let Some(granted) = granted {
            self.checked_elsewhere(&granted).await?;
            self.ended(&granted).await?;
        }
        self.audited().await?;
        Ok((self.demo, self.failed))
    }

    /// One step's outcome: what was expected, whether it came, and what there is to see.
    fn step(&mut self, name: &str, title: &str, good: bool, details: &Value) -> Result<(), Failure> {
        self.failed += usize::from(!good);
        if self.output.is_json() {
            return Ok(Output::json(
                &json!({ "step": name, "title": title, "as_expected": good, "details": details }),
            )?);
        }
        let (mark, tone) = if good { ("✓", Tone::Good) } else { ("✗", Tone::Bad) };
        self.output.line("")?;
        self.output.toned(tone, &format!("{mark} {title}"))?;
        print_members(details, self.output, 1)
    }

    async fn token(&self, claims: Value) -> Result<SecretString, Failure> {
        let claims = claims.as_object().cloned().unwrap_or_default();
        let request = TokenRequest { profile: TokenProfile::GitHub, audience: self.demo.url.clone(), claims };
        fetch_token(&self.demo.issuer, &request).await
    }

    async fn ask(
        &self,
        claims: Value,
        scopes: &[&str],
        ttl: &str,
    ) -> Result<Result<Granted, Attempt>, Failure> {
        let usage = |error: String| Failure::new(Status::Failed, error);
        let parsed = scopes.iter().map(|scope| scope.parse()).collect::<Result<_, _>>();
        let body = AskBody {
            role: ROLE.parse().map_err(|error: crate::domain::InvalidName| usage(error.to_string()))?,
            scopes: Some(parsed.map_err(|error: crate::domain::InvalidName| usage(error.to_string()))?),
            ttl: Some(ttl.parse().map_err(|error: crate::domain::InvalidTtl| usage(error.to_string()))?),
            declared: std::iter::empty::<(String, Scalar)>().collect(),
            dry_run: false,
        };
        let token = self.token(claims).await?;
        Ok(self.broker.exchange(&token.into(), &body, &new_idempotency_key()).await)
    }

    async fn who(&mut self) -> Result<(), Failure> {
        let token = self.token(json!({})).await?;
        let seen = self.broker.get("v1/whoami", &token.into()).await?;
        let good = is(&seen, "trust", "trusted") && seen.get("principal").is_some_and(Value::is_string);
        self.step("whoami", "Who asks: a CI job's token, verified and admitted", good, &seen)
    }

    async fn allowed(&mut self) -> Result<Option<Granted>, Failure> {
        let answer = self.ask(json!({}), &["preview:deploy"], "10m").await?;
        let title = "Allowed: a credential with what was asked for";
        match answer {
            Ok(granted) => {
                let good = granted.scopes.iter().eq(["preview:deploy"]) && granted.ttl == "10m";
                self.step("allowed", title, good, &summary(&granted))?;
                Ok(Some(granted))
            }
            Err(attempt) => {
                let why = Failure::from(attempt).message;
                self.step("allowed", title, false, &json!({ "refused": why }))?;
                Ok(None)
            }
        }
    }

    async fn narrowed(&mut self) -> Result<(), Failure> {
        let branch = json!({ "ref": "refs/heads/feature-x" });
        let answer = self.ask(branch, &["preview:deploy", "preview:delete"], "30m").await?;
        let title = "Narrowed: asked for 30m and two scopes, got what policy leaves";
        match answer {
            Ok(granted) => {
                let good = granted.scopes.iter().eq(["preview:deploy"]) && granted.ttl == "15m";
                self.step("narrowed", title, good, &summary(&granted))
            }
            Err(attempt) => {
                self.step("narrowed", title, false, &json!({ "refused": Failure::from(attempt).message }))
            }
        }
    }

    async fn denied(&mut self) -> Result<(), Failure> {
        let fork =
            json!({ "event_name": "pull_request", "ref": "refs/pull/7/merge", "environment": "preview" });
        let title = "Denied: a pull request may run anybody's code";
        match self.ask(fork, &["preview:deploy"], "10m").await? {
            Err(Attempt::Refused(problem)) => {
                let good =
                    problem.code == "policy_denied" && problem.decision.is_some() && problem.fix.is_some();
                let details = serde_json::to_value(&problem).unwrap_or_default();
                self.step("denied", title, good, &details)
            }
            Ok(granted) => self.step("denied", title, false, &summary(&granted)),
            Err(Attempt::Unavailable(failure)) => {
                self.step("denied", title, false, &json!({ "unavailable": failure.message }))
            }
        }
    }

    /// Another process, given the token and the issuer's URL and nothing else.
    async fn checked_elsewhere(&mut self, granted: &Granted) -> Result<(), Failure> {
        let CredentialAnswer::Jwt { token } = &granted.credential else {
            return self.step("verified", "The credential is a token", false, &json!({}));
        };
        let mut child = Process::new(std::env::current_exe()?)
            .args(["--json", "demo", "verify", "--issuer", &self.demo.url])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(token.expose_secret().as_bytes()).await?;
        }
        let done = child.wait_with_output().await?;
        let claims: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        let good = done.status.success() && is(&claims, "scope", "preview:deploy");
        let details =
            if good { claims } else { json!({ "error": String::from_utf8_lossy(&done.stderr).trim() }) };
        let title = "Checked by another process that knows only the issuer's URL";
        self.step("verified", title, good, &details)
    }

    async fn ended(&mut self, granted: &Granted) -> Result<(), Failure> {
        let title = "Ended: with the lease secret, by the job that holds it";
        let details = match self.broker.end(&granted.lease.id, &granted.lease.shown()).await {
            Ok(_) => json!({ "lease": granted.lease.id, "revocable": granted.lease.revocable,
                "note": "a signed token cannot be recalled: the record says when it dies" }),
            Err(attempt) => json!({ "error": Failure::from(attempt).message }),
        };
        let good = details.get("error").is_none();
        self.step("ended", title, good, &details)
    }

    async fn audited(&mut self) -> Result<(), Failure> {
        // The running broker's file is read, and never written; the change is made to a copy.
        let store = self.demo.folder.path().join("ledger.db");
        let copy = self.demo.folder.path().join("changed.db");
        let intact = tokio::task::spawn_blocking({
            let store = store.clone();
            move || verify_store(&store)
        });
        let intact = intact.await.map_err(|error| Failure::new(Status::Failed, error.to_string()))?;
        let good = intact.as_ref().is_ok_and(|report| intact_is(report, true));
        let details = intact.unwrap_or_else(|error| json!({ "error": error }));
        self.step("audit", "Audit: the chain of records is whole", good, &details)?;

        let changed = tokio::task::spawn_blocking(move || {
            tamper(&store, &copy)?;
            verify_store(&copy)
        });
        let changed = changed.await.map_err(|error| Failure::new(Status::Failed, error.to_string()))?;
        let good = changed.as_ref().is_ok_and(|report| intact_is(report, false));
        let details = changed.unwrap_or_else(|error| json!({ "error": error }));
        self.step("tampered", "Tampered: one byte of a copy changed, and found", good, &details)
    }
}

fn summary(granted: &Granted) -> Value {
    json!({
        "decision": granted.decision, "scopes": granted.scopes, "ttl": granted.ttl,
        "lease": granted.lease.id, "dies_at": granted.lease.dies_at, "revocable": granted.lease.revocable,
    })
}

fn verify_store(store: &Path) -> Result<Value, String> {
    let reader =
        Reader::open(&StorePlace::Sqlite(store.to_owned())).map_err(|error| causes::in_full(&error))?;
    let report = reader.verify(None).map_err(|error| causes::in_full(&error))?;
    Ok(report_json(&report))
}

/// Copies the store and changes one byte of one recorded decision.
fn tamper(store: &Path, copy: &Path) -> Result<(), String> {
    let failed = |error: rusqlite::Error| error.to_string();
    let source = rusqlite::Connection::open_with_flags(store, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(failed)?;
    source.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(failed)?;
    let target = rusqlite::Connection::open(copy).map_err(failed)?;
    let one = "UPDATE decisions SET role = 'd' || substr(role, 2, 3) || 'x' || substr(role, 6) \
               WHERE n = (SELECT min(n) FROM decisions)";
    match target.execute(one, []).map_err(failed)? {
        1 => Ok(()),
        rows => Err(format!("{rows} rows changed")),
    }
}

/// True if the member `name` is the text `expected`.
fn is(value: &Value, name: &str, expected: &str) -> bool {
    value.get(name).and_then(Value::as_str) == Some(expected)
}

fn intact_is(report: &Value, expected: bool) -> bool {
    report.get("intact").and_then(Value::as_bool) == Some(expected)
}
