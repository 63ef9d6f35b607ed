//! Renewals: a lease that lives longer by another decision about the identity first verified.
//!
//! What the first decision rested on is read from its record, and proved to be unchanged: its hash is sealed beside the
//! handle, with a key that whoever can write to the store does not have. A renewal is authorised and recorded like a
//! mint; if nobody knows what came of it, the lease counts as living as long as it allowed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::endings::counted;
use super::explained::time;
use super::intent::{Adopt, Authorise, Close, Closing, Renew, Renewing};
use super::issue::used_proof;
use super::{
    Authorised, AuthorisedRenewal, Claim, Counted, DecisionRecord, Ledger, Planned, Renewed, Unavailable,
};
use crate::domain::{Code, DecisionId, FactKey, Handle, LeaseId, Prolonged, Refusal, Scalar, ScopeName};
use crate::identity::{Holder, Proved, Runner};
use crate::secret::Fingerprint;

/// A lease that goes on, with what its first decision rested on.
#[derive(Debug)]
pub struct Renewable {
    /// The lease.
    pub lease: LeaseId,
    /// The decision that it came from.
    pub decision: DecisionId,
    /// The role's name.
    pub role: String,
    /// The target's name.
    pub target: String,
    /// How to find its credential.
    pub handle: Handle,
    /// When it dies as it stands.
    pub dies_at: Timestamp,
    /// The claims of the token that was verified.
    pub claims: Map<String, Value>,
    /// The token's fingerprint.
    pub token: Fingerprint,
    /// The runner that was proved beside it, if one was.
    pub runner: Option<RunnerId>,
    /// The scopes that were granted.
    pub scopes: BTreeSet<ScopeName>,
    /// What the caller declared.
    pub declared: BTreeMap<FactKey, Scalar>,
    /// What proved the key, or the SPIFFE ID, that the lease is bound to. A proof serves for one renewal.
    pub proved: Proved,
}

/// The runner of a recorded decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerId {
    principal: String,
    id: String,
}

impl RunnerId {
    /// True if `runner` is it.
    pub fn is(&self, runner: &Runner) -> bool {
        self.principal == runner.caller().principal().as_str() && self.id == runner.id()
    }

    /// Of a recorded `input.runner`.
    fn read(runner: &Value) -> Option<Self> {
        let text = |name: &str| runner.get(name)?.as_str().map(ToOwned::to_owned);
        Some(Self { principal: text("principal")?, id: text("id")? })
    }
}

impl Ledger {
    /// What a renewal of this lease has to be decided on, for the holder of its secret.
    ///
    /// # Errors
    /// `lease_unknown`; `proof_*`; `lease_ended`; `lease_not_renewable` if its first decision cannot be read back, or was changed;
    /// `store_unavailable`.
    pub async fn renewable(&self, id: LeaseId, holder: impl Into<Holder<'_>>) -> Result<Renewable, Refusal> {
        let (row, proved) = self.lease_of(id, holder.into()).await?;
        if row.is_over(self.clock.now().as_millisecond()) {
            return Err(Refusal::new(Code::LeaseEnded, "the lease is over"));
        }
        let decision = DecisionId::from_bytes(row.decision);
        let stored = self.store.reader().stored(decision).await.map_err(|error| {
            Refusal::new(Code::StoreUnavailable, "the ledger cannot be read").with_detail(error.to_string())
        })?;
        let unproved = |why: &str| {
            Refusal::new(Code::LeaseNotRenewable, "what the lease was granted for cannot be read back")
                .with_detail(why)
        };
        let stored = stored.ok_or_else(|| unproved("its decision is gone"))?;
        let plan =
            self.open_plan(decision, &row.handle).ok_or_else(|| unproved("its handle does not open"))?;
        let rests_on = stored.rests_on().map(|hash| hash.to_string());
        if rests_on.is_none() || rests_on != plan.rests_on {
            return Err(unproved(
                "its decision's record was erased, changed, or written by an older version",
            ));
        }
        let token = Fingerprint::from_bytes(stored.token);
        let record = stored.join().map_err(|error| unproved(&error.to_string()))?;
        let Parts { claims, runner, scopes, declared } =
            parts(&record).ok_or_else(|| unproved("its decision's record lacks a part"))?;
        Ok(Renewable {
            lease: id,
            decision,
            role: record.role,
            target: row.target,
            handle: plan.handle,
            dies_at: time(row.dies_at),
            claims,
            token,
            runner,
            scopes,
            declared,
            proved,
        })
    }

    /// Records the authorisation of a renewal.
    ///
    /// # Errors
    /// `lease_ended`, `proof_replayed`, `store_unavailable`; `internal` if `planned` does not renew `first`.
    pub async fn authorise_renewal(
        &self,
        planned: Planned,
        first: &Renewable,
    ) -> Result<AuthorisedRenewal, (Planned, Refusal)> {
        let lease = first.lease;
        if planned.grant().facts().ask().renews != Some(lease) {
            return Err((planned, Refusal::new(Code::Internal, "the plan does not renew this lease")));
        }
        let mut intent: Authorise = match self.authorise_intent(&planned) {
            Ok(intent) => intent,
            Err(error) => {
                let refusal = Refusal::new(Code::Internal, "the authorisation cannot be sealed");
                return Err((planned, refusal.with_detail(error.to_string())));
            }
        };
        intent.proof = first.proved.proof.map(used_proof);
        let auth: Authorised = self.record_authorisation(planned, intent).await?;
        Ok(AuthorisedRenewal { auth, lease, first: first.decision })
    }

    /// Records that the lease lives longer.
    ///
    /// # Errors
    /// `lease_ended` if somebody wants it ended by now; `blocked`; `store_unavailable`. What was authorised comes back.
    pub async fn renew(
        &self,
        renewal: AuthorisedRenewal,
        prolonged: Prolonged,
    ) -> Result<Renewed, (AuthorisedRenewal, Refusal)> {
        let intent = Renew {
            lease: renewal.lease,
            decision: renewal.grant().facts().decision(),
            dies_at: prolonged.dies_at().as_millisecond(),
        };
        let refusal = match self.store.run(intent).await {
            Ok(Renewing::Recorded(dies_at)) => {
                return Ok(Renewed { renewal, prolonged, dies_at: time(dies_at) });
            }
            Ok(Renewing::NotOpen) => Refusal::new(Code::Internal, "the authorisation is no longer open"),
            Ok(Renewing::Blocked) => {
                Refusal::new(Code::Blocked, "a block was set while the lease was being renewed")
            }
            Ok(Renewing::LeaseOver) => Refusal::new(Code::LeaseEnded, "the lease was ended meanwhile"),
            Err(why) => why.refusal(),
        };
        Err((renewal, refusal))
    }

    /// Records that a renewal led to nothing (`nothing`), or that nobody knows what it led to.
    pub async fn abandon_renewal(&self, renewal: AuthorisedRenewal, refusal: &Refusal, nothing: bool) {
        let (lease, decision) = (renewal.lease, renewal.grant().facts().decision());
        let done = if nothing {
            let why = Closing::Abandoned { code: refusal.code.as_str() };
            self.store.run(Close { decision, why, dead: true, fence: None }).await
        } else {
            self.store.run(Adopt { lease, decision, fence: None }).await
        };
        if let Err(why) = done {
            // Nothing is lost: the authorisation stays open, and the sweep settles it.
            tracing::error!(%decision, %why, "an abandoned renewal could not be closed");
        }
    }

    /// Settles a renewal of which nobody knows what came of it: its lease may live as long as it allowed.
    ///
    /// # Errors
    /// [`Unavailable`]: it is listed again.
    pub async fn adopt(
        &self,
        lease: LeaseId,
        decision: DecisionId,
        claim: Claim,
    ) -> Result<Counted, Unavailable> {
        self.store.run(Adopt { lease, decision, fence: Some(claim.fence) }).await.map(counted)
    }
}

struct Parts {
    claims: Map<String, Value>,
    runner: Option<RunnerId>,
    scopes: BTreeSet<ScopeName>,
    declared: BTreeMap<FactKey, Scalar>,
}

/// Claims, runner, scopes and declared values of a decision that allowed.
fn parts(record: &DecisionRecord) -> Option<Parts> {
    let input = record.input.as_ref()?;
    let claims = input.get("identity")?.get("claims")?.as_object()?.clone();
    // One that cannot be read is not none.
    let runner = match input.get("runner") {
        Some(runner) => Some(RunnerId::read(runner)?),
        None => None,
    };
    let scopes = record.outcome.get("scopes")?.as_array()?;
    let scopes = scopes.iter().map(|scope| scope.as_str()?.parse().ok()).collect::<Option<_>>()?;
    let declared = input.get("declared")?.as_object()?;
    let declared = declared.iter().map(|(key, value)| Some((key.parse().ok()?, scalar(value)?)));
    Some(Parts { claims, runner, scopes, declared: declared.collect::<Option<_>>()? })
}

fn scalar(value: &Value) -> Option<Scalar> {
    match value {
        Value::Bool(flag) => Some(Scalar::Bool(*flag)),
        Value::Number(number) => number.as_i64().map(Scalar::Integer),
        Value::String(text) => Some(Scalar::Text(text.clone())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
