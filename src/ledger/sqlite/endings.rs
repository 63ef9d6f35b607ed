//! Claims on what has to be ended, their fences, and the pauses after failed attempts.

use rusqlite::{OptionalExtension, params};

use super::Apply;
use super::batch::Batch;
use crate::domain::LeaseId;
use crate::ledger::Record;
use crate::ledger::endings::{self, CLAIM, MAX_ATTEMPTS, pause};
use crate::ledger::event::About;
use crate::ledger::intent::{Claim, Postpone, Postponed};
use crate::ledger::kind::{EndGivenUp, Kind};

/// Rows looked at per call, for what died by itself meanwhile.
const LAPSED_PER_CALL: i64 = 256;

impl Apply for Claim {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Vec<endings::Claim>> {
        let claimed = self.records.iter().map(|record| {
            let fence = claim(batch, *record, self.urgent, self.ticket)?;
            Ok(fence.map(|fence| endings::Claim { record: *record, fence }))
        });
        claimed.filter_map(Result::transpose).collect()
    }
}

/// The fence of a new claim; none if nothing is to be ended, its turn has not come, or another worker is at it.
///
/// A claim of another writer is void: this file has one server, and that writer was an earlier run.
pub(super) fn claim(
    batch: &Batch<'_>,
    record: Record,
    urgent: bool,
    ticket: i64,
) -> rusqlite::Result<Option<i64>> {
    let id = record.as_bytes();
    let wanted = match record {
        Record::Lease(_) => {
            "SELECT tenant FROM leases
             WHERE id = ?1 AND end_asked_at IS NOT NULL AND end_how IS NULL AND dies_at > ?2"
        }
        Record::Authorisation(_) => "SELECT tenant FROM authorisations WHERE decision = ?1 AND dies_by > ?2",
    };
    let (now, writer) = (batch.now(), batch.head().writer);
    let tenant: Option<String> =
        batch.sql(wanted)?.query_row(params![id, now], |row| row.get(0)).optional()?;
    let Some(tenant) = tenant else { return Ok(None) };
    let until = now.saturating_add(i64::try_from(CLAIM.as_millis()).unwrap_or(i64::MAX));
    batch
        .sql(
            "INSERT INTO endings (subject, tenant, attempts, next_try_at, claimed_by, claimed_until, fence)
             VALUES (?1, ?2, 0, ?3, ?4, ?5, ?7)
             ON CONFLICT (subject) DO UPDATE SET fence = ?7, claimed_by = ?4, claimed_until = ?5,
                 attempts = iif(?6, 0, attempts), dead_at = iif(?6, NULL, dead_at)
             WHERE (?6 OR next_try_at <= ?3)
                 AND (claimed_until IS NULL OR claimed_until <= ?3 OR claimed_by <> ?4)
             RETURNING fence",
        )?
        .query_row(params![id, tenant, now, writer, until, urgent, endings::fence(writer, ticket)], |row| {
            row.get(0)
        })
        .optional()
}

/// True if `fence` is that of the newest claim on `record`.
pub(super) fn holds(batch: &Batch<'_>, record: Record, fence: i64) -> rusqlite::Result<bool> {
    batch
        .sql("SELECT 1 FROM endings WHERE subject = ?1 AND fence = ?2")?
        .exists(params![record.as_bytes(), fence])
}

/// Lets the turn of what failed before come now; whoever is at it goes on.
pub(super) fn hasten(batch: &Batch<'_>, subject: &[u8; 16]) -> rusqlite::Result<()> {
    let sql = "UPDATE endings SET next_try_at = min(next_try_at, ?2) WHERE subject = ?1";
    batch.sql(sql)?.execute(params![subject, batch.now()]).map(drop)
}

/// Forgets the attempts at what is settled.
pub(super) fn forget(batch: &Batch<'_>, record: Record) -> rusqlite::Result<()> {
    batch.sql("DELETE FROM endings WHERE subject = ?1")?.execute([record.as_bytes()]).map(drop)
}

impl Apply for Postpone {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Vec<Record>> {
        let mut given_up = Vec::new();
        for item in &self.items {
            if postpone(batch, item, self.code)? {
                given_up.push(item.record);
            }
        }
        Ok(given_up)
    }
}

/// True if it has failed too often as of now.
fn postpone(batch: &mut Batch<'_>, item: &Postponed, code: &str) -> rusqlite::Result<bool> {
    let Postponed { record, fence, tried, jitter } = *item;
    let found: Option<(String, i64, Option<i64>)> = batch
        .sql("SELECT tenant, attempts, dead_at FROM endings WHERE subject = ?1 AND fence = ?2")?
        .query_row(params![record.as_bytes(), fence], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((tenant, before, dead_at)) = found else { return Ok(false) };
    let attempts = before + i64::from(tried);
    let dies_now = attempts >= MAX_ATTEMPTS && dead_at.is_none();
    batch
        .sql(
            "UPDATE endings SET attempts = ?2, next_try_at = ?3, claimed_by = NULL, claimed_until = NULL,
                 dead_at = ?4
             WHERE subject = ?1",
        )?
        .execute(params![
            record.as_bytes(),
            attempts,
            batch.now() + pause(attempts, jitter),
            if dies_now { Some(batch.now()) } else { dead_at },
        ])?;
    if dies_now {
        let body = EndGivenUp { attempts, code: Some(code.to_owned()), expired: false };
        batch.append_body(Kind::EndGivenUp, &tenant, record.as_bytes(), &body, |data| match record {
            Record::Lease(lease) => About::Change { lease, data },
            Record::Authorisation(decision) => About::Authorisation { decision, data },
        })?;
    }
    Ok(dies_now)
}

/// Forgets attempts at what is dead by itself by now; returns the leases whose end no target ever confirmed.
pub(super) fn forget_lapsed(batch: &mut Batch<'_>) -> rusqlite::Result<Vec<LeaseId>> {
    let lapsed: Vec<([u8; 16], String, i64, bool)> = batch
        .sql(
            "SELECT e.subject, e.tenant, e.attempts, coalesce(l.end_how IS NULL, 0) AND e.dead_at IS NULL
             FROM endings e
             LEFT JOIN leases l ON l.id = e.subject LEFT JOIN authorisations a ON a.decision = e.subject
             WHERE NOT coalesce(l.end_how IS NULL AND l.dies_at > ?1, 0) AND NOT coalesce(a.dies_by > ?1, 0)
             LIMIT ?2",
        )?
        .query_map([batch.now(), LAPSED_PER_CALL], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut unconfirmed = Vec::new();
    for (subject, tenant, attempts, is_lease) in lapsed {
        batch.sql("DELETE FROM endings WHERE subject = ?1")?.execute([subject])?;
        if is_lease && attempts > 0 {
            let lease = LeaseId::from_bytes(subject);
            let body = EndGivenUp { attempts, code: None, expired: true };
            batch.append_body(Kind::EndGivenUp, &tenant, &subject, &body, |data| About::Change {
                lease,
                data,
            })?;
            unconfirmed.push(lease);
        }
    }
    Ok(unconfirmed)
}
