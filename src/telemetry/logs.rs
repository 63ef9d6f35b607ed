//! The log: people's format or JSON, on standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::prelude::*;

use super::TelemetryError;
use super::escape::{EscapingFmt, JsonLines};
use super::traces::Traces;

/// What is logged unless said otherwise.
pub const DEFAULT_FILTER: &str = "info";

/// The environment variable that the command line reads the filter from; this module reads no environment.
pub const FILTER_VARIABLE: &str = "TOLLGATE_LOG";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: one line, coloured on a terminal.
    Pretty,
    /// For machines: one JSON object per line.
    Json,
}

/// Starts logging to standard error, and making `traces`, for the rest of the process.
///
/// # Errors
/// [`TelemetryError::Filter`] or [`TelemetryError::Logs`].
pub fn init(format: Format, filter: &str, traces: Option<&Traces>) -> Result<(), TelemetryError> {
    let colours = io::stderr().is_terminal();
    dispatch(format, filter, io::stderr, colours, traces)?.try_init().map_err(TelemetryError::Logs)
}

fn dispatch<W>(
    format: Format,
    filter: &str,
    writer: W,
    colours: bool,
    traces: Option<&Traces>,
) -> Result<Dispatch, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(filter).map_err(TelemetryError::Filter)?;
    // Each of the two has its own filter: traces need spans that the log leaves out.
    let filter = filter.and(filter_fn(is_ours_or_coarse).with_max_level_hint(LevelFilter::TRACE));
    let registry = tracing_subscriber::registry().with(traces.map(Traces::layer));
    Ok(match format {
        Format::Pretty => {
            // Each value is escaped as it is written: the library escapes some of them, and line breaks in none.
            let fields = fmt::format::debug_fn(|writer, field, value| match field.name() {
                "message" => write!(EscapingFmt(writer), "{value:?}"),
                name => {
                    write!(writer, "{name}=")?;
                    write!(EscapingFmt(writer), "{value:?}")
                }
            });
            let layer = fmt::layer().with_writer(writer).with_ansi(colours);
            registry.with(layer.fmt_fields(fields.delimited(" ")).with_filter(filter)).into()
        }
        Format::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_current_span(false);
            registry.with(layer.with_writer(JsonLines(writer)).with_filter(filter)).into()
        }
    })
}

/// True for our own events, and for `info` and above of others: HTTP and cloud libraries put headers and bodies below it.
fn is_ours_or_coarse(metadata: &Metadata<'_>) -> bool {
    let crate_name = metadata.target().split("::").next();
    crate_name == Some("tollgate") || *metadata.level() <= LevelFilter::INFO
}

/// The log as it is by default, without traces, to nowhere.
#[cfg(test)]
pub(super) fn quiet() -> Dispatch {
    dispatch(Format::Json, DEFAULT_FILTER, io::sink, false, None).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, work: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let dispatch = dispatch(format, filter, move || writer.clone(), false, None).unwrap();
        tracing::dispatcher::with_default(&dispatch, work);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// A line break, a carriage return, ESC, NUL, DEL, a C1 sequence introducer, a line separator, a text override.
    const EVIL: &str = "a\nb\rc\u{1b}[2Jd\0e\u{7f}f\u{9b}g\u{2028}h\u{202e}i";

    fn log_evil_everywhere() {
        let error = io::Error::other(EVIL);
        let span = tracing::info_span!("step", evil = EVIL, shown = %EVIL);
        let _entered = span.enter();
        tracing::warn!(text = EVIL, shown = %EVIL, debugged = ?EVIL, error = &error as &dyn std::error::Error, "{EVIL}");
    }

    #[test]
    fn s_01_no_value_can_forge_a_line_or_drive_a_terminal() {
        for format in [Format::Pretty, Format::Json] {
            let text = logged(format, "info", log_evil_everywhere);
            let line = text.strip_suffix('\n').unwrap();
            let raw = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}');
            assert!(!line.contains(raw), "{format:?}: {line:?}");
            for value in ["text", "shown", "debugged", "error", "evil"] {
                assert!(line.contains(value), "{format:?}: {line}");
            }
        }
    }

    #[test]
    fn json_lines_keep_the_value() {
        let line = logged(Format::Json, "info", log_evil_everywhere);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&parsed["text"], &parsed["message"]), (&EVIL.into(), &EVIL.into()));
        assert_eq!(parsed["level"], "WARN");
        assert_eq!(parsed["spans"][0]["evil"], EVIL);
    }

    #[test]
    fn ordinary_text_stays_readable() {
        let line = logged(
            Format::Pretty,
            "info",
            || tracing::info!(role = %"deploy/größe", count = 3, "it's \"done\""),
        );
        assert!(line.ends_with("it's \"done\" role=deploy/größe count=3\n"), "{line}");
    }

    #[test]
    fn the_filter_comes_from_the_argument() {
        let work = || {
            tracing::debug!("quiet");
            tracing::info!("loud");
        };
        assert!(!logged(Format::Pretty, DEFAULT_FILTER, work).contains("quiet"));
        assert!(logged(Format::Pretty, "tollgate=debug", work).contains("quiet"));
        assert_eq!(logged(Format::Pretty, "off", work), "");
        assert!(matches!(init(Format::Json, "tollgate=loudest", None), Err(TelemetryError::Filter(_))));
    }

    #[test]
    fn s_01_what_dependencies_say_below_info_is_never_written() {
        let text = logged(Format::Json, "trace,h2=trace", || {
            tracing::trace!(target: "h2::codec", "dependency-trace");
            tracing::debug!(target: "tollgate_impostor", "dependency-debug");
            tracing::info!(target: "h2", "dependency-info");
            tracing::trace!("own-trace");
        });
        assert!(!text.contains("dependency-trace") && !text.contains("dependency-debug"), "{text}");
        assert!(text.contains("dependency-info") && text.contains("own-trace"), "{text}");
    }
}
