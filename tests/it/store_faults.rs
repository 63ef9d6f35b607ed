//! A store that cannot record: nothing is issued, refusals are not lost, and no restart is needed afterwards.

use rusqlite::Connection;
use serde_json::json;
use tollgate::app::App;

use crate::harness::Site;
use crate::harness::api::Answer;
use crate::harness::book::{decision_of, leased};

/// The store, opened as another process would.
fn beside(site: &Site) -> Connection {
    let store = Connection::open(site.store()).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    store
}

/// Lets the store refuse every new row of `table`.
fn refuse_rows(site: &Site, table: &str) {
    let sql =
        format!("CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END");
    beside(site).execute_batch(&sql).unwrap();
}

fn repair(site: &Site) {
    beside(site).execute_batch("DROP TRIGGER broken").unwrap();
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (503, "store_unavailable"), "{}", answer.text);
    assert!(answer.headers.contains_key("retry-after"));
    assert!(answer.json.get("credential").is_none() && answer.json.get("lease").is_none(), "{}", answer.text);
    assert!(!answer.text.contains("sqlite") && !answer.text.contains("broken"), "{}", answer.text);
}

/// The same token gets its credential now: what failed did not use it up.
async fn works_again(site: &Site, app: &App, token: &str) {
    leased(site, app, &site.api().deploy(token).await).await;
    assert_eq!(site.rows("authorisations"), 0);
}

#[tokio::test]
async fn s_02_a_store_that_is_locked_issues_nothing_and_recovers_by_itself() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let other = beside(&site);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = site.api().deploy(&token).await;
    assert_unavailable(&answer);
    assert_eq!((site.rows("decisions"), site.rows("leases")), (0, 0));
    other.execute_batch("ROLLBACK").unwrap();
    works_again(&site, &app, &token).await;
    // The refusal waited for the store.
    app.broker().ledger().upkeep().await;
    let record = app.broker().ledger().decision(decision_of(&answer)).await.unwrap().unwrap();
    assert_eq!(record.result, "store_unavailable");
    app.stop().await;
}

#[tokio::test]
async fn s_02_without_a_recorded_authorisation_nothing_is_minted() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    refuse_rows(&site, "authorisations");
    for _ in 0..2 {
        assert_unavailable(&site.api().deploy(&token).await);
    }
    let oauth = site.api().exchange(&token, &[("audience", "deploy")]).await;
    assert_eq!((oauth.status, &oauth.json["error"]), (503, &json!("temporarily_unavailable")));
    assert_eq!((site.rows("decisions WHERE outcome = 'allow'"), site.rows("leases")), (0, 0));
    repair(&site);
    works_again(&site, &app, &token).await;
    app.stop().await;
}

#[tokio::test]
async fn s_02_without_a_recorded_lease_nothing_is_handed_out() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    refuse_rows(&site, "leases");
    let key = [("idempotency-key", "k-1")];
    let answer = site.api().credentials_with(&token, &json!({ "role": "deploy" }), &key).await;
    assert_unavailable(&answer);
    assert_eq!(site.rows("leases"), 0);
    // It was minted, thrown away before anybody saw it, and the record says so.
    assert_eq!((site.rows("authorisations"), site.rows("audit WHERE kind = 'abandoned'")), (0, 1));
    repair(&site);
    let again = site.api().credentials_with(&token, &json!({ "role": "deploy" }), &key).await;
    leased(&site, &app, &again).await;
    app.stop().await;
}

#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_told_all_the_same_and_recorded_later() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let other = beside(&site);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = site.api().deploy(&site.token_with(&json!({ "event_name": "pull_request" }))).await;
    assert_eq!((answer.status, answer.code()), (403, "not_allowed"));
    other.execute_batch("ROLLBACK").unwrap();
    app.broker().ledger().upkeep().await;
    let record = app.broker().ledger().decision(decision_of(&answer)).await.unwrap().unwrap();
    assert_eq!(record.result, "not_allowed");
    app.stop().await;
}

#[tokio::test]
async fn a_dry_run_that_cannot_be_recorded_allows_nothing() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    refuse_rows(&site, "decisions");
    let body = json!({ "role": "deploy", "dry_run": true });
    assert_unavailable(&site.api().credentials(&site.token(), &body).await);
    repair(&site);
    app.stop().await;
}
