//! A whole Tollgate for tests: configuration in a temporary folder, an issuer that really signs, a client of the HTTP API.

pub(crate) mod api;
pub(crate) mod bao;
pub(crate) mod book;
pub(crate) mod files;
pub(crate) mod issuer;
pub(crate) mod process;
pub(crate) mod property;
pub(crate) mod site;
pub(crate) mod source;

pub(crate) use api::Api;
pub(crate) use bao::Bao;
pub(crate) use issuer::Issuer;
pub(crate) use process::Server;
pub(crate) use site::Site;
