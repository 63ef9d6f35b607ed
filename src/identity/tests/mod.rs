//! Tokens that are really signed, against issuers that really answer.

mod authenticate;
mod endpoint;
mod fetching;
pub(super) mod harness;
pub(super) mod signer;
mod spiffe;
pub(in crate::identity) mod svid;
