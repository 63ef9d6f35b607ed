//! What is shipped for Prometheus and Grafana fits what Tollgate says, and the pages say it too.

mod exemplars;
mod pages;
mod prometheus;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use tollgate::telemetry::{METRICS, MetricKind};

use crate::harness::files::root;
use crate::harness::parts::program;

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs promtool in `deploy/`, with `input`; it must be content.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new(program("promtool"));
    command.args(arguments).current_dir(root().join("deploy"));
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    // It warns without failing.
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

/// The names in `text` that look like metrics of ours, as the table writes them.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let name = |c: char| c.is_ascii_lowercase() || c == '_';
    let found = text.match_indices("tollgate_").map(|(at, _)| {
        let name = text[at..].split(|c| !name(c)).next().unwrap();
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
        histogram.filter(|name| is_histogram(name)).unwrap_or(name).to_owned()
    });
    found.collect()
}

fn is_histogram(name: &str) -> bool {
    METRICS.iter().any(|metric| metric.name == name && matches!(metric.kind, MetricKind::Histogram(_)))
}

/// The dashboard's panels that show something.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    panels.iter().filter(|panel| panel["type"] != "row").cloned().collect()
}

/// Every query of the dashboard, as Grafana would send it.
fn dashboard_queries() -> Vec<String> {
    let panels = panels();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let sent = |expr: &str| expr.replace("$__rate_interval", "5m").replace("$instance", ".*");
    targets.map(|target| sent(target["expr"].as_str().unwrap())).collect()
}

#[test]
fn promtool_accepts_configuration_and_rules_and_the_alerts_do_what_their_tests_say() {
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts_test.yml"], "");
}

#[test]
fn every_alert_is_tested_both_ways() {
    let tests = read("deploy/alerts_test.yml");
    for alert in pages::alerts() {
        let quiet = format!("alertname: {alert} }}");
        let fires = format!("alertname: {alert}\n        exp_alerts: [{{");
        assert!(tests.contains(&quiet) && tests.contains(&fires), "{alert}");
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let known: BTreeSet<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    for file in ["deploy/alerts.yml", "deploy/alerts_test.yml", "deploy/grafana-dashboard.json"] {
        let used = metrics_in(&read(file));
        assert!(used.len() > 10, "{file}: {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let shown = metrics_in(&dashboard_queries().join("\n"));
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
}

#[test]
fn the_dashboard_is_one_that_grafana_loads() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    assert!(dashboard["title"].is_string() && dashboard["uid"].is_string());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: BTreeSet<_> =
        variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(variables, BTreeSet::from(["datasource", "instance"]));
    let all = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "an id is there twice");
    let mut taken = BTreeSet::new();
    for panel in all {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            assert!(
                (at("y")..at("y") + at("h")).all(|y| taken.insert((x, y))),
                "{} overlaps",
                panel["title"]
            );
        }
    }
    for panel in panels() {
        assert!(["timeseries", "stat"].contains(&panel["type"].as_str().unwrap()), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        let letters: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert!(!targets.is_empty() && letters.len() == targets.len(), "{panel}");
    }
}
