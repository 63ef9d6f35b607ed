//! Behaviour of the whole, through its real surfaces.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod agent;
#[cfg(test)]
mod alerts;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod bad_requests;
#[cfg(test)]
mod bad_tokens;
#[cfg(test)]
mod blocks;
#[cfg(test)]
mod blocks_api;
#[cfg(test)]
mod client_certificates;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod denials;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod graceful;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod issuers;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod listeners;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod lists_cli;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod module_order;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod network_cut;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod policy_matrix;
#[cfg(test)]
mod possession;
#[cfg(test)]
mod program;
mod proxies;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod real;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod renewals;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod runners;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sinks;
#[cfg(test)]
mod spiffe;
#[cfg(test)]
mod store_faults;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod threats;
#[cfg(test)]
mod token_endpoint;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod ttl;
#[cfg(test)]
mod whoami;
#[cfg(test)]
mod workload_api;
#[cfg(test)]
mod workload_cli;
