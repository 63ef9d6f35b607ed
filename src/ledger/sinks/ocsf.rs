//! Records in the Open Cybersecurity Schema Framework, version 1.3.0 (<https://schema.ocsf.io/1.3.0>).
//!
//! - A decision is an *Authentication* (3002): somebody asked to be let into a role, and was or was not.
//! - A lease is an *Authorize Session* (3003): a session began that has the role as its privilege.
//! - What becomes of leases, authorisations, keys and the configuration is *Entity Management* (3004).
//! - A start is an *Application Lifecycle* (6002) event.
//! - Counts of refusals and checkpoints are of no class: *Base Event* (0).
//!
//! What has no attribute there is under `unmapped`, and names Tollgate's own fields.

mod class;
mod shape;

use self::class::Mapped;
use self::shape::{Class, Event, Metadata, Product, Unmapped};
use super::record::Record;
use crate::ledger::event::{About, Event as Own, Line};

/// The version of the schema.
const VERSION: &str = "1.3.0";

/// `record` as an event of the schema.
pub(super) fn event(record: &Record) -> Event<'_> {
    let Mapped { class, activity, success, severity, status_code, message } = class::of(record);
    let (class_uid, class_name) = class.uid_and_name();
    let (category_uid, category_name) = class.category();
    let (event_code, tenant, unmapped) = rest(record);
    Event {
        metadata: Metadata {
            version: VERSION,
            product: Product::tollgate(),
            // Unique and the same at every attempt: by it duplicates are found.
            uid: record.uid(),
            sequence: record.place.seq,
            event_code,
            log_name: "audit",
            tenant_uid: tenant.filter(|tenant| !tenant.is_empty()),
        },
        time: record.at.as_millisecond(),
        category_uid,
        category_name,
        class_uid,
        class_name,
        activity_id: activity.0,
        activity_name: activity.1,
        type_uid: class_uid * 100 + activity.0,
        severity_id: severity.0,
        severity: severity.1,
        status_id: success.map(|success| if success { 1 } else { 2 }),
        status: success.map(|success| if success { "Success" } else { "Failure" }),
        status_code,
        message,
        class,
        unmapped,
    }
}

/// The record's kind, its tenant, and what the classes have no place for.
fn rest(record: &Record) -> (&'static str, Option<&str>, Unmapped<'_>) {
    let mut unmapped = Unmapped { writer: record.place.writer, ..Unmapped::default() };
    match &record.line {
        Line::Checkpoint { kind, jws, .. } => {
            unmapped.jws = Some(jws);
            (kind, None, unmapped)
        }
        Line::Dropped { kind, .. } => (kind, None, unmapped),
        Line::Event(event) => {
            let Own { kind, tenant, hash, about, .. } = &**event;
            unmapped.hash = Some(hash);
            match about {
                About::Decision { decision, .. } | About::Lease { decision, .. } => {
                    unmapped.decision = Some(*decision);
                }
                About::Authorisation { data, .. } | About::Change { data, .. } | About::Server { data } => {
                    unmapped.data = Some(data);
                }
            }
            (kind.as_str(), Some(tenant), unmapped)
        }
    }
}

impl Class<'_> {
    const fn uid_and_name(&self) -> (u32, &'static str) {
        match self {
            Self::Base {} => (0, "Base Event"),
            Self::Authentication { .. } => (3002, "Authentication"),
            Self::AuthorizeSession { .. } => (3003, "Authorize Session"),
            Self::EntityManagement { .. } => (3004, "Entity Management"),
            Self::ApplicationLifecycle { .. } => (6002, "Application Lifecycle"),
        }
    }

    const fn category(&self) -> (u32, &'static str) {
        match self {
            Self::Base {} => (0, "Uncategorized"),
            Self::Authentication { .. } | Self::AuthorizeSession { .. } | Self::EntityManagement { .. } => {
                (3, "Identity & Access Management")
            }
            Self::ApplicationLifecycle { .. } => (6, "Application Activity"),
        }
    }
}

#[cfg(test)]
mod tests;
