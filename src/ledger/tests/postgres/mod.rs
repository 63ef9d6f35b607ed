//! What is PostgreSQL's own.

mod connection;
mod copy;
mod open;
mod proxy;
mod replicas;
mod tamper;
