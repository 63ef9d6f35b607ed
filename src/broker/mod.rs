//! The path of a request, step by step. Each step takes the value that only the step before can build, so that
//! skipping one does not compile.
//!
//! It decides nothing itself, and every way out of it leaves a record.

mod alerts;
mod blocks;
mod limit;
mod operate;
mod others;
mod own;
mod proxy;
mod read;
mod renew;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::OptionFuture;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub use own::{IssuerKeys, Read, Readiness, Recorded, RecordedOutcome, Whoami};
pub use renew::{LeaseView, NotRenewed, RenewalTerms, Wish};

use crate::clock::{Clock, NoEntropy, random_bytes};
use crate::config::Config;
use crate::domain::{Ask, Code, DecisionId, Refusal, RoleName};
use crate::facts::{Facts, Gatherer};
use crate::identity::{Caller, Evidence, Identity, RunnerEvidence};
use crate::lease;
use crate::ledger::{AskedFor, Authorised, InFlight, Leased, Ledger, Refused};
use crate::policy::{Decision, Grant, Policy};
use crate::provider::Providers;
use crate::telemetry::{self, Step};
use limit::{Admitted, Limiter};

/// One loaded configuration with all that was built from it; swapped whole at reload.
pub struct Loaded {
    /// The files.
    pub config: Arc<Config>,
    /// Who asks.
    pub identity: Identity,
    /// What policy sees.
    pub gatherer: Gatherer,
    /// What the security team says.
    pub policy: Policy,
    /// What mints.
    pub providers: Providers,
}

/// Turns requests into leases or refusals.
pub struct Broker {
    loaded: ArcSwap<Loaded>,
    ledger: Arc<Ledger>,
    limiter: Limiter,
    clock: Clock,
    in_flight: TaskTracker,
}

/// How a request ended well.
#[derive(Debug)]
pub enum Outcome {
    /// A recorded credential.
    Leased(Box<Leased>),
    /// A dry run that policy allows; nothing was authorised or minted.
    WouldAllow(Box<Grant>),
}

/// How a request ended without a credential; recorded under its decision id.
#[derive(Debug)]
pub struct Denied {
    /// The decision.
    pub decision: DecisionId,
    /// Why.
    pub refusal: Refusal,
}

impl Broker {
    /// Puts the pieces together.
    pub fn new(loaded: Loaded, ledger: Arc<Ledger>, clock: Clock) -> Self {
        let limiter = Limiter::new(&loaded.config.settings.limits, clock.clone());
        let loaded = ArcSwap::from_pointee(loaded);
        Self { loaded, ledger, limiter, clock, in_flight: TaskTracker::new() }
    }

    /// The configuration in force.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// Puts a new configuration in force; requests in flight end under the one they began with.
    pub fn swap(&self, loaded: Loaded) {
        self.loaded.store(Arc::new(loaded));
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Waits until no request is in flight.
    pub async fn drain(&self) {
        self.in_flight.close();
        self.in_flight.wait().await;
    }

    /// Runs one request to its end, even if whoever asked hangs up: a mint is never abandoned half way.
    ///
    /// # Errors
    /// [`Denied`], recorded.
    pub async fn exchange(self: &Arc<Self>, evidence: Evidence, ask: Ask) -> Result<Outcome, Denied> {
        let decision = new_decision(&self.clock, random_bytes())?;
        let broker = Arc::clone(self);
        let span = telemetry::exchange_span(decision, ask.trace_parent);
        let path = async move { broker.path(decision, &evidence, ask).await };
        let path = path.instrument(span.clone());
        let outcome = match self.in_flight.spawn(path).await {
            Ok(outcome) => outcome,
            Err(failed) => {
                tracing::error!(%decision, %failed, "the exchange did not run to its end");
                Err(Refusal::new(Code::Internal, "the exchange failed"))
            }
        };
        let came_to = match &outcome {
            Ok(Outcome::Leased(_)) => telemetry::Outcome::Leased,
            Ok(Outcome::WouldAllow(_)) => telemetry::Outcome::WouldAllow,
            Err(refusal) => telemetry::Outcome::Refused(refusal.code),
        };
        telemetry::exchange_came_to(&span, came_to);
        telemetry::exchange_ended(came_to);
        outcome.map_err(|refusal| Denied { decision, refusal })
    }

    /// Counts a request that was turned away before there was a decision to record.
    pub async fn turned_away(&self, source_ip: Option<IpAddr>, refusal: &Refusal) {
        // The count carries no decision id, so that one without randomness serves.
        let decision = new_decision(&self.clock, random_bytes()).unwrap_or_else(|denied| denied.decision);
        self.ledger.refuse(Refused::Unidentified { source_ip }, decision, refusal).await;
    }

    async fn path(&self, decision: DecisionId, evidence: &Evidence, ask: Ask) -> Result<Outcome, Refusal> {
        let loaded = self.loaded.load_full();
        let _counted = self.count(&loaded, &ask.role);
        let (facts, _place) = self.look(&loaded, decision, evidence, &ask).await?;
        fail::fail_point!("after_facts");
        let role = Arc::clone(facts.role());
        telemetry::exchange_is_for(&role.name, &role.tenant);
        let told_apart = loaded.config.settings.telemetry.label_roles.get(&role.name);
        let grant = match Step::decide(told_apart, || loaded.policy.decide(facts)) {
            Decision::Allow(grant) => grant,
            Decision::Deny(judged, refusal) => {
                return self.refuse(decision, Refused::Judged(&judged), refusal).await;
            }
            Decision::NeedsApproval(judged, require) => {
                let wanted = format!("this needs {} approval(s) first", require.approvals);
                let refusal = Refusal::new(Code::ApprovalRequired, wanted);
                return self.refuse(decision, Refused::Judged(&judged), refusal).await;
            }
        };
        fail::fail_point!("after_decide");
        if ask.dry_run {
            self.ledger.note_dry_run(&grant).await?;
            return Ok(Outcome::WouldAllow(Box::new(grant)));
        }
        let _there = match self.limiter.enter(grant.facts().target(), &role) {
            Ok(there) => there,
            Err(refusal) => return self.refuse(decision, Refused::Judged(grant.judged()), refusal).await,
        };
        if let Err(refusal) = self.limiter.spend(grant.facts().caller().tenant(), &role) {
            return self.refuse(decision, Refused::Judged(grant.judged()), refusal).await;
        }
        self.issue(&loaded.providers, decision, grant).await
    }

    /// Says to whoever gathers what will soon be recorded that an exchange is under way; not of one that waits for somebody
    /// over the network in between, as nobody knows when it will ask.
    fn count(&self, loaded: &Loaded, role: &RoleName) -> Option<InFlight> {
        let role = loaded.config.roles.get(role)?;
        let target = loaded.config.targets.get(&role.target)?;
        let waits = target.kind.is_remote() || !role.sources.is_empty();
        (!waits).then(|| self.ledger.begin())
    }

    /// The part of the path that only looks: who asks, and what policy will see. Holds a place among those in flight.
    async fn look(
        &self,
        loaded: &Loaded,
        decision: DecisionId,
        evidence: &Evidence,
        ask: &Ask,
    ) -> Result<(Facts, Admitted), Refusal> {
        let caller = match Step::Authenticate.run(loaded.identity.authenticate(evidence)).await {
            Ok(caller) => caller,
            Err(refusal) => {
                let who = Refused::Unidentified { source_ip: ask.source_ip };
                return self.refuse(decision, who, refusal).await;
            }
        };
        fail::fail_point!("after_authenticate");
        self.gather(loaded, decision, caller, evidence.of_runner(), ask).await
    }

    /// What policy will see of a verified caller's request, and of the runner that it shows, if it does not ask too often;
    /// and its place in flight.
    async fn gather(
        &self,
        loaded: &Loaded,
        decision: DecisionId,
        caller: Caller,
        runner: RunnerEvidence<'_>,
        ask: &Ask,
    ) -> Result<(Facts, Admitted), Refusal> {
        let (asked, configuration) = (AskedFor::Role(ask.role.as_str()), loaded.config.revision);
        let known = loaded.config.roles.get(&ask.role).map(Arc::as_ref);
        let place = match self.limiter.admit(&caller, known) {
            Ok(place) => place,
            Err(refusal) => {
                let who = Refused::Identified { caller: &caller, asked, configuration };
                return self.refuse(decision, who, refusal).await;
            }
        };
        let proved = if runner.is_shown() {
            Step::Authenticate.run(loaded.identity.prove_runner(runner, &caller)).await
        } else {
            Ok(None)
        };
        let runner = match proved {
            Ok(runner) => runner,
            Err(refusal) => {
                let who = Refused::Identified { caller: &caller, asked, configuration };
                return self.refuse(decision, who, refusal).await;
            }
        };
        // Before anything upstream hears of it. What is set from here on is found when it is authorised.
        if let Some(refusal) = self.ledger.blocked(&caller, runner.as_ref(), &ask.role) {
            let who = Refused::Identified { caller: &caller, asked, configuration };
            return self.refuse(decision, who, refusal).await;
        }
        match Step::Facts.run(loaded.gatherer.gather(caller, runner, ask, decision)).await {
            Ok(facts) => Ok((facts, place)),
            Err(failed) => {
                let who = Refused::Identified { caller: &failed.caller, asked, configuration };
                self.refuse(decision, who, failed.refusal).await
            }
        }
    }

    /// The part of the path that leaves something behind: plan, authorise, mint, lease.
    async fn issue(
        &self,
        providers: &Providers,
        decision: DecisionId,
        grant: Grant,
    ) -> Result<Outcome, Refusal> {
        let planned = match Step::Plan.run(providers.plan(grant)).await {
            Ok(planned) => planned,
            Err((grant, refusal)) => {
                return self.refuse(decision, Refused::Judged(grant.judged()), refusal).await;
            }
        };
        fail::fail_point!("after_plan");
        let auth = match Step::Authorise.run(self.ledger.authorise(planned)).await {
            Ok(auth) => auth,
            Err((planned, refusal)) => {
                // A plan may already hold something at its target, such as a Vault login.
                providers.discard(planned.grant(), planned.handle()).await;
                return self.refuse(decision, Refused::Judged(planned.grant().judged()), refusal).await;
            }
        };
        fail::fail_point!("after_authorise");
        // What this attempt takes the place of is ended beside the mint, so that a retry waits no longer than it must.
        let end = |earlier| Box::pin(lease::end_superseded(&self.ledger, providers, earlier));
        let ending = OptionFuture::from(auth.supersedes().map(end));
        let (minted, _) = tokio::join!(Step::Mint.run(providers.mint(&auth)), ending);
        let minted = match minted {
            Ok(minted) => minted,
            Err(refusal) => return self.abandon(providers, auth, refusal).await,
        };
        fail::fail_point!("after_mint");
        let leased = match Step::Lease.run(self.ledger.lease(auth, minted)).await {
            Ok(leased) => leased,
            Err((auth, refusal)) => return self.abandon(providers, auth, refusal).await,
        };
        fail::fail_point!("after_lease");
        Ok(Outcome::Leased(Box::new(leased)))
    }

    /// Ends what an authorisation may have left at its target, and records that it led to nothing.
    async fn abandon<T>(
        &self,
        providers: &Providers,
        auth: Authorised,
        refusal: Refusal,
    ) -> Result<T, Refusal> {
        let ended = providers.discard(auth.grant(), auth.handle()).await;
        self.ledger.abandon(auth, &refusal, ended).await;
        Err(refusal)
    }

    /// The one exit for refusals: recorded, then told.
    async fn refuse<T>(
        &self,
        decision: DecisionId,
        who: Refused<'_>,
        refusal: Refusal,
    ) -> Result<T, Refusal> {
        self.ledger.refuse(who, decision, &refusal).await;
        Err(refusal)
    }
}

/// The id of the next decision. Without entropy nothing is decided: the id names the session at the target and the
/// token, and nobody may be able to predict it, or to make two of them the same.
fn new_decision(clock: &Clock, random: Result<[u8; 10], NoEntropy>) -> Result<DecisionId, Denied> {
    let id = |random| DecisionId::new(clock.now().as_millisecond().unsigned_abs(), &random);
    random.map(id).map_err(|error| {
        tracing::error!(%error, "no decision is made");
        let refusal = Refusal::new(Code::Internal, "no decision can be made").with_detail(error.to_string());
        telemetry::exchange_ended(telemetry::Outcome::Refused(refusal.code));
        Denied { decision: id([0; 10]), refusal }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_entropy_nothing_is_decided() {
        let clock = Clock::manual("2026-03-02T10:00:00Z".parse().unwrap());
        let denied = new_decision(&clock, Err(NoEntropy)).unwrap_err();
        assert_eq!(denied.refusal.code, Code::Internal);
        assert_ne!(new_decision(&clock, Ok([1; 10])).unwrap(), new_decision(&clock, Ok([2; 10])).unwrap());
    }
}
