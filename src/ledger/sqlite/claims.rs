//! What serves once: tokens, each for one role, and proofs of possession.

use rusqlite::params;

use super::batch::Batch;
use crate::ledger::record::DecisionRow;
use crate::secret::Fingerprint;

/// Takes the token or the proof `key` for the decision `row` until `expires`, in one statement; false if another decision has
/// it. Only a retry of the very decision that took a token, `before`, may take it again.
pub(super) fn claim(
    batch: &Batch<'_>,
    row: &DecisionRow,
    (key, expires): &(Fingerprint, i64),
    before: Option<[u8; 16]>,
) -> rusqlite::Result<bool> {
    let taken = batch
        .sql(
            "INSERT INTO replay (key, tenant, decision, expires) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (key) DO UPDATE
                SET tenant = excluded.tenant, decision = excluded.decision, expires = excluded.expires
                WHERE replay.expires <= ?5 OR replay.decision = ?6",
        )?
        .execute(params![key.as_bytes(), row.tenant, row.id.as_bytes(), expires, batch.now(), before])?;
    Ok(taken == 1)
}

/// Takes `tokens`, all or none: what is refused for the runner's token does not use up the job's. Nobody writes between the
/// statements, which are of one transaction of the store's one writer.
pub(super) fn claim_all(
    batch: &Batch<'_>,
    row: &DecisionRow,
    tokens: &[(Fingerprint, i64)],
    before: Option<[u8; 16]>,
) -> rusqlite::Result<bool> {
    let Some((last, others)) = tokens.split_last() else { return Ok(true) };
    for (token, _) in others {
        if !is_free(batch, token, before)? {
            return Ok(false);
        }
    }
    if !claim(batch, row, last, before)? {
        return Ok(false);
    }
    for token in others {
        claim(batch, row, token, before)?;
    }
    Ok(true)
}

fn is_free(batch: &Batch<'_>, key: &Fingerprint, before: Option<[u8; 16]>) -> rusqlite::Result<bool> {
    let taken = batch
        .sql("SELECT 1 FROM replay WHERE key = ?1 AND expires > ?2 AND decision IS NOT ?3")?
        .exists(params![key.as_bytes(), batch.now(), before])?;
    Ok(!taken)
}
