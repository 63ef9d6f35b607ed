//! `issuers/*.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::Around;
use super::audience::Audience;
use super::known::Known;
use super::sharing::{self, Sharing};
use super::source::is_pointer;
use super::{endpoint, events, rule, runner, spiffe};
use crate::config::attributes::RESERVED_IDENTITY_KEYS;
use crate::config::reader::{Field, Reader};
use crate::config::{
    Algorithm, AttributeRule, Issuer, KeySource, Possession, Profile, Replay, Requirement, jwks,
};
use crate::domain::{AttributeName, IssuerName, IssuerUrl, Scalar, TenantName, Trust};

/// Pairs of issuer and audience in use, with the entry that uses them.
pub(super) type Taken = BTreeMap<(IssuerUrl, String), IssuerName>;

/// The profiles.
const PROFILES: &str = "\"github\", \"gitlab\", \"kubernetes\", \"generic\" or \"spiffe\"";

const WORDS: [(&str, Word); 5] = [
    ("github", Word::Oidc(Kind::GitHub)),
    ("gitlab", Word::Oidc(Kind::GitLab)),
    ("kubernetes", Word::Oidc(Kind::Kubernetes)),
    ("generic", Word::Oidc(Kind::Generic)),
    ("spiffe", Word::Spiffe),
];

/// What a profile's word means: whose tokens, with keys of their own.
#[derive(Debug, Clone, Copy)]
enum Word {
    Oidc(Kind),
    Spiffe,
}

/// Kinds of OIDC issuers.
#[derive(Debug, Clone, Copy)]
enum Kind {
    GitHub,
    GitLab,
    Kubernetes,
    Generic,
}

/// Longest lists that make sense; far below what would cost anything.
const MAX_REQUIRED_VALUES: usize = 500;

/// Reads one issuer.
pub(super) fn issuer(
    name: &IssuerName,
    r: &mut Reader<'_>,
    around: &Around<'_>,
    known: &Known<'_>,
    taken: &mut Taken,
) -> Option<Issuer> {
    let word = match r.need("profile", PROFILES).and_then(|field| field.choice(&WORDS)) {
        Some(Word::Spiffe) => return spiffe::spiffe(name, r, around, known, taken),
        Some(Word::Oidc(kind)) => Some(kind),
        None => None,
    };
    let url: Option<IssuerUrl> = r.required("issuer", "the `iss` claim, such as \"https://issuer.example\"");
    let audience: Option<Audience> =
        r.required("audience", "Tollgate's own audience, such as \"https://tollgate.example\"");
    let insecure_loopback = endpoint::insecure_loopback(r);
    let allow_networks = endpoint::allow_networks(r);
    let ca_file = endpoint::ca_file(r, around);
    let profile = profile(r, word);
    let keys = keys(r, around);
    let algorithms = algorithms(r);
    let require = require(r);
    let tenant = tenant(r, known.tenant.as_ref());
    let reserved = profile.as_ref().map(|(profile, _)| profile.attributes()).unwrap_or_default();
    let attributes: BTreeMap<AttributeName, AttributeRule> =
        r.map("attributes", "a table, such as [attributes]", |name, field| {
            rule::check_name(name, reserved, RESERVED_IDENTITY_KEYS, &field);
            rule::rule(&field)
        });
    let possession = possession(r);
    let (replay, max_age, skew) = times(r);
    let audience_list = r.flag("audience_list");
    // Broken is not absent: an issuer whose events are refused looks like one that sends none.
    let security_events = match r.get("security_events", events::EXPECTED) {
        Some(field) => field.table(|r| events::events(r, max_age + skew)).flatten().map(Some),
        None => Some(None),
    };
    let given = |name: &str| {
        name == "subject" || reserved.contains(&name) || attributes.keys().any(|own| own.as_str() == name)
    };
    let runner = runner::of_issuer(r, given);
    if let Ok(Some(rules)) = &runner {
        runner::check_possession(r, rules, possession);
        if let Some(Some(_)) = &security_events {
            runner::check_events(r, rules);
        }
    }

    if let Some(url) = &url {
        check_url(r, url, insecure_loopback, known);
        if let Some(audience) = &audience {
            check_audience(r, name, url, audience, taken);
            if let Some(Some(events)) = &security_events {
                events::check_audience(r, &events.audience, &audience.0);
            }
        }
        if let Some((profile, immutable)) = &profile {
            check_admission(r, url, profile, immutable, &require);
        }
    }
    Some(Issuer {
        name: name.clone(),
        url: url?,
        audience: audience?.0,
        audience_list,
        profile: profile?.0,
        keys: keys?,
        algorithms,
        require,
        tenant: tenant?,
        attributes,
        replay,
        possession,
        max_age,
        skew,
        security_events: security_events?,
        runner: runner.ok()?,
        ca_file,
        allow_networks,
        insecure_loopback,
    })
}

fn check_url(r: &Reader<'_>, url: &IssuerUrl, insecure_loopback: bool, known: &Known<'_>) {
    if url.is_insecure_loopback() && !insecure_loopback {
        let message = "the issuer is reached over plain http";
        r.refuse("issuer", "url_insecure", message, "use https, or, in a test, add insecure_loopback = true");
    }
    if url.trust_domain().is_some() {
        let message = "this is a SPIFFE trust domain, not an OIDC issuer";
        r.refuse(
            "issuer",
            "issuer_scheme",
            message,
            "write profile = \"spiffe\" and trust_domain = \"…\" instead",
        );
    }
    let own = known.url.is_some_and(|own| {
        let (own, url) = (own.as_str().trim_end_matches('/'), url.as_str().trim_end_matches('/'));
        url == own || url.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
    });
    if own {
        let message = "this is Tollgate's own issuer: what it hands out is never proof of who asks";
        r.refuse("issuer", "own_issuer", message, "name the issuer of the callers' tokens");
    }
}

fn check_audience(
    r: &Reader<'_>,
    name: &IssuerName,
    url: &IssuerUrl,
    audience: &Audience,
    taken: &mut Taken,
) {
    let fix = "choose one of Tollgate's own, such as its URL";
    if audience.is_foreign() {
        let message =
            "this is another service's audience, or a platform's default: a token shown there works here";
        r.refuse("audience", "foreign_audience", message, fix);
    } else if audience.0.trim_end_matches('/') == url.as_str().trim_end_matches('/') {
        let message = "this is the issuer's own audience: every token made for the issuer would be accepted";
        r.refuse("audience", "foreign_audience", message, fix);
    }
    let owner = taken.entry((url.clone(), audience.0.clone())).or_insert_with(|| name.clone());
    if owner != name {
        let message =
            format!("the entry `{owner}` has the same issuer and audience; the pair selects one entry");
        r.refuse("audience", "issuer_twice", &message, "give one of them another audience, or merge them");
    }
}

fn check_admission(
    r: &Reader<'_>,
    url: &IssuerUrl,
    profile: &Profile,
    immutable: &[String],
    require: &[Requirement],
) {
    let sharing = sharing::sharing(url, profile, immutable);
    sharing::check(r, &sharing, require);
    sharing::check_ids(r, profile, require);
    if sharing != Sharing::Own && matches!(profile, Profile::Generic { shared: false, .. }) {
        let message = "this issuer is known to serve anybody";
        r.refuse("shared", "known_shared", message, "remove shared = false, and require an immutable claim");
    }
}

/// The profile, and the claims that a generic one says are never handed out twice.
fn profile(r: &mut Reader<'_>, kind: Option<Kind>) -> Option<(Profile, Vec<String>)> {
    match kind {
        Some(Kind::GitHub) => Some((Profile::GitHub, Vec::new())),
        Some(Kind::GitLab) => Some((Profile::GitLab, Vec::new())),
        Some(Kind::Kubernetes) => Some((Profile::Kubernetes, Vec::new())),
        Some(Kind::Generic) | None => {
            let claim: Option<String> = match kind {
                Some(_) => {
                    r.required("principal_claim", "the claim that identifies for good, such as \"sub\"")
                }
                None => r.optional("principal_claim", "the claim that identifies for good, such as \"sub\""),
            };
            let shared = r.get("shared", "true or false").and_then(|field| field.boolean()).unwrap_or(true);
            let immutable = r.list("immutable_claims", "a list of claims, such as [\"org_id\"]");
            let trust = trust(r, shared);
            kind?;
            Some((Profile::Generic { principal_claim: claim?, shared, trust }, immutable.unwrap_or_default()))
        }
    }
}

/// Nothing in a generic token tells who may steer its holder: unless the operator vouches for all of them, it is
/// unknown, which the guard-rail keeps out of production.
fn trust(r: &mut Reader<'_>, shared: bool) -> Trust {
    let trust = trust_word(r);
    if trust == Trust::Trusted && shared {
        let message = "nobody can vouch for all whom a shared issuer gives tokens to";
        let fix = "remove it, or write shared = false if the issuer serves only you";
        r.refuse("trust", "trust_shared", message, fix);
    }
    trust
}

/// `trust`: what the operator says of everybody whom an issuer vouches for.
pub(super) fn trust_word(r: &mut Reader<'_>) -> Trust {
    let words = [("trusted", Trust::Trusted), ("unknown", Trust::Unknown)];
    r.choice("trust", "\"trusted\" or \"unknown\"", &words).unwrap_or(Trust::Unknown)
}

/// A host that a discovery document may name for its keys.
struct JwksHost(String);

impl FromStr for JwksHost {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match url::Host::parse(text) {
            Ok(host) if !text.contains('*') => Ok(Self(host.to_string())),
            Ok(_) | Err(_) => Err("a host is a name or an address, without scheme, port, path or `*`"),
        }
    }
}

fn keys(r: &mut Reader<'_>, around: &Around<'_>) -> Option<KeySource> {
    let hosts: Option<Vec<JwksHost>> =
        r.list("jwks_hosts", "hosts without scheme or port, such as [\"keys.example\"]");
    let inline: Option<String> = r.optional("jwks", "a JWKS document, as text");
    let file: Option<PathBuf> = r.optional("jwks_file", "a path, such as \"issuers/internal.jwks.json\"");
    let written: Vec<_> = ["jwks_hosts", "jwks", "jwks_file"].into_iter().filter(|key| r.has(key)).collect();
    if let [_, second, ..] = written[..] {
        let message = "the keys come from exactly one place";
        r.refuse(second, "key_places", message, "keep one of jwks_hosts (discovery), jwks and jwks_file");
        return None;
    }
    let (key, jwks) = match (inline, file) {
        (Some(text), _) => ("jwks", text),
        (None, Some(file)) => ("jwks_file", jwks_file(r, &file, around)?),
        (None, None) if r.has("jwks") || r.has("jwks_file") => return None,
        (None, None) => {
            let jwks_hosts = hosts.unwrap_or_default().into_iter().map(|JwksHost(host)| host).collect();
            return Some(KeySource::Discovery { jwks_hosts });
        }
    };
    match jwks::check(&jwks) {
        Ok(()) => Some(KeySource::Inline { jwks }),
        Err(error) => {
            r.refuse(
                key,
                "bad_jwks",
                &error.to_string(),
                "give the issuer's public keys, as its JWKS endpoint shows them",
            );
            None
        }
    }
}

/// Only a file that was read with the configuration is part of its revision.
fn jwks_file(r: &Reader<'_>, path: &Path, around: &Around<'_>) -> Option<String> {
    let text = around.files.get(path).map(|bytes| String::from_utf8(bytes.to_vec()));
    match text {
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => {
            r.refuse("jwks_file", "not_utf8", "the file is not UTF-8 text", "give the JWKS document itself");
            None
        }
        None => {
            let message = "there is no such file among the configuration's";
            r.refuse(
                "jwks_file",
                "missing_file",
                message,
                "put it into issuers/, and write its path as issuers/NAME.json",
            );
            None
        }
    }
}

fn algorithms(r: &mut Reader<'_>) -> Vec<Algorithm> {
    let words = [
        ("RS256", Algorithm::Rs256),
        ("RS384", Algorithm::Rs384),
        ("RS512", Algorithm::Rs512),
        ("PS256", Algorithm::Ps256),
        ("ES256", Algorithm::Es256),
        ("ES384", Algorithm::Es384),
        ("EdDSA", Algorithm::EdDsa),
    ];
    let Some(field) = r.get("algorithms", "a list, such as [\"RS256\"]") else {
        return vec![Algorithm::Rs256];
    };
    let one = |item: &Field<'_>| {
        let text = item.text()?;
        let symmetric = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("hs"));
        if symmetric || text.eq_ignore_ascii_case("none") {
            let message = if symmetric {
                "a symmetric algorithm would make the issuer's published key a signing key"
            } else {
                "`none` accepts what anybody writes"
            };
            item.refuse(
                "algorithm_refused",
                message,
                "list the asymmetric algorithm that the issuer signs with",
            );
            return None;
        }
        item.choice(&words)
    };
    let items = field.items().unwrap_or_default();
    if items.is_empty() && field.is_list() {
        field.refuse(
            "empty_list",
            "without an algorithm no token is accepted",
            "list the one that the issuer signs with",
        );
    }
    items.iter().filter_map(one).collect()
}

pub(super) fn require(r: &mut Reader<'_>) -> Vec<Requirement> {
    let expected = "require = { repository_owner_id = \"1234\" }";
    let rules: BTreeMap<String, Vec<Scalar>> = r.map("require", expected, |claim: &String, field| {
        if claim.is_empty() || (claim.starts_with('/') && !is_pointer(claim)) {
            let fix = "write the claim's name, or a JSON pointer such as \"/kubernetes.io/namespace\"";
            field.refuse("bad_claim", "this names no claim", fix);
        }
        let values = if field.is_list() {
            field.items()?.iter().filter_map(Field::scalar).collect()
        } else {
            vec![field.scalar()?]
        };
        let empty = values.iter().any(|value| matches!(value, Scalar::Text(text) if text.is_empty()));
        if values.is_empty() || empty || values.len() > MAX_REQUIRED_VALUES {
            let message =
                format!("a requirement has 1 to {MAX_REQUIRED_VALUES} values, and none of them is empty");
            field.refuse("bad_requirement", &message, "list the values that are ours");
        }
        Some(values)
    });
    rules.into_iter().map(|(claim, any_of)| Requirement { claim, any_of }).collect()
}

pub(super) fn tenant(r: &mut Reader<'_>, default: Option<&TenantName>) -> Option<AttributeRule> {
    match r.get("tenant", rule::EXPECTED) {
        Some(field) => rule::tenant(&field),
        None => default.map(|name| AttributeRule::Constant(Scalar::Text(name.to_string()))),
    }
}

/// A token that names a key can be used by fewer than one that names none: unless written, both are taken.
pub(super) fn possession(r: &mut Reader<'_>) -> Possession {
    let words = [
        ("accepted", Possession::Accepted),
        ("required", Possession::Required),
        ("refused", Possession::Refused),
    ];
    let expected = "\"accepted\", \"required\" or \"refused\"";
    r.choice("possession", expected, &words).unwrap_or(Possession::Accepted)
}

pub(super) fn times(r: &mut Reader<'_>) -> (Replay, Duration, Duration) {
    let replay = r.choice("replay", "\"once\" or \"off\"", &[("once", Replay::Once), ("off", Replay::Off)]);
    if replay == Some(Replay::Off) {
        let message = "a stolen token works any number of times until it expires";
        r.warn(
            "replay",
            "replay_off",
            message,
            "write replay = \"once\" if the issuer gives a fresh token per request",
        );
    }
    let age = Duration::from_secs(1)..=Duration::from_hours(24);
    let skew = Duration::ZERO..=Duration::from_mins(1);
    (
        replay.unwrap_or(Replay::Once),
        r.duration("max_age", "\"10m\"", Duration::from_mins(10), &age),
        r.duration("skew", "\"30s\", at most 60s", Duration::from_secs(30), &skew),
    )
}
