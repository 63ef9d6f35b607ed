//! Leases, for whoever holds their secret, and what recovery has to end.
//!
//! An unknown lease and a wrong secret are one answer: nobody learns from it which lease ids exist.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::explained::time;
use super::intent::{AskEnd, Asked};
use super::rows::{LeaseRow, UnleasedRow};
use super::{Claim, Ledger, LedgerError, Permitted, Record};
use crate::domain::{Code, DecisionId, Handle, LeaseId, Refusal, Revocability};
use crate::identity::{Holder, Proved};
use crate::secret::Fingerprint;

/// State of a lease, for the one who holds its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseStatus {
    /// The lease.
    pub id: LeaseId,
    /// The decision that it came from.
    pub decision: DecisionId,
    /// Role.
    pub role: String,
    /// When it was recorded.
    pub issued_at: Timestamp,
    /// When it dies by itself.
    pub dies_at: Timestamp,
    /// When somebody wanted it ended, if anybody did.
    pub end_asked_at: Option<Timestamp>,
    /// When it was ended, if it was.
    pub ended_at: Option<Timestamp>,
    /// Whether it can be ended before `dies_at`.
    pub revocable: Revocability,
    /// Seconds of silence after which it is ended, if its role asks for a heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_seconds: Option<u64>,
    /// When its holder was heard of last, to a few seconds; the start of the lease before the first heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_beat_at: Option<Timestamp>,
}

/// An authorisation without a lease: a credential may live that nobody holds a record of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unleased {
    /// The decision.
    pub decision: DecisionId,
    /// How to find it at its target.
    pub handle: Handle,
    /// The target's name.
    pub target: String,
    /// The role's name.
    pub role: String,
    /// When it was authorised.
    pub authorised_at: Timestamp,
    /// When it is dead at the latest.
    pub dies_by: Timestamp,
    /// True if an earlier run of the server left it: nobody is minting it any more, whatever the clocks say.
    pub left_behind: bool,
    /// True if its turn to be ended has come, and no other worker is at it. Never of what was looked after and nothing
    /// can end: it lives until it dies.
    pub due: bool,
    /// The lease that it would have renewed, if it is not one of its own.
    pub renews: Option<LeaseId>,
    /// True if a block wants it ended, however young it is.
    pub blocked: bool,
}

/// A lease that has to be ended at its target now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToEnd {
    /// The lease.
    pub lease: LeaseId,
    /// The target's name.
    pub target: String,
    /// The role's name.
    pub role: String,
    /// How to find it at its target.
    pub handle: Handle,
    /// When it dies by itself.
    pub dies_at: Timestamp,
    /// True if its turn has come, and no other worker is at it.
    pub due: bool,
}

/// What a request to end a lease leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// End it at its target, then tell [`Ledger::ended`], or give the claim back to [`Ledger::postpone`].
    ToEnd(ToEnd, Claim),
    /// Another worker is ending it.
    Busy(LeaseStatus),
    /// Nothing is left to do: it is ended, dead by itself, or known to live until it dies.
    Settled(LeaseStatus),
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndHow {
    /// Its target ended it.
    AtTarget,
    /// Nothing can end it: it lives until it expires.
    DiesAtExpiry,
}

impl EndHow {
    /// As stored.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::AtTarget => "at_target",
            Self::DiesAtExpiry => "dies_at_expiry",
        }
    }
}

impl Ledger {
    /// The state of a lease, for the holder of its secret.
    ///
    /// # Errors
    /// `lease_unknown`, whether the lease or the secret is wrong; `proof_*`; `store_unavailable`.
    pub async fn lease_status(
        &self,
        id: LeaseId,
        holder: impl Into<Holder<'_>>,
    ) -> Result<LeaseStatus, Refusal> {
        Ok(status(&self.lease_of(id, holder.into()).await?.0))
    }

    /// The state of a lease that its holder began to end: who that is was proved then.
    ///
    /// # Errors
    /// `lease_unknown`, `store_unavailable`.
    pub async fn ended_status(&self, id: LeaseId) -> Result<LeaseStatus, Refusal> {
        Ok(status(&self.stored_lease(id).await?.ok_or_else(unknown)?))
    }

    /// Marks a lease as to be ended, claims its end for the caller, and says how.
    ///
    /// # Errors
    /// `lease_unknown`, `proof_*`, `store_unavailable`; `internal` if its handle does not open.
    pub async fn begin_end(&self, id: LeaseId, holder: impl Into<Holder<'_>>) -> Result<Ending, Refusal> {
        let (row, _) = self.lease_of(id, holder.into()).await?;
        self.mark(id, row).await
    }

    /// The same for whoever policy permits to end leases of others.
    ///
    /// # Errors
    /// As [`Self::begin_end`]; a lease out of reach is unknown.
    pub async fn begin_permitted_end(&self, permitted: &Permitted, id: LeaseId) -> Result<Ending, Refusal> {
        self.seen_lease(permitted, id).await?;
        let row = self.stored_lease(id).await?.ok_or_else(unknown)?;
        self.mark(id, row).await
    }

    async fn mark(&self, id: LeaseId, row: LeaseRow) -> Result<Ending, Refusal> {
        let asked =
            self.store.run(AskEnd { lease: id, ticket: self.ticket() }).await.map_err(|why| why.refusal())?;
        if let Asked::Claimed(fence) = asked {
            let claim = Claim { record: Record::Lease(id), fence };
            let to_end = self.to_end(row).map(|to_end| Ending::ToEnd(to_end, claim));
            return to_end.ok_or_else(|| Refusal::new(Code::Internal, "the lease's handle does not open"));
        }
        let now = status(&self.stored_lease(id).await?.ok_or_else(unknown)?);
        Ok(if asked == Asked::Busy { Ending::Busy(now) } else { Ending::Settled(now) })
    }

    /// Leases that somebody asked to end and that may still live: a target did not answer, or this server stopped in
    /// between. At most some hundreds of each target at a time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn leases_to_end(&self) -> Result<Vec<ToEnd>, LedgerError> {
        let now = self.clock.now().as_millisecond();
        let rows = self.store.leases_to_end(now).await?;
        Ok(rows.into_iter().filter_map(|row| self.to_end(row)).collect())
    }

    /// Authorisations without a lease whose credential may live at `now`, oldest first, at most some hundreds of each
    /// target at a time.
    ///
    /// Includes those in flight: recovery leaves the young ones of this run alone.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn unleased(&self, now: Timestamp) -> Result<Vec<Unleased>, LedgerError> {
        let rows = self.store.unleased(now.as_millisecond()).await?;
        let open = |row: UnleasedRow| {
            let decision = DecisionId::from_bytes(row.decision);
            Some(Unleased {
                decision,
                handle: self.open_handle(decision, &row.handle)?,
                target: row.target,
                role: row.role,
                authorised_at: time(row.authorised_at),
                dies_by: time(row.dies_by),
                left_behind: row.left_behind,
                due: row.due,
                renews: renews(&row.body),
                blocked: row.blocked,
            })
        };
        Ok(rows.into_iter().filter_map(open).collect())
    }

    /// How many leases are alive: neither ended nor dead by themselves.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn live_leases(&self) -> Result<u32, LedgerError> {
        let now = self.clock.now().as_millisecond();
        self.store.reader().live_leases(now).await
    }

    /// The lease with this id and secret, if whoever shows them has what it is bound to; with the proof of that.
    pub(super) async fn lease_of(
        &self,
        id: LeaseId,
        holder: Holder<'_>,
    ) -> Result<(LeaseRow, Proved), Refusal> {
        let row = self.stored_lease(id).await?;
        // A lease that does not exist has a secret too, which nobody knows: both answers take the same path.
        let stored = row.as_ref().map_or([0; 32], |row| row.secret);
        let matches = Fingerprint::from_bytes(stored).matches(holder.secret.expose().as_bytes());
        let row = row.filter(|_| matches).ok_or_else(unknown)?;
        // After the secret: nobody else learns that there is a lease, and that it is bound.
        let proved = holder.prove(row.bound_to(), self.clock.now()).await?;
        Ok((row, proved))
    }

    async fn stored_lease(&self, id: LeaseId) -> Result<Option<LeaseRow>, Refusal> {
        self.store.reader().lease(id).await.map_err(|error| {
            Refusal::new(Code::StoreUnavailable, "the ledger cannot be read").with_detail(error.to_string())
        })
    }

    fn to_end(&self, row: LeaseRow) -> Option<ToEnd> {
        Some(ToEnd {
            lease: LeaseId::from_bytes(row.id),
            handle: self.open_handle(DecisionId::from_bytes(row.decision), &row.handle)?,
            target: row.target,
            role: row.role,
            dies_at: time(row.dies_at),
            due: row.due,
        })
    }
}

fn unknown() -> Refusal {
    Refusal::new(Code::LeaseUnknown, "there is no such lease, or this is not its secret")
}

/// The lease that a decision's body says it renews.
pub(super) fn renews(body: &str) -> Option<LeaseId> {
    #[derive(Deserialize)]
    struct Body {
        renews: Option<LeaseId>,
    }
    serde_json::from_str::<Body>(body).ok()?.renews
}

pub(super) fn status(row: &LeaseRow) -> LeaseStatus {
    // What a target could not end is no longer called revocable.
    let revocable = row.revocable && row.end_how.as_deref() != Some(EndHow::DiesAtExpiry.as_str());
    LeaseStatus {
        id: LeaseId::from_bytes(row.id),
        decision: DecisionId::from_bytes(row.decision),
        role: row.role.clone(),
        issued_at: time(row.issued_at),
        dies_at: time(row.dies_at),
        end_asked_at: row.end_asked_at.map(time),
        ended_at: row.ended_at.map(time),
        heartbeat_seconds: row.heartbeat.map(|(every, _)| u64::try_from(every / 1000).unwrap_or(0)),
        last_beat_at: row.heartbeat.map(|(_, at)| time(at)),
        revocable: if revocable { Revocability::Now } else { Revocability::DiesAtExpiry },
    }
}
