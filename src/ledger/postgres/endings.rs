//! Claims on what has to be ended, their fences, and the pauses after failed attempts.
//!
//! A claim of another server holds until it expires: that server may be at work, whether it is heard of or not.

use super::Apply;
use super::batch::Batch;
use super::held::Ending;
use super::needs::Needs;
use crate::domain::LeaseId;
use crate::ledger::Record;
use crate::ledger::endings::{self, CLAIM, MAX_ATTEMPTS, pause};
use crate::ledger::event::About;
use crate::ledger::intent::{Claim, Postpone, Postponed};
use crate::ledger::kind::{EndGivenUp, Kind};

impl Apply for Claim {
    fn needs(&self, needs: &mut Needs) {
        for record in &self.records {
            needs.ending(*record);
        }
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Vec<endings::Claim>> {
        let claimed = self.records.iter().filter_map(|record| {
            let fence = claim(batch, *record, self.urgent, self.ticket)?;
            Some(endings::Claim { record: *record, fence })
        });
        Ok(claimed.collect())
    }
}

/// The fence of a new claim; none if nothing is to be ended, its turn has not come, or another worker is at it.
pub(super) fn claim(batch: &mut Batch, record: Record, urgent: bool, ticket: i64) -> Option<i64> {
    let (id, now, writer) = (*record.as_bytes(), batch.now(), batch.head().writer);
    let tenant = match record {
        Record::Lease(_) => {
            let lease = batch.held.leases.get(&id)?;
            let wanted = lease.end_asked_at.is_some() && lease.end_how.is_none() && lease.dies_at > now;
            wanted.then(|| lease.tenant.clone())?
        }
        Record::Authorisation(_) => {
            let authorisation = batch.held.authorisations.get(&id)?;
            (authorisation.dies_by > now).then(|| authorisation.tenant.clone())?
        }
    };
    let until = now.saturating_add(i64::try_from(CLAIM.as_millis()).unwrap_or(i64::MAX));
    let (claimed_by, claimed_until) = (Some(writer), Some(until));
    let fence = endings::fence(writer, ticket);
    let Some(found) = batch.held.endings.get(&id) else {
        let (attempts, next_try_at, dead_at) = (0, now, None);
        let first = Ending { tenant, attempts, next_try_at, claimed_by, claimed_until, fence, dead_at };
        batch.held.endings.put(id, first);
        return Some(fence);
    };
    let is_free = found.claimed_until.is_none_or(|until| until <= now);
    if !is_free || !(urgent || found.next_try_at <= now) {
        return None;
    }
    let ending = batch.held.endings.change(&id)?;
    ending.fence = fence;
    (ending.claimed_by, ending.claimed_until) = (claimed_by, claimed_until);
    if urgent {
        (ending.attempts, ending.dead_at) = (0, None);
    }
    Some(ending.fence)
}

/// True if `fence` is that of the newest claim on `record`.
pub(super) fn holds(batch: &Batch, record: Record, fence: i64) -> bool {
    batch.held.endings.get(record.as_bytes()).is_some_and(|ending| ending.fence == fence)
}

/// Lets the turn of what failed before come now; whoever is at it goes on.
pub(super) fn hasten(batch: &mut Batch, subject: &[u8; 16]) {
    let now = batch.now();
    if let Some(ending) = batch.held.endings.change(subject) {
        ending.next_try_at = ending.next_try_at.min(now);
    }
}

/// Forgets the attempts at what is settled.
pub(super) fn forget(batch: &mut Batch, record: Record) {
    batch.held.endings.remove(record.as_bytes());
}

impl Apply for Postpone {
    fn needs(&self, needs: &mut Needs) {
        needs.endings.extend(self.items.iter().map(|item| item.record.as_bytes()));
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Vec<Record>> {
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
fn postpone(batch: &mut Batch, item: &Postponed, code: &str) -> sqlx::Result<bool> {
    let Postponed { record, fence, tried, jitter } = *item;
    let now = batch.now();
    if !holds(batch, record, fence) {
        return Ok(false);
    }
    let Some(ending) = batch.held.endings.change(record.as_bytes()) else { return Ok(false) };
    ending.attempts += i64::from(tried);
    let attempts = ending.attempts;
    ending.next_try_at = now + pause(attempts, jitter);
    (ending.claimed_by, ending.claimed_until) = (None, None);
    let dies_now = attempts >= MAX_ATTEMPTS && ending.dead_at.is_none();
    if dies_now {
        ending.dead_at = Some(now);
        let tenant = ending.tenant.clone();
        let body = EndGivenUp { attempts, code: Some(code.to_owned()), expired: false };
        batch.append_body(Kind::EndGivenUp, &tenant, record.as_bytes(), &body, |data| match record {
            Record::Lease(lease) => About::Change { lease, data },
            Record::Authorisation(decision) => About::Authorisation { decision, data },
        })?;
    }
    Ok(dies_now)
}

/// Forgets attempts at what is dead by itself by now; returns the leases whose end no target ever confirmed.
pub(super) fn forget_lapsed(batch: &mut Batch) -> sqlx::Result<Vec<LeaseId>> {
    let (now, mut unconfirmed) = (batch.now(), Vec::new());
    for subject in std::mem::take(&mut batch.held.lapsed) {
        let lease = batch.held.leases.get(&subject).map(|lease| (lease.end_how.is_none(), lease.dies_at));
        let authorisation = batch.held.authorisations.get(&subject);
        // It may have been prolonged since it was looked for.
        if lease.is_some_and(|(not_ended, dies_at)| not_ended && dies_at > now)
            || authorisation.is_some_and(|authorisation| authorisation.dies_by > now)
        {
            continue;
        }
        let Some(Ending { tenant, attempts, dead_at, .. }) = batch.held.endings.remove(&subject) else {
            continue;
        };
        let is_untold = lease.is_some_and(|(not_ended, _)| not_ended) && dead_at.is_none();
        if is_untold && attempts > 0 {
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
