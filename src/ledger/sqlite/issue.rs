//! Authorise, lease and close: the two commits of every exchange, and what happens if there is only one.

use rusqlite::{OptionalExtension, params};

use super::batch::{Batch, Entry};
use super::claims::{claim, claim_all};
use super::endings::{forget, holds};
use super::heartbeats::listen;
use super::leases::ask_end;
use super::{Apply, blocks};
use crate::domain::{DecisionId, LeaseId};
use crate::ledger::Record;
use crate::ledger::event::About;
use crate::ledger::intent::{
    Authorisation, Authorise, Close, Idempotency, Lease, Leasing, RETRY_MILLIS, Settled, SupersededRow,
};
use crate::ledger::kind::{Closed, Kind, SupersededBy};
use crate::ledger::rows::LeaseColumns;

impl Apply for Authorise {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Authorisation> {
        // First: under a block not even a retry of what was granted before goes through.
        if let Some(stopping) = blocks::stopping_row(batch, &self.row)? {
            return Ok(Authorisation::Blocked(stopping));
        }
        let before = match &self.idempotency {
            Some(idempotency) => earlier_attempt(batch, idempotency)?,
            None => None,
        };
        if before.as_ref().is_some_and(|before| !before.same_request) {
            return Ok(Authorisation::IdempotencyConflict);
        }
        // A retry needs a proof of its own: whoever read this one cannot take the first one's place with it.
        if let Some(proof) = &self.proof
            && !claim(batch, &self.row, proof, None)?
        {
            return Ok(Authorisation::ProofReplayed);
        }
        if let Some(lease) = self.renews
            && !super::renewals::goes_on(batch, lease)?
        {
            return Ok(Authorisation::LeaseOver);
        }
        if !claim_all(batch, &self.row, &self.replay, before.as_ref().map(|before| before.decision))? {
            return Ok(Authorisation::Replayed);
        }
        self.insert(batch)?;
        if let Some(idempotency) = &self.idempotency {
            self.remember_attempt(batch, idempotency, before.as_ref())?;
        }
        let superseded = match before {
            Some(before) => supersede(batch, &before, self.row.id)?,
            None => None,
        };
        Ok(Authorisation::Recorded { at: batch.now(), superseded })
    }
}

impl Authorise {
    fn insert(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        batch.insert_decision(&self.row, Kind::Authorised)?;
        let dies_by = self.row.planned.as_ref().map(|planned| planned.dies_by);
        batch
            .sql(
                "INSERT INTO authorisations (decision, tenant, state, epoch, dies_by)
                 SELECT ?1, ?2, 'open', epoch, ?3 FROM store",
            )?
            .execute(params![self.row.id.as_bytes(), self.row.tenant, dies_by])?;
        batch.count_authorised();
        Ok(())
    }

    fn remember_attempt(
        &self,
        batch: &Batch<'_>,
        idempotency: &Idempotency,
        before: Option<&Attempt>,
    ) -> rusqlite::Result<()> {
        let first_at = before.map_or(batch.now(), |before| before.first_at);
        batch
            .sql(
                "INSERT OR REPLACE INTO idempotency (key, tenant, request, decision, lease, first_at, expires)
                 VALUES (?1, ?2, ?3, ?4, NULL, ?5, ?6)",
            )?
            .execute(params![
                idempotency.key.as_bytes(),
                self.row.tenant,
                idempotency.request.as_bytes(),
                self.row.id.as_bytes(),
                first_at,
                first_at + RETRY_MILLIS,
            ])?;
        Ok(())
    }
}

/// The attempt that holds an idempotency key.
struct Attempt {
    decision: [u8; 16],
    lease: Option<[u8; 16]>,
    first_at: i64,
    same_request: bool,
}

fn earlier_attempt(batch: &Batch<'_>, idempotency: &Idempotency) -> rusqlite::Result<Option<Attempt>> {
    batch
        .sql("SELECT decision, lease, first_at, request FROM idempotency WHERE key = ?1 AND expires > ?2")?
        .query_row(params![idempotency.key.as_bytes(), batch.now()], |row| {
            let same_request = row.get::<_, [u8; 32]>(3)? == *idempotency.request.as_bytes();
            Ok(Attempt { decision: row.get(0)?, lease: row.get(1)?, first_at: row.get(2)?, same_request })
        })
        .optional()
}

/// Marks what an earlier attempt left as to be ended, and returns how; none if it left nothing alive.
fn supersede(
    batch: &mut Batch<'_>,
    before: &Attempt,
    by: DecisionId,
) -> rusqlite::Result<Option<SupersededRow>> {
    let alive = match before.lease {
        Some(lease) => ask_end(batch, LeaseId::from_bytes(lease), None)?,
        None => {
            batch
                .sql("UPDATE authorisations SET state = 'superseded' WHERE decision = ?1 AND dies_by > ?2")?
                .execute(params![before.decision, batch.now()])?
                == 1
        }
    };
    let (tenant, row) = batch
        .sql("SELECT tenant, target, role, handle FROM decisions WHERE id = ?1")?
        .query_row([before.decision], |row| {
            let (decision, lease) = (before.decision, before.lease);
            let (target, role, handle) = (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((row.get::<_, String>(0)?, SupersededRow { decision, lease, target, role, handle }))
        })?;
    let body = SupersededBy { by: by.to_string() };
    batch.append_body(Kind::Superseded, &tenant, &before.decision, &body, |data| About::Authorisation {
        decision: DecisionId::from_bytes(before.decision),
        data,
    })?;
    Ok(alive.then_some(row))
}

impl Apply for Lease {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Leasing> {
        let authorisation: Option<(String, bool)> = batch
            .sql("SELECT a.state, a.epoch = s.epoch FROM authorisations a, store s WHERE a.decision = ?1")?
            .query_row([self.decision.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match authorisation {
            Some((state, true)) if state == "open" => {}
            // A block was set or lifted since: was it about this one?
            Some((state, false)) if state == "open" => {
                if blocks::stops_decision(batch, self.decision)? {
                    return Ok(Leasing::Blocked);
                }
            }
            Some((state, _)) if state == "superseded" => return Ok(Leasing::Superseded),
            // Whoever took its place may have closed it by now.
            Some(_) | None if self.is_superseded(batch)? => return Ok(Leasing::Superseded),
            // The sweep may have ended what a block marked.
            Some(_) | None if blocks::is_marked(batch, self.decision)? => return Ok(Leasing::Blocked),
            Some(_) | None => return Ok(Leasing::NotOpen),
        }
        batch.sql("DELETE FROM authorisations WHERE decision = ?1")?.execute([self.decision.as_bytes()])?;
        self.insert(batch)?;
        if let Some(every) = self.heartbeat {
            listen(batch, self.id, &self.tenant, every, self.issued_at)?;
        }
        if let Some(key) = &self.idempotency {
            batch
                .sql("UPDATE idempotency SET lease = ?1 WHERE key = ?2 AND decision = ?3")?
                .execute(params![self.id.as_bytes(), key.as_bytes(), self.decision.as_bytes()])?;
        }
        Ok(Leasing::Recorded)
    }
}

impl Lease {
    /// True if a later attempt holds this one's idempotency key.
    fn is_superseded(&self, batch: &Batch<'_>) -> rusqlite::Result<bool> {
        let Some(key) = &self.idempotency else { return Ok(false) };
        batch
            .sql("SELECT 1 FROM idempotency WHERE key = ?1 AND decision <> ?2")?
            .exists(params![key.as_bytes(), self.decision.as_bytes()])
    }

    fn insert(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let columns = LeaseColumns {
            id: self.id.as_bytes(),
            tenant: &self.tenant,
            decision: self.decision.as_bytes(),
            secret: self.secret.as_bytes(),
            issued_at: self.issued_at,
            dies_at: self.dies_at.as_millisecond(),
            revocable: self.revocable.into(),
            bound_to: self.bound_to.as_ref().map(|key| key.as_bytes().as_slice()),
        };
        batch
            .sql(
                "INSERT INTO leases (id, tenant, decision, secret, issued_at, dies_at, revocable, bound_to)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                columns.id,
                columns.tenant,
                columns.decision,
                columns.secret,
                columns.issued_at,
                columns.dies_at,
                columns.revocable,
                columns.bound_to,
            ])?;
        let (kind, subject, payload) = (Kind::Leased, columns.id, columns.payload());
        batch.append(&Entry { kind, tenant: &self.tenant, subject, payload, body: None }, || About::Lease {
            lease: self.id,
            decision: self.decision,
            dies_at: self.dies_at,
        })
    }
}

impl Apply for Close {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Settled> {
        let record = Record::Authorisation(self.decision);
        if let Some(fence) = self.fence {
            if !holds(batch, record, fence)? {
                return Ok(Settled::Stale);
            }
            forget(batch, record)?;
        }
        let (state, kind, code) = self.why.recorded();
        let id = self.decision.as_bytes();
        let tenant: Option<String> = if self.dead {
            batch
                .sql("DELETE FROM authorisations WHERE decision = ?1 RETURNING tenant")?
                .query_row([id], |row| row.get(0))
                .optional()?
        } else {
            // A second attempt that changes nothing is not recorded again.
            batch
                .sql("UPDATE authorisations SET state = ?2 WHERE decision = ?1 AND state <> ?2 RETURNING tenant")?
                .query_row(params![id, state], |row| row.get(0))
                .optional()?
        };
        let Some(tenant) = tenant else { return Ok(Settled::Before) };
        let closed = Closed { code, dead: self.dead };
        batch.append_body(kind, &tenant, id, &closed, |data| About::Authorisation {
            decision: self.decision,
            data,
        })?;
        Ok(Settled::Recorded)
    }
}
