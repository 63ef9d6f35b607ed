//! Blocks over the administration socket: whoever runs the server may set them in every tenant.

use serde::{Deserialize, Serialize};

use super::{AdminAnswer, Core};
use crate::domain::{BlockId, BlockReason, BlockSubject, BlockTime, Code, Refusal, TenantName};
use crate::ledger::{Block, BlocksSet, NewBlock, Toll};

/// What can be asked about blocks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "block", rename_all = "snake_case")]
pub enum BlockRequest {
    /// Set a block.
    Set {
        /// What it stops.
        subject: BlockSubject,
        /// Where; absent means in every tenant.
        tenant: Option<TenantName>,
        /// Why.
        reason: BlockReason,
        /// How long; absent means until it is lifted.
        lasts: Option<BlockTime>,
    },
    /// Say what a block would be about.
    Preview {
        /// What it would stop.
        subject: BlockSubject,
        /// Where; absent means in every tenant.
        tenant: Option<TenantName>,
    },
    /// List the blocks.
    List {
        /// Also those that are over.
        all: bool,
    },
    /// Say what became of what a block was about.
    Status {
        /// The block.
        id: BlockId,
    },
    /// Lift a block.
    Lift {
        /// The block.
        id: BlockId,
    },
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "block", rename_all = "snake_case")]
pub enum BlockAnswer {
    /// The block is in force.
    Set {
        /// Its id.
        id: BlockId,
    },
    /// The account of a block that would be.
    Preview {
        /// What it would be about.
        toll: Box<Toll>,
    },
    /// The account of a block.
    Status {
        /// The block.
        set: Box<Block>,
        /// What it was about.
        toll: Box<Toll>,
    },
    /// The blocks.
    List {
        /// Newest first.
        blocks: Vec<Block>,
    },
    /// The block is lifted.
    Lifted,
}

impl Core {
    /// Answers a request of the user `uid`.
    pub(super) async fn administer_blocks(&self, request: BlockRequest, uid: u32) -> AdminAnswer {
        match self.blocks(request, format!("user {uid} of the broker's machine")).await {
            Ok(answer) => AdminAnswer::Block(Box::new(answer)),
            Err(Refusal { code, message, detail, .. }) => {
                let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
                AdminAnswer::Failed { message: format!("{code}: {message}{detail}") }
            }
        }
    }

    async fn blocks(&self, request: BlockRequest, by: String) -> Result<BlockAnswer, Refusal> {
        match request {
            BlockRequest::Set { subject, tenant, reason, lasts } => {
                let lasts = lasts.map(BlockTime::as_duration);
                let new = NewBlock { tenant, subject, reason, by, lasts };
                match self.broker.block(vec![new], None).await? {
                    BlocksSet::InForce(ids) => {
                        let id = ids.first().copied();
                        id.map(|id| BlockAnswer::Set { id }).ok_or_else(nothing_set)
                    }
                    BlocksSet::SeenBefore => Err(nothing_set()),
                }
            }
            BlockRequest::Preview { subject, tenant } => {
                let toll = self.broker.toll_of_subject(&subject, tenant.as_ref()).await?;
                Ok(BlockAnswer::Preview { toll: Box::new(toll) })
            }
            BlockRequest::List { all } => {
                Ok(BlockAnswer::List { blocks: self.broker.blocks(None, all).await? })
            }
            BlockRequest::Status { id } => {
                let (set, toll) = self.broker.toll_of_block(id, None).await?;
                Ok(BlockAnswer::Status { set: Box::new(set), toll: Box::new(toll) })
            }
            BlockRequest::Lift { id } => self.broker.lift(id, None, by).await.map(|()| BlockAnswer::Lifted),
        }
    }
}

fn nothing_set() -> Refusal {
    Refusal::new(Code::Internal, "no block was set")
}
