//! Authorise, lease and close: the two commits of every exchange, and what happens if there is only one.

use super::Apply;
use super::batch::{Batch, Entry};
use super::blocks::stopping_row;
use super::claims::{claim, claim_all};
use super::endings::{forget, holds};
use super::heartbeats::listen;
use super::held::{self, Attempt, Planned};
use super::leases::ask_end;
use super::needs::{Also, Needs};
use super::renewals::goes_on;
use crate::domain::{DecisionId, LeaseId};
use crate::ledger::Record;
use crate::ledger::event::About;
use crate::ledger::intent::{
    Authorisation, Authorise, Close, Idempotency, Lease, Leasing, RETRY_MILLIS, Settled, SupersededRow,
};
use crate::ledger::kind::{Closed, Kind, SupersededBy};
use crate::ledger::record::DecisionRow;
use crate::ledger::rows::LeaseColumns;

impl Apply for Authorise {
    fn needs(&self, needs: &mut Needs) {
        needs.also(Also::Blocks);
        for (token, _) in &self.replay {
            needs.replay(token);
        }
        if let Some((proof, _)) = &self.proof {
            needs.replay(proof);
        }
        if let Some(idempotency) = &self.idempotency {
            needs.attempt(&idempotency.key);
        }
        if let Some(lease) = self.renews {
            needs.lease(lease);
        }
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Authorisation> {
        // First: under a block not even a retry of what was granted before goes through.
        if let Some(stopping) = stopping_row(batch, &self.row) {
            return Ok(Authorisation::Blocked(stopping));
        }
        let before = self.idempotency.as_ref().and_then(|idempotency| Before::of(batch, idempotency));
        if before.as_ref().is_some_and(|before| !before.same_request) {
            return Ok(Authorisation::IdempotencyConflict);
        }
        // A retry needs a proof of its own: whoever read this one cannot take the first one's place with it.
        if let Some(proof) = &self.proof
            && !claim(batch, &self.row, proof)
        {
            return Ok(Authorisation::ProofReplayed);
        }
        if let Some(lease) = self.renews
            && !goes_on(batch, lease)
        {
            return Ok(Authorisation::LeaseOver);
        }
        if !claim_all(batch, &self.row, &self.replay, before.as_ref().map(|before| before.decision)) {
            return Ok(Authorisation::Replayed);
        }
        insert_authorisation(&self.row, batch);
        if let Some(idempotency) = &self.idempotency {
            remember_attempt(&self.row, batch, idempotency, before.as_ref());
        }
        let superseded = match before {
            Some(before) => before.supersede(batch, self.row.id)?,
            None => None,
        };
        Ok(Authorisation::Recorded { at: batch.now(), superseded })
    }
}

fn insert_authorisation(row: &DecisionRow, batch: &mut Batch) {
    batch.insert_decision(row, Kind::Authorised);
    let authorisation = held::Authorisation {
        tenant: row.tenant.clone(),
        state: "open".to_owned(),
        epoch: batch.held.epoch(),
        dies_by: row.planned.as_ref().map_or(0, |planned| planned.dies_by),
    };
    batch.held.authorisations.put(*row.id.as_bytes(), authorisation);
    batch.authorised += 1;
}

fn remember_attempt(
    row: &DecisionRow,
    batch: &mut Batch,
    idempotency: &Idempotency,
    before: Option<&Before>,
) {
    let first_at = before.map_or(batch.now(), |before| before.first_at);
    let attempt = Attempt {
        tenant: row.tenant.clone(),
        request: *idempotency.request.as_bytes(),
        decision: *row.id.as_bytes(),
        lease: None,
        first_at,
        expires: first_at + RETRY_MILLIS,
    };
    batch.held.idempotency.put(*idempotency.key.as_bytes(), attempt);
    // The next retry may be in this very batch.
    if let Some(planned) = &row.planned {
        let planned = Planned {
            tenant: row.tenant.clone(),
            role: row.role.clone(),
            target: planned.target.clone(),
            handle: planned.handle.clone(),
        };
        batch.held.decisions.insert(*row.id.as_bytes(), planned);
    }
}

/// The attempt that holds an idempotency key.
struct Before {
    decision: [u8; 16],
    lease: Option<[u8; 16]>,
    first_at: i64,
    same_request: bool,
}

impl Before {
    fn of(batch: &Batch, idempotency: &Idempotency) -> Option<Self> {
        let attempt = batch.held.idempotency.get(idempotency.key.as_bytes())?;
        (attempt.expires > batch.now()).then(|| Self {
            decision: attempt.decision,
            lease: attempt.lease,
            first_at: attempt.first_at,
            same_request: attempt.request == *idempotency.request.as_bytes(),
        })
    }

    /// Marks what it left as to be ended, and returns how; none if it left nothing alive.
    fn supersede(&self, batch: &mut Batch, by: DecisionId) -> sqlx::Result<Option<SupersededRow>> {
        let alive = match self.lease {
            Some(lease) => ask_end(batch, LeaseId::from_bytes(lease), None)?,
            None => self.supersede_authorisation(batch),
        };
        let planned = batch.held.decisions.get(&self.decision).cloned().ok_or(sqlx::Error::RowNotFound)?;
        let body = SupersededBy { by: by.to_string() };
        batch.append_body(Kind::Superseded, &planned.tenant, &self.decision, &body, |data| {
            About::Authorisation { decision: DecisionId::from_bytes(self.decision), data }
        })?;
        let Planned { role, target, handle, .. } = planned;
        let row = SupersededRow { decision: self.decision, lease: self.lease, target, role, handle };
        Ok(alive.then_some(row))
    }

    fn supersede_authorisation(&self, batch: &mut Batch) -> bool {
        let now = batch.now();
        let found = batch.held.authorisations.get(&self.decision);
        if found.is_none_or(|authorisation| authorisation.dies_by <= now) {
            return false;
        }
        if let Some(authorisation) = batch.held.authorisations.change(&self.decision) {
            "superseded".clone_into(&mut authorisation.state);
        }
        true
    }
}

impl Apply for Lease {
    fn needs(&self, needs: &mut Needs) {
        needs.using(self.decision);
        if let Some(key) = &self.idempotency {
            needs.attempt(key);
        }
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Leasing> {
        let (id, epoch, now) = (self.decision.as_bytes(), batch.held.epoch(), batch.now());
        match batch.held.authorisations.get(id) {
            Some(found) if found.state == "open" && found.epoch == epoch => {}
            // A block was set or lifted since: was it about this one?
            Some(found) if found.state == "open" => {
                if batch.held.stops(id, now) {
                    return Ok(Leasing::Blocked);
                }
            }
            Some(found) if found.state == "superseded" => return Ok(Leasing::Superseded),
            // Whoever took its place may have closed it by now.
            Some(_) | None if is_superseded(self, batch) => return Ok(Leasing::Superseded),
            // The sweep may have ended what a block marked.
            Some(_) | None if batch.held.is_marked(id) => return Ok(Leasing::Blocked),
            Some(_) | None => return Ok(Leasing::NotOpen),
        }
        batch.held.authorisations.remove(id);
        insert_lease(self, batch);
        if let Some(every) = self.heartbeat {
            listen(batch, self.id, &self.tenant, every, self.issued_at);
        }
        if let Some(key) = &self.idempotency
            && let Some(attempt) = batch.held.idempotency.get(key.as_bytes())
            && attempt.decision == *self.decision.as_bytes()
            && let Some(attempt) = batch.held.idempotency.change(key.as_bytes())
        {
            attempt.lease = Some(*self.id.as_bytes());
        }
        Ok(Leasing::Recorded)
    }
}

/// True if a later attempt holds this one's idempotency key.
fn is_superseded(lease: &Lease, batch: &Batch) -> bool {
    let holder = lease.idempotency.as_ref().and_then(|key| batch.held.idempotency.get(key.as_bytes()));
    holder.is_some_and(|attempt| attempt.decision != *lease.decision.as_bytes())
}

fn insert_lease(new: &Lease, batch: &mut Batch) {
    let lease = held::Lease {
        tenant: new.tenant.clone(),
        decision: *new.decision.as_bytes(),
        secret: *new.secret.as_bytes(),
        issued_at: new.issued_at,
        dies_at: new.dies_at.as_millisecond(),
        revocable: new.revocable.into(),
        bound_to: new.bound_to.map(|key| *key.as_bytes()),
        end_asked_at: None,
        ended_at: None,
        end_how: None,
        first_dies_at: None,
    };
    let columns = LeaseColumns {
        id: new.id.as_bytes(),
        tenant: &lease.tenant,
        decision: &lease.decision,
        secret: &lease.secret,
        issued_at: lease.issued_at,
        dies_at: lease.dies_at,
        revocable: lease.revocable,
        bound_to: lease.bound_to.as_ref().map(<[u8; 32]>::as_slice),
    };
    let (kind, subject, payload) = (Kind::Leased, columns.id, columns.payload());
    batch.append(Entry { kind, tenant: &new.tenant, subject, payload, body: None }, || About::Lease {
        lease: new.id,
        decision: new.decision,
        dies_at: new.dies_at,
    });
    batch.held.leases.put(*new.id.as_bytes(), lease);
}

impl Apply for Close {
    fn needs(&self, needs: &mut Needs) {
        needs.ending(Record::Authorisation(self.decision));
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Settled> {
        let record = Record::Authorisation(self.decision);
        if let Some(fence) = self.fence {
            if !holds(batch, record, fence) {
                return Ok(Settled::Stale);
            }
            forget(batch, record);
        }
        let (state, kind, code) = self.why.recorded();
        let id = self.decision.as_bytes();
        let Some(found) = batch.held.authorisations.get(id) else { return Ok(Settled::Before) };
        let tenant = found.tenant.clone();
        if self.dead {
            batch.held.authorisations.remove(id);
        } else if found.state == state {
            // A second attempt that changes nothing is not recorded again.
            return Ok(Settled::Before);
        } else if let Some(found) = batch.held.authorisations.change(id) {
            state.clone_into(&mut found.state);
        }
        let closed = Closed { code, dead: self.dead };
        batch.append_body(kind, &tenant, id, &closed, |data| About::Authorisation {
            decision: self.decision,
            data,
        })?;
        Ok(Settled::Recorded)
    }
}
