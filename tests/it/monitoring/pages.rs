//! `docs/operations.md` lists every metric and every alert.

use tollgate::telemetry::METRICS;

use super::read;

/// The names of the shipped alerts.
pub(super) fn alerts() -> Vec<String> {
    let rules = read("deploy/alerts.yml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(ToOwned::to_owned).collect()
}

/// The rows of the table under `title`, without its head.
fn rows(title: &str) -> Vec<String> {
    let page = read("docs/operations.md");
    let (_, section) = page.split_once(&format!("\n## {title}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section.lines().filter(|line| line.starts_with("| `")).map(ToOwned::to_owned).collect()
}

#[test]
fn the_page_lists_every_metric_as_the_code_has_it() {
    let of_code = METRICS.iter().map(|metric| {
        let labels = metric.labels.join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        format!("| `{}{labels}` | {} | {} |", metric.name, metric.kind.as_str(), metric.help)
    });
    assert_eq!(rows("Metrics"), of_code.collect::<Vec<_>>());
}

#[test]
fn the_page_says_for_each_alert_what_to_do() {
    let rows = rows("Alerts");
    let named: Vec<_> = rows.iter().map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
    assert_eq!(named, alerts());
    for row in rows {
        assert!(row.split('|').nth(2).unwrap().trim().len() > 20, "{row}");
    }
}
