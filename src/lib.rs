//! Tollgate: a broker of short-lived credentials.
//!
//! The modules are listed in the order in which they may use each other: a module uses only those above it.

pub mod domain;

pub mod clock;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod json;
pub mod net;
pub mod secret;
pub mod telemetry;

pub mod config;

pub mod signing;

pub mod identity;

pub mod facts;

pub mod policy;

pub mod ledger;

pub mod provider;

pub mod lease;

pub mod broker;

pub mod http;

pub mod app;

pub mod demo;

pub mod cli;
