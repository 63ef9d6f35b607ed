//! Which class and activity of the schema each kind of record is.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::shape::{Class, Entity, Named, Product, Session, User};
use crate::ledger::EndHow;
use crate::ledger::event::{About, Event, Line};
use crate::ledger::kind::Kind;
use crate::ledger::sinks::record::Record;

/// A number of the schema with its caption.
type Caption = (u32, &'static str);

const LOGON: Caption = (1, "Logon");
const ASSIGN_PRIVILEGES: Caption = (1, "Assign Privileges");
const CREATE: Caption = (1, "Create");
const UPDATE: Caption = (3, "Update");
const DELETE: Caption = (4, "Delete");
const START: Caption = (3, "Start");
const OTHER: Caption = (99, "Other");

const INFORMATIONAL: Caption = (1, "Informational");
const LOW: Caption = (2, "Low");
const HIGH: Caption = (4, "High");

/// A record's place in the schema.
pub(super) struct Mapped<'a> {
    pub(super) class: Class<'a>,
    pub(super) activity: Caption,
    pub(super) success: Option<bool>,
    pub(super) severity: Caption,
    pub(super) status_code: Option<&'a str>,
    pub(super) message: &'static str,
}

impl<'a> Mapped<'a> {
    const fn new(class: Class<'a>, activity: Caption, message: &'static str) -> Self {
        Self { class, activity, success: Some(true), severity: INFORMATIONAL, status_code: None, message }
    }

    /// Of no class.
    fn base(message: &'static str) -> Self {
        Self { success: None, ..Self::new(Class::Base {}, OTHER, message) }
    }
}

/// Finds `record`'s place.
pub(super) fn of(record: &Record) -> Mapped<'_> {
    let event = match &record.line {
        Line::Event(event) => event,
        Line::Checkpoint { .. } => return Mapped::base("the heads of the audit chain were signed"),
        Line::Dropped { .. } => return Mapped::base("events were dropped"),
    };
    match event.kind {
        Kind::Authorised => asked(record, event, LOGON, "a role was granted"),
        Kind::WouldAllow => asked(record, event, OTHER, "a dry run was allowed"),
        Kind::Permitted => asked(record, event, OTHER, "an operation was permitted"),
        Kind::Refused => {
            let refused = asked(record, event, LOGON, "a request was refused");
            Mapped { success: Some(false), severity: LOW, ..refused }
        }
        Kind::Leased => leased(record, event),
        Kind::Counted => {
            Mapped { severity: LOW, ..Mapped::base("refusals without a record of their own were counted") }
        }
        Kind::EndAsked => changed(event, "lease", UPDATE, "somebody asked to end a lease"),
        Kind::Ended if is_at_target(event) => changed(event, "lease", DELETE, "a lease was ended"),
        Kind::Ended => {
            let ended = changed(event, "lease", UPDATE, "a lease cannot be ended before it expires");
            Mapped { success: Some(false), ..ended }
        }
        Kind::Renewed => changed(event, "lease", UPDATE, "a lease lives longer"),
        Kind::EndGivenUp => {
            let of_lease = matches!(event.about, About::Change { .. });
            let kind = if of_lease { "lease" } else { "authorisation" };
            let failed =
                changed(event, kind, UPDATE, "ending something has failed too often: somebody must look");
            Mapped { success: Some(false), severity: HIGH, ..failed }
        }
        Kind::BlockSet => changed(event, "block", CREATE, "a block was set"),
        Kind::BlockMarked => changed(event, "block", UPDATE, "what a block is about is to be ended"),
        Kind::BlockLifted => changed(event, "block", DELETE, "a block was lifted"),
        Kind::Abandoned => closed(event, "an authorisation led to nothing"),
        Kind::Superseded => closed(event, "a retry took an authorisation's place"),
        Kind::Resolved => closed(event, "an authorisation without a lease was looked after"),
        Kind::Expired => closed(event, "an authorisation without a lease is past its death"),
        Kind::Key => changed(event, "signing key", UPDATE, "a signing key was added or changed its state"),
        Kind::Sealed => changed(event, "audit chain", DELETE, "the beginning of an audit chain was pruned"),
        Kind::Revision => changed(event, "configuration", UPDATE, "another configuration is in force"),
        Kind::Started => {
            Mapped::new(Class::ApplicationLifecycle { app: Product::tollgate() }, START, "a server started")
        }
    }
}

/// A decision, on a role or on an operation of Tollgate itself.
fn asked<'a>(record: &'a Record, event: &'a Event, activity: Caption, message: &'static str) -> Mapped<'a> {
    let (uid, role) = party(record);
    let (operation, status_code) = match &event.about {
        About::Decision { operation, result, .. } => (operation.as_ref(), Some(result.as_ref())),
        About::Lease { .. } | About::Authorisation { .. } | About::Change { .. } | About::Server { .. } => {
            ("", None)
        }
    };
    let name = if role.is_empty() { operation } else { role };
    let class = Class::Authentication { user: User { uid }, service: Named { name }, is_remote: true };
    Mapped { status_code, ..Mapped::new(class, activity, message) }
}

fn leased<'a>(record: &'a Record, event: &'a Event) -> Mapped<'a> {
    let message = "a credential was handed out";
    let About::Lease { lease, dies_at, .. } = &event.about else { return Mapped::base(message) };
    let (uid, role) = party(record);
    let session = Session {
        uid: lease.to_string(),
        created_time: event.at.as_millisecond(),
        expiration_time: dies_at.as_millisecond(),
        is_remote: true,
    };
    let class = Class::AuthorizeSession { user: User { uid }, privileges: [role], session };
    Mapped::new(class, ASSIGN_PRIVILEGES, message)
}

/// An authorisation without a lease, dead or not.
fn closed(event: &Event, message: &'static str) -> Mapped<'static> {
    #[derive(Deserialize)]
    struct Dead {
        #[serde(default)]
        dead: bool,
    }
    let Dead { dead } = read(event).unwrap_or(Dead { dead: false });
    changed(event, "authorisation", if dead { DELETE } else { UPDATE }, message)
}

fn changed(event: &Event, kind: &'static str, activity: Caption, message: &'static str) -> Mapped<'static> {
    Mapped::new(Class::EntityManagement { entity: entity(event, kind) }, activity, message)
}

fn entity(event: &Event, kind: &'static str) -> Entity {
    #[derive(Default, Deserialize)]
    struct Names {
        kid: Option<String>,
        block: Option<String>,
        purpose: Option<String>,
        configuration: Option<String>,
    }
    let names: Names = read(event).unwrap_or_default();
    let uid = match &event.about {
        About::Change { lease, .. } | About::Lease { lease, .. } => Some(lease.to_string()),
        About::Authorisation { decision, .. } | About::Decision { decision, .. } => {
            Some(decision.to_string())
        }
        About::Server { .. } => names.kid.or(names.block),
    };
    // The schema wants a name or a uid; a configuration has neither, being the only one.
    let name = if uid.is_none() { Some(kind.to_owned()) } else { names.purpose };
    Entity { kind, uid, name, version: names.configuration }
}

fn is_at_target(event: &Event) -> bool {
    #[derive(Deserialize)]
    struct How {
        how: String,
    }
    read(event).is_some_and(|How { how }| how == EndHow::AtTarget.as_str())
}

/// What of a record's own data the mapping needs.
fn read<'e, T: Deserialize<'e>>(event: &'e Event) -> Option<T> {
    let data: &RawValue = match &event.about {
        About::Authorisation { data, .. } | About::Change { data, .. } | About::Server { data } => data,
        About::Decision { .. } | About::Lease { .. } => return None,
    };
    serde_json::from_str(data.get()).ok()
}

fn party(record: &Record) -> (&str, &str) {
    record.party.as_ref().map_or(("", ""), |party| (party.principal.as_str(), party.role.as_str()))
}
