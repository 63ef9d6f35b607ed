//! What the ledger holds, read beside the server: the other half of every assertion about an answer.

use std::fmt::Write;

use rusqlite::{Connection, OpenFlags};
use tollgate::app::App;
use tollgate::domain::DecisionId;
use tollgate::ledger::DecisionRecord;
use tollgate::secret::LeaseSecret;

use super::Site;
use super::api::Answer;

impl Site {
    /// How many rows of the store `condition` selects, such as `leases` or `decisions WHERE role = 'deploy'`.
    pub(crate) fn rows(&self, condition: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {condition}"))
    }

    fn number(&self, sql: &str) -> i64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let store = Connection::open_with_flags(self.store(), flags).unwrap();
        store.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        store.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// How many refusals with `code` were counted rather than recorded.
    pub(crate) async fn counted(&self, app: &App, code: &str) -> i64 {
        app.broker().ledger().close().await;
        self.number(&format!("SELECT coalesce(sum(count), 0) FROM refusal_counts WHERE code = '{code}'"))
    }
}

/// The record of the decision that `answer` names.
#[track_caller]
pub(crate) fn decision_of(answer: &Answer) -> DecisionId {
    let id = answer.json["decision"].as_str();
    id.unwrap_or_else(|| panic!("no decision in {}", answer.text)).parse().unwrap()
}

/// The answer is a refusal with `code` that is recorded under its decision, and led to nothing.
pub(crate) async fn refused(site: &Site, app: &App, answer: &Answer, code: &str) -> DecisionRecord {
    assert_eq!(answer.code(), code, "{}", answer.text);
    let record = app.broker().ledger().decision(decision_of(answer)).await.unwrap();
    let record = record.unwrap_or_else(|| panic!("no record of {}", answer.text));
    assert_eq!(record.result, code);
    assert_eq!((&record.target, record.dies_by), (&None, None), "it was authorised");
    assert_eq!(site.rows("authorisations"), 0, "an authorisation is left");
    assert_eq!(led_to(site, record.decision), 0, "it was leased");
    record
}

/// The answer is a refusal with `code`, counted for nobody in particular; nothing was decided, authorised or leased.
pub(crate) async fn counted(site: &Site, app: &App, answer: &Answer, code: &str) {
    assert_eq!(answer.code(), code, "{}", answer.text);
    assert!(site.counted(app, code).await > 0, "{code} was not counted");
    for table in ["decisions", "authorisations", "leases"] {
        assert_eq!(site.rows(table), 0, "{table}: {}", answer.text);
    }
}

/// The answer is a success whose lease and decision are recorded as they were told.
pub(crate) async fn leased(site: &Site, app: &App, answer: &Answer) -> DecisionRecord {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let record = app.broker().ledger().decision(decision_of(answer)).await.unwrap().unwrap();
    assert_eq!(record.result, "allow");
    assert_eq!(record.outcome["ttl"], answer.json["ttl"]);
    assert_eq!(record.outcome["scopes"], answer.json["scopes"]);
    assert_eq!(led_to(site, record.decision), 1, "no lease of {}", answer.text);
    let id = answer.json["lease"]["id"].as_str().unwrap().parse().unwrap();
    let secret: LeaseSecret = answer.json["lease"]["secret"].as_str().unwrap().parse().unwrap();
    let lease = app.broker().lease_status(id, &secret).await.unwrap().status;
    assert_eq!((lease.decision, lease.role.as_str()), (record.decision, record.role.as_str()));
    assert_eq!(lease.dies_at.to_string(), answer.json["lease"]["dies_at"]);
    record
}

fn led_to(site: &Site, decision: DecisionId) -> i64 {
    site.rows(&format!("leases WHERE decision = x'{}'", hex(decision.as_bytes())))
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
