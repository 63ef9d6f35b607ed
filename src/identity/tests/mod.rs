//! Tokens that are really signed, against issuers that really answer.

mod authenticate;
mod fetching;
pub(super) mod harness;
pub(super) mod signer;
