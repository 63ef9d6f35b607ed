//! Lists, searches and the audit chain: what operators look at.

use jiff::Timestamp;

use super::Reader;
use crate::domain::{LeaseId, Tenants};
use crate::ledger::error::LedgerError;
use crate::ledger::postgres::{audit_list, lists};
use crate::ledger::search::{AuditPage, AuditPlace, DecisionEntry, LeaseEntry, Look, Page, UnleasedEntry};

impl Reader {
    /// Leases, newest first.
    pub(in crate::ledger) async fn listed_leases(
        &self,
        wanted: Look,
    ) -> Result<Page<LeaseEntry>, LedgerError> {
        self.run(|pool| async move { lists::leases(&mut *pool.acquire().await?, &wanted).await }).await
    }

    /// Authorisations without a lease, newest first.
    pub(in crate::ledger) async fn listed_unleased(
        &self,
        wanted: Look,
    ) -> Result<Page<UnleasedEntry>, LedgerError> {
        self.run(|pool| async move { lists::unleased(&mut *pool.acquire().await?, &wanted).await }).await
    }

    /// Decisions, newest first.
    pub(in crate::ledger) async fn listed_decisions(
        &self,
        wanted: Look,
    ) -> Result<Page<DecisionEntry>, LedgerError> {
        self.run(|pool| async move { lists::decisions(&mut *pool.acquire().await?, &wanted).await }).await
    }

    /// One lease of `tenants`.
    pub(in crate::ledger) async fn listed_lease(
        &self,
        tenants: Tenants,
        id: LeaseId,
        now: i64,
    ) -> Result<Option<LeaseEntry>, LedgerError> {
        let found = self.run(move |pool| async move {
            lists::lease(&mut *pool.acquire().await?, &tenants, id, now).await
        });
        found.await
    }

    /// Where the records begin that were made at `since` or later; without it, those that are yet to come.
    pub(in crate::ledger) async fn audit_place(
        &self,
        since: Option<Timestamp>,
    ) -> Result<AuditPlace, LedgerError> {
        self.run(move |pool| async move { audit_list::place_at(&mut *pool.acquire().await?, since).await })
            .await
    }

    /// Records of the audit chain of `tenants` beyond `place`.
    pub(in crate::ledger) async fn audit(
        &self,
        tenants: Tenants,
        place: AuditPlace,
        limit: usize,
    ) -> Result<AuditPage, LedgerError> {
        let page = self.run(move |pool| async move {
            audit_list::audit(&mut *pool.acquire().await?, &tenants, place, limit).await
        });
        page.await
    }
}
