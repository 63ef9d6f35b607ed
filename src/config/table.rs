//! `targets/*.csv`: reviewable tables that map verified attributes to a role's target.

use std::collections::{BTreeMap, HashMap};

use crate::domain::RoleName;

/// A target table: the columns `role` and `key`, then any number of value columns.
#[derive(Debug, Default)]
pub struct TargetTable {
    /// Its name: the file's stem.
    pub name: String,
    /// Value columns, in file order.
    pub columns: Vec<String>,
    /// Rows by role and key.
    pub rows: HashMap<RoleName, HashMap<String, Row>>,
}

/// One row's values by column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Column to value.
    pub values: BTreeMap<String, String>,
    /// Line in the file, from 1.
    pub line: u64,
}

impl TargetTable {
    /// The row of `role` for `key`, if the table has one.
    pub fn row(&self, role: &RoleName, key: &str) -> Option<&Row> {
        self.rows.get(role)?.get(key)
    }
}
