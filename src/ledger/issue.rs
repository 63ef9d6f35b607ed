//! The part of the path that leaves something behind: authorise, lease, or abandon.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Ledger;
use super::chain::Canon;
use super::explained::time;
use super::intent::{Authorisation, Authorise, Close, Closing, Idempotency, Lease, Leasing, SupersededRow};
use super::matching::Keys;
use super::record::{DecisionRow, PlannedRow};
use super::states::{Authorised, Leased, Planned, Superseded};
use crate::clock::random_bytes;
use crate::config::Replay;
use crate::domain::{Code, DecisionId, Handle, LeaseId, Minted, Refusal, Revocability};
use crate::identity::{Binding, Caller, Runner, UsedProof};
use crate::policy::Grant;
use crate::secret::{Fingerprint, LeaseSecret};
use crate::signing::SigningError;

/// Largest clock skew that identity grants a token after its `exp`; a used token is remembered that much longer.
const MAX_SKEW: Duration = Duration::from_mins(1);

/// From authorisation to the start of the credential's life, at most: the mint's own time limit, and skew.
const MINT_MARGIN: Duration = Duration::from_mins(5);

/// The shortest session that AWS STS issues (`AssumeRole`, `DurationSeconds`): a shorter grant is a window inside it.
const AWS_SHORTEST: Duration = Duration::from_mins(15);

impl Ledger {
    /// Records the authorisation; settles blocks, replay and idempotency in the same transaction.
    ///
    /// A retry with the `Idempotency-Key` of an earlier attempt takes its place: see [`Authorised::supersedes`].
    ///
    /// # Errors
    /// `blocked`, `token_replayed`, `proof_replayed`, `idempotency_conflict`, `store_unavailable`.
    pub async fn authorise(&self, planned: Planned) -> Result<Authorised, (Planned, Refusal)> {
        let intent = match self.authorise_intent(&planned) {
            Ok(intent) => intent,
            Err(error) => {
                let refusal = Refusal::new(Code::Internal, "the authorisation cannot be sealed");
                return Err((planned, refusal.with_detail(error.to_string())));
            }
        };
        self.record_authorisation(planned, intent).await
    }

    /// Has `intent`, which `planned` led to, recorded.
    pub(super) async fn record_authorisation(
        &self,
        planned: Planned,
        intent: Authorise,
    ) -> Result<Authorised, (Planned, Refusal)> {
        let refusal = match self.store.run(intent).await {
            Ok(Authorisation::Recorded { at, superseded }) => {
                let supersedes = superseded.and_then(|row| self.superseded(row));
                return Ok(Authorised { planned, at: time(at), supersedes });
            }
            Ok(Authorisation::Replayed) => {
                Refusal::new(Code::TokenReplayed, "the token, or the runner's, was used for this role before")
            }
            Ok(Authorisation::ProofReplayed) => proof_replayed(),
            Ok(Authorisation::IdempotencyConflict) => Refusal::new(
                Code::IdempotencyConflict,
                "the Idempotency-Key was used for a different request within the last minute",
            ),
            Ok(Authorisation::LeaseOver) => Refusal::new(Code::LeaseEnded, "the lease is over"),
            Ok(Authorisation::Blocked(stopping)) => self.blocks.refusal(&stopping),
            Err(why) => why.refusal(),
        };
        Err((planned, refusal))
    }

    pub(super) fn authorise_intent(&self, planned: &Planned) -> Result<Authorise, SigningError> {
        let grant = planned.grant();
        let facts = grant.facts();
        let (caller, role) = (facts.caller(), facts.role().name.as_str());
        let plan = PlannedRow {
            target: facts.target().name.to_string(),
            handle: Vec::new(),
            dies_by: dies_by(self.clock.now(), grant, planned.handle()).as_millisecond(),
            keys: Keys::of(caller, facts.runner()),
        };
        let renews = facts.ask().renews;
        // A renewal shows no token of the job, whose proof is the lease secret; but the runner's again.
        let shown =
            Some(caller).filter(|_| renews.is_none()).into_iter().chain(facts.runner().map(Runner::caller));
        let once = shown.filter(|shown| match shown.replay() {
            Replay::Once => true,
            Replay::Off => false,
        });
        let replay =
            once.map(|shown| (replay_key(shown, role), replay_until(shown).as_millisecond())).collect();
        let proof = caller.proof().map(used_proof);
        let mut row = DecisionRow::of_grant(grant, Some(plan));
        let handle = self.seal_handle(facts.decision(), planned.handle(), row.rests_on())?;
        if let Some(plan) = &mut row.planned {
            plan.handle = handle;
        }
        Ok(Authorise { row, replay, proof, idempotency: idempotency(grant), renews })
    }

    /// Records the lease.
    ///
    /// # Errors
    /// `store_unavailable`; `superseded` if a retry took this request's place; `blocked`. The credential's
    /// authorisation comes back so that it can be ended.
    pub async fn lease(&self, auth: Authorised, minted: Minted) -> Result<Leased, (Authorised, Refusal)> {
        let now = self.clock.now();
        let id = |random| LeaseId::new(now.as_millisecond().unsigned_abs(), &random);
        let made = random_bytes().map(id).and_then(|id| Ok((id, LeaseSecret::generate()?)));
        let Ok((id, secret)) = made else {
            return Err((auth, Refusal::new(Code::Internal, "no random bytes for a lease")));
        };
        let grant = auth.grant();
        let intent = Lease {
            id,
            decision: grant.facts().decision(),
            tenant: grant.facts().caller().tenant().to_string(),
            secret: secret.fingerprint(),
            issued_at: now.as_millisecond(),
            dies_at: minted.dies_at,
            revocable: match minted.revocability {
                Revocability::Now => true,
                Revocability::DiesAtExpiry => false,
            },
            bound_to: grant.facts().binding().map(Binding::of_lease),
            idempotency: idempotency(grant).map(|idempotency| idempotency.key),
            heartbeat: grant.facts().role().lease.heartbeat.map(millis),
        };
        match self.store.run(intent).await.map(refused) {
            Ok(None) => Ok(Leased { auth, minted, id, secret }),
            Ok(Some(refusal)) => Err((auth, refusal)),
            Err(why) => Err((auth, why.refusal())),
        }
    }

    /// Records that an authorisation led to nothing: `ended` says whether its credential is known to be dead. If not,
    /// it stays among [`Ledger::unleased`] until it has died by itself.
    pub async fn abandon(&self, auth: Authorised, refusal: &Refusal, ended: bool) {
        let decision = auth.grant().facts().decision();
        let why = Closing::Abandoned { code: refusal.code.as_str() };
        if let Err(why) = self.store.run(Close { decision, why, dead: ended, fence: None }).await {
            // Nothing is lost: the authorisation stays open, which says that something may live.
            tracing::error!(%decision, %why, "an abandoned authorisation could not be closed");
        }
    }

    /// A handle that does not open is not forgotten: recovery lists it, and says so too.
    fn superseded(&self, row: SupersededRow) -> Option<Superseded> {
        let decision = DecisionId::from_bytes(row.decision);
        let handle = self.open_handle(decision, &row.handle)?;
        let lease = row.lease.map(LeaseId::from_bytes);
        Some(Superseded { decision, lease, target: row.target, role: row.role, handle })
    }

    fn seal_handle(
        &self,
        decision: DecisionId,
        handle: &Handle,
        rests_on: Fingerprint,
    ) -> Result<Vec<u8>, SigningError> {
        let sealed = SealedPlan { handle: handle.clone(), rests_on: Some(rests_on.to_string()) };
        let plain = serde_json::to_vec(&sealed).map_err(SigningError::Claims)?;
        self.sealer.seal(&handle_context(decision), &plain)
    }

    /// The handle, or none and a line in the log: sealed by another key, or changed.
    pub(super) fn open_handle(&self, decision: DecisionId, sealed: &[u8]) -> Option<Handle> {
        self.open_plan(decision, sealed).map(|plan| plan.handle)
    }

    /// The handle with what its decision rested on, or none and a line in the log.
    pub(super) fn open_plan(&self, decision: DecisionId, sealed: &[u8]) -> Option<SealedPlan> {
        let opened = self.sealer.open(&handle_context(decision), sealed).map_err(|error| error.to_string());
        let plan = opened.and_then(|plain| serde_json::from_slice(&plain).map_err(|error| error.to_string()));
        plan.inspect_err(|error| tracing::error!(%decision, %error, "a handle does not open")).ok()
    }
}

/// What is sealed with an authorisation.
#[derive(Serialize, Deserialize)]
pub(super) struct SealedPlan {
    #[serde(flatten)]
    pub(super) handle: Handle,
    /// [`DecisionRow::rests_on`], hex; none in authorisations of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rests_on: Option<String>,
}

/// A handle opens only under the decision that it was sealed for: rows cannot be exchanged.
fn handle_context(decision: DecisionId) -> String {
    format!("handle:{decision}")
}

fn refused(leasing: Leasing) -> Option<Refusal> {
    match leasing {
        Leasing::Recorded => None,
        Leasing::NotOpen => {
            let refusal = Refusal::new(Code::Internal, "the authorisation is no longer open");
            Some(refusal.with_detail("leased, abandoned or expired before"))
        }
        Leasing::Superseded => Some(Refusal::new(
            Code::Superseded,
            "a retry with the same Idempotency-Key took this request's place",
        )),
        Leasing::Blocked => {
            Some(Refusal::new(Code::Blocked, "a block was set while the credential was being made"))
        }
    }
}

/// When whatever is minted from this grant is dead at the latest.
fn dies_by(now: Timestamp, grant: &Grant, handle: &Handle) -> Timestamp {
    let ttl = grant.ttl().as_duration();
    let life = match handle {
        Handle::Aws { .. } => ttl.max(AWS_SHORTEST),
        Handle::Vault { .. } | Handle::Jwt { .. } => ttl,
    };
    now.saturating_add(life + MINT_MARGIN).unwrap_or(Timestamp::MAX)
}

/// Whole milliseconds; the configuration bounds it to an hour.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn replay_until(caller: &Caller) -> Timestamp {
    caller.expires_at().saturating_add(MAX_SKEW).unwrap_or(Timestamp::MAX)
}

/// When the token expires, then 192 bits of the hash of token and role: tokens of one time lie together in the store, and
/// recording one touches a page that others touch too.
fn replay_key(caller: &Caller, role: &str) -> Fingerprint {
    let hash = Canon::new("tollgate/replay/1").bytes(caller.token().as_bytes()).text(role).finish();
    timed(hash, caller.expires_at())
}

/// Answers a proof that has served.
pub(super) fn proof_replayed() -> Refusal {
    Refusal::new(Code::ProofReplayed, "the DPoP proof was used before")
}

/// The key of a proof, likewise, and until when it is remembered.
pub(super) fn used_proof(proof: UsedProof) -> (Fingerprint, i64) {
    (timed(proof.id, proof.until), proof.until.as_millisecond())
}

fn timed(hash: Fingerprint, at: Timestamp) -> Fingerprint {
    let mut key = *hash.as_bytes();
    for (byte, time) in key.iter_mut().zip(at.as_millisecond().to_be_bytes()) {
        *byte = time;
    }
    Fingerprint::from_bytes(key)
}

/// The client's key under its tenant and principal, and the digest of what was asked; the token is not part of it, for
/// a retry may come with a fresh one.
fn idempotency(grant: &Grant) -> Option<Idempotency> {
    let facts = grant.facts();
    let (ask, caller) = (facts.ask(), facts.caller());
    let key = ask.idempotency_key.as_ref()?;
    let key = Canon::new("tollgate/idempotency/1")
        .text(caller.tenant().as_str())
        .text(caller.principal().as_str())
        .text(key.as_str())
        .finish();
    let request = Canon::new("tollgate/request/1")
        .text(ask.role.as_str())
        .text(&serde_json::to_string(&ask.scopes).unwrap_or_default())
        .int(ask.ttl.map_or(0, |ttl| ttl.as_secs().into()))
        .text(&serde_json::to_string(&ask.declared).unwrap_or_default())
        .finish();
    Some(Idempotency { key, request })
}
