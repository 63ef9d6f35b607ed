//! The path of a request for anything else than a credential: authenticate, gather, decide, record.

use super::{Broker, Denied, new_decision};
use crate::clock::random_bytes;
use crate::domain::{DecisionId, OperationAsk, Refusal};
use crate::identity::Evidence;
use crate::ledger::{AskedFor, Permitted, Refused};
use crate::policy::{Permit, Verdict};

impl Broker {
    /// Decides whether the identity that `evidence` proves may do what `ask` says, and records the decision. Does nothing else: what
    /// is permitted is done with what this gives.
    ///
    /// # Errors
    /// [`Denied`], recorded: `not_allowed` for an operation that no package decides; `proof_replayed`.
    pub async fn operate(&self, evidence: &Evidence, ask: &OperationAsk) -> Result<Permitted, Denied> {
        let decision = new_decision(&self.clock, random_bytes())?;
        let permitted = match self.permit(decision, evidence, ask).await {
            Ok(permit) => match self.ledger.note_permit(permit).await {
                Ok(permitted) => Ok(permitted),
                Err((permit, refusal)) => {
                    self.refuse(decision, Refused::Operation(permit.judged()), refusal).await
                }
            },
            Err(refusal) => Err(refusal),
        };
        permitted.map_err(|refusal| Denied { decision, refusal })
    }

    /// The part that only decides; a refusal is recorded, a permit is not yet.
    pub(super) async fn permit(
        &self,
        decision: DecisionId,
        evidence: &Evidence,
        ask: &OperationAsk,
    ) -> Result<Permit, Refusal> {
        let loaded = self.loaded();
        let caller = match loaded.identity.authenticate(evidence).await {
            Ok(caller) => caller,
            Err(refusal) => {
                let who = Refused::Unidentified { source_ip: ask.source_ip };
                return self.refuse(decision, who, refusal).await;
            }
        };
        let (asked, configuration) = (AskedFor::Operation(ask.operation), loaded.config.revision);
        if let Err(refusal) = self.limiter.operation(caller.principal()) {
            let who = Refused::Identified { caller: &caller, asked, configuration };
            return self.refuse(decision, who, refusal).await;
        }
        if let Some(refusal) = self.ledger.blocked_operator(&caller) {
            let who = Refused::Identified { caller: &caller, asked, configuration };
            return self.refuse(decision, who, refusal).await;
        }
        // Policy decides operations on who asks alone. What is shown of a runner has to be right all the same.
        if let Err(refusal) = loaded.identity.prove_runner(evidence.of_runner(), &caller).await {
            let who = Refused::Identified { caller: &caller, asked, configuration };
            return self.refuse(decision, who, refusal).await;
        }
        let facts = match loaded.gatherer.gather_operation(caller, ask, decision) {
            Ok(facts) => facts,
            Err(failed) => {
                let who = Refused::Identified { caller: &failed.caller, asked, configuration };
                return self.refuse(decision, who, failed.refusal).await;
            }
        };
        match loaded.policy.permit(facts) {
            Verdict::Permit(permit) => Ok(permit),
            Verdict::Deny(judged, refusal) => {
                self.refuse(decision, Refused::Operation(&judged), refusal).await
            }
        }
    }
}
