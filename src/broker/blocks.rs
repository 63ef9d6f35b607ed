//! Blocks, whoever sets them: an operator, a permitted identity, an alert, or an issuer's security event.

use std::sync::Arc;

use super::Broker;
use crate::domain::{BlockId, BlockSubject, Code, Refusal, TenantName};
use crate::ledger::{Block, BlocksSet, LedgerError, NewBlock, Once, Toll};

impl Broker {
    /// Sets blocks, all or none; runs to its end whoever hangs up.
    ///
    /// # Errors
    /// `blocks_full`, `store_unavailable`, `internal`.
    pub async fn block(
        self: &Arc<Self>,
        new: Vec<NewBlock>,
        once: Option<Once>,
    ) -> Result<BlocksSet, Refusal> {
        let broker = Arc::clone(self);
        for NewBlock { subject, by, tenant, .. } in &new {
            let tenant = tenant.as_ref().map(TenantName::as_str).unwrap_or_default();
            tracing::warn!(%subject, by, tenant, "a block is being set");
        }
        let setting = async move { broker.ledger.block(new, once).await };
        self.in_flight.spawn(setting).await.unwrap_or_else(|failed| {
            tracing::error!(%failed, "setting a block did not run to its end");
            Err(Refusal::new(Code::Internal, "setting the block failed"))
        })
    }

    /// Lifts a block; what it ended stays ended.
    ///
    /// # Errors
    /// `block_unknown` if none of that id is in force that `tenant` may lift; `store_unavailable`.
    pub async fn lift(&self, block: BlockId, tenant: Option<&TenantName>, by: String) -> Result<(), Refusal> {
        tracing::warn!(%block, by, "a block is being lifted");
        if self.ledger.lift_block(block, tenant, by).await? { Ok(()) } else { Err(unknown()) }
    }

    /// The blocks that `tenant` may see, newest first.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn blocks(&self, tenant: Option<&TenantName>, all: bool) -> Result<Vec<Block>, Refusal> {
        self.ledger.blocks(tenant, all).await.map_err(|error| unreadable(&error))
    }

    /// What a block on `subject` would be about now.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn toll_of_subject(
        &self,
        subject: &BlockSubject,
        tenant: Option<&TenantName>,
    ) -> Result<Toll, Refusal> {
        self.ledger.toll_of_subject(subject, tenant).await.map_err(|error| unreadable(&error))
    }

    /// A block that `tenant` may see, and what became of all that it was about.
    ///
    /// # Errors
    /// `block_unknown`, `store_unavailable`.
    pub async fn toll_of_block(
        &self,
        block: BlockId,
        tenant: Option<&TenantName>,
    ) -> Result<(Block, Toll), Refusal> {
        self.ledger
            .toll_of_block(block, tenant)
            .await
            .map_err(|error| unreadable(&error))?
            .ok_or_else(unknown)
    }
}

fn unknown() -> Refusal {
    Refusal::new(Code::BlockUnknown, "there is no such block in force")
}

fn unreadable(error: &LedgerError) -> Refusal {
    Refusal::new(Code::StoreUnavailable, "the ledger cannot be read").with_detail(error.to_string())
}
