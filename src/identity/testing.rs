//! A caller for unit tests of the modules below; production code has no such door.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;

use super::tests::signer::Signer;
use super::{Caller, Proof, Runner, UsedProof, thumbprint};
use crate::config::{Algorithm, AttributeRule, Issuer, KeySource, Possession, Profile, Replay};
use crate::domain::{Scalar, Thumbprint, Trust};
use crate::secret::Fingerprint;

/// When a token shown at `now` expires: five minutes into each ten. One shown again soon is the same token, and expires when
/// it did before.
fn expiry(now: Timestamp) -> Timestamp {
    const TEN_MINUTES: i64 = 600;
    let began = now.as_second().div_euclid(TEN_MINUTES) * TEN_MINUTES;
    Timestamp::from_second(began).unwrap() + Duration::from_mins(5)
}

/// A GitHub-shaped caller of `acme/shop`, on `main`, whose token is `token` and was issued at `now`.
pub(crate) fn caller(token: &str, now: Timestamp) -> Caller {
    let issuer = Issuer {
        name: "github".parse().unwrap(),
        url: "https://token.actions.githubusercontent.com".parse().unwrap(),
        audience: "https://tollgate.example".into(),
        audience_list: false,
        profile: Profile::GitHub,
        keys: KeySource::Discovery { jwks_hosts: Vec::new() },
        algorithms: vec![Algorithm::Rs256],
        require: Vec::new(),
        tenant: AttributeRule::Constant(Scalar::Text("default".into())),
        attributes: std::collections::BTreeMap::default(),
        replay: Replay::Once,
        possession: Possession::Accepted,
        max_age: Duration::from_mins(10),
        skew: Duration::from_secs(30),
        security_events: None,
        runner: None,
        ca_file: None,
        allow_networks: Vec::new(),
        insecure_loopback: false,
    };
    let text = [("repository", "acme/shop"), ("repository_id", "1234"), ("branch", "main")];
    Caller {
        issuer: Arc::new(issuer),
        kind: "github",
        subject: "repo:acme/shop:ref:refs/heads/main".into(),
        principal: "github:repository:1234".parse().unwrap(),
        tenant: "default".parse().unwrap(),
        trust: Trust::Trusted,
        attributes: Arc::new(text.iter().map(|(k, v)| (k.parse().unwrap(), json!(v))).collect()),
        claims: Arc::new(json!({"repository": "acme/shop"}).as_object().unwrap().clone()),
        token: Fingerprint::of(token.as_bytes()),
        issued_at: now,
        expires_at: expiry(now),
        replay: Replay::Once,
        bound: None,
        proof: None,
        svid: None,
    }
}

/// The same as another identity.
pub(crate) fn caller_as(principal: &str, tenant: &str, now: Timestamp) -> Caller {
    let caller = caller(principal, now);
    Caller { principal: principal.parse().unwrap(), tenant: tenant.parse().unwrap(), ..caller }
}

/// A runner that proved itself as `id` by `token`, of the tenant of [`caller`].
pub(crate) fn runner(id: &str, token: &str, now: Timestamp) -> Runner {
    let caller = caller_as("kubernetes:runners:serviceaccount:1", "default", now);
    let mut issuer = (*caller.issuer).clone();
    issuer.url = "https://cluster.example".parse().unwrap();
    let token = Fingerprint::of(token.as_bytes());
    Runner::of(Caller { kind: "kubernetes", issuer: Arc::new(issuer), token, ..caller }, id)
}

/// The key of a job.
pub(crate) struct JobKey(Signer);

impl JobKey {
    pub(crate) fn new() -> Self {
        Self(Signer::ec("job"))
    }

    pub(crate) fn thumbprint(&self) -> Thumbprint {
        thumbprint(self.0.jwk().as_object().unwrap()).unwrap()
    }

    /// A proof for `GET https://tollgate.example/` beside `shown`.
    pub(crate) fn proof(&self, shown: &str, now: Timestamp) -> Proof {
        let ath = URL_SAFE_NO_PAD.encode(Fingerprint::of(shown.as_bytes()).as_bytes());
        let url = "https://tollgate.example/";
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.0.jwk()});
        let claims = json!({"jti": "j", "htm": "GET", "htu": url, "iat": now.as_second(), "ath": ath});
        let text = self.0.token_of(&header, &claims.to_string());
        Proof::beside_bearer(text.into(), "GET", url.into())
    }
}

/// `caller` with a token that is bound to `key`, which the proof `id` has proved at `now`.
pub(crate) fn bound(caller: Caller, key: &JobKey, id: &str, now: Timestamp) -> Caller {
    let proof = UsedProof { id: Fingerprint::of(id.as_bytes()), until: now + Duration::from_mins(2) };
    Caller { bound: Some(key.thumbprint()), proof: Some(proof), ..caller }
}
