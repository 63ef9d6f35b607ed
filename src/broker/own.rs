//! What a caller may do besides asking for a credential: see who it is, and look after its own leases and decisions.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Broker, LeaseView};
use crate::config::Role;
use crate::domain::{
    Code, DecisionId, IssuerName, LeaseId, Operation, OperationAsk, Reason, Refusal, RoleName, ScopeName, Ttl,
};
use crate::identity::{Caller, Evidence, Held, Holder, Runner};
use crate::lease;
use crate::ledger::{Claim, DecisionRecord, Ending, LeaseStatus, ToEnd};

/// A verified identity and the roles that it may see.
#[derive(Debug)]
pub struct Whoami {
    /// Who.
    pub caller: Caller,
    /// Where it runs, if that is proved.
    pub runner: Option<Runner>,
    /// Roles of its tenant, by name.
    pub roles: Vec<Arc<Role>>,
}

/// A recorded decision, as far as its reader may see it.
#[derive(Debug)]
pub enum Read {
    /// The reader caused it.
    Own(Recorded),
    /// Policy lets the reader see whatever the record holds.
    Whole(Box<DecisionRecord>),
}

/// A recorded decision, as the one who caused it may read it.
#[derive(Debug)]
pub struct Recorded {
    /// The decision.
    pub decision: DecisionId,
    /// When.
    pub at: Timestamp,
    /// The role asked for; empty unless a credential was.
    pub role: String,
    /// How it ended.
    pub outcome: RecordedOutcome,
}

/// How a recorded decision ended.
#[derive(Debug)]
pub enum RecordedOutcome {
    /// Authorised.
    Allowed {
        /// Scopes granted.
        scopes: Vec<ScopeName>,
        /// Lifetime granted.
        ttl: Ttl,
        /// When whatever was minted is dead at the latest.
        dies_by: Option<Timestamp>,
    },
    /// A dry run that policy allowed.
    WouldAllow {
        /// Scopes that would be granted.
        scopes: Vec<ScopeName>,
        /// Lifetime that would be granted.
        ttl: Ttl,
    },
    /// Something else than a credential was permitted.
    Permitted,
    /// With a refusal; its `detail` is empty.
    Refused(Refusal),
}

/// What an operator's probe wants to know.
#[derive(Debug)]
pub struct Readiness {
    /// The ledger can record.
    pub store_writable: bool,
    /// The issuers' keys.
    pub issuers: Vec<IssuerKeys>,
}

/// How fresh an issuer's keys are.
#[derive(Debug, serde::Serialize)]
pub struct IssuerKeys {
    /// The issuer entry.
    pub issuer: IssuerName,
    /// Seconds since the keys were fetched; none if there are none.
    pub keys_age_seconds: Option<u64>,
}

impl Broker {
    /// Takes a look-up from `address`, before anything is verified for it.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn admit_peer(&self, address: IpAddr) -> Result<(), Refusal> {
        self.limiter.peer(address)
    }

    /// Who `evidence` proves, and which roles it may see. Uses a token up for nothing.
    ///
    /// # Errors
    /// One of the `token_*`, `issuer_*` and `identity_*` codes, of the runner's proof too; `actor_refused`,
    /// `runner_ambiguous`, `rate_limited`.
    pub async fn whoami(&self, evidence: &Evidence) -> Result<Whoami, Refusal> {
        let loaded = self.loaded();
        let caller = loaded.identity.authenticate(evidence).await?;
        self.limiter.look_up(caller.principal())?;
        let runner = loaded.identity.prove_runner(evidence.of_runner(), &caller).await?;
        let roles = loaded.config.roles.values().filter(|role| sees(&caller, role)).cloned().collect();
        Ok(Whoami { caller, runner, roles })
    }

    /// The role `name`, if there is one that whom `evidence` proves may see.
    pub async fn visible_role(&self, evidence: &Evidence, name: &RoleName) -> Option<Arc<Role>> {
        let loaded = self.loaded();
        let caller = loaded.identity.authenticate(evidence).await.ok()?;
        loaded.config.roles.get(name).filter(|role| sees(&caller, role)).cloned()
    }

    /// The state of a lease, for the holder of its secret.
    ///
    /// # Errors
    /// `lease_unknown`, for an unknown lease and a wrong secret alike; `proof_*`; `rate_limited`; `store_unavailable`.
    pub async fn lease_status(
        &self,
        id: LeaseId,
        holder: impl Into<Holder<'_>>,
    ) -> Result<LeaseView, Refusal> {
        let loaded = self.loaded();
        let holder = holder.into().believed_by(&loaded.identity);
        let status = self.ledger.lease_status(id, holder).await?;
        self.limiter.lease(id)?;
        Ok(self.view(status))
    }

    /// Ends a lease, for the holder of its secret: marked, ended at its target, recorded as ended. Runs to its end like
    /// an exchange; ending it again changes nothing, and one that another worker is ending is answered as it stands.
    ///
    /// # Errors
    /// `lease_unknown`; `proof_*`; `rate_limited`; `store_unavailable`; a `provider_*` code if the target did not confirm, which leaves the lease
    /// marked, and the sweep tries again.
    pub async fn end_lease(self: &Arc<Self>, id: LeaseId, held: Held) -> Result<LeaseView, Refusal> {
        let broker = Arc::clone(self);
        let ending = async move { broker.end(id, &held).await };
        let ended = self.in_flight.spawn(ending).await.unwrap_or_else(|failed| {
            tracing::error!(lease = %id, %failed, "ending a lease did not run to its end");
            Err(Refusal::new(Code::Internal, "ending the lease failed"))
        });
        ended.map(|status| self.view(status))
    }

    async fn end(&self, id: LeaseId, held: &Held) -> Result<LeaseStatus, Refusal> {
        let loaded = self.loaded();
        let holder = Holder::from(held).believed_by(&loaded.identity);
        match self.ledger.begin_end(id, holder).await? {
            Ending::Settled(status) | Ending::Busy(status) => return Ok(status),
            Ending::ToEnd(to_end, claim) => {
                // Marked it is; who asks again and again makes the target hear of it no more often than this.
                if let Err(refusal) = self.limiter.lease(id) {
                    lease::leave(&self.ledger, claim, refusal.code).await;
                    return Err(refusal);
                }
                self.end_at_target(to_end, claim).await?;
            }
        }
        self.ledger.ended_status(id).await
    }

    /// Ends a marked lease at its target, and records that.
    pub(super) async fn end_at_target(&self, to_end: ToEnd, claim: Claim) -> Result<(), Refusal> {
        lease::end_now(&self.ledger, &self.loaded().providers, to_end, claim).await
    }

    /// A decision: one's own, told as it was, or by `decision.read` any of the tenants within reach, whole.
    ///
    /// # Errors
    /// A refusal of the evidence; `rate_limited`; `decision_unknown`, for an unknown decision and one out of reach alike;
    /// `decision_pruned`, for an unknown one of a time of which records were pruned; `store_unavailable`.
    pub async fn decision(
        &self,
        evidence: &Evidence,
        id: DecisionId,
        source_ip: Option<IpAddr>,
    ) -> Result<Read, Refusal> {
        let caller = self.loaded().identity.authenticate(evidence).await?;
        self.limiter.look_up(caller.principal())?;
        let record = self.ledger.decision(id).await.map_err(|error| {
            Refusal::new(Code::StoreUnavailable, "the ledger cannot be read").with_detail(error.to_string())
        })?;
        let own = |record: &&DecisionRecord| {
            record.tenant == caller.tenant().as_str() && record.principal == caller.principal().as_str()
        };
        if let Some(record) = record.as_ref().filter(own) {
            let (decision, at, role) = (record.decision, record.at, record.role.clone());
            return Ok(Read::Own(Recorded { decision, at, role, outcome: outcome(record)? }));
        }
        // Decided before a look at what was found: who may not read learns nothing of what there is.
        let ask = OperationAsk {
            operation: Operation::DecisionRead,
            tenant: None,
            filter: [("decision", id.to_string())].into(),
            source_ip,
        };
        let reachable = self.reach(evidence, &ask).await?;
        let seen = record
            .filter(|record| reachable.is_some_and(|permitted| permitted.tenants().include(&record.tenant)));
        match seen {
            Some(record) => Ok(Read::Whole(Box::new(record))),
            None if self.is_pruned(id).await? => {
                let message = "records of that time were pruned: if there was such a decision, it is gone";
                Err(Refusal::new(Code::DecisionPruned, message))
            }
            None => Err(Refusal::new(Code::DecisionUnknown, "there is no such decision of yours")),
        }
    }

    /// Says the same of every id of that time, whether or not there was such a decision.
    async fn is_pruned(&self, id: DecisionId) -> Result<bool, Refusal> {
        self.ledger.is_pruned(id).await.map_err(|error| {
            Refusal::new(Code::StoreUnavailable, "the ledger cannot be read").with_detail(error.to_string())
        })
    }

    /// Whether requests can be served.
    pub fn readiness(&self) -> Readiness {
        let ages = self.loaded().identity.key_ages();
        let issuers = ages.into_iter().map(|keys| IssuerKeys {
            issuer: keys.issuer,
            keys_age_seconds: keys.age.map(|age| age.as_secs()),
        });
        Readiness { store_writable: self.ledger.is_alive(), issuers: issuers.collect() }
    }
}

/// Whether `caller` may know that `role` exists.
fn sees(caller: &Caller, role: &Role) -> bool {
    caller.tenant() == &role.tenant
}

/// The recorded outcome without what is for the security team alone.
fn outcome(record: &DecisionRecord) -> Result<RecordedOutcome, Refusal> {
    #[derive(Deserialize)]
    #[serde(tag = "is", rename_all = "snake_case")]
    enum Stored {
        Allow {
            ttl: Ttl,
            scopes: Vec<ScopeName>,
        },
        WouldAllow {
            ttl: Ttl,
            scopes: Vec<ScopeName>,
        },
        Permit,
        Refused {
            code: String,
            message: String,
            #[serde(default)]
            reasons: Vec<Value>,
        },
    }
    let damaged = || Refusal::new(Code::Internal, "the decision's record cannot be read");
    let stored = serde_json::from_value(record.outcome.clone()).map_err(|_| damaged())?;
    Ok(match stored {
        Stored::Allow { ttl, scopes } => RecordedOutcome::Allowed { ttl, scopes, dies_by: record.dies_by },
        Stored::WouldAllow { ttl, scopes } => RecordedOutcome::WouldAllow { ttl, scopes },
        Stored::Permit => RecordedOutcome::Permitted,
        Stored::Refused { code, message, reasons } => {
            let code = Code::ALL.iter().copied().find(|known| known.as_str() == code).ok_or_else(damaged)?;
            let reasons = reasons.iter().map(reason).collect::<Option<_>>().ok_or_else(damaged)?;
            RecordedOutcome::Refused(Refusal { reasons, ..Refusal::new(code, message) })
        }
    })
}

fn reason(stored: &Value) -> Option<Reason> {
    let text = |name: &str| stored.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    Some(Reason {
        package: text("package")?.parse().ok()?,
        id: text("id"),
        message: text("message")?,
        fix: text("fix"),
    })
}
