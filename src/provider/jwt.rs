//! Access tokens that Tollgate signs itself, in the shape of RFC 9068.
//!
//! Their issuer is `{url}`, never `{url}/federation`, and their `typ` is `at+jwt`: neither a target nor Tollgate takes one
//! for a federation or identity token.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::upstream::{internal, unfit, unsigned};
use crate::clock::Clock;
use crate::config::attributes::RESERVED_CLAIMS;
use crate::config::{JwtRole, JwtTarget};
use crate::domain::{Credential, DecisionId, Handle, IssuerUrl, Minted, PrincipalKey, Refusal, Revocability};
use crate::identity::Binding;
use crate::ledger::Authorised;
use crate::policy::Grant;
use crate::signing::{ACCESS_TOKEN_TYP, Purpose, SharedKeyring};

/// One audience for tokens of Tollgate's own.
pub(super) struct Jwt {
    issuer: String,
    target: JwtTarget,
    keyring: SharedKeyring,
    clock: Clock,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a PrincipalKey,
    /// The issuer entry that vouched for the caller: the nearest that a keyless client has to a registration.
    client_id: &'a str,
    scope: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: DecisionId,
    role: &'a str,
    tenant: &'a str,
    /// The runner that was proved beside the caller (RFC 8693, section 4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor<'a>>,
    /// What the token is bound to (RFC 7800, section 3.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Value>,
    #[serde(flatten)]
    copied: BTreeMap<&'a str, &'a Value>,
}

#[derive(Serialize)]
struct Actor<'a> {
    sub: &'a PrincipalKey,
}

impl Jwt {
    /// Signs as `url` for `target`.
    pub(super) fn new(url: &IssuerUrl, target: JwtTarget, keyring: SharedKeyring, clock: Clock) -> Self {
        Self { issuer: url.to_string(), target, keyring, clock }
    }

    /// Names the token by the decision. Any lifetime can be enforced: there is no floor.
    ///
    /// # Errors
    /// `target_value_refused` if a copied attribute would shadow a claim with a meaning.
    pub(super) fn plan(grant: &Grant, role: &JwtRole) -> Result<Handle, Refusal> {
        refuse_shadowing(&role.claims)?;
        Ok(Handle::Jwt { jti: grant.facts().decision().to_string() })
    }

    /// Signs the token.
    ///
    /// # Errors
    /// `internal` without a key.
    pub(super) async fn mint(&self, auth: &Authorised, role: &JwtRole) -> Result<Minted, Refusal> {
        let grant = auth.grant();
        let (facts, caller) = (grant.facts(), grant.facts().caller());
        let now = self.clock.now().as_second();
        let exp = now + i64::from(grant.ttl().as_secs());
        let dies_at = Timestamp::from_second(exp).map_err(|error| internal(error.to_string()))?;
        let claims = Claims {
            iss: &self.issuer,
            aud: &self.target.audience,
            sub: caller.principal(),
            client_id: caller.issuer().as_str(),
            scope: scope(grant),
            iat: now,
            nbf: now,
            exp,
            jti: facts.decision(),
            role: facts.role().name.as_str(),
            tenant: facts.role().tenant.as_str(),
            act: facts.runner().map(|runner| Actor { sub: runner.caller().principal() }),
            cnf: facts.binding().map(Binding::confirmation),
            // An attribute that this identity lacks is a claim that the token lacks.
            copied: role
                .claims
                .iter()
                .filter_map(|name| Some((name.as_str(), caller.attributes().get(name.as_str())?)))
                .collect(),
        };
        let token = self.keyring.load_full().sign_jwt(Purpose::Credentials, ACCESS_TOKEN_TYP, &claims).await;
        let token = token.map_err(|error| unsigned("access token", &error))?;
        Ok(Minted {
            credential: Credential::Jwt { token },
            dies_at,
            revocability: Revocability::DiesAtExpiry,
            window: None,
        })
    }
}

/// Scopes, joined by a space (RFC 6749, section 3.3).
fn scope(grant: &Grant) -> String {
    let mut joined = String::new();
    for scope in grant.scopes() {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(scope.as_str());
    }
    joined
}

fn refuse_shadowing(claims: &BTreeSet<String>) -> Result<(), Refusal> {
    match claims.iter().find(|name| RESERVED_CLAIMS.contains(&name.as_str())) {
        Some(name) => Err(unfit(format!("the claim {name} has a meaning of its own and cannot be copied"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::facts::testing::{on_runner, plain_facts};
    use crate::ledger::Planned;
    use crate::ledger::testing::authorised;
    use crate::policy::testing::grant;
    use crate::provider::testing::{NOW, claims, jwt_grant, keyring, now};

    fn jwt() -> Jwt {
        let target = JwtTarget { audience: "https://api.example".into() };
        Jwt::new(&"https://tollgate.example".parse().unwrap(), target, keyring(), Clock::manual(now()))
    }

    async fn mint(role: &JwtRole) -> (Value, Value, Minted) {
        mint_of(jwt_grant(), role).await
    }

    async fn mint_of(grant: Grant, role: &JwtRole) -> (Value, Value, Minted) {
        let jwt = jwt();
        let handle = Jwt::plan(&grant, role).unwrap();
        let minted = jwt.mint(&authorised(Planned::new(grant, handle)), role).await.unwrap();
        let Credential::Jwt { token } = &minted.credential else { panic!("not a token") };
        let (header, claims) = claims(token);
        (header, claims, minted)
    }

    #[tokio::test]
    async fn signs_the_claims_of_rfc_9068_and_nothing_more() {
        let (header, mut claims, minted) = mint(&JwtRole { claims: BTreeSet::default() }).await;
        assert_eq!(header["typ"], "at+jwt");
        let decision = claims["jti"].take();
        assert!(decision.as_str().unwrap().parse::<DecisionId>().is_ok());
        let expected = json!({
            "iss": "https://tollgate.example", "aud": "https://api.example", "sub": "github:repository:1234",
            "client_id": "github", "scope": "read write", "iat": NOW, "nbf": NOW, "exp": NOW + 900, "jti": null,
            "role": "deploy", "tenant": "default",
        });
        assert_eq!(claims, expected);
        assert_eq!(minted.dies_at.as_second(), NOW + 900);
        assert_eq!(minted.revocability, Revocability::DiesAtExpiry);
    }

    #[tokio::test]
    async fn copies_the_attributes_that_the_role_names_and_the_identity_has() {
        let names = ["repository", "environment"].map(str::to_owned);
        let (_, claims, _) = mint(&JwtRole { claims: names.into() }).await;
        assert_eq!(claims["repository"], "acme/shop");
        assert_eq!(claims.get("environment"), None);
        assert_eq!(claims.get("branch"), None);
    }

    #[tokio::test]
    async fn names_a_proved_runner_as_the_actor() {
        let runner = crate::identity::testing::runner("runner-7", "its token", now());
        let facts = on_runner(plain_facts("token", now()), runner);
        let grant = grant(facts, BTreeMap::default());
        let (_, claims, _) = mint_of(grant, &JwtRole { claims: BTreeSet::default() }).await;
        assert_eq!(claims["act"], json!({ "sub": "kubernetes:runners:serviceaccount:1" }));
        assert_eq!(claims["sub"], "github:repository:1234");
    }

    #[test]
    fn c_01_an_attribute_cannot_shadow_a_claim_with_a_meaning() {
        for name in ["iss", "aud", "exp", "scope", "act", "cnf"] {
            let role = JwtRole { claims: [name.to_owned()].into() };
            let refusal = Jwt::plan(&jwt_grant(), &role).unwrap_err();
            assert_eq!(refusal.code, crate::domain::Code::TargetValueRefused, "{name}");
        }
    }

    #[tokio::test]
    async fn s_01_debug_hides_the_token() {
        let (_, _, minted) = mint(&JwtRole { claims: BTreeSet::default() }).await;
        let Credential::Jwt { token } = &minted.credential else { panic!("not a token") };
        assert!(!format!("{minted:?}").contains(secrecy::ExposeSecret::expose_secret(token)));
    }
}
