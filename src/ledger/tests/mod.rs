//! What is SQLite's own: opening, faults, secrets in the file, tampering, sizes.

mod events;
mod faults;
mod open;
mod secrets;
mod tamper;
