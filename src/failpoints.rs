//! Crash tests only: ends the process, as abruptly as a power cut, at a named point of the path.
//!
//! Without the feature `failpoints` the points compile to nothing, and this module is not there.

/// The variable that names the point, such as `after_mint`.
const VARIABLE: &str = "TOLLGATE_CRASH_AT";

/// Arms the point that the environment names.
pub fn arm() {
    let Some(point) = std::env::var(VARIABLE).ok().filter(|point| !point.is_empty()) else { return };
    if let Err(error) = fail::cfg_callback(point, || std::process::abort()) {
        tracing::error!(%error, "no such failpoint");
    }
}
