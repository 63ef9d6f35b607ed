//! What is SQLite's own: opening, faults, secrets in the file, tampering, sizes.

mod events;
mod faults;
mod keys;
mod open;
mod secrets;
mod tamper;
