//! `GET /metrics`: the Prometheus text format, or `OpenMetrics` for one who asks for it while there are exemplars to tell.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::http::Context;

/// The media type of `OpenMetrics`.
const OPEN_METRICS: &str = "application/openmetrics-text";

pub(super) async fn get(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let exposed = (context.metrics)(takes_open_metrics(&headers));
    ([(CONTENT_TYPE, exposed.content_type)], exposed.text).into_response()
}

/// True if `Accept` names `OpenMetrics` 1.0, or `OpenMetrics` without a version, and does not refuse it (RFC 9110, section
/// 12.5.1).
fn takes_open_metrics(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(OPEN_METRICS));
        let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let says = |name: &str| {
            let said = parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            said.map(|(_, value)| value.trim_matches('"'))
        };
        let is_refused = says("q").is_some_and(|weight| weight.parse() == Ok(0.0));
        named && !is_refused && says("version").is_none_or(|version| version == "1.0.0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_name_its_version() {
        let takes =
            |accept: &str| takes_open_metrics(&HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]));
        // What Prometheus 2.42 asks for.
        assert!(takes(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ));
        assert!(takes("text/plain, Application/OpenMetrics-Text; charset=utf-8"));
        for other in [
            "*/*",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-texts",
        ] {
            assert!(!takes(other), "{other}");
        }
        assert!(!takes_open_metrics(&HeaderMap::new()));
    }
}
