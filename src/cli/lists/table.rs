//! Entries of lists as two lines of at most 80 columns: what one acts on first, in the local time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Columns of a plain terminal.
const COLUMNS: usize = 80;
/// Columns of a principal beside a role.
const PRINCIPAL: usize = 44;

/// A lease, or an authorisation without one.
pub(in crate::cli) fn lease(entry: &Value, zone: &TimeZone) -> [String; 2] {
    let id = entry.get("lease").or_else(|| entry.get("decision"));
    let dies = entry.get("dies_at").or_else(|| entry.get("dies_by"));
    let (id, state) = (id.and_then(Value::as_str).unwrap_or_default(), text(entry, "state"));
    let word = if state == "ended" || state == "expired" { "died" } else { "dies" };
    let at = match entry.get("ended_at") {
        Some(ended) => local(ended.as_str(), zone),
        None => local(dies.and_then(Value::as_str), zone),
    };
    [clip(&format!("{id}  {state:<10}  {word} {at}"), COLUMNS), who(entry)]
}

/// A decision.
pub(in crate::cli) fn decision(entry: &Value, zone: &TimeZone) -> [String; 2] {
    let at = local(entry.get("at").and_then(Value::as_str), zone);
    let (operation, outcome) = (clip(text(entry, "operation"), 14), clip(text(entry, "outcome"), 20));
    let first = format!("{at}  {operation:<14}  {outcome:<20}  {}", text(entry, "role"));
    let second = format!("  {}  {}", text(entry, "decision"), text(entry, "principal"));
    [clip(&first, COLUMNS), clip(&second, COLUMNS)]
}

/// A record of the audit chain.
pub(in crate::cli) fn record(entry: &Value, zone: &TimeZone) -> [String; 2] {
    let at = local(entry.get("at").and_then(Value::as_str), zone);
    let role = text(entry, "role");
    let about = if role.is_empty() { text(entry, "operation") } else { role };
    let kind = clip(text(entry, "kind"), 14);
    let first = format!("{at}  {kind:<14}  {}  {about}", clip(text(entry, "result"), 20));
    let id = entry.get("lease").or_else(|| entry.get("decision")).and_then(Value::as_str).unwrap_or("-");
    let second = format!("  {id}  {}", text(entry, "principal"));
    [clip(&first, COLUMNS), clip(&second, COLUMNS)]
}

/// Role and principal.
fn who(entry: &Value) -> String {
    let principal = clip(text(entry, "principal"), PRINCIPAL);
    let role = clip(text(entry, "role"), COLUMNS - PRINCIPAL - 4);
    format!("  {role:<width$}  {principal}", width = COLUMNS - PRINCIPAL - 4)
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A time as the wall clock here shows it.
fn local(time: Option<&str>, zone: &TimeZone) -> String {
    match time.and_then(|time| time.parse::<Timestamp>().ok()) {
        Some(at) => zone.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "-".to_owned(),
    }
}

/// `text` within `columns`, with an ellipsis for what is cut off.
fn clip(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    #[test]
    fn a_lease_shows_its_whole_id_its_state_and_when_it_dies_here() {
        let entry = json!({
            "lease": "019cadfd-8900-7da0-b03f-0590c2ac6c55", "state": "live", "dies_at": "2026-03-02T10:15:00Z",
            "role": "deploy/production", "principal": "github:repository:1234",
        });
        let [first, second] = lease(&entry, &berlin());
        assert_eq!(first, "019cadfd-8900-7da0-b03f-0590c2ac6c55  live        dies 2026-03-02 11:15:00");
        assert_eq!(second, "  deploy/production                 github:repository:1234");
        let mut ended = entry;
        ended["state"] = json!("ended");
        ended["ended_at"] = json!("2026-03-02T10:01:00Z");
        assert!(lease(&ended, &berlin())[0].ends_with("ended       died 2026-03-02 11:01:00"));
    }

    #[test]
    fn no_line_is_wider_than_a_plain_terminal() {
        let long = "x".repeat(200);
        let id = "019cadfd-8900-7da0-b03f-0590c2ac6c55";
        let entry = json!({
            "lease": id, "decision": id, "state": "superseded", "dies_at": "2026-03-02T10:15:00Z", "at":
            "2026-03-02T10:15:00Z", "role": long, "principal": long, "operation": long, "outcome": long,
            "kind": long, "result": long,
        });
        for lines in [lease, decision, record] {
            for line in lines(&entry, &berlin()) {
                assert!(line.chars().count() <= COLUMNS, "{line}");
            }
        }
    }
}
