//! Workloads of SPIFFE trust domains, by JWT-SVID or X.509-SVID.
//!
//! The trust domain that an identity names selects the bundle that it is verified by, and nothing else does. The crate
//! `spiffe` knows ids and SVIDs, rustls verifies chains; ours is what neither has: what a leaf may be used for, and a
//! bundle document taken apart by use.

mod authorities;
mod bundle;
mod fetch;
mod path;
mod x509;

pub(super) use authorities::Authorities;
pub(super) use bundle::BundleError;
pub(super) use fetch::{BundleFetcher, BundlePlace};
pub(super) use path::{TEXT_OF_ID, facts, id};
pub(super) use x509::{X509Svid, is_bare_key};
