//! The tables that both stores have, column by column.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Int,
    Text,
    Bytes,
}

/// A table with its columns in the order that they are read and written in.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Holds)],
}

use Holds::{Bytes, Int, Text};

/// Every table; what another one refers to comes before it.
pub(super) const TABLES: [Shape; 21] = [
    Shape { name: "store", columns: &[("only", Int), ("tenant", Text), ("id", Bytes), ("epoch", Int)] },
    Shape {
        name: "writers",
        columns: &[("id", Int), ("tenant", Text), ("instance", Bytes), ("started_at", Int)],
    },
    Shape {
        name: "audit",
        columns: &[
            ("writer", Int),
            ("seq", Int),
            ("at", Int),
            ("kind", Text),
            ("tenant", Text),
            ("subject", Bytes),
            ("payload", Bytes),
            ("hash", Bytes),
            ("body", Text),
        ],
    },
    Shape { name: "frames", columns: &[("id", Int), ("tenant", Text), ("hash", Bytes), ("body", Text)] },
    Shape {
        name: "decisions",
        columns: &[
            ("n", Int),
            ("id", Bytes),
            ("tenant", Text),
            ("principal", Text),
            ("role", Text),
            ("at", Int),
            ("operation", Text),
            ("outcome", Text),
            ("token", Bytes),
            ("frame", Int),
            ("body", Text),
            ("input", Bytes),
            ("target", Text),
            ("handle", Bytes),
            ("dies_by", Int),
        ],
    },
    Shape { name: "inputs", columns: &[("decision", Int), ("tenant", Text), ("body", Text)] },
    Shape {
        name: "authorisations",
        columns: &[("decision", Bytes), ("tenant", Text), ("state", Text), ("epoch", Int), ("dies_by", Int)],
    },
    Shape {
        name: "leases",
        columns: &[
            ("id", Bytes),
            ("tenant", Text),
            ("decision", Bytes),
            ("secret", Bytes),
            ("issued_at", Int),
            ("dies_at", Int),
            ("revocable", Int),
            ("end_asked_at", Int),
            ("ended_at", Int),
            ("end_how", Text),
            ("first_dies_at", Int),
            ("bound_to", Bytes),
        ],
    },
    Shape {
        name: "blocks",
        columns: &[
            ("id", Bytes),
            ("tenant", Text),
            ("subject", Text),
            ("reason", Text),
            ("set_by", Text),
            ("set_at", Int),
            ("expires_at", Int),
            ("lifted_at", Int),
            ("lifted_by", Text),
        ],
    },
    Shape {
        name: "decision_keys",
        columns: &[
            ("decision", Int),
            ("tenant", Text),
            ("issuer", Text),
            ("subject", Text),
            ("repository_id", Text),
            ("repository", Text),
            ("runner", Text),
        ],
    },
    Shape {
        name: "block_effects",
        columns: &[
            ("subject", Bytes),
            ("block", Bytes),
            ("tenant", Text),
            ("leased", Int),
            ("writer", Int),
            ("seq", Int),
        ],
    },
    Shape {
        name: "heartbeats",
        columns: &[("lease", Bytes), ("tenant", Text), ("every", Int), ("beat_at", Int), ("due_at", Int)],
    },
    Shape { name: "ready", columns: &[("writer", Int), ("tenant", Text), ("since", Int), ("until", Int)] },
    Shape {
        name: "endings",
        columns: &[
            ("subject", Bytes),
            ("tenant", Text),
            ("attempts", Int),
            ("next_try_at", Int),
            ("claimed_by", Int),
            ("claimed_until", Int),
            ("fence", Int),
            ("dead_at", Int),
        ],
    },
    Shape {
        name: "replay",
        columns: &[("key", Bytes), ("tenant", Text), ("decision", Bytes), ("expires", Int)],
    },
    Shape {
        name: "idempotency",
        columns: &[
            ("key", Bytes),
            ("tenant", Text),
            ("request", Bytes),
            ("decision", Bytes),
            ("lease", Bytes),
            ("first_at", Int),
            ("expires", Int),
        ],
    },
    Shape {
        name: "refusal_counts",
        columns: &[
            ("writer", Int),
            ("seq", Int),
            ("minute", Int),
            ("tenant", Text),
            ("code", Text),
            ("source", Text),
            ("count", Int),
        ],
    },
    Shape {
        name: "issuer_keys",
        columns: &[("issuer", Text), ("tenant", Text), ("sealed", Bytes), ("fetched_at", Int)],
    },
    Shape {
        name: "signing_keys",
        columns: &[
            ("kid", Text),
            ("tenant", Text),
            ("purpose", Text),
            ("algorithm", Text),
            ("state", Text),
            ("created_at", Int),
            ("activates_at", Int),
            ("sealed", Bytes),
            ("public_jwk", Text),
            ("place", Text),
        ],
    },
    Shape {
        name: "sink_cursors",
        columns: &[("sink", Text), ("writer", Int), ("tenant", Text), ("seq", Int)],
    },
    Shape { name: "checkpoints", columns: &[("n", Int), ("tenant", Text), ("at", Int), ("jws", Text)] },
];

impl Shape {
    /// The columns' names, quoted, with commas between.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        names.join(", ")
    }

    /// The statement that reads every row.
    pub(super) fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.names(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables with their columns, as SQLite reports them for a new store.
    fn of_sqlite() -> Vec<(String, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::ledger::sqlite::open::blank(&folder.path().join("store.db")).unwrap();
        let listed = |sql: &str| -> Vec<String> {
            let mut select = store.prepare(sql).unwrap();
            select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        listed("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            .into_iter()
            .map(|table| {
                let columns = listed(&format!("SELECT name FROM pragma_table_info('{table}')"));
                (table, columns)
            })
            .collect()
    }

    #[test]
    fn no_table_and_no_column_of_a_store_is_forgotten() {
        let ours: Vec<_> = TABLES
            .iter()
            .map(|shape| {
                let columns = shape.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
                (shape.name.to_owned(), columns)
            })
            .collect();
        let (mut theirs, mut ours): (Vec<_>, Vec<(String, Vec<String>)>) = (of_sqlite(), ours);
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs);
    }
}
