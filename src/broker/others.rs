//! Leases and decisions of others, for those whom policy lets look and end. Whoever it does not gets the answer of a
//! thing that is not there.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Broker, Denied};
use crate::domain::{Code, LeaseId, Operation, OperationAsk, Refusal};
use crate::identity::Evidence;
use crate::ledger::{Ending, LeaseEntry, Permitted};

impl Broker {
    /// A lease of the tenants within reach, by `lease.read`.
    ///
    /// # Errors
    /// A refusal of the evidence; `lease_unknown`, for an unknown lease and one out of reach alike; `store_unavailable`.
    pub async fn read_lease(
        &self,
        evidence: &Evidence,
        id: LeaseId,
        source_ip: Option<IpAddr>,
    ) -> Result<LeaseEntry, Refusal> {
        let permitted = self.reach_lease(Operation::LeaseRead, evidence, id, source_ip).await?;
        self.ledger.seen_lease(&permitted, id).await
    }

    /// Ends a lease of the tenants within reach, by `lease.end`. Runs to its end like an exchange; ending it again changes
    /// nothing, and one that another worker is ending is answered as it stands.
    ///
    /// # Errors
    /// As [`Self::read_lease`]; a `provider_*` code if the target did not confirm, which leaves the lease marked, and the
    /// sweep tries again.
    pub async fn end_lease_of_other(
        self: &Arc<Self>,
        evidence: Evidence,
        id: LeaseId,
        source_ip: Option<IpAddr>,
    ) -> Result<LeaseEntry, Refusal> {
        let broker = Arc::clone(self);
        let ending = async move {
            let permitted = broker.reach_lease(Operation::LeaseEnd, &evidence, id, source_ip).await?;
            match broker.ledger.begin_permitted_end(&permitted, id).await? {
                Ending::Settled(_) | Ending::Busy(_) => {}
                Ending::ToEnd(to_end, claim) => broker.end_at_target(to_end, claim).await?,
            }
            broker.ledger.seen_lease(&permitted, id).await
        };
        self.in_flight.spawn(ending).await.unwrap_or_else(|failed| {
            tracing::error!(lease = %id, %failed, "ending a lease did not run to its end");
            Err(Refusal::new(Code::Internal, "ending the lease failed"))
        })
    }

    async fn reach_lease(
        &self,
        operation: Operation,
        evidence: &Evidence,
        id: LeaseId,
        source_ip: Option<IpAddr>,
    ) -> Result<Permitted, Refusal> {
        let filter = [("lease", id.to_string())].into();
        let ask = OperationAsk { operation, tenant: None, filter, source_ip };
        let permitted = self.reach(evidence, &ask).await?;
        permitted.ok_or_else(|| Refusal::new(Code::LeaseUnknown, "there is no such lease within reach"))
    }

    /// What policy permits of `ask`; none if it does not, so that the answer is that of a thing which is not there.
    pub(super) async fn reach(
        &self,
        evidence: &Evidence,
        ask: &OperationAsk,
    ) -> Result<Option<Permitted>, Refusal> {
        if !self.loaded().policy.decides(ask.operation) {
            return Ok(None);
        }
        match self.operate(evidence, ask).await {
            Ok(permitted) => Ok(Some(permitted)),
            Err(Denied { refusal, .. }) if matches!(refusal.code, Code::NotAllowed | Code::PolicyDenied) => {
                Ok(None)
            }
            Err(Denied { refusal, .. }) => Err(refusal),
        }
    }
}
