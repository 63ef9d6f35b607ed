//! The states that a grant passes through on its way to a caller: planned, authorised, leased.
//!
//! Each holds the one before it, and only the ledger can make the last two: a mint without a record, or an answer
//! without a lease, does not compile.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::domain::{Credential, DecisionId, Handle, LeaseId, Minted, Operation, Prolonged, Tenants};
use crate::identity::Caller;
use crate::policy::{Grant, Judged, JudgedOperation, Permit};
use crate::secret::{Fingerprint, LeaseSecret};

/// A grant with the handle that will find its credential again.
#[derive(Debug)]
pub struct Planned {
    grant: Grant,
    handle: Handle,
}

impl Planned {
    /// Joins a grant and its provider's plan.
    pub const fn new(grant: Grant, handle: Handle) -> Self {
        Self { grant, handle }
    }
    /// The grant.
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }
    /// The handle.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// A durable authorisation: the right to mint this once. Only [`Ledger::authorise`](super::Ledger::authorise) can make one.
#[derive(Debug)]
pub struct Authorised {
    pub(super) planned: Planned,
    pub(super) at: Timestamp,
    pub(super) supersedes: Option<Superseded>,
}

impl Authorised {
    /// The grant.
    pub const fn grant(&self) -> &Grant {
        self.planned.grant()
    }
    /// The handle.
    pub const fn handle(&self) -> &Handle {
        self.planned.handle()
    }
    /// When it was recorded.
    pub const fn at(&self) -> Timestamp {
        self.at
    }
    /// What this retry takes the place of, and what has to be ended now, if anything.
    pub const fn supersedes(&self) -> Option<&Superseded> {
        self.supersedes.as_ref()
    }
}

/// The credential of an earlier attempt, marked in the ledger as to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    /// The earlier decision.
    pub decision: DecisionId,
    /// Its lease; none if it was still in flight, or lost before it had one.
    pub lease: Option<LeaseId>,
    /// The target's name.
    pub target: String,
    /// The role's name.
    pub role: String,
    /// How to find it at its target.
    pub handle: Handle,
}

/// A durable lease with its credential: all that the surfaces can hand out. Only [`Ledger::lease`](super::Ledger::lease) can make one.
#[derive(Debug)]
pub struct Leased {
    pub(super) auth: Authorised,
    pub(super) minted: Minted,
    pub(super) id: LeaseId,
    pub(super) secret: LeaseSecret,
}

impl Leased {
    /// The grant it came from.
    pub const fn grant(&self) -> &Grant {
        self.auth.grant()
    }
    /// The lease.
    pub const fn id(&self) -> LeaseId {
        self.id
    }
    /// The lease secret.
    pub const fn secret(&self) -> &LeaseSecret {
        &self.secret
    }
    /// The credential.
    pub const fn credential(&self) -> &Credential {
        &self.minted.credential
    }
    /// When and how it dies.
    pub const fn minted(&self) -> &Minted {
        &self.minted
    }
}

/// A durable authorisation to renew one lease, once. Only
/// [`Ledger::authorise_renewal`](super::Ledger::authorise_renewal) can make one.
#[derive(Debug)]
pub struct AuthorisedRenewal {
    pub(super) auth: Authorised,
    pub(super) lease: LeaseId,
    pub(super) first: DecisionId,
}

impl AuthorisedRenewal {
    /// The authorisation, for the provider: it cannot be leased.
    pub const fn authorised(&self) -> &Authorised {
        &self.auth
    }
    /// The grant.
    pub const fn grant(&self) -> &Grant {
        self.auth.grant()
    }
}

/// A durable renewal: all that the surfaces can answer to one. Only [`Ledger::renew`](super::Ledger::renew) can make one.
#[derive(Debug)]
pub struct Renewed {
    pub(super) renewal: AuthorisedRenewal,
    pub(super) prolonged: Prolonged,
    pub(super) dies_at: Timestamp,
}

impl Renewed {
    /// The grant that allowed it.
    pub const fn grant(&self) -> &Grant {
        self.renewal.grant()
    }
    /// The lease.
    pub const fn id(&self) -> LeaseId {
        self.renewal.lease
    }
    /// The decision that the lease came from.
    pub const fn first(&self) -> DecisionId {
        self.renewal.first
    }
    /// What the target gave.
    pub const fn prolonged(&self) -> &Prolonged {
        &self.prolonged
    }
    /// When the lease dies: the last of its credentials.
    pub const fn dies_at(&self) -> Timestamp {
        self.dies_at
    }
}

/// A permitted operation whose decision is durable. Only the ledger can make one, and it shows nothing without one.
#[derive(Debug)]
pub struct Permitted {
    pub(super) permit: Permit,
}

impl Permitted {
    /// The decision.
    pub const fn decision(&self) -> DecisionId {
        self.permit.decision()
    }
    /// Who asked.
    pub const fn caller(&self) -> &Caller {
        self.permit.caller()
    }
    /// What is permitted.
    pub const fn operation(&self) -> Operation {
        self.permit.operation()
    }
    /// Whose things it reaches.
    pub const fn tenants(&self) -> &Tenants {
        self.permit.tenants()
    }
}

/// What a request that never reached policy asked for.
#[derive(Debug, Clone, Copy)]
pub enum AskedFor<'a> {
    /// A credential of this role.
    Role(&'a str),
    /// Something else.
    Operation(Operation),
}

/// Who a refusal is recorded for.
#[derive(Debug)]
pub enum Refused<'a> {
    /// Nobody yet: counted per minute, code and source, not recorded one by one.
    Unidentified {
        /// The peer.
        source_ip: Option<IpAddr>,
    },
    /// A caller whose request never reached policy.
    Identified {
        /// Who.
        caller: &'a Caller,
        /// What was asked for.
        asked: AskedFor<'a>,
        /// Digest of the configuration that the request was looked at with.
        configuration: Fingerprint,
    },
    /// A decision.
    Judged(&'a Judged),
    /// A decision about an operation.
    Operation(&'a JudgedOperation),
}
