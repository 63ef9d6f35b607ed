//! The seals of what was pruned, read before the chains: each must be signed by a checkpoint key of this store.

use rusqlite::Connection;

use super::{At, FindingKind, Report};
use crate::ledger::error::LedgerError;
use crate::ledger::seal::{self, Seals};
use crate::ledger::sqlite::queries::stored_keys;
use crate::signing::Purpose;

/// The genuine ones; `store` is the store's id, hex.
pub(super) fn load(connection: &Connection, store: &str, report: &mut Report) -> Result<Seals, LedgerError> {
    let keys: Vec<String> = stored_keys(connection)?
        .into_iter()
        .filter(|key| key.purpose == Purpose::Checkpoints.as_str())
        .map(|key| key.public_jwk)
        .collect();
    let mut seals = Seals::default();
    let mut select =
        connection.prepare("SELECT writer, seq, subject, body FROM audit WHERE kind = 'sealed'")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (at, subject) = (At::record(row.get(0)?, row.get(1)?), row.get::<_, Vec<u8>>(2)?);
        let body: Option<String> = row.get(3)?;
        match seal::open(body.as_deref().unwrap_or_default(), store, &keys) {
            Ok(seal) if subject == seal.writer.to_be_bytes() => seals.add(seal),
            Ok(_) => report.find(FindingKind::Changed, at, "its seal is of another chain"),
            Err(why) => report.find(FindingKind::Signature, at, format!("its seal is not genuine: {why}")),
        }
    }
    let gone = seals.iter().map(|seal| u64::try_from(seal.last).unwrap_or(0));
    report.pruned = gone.sum();
    Ok(seals)
}
