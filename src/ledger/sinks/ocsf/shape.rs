//! The attributes of the schema that are used, under their names there.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::DecisionId;

/// One event: the base event's attributes, those of its class, and the rest.
#[derive(Debug, Serialize)]
pub(in crate::ledger::sinks) struct Event<'a> {
    pub(super) metadata: Metadata<'a>,
    /// Unix milliseconds.
    pub(super) time: i64,
    pub(super) category_uid: u32,
    pub(super) category_name: &'static str,
    pub(super) class_uid: u32,
    pub(super) class_name: &'static str,
    pub(super) activity_id: u32,
    pub(super) activity_name: &'static str,
    /// `class_uid` times 100 plus `activity_id`.
    pub(super) type_uid: u32,
    pub(super) severity_id: u32,
    pub(super) severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_code: Option<&'a str>,
    pub(super) message: &'static str,
    #[serde(flatten)]
    pub(super) class: Class<'a>,
    pub(super) unmapped: Unmapped<'a>,
}

/// Object `metadata`.
#[derive(Debug, Serialize)]
pub(super) struct Metadata<'a> {
    pub(super) version: &'static str,
    pub(super) product: Product,
    pub(super) uid: String,
    pub(super) sequence: i64,
    pub(super) event_code: &'static str,
    pub(super) log_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant_uid: Option<&'a str>,
}

/// Object `product`.
#[derive(Debug, Serialize)]
pub(super) struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

impl Product {
    /// This program.
    pub(super) const fn tollgate() -> Self {
        Self { name: "Tollgate", vendor_name: "Tollgate", version: env!("CARGO_PKG_VERSION") }
    }
}

/// What each class adds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Class<'a> {
    /// Base Event.
    Base {},
    /// Authentication.
    Authentication { user: User<'a>, service: Named<'a>, is_remote: bool },
    /// Authorize Session.
    AuthorizeSession { user: User<'a>, privileges: [&'a str; 1], session: Session },
    /// Entity Management.
    EntityManagement { entity: Entity },
    /// Application Lifecycle.
    ApplicationLifecycle { app: Product },
}

/// Object `user`.
#[derive(Debug, Serialize)]
pub(super) struct User<'a> {
    /// The principal key.
    pub(super) uid: &'a str,
}

/// Objects of which only the name is known, such as `service`.
#[derive(Debug, Serialize)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
}

/// Object `session`.
#[derive(Debug, Serialize)]
pub(super) struct Session {
    /// The lease.
    pub(super) uid: String,
    /// Unix milliseconds.
    pub(super) created_time: i64,
    /// Unix milliseconds.
    pub(super) expiration_time: i64,
    pub(super) is_remote: bool,
}

/// Object `managed_entity`.
#[derive(Debug, Serialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
}

/// What the schema has no attribute for.
#[derive(Debug, Default, Serialize)]
pub(super) struct Unmapped<'a> {
    pub(super) writer: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decision: Option<DecisionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jws: Option<&'a str>,
}
