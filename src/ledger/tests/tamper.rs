//! Whoever changes the store is found out, and told where.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::config::StorePlace;
use crate::domain::{Code, DecisionId, Prolonged, Refusal};
use crate::identity::testing::JobKey;
use crate::ledger::conformance::retention::prune;
use crate::ledger::testing::{Bench, noon, sealer};
use crate::ledger::{EndHow, FindingKind, Reader, Refused, Report};
use crate::policy::testing::judged;
use crate::signing::{Keyring, first_keys};

/// A store with something of everything, a copy of it, and checkpoints kept elsewhere.
struct Scene {
    bench: Bench,
    path: PathBuf,
    /// Signed after half of what happened, and after all of it.
    checkpoints: [String; 2],
}

impl Scene {
    async fn new() -> Self {
        let bench = Bench::with(|settings| settings.refusals_per_minute = 1);
        let keys = first_keys(&[], &sealer(), noon()).unwrap();
        let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
        bench.ledger.insert_keys_if_none(keys).await.unwrap();
        act(&bench, "first").await;
        let early = bench.ledger.checkpoint(&keyring).await.unwrap().unwrap().jws;
        let bench = bench.restart();
        act(&bench, "second").await;
        let late = bench.ledger.checkpoint(&keyring).await.unwrap().unwrap().jws;
        assert!(bench.ledger.checkpoint(&keyring).await.unwrap().is_none(), "nothing new");
        let path = bench.file().with_file_name("copy.db");
        Self { bench, path, checkpoints: [early, late] }
    }

    /// A copy of the store after `change`, verified, also against the newest checkpoint kept elsewhere.
    fn after(&self, change: impl FnOnce(&Connection)) -> [Report; 2] {
        let _ = std::fs::remove_file(&self.path);
        let original = Connection::open(self.bench.file()).unwrap();
        original.execute("VACUUM INTO ?1", [self.path.to_str().unwrap()]).unwrap();
        let copy = Connection::open(&self.path).unwrap();
        copy.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
        change(&copy);
        drop(copy);
        verify_both(&self.path, &self.checkpoints[1])
    }
}

fn verify_both(path: &Path, checkpoint: &str) -> [Report; 2] {
    let reader = Reader::open(&StorePlace::Sqlite(path.to_owned())).unwrap();
    [reader.verify(None).unwrap(), reader.verify(Some(&mut checkpoint.as_bytes())).unwrap()]
}

/// Something of everything.
pub(in crate::ledger) async fn act(bench: &Bench, name: &str) {
    let lease = |token: String, key: Option<&'static str>| async move {
        let auth = bench.ledger.authorise(bench.planned(&token, key)).await.unwrap();
        bench.ledger.lease(auth, bench.minted()).await.unwrap()
    };
    let print = crate::secret::Fingerprint::of(name.as_bytes());
    bench.ledger.set_revision(print, print).await.unwrap();
    let bound = bench.planned_bound(&format!("{name} 6"), &JobKey::new(), name);
    let bound = bench.ledger.authorise(bound).await.unwrap();
    bench.ledger.lease(bound, bench.minted()).await.unwrap();
    let ended = lease(format!("{name} 1"), None).await;
    bench.end_by_holder(&ended, EndHow::AtTarget).await;
    let asked = lease(format!("{name} 2"), None).await;
    bench.ledger.begin_end(asked.id(), asked.secret()).await.unwrap();
    let renewed = lease(format!("{name} 3"), None).await;
    let first = bench.ledger.renewable(renewed.id(), renewed.secret()).await.unwrap();
    let planned = bench.planned_renewal(renewed.id());
    let renewal = bench.ledger.authorise_renewal(planned, &first).await.unwrap();
    let dies_at = renewed.minted().dies_at + std::time::Duration::from_mins(5);
    bench.ledger.renew(renewal, Prolonged::Extended { dies_at }).await.unwrap();
    let open = bench.ledger.authorise(bench.planned(&format!("{name} 4"), None)).await.unwrap();
    let refusal = Refusal::new(Code::ProviderUnavailable, "no answer");
    bench.ledger.abandon(open, &refusal, false).await;
    drop(bench.ledger.authorise(bench.planned(&format!("{name} 5"), None)).await.unwrap());
    for token in ["a", "b"] {
        let facts = bench.facts(token, None);
        let decision = facts.decision();
        bench.ledger.refuse(Refused::Judged(&judged(facts)), decision, &refusal).await;
    }
    let lifted = bench.block("role:deploy", None).await;
    assert!(bench.ledger.lift_block(lifted, None, "a test".into()).await.unwrap());
    bench.block(&format!("repository:{name}"), Some(std::time::Duration::from_hours(1))).await;
    let nobody = Refused::Unidentified { source_ip: None };
    bench.ledger.refuse(nobody, DecisionId::new(1, &[0; 10]), &refusal).await;
    bench.ledger.close().await;
}

/// Columns that no chain holds, because nothing follows from them that is not checked again.
const NOT_CHAINED: &[(&str, &str)] = &[
    // The whole tables are forgotten after minutes.
    ("replay", "*"),
    ("idempotency", "*"),
    // They say when to look and when to try again; what is alive and what is to be ended, the chain holds.
    ("heartbeats", "*"),
    ("ready", "*"),
    ("endings", "*"),
    // Sealed: what was changed does not open.
    ("issuer_keys", "*"),
    // A place set back sends again, and one set forward is seen at the receiver by the gap in its sequence.
    ("sink_cursors", "*"),
    // A number that only grows; an authorisation of another epoch is not leased.
    ("*", "epoch"),
    // PostgreSQL's own: another server's request is looked after early, and refused, or a minute late.
    ("authorisations", "writer"),
];

pub(super) fn chained(table: &str, column: &str) -> bool {
    !NOT_CHAINED.iter().any(|(t, c)| (*t == table || *t == "*") && (*c == column || *c == "*"))
}

fn tables(store: &Connection) -> Vec<(String, Vec<String>)> {
    let mut names = store
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    names
        .into_iter()
        .map(|table| {
            let mut columns = store.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
            let columns =
                columns.query_map([&table], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            (table, columns)
        })
        .collect()
}

/// `value` with one byte changed, or something where nothing was.
fn changed(value: Value, column: &str) -> Value {
    match value {
        Value::Null if column == "handle" => Value::Blob(vec![1]),
        Value::Null if column.ends_with("_at") || column == "dies_by" => Value::Integer(1),
        Value::Null => Value::Text("x".into()),
        Value::Integer(number) => Value::Integer(number + 1),
        Value::Real(number) => Value::Real(number + 1.0),
        Value::Text(mut text) => {
            let last = text.pop();
            text.push(if last == Some('x') { 'y' } else { 'x' });
            Value::Text(text)
        }
        Value::Blob(mut bytes) => {
            match bytes.last_mut() {
                Some(last) => *last ^= 1,
                None => bytes.push(1),
            }
            Value::Blob(bytes)
        }
    }
}

#[tokio::test]
async fn s_11_one_changed_value_in_any_column_of_any_row_is_found() {
    let scene = Scene::new().await;
    let [sound, proven] = scene.after(|_| ());
    assert!(sound.is_sound() && proven.is_sound(), "{:?} {:?}", sound.findings, proven.findings);
    let store = Connection::open(scene.bench.file()).unwrap();
    let mut tried = 0;
    for (table, columns) in tables(&store) {
        let rows: i64 =
            store.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        for column in columns.iter().filter(|column| chained(&table, column)) {
            // The first, the last and one in between.
            let mut places = vec![0, rows / 2, rows - 1];
            places.retain(|place| (0..rows).contains(place));
            places.dedup();
            for place in places {
                let mut took = false;
                let [report, _] =
                    scene.after(|copy| took = change_one(copy, &table, column, &columns, place));
                assert!(!took || !report.is_sound(), "{table}.{column} of row {place} changed unnoticed");
                tried += usize::from(took);
            }
        }
    }
    assert!(tried > 120, "only {tried} changes were tried");
}

/// Changes one value; false if SQLite does not take it (a key that exists already).
fn change_one(copy: &Connection, table: &str, column: &str, columns: &[String], place: i64) -> bool {
    let all = columns.join(", ");
    let sql = format!("SELECT {column} FROM {table} ORDER BY {all} LIMIT 1 OFFSET ?1");
    let old: Value = copy.query_row(&sql, [place], |row| row.get(0)).unwrap();
    let same: Vec<String> = columns
        .iter()
        .map(|name| format!("{name} IS (SELECT {name} FROM {table} ORDER BY {all} LIMIT 1 OFFSET {place})"))
        .collect();
    let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {}", same.join(" AND "));
    copy.execute(&sql, [changed(old, column)]).is_ok_and(|rows| rows == 1)
}

fn finds(report: &Report, kind: FindingKind, writer: i64, seq: i64) -> bool {
    report.findings.iter().any(|f| f.kind == kind && f.writer == Some(writer) && f.seq == Some(seq))
}

#[tokio::test]
async fn s_11_deletions_swaps_and_insertions_are_named() {
    let scene = Scene::new().await;
    let run = |sql: &str| scene.after(|copy| copy.execute_batch(sql).unwrap())[0].clone();

    let deleted = run("DELETE FROM audit WHERE writer = 1 AND seq = 5");
    assert!(finds(&deleted, FindingKind::Missing, 1, 5), "{:?}", deleted.findings);

    let swapped = run("UPDATE audit SET seq = -5 WHERE writer = 1 AND seq = 5;
         UPDATE audit SET seq = 5 WHERE writer = 1 AND seq = 6; UPDATE audit SET seq = 6 WHERE seq = -5");
    assert!(finds(&swapped, FindingKind::Changed, 1, 5), "{:?}", swapped.findings);

    let inserted =
        run("INSERT INTO audit SELECT writer, 1000, at, kind, tenant, subject, payload, hash, body
         FROM audit WHERE writer = 2 AND seq = 3");
    assert!(!inserted.is_sound());

    let forged = run(
        "INSERT INTO leases SELECT randomblob(16), tenant, decision, secret, issued_at, dies_at, revocable,
         NULL, NULL, NULL, NULL, NULL FROM leases LIMIT 1",
    );
    assert!(
        forged.findings.iter().any(|finding| finding.kind == FindingKind::Inserted),
        "{:?}",
        forged.findings
    );

    let forgotten = run("DELETE FROM authorisations");
    assert!(forgotten.findings.iter().any(|finding| finding.kind == FindingKind::Missing));

    let whole_writer = run("DELETE FROM audit WHERE writer = 1; DELETE FROM writers WHERE id = 1");
    assert!(!whole_writer.is_sound());
}

#[tokio::test]
async fn s_11_an_ended_writers_tail_is_proven_by_the_next_writer() {
    let scene = Scene::new().await;
    let cut = |copy: &Connection| {
        copy.execute_batch(
            "DELETE FROM audit WHERE writer = 1 AND seq = (SELECT max(seq) FROM audit WHERE writer = 1);
             DELETE FROM checkpoints",
        )
        .unwrap();
    };
    let [report, _] = scene.after(cut);
    assert!(
        report.findings.iter().any(|f| f.kind == FindingKind::CutOrRolledBack && f.writer == Some(1)),
        "{:?}",
        report.findings
    );
}

/// Removes the last record of the newest chain, with what it is about, so that nothing inside the store contradicts.
const CUT: &str = "DELETE FROM checkpoints WHERE n > 1;
    DELETE FROM refusal_counts WHERE writer = 2;
    DELETE FROM audit WHERE writer = 2 AND seq = (SELECT max(seq) FROM audit WHERE writer = 2)";

#[tokio::test]
async fn s_11_a_cut_tail_is_found_by_the_checkpoint_kept_elsewhere() {
    let scene = Scene::new().await;
    let [alone, with] = scene.after(|copy| copy.execute_batch(CUT).unwrap());
    assert!(alone.is_sound(), "{:?}", alone.findings);
    // Without it, the report says from when nothing is proven.
    let proven = alone.proven.unwrap();
    assert_eq!((proven.checkpoint, proven.kept_elsewhere), (1, false));
    assert!(alone.unproven_since.is_some());
    let finding = with.findings.iter().find(|f| f.kind == FindingKind::CutOrRolledBack).unwrap();
    assert_eq!(finding.writer, Some(2));
    assert_eq!(with.proven.map(|proven| proven.kept_elsewhere), Some(true));
}

#[tokio::test]
async fn s_11_a_rolled_back_store_is_found_by_the_checkpoint_kept_elsewhere() {
    let scene = Scene::new().await;
    let snapshot = scene.path.with_file_name("snapshot.db");
    let store = Connection::open(scene.bench.file()).unwrap();
    store.execute("VACUUM INTO ?1", [snapshot.to_str().unwrap()]).unwrap();
    act(&scene.bench, "third").await;
    let keys = scene.bench.ledger.signing_keys().await.unwrap();
    let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
    let newest = scene.bench.ledger.checkpoint(&keyring).await.unwrap().unwrap();
    let [alone, with] = verify_both(&snapshot, &newest.jws);
    assert!(alone.is_sound());
    assert!(with.findings.iter().any(|f| f.kind == FindingKind::CutOrRolledBack), "{:?}", with.findings);
    let reader = Reader::open(&scene.bench.settings.place).unwrap();
    let line = format!("{{\"kind\":\"checkpoint\",\"jws\":\"{}\"}}\n", newest.jws);
    let report = reader.verify(Some(&mut line.as_bytes())).unwrap();
    assert!(report.is_sound() && report.unproven_since.is_none(), "{:?}", report.findings);
}

#[tokio::test]
async fn s_11_a_rolled_back_store_that_went_on_is_found_by_the_older_checkpoints_of_the_same_file() {
    let scene = Scene::new().await;
    let [early, late] = &scene.checkpoints;
    let line = |jws: &str| format!("{{\"kind\":\"checkpoint\",\"jws\":\"{jws}\"}}\n");
    // As a store that was rolled back behind the late one, and whose newest checkpoint agrees with it.
    let events = format!("{}{}{}", line(early), line(late), line(early));
    let snapshot = scene.path.with_file_name("snapshot.db");
    let store = Connection::open(scene.bench.file()).unwrap();
    store.execute("VACUUM INTO ?1", [snapshot.to_str().unwrap()]).unwrap();
    assert!(verify_both(&snapshot, &events)[1].is_sound());
    Connection::open(&snapshot).unwrap().execute_batch(CUT).unwrap();
    let [_, with] = verify_both(&snapshot, &events);
    let found: Vec<_> = with.findings.iter().map(|finding| (finding.kind, finding.writer)).collect();
    assert_eq!(found, [(FindingKind::CutOrRolledBack, Some(2))]);
}

#[tokio::test]
async fn s_11_checkpoints_that_are_deleted_forged_or_foreign_are_found() {
    let scene = Scene::new().await;
    let [deleted, _] = scene.after(|copy| copy.execute_batch("DELETE FROM checkpoints WHERE n = 1").unwrap());
    assert!(deleted.findings.iter().any(|f| f.kind == FindingKind::Missing), "{:?}", deleted.findings);

    let other = Scene::new().await;
    let reader = Reader::open(&scene.bench.settings.place).unwrap();
    let foreign = reader.verify(Some(&mut other.checkpoints[1].as_bytes())).unwrap();
    assert!(foreign.findings.iter().any(|f| f.kind == FindingKind::Signature), "{:?}", foreign.findings);
    assert!(reader.verify(Some(&mut "no checkpoint at all".as_bytes())).is_err());
}

#[tokio::test]
async fn an_erased_input_is_reported_and_breaks_nothing() {
    let scene = Scene::new().await;
    let [report, _] =
        scene.after(|copy| copy.execute_batch("DELETE FROM inputs WHERE decision = 1").unwrap());
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.erased_inputs, 1);
}

/// A store whose first chain was pruned, with what is left of it, and a copy of it after `change`.
async fn pruned() -> (Scene, usize) {
    let mut scene = Scene::new().await;
    let keys = scene.bench.ledger.signing_keys().await.unwrap();
    let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
    for _ in 0..2 {
        scene.bench.pass(std::time::Duration::from_hours(9 * 24));
        scene.bench.ledger.upkeep().await;
    }
    act(&scene.bench, "third").await;
    let gone = prune(&scene.bench, &keyring, &[]).await;
    let newest = scene.bench.ledger.checkpoint(&keyring).await.unwrap().unwrap().jws;
    scene.checkpoints[1] = newest;
    (scene, gone)
}

#[tokio::test]
async fn s_11_a_seal_that_is_gone_forged_or_altered_is_named_with_writer_and_record() {
    let (scene, gone) = pruned().await;
    assert!(gone > 40, "{gone}");
    let [sound, proven] = scene.after(|_| ());
    assert!(sound.is_sound() && proven.is_sound(), "{:?} {:?}", sound.findings, proven.findings);
    assert_eq!(sound.pruned, u64::try_from(gone).unwrap());
    assert!(proven.unproven_since.is_none());
    let seal = "(SELECT seq FROM audit WHERE kind = 'sealed' AND subject = x'0000000000000001')";
    let run = |sql: &str| scene.after(|copy| copy.execute_batch(sql).unwrap())[0].clone();

    let without = run(&format!("DELETE FROM audit WHERE writer = 2 AND seq = {seal}"));
    assert!(finds(&without, FindingKind::Missing, 1, 1), "{:?}", without.findings);

    // Somebody else's key, or none, signs no seal; and what is said beside the signature does not count.
    for change in [
        "json_set(body, '$.jws', 'a.b.c')",
        "json_set(body, '$.last', json_extract(body, '$.last') - 1)",
        "json_set(body, '$.jws', (SELECT jws FROM checkpoints ORDER BY n DESC LIMIT 1))",
    ] {
        let at: i64 = Connection::open(scene.bench.file())
            .unwrap()
            .query_row(&format!("SELECT {seal}"), [], |row| row.get(0))
            .unwrap();
        let forged = run(&format!("UPDATE audit SET body = {change} WHERE writer = 2 AND seq = {at}"));
        assert!(finds(&forged, FindingKind::Signature, 2, at), "{change}: {:?}", forged.findings);
        assert!(finds(&forged, FindingKind::Missing, 1, 1), "{change}: {:?}", forged.findings);
    }
}

#[tokio::test]
async fn s_11_a_prefix_that_is_cut_without_a_seal_or_beyond_it_is_named() {
    let (scene, _) = pruned().await;
    let unsealed = Scene::new().await;
    let [cut, _] = unsealed.after(|copy| {
        copy.execute_batch("DELETE FROM audit WHERE writer = 1 AND seq < 9").unwrap();
    });
    assert!(finds(&cut, FindingKind::Missing, 1, 1), "{:?}", cut.findings);
    let first: i64 = Connection::open(scene.bench.file())
        .unwrap()
        .query_row("SELECT min(seq) FROM audit WHERE writer = 2", [], |row| row.get(0))
        .unwrap();
    let [beyond, _] = scene.after(|copy| {
        copy.execute("DELETE FROM audit WHERE writer = 2 AND seq < ?1", [first + 3]).unwrap();
    });
    assert!(finds(&beyond, FindingKind::Missing, 2, first), "{:?}", beyond.findings);
    // What a seal says is gone must not come back with another content.
    let [back, _] = scene.after(|copy| {
        copy.execute_batch(
            "INSERT INTO audit SELECT 1, 3, at, kind, tenant, subject, payload, hash, body FROM audit
             WHERE writer = 2 ORDER BY seq LIMIT 1",
        )
        .unwrap();
    });
    assert!(finds(&back, FindingKind::Inserted, 1, 3), "{:?}", back.findings);
}

#[tokio::test]
async fn s_11_one_changed_value_of_a_pruned_store_is_found() {
    let (scene, _) = pruned().await;
    let store = Connection::open(scene.bench.file()).unwrap();
    let mut tried = 0;
    for (table, columns) in tables(&store) {
        let rows: i64 =
            store.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        // Frames stay when the last decision that used them is gone, and say nothing then.
        let all =
            columns.iter().filter(|column| chained(&table, column) && (table != "frames" || *column != "id"));
        for column in all {
            let mut took = false;
            if rows > 0 {
                let [report, _] =
                    scene.after(|copy| took = change_one(copy, &table, column, &columns, rows - 1));
                assert!(!took || !report.is_sound(), "{table}.{column} changed unnoticed");
            }
            tried += usize::from(took);
        }
    }
    assert!(tried > 50, "only {tried} changes were tried");
}
