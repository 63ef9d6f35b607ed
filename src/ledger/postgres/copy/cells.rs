//! One value of a row, in transit between two stores.

use rusqlite::types::{ToSql, ToSqlOutput};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::tables::{Holds, Shape};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Cell {
    /// The values of a row of PostgreSQL.
    pub(super) fn of_row(row: &PgRow, shape: &Shape) -> sqlx::Result<Vec<Self>> {
        let cell = |(at, (_, holds)): (usize, &(&str, Holds))| match holds {
            Holds::Int => row.try_get(at).map(Self::Int),
            Holds::Text => row.try_get(at).map(Self::Text),
            Holds::Bytes => row.try_get(at).map(Self::Bytes),
        };
        shape.columns.iter().enumerate().map(cell).collect()
    }

    /// The values of a row of SQLite.
    pub(super) fn of_sqlite(row: &rusqlite::Row<'_>, shape: &Shape) -> rusqlite::Result<Vec<Self>> {
        let cell = |(at, (_, holds)): (usize, &(&str, Holds))| match holds {
            Holds::Int => row.get(at).map(Self::Int),
            Holds::Text => row.get(at).map(Self::Text),
            Holds::Bytes => row.get(at).map(Self::Bytes),
        };
        shape.columns.iter().enumerate().map(cell).collect()
    }

    pub(super) const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => *value,
            Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => value.as_deref(),
            Self::Int(_) | Self::Bytes(_) => None,
        }
    }

    pub(super) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(value) => value.as_deref(),
            Self::Int(_) | Self::Text(_) => None,
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Int(value) => value.to_sql(),
            Self::Text(value) => value.to_sql(),
            Self::Bytes(value) => value.to_sql(),
        }
    }
}
