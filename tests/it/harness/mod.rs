//! A whole Tollgate for tests: configuration in a temporary folder, an issuer that really signs, a client of the HTTP API.

pub(crate) mod api;
pub(crate) mod book;
pub(crate) mod collector;
pub(crate) mod files;
pub(crate) mod issuer;
pub(crate) mod job_key;
pub(crate) mod mesh;
pub(crate) mod parts;
pub(crate) mod process;
pub(crate) mod property;
pub(crate) mod receiver;
pub(crate) mod replicas;
pub(crate) mod site;
pub(crate) mod source;
pub(crate) mod trust_domain;
pub(crate) mod wait;
pub(crate) mod workload;

pub(crate) use api::Api;
pub(crate) use issuer::Issuer;
pub(crate) use job_key::JobKey;
pub(crate) use process::Server;
pub(crate) use replicas::Replicas;
pub(crate) use site::Site;
pub(crate) use trust_domain::TrustDomain;
pub(crate) use workload::Workload;
