//! `targets/*.csv`.

use std::collections::{BTreeSet, HashMap};

use csv::StringRecord;

use super::known::{self, Known};
use super::layout::Entry;
use crate::config::attributes::RESERVED_IDENTITY_KEYS;
use crate::config::problem::{Problem, Problems};
use crate::config::reader::quoted;
use crate::config::{Row, TargetTable};
use crate::domain::{AttributeName, RoleName};

/// Most rows of one table.
pub(super) const MAX_ROWS: usize = 100_000;

/// Most columns.
const MAX_COLUMNS: usize = 64;

/// Longest cell, in bytes: the longest ARN that AWS STS takes.
const MAX_CELL_BYTES: usize = 2048;

/// Most problems told of one table; a wrong separator would make one of every row.
pub(super) const MAX_PROBLEMS: usize = 100;

/// Reads one table.
pub(super) fn table(
    name: &str,
    entry: &Entry<'_>,
    known: &Known<'_>,
    problems: &mut Problems,
) -> Option<TargetTable> {
    let mut found = Found { entry, problems, count: 0 };
    let mut reader = csv::ReaderBuilder::new().flexible(true).comment(Some(b'#')).from_reader(entry.bytes);
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => {
            found.csv(&error);
            return None;
        }
    };
    let columns = header_columns(&header, known, &mut found)?;
    let mut table = TargetTable { name: name.to_owned(), columns: columns.values(), rows: HashMap::new() };
    let mut rows = 0;
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                found.csv(&error);
                continue;
            }
        };
        rows += 1;
        if rows > MAX_ROWS {
            let message = format!("the table has more than {MAX_ROWS} rows");
            found.add(line(entry.bytes, &record), "", "too_many_rows", &message, "split it by role");
            break;
        }
        add_row(&mut table, &columns, &record, known, &mut found);
        if found.count >= MAX_PROBLEMS {
            let message = format!("{MAX_PROBLEMS} problems are told; there may be more");
            found.add(line(entry.bytes, &record), "", "too_many_problems", &message, "mend these first");
            break;
        }
    }
    (found.count == 0).then_some(table)
}

/// The header's columns, in order.
struct Columns {
    names: Vec<String>,
    role: usize,
    key: usize,
}

impl Columns {
    fn values(&self) -> Vec<String> {
        let value = |(index, _): &(usize, &String)| *index != self.role && *index != self.key;
        self.names.iter().enumerate().filter(value).map(|(_, name)| name.clone()).collect()
    }
}

fn header_columns(header: &StringRecord, known: &Known<'_>, found: &mut Found<'_, '_>) -> Option<Columns> {
    let at = line(found.entry.bytes, header);
    let mut seen = BTreeSet::new();
    for name in header {
        if !seen.insert(name) {
            found.add(at, name, "column_twice", "two columns have this name", "rename or remove one");
        }
        let base = name.strip_prefix("label.").unwrap_or(name);
        if base.parse::<AttributeName>().is_err() {
            let message = format!("{} is not a column's name", quoted(name));
            found.add(at, "", "bad_column", &message, "write [a-z_][a-z0-9_]*, or label.NAME for a label");
        } else if matches!(name, "role" | "key") {
            // Consumed to find the row; no placeholder can name them.
        } else if known.has_attribute(name) || RESERVED_IDENTITY_KEYS.contains(&name) {
            let message = "identities have an attribute of this name; `{…}` would be ambiguous";
            found.add(
                at,
                name,
                "column_origin",
                message,
                &format!("rename it, to label.{name} if it is for readers"),
            );
        }
    }
    if header.len() > MAX_COLUMNS {
        let message = format!("the table has more than {MAX_COLUMNS} columns");
        found.add(at, "", "too_many_columns", &message, "split it");
    }
    let position = |wanted: &str| header.iter().position(|name| name == wanted);
    let (role, key) = (position("role"), position("key"));
    for (wanted, position) in [("role", role), ("key", key)] {
        if position.is_none() {
            let message = format!("there is no column `{wanted}`");
            found.add(at, "", "missing_column", &message, "begin the file with: role,key,…");
        }
    }
    let names = header.iter().map(str::to_owned).collect();
    (found.count == 0).then_some(Columns { names, role: role?, key: key? })
}

fn add_row(
    table: &mut TargetTable,
    columns: &Columns,
    record: &StringRecord,
    known: &Known<'_>,
    found: &mut Found<'_, '_>,
) {
    let at = line(found.entry.bytes, record);
    if record.len() != columns.names.len() {
        let message = format!("the row has {} cells, the header {}", record.len(), columns.names.len());
        return found.add(at, "", "cell_count", &message, "write one cell per column");
    }
    let mut row = Row { line: at, ..Row::default() };
    for (index, (name, cell)) in columns.names.iter().zip(record).enumerate() {
        if cell.is_empty()
            || cell.len() > MAX_CELL_BYTES
            || cell.trim() != cell
            || cell.contains(char::is_control)
        {
            let message = format!(
                "a cell has 1 to {MAX_CELL_BYTES} bytes, no space at its ends, and no control character"
            );
            return found.add(at, name, "bad_cell", &message, "write the value, or remove the row");
        }
        if index != columns.role && index != columns.key {
            row.values.insert(name.clone(), cell.to_owned());
        }
    }
    let (role, key) =
        (record.get(columns.role).unwrap_or_default(), record.get(columns.key).unwrap_or_default());
    let Some(role) = role.parse::<RoleName>().ok().filter(|role| known.roles.contains(role)) else {
        let message = format!("there is no role {}", quoted(role));
        let fix = known::fix(role, known.roles.iter().map(RoleName::as_str), "a role");
        return found.add(at, "role", "unknown_role", &message, &fix);
    };
    let rows = table.rows.entry(role).or_default();
    if let Some(earlier) = rows.get(key) {
        let message = format!("line {} has the same role and key", earlier.line);
        return found.add(at, "key", "row_twice", &message, "remove one of them");
    }
    rows.insert(key.to_owned(), row);
}

/// The line on which `record` begins; the reader's position still has blank lines and remarks before it.
fn line(bytes: &[u8], record: &StringRecord) -> u64 {
    let Some(position) = record.position() else { return 1 };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let lines = bytes.get(start..).unwrap_or_default().split(|byte| *byte == b'\n');
    let skipped = lines.take_while(|line| matches!(line, [] | [b'\r'] | [b'#', ..])).count();
    position.line() + skipped as u64
}

/// The problems of one table.
struct Found<'e, 'p> {
    entry: &'e Entry<'e>,
    problems: &'p mut Problems,
    count: usize,
}

impl Found<'_, '_> {
    fn add(&mut self, line: u64, key: &str, code: &'static str, message: &str, fix: &str) {
        self.count += 1;
        let problem = Problem::error(self.entry.path, code, message, fix);
        self.problems.push(Problem { line: usize::try_from(line).ok(), key: key.to_owned(), ..problem });
    }

    fn csv(&mut self, error: &csv::Error) {
        let line = error.position().map_or(1, csv::Position::line);
        self.add(line, "", "bad_csv", &error.to_string(), "save the table as CSV in UTF-8");
    }
}
