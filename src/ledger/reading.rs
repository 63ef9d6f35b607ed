//! Readings: lists that policy permits, page by page. The first page is a decision on record; the pages that follow it
//! are decided again, and belong to the same reading for an hour.
//!
//! A cursor is sealed for the one who reads and for what is read: it cannot be made up, changed, or used by another to
//! look around without a record.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::search::{
    AuditEntry, AuditPlace, DecisionEntry, LeaseEntry, Look, MAX_LOOK, Page, Search, UnleasedEntry,
};
use super::states::Permitted;
use super::{Ledger, LedgerError};
use crate::domain::{Code, DecisionId, LeaseId, OperationAsk, Refusal};
use crate::policy::Permit;
use crate::secret::Fingerprint;

/// How long the pages after the first one need no record of their own.
const ONE_READING: Duration = Duration::from_hours(1);

/// Pause between two looks for what is not recorded yet.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A permitted list, and where to go on with it.
#[derive(Debug)]
pub struct Reading {
    permitted: Permitted,
    /// What its cursors are sealed for.
    context: String,
    place: Option<Place>,
    /// When its first page was recorded, Unix milliseconds.
    recorded_at: i64,
}

/// Where a list goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Before(DecisionId),
    Audit(AuditPlace),
}

/// What a cursor holds.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    place: Place,
    recorded_at: i64,
}

/// A page, and the cursor of the next one; none at the end.
#[derive(Debug)]
pub struct Listed<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where to go on.
    pub next: Option<String>,
}

/// Records of the audit chain, and the cursor of those that follow, also of those that are not there yet.
#[derive(Debug)]
pub struct AuditListed {
    /// The records.
    pub entries: Vec<AuditEntry>,
    /// Where to go on.
    pub next: String,
    /// True if there are more now.
    pub more: bool,
}

/// Where the audit chain is read from, without a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFrom {
    /// Its first record.
    Start,
    /// The first record made at this time or later.
    Since(Timestamp),
    /// What is recorded from now on.
    Now,
}

impl Reading {
    /// The decision of this page; on record if it begins a reading.
    pub const fn decision(&self) -> DecisionId {
        self.permitted.decision()
    }

    /// What it rests on.
    pub const fn permitted(&self) -> &Permitted {
        &self.permitted
    }
}

impl Ledger {
    /// Begins a reading of what `ask` means, or goes on with the one that `cursor` belongs to.
    ///
    /// # Errors
    /// With the permit: `request_malformed` for a cursor that was not given for this, to this identity; `proof_replayed`;
    /// `store_unavailable`, for nothing is shown without a record.
    pub async fn read(
        &self,
        permit: Permit,
        ask: &OperationAsk,
        cursor: Option<&str>,
    ) -> Result<Reading, (Permit, Refusal)> {
        let context = context(&permit, ask);
        let cursor = match cursor.map(|text| self.open_cursor(&context, text)) {
            None => None,
            Some(Some(cursor)) => Some(cursor),
            Some(None) => {
                let message =
                    "the cursor is not one of this search and this identity; begin again without it";
                return Err((permit, Refusal::new(Code::RequestMalformed, message)));
            }
        };
        let now = self.clock.now().as_millisecond();
        let one_reading = i64::try_from(ONE_READING.as_millis()).unwrap_or(i64::MAX);
        if let Some(Cursor { place, recorded_at }) = cursor {
            if now.saturating_sub(recorded_at) < one_reading {
                let permitted = self.go_on(permit).await?;
                return Ok(Reading { permitted, context, place: Some(place), recorded_at });
            }
            let permitted = self.note_permit(permit).await?;
            return Ok(Reading { permitted, context, place: Some(place), recorded_at: now });
        }
        let permitted = self.note_permit(permit).await?;
        Ok(Reading { permitted, context, place: None, recorded_at: now })
    }

    /// Leases, newest first.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn list_leases(
        &self,
        reading: &Reading,
        search: &Search,
        limit: usize,
    ) -> Result<Listed<LeaseEntry>, Refusal> {
        let page = self.store.reader().listed_leases(self.look(reading, search, limit)).await;
        self.listed(reading, page)
    }

    /// Authorisations without a lease that may have led to something alive, newest first.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn list_unleased(
        &self,
        reading: &Reading,
        search: &Search,
        limit: usize,
    ) -> Result<Listed<UnleasedEntry>, Refusal> {
        let page = self.store.reader().listed_unleased(self.look(reading, search, limit)).await;
        self.listed(reading, page)
    }

    /// Decisions, newest first.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn list_decisions(
        &self,
        reading: &Reading,
        search: &Search,
        limit: usize,
    ) -> Result<Listed<DecisionEntry>, Refusal> {
        let page = self.store.reader().listed_decisions(self.look(reading, search, limit)).await;
        self.listed(reading, page)
    }

    /// One lease within reach.
    ///
    /// # Errors
    /// `lease_unknown`, for an unknown lease and one out of reach alike; `store_unavailable`.
    pub async fn seen_lease(&self, permitted: &Permitted, id: LeaseId) -> Result<LeaseEntry, Refusal> {
        let (tenants, now) = (permitted.tenants().clone(), self.clock.now().as_millisecond());
        let found = self.store.reader().listed_lease(tenants, id, now).await;
        let found = found.map_err(|error| unreadable(&error))?;
        found.ok_or_else(|| Refusal::new(Code::LeaseUnknown, "there is no such lease within reach"))
    }

    /// Records of the audit chain, oldest first; `from` counts for a reading that begins.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn list_audit(
        &self,
        reading: &Reading,
        from: AuditFrom,
        limit: usize,
    ) -> Result<AuditListed, Refusal> {
        let tenants = reading.permitted.tenants().clone();
        let place = match &reading.place {
            Some(Place::Audit(place)) => Some(place.clone()),
            Some(Place::Before(_)) | None => None,
        };
        let store = self.store.reader();
        let place = match (place, from) {
            (Some(place), _) => Ok(place),
            (None, AuditFrom::Start) => Ok(AuditPlace::default()),
            (None, AuditFrom::Since(since)) => store.audit_place(Some(since)).await,
            (None, AuditFrom::Now) => store.audit_place(None).await,
        };
        let place = place.map_err(|error| unreadable(&error))?;
        let page = store.audit(tenants, place, limit).await.map_err(|error| unreadable(&error))?;
        let next = self.seal_cursor(reading, Place::Audit(page.place))?;
        Ok(AuditListed { entries: page.entries, next, more: page.more })
    }

    /// The same for a reading that goes on, once there are any; waits for as long as it takes.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn follow_audit(&self, reading: &Reading, limit: usize) -> Result<AuditListed, Refusal> {
        let mut commits = self.store.commits();
        loop {
            commits.borrow_and_update();
            let listed = self.list_audit(reading, AuditFrom::Start, limit).await?;
            if listed.more || !listed.entries.is_empty() {
                return Ok(listed);
            }
            // What other servers record is found by looking, and so is all once this one's writer has ended.
            let _ = timeout(LOOK_EVERY, commits.changed()).await;
        }
    }

    fn look(&self, reading: &Reading, search: &Search, limit: usize) -> Look {
        let (tenants, search) = (reading.permitted.tenants().clone(), search.clone());
        let now = self.clock.now().as_millisecond();
        let before = match reading.place {
            Some(Place::Before(decision)) => Some(decision),
            Some(Place::Audit(_)) | None => None,
        };
        Look { tenants, search, before, limit, now, rows: MAX_LOOK }
    }

    fn listed<T>(&self, reading: &Reading, page: Result<Page<T>, LedgerError>) -> Result<Listed<T>, Refusal> {
        let page = page.map_err(|error| unreadable(&error))?;
        let next = page.before.map(|before| self.seal_cursor(reading, Place::Before(before))).transpose()?;
        Ok(Listed { entries: page.entries, next })
    }

    fn seal_cursor(&self, reading: &Reading, place: Place) -> Result<String, Refusal> {
        let cursor = Cursor { place, recorded_at: reading.recorded_at };
        let plain = serde_json::to_vec(&cursor).unwrap_or_default();
        let sealed = self.sealer.seal(&reading.context, &plain).map_err(|error| {
            Refusal::new(Code::Internal, "the cursor cannot be sealed").with_detail(error.to_string())
        })?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    fn open_cursor(&self, context: &str, text: &str) -> Option<Cursor> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        serde_json::from_slice(&self.sealer.open(context, &sealed).ok()?).ok()
    }
}

/// What a cursor is sealed for: who reads, and what was asked, word for word.
fn context(permit: &Permit, ask: &OperationAsk) -> String {
    let (caller, operation) = (permit.caller(), permit.operation());
    let tenants = permit.tenants().one().map(ToString::to_string);
    let asked = serde_json::to_vec(&(&tenants, &ask.filter)).unwrap_or_default();
    format!("cursor:{operation}:{}:{}:{}", caller.tenant(), caller.principal(), Fingerprint::of(&asked))
}

fn unreadable(error: &LedgerError) -> Refusal {
    Refusal::new(Code::StoreUnavailable, "the ledger cannot be read").with_detail(error.to_string())
}
