//! Whoever changes the database is found out, and told where: the same findings as of a file.

use crate::config::StorePlace;
use crate::ledger::testing::{Bench, noon, place, sealer, server};
use crate::ledger::tests::tamper::{act, chained};
use crate::ledger::{FindingKind, Reader, Report};
use crate::signing::{Keyring, first_keys};

/// Drops what PostgreSQL itself would refuse to change, and keeps a copy of every table.
const PREPARE: &str = "DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint
             WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.conname);
    END LOOP;
    CREATE SCHEMA saved;
    FOR c IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('CREATE TABLE saved.%I AS TABLE public.%I', c.tablename, c.tablename);
    END LOOP;
END $$";

/// Puts every table back as it was.
const RESTORE: &str = "DO $$ DECLARE c record; BEGIN
    FOR c IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('DELETE FROM public.%I', c.tablename);
        EXECUTE format('INSERT INTO public.%I SELECT * FROM saved.%I', c.tablename, c.tablename);
    END LOOP;
END $$;";

/// A database with something of everything, which no server uses any more, and checkpoints kept elsewhere.
struct Scene {
    database: String,
    reader: Reader,
    newest: String,
}

impl Scene {
    async fn new() -> Self {
        let bench = Bench::postgres_with(|settings| settings.refusals_per_minute = 1);
        let keys = first_keys(&[], &sealer(), noon()).unwrap();
        let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
        bench.ledger.insert_keys_if_none(keys).await.unwrap();
        act(&bench, "first").await;
        bench.ledger.checkpoint(&keyring).await.unwrap().unwrap();
        let bench = bench.restart();
        act(&bench, "second").await;
        let newest = bench.ledger.checkpoint(&keyring).await.unwrap().unwrap().jws;
        let database = bench.database().to_owned();
        drop(bench);
        server().sql(&database, PREPARE);
        let reader = Reader::open(&StorePlace::Postgres(place(&database))).unwrap();
        Self { database, reader, newest }
    }

    /// What verification says after `change`, alone and against the newest checkpoint; none if it changed nothing.
    fn after(&self, change: &str) -> Option<[Report; 2]> {
        let changed = server().psql(&self.database, &format!("{RESTORE} {change}"));
        let mut newest = self.newest.as_bytes();
        let verify = || [self.reader.verify(None).unwrap(), self.reader.verify(Some(&mut newest)).unwrap()];
        changed.status.success().then(verify)
    }

    fn tables(&self) -> Vec<(String, String, String)> {
        let columns = "SELECT table_name, column_name, data_type FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name <> 'tollgate_schema' ORDER BY 1, ordinal_position";
        let split = |row: String| {
            let mut parts = row.split('|').map(str::to_owned);
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
        };
        server().sql(&self.database, columns).into_iter().map(split).collect()
    }
}

/// The expression for `column` with one byte changed, or something where nothing was.
fn changed(column: &str, data_type: &str) -> String {
    match data_type {
        "bigint" => format!("coalesce(\"{column}\" + 1, 1)"),
        "text" => format!(
            "coalesce(left(\"{column}\", -1) || CASE right(\"{column}\", 1) WHEN 'x' THEN 'y' ELSE 'x' END, 'x')"
        ),
        "bytea" => format!(
            "CASE WHEN coalesce(length(\"{column}\"), 0) = 0 THEN '\\x01' ELSE
             set_byte(\"{column}\", length(\"{column}\") - 1, get_byte(\"{column}\", length(\"{column}\") - 1) # 1) END"
        ),
        other => panic!("a column of type {other}"),
    }
}

#[tokio::test]
async fn s_11_one_changed_value_in_any_column_is_found() {
    let scene = Scene::new().await;
    let [sound, proven] = scene.after("").unwrap();
    assert!(sound.is_sound() && proven.is_sound(), "{:?} {:?}", sound.findings, proven.findings);
    let mut tried = 0;
    for (table, column, data_type) in scene.tables() {
        if !chained(&table, &column) {
            continue;
        }
        let new = changed(&column, &data_type);
        for order in ["min", "max"] {
            let change = format!(
                "UPDATE {table} SET \"{column}\" = {new} WHERE ctid = (SELECT {order}(ctid) FROM {table})"
            );
            // A key that exists already is not taken.
            let Some([report, _]) = scene.after(&change) else { continue };
            assert!(!report.is_sound(), "{table}.{column} of the {order} row changed unnoticed");
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} changes were tried");
}

fn finds(report: &Report, kind: FindingKind, at: Option<(i64, i64)>) -> bool {
    let there =
        |writer: Option<i64>, seq: Option<i64>| at.is_none_or(|(w, s)| writer == Some(w) && seq == Some(s));
    report.findings.iter().any(|f| f.kind == kind && there(f.writer, f.seq))
}

#[tokio::test]
async fn s_11_deletions_swaps_insertions_and_cuts_are_named() {
    use FindingKind::{Changed, CutOrRolledBack, Inserted, Missing};
    let scene = Scene::new().await;
    for (change, kind, at) in [
        ("DELETE FROM audit WHERE writer = 1 AND seq = 5", Missing, Some((1, 5))),
        (
            "UPDATE audit SET seq = -5 WHERE writer = 1 AND seq = 5;
             UPDATE audit SET seq = 5 WHERE writer = 1 AND seq = 6; UPDATE audit SET seq = 6 WHERE seq = -5",
            Changed,
            Some((1, 5)),
        ),
        (
            "INSERT INTO audit SELECT writer, 1000, at, kind, tenant, subject, payload, hash, body FROM audit
             WHERE writer = 2 AND seq = 3",
            Missing,
            None,
        ),
        (
            "INSERT INTO leases SELECT decode(md5('x'), 'hex'), tenant, decision, secret, issued_at, dies_at, revocable,
             NULL, NULL, NULL FROM leases LIMIT 1",
            Inserted,
            None,
        ),
        ("DELETE FROM authorisations", Missing, None),
        ("DELETE FROM audit WHERE writer = 1; DELETE FROM writers WHERE id = 1", Missing, None),
        (
            "DELETE FROM audit WHERE writer = 1 AND seq = (SELECT max(seq) FROM audit WHERE writer = 1);
             DELETE FROM checkpoints",
            CutOrRolledBack,
            None,
        ),
        ("DELETE FROM checkpoints WHERE n = 1", Missing, None),
    ] {
        let [report, _] = scene.after(change).unwrap();
        assert!(finds(&report, kind, at), "{change}: {:?}", report.findings);
    }
    // The newest chain's last record, with what it is about: only a checkpoint kept elsewhere knows.
    let cut = "DELETE FROM checkpoints WHERE n > 1; DELETE FROM refusal_counts WHERE writer = 2;
               DELETE FROM audit WHERE writer = 2 AND seq = (SELECT max(seq) FROM audit WHERE writer = 2)";
    let [alone, with] = scene.after(cut).unwrap();
    assert!(alone.is_sound() && alone.unproven_since.is_some(), "{:?}", alone.findings);
    assert!(with.findings.iter().any(|f| f.kind == CutOrRolledBack && f.writer == Some(2)));
}
