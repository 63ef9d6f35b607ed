//! Traces as the configuration wants them.

use std::time::Duration;

use super::StartError;
use crate::config::{OtlpSettings, Settings};
use crate::net::Rules;
use crate::telemetry::{TraceOptions, Traces};

/// Longest that a collector may take for one batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer of a collector, bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Starts traces, if the settings want them. Part of the start that comes before everything else, so that nothing is
/// missing from them.
///
/// # Errors
/// [`StartError::CaFile`], [`StartError::Traces`].
pub fn traces(settings: &Settings) -> Result<Option<Traces>, StartError> {
    settings.telemetry.otlp.as_ref().map(start).transpose()
}

fn start(otlp: &OtlpSettings) -> Result<Traces, StartError> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| StartError::CaFile { path: path.clone(), source })
    };
    let rules = Rules {
        allow_networks: otlp.allow_networks.clone(),
        insecure_loopback: otlp.insecure_loopback,
        extra_roots: otlp.ca_file.as_ref().map(read).transpose()?,
        timeout: TIMEOUT,
        max_bytes: MAX_ANSWER,
    };
    let (endpoint, headers) = (otlp.endpoint.clone(), otlp.headers.clone());
    Traces::start(TraceOptions { endpoint, headers, rules, sample: otlp.sample }).map_err(StartError::Traces)
}
