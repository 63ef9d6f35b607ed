//! The words of the project as types: each is parsed once, at the edge, and cannot hold an invalid value afterwards.
//!
//! Nothing here does I/O, reads a clock or knows a protocol.

mod ask;
mod block;
mod code;
mod credential;
mod id;
mod issuer_url;
mod name;
mod operation;
mod outcome;
mod principal;
mod refusal;
mod scalar;
mod spelling;
mod text;
mod thumbprint;
mod trace_parent;
mod trust;
mod ttl;

pub use ask::{Ask, IdempotencyKey, InvalidIdempotencyKey};
pub use block::{BlockKind, BlockReason, BlockSubject, BlockTime, BlockValue, InvalidBlock};
pub use code::{Code, Explanation};
pub use credential::{AwsKeys, Credential, Handle, Minted, Prolonged, Renewal, Revocability, Window};
pub use id::{BlockId, DecisionId, InvalidId, LeaseId};
pub use issuer_url::{InvalidIssuerUrl, IssuerUrl};
pub use name::{
    AttributeName, FactKey, InvalidName, IssuerName, PackageName, RoleName, ScopeName, TargetName, TenantName,
};
pub use operation::{Operation, OperationAsk, Tenants, UnknownOperation};
pub use outcome::{OutcomeName, UnknownOutcome};
pub use principal::{InvalidPrincipal, PrincipalKey};
pub use refusal::{Reason, Refusal};
pub use scalar::Scalar;
pub use spelling::nearest;
pub use text::deceives;
pub use thumbprint::{InvalidThumbprint, Thumbprint};
pub use trace_parent::{InvalidTraceParent, TraceParent};
pub use trust::Trust;
pub use ttl::{InvalidTtl, Ttl};
