//! A server that proves who it is by its host name, towards a client that proves itself too.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;

use super::{NetError, TlsTime, roots};
use crate::causes;
use crate::clock::Clock;

/// TLS to servers that the platform's authorities vouch for, or those in `extra`, at the time of `clock`.
pub(super) fn tls(extra: Option<&[u8]>, clock: &Clock) -> Result<ClientConfig, NetError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(TlsTime(clock.clone())))
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError::Setup(causes::in_full(&error)))?;
    Ok(builder.with_root_certificates(roots::store(extra)?).with_no_client_auth())
}
