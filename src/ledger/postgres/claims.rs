//! What serves once: tokens, each for one role, and proofs of possession.

use super::batch::Batch;
use super::held::Claim;
use crate::ledger::record::DecisionRow;
use crate::secret::Fingerprint;

/// Takes a proof for the decision `row`; false if another decision has it.
pub(super) fn claim(batch: &mut Batch, row: &DecisionRow, proof: &(Fingerprint, i64)) -> bool {
    claim_all(batch, row, std::slice::from_ref(proof), None)
}

/// Takes `tokens`, each until its time, all or none; false if another decision has one of them. Only a retry of the very
/// decision that took a token, `before`, may take it again.
pub(super) fn claim_all(
    batch: &mut Batch,
    row: &DecisionRow,
    tokens: &[(Fingerprint, i64)],
    before: Option<[u8; 16]>,
) -> bool {
    let now = batch.now();
    let is_free = |(token, _): &(Fingerprint, i64)| {
        let taken = batch.held.replay.get(token.as_bytes());
        taken.is_none_or(|claim| claim.expires <= now || before == Some(claim.decision))
    };
    if !tokens.iter().all(is_free) {
        return false;
    }
    for (token, expires) in tokens {
        let (tenant, decision) = (row.tenant.clone(), *row.id.as_bytes());
        batch.held.replay.put(*token.as_bytes(), Claim { tenant, decision, expires: *expires });
    }
    true
}
