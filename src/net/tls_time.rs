//! The time that TLS goes by: that of the injected clock.

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use super::unix_time;
use crate::clock::Clock;

/// The time of a handshake, and of what TLS remembers of it.
#[derive(Debug)]
pub struct TlsTime(pub Clock);

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}
