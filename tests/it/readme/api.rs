//! The README's tables of the interface, compared with the code.

use std::path::Path;

use tollgate::domain::Code;

use super::blocks::text;

/// The rows of `| `code` | status | status `error` | cause |`.
fn documented() -> Vec<Vec<String>> {
    let text = text();
    let (_, table) = text.split_once("<!-- errors:").unwrap();
    let rows = table.lines().skip(3).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

/// What `src/http/error.rs` says, by its snapshot: code, status, status at the token endpoint, OAuth error.
fn coded() -> Vec<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/snapshots");
    let name = "tollgate__http__error__tests__every_code_has_a_status_an_oauth_error_a_cause_a_fix_and_a_next_command.snap";
    let snapshot = std::fs::read_to_string(folder.join(name)).unwrap();
    let (_, table) = snapshot.rsplit_once("---\n").unwrap();
    let rows = table.lines().filter(|line| !line.starts_with(' '));
    rows.map(|row| {
        let row = row.replace("; at /token ", " ").replace(": ", " ");
        row.split(' ').map(str::to_owned).collect()
    })
    .collect()
}

#[test]
fn the_error_table_lists_every_code_with_its_statuses_and_cause() {
    let expected: Vec<Vec<String>> = Code::ALL
        .iter()
        .zip(coded())
        .map(|(code, row)| {
            assert_eq!(row[0], code.as_str());
            let cause = code.explain().cause.to_owned();
            vec![row[0].clone(), row[1].clone(), format!("{} {}", row[2], row[3]), cause]
        })
        .collect();
    assert_eq!(documented(), expected);
}

#[test]
fn the_drawing_names_the_steps_of_the_code() {
    let text = text();
    let (_, drawing) = text.split_once("```\n").unwrap();
    let (first, _) = drawing.split_once('\n').unwrap();
    let steps: Vec<&str> = first.split('►').map(|step| step.trim_matches(|c| "─ ".contains(c))).collect();
    let spans =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry/span.rs")).unwrap();
    let (_, names) = spans.split_once("pub const fn as_str(self) -> &'static str {").unwrap();
    let (names, _) = names.split_once("}\n    }").unwrap();
    let coded: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
    assert_eq!(steps[1..steps.len() - 1], coded);
}
