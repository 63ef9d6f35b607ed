//! Claim profiles: tables that say which claim becomes which attribute, and how a platform's facts become one immutable
//! principal key and one answer about trust.
//!
//! A profile reads separate claims only. It never takes `sub` apart: its format is configurable on both large
//! platforms, and changed on one of them.

mod generic;
mod github;
mod gitlab;
mod kubernetes;
mod spiffe;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value};
use url::{Position, Url};

use super::caller::Attributes;
use super::claim::{ClaimError, MAX_TEXT, lookup};
use super::spiffe as svid;
use crate::config::{Issuer, Profile};
use crate::domain::{AttributeName, InvalidName, PrincipalKey, Refusal, Trust};

/// One row of a profile's table.
#[derive(Debug, Clone, Copy)]
struct Claim {
    /// Name under `input.identity`.
    attribute: &'static str,
    /// Name or JSON pointer of the claim.
    path: &'static str,
    kind: Kind,
    /// A token without it is refused.
    required: bool,
}

/// How a claim is read. Platforms write numbers and booleans as text; each kind accepts both spellings and gives one.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Text. An empty one counts as absent: GitHub sends `""` for what does not apply.
    Text,
    /// A platform's number for a thing: `"74"` or `74`, always given as the text `"74"`, as the platforms write it.
    Id,
    /// A count: `"2"` or `2`, always given as a number, so that policies can compare it.
    Count,
    /// `"true"` or `true`, always given as a boolean: the text `"false"` would be true in many a policy.
    Flag,
}

const fn required(attribute: &'static str, path: &'static str, kind: Kind) -> Claim {
    Claim { attribute, path, kind, required: true }
}

const fn optional(attribute: &'static str, path: &'static str, kind: Kind) -> Claim {
    Claim { attribute, path, kind, required: false }
}

/// The attribute that the code-hosting profiles derive: the branch's name, absent for tags and merge requests.
const BRANCH: &str = "branch";

/// What a profile makes of a token.
#[derive(Debug)]
pub(super) struct Reading {
    /// The immutable key.
    pub principal: PrincipalKey,
    /// How far the job's steps can be trusted.
    pub trust: Trust,
    /// Normalised attributes.
    pub attributes: Attributes,
}

/// A profile made ready for one issuer entry.
pub(super) struct Reader {
    profile: Profile,
    /// Beginning of every principal key of this issuer.
    prefix: String,
    claims: Vec<(AttributeName, &'static Claim)>,
    branch: AttributeName,
    /// Of a SPIFFE entry.
    domain: Option<String>,
}

impl Reader {
    /// Prepares the profile of `issuer`.
    ///
    /// # Errors
    /// [`InvalidName`] if a table names an attribute that policies could not.
    pub(super) fn new(issuer: &Issuer) -> Result<Self, InvalidName> {
        let named = |claim: &'static Claim| claim.attribute.parse().map(|name| (name, claim));
        Ok(Self {
            prefix: prefix(issuer),
            claims: table(&issuer.profile).iter().map(named).collect::<Result<_, _>>()?,
            branch: BRANCH.parse()?,
            domain: issuer.url.trust_domain().map(str::to_owned),
            profile: issuer.profile.clone(),
        })
    }

    /// True for a principal key that an identity of this issuer can have.
    pub(super) fn vouches_for(&self, principal: &PrincipalKey) -> bool {
        principal.as_str().strip_prefix(self.prefix.as_str()).is_some_and(|id| !id.is_empty())
    }

    /// What of verified `claims` speaks of the identity: all of a token, and of an SVID its id alone.
    ///
    /// # Errors
    /// `token_claim_invalid`, `identity_not_admitted`.
    pub(super) fn facts<'c>(
        &self,
        claims: &'c Map<String, Value>,
    ) -> Result<Cow<'c, Map<String, Value>>, Refusal> {
        match (&self.profile, &self.domain) {
            (Profile::Spiffe { paths, .. }, Some(domain)) => {
                svid::facts(claims, domain, paths).map(Cow::Owned)
            }
            _ => Ok(Cow::Borrowed(claims)),
        }
    }

    /// Reads verified claims, as [`Self::facts`] gives them.
    ///
    /// # Errors
    /// [`ClaimError`]: a required claim is missing, or a claim has the wrong type or length.
    pub(super) fn read(&self, claims: &Map<String, Value>) -> Result<Reading, ClaimError> {
        let mut attributes = Attributes::new();
        if let Profile::Spiffe { .. } = self.profile {
            attributes = spiffe::attributes(claims)?;
        }
        for (name, claim) in &self.claims {
            if let Some(value) = claim.read(claims)? {
                attributes.insert(name.clone(), value);
            }
        }
        let (branch, trust, id) = match &self.profile {
            Profile::GitHub => {
                (github::branch(&attributes), github::trust(&attributes), github::id(&attributes))
            }
            Profile::GitLab => {
                (gitlab::branch(&attributes), gitlab::trust(&attributes), gitlab::id(&attributes))
            }
            Profile::Kubernetes => (None, kubernetes::TRUST, kubernetes::id(&attributes)),
            Profile::Spiffe { trust, .. } => (None, *trust, Some(spiffe::id(claims)?)),
            Profile::Generic { principal_claim, trust, .. } => {
                (None, *trust, Some(generic::id(claims, principal_claim)?))
            }
        };
        if let Some(branch) = branch {
            attributes.insert(self.branch.clone(), branch.into());
        }
        // The tables require what the keys are made of, so that none is ever without an id.
        let id = id.ok_or_else(|| ClaimError::new("principal", "cannot be made from these claims"))?;
        let principal = format!("{}{id}", self.prefix)
            .parse()
            .map_err(|_| ClaimError::new("principal", "would not be short printable ASCII"))?;
        Ok(Reading { principal, trust, attributes })
    }
}

/// `input.identity.kind`.
pub(super) const fn kind(profile: &Profile) -> &'static str {
    match profile {
        Profile::GitHub => "github",
        Profile::GitLab => "gitlab",
        Profile::Kubernetes => "kubernetes",
        Profile::Generic { .. } => "generic",
        Profile::Spiffe { .. } => "spiffe",
    }
}

/// True if anybody can get a token with our audience from the issuer, as far as core knows by itself; the configuration
/// knows more such issuers. An enterprise's own issuer below github.com's serves that enterprise only.
pub(super) fn is_shared(issuer: &Issuer) -> bool {
    let url = issuer.url.as_str().trim_end_matches('/');
    let at = |host: &str| url.strip_prefix("https://") == Some(host);
    match &issuer.profile {
        Profile::GitHub => at(github::GITHUB_COM),
        Profile::GitLab => at(gitlab::GITLAB_COM),
        Profile::Kubernetes | Profile::Spiffe { .. } => false,
        Profile::Generic { shared, .. } => *shared,
    }
}

const fn table(profile: &Profile) -> &'static [Claim] {
    match profile {
        Profile::GitHub => github::CLAIMS,
        Profile::GitLab => gitlab::CLAIMS,
        Profile::Kubernetes => kubernetes::CLAIMS,
        Profile::Generic { .. } | Profile::Spiffe { .. } => &[],
    }
}

/// Ids are unique on one server only, so that every prefix names the server or the issuer entry.
fn prefix(issuer: &Issuer) -> String {
    // A colon in the name could make `a:b` + `c` and `a` + `b:c` one key.
    let name = issuer.name.as_str().replace(':', "%3A");
    let host = Url::parse(issuer.url.as_str())
        .map(|url| url[Position::BeforeHost..Position::AfterPort].to_owned())
        .unwrap_or_default();
    match &issuer.profile {
        Profile::GitHub if host == github::GITHUB_COM => "github:repository:".to_owned(),
        Profile::GitHub => format!("github:{host}:repository:"),
        Profile::GitLab => format!("gitlab:{host}:project:"),
        Profile::Kubernetes => format!("kubernetes:{name}:serviceaccount:"),
        Profile::Generic { .. } => format!("generic:{name}:"),
        Profile::Spiffe { .. } => format!("spiffe:{}/", issuer.url.trust_domain().unwrap_or_default()),
    }
}

impl Claim {
    fn read(&self, claims: &Map<String, Value>) -> Result<Option<Value>, ClaimError> {
        let value = match lookup(claims, self.path) {
            Some(value) => self.kind.read(value).map_err(|problem| ClaimError::new(self.path, problem))?,
            None => None,
        };
        if value.is_none() && self.required {
            return Err(ClaimError::new(self.path, "is required and missing"));
        }
        Ok(value)
    }
}

impl Kind {
    fn read(self, value: &Value) -> Result<Option<Value>, &'static str> {
        match (self, value) {
            (_, Value::String(text)) if text.is_empty() => Ok(None),
            (_, Value::String(text)) if text.len() > MAX_TEXT => Err("is longer than 1024 bytes"),
            (Self::Text, Value::String(_)) => Ok(Some(value.clone())),
            (Self::Text, _) => Err("must be text"),
            (Self::Id, Value::String(text)) if is_number(text) => Ok(Some(value.clone())),
            (Self::Id, Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string().into())),
            (Self::Count, Value::String(text)) if is_number(text) => {
                text.parse::<u64>().map(|count| Some(count.into())).map_err(|_| "is too large a number")
            }
            (Self::Count, Value::Number(number)) if number.is_u64() => Ok(Some(value.clone())),
            (Self::Id | Self::Count, _) => Err("must be a number, or its digits as text"),
            (Self::Flag, Value::Bool(flag)) => Ok(Some((*flag).into())),
            (Self::Flag, Value::String(text)) if text == "true" => Ok(Some(true.into())),
            (Self::Flag, Value::String(text)) if text == "false" => Ok(Some(false.into())),
            (Self::Flag, _) => Err("must be true or false"),
        }
    }
}

/// Digits without a leading zero, so that one id has one spelling.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && text.len() <= 20
}

fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

/// The trust that `table` gives to `event`; unknown if it is not listed, so that a new event is not trusted by default.
fn trust_of(table: &[(&str, Trust)], event: Option<&str>) -> Trust {
    let listed = table.iter().find(|(name, _)| Some(*name) == event);
    listed.map_or(Trust::Unknown, |(_, trust)| *trust)
}
