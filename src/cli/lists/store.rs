//! Lists as the store holds them, for whoever may read it.

use serde::Serialize;
use serde_json::Value;

use super::{List, Page, Place, Query};
use crate::causes;
use crate::cli::failure::{Failure, Status};
use crate::cli::source::SourceArgs;
use crate::clock::Clock;
use crate::ledger::{AuditPlace, LedgerError, Look, MAX_LOOK, Page as Found, Reader};

/// The store, opened for reading.
pub(in crate::cli) struct Local(Reader);

impl Local {
    pub(super) fn open(source: &SourceArgs) -> Result<Self, Failure> {
        let store = source.checked()?.config.settings.store.place;
        Reader::open(&store).map(Self).map_err(|error| failed(&error))
    }

    pub(super) async fn page(
        &self,
        list: List,
        query: &Query,
        limit: usize,
        place: Option<&Place>,
    ) -> Result<Page, Failure> {
        let before = match place {
            Some(Place::Before(decision)) => Some(*decision),
            Some(Place::Cursor(_) | Place::Audit(_)) | None => None,
        };
        let (tenants, search) = (query.tenants(), query.search());
        let now = Clock::system().now().as_millisecond();
        let look = Look { tenants, search, before, limit, now, rows: MAX_LOOK };
        match list {
            List::Leases => page(self.0.listed_leases(look).await),
            List::Authorisations => page(self.0.listed_unleased(look).await),
            List::Decisions => page(self.0.listed_decisions(look).await),
        }
    }

    pub(super) async fn audit(
        &self,
        query: &Query,
        limit: usize,
        place: Option<&Place>,
    ) -> Result<Page, Failure> {
        let since = query.filters.within.since;
        let place = match place {
            Some(Place::Audit(place)) => place.clone(),
            Some(Place::Cursor(_) | Place::Before(_)) | None => match since {
                None if !query.from_now => AuditPlace::default(),
                since => {
                    let place = self.0.audit_place(since.map(|when| when.0)).await;
                    place.map_err(|error| failed(&error))?
                }
            },
        };
        let found = self.0.audit(query.tenants(), place, limit).await.map_err(|error| failed(&error))?;
        let next = Some(Place::Audit(found.place));
        Ok(Page { entries: values(&found.entries)?, next, more: found.more })
    }
}

fn page<T: Serialize>(found: Result<Found<T>, LedgerError>) -> Result<Page, Failure> {
    let found = found.map_err(|error| failed(&error))?;
    let next = found.before.map(Place::Before);
    Ok(Page { entries: values(&found.entries)?, more: next.is_some(), next })
}

fn values<T: Serialize>(entries: &[T]) -> Result<Vec<Value>, Failure> {
    let values = entries.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    values.map_err(|error| Failure::new(Status::Failed, error.to_string()))
}

fn failed(error: &LedgerError) -> Failure {
    Failure::new(Status::Failed, causes::in_full(error))
}
