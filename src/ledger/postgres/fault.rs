//! What an error of the database means for a batch.

use crate::ledger::error::Unavailable;

/// Kinds of errors, by what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another server came first, or two waited for each other: the batch runs again.
    Race,
    /// One record is refused: the others are recorded without it.
    Record,
    /// The session is gone, and with it what became of a commit under way: nobody is told that it succeeded.
    Broken,
    /// Nothing was recorded; the next batch tries again.
    Environment,
}

impl Fault {
    /// Reads an error (PostgreSQL's manual, appendix A).
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let Some(code) = code(error) else {
            return match error {
                sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::RowNotFound => Self::Record,
                _ => Self::Broken,
            };
        };
        match code.as_str() {
            // serialization_failure, deadlock_detected, unique_violation
            "40001" | "40P01" | "23505" => Self::Race,
            // Sessions that an operator, a shutdown or a crash ended, and connection exceptions.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Self::Broken,
            code if code.starts_with("08") => Self::Broken,
            // Integrity constraints and data exceptions.
            code if code.starts_with("23") || code.starts_with("22") => Self::Record,
            _ => Self::Environment,
        }
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

impl From<&sqlx::Error> for Unavailable {
    fn from(error: &sqlx::Error) -> Self {
        match (Fault::of(error), code(error).as_deref()) {
            (Fault::Broken, _) => Self::Broken(error.to_string()),
            // disk_full
            (_, Some("53100")) => Self::Full,
            // read_only_sql_transaction: a standby, or a server that an operator made read-only
            (_, Some("25006")) => Self::ReadOnly,
            // lock_not_available, query_canceled by its time limit
            (_, Some("55P03" | "57014")) => Self::Locked,
            // io_error
            (_, Some("58030")) => Self::Disk(error.to_string()),
            (_, _) => Self::Rejected(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_the_server_did_not_send_may_hide_a_commit() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(Fault::of(&lost), Fault::Broken);
        assert!(matches!(Unavailable::from(&lost), Unavailable::Broken(_)));
        let unreadable = sqlx::Error::Decode("not 16 bytes".into());
        assert_eq!(Fault::of(&unreadable), Fault::Record);
    }
}
