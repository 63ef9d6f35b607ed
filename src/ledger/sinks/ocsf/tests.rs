//! Every kind of record in the schema's shape.

use serde_json::Value;
use serde_json::value::RawValue;

use super::event;
use crate::domain::{DecisionId, LeaseId};
use crate::ledger::event::{About, Event, Line};
use crate::ledger::kind::Kind;
use crate::ledger::sinks::cursor::Place;
use crate::ledger::sinks::record::{Party, Record};
use crate::ledger::testing::noon;

fn decision() -> DecisionId {
    DecisionId::new(1, &[1; 10])
}

fn lease() -> LeaseId {
    LeaseId::from_bytes([7; 16])
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn record(kind: Kind, about: About) -> Record {
    let (place, at) = (Place { writer: 3, seq: 41 }, noon());
    let (tenant, hash) = ("shop".to_owned(), "ab12".to_owned());
    let party = Party { principal: "github:repository:1234".into(), role: "deploy".into() };
    let event = Event { writer: place.writer, seq: place.seq, at, kind, tenant, hash, about };
    Record { place, at, line: Line::Event(Box::new(event)), party: Some(party) }
}

fn asked(kind: Kind, result: &'static str) -> Record {
    let (principal, role) = ("github:repository:1234".to_owned(), "deploy".to_owned());
    record(
        kind,
        About::Decision {
            decision: decision(),
            principal,
            role,
            operation: "mint".into(),
            result: result.into(),
        },
    )
}

fn mapped(record: &Record) -> Value {
    serde_json::to_value(event(record)).unwrap()
}

fn pretty(record: &Record) -> String {
    // The program's version is no part of the shape.
    let text = serde_json::to_string_pretty(&event(record)).unwrap();
    text.replace(concat!("\"", env!("CARGO_PKG_VERSION"), "\""), "\"VERSION\"")
}

#[test]
fn a_refusal_is_a_failed_authentication() {
    insta::assert_snapshot!(pretty(&asked(Kind::Refused, "policy_denied")));
}

#[test]
fn a_lease_is_a_session_with_a_privilege() {
    let dies_at = noon() + std::time::Duration::from_mins(15);
    let about = About::Lease { lease: lease(), decision: decision(), dies_at };
    insta::assert_snapshot!(pretty(&record(Kind::Leased, about)));
}

#[test]
fn an_end_is_a_deleted_entity() {
    let about = About::Change { lease: lease(), data: raw(r#"{"at":1,"how":"at_target"}"#) };
    insta::assert_snapshot!(pretty(&record(Kind::Ended, about)));
}

#[test]
fn a_start_is_of_the_application() {
    let about = About::Server { data: raw(r#"{"tollgate":"0.1.0","follows":[]}"#) };
    insta::assert_snapshot!(pretty(&record(Kind::Started, about)));
}

#[test]
fn a_checkpoint_is_of_no_class_and_whole() {
    let line = Line::Checkpoint { kind: "checkpoint", at: noon(), jws: "a.b.c".into() };
    let place = Place { writer: 0, seq: 2 };
    insta::assert_snapshot!(pretty(&Record { place, at: noon(), line, party: None }));
}

#[test]
fn classes_activities_and_outcomes_are_those_of_the_schema() {
    let closed = |dead: bool| About::Authorisation {
        decision: decision(),
        data: raw(&format!("{{\"dead\":{dead}}}")),
    };
    let change = |data: &str| About::Change { lease: lease(), data: raw(data) };
    let server = |data: &str| About::Server { data: raw(data) };
    let cases = [
        (asked(Kind::Authorised, "allow"), 300_201, Some(1)),
        (asked(Kind::WouldAllow, "would_allow"), 300_299, Some(1)),
        (asked(Kind::Permitted, "permit"), 300_299, Some(1)),
        (asked(Kind::Refused, "not_allowed"), 300_201, Some(2)),
        (record(Kind::EndAsked, change(r#"{"at":1}"#)), 300_403, Some(1)),
        (record(Kind::Ended, change(r#"{"how":"at_target"}"#)), 300_404, Some(1)),
        (record(Kind::Ended, change(r#"{"how":"dies_at_expiry"}"#)), 300_403, Some(2)),
        (record(Kind::Abandoned, closed(false)), 300_403, Some(1)),
        (record(Kind::Abandoned, closed(true)), 300_404, Some(1)),
        (record(Kind::Expired, closed(true)), 300_404, Some(1)),
        (record(Kind::Resolved, closed(false)), 300_403, Some(1)),
        (record(Kind::Superseded, closed(false)), 300_403, Some(1)),
        (record(Kind::Key, server(r#"{"kid":"k1","purpose":"federation"}"#)), 300_403, Some(1)),
        (record(Kind::Revision, server(r#"{"configuration":"c0","policy":"p0"}"#)), 300_403, Some(1)),
        (record(Kind::Counted, server("[]")), 99, None),
    ];
    for (record, type_uid, status) in &cases {
        let event = mapped(record);
        assert_eq!(event["type_uid"], *type_uid, "{event}");
        assert_eq!(event["status_id"].as_u64(), *status, "{event}");
        assert_eq!(event["class_uid"], type_uid / 100, "{event}");
        assert_eq!(event["activity_id"], type_uid % 100, "{event}");
        if *type_uid / 100 == 3004 {
            let entity = &event["entity"];
            assert!(entity["uid"].is_string() || entity["name"].is_string(), "{event}");
        }
    }
}

#[test]
fn entities_have_their_own_names() {
    let server =
        |kind, data: &str| mapped(&record(kind, About::Server { data: raw(data) }))["entity"].clone();
    let key = server(Kind::Key, r#"{"kid":"k1","purpose":"federation"}"#);
    assert_eq!(key, serde_json::json!({ "type": "signing key", "uid": "k1", "name": "federation" }));
    let revision = server(Kind::Revision, r#"{"configuration":"c0","policy":"p0"}"#);
    assert_eq!(
        revision,
        serde_json::json!({ "type": "configuration", "name": "configuration", "version": "c0" })
    );
}
