//! Lists for those whom policy lets look: decided page by page, recorded once per reading.

use super::{Broker, Denied, new_decision};
use crate::clock::random_bytes;
use crate::domain::OperationAsk;
use crate::identity::Evidence;
use crate::ledger::{Reading, Refused};

impl Broker {
    /// Decides whether whom `evidence` proves may read what `ask` means, and begins the reading, or goes on with the one
    /// that `cursor` belongs to.
    ///
    /// # Errors
    /// [`Denied`], recorded; `request_malformed` for a cursor of another reading.
    pub async fn read(
        &self,
        evidence: &Evidence,
        ask: &OperationAsk,
        cursor: Option<&str>,
    ) -> Result<Reading, Denied> {
        let decision = new_decision(&self.clock, random_bytes())?;
        let reading = match self.permit(decision, evidence, ask).await {
            Ok(permit) => match self.ledger.read(permit, ask, cursor).await {
                Ok(reading) => Ok(reading),
                Err((permit, refusal)) => {
                    self.refuse(decision, Refused::Operation(permit.judged()), refusal).await
                }
            },
            Err(refusal) => Err(refusal),
        };
        reading.map_err(|refusal| Denied { decision, refusal })
    }
}
