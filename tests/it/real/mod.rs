//! The whole against real parts: servers and clients that others wrote, unmodified.
//!
//! `tests/run` installs them. A test that needs a part and cannot have it fails: what is skipped is not tested.
//!
//! What the parts cannot show: `ministack` checks neither the signature nor the expiry of a web-identity token, and
//! enforces a session policy on `AssumeRole` only. Signatures are therefore verified by `OpenBao`, against the live keys
//! of Tollgate's federation issuer, and session policies by `AssumeRole`, which sends the same ones.

mod actions;
mod aws;
mod aws_faults;
mod clients;
mod exec;
mod issuer;
mod sources;
mod syslog;
mod transit;
mod vault;
mod vault_limits;
