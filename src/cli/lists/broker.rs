//! Lists as the broker answers them, to this identity.

use std::time::Duration;

use serde_json::Value;

use super::{List, Page, Place, Query};
use crate::cli::client::{Attempt, Broker};
use crate::cli::connection::Connection;
use crate::cli::failure::{Failure, Status};
use crate::cli::possession::Shown;
use crate::net::Response;

/// How often one page is asked for while the broker says that this identity asks too often.
const PATIENCE: usize = 10;
/// Longest wait before asking again, seconds.
const MAX_WAIT: u32 = 60;

/// The broker, and the token that is shown to it until it is too old.
pub(in crate::cli) struct Remote {
    connection: Connection,
    broker: Broker,
    token: Option<Shown>,
}

impl List {
    /// The path, and the name of the list in the answer.
    const fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Leases => ("v1/leases", "leases"),
            Self::Authorisations => ("v1/authorisations", "authorisations"),
            Self::Decisions => ("v1/decisions", "decisions"),
        }
    }
}

impl Remote {
    pub(super) fn new(connection: Connection) -> Result<Self, Failure> {
        let broker = connection.broker(None)?;
        Ok(Self { connection, broker, token: None })
    }

    pub(super) async fn page(
        &mut self,
        list: List,
        query: &Query,
        limit: usize,
        place: Option<&Place>,
    ) -> Result<Page, Failure> {
        let (path, name) = list.named();
        let answer = self.get(&format!("{path}?{}", query.encoded(limit, cursor(place)))).await?;
        let mut answer: Value = serde_json::from_slice(&answer.body).map_err(|error| unreadable(&error))?;
        let Some(Value::Array(entries)) = answer.get_mut(name).map(Value::take) else {
            return Err(Failure::new(Status::Failed, format!("the broker's answer has no {name}")));
        };
        let next = answer.get("next").and_then(Value::as_str).map(|next| Place::Cursor(next.to_owned()));
        Ok(Page { entries, more: next.is_some(), next })
    }

    pub(super) async fn audit(
        &mut self,
        query: &Query,
        limit: usize,
        place: Option<&Place>,
    ) -> Result<Page, Failure> {
        let answer = self.get(&format!("v1/audit?{}", query.encoded(limit, cursor(place)))).await?;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let next = header("tollgate-cursor").map(|next| Place::Cursor(next.to_owned()));
        if next.is_none() {
            return Err(Failure::new(Status::Failed, "the broker's answer has no cursor"));
        }
        let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
        Ok(Page {
            entries: entries.map_err(|error| unreadable(&error))?,
            next,
            more: header("tollgate-more") == Some("true"),
        })
    }

    /// Asks, and asks again when the broker says that this identity asks too often: a long list is many pages.
    async fn get(&mut self, path: &str) -> Result<Response, Failure> {
        for _ in 0..PATIENCE {
            match self.ask(path).await {
                Err(Attempt::Refused(problem)) if problem.code == "rate_limited" => {
                    let wait = problem.retry_after.unwrap_or(1).min(MAX_WAIT);
                    tokio::time::sleep(Duration::from_secs(wait.into())).await;
                }
                answered => return Ok(answered?),
            }
        }
        Ok(self.ask(path).await?)
    }

    /// Asks with the token at hand; with a fresh one if that is too old by now.
    async fn ask(&mut self, path: &str) -> Result<Response, Attempt> {
        if let Some(token) = &self.token {
            match self.broker.get_raw(path, token).await {
                Err(Attempt::Refused(problem)) if problem.code.starts_with("token_") => {}
                answered => return answered,
            }
        }
        let token = self.token.insert(self.connection.token().await?);
        self.broker.get_raw(path, token).await
    }
}

fn cursor(place: Option<&Place>) -> Option<&str> {
    match place? {
        Place::Cursor(cursor) => Some(cursor),
        Place::Before(_) | Place::Audit(_) => None,
    }
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::new(Status::Failed, format!("the broker's answer cannot be read: {error}"))
}
