//! `POST /token`: OAuth 2.0 Token Exchange (RFC 8693), form-encoded.
//!
//! - `audience` names the role (`deploy/production`); or `resource` does, as `urn:tollgate:role:deploy/production`.
//! - `ttl` asks for a lifetime (`30m`), `declared.<key>` declares a fact; both are extensions of ours. A declared
//!   value has the type that the role's file gives its key.
//! - `actor_token` shows the runner that the job executes on (section 2.1).
//! - The header `Idempotency-Key` makes a retry safe.
//! - Parameters that are not known are ignored (RFC 6749, section 3.2), but none may appear twice.

mod answer;
mod kind;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use secrecy::SecretString;

pub(super) use kind::TokenKind;

use super::credentials::idempotency_key;
use crate::broker::Outcome;
use crate::config::{DeclaredType, Role};
use crate::domain::{Ask, Code, FactKey, IssuerUrl, Refusal, RoleName, Scalar};
use crate::http::answer::{json, note};
use crate::http::body::{self, MediaType};
use crate::http::failure::Failure;
use crate::http::fields::{self, MAX_DECLARED, invalid_name, malformed};
use crate::http::form::Form;
use crate::http::{Context, bearer, evidence};
use crate::identity::Evidence;

/// The one grant type.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Subject and actor tokens that are read (RFC 8693, section 3). An access token is none: it says what one may do, not
/// who one is.
const TOKEN_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];

/// Prefix of a role in `resource`, which must be an absolute URI (RFC 8707, section 2).
const ROLE_URN: &str = "urn:tollgate:role:";

/// A request for an exchange, read.
struct Exchange {
    evidence: Evidence,
    ask: Ask,
    wanted: Option<TokenKind>,
}

pub(super) async fn post(State(context): State<Arc<Context>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let source_ip = context.source_ip(&parts)?;
    let body = body::read(&parts.headers, body, MediaType::Form, context.limits.body_bytes);
    let form = body.await.and_then(|body| Form::parse(&body)).map_err(Failure::request)?;
    let loaded = context.broker.loaded();
    let role_of = |name: &RoleName| loaded.config.roles.get(name).map(Arc::as_ref);
    let exchange = exchange(&context.url, &parts, form, source_ip, role_of).map_err(Failure::request)?;
    let Exchange { evidence, mut ask, wanted } = exchange;
    ask.trace_parent = context.trace_parent(&parts);
    check_wanted(&context, &evidence, &ask.role, wanted).await?;
    let denied = |denied| Failure::denied(denied, context.denials());
    match context.broker.exchange(evidence, ask).await.map_err(denied)? {
        Outcome::Leased(leased) => {
            let answer = answer::TokenAnswer::of(&leased, wanted, context.clock.now());
            Ok(note(json(&answer)?, leased.grant()))
        }
        Outcome::WouldAllow(_) => Err(Failure::internal("a dry run that nobody asked for")),
    }
}

/// Refuses a kind of token that the role cannot give, before anything is minted. Only who may see the role is told;
/// for everybody else the exchange itself answers that there is no such role (S-13).
async fn check_wanted(
    context: &Context,
    evidence: &Evidence,
    role: &RoleName,
    wanted: Option<TokenKind>,
) -> Result<(), Failure> {
    let Some(wanted) = wanted else { return Ok(()) };
    match context.broker.visible_role(evidence, role).await {
        Some(role) if !wanted.is_given_by(&role) => {
            let given = TokenKind::given_by(&role).as_str();
            let message = format!("requested_token_type: this role gives {given}");
            Err(Failure::request(malformed(message)))
        }
        Some(_) | None => Ok(()),
    }
}

fn exchange<'a>(
    url: &IssuerUrl,
    parts: &Parts,
    mut form: Form,
    source_ip: Option<IpAddr>,
    role_of: impl FnOnce(&RoleName) -> Option<&'a Role>,
) -> Result<Exchange, Refusal> {
    check_grant_type(&mut form)?;
    let actor = actor_token(&mut form)?;
    let token = subject_token(&mut form)?;
    let wanted = form.take("requested_token_type").map(|text| TokenKind::parse(&text)).transpose()?;
    let role = role_name(&mut form)?;
    let scope = form.take("scope");
    let ttl = form.take("ttl");
    let ask = Ask {
        scopes: scope.map(|text| fields::scopes(text.split(' ').filter(|s| !s.is_empty()))).transpose()?,
        ttl: ttl.map(|text| fields::ttl(&text)).transpose()?,
        declared: declared(&mut form, role_of(&role))?,
        idempotency_key: idempotency_key(&parts.headers)?,
        dry_run: false,
        renews: None,
        source_ip,
        trace_parent: None,
        role,
    };
    let evidence = evidence::of_token_request(url, parts, token)?.beside(actor);
    Ok(Exchange { evidence, ask, wanted })
}

fn check_grant_type(form: &mut Form) -> Result<(), Refusal> {
    match form.take("grant_type").as_deref() {
        Some(GRANT_TYPE) => Ok(()),
        Some(_) => {
            Err(Refusal::new(Code::GrantTypeUnsupported, format!("the only grant type is {GRANT_TYPE}")))
        }
        None => Err(malformed(format!("send grant_type={GRANT_TYPE}"))),
    }
}

/// The runner's token. Its type is there with it, and never without (RFC 8693, section 2.1).
fn actor_token(form: &mut Form) -> Result<Option<SecretString>, Refusal> {
    let (token, kind) = (form.take("actor_token").map(SecretString::from), form.take("actor_token_type"));
    match (token, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(malformed("actor_token_type comes with an actor_token, and never without")),
        (Some(token), kind) => {
            check_type("actor_token_type", kind.as_deref())?;
            bearer::check(&token)?;
            Ok(Some(token))
        }
    }
}

fn check_type(parameter: &str, kind: Option<&str>) -> Result<(), Refusal> {
    if kind.is_some_and(|kind| TOKEN_TYPES.contains(&kind)) {
        return Ok(());
    }
    Err(malformed(format!("{parameter} must be {}", TOKEN_TYPES.join(" or "))))
}

fn subject_token(form: &mut Form) -> Result<SecretString, Refusal> {
    let token = form.take("subject_token").map(SecretString::from);
    check_type("subject_token_type", form.take("subject_token_type").as_deref())?;
    let token = token
        .ok_or_else(|| Refusal::new(Code::TokenMissing, "send the job's OIDC token as subject_token"))?;
    bearer::check(&token)?;
    Ok(token)
}

/// Exactly one of `audience` and `resource` (C-05: it names the role, which names the target).
fn role_name(form: &mut Form) -> Result<RoleName, Refusal> {
    let text = match (form.take("audience"), form.take("resource")) {
        (Some(name), None) => name,
        (None, Some(uri)) => match uri.strip_prefix(ROLE_URN) {
            Some(name) => name.to_owned(),
            None => return Err(malformed(format!("resource must be {ROLE_URN}<role>"))),
        },
        (None, None) => return Err(malformed("name the role in audience")),
        (Some(_), Some(_)) => return Err(malformed("name the role in audience or in resource, not in both")),
    };
    fields::role(&text)
}

fn declared(form: &mut Form, role: Option<&Role>) -> Result<BTreeMap<FactKey, Scalar>, Refusal> {
    let pairs = form.take_prefixed("declared.");
    if pairs.len() > MAX_DECLARED {
        return Err(malformed(format!("declare at most {MAX_DECLARED} keys")));
    }
    let entry = |(name, value): (String, String)| {
        let key: FactKey = name.parse().map_err(|error| invalid_name("declared key", &name, &error))?;
        let kind = role.and_then(|role| role.declared.get(&key)).map(|declared| declared.kind);
        Ok((key, scalar(value, kind)))
    };
    pairs.into_iter().map(entry).collect()
}

/// A form knows only text: `text` as the role's type, or left as it is where it does not fit, which is then refused
/// with the role's other checks.
fn scalar(text: String, kind: Option<DeclaredType>) -> Scalar {
    match (kind, text.as_str()) {
        (Some(DeclaredType::Boolean), "true") => Scalar::Bool(true),
        (Some(DeclaredType::Boolean), "false") => Scalar::Bool(false),
        (Some(DeclaredType::Integer), number) => match number.parse() {
            Ok(number) => Scalar::Integer(number),
            Err(_) => Scalar::Text(text),
        },
        (Some(DeclaredType::Boolean | DeclaredType::Text { .. }) | None, _) => Scalar::Text(text),
    }
}

#[cfg(test)]
mod tests;
