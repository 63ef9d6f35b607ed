//! Lists, searches and the audit chain: what operators look at.

use jiff::Timestamp;

use super::{Kind, Reader};
use crate::domain::{LeaseId, Tenants};
use crate::ledger::error::LedgerError;
use crate::ledger::search::{AuditPage, AuditPlace, DecisionEntry, LeaseEntry, Look, Page, UnleasedEntry};
use crate::ledger::sqlite::{audit_list, lists};

impl Reader {
    /// Leases, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn listed_leases(&self, wanted: Look) -> Result<Page<LeaseEntry>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(lists::leases(store, &wanted)?)).await,
            Kind::Postgres(reader) => reader.listed_leases(wanted).await,
        }
    }

    /// Authorisations without a lease that may have led to something alive, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn listed_unleased(&self, wanted: Look) -> Result<Page<UnleasedEntry>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(lists::unleased(store, &wanted)?)).await,
            Kind::Postgres(reader) => reader.listed_unleased(wanted).await,
        }
    }

    /// Decisions, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn listed_decisions(&self, wanted: Look) -> Result<Page<DecisionEntry>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(lists::decisions(store, &wanted)?)).await,
            Kind::Postgres(reader) => reader.listed_decisions(wanted).await,
        }
    }

    /// One lease of `tenants`.
    pub(in crate::ledger) async fn listed_lease(
        &self,
        tenants: Tenants,
        id: LeaseId,
        now: i64,
    ) -> Result<Option<LeaseEntry>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(lists::lease(store, &tenants, id, now)?)).await
            }
            Kind::Postgres(reader) => reader.listed_lease(tenants, id, now).await,
        }
    }

    /// Where the records begin that were made at `since` or later; without it, those that are yet to come.
    ///
    /// # Errors
    /// The store failed.
    pub async fn audit_place(&self, since: Option<Timestamp>) -> Result<AuditPlace, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(audit_list::place_at(store, since)?)).await,
            Kind::Postgres(reader) => reader.audit_place(since).await,
        }
    }

    /// Records of the audit chain of `tenants` beyond `place`: at most `limit`, of a bounded number that are looked at.
    ///
    /// # Errors
    /// The store failed.
    pub async fn audit(
        &self,
        tenants: Tenants,
        place: AuditPlace,
        limit: usize,
    ) -> Result<AuditPage, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(audit_list::audit(store, &tenants, &place, limit)?)).await
            }
            Kind::Postgres(reader) => reader.audit(tenants, place, limit).await,
        }
    }
}
