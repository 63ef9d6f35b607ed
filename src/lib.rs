//! Tollgate: a broker of short-lived credentials. It proves who asks, lets policy decide, and mints only what was granted.
//!
//! This is the map of the crate. A module may use those above it only; a test reads the imports and fails otherwise.
//!
//! - [`domain`]: the words of the project, as types that cannot hold an invalid value
//! - [`clock`], [`secret`], [`json`], [`causes`]: time and randomness; values that do not print; JSON without
//!   duplicate keys; errors told with their causes
//! - [`net`]: the one HTTP client, with caps and address rules
//! - [`telemetry`]: logs and metrics
//! - [`config`]: files straight into domain types, every problem at once
//! - [`signing`]: the keys that Tollgate signs with
//! - [`identity`]: who asks: tokens verified, read and admitted
//! - [`facts`]: what policy sees, each key with one origin
//! - [`policy`]: what Rego decides, within core's bounds
//! - [`ledger`]: the durable record of authorisations and leases, and its audit chain
//! - [`provider`]: what plans, mints and ends credentials
//! - [`lease`]: ending what should no longer live, and finding what a crash left
//! - [`broker`]: the path of a request, step by step
//! - [`http`]: the surface in front of the broker
//! - [`app`]: the composition root, which joins all of this into a running server
//! - [`demo`]: a whole Tollgate in one process, for trying it out
//! - [`cli`]: the command line

pub mod domain;

pub mod causes;
pub mod clock;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod json;
pub mod secret;

pub mod net;

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
