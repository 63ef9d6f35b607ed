//! `OpenMetrics` 1.0 (the specification of that name, sections "Text format" and "Exemplars"), made of the text format.
//!
//! The two differ in little: metadata name a counter without its `_total`, quotes are escaped in help texts, whole bounds
//! of buckets have a `.0`, no line is empty, exemplars follow their samples, and the end is told.

use std::collections::HashMap;
use std::fmt::Write;

/// Rewrites `text`, in the format 0.0.4; `exemplars` are by the series that they follow.
pub(super) fn open_metrics(text: &str, exemplars: &HashMap<String, String>) -> String {
    let mut open = String::with_capacity(text.len() + 128 * exemplars.len());
    for line in text.lines().filter(|line| !line.is_empty()) {
        // Writing to a string cannot fail.
        let _ = match line.strip_prefix("# ") {
            Some(metadata) => writeln!(open, "# {}", described(metadata)),
            None => writeln!(open, "{}{}", bounded(line), exemplar(line, exemplars)),
        };
    }
    open.push_str("# EOF\n");
    open
}

/// `HELP name text` or `TYPE name kind`.
fn described(metadata: &str) -> String {
    let mut words = metadata.splitn(3, ' ');
    let (what, name, text) = (words.next(), words.next().unwrap_or_default(), words.next());
    let name = name.strip_suffix("_total").unwrap_or(name);
    format!("{} {name} {}", what.unwrap_or_default(), text.unwrap_or_default().replace('"', "\\\""))
}

/// The sample with the bound of its bucket as a decimal number.
fn bounded(line: &str) -> String {
    let parts = line.split_once("le=\"").and_then(|(before, rest)| Some((before, rest.split_once('"')?)));
    match parts {
        Some((before, (bound, after))) if bound.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{before}le=\"{bound}.0\"{after}")
        }
        Some(_) | None => line.to_owned(),
    }
}

fn exemplar<'a>(line: &str, exemplars: &'a HashMap<String, String>) -> &'a str {
    let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
    exemplars.get(series).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_open_metrics_with_exemplars_on_the_lines_of_their_buckets() {
        let text = "# HELP a_total Some \"a\".\n# TYPE a_total counter\na_total{le_x=\"1\"} 3\n\n\
                    # HELP b Times.\n# TYPE b histogram\nb_bucket{x=\"/v1/{id}\",le=\"0.5\"} 1\n\
                    b_bucket{x=\"/v1/{id}\",le=\"1\"} 2\nb_bucket{x=\"/v1/{id}\",le=\"+Inf\"} 2\n\n";
        let series = "b_bucket{x=\"/v1/{id}\",le=\"1\"}".to_owned();
        let exemplars = HashMap::from([(series, " # {trace_id=\"0a\"} 0.75 3.250".to_owned())]);
        let open = "# HELP a Some \\\"a\\\".\n# TYPE a counter\na_total{le_x=\"1\"} 3\n# HELP b Times.\n\
                    # TYPE b histogram\nb_bucket{x=\"/v1/{id}\",le=\"0.5\"} 1\n\
                    b_bucket{x=\"/v1/{id}\",le=\"1.0\"} 2 # {trace_id=\"0a\"} 0.75 3.250\n\
                    b_bucket{x=\"/v1/{id}\",le=\"+Inf\"} 2\n# EOF\n";
        assert_eq!(open_metrics(text, &exemplars), open);
    }
}
