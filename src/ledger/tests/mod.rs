//! What is SQLite's own: opening, faults, secrets in the file, tampering, sizes.

mod events;
mod faults;
mod open;
mod secrets;
mod size;
mod tamper;
