//! The query of a list: typed, strict, and seen by policy as it was asked. A parameter that nobody knows is refused: a
//! misspelt filter must not show everything.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::request::Parts;
use jiff::Timestamp;

use super::fields::{malformed, shown};
use super::follow::LONGEST;
use super::form::Form;
use super::{evidence, failure::Failure};
use crate::domain::{IssuerUrl, Operation, OperationAsk, OutcomeName, Refusal, TenantName};
use crate::identity::Evidence;
use crate::ledger::{AuditFrom, MAX_PAGE, Search};

/// Entries of a page whose size nobody named.
const DEFAULT_PAGE: usize = 50;

/// What a list is asked for.
pub(super) struct Asked {
    pub(super) evidence: Evidence,
    pub(super) ask: OperationAsk,
    pub(super) search: Search,
    pub(super) from: AuditFrom,
    pub(super) limit: usize,
    pub(super) cursor: Option<String>,
    /// How long to wait for what is not there yet.
    pub(super) wait: Option<Duration>,
}

/// One list: its name, who decides about it, and what narrows it besides tenant and time.
pub(super) struct List {
    pub(super) name: &'static str,
    pub(super) operation: Operation,
    pub(super) filters: &'static [&'static str],
    /// Whether `wait` may be asked for.
    pub(super) waits: bool,
}

impl Asked {
    /// Reads the request for `list`.
    ///
    /// # Errors
    /// `token_*` without a bearer; `request_malformed`, `duplicate_parameter`, `name_invalid`.
    pub(super) fn read(
        url: &IssuerUrl,
        parts: &Parts,
        source_ip: Option<IpAddr>,
        list: &List,
    ) -> Result<Self, Failure> {
        let evidence = evidence::of(url, parts).map_err(Failure::request)?;
        let query = parts.uri.query().unwrap_or_default();
        let mut asked = Self::parse(query, list, evidence).map_err(Failure::request)?;
        asked.ask.source_ip = source_ip;
        Ok(asked)
    }

    fn parse(query: &str, list: &List, evidence: Evidence) -> Result<Self, Refusal> {
        let mut form = Form::parse(query.as_bytes())?;
        let mut reader = Reader { form: &mut form, filter: BTreeMap::from([("list", list.name.to_owned())]) };
        let tenant: Option<TenantName> = reader.take("tenant")?;
        let mut search = Search {
            since: reader.take::<Timestamp>("since")?,
            until: reader.take::<Timestamp>("until")?,
            ..Search::default()
        };
        let mut from = search.since.map_or(AuditFrom::Start, AuditFrom::Since);
        for filter in list.filters {
            match *filter {
                "principal" => search.principal = reader.take("principal")?,
                "role" => search.role = reader.take("role")?,
                "state" => search.state = reader.take("state")?,
                "operation" => search.operation = reader.take("operation")?,
                "outcome" => {
                    search.outcome = reader.take::<OutcomeName>("outcome")?.map(|name| name.to_string());
                }
                "from" => {
                    if let Some(Start(at)) = reader.take("from")? {
                        from = at;
                    }
                }
                other => return Err(malformed(format!("{other} narrows no list"))),
            }
        }
        let filter = reader.filter;
        let limit = form.take("limit").map_or(Ok(DEFAULT_PAGE), |text| limit(&text))?;
        let cursor = form.take("cursor");
        let wait = if list.waits { form.take("wait") } else { None };
        let wait = wait.map(|text| seconds(&text)).transpose()?;
        form.finish()?;
        let ask = OperationAsk { operation: list.operation, tenant, filter, source_ip: None };
        Ok(Self { evidence, ask, search, from, limit, cursor, wait })
    }
}

/// Takes filters out of the query, and keeps them for policy to see.
struct Reader<'f> {
    form: &'f mut Form,
    filter: BTreeMap<&'static str, String>,
}

impl Reader<'_> {
    fn take<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.form.take(name) else { return Ok(None) };
        let value = text.parse().map_err(|error| malformed(format!("{name} {}: {error}", shown(&text))))?;
        self.filter.insert(name, text);
        Ok(Some(value))
    }
}

fn limit(text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
    limit.ok_or_else(|| malformed(format!("limit: write a whole number from 1 to {MAX_PAGE}")))
}

fn seconds(text: &str) -> Result<Duration, Refusal> {
    let longest = LONGEST.as_secs();
    let seconds = text.parse().ok().filter(|seconds| (1..=longest).contains(seconds));
    let seconds = seconds.ok_or_else(|| malformed(format!("wait: write a whole number from 1 to {longest}")));
    seconds.map(Duration::from_secs)
}

/// Where the audit chain is read from.
struct Start(AuditFrom);

impl FromStr for Start {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "start" => Ok(Self(AuditFrom::Start)),
            "now" => Ok(Self(AuditFrom::Now)),
            _ => Err("expected start or now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;
    use crate::ledger::LeaseState;

    const LEASES: List = List {
        name: "leases",
        operation: Operation::LeaseList,
        filters: &["principal", "role", "state"],
        waits: false,
    };

    fn parse(query: &str) -> Result<Asked, Refusal> {
        Asked::parse(query, &LEASES, "t".to_owned().into())
    }

    #[test]
    fn filters_are_typed_and_shown_to_policy_as_they_were_asked() {
        let asked =
            parse("role=deploy%2Fproduction&state=live&since=2026-03-02T10:00:00Z&limit=7&cursor=c").unwrap();
        assert_eq!(asked.search.role.unwrap().as_str(), "deploy/production");
        assert_eq!((asked.search.state, asked.limit), (Some(LeaseState::Live), 7));
        assert_eq!(asked.cursor.as_deref(), Some("c"));
        let filter = [
            ("list", "leases"),
            ("role", "deploy/production"),
            ("since", "2026-03-02T10:00:00Z"),
            ("state", "live"),
        ];
        assert!(asked.ask.filter.iter().map(|(key, value)| (*key, value.as_str())).eq(filter));
        assert_eq!(parse("").unwrap().limit, DEFAULT_PAGE);
    }

    #[test]
    fn a_wait_is_bounded() {
        let list = List { waits: true, ..LEASES };
        let wait = |query: &str| {
            Asked::parse(query, &list, "t".to_owned().into())
                .map(|asked| asked.wait.map(|wait| wait.as_secs()))
        };
        assert_eq!((wait("").ok(), wait("wait=20").ok()), (Some(None), Some(Some(20))));
        for query in ["wait=0", "wait=21", "wait=-1", "wait=x", "wait=1.5"] {
            assert!(wait(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_misspelt_or_impossible_filter_is_refused_and_never_ignored() {
        for query in [
            "rloe=deploy",
            "outcome=allow",
            "role=DEPLOY",
            "state=alive",
            "since=yesterday",
            "limit=0",
            "limit=201",
            "limit=x",
            "tenant=A%20B",
            "principal=a%20b",
            "wait=1",
        ] {
            assert_eq!(
                parse(query).err().map(|refusal| refusal.code),
                Some(Code::RequestMalformed),
                "{query}"
            );
        }
        assert_eq!(parse("role=a&role=b").err().map(|refusal| refusal.code), Some(Code::DuplicateParameter));
    }
}
