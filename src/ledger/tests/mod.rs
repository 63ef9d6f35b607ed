//! What is a store's own: opening, faults, secrets in the file, tampering; and servers that share a database.

mod events;
mod faults;
mod keys;
mod open;
mod postgres;
mod secrets;
pub(super) mod tamper;
