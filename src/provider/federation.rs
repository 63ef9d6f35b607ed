//! Federation tokens: how Tollgate proves itself to a target that trusts its issuer, without holding a key of the target's.
//!
//! Built here, sent to one target, dropped. One may never reach an answer, a log, a record or the store, and Tollgate
//! never accepts one as a subject token (its issuer, `{url}/federation`, is not a configured one).

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::Serialize;

use super::upstream::{internal, unsigned};
use crate::clock::{Clock, random_bytes};
use crate::config::Role;
use crate::domain::{DecisionId, IssuerUrl, Refusal};
use crate::policy::Grant;
use crate::signing::discovery::federation_issuer;
use crate::signing::{FEDERATION_TYP, Purpose, SharedKeyring};

/// Lifetime in seconds: time for one call with clocks a minute apart, and no more.
const LIFETIME: i64 = 120;
/// Longest subject, in bytes: the least that any target accepts (`google.subject` of Google's workload identity federation).
const MAX_SUBJECT_BYTES: usize = 127;

/// Signs federation tokens.
pub(super) struct Federation {
    issuer: String,
    keyring: SharedKeyring,
    clock: Clock,
}

/// Why a token is needed.
pub(super) enum Cause<'a> {
    /// To mint what a decision granted.
    Mint(&'a Grant),
    /// To end a credential.
    End,
}

/// Session tags and source identity, where AWS reads them in a web-identity token (IAM User Guide, "Pass session tags
/// using `AssumeRoleWithWebIdentity`" and "Monitor and control actions taken with assumed roles").
#[derive(Clone, Copy)]
pub(super) struct AwsClaims<'a> {
    /// Tag key to value; every tag is transitive.
    pub(super) tags: &'a BTreeMap<String, String>,
    /// The source identity.
    pub(super) source_identity: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: DecisionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(rename = "https://aws.amazon.com/tags", skip_serializing_if = "Option::is_none")]
    tags: Option<Tags<'a>>,
    #[serde(rename = "https://aws.amazon.com/source_identity", skip_serializing_if = "Option::is_none")]
    source_identity: Option<&'a str>,
}

#[derive(Serialize)]
struct Tags<'a> {
    principal_tags: BTreeMap<&'a str, [&'a str; 1]>,
    transitive_tag_keys: Vec<&'a str>,
}

impl Federation {
    /// Signs as `{url}/federation`.
    pub(super) fn new(url: &IssuerUrl, keyring: SharedKeyring, clock: Clock) -> Self {
        Self { issuer: federation_issuer(url), keyring, clock }
    }

    /// A token that says to `audience`: this is `role`.
    ///
    /// # Errors
    /// `internal`: the subject is too long, or there is no key.
    pub(super) async fn token(
        &self,
        role: &Role,
        audience: &str,
        cause: Cause<'_>,
        aws: Option<AwsClaims<'_>>,
    ) -> Result<SecretString, Refusal> {
        let subject = subject(role)?;
        let now = self.clock.now();
        let (jti, decision, policy) = match cause {
            Cause::Mint(grant) => {
                let decision = grant.facts().decision();
                (decision, Some(decision), Some(grant.judged().revision().to_string()))
            }
            // No decision stands behind an end: the identifier only makes the token unique.
            Cause::End => {
                let random = random_bytes().map_err(|error| internal(error.to_string()))?;
                (DecisionId::new(now.as_millisecond().unsigned_abs(), &random), None, None)
            }
        };
        let claims = Claims {
            iss: &self.issuer,
            sub: &subject,
            aud: audience,
            iat: now.as_second(),
            nbf: now.as_second(),
            exp: now.as_second() + LIFETIME,
            jti,
            decision,
            policy,
            tags: aws.and_then(|aws| tags(aws.tags)),
            source_identity: aws.map(|aws| aws.source_identity),
        };
        let signed = self.keyring.load_full().sign_jwt(Purpose::Federation, FEDERATION_TYP, &claims).await;
        signed.map_err(|error| unsigned("federation token", &error))
    }
}

/// `role:<tenant>:<role>`: what a target's trust is bound to, one per role, so that no login holds the superset of all.
fn subject(role: &Role) -> Result<String, Refusal> {
    let subject = format!("role:{}:{}", role.tenant, role.name);
    if subject.len() > MAX_SUBJECT_BYTES {
        return Err(internal(format!("the subject {subject} is longer than {MAX_SUBJECT_BYTES} bytes")));
    }
    Ok(subject)
}

/// The tags claim; none without tags, for an empty one would still need `sts:TagSession`.
fn tags(tags: &BTreeMap<String, String>) -> Option<Tags<'_>> {
    (!tags.is_empty()).then(|| Tags {
        principal_tags: tags.iter().map(|(key, value)| (key.as_str(), [value.as_str()])).collect(),
        transitive_tag_keys: tags.keys().map(String::as_str).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::testing::{NOW, claims, jwt_grant, keyring, now};

    fn federation() -> Federation {
        let url = "https://tollgate.example".parse().unwrap();
        Federation::new(&url, keyring(), Clock::manual(now()))
    }

    #[tokio::test]
    async fn c_13_binds_the_token_to_one_role_one_target_and_one_decision() {
        let grant = jwt_grant();
        let role = grant.facts().role();
        let token =
            federation().token(role, "https://vault.example", Cause::Mint(&grant), None).await.unwrap();
        let (header, claims) = claims(&token);
        assert_eq!(header["typ"], "JWT");
        let decision = grant.facts().decision().to_string();
        let expected = json!({
            "iss": "https://tollgate.example/federation",
            "sub": "role:default:deploy",
            "aud": "https://vault.example",
            "iat": NOW, "nbf": NOW, "exp": NOW + 120,
            "jti": decision, "decision": decision,
            "policy": grant.judged().revision().to_string(),
        });
        assert_eq!(claims, expected);
    }

    #[tokio::test]
    async fn carries_tags_and_source_identity_where_aws_reads_them() {
        let grant = jwt_grant();
        let tags = [("repository".to_owned(), "acme/shop".to_owned())].into();
        let aws = AwsClaims { tags: &tags, source_identity: "tg-1" };
        let role = grant.facts().role();
        let token =
            federation().token(role, "sts.amazonaws.com", Cause::Mint(&grant), Some(aws)).await.unwrap();
        let claims = claims(&token).1;
        let expected =
            json!({"principal_tags": {"repository": ["acme/shop"]}, "transitive_tag_keys": ["repository"]});
        assert_eq!(claims["https://aws.amazon.com/tags"], expected);
        assert_eq!(claims["https://aws.amazon.com/source_identity"], "tg-1");
    }

    #[tokio::test]
    async fn a_token_for_ending_names_no_decision_and_is_unique() {
        let grant = jwt_grant();
        let role = grant.facts().role();
        let federation = federation();
        let first = claims(&federation.token(role, "a", Cause::End, None).await.unwrap()).1;
        let second = claims(&federation.token(role, "a", Cause::End, None).await.unwrap()).1;
        assert_eq!(first.get("decision"), None);
        assert_ne!(first["jti"], second["jti"]);
    }

    #[tokio::test]
    async fn c_10_federation_tokens_share_no_key_with_what_is_handed_out() {
        let grant = jwt_grant();
        let token = federation().token(grant.facts().role(), "a", Cause::End, None).await.unwrap();
        let kid = claims(&token).0["kid"].as_str().unwrap().to_owned();
        assert!(keyring().load().jwks(Purpose::Federation).contains(&kid));
        assert!(!keyring().load().jwks(Purpose::Credentials).contains(&kid));
    }

    #[test]
    fn the_longest_names_still_make_a_subject_that_every_target_takes() {
        let mut role = crate::facts::testing::role();
        role.tenant = "t".repeat(60).parse().unwrap();
        role.name = "r".repeat(60).parse().unwrap();
        assert_eq!(subject(&role).unwrap().len(), 126);
    }
}
