//! The path of a renewal: the same steps as an exchange, on the identity first verified.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tracing::Instrument;

use super::limit::Admitted;
use super::{Broker, Denied, Loaded, new_decision};
use crate::clock::random_bytes;
use crate::config::Role;
use crate::domain::{Ask, Code, DecisionId, LeaseId, Refusal, Renewal, TraceParent, Ttl};
use crate::identity::{Holder, Runner, RunnerEvidence};
use crate::ledger::{AskedFor, LeaseStatus, Planned, Refused, Renewable, Renewed, RunnerId};
use crate::net::PeerCertificate;
use crate::policy::{Decision, Grant};
use crate::telemetry::{self, Step};

/// From the decision to the moment from which a target counts the new life, at most: what a renewal leaves of a session,
/// so that it never reaches past its end.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// What the holder of a lease wishes of its renewal, and shows for it.
#[derive(Debug)]
pub struct Wish {
    /// The lifetime from now on; none means the role's default.
    pub ttl: Option<Ttl>,
    /// The token of the runner that it is held on, if one is shown.
    pub actor: Option<SecretString>,
    /// The certificate of the connection, which may prove that runner.
    pub certificate: Option<PeerCertificate>,
    /// The peer's address, or the one a trusted proxy vouches for.
    pub source_ip: Option<IpAddr>,
    /// The trace that it is part of, if a proxy that may be believed says so.
    pub trace_parent: Option<TraceParent>,
}

/// How long a lease can be renewed, and what that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct RenewalTerms {
    /// No renewal reaches past this.
    pub renewable_until: Timestamp,
    /// Whether the credential lives longer, or another one takes its place.
    pub renewal: Renewal,
}

impl RenewalTerms {
    /// Of a lease of `role` that came from `decision`; none if it cannot be renewed.
    pub fn of(role: &Role, decision: DecisionId) -> Option<Self> {
        let session = role.lease.max_session?.as_duration();
        let began = Timestamp::from_millisecond(decision.unix_millis()).ok()?;
        let renewable_until = began.checked_add(session).ok()?;
        Some(Self { renewable_until, renewal: role.provider.renewal() })
    }
}

/// A lease as the one who holds its secret sees it.
#[derive(Debug)]
pub struct LeaseView {
    /// What the ledger knows.
    pub status: LeaseStatus,
    /// How it can be renewed by the configuration in force; none if it cannot.
    pub renewal: Option<RenewalTerms>,
}

/// How a renewal was refused.
#[derive(Debug)]
pub enum NotRenewed {
    /// Before there was anything to decide.
    Refused(Refusal),
    /// By a decision, which is recorded.
    Denied(Denied),
}

impl From<Refusal> for NotRenewed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Broker {
    /// Renews a lease for the holder of its secret: facts are gathered and policy runs again, on the identity first
    /// verified, and on the runner that was proved then, which proves itself again. Runs to its end like an exchange.
    ///
    /// # Errors
    /// `lease_unknown`, `proof_*`, `lease_ended`, `lease_not_renewable`, `rate_limited`; or a recorded denial.
    pub async fn renew_lease(
        self: &Arc<Self>,
        id: LeaseId,
        holder: impl Into<Holder<'_>>,
        wish: Wish,
    ) -> Result<Renewed, NotRenewed> {
        let loaded = self.loaded();
        let holder = holder.into().believed_by(&loaded.identity);
        let first = self.ledger.renewable(id, holder).await?;
        self.limiter.lease(id)?;
        let ask = self.ask_again(&loaded, &first, &wish)?;
        let decision = new_decision(&self.clock, random_bytes()).map_err(NotRenewed::Denied)?;
        let broker = Arc::clone(self);
        let span = telemetry::exchange_span(decision, ask.trace_parent);
        let path = async move {
            let Wish { actor, certificate, .. } = &wish;
            let runner = RunnerEvidence { actor: actor.as_ref(), certificate: certificate.as_ref() };
            broker.renewal(&loaded, decision, first, &ask, runner).await
        };
        let path = path.instrument(span.clone());
        let outcome = match self.in_flight.spawn(path).await {
            Ok(outcome) => outcome,
            Err(failed) => {
                tracing::error!(%decision, %failed, "the renewal did not run to its end");
                Err(Refusal::new(Code::Internal, "the renewal failed"))
            }
        };
        let came_to = match &outcome {
            Ok(_) => telemetry::Outcome::Renewed,
            Err(refusal) => telemetry::Outcome::Refused(refusal.code),
        };
        telemetry::exchange_came_to(&span, came_to);
        telemetry::exchange_ended(came_to);
        outcome.map_err(|refusal| NotRenewed::Denied(Denied { decision, refusal }))
    }

    /// Hears of a lease.
    ///
    /// # Errors
    /// `lease_unknown`, `proof_*`, `lease_ended`, `rate_limited`, `store_unavailable`.
    pub async fn beat_lease(&self, id: LeaseId, holder: impl Into<Holder<'_>>) -> Result<LeaseView, Refusal> {
        let loaded = self.loaded();
        let holder = holder.into().believed_by(&loaded.identity);
        let status = self.ledger.beat(id, holder).await?;
        // It was heard: whoever beats too often loses no lease by it.
        self.limiter.lease(id)?;
        Ok(self.view(status))
    }

    /// `status` with what the configuration in force says about it.
    pub(super) fn view(&self, status: LeaseStatus) -> LeaseView {
        let loaded = self.loaded();
        let role = loaded.config.roles.get(status.role.as_str());
        let renewal = role.filter(|_| status.end_asked_at.is_none());
        LeaseView { renewal: renewal.and_then(|role| RenewalTerms::of(role, status.decision)), status }
    }

    /// What was asked first, as far as it was granted, for the time that is left of the session.
    fn ask_again(&self, loaded: &Loaded, first: &Renewable, wish: &Wish) -> Result<Ask, Refusal> {
        let not = |why: String| Refusal::new(Code::LeaseNotRenewable, why);
        let role = loaded.config.roles.get(first.role.as_str());
        let role = role.ok_or_else(|| not("the lease's role is no longer configured".to_owned()))?;
        let terms = RenewalTerms::of(role, first.decision)
            .ok_or_else(|| not("the role has no max_session, so its leases end as they are".to_owned()))?;
        let until = terms.renewable_until;
        let left = until.duration_since(self.clock.now()) - MARGIN;
        let left = u64::try_from(left.as_secs())
            .ok()
            .and_then(|seconds| Ttl::from_secs(seconds.min(Ttl::MAX.as_secs().into())).ok());
        let left = left.ok_or_else(|| not(format!("its session ends at {until}")))?;
        let ttl = wish.ttl.unwrap_or(role.ttl.default).min(left);
        self.would_prolong(ttl, first)?;
        Ok(Ask {
            role: role.name.clone(),
            scopes: Some(first.scopes.clone()),
            ttl: Some(ttl),
            declared: first.declared.clone(),
            idempotency_key: None,
            dry_run: false,
            renews: Some(first.lease),
            source_ip: wish.source_ip,
            trace_parent: wish.trace_parent,
        })
    }

    /// A renewal that would not make the lease live longer is none.
    fn would_prolong(&self, ttl: Ttl, first: &Renewable) -> Result<(), Refusal> {
        if self.clock.now() + ttl.as_duration() > first.dies_at {
            return Ok(());
        }
        let message = format!("{ttl} from now is not longer than it lives already: until {}", first.dies_at);
        Err(Refusal::new(Code::LeaseNotRenewable, message))
    }

    async fn renewal(
        &self,
        loaded: &Loaded,
        decision: DecisionId,
        first: Renewable,
        ask: &Ask,
        runner: RunnerEvidence<'_>,
    ) -> Result<Renewed, Refusal> {
        let _counted = self.count(loaded, &ask.role);
        let (grant, _place) = self.decide_again(loaded, decision, &first, ask, runner).await?;
        if let Err(refusal) = self.would_prolong(grant.ttl(), &first) {
            return self.refuse(decision, Refused::Judged(grant.judged()), refusal).await;
        }
        let _there = match self.limiter.enter(grant.facts().target(), grant.facts().role()) {
            Ok(there) => there,
            Err(refusal) => return self.refuse(decision, Refused::Judged(grant.judged()), refusal).await,
        };
        if let Err(refusal) = self.limiter.spend(grant.facts().caller().tenant(), grant.facts().role()) {
            return self.refuse(decision, Refused::Judged(grant.judged()), refusal).await;
        }
        let planned: Planned = match loaded.providers.plan_renewal(grant, &first) {
            Ok(planned) => planned,
            Err(back) => {
                let (grant, refusal) = *back;
                return self.refuse(decision, Refused::Judged(grant.judged()), refusal).await;
            }
        };
        let renewal = match Step::Authorise.run(self.ledger.authorise_renewal(planned, &first)).await {
            Ok(renewal) => renewal,
            Err((planned, refusal)) => {
                return self.refuse(decision, Refused::Judged(planned.grant().judged()), refusal).await;
            }
        };
        fail::fail_point!("after_authorise_renewal");
        let prolonged = match Step::Mint.run(loaded.providers.renew(&renewal)).await {
            Ok(prolonged) => prolonged,
            Err(refusal) => {
                let nothing = loaded.providers.prolonged_nothing(&renewal, &refusal);
                self.ledger.abandon_renewal(renewal, &refusal, nothing).await;
                return Err(refusal);
            }
        };
        fail::fail_point!("after_renewal");
        match Step::Lease.run(self.ledger.renew(renewal, prolonged)).await {
            Ok(renewed) => Ok(renewed),
            Err((renewal, refusal)) => {
                let nothing = loaded.providers.prolonged_nothing(&renewal, &refusal);
                self.ledger.abandon_renewal(renewal, &refusal, nothing).await;
                Err(refusal)
            }
        }
    }

    /// Who it is today, what policy sees now, and what it says. Holds a place among those in flight.
    async fn decide_again(
        &self,
        loaded: &Loaded,
        decision: DecisionId,
        first: &Renewable,
        ask: &Ask,
        runner: RunnerEvidence<'_>,
    ) -> Result<(Grant, Admitted), Refusal> {
        let (claims, shown) = (first.claims.clone(), first.proved.svid);
        let caller = match loaded.identity.recall_insecure(claims, first.token, shown) {
            Ok(caller) => caller,
            Err(refusal) => {
                let who = Refused::Unidentified { source_ip: ask.source_ip };
                return self.refuse(decision, who, refusal).await;
            }
        };
        let (facts, place) = self.gather(loaded, decision, caller, runner, ask).await?;
        if let Err(refusal) = same_runner(first.runner.as_ref(), facts.runner()) {
            let (asked, configuration) = (AskedFor::Role(ask.role.as_str()), loaded.config.revision);
            let who = Refused::Identified { caller: facts.caller(), asked, configuration };
            return self.refuse(decision, who, refusal).await;
        }
        let role = Arc::clone(facts.role());
        telemetry::exchange_is_for(&role.name, &role.tenant);
        let told_apart = loaded.config.settings.telemetry.label_roles.get(&role.name);
        match Step::decide(told_apart, || loaded.policy.decide(facts)) {
            Decision::Allow(grant) => Ok((grant, place)),
            Decision::Deny(judged, refusal) => self.refuse(decision, Refused::Judged(&judged), refusal).await,
            Decision::NeedsApproval(judged, require) => {
                let wanted = format!("this needs {} approval(s) first", require.approvals);
                let refusal = Refusal::new(Code::ApprovalRequired, wanted);
                self.refuse(decision, Refused::Judged(&judged), refusal).await
            }
        }
    }
}

/// A lease that was granted on a proved runner is renewed there: its secret alone would carry it elsewhere.
fn same_runner(first: Option<&RunnerId>, now: Option<&Runner>) -> Result<(), Refusal> {
    match (first, now) {
        (None, _) => Ok(()),
        (Some(_), None) => {
            Err(Refusal::new(Code::RunnerMissing, "the lease was granted on a proved runner: prove it again"))
        }
        (Some(first), Some(now)) if first.is(now) => Ok(()),
        (Some(_), Some(_)) => {
            Err(Refusal::new(Code::RunnerDiffers, "the lease was granted on another runner"))
        }
    }
}
