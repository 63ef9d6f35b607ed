//! The pages beside the README name things that exist.

use std::path::Path;

use super::blocks::text;
use crate::harness::files::{root, sources};

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_row_of_the_threat_model_names_a_test_of_its_id() {
    let code = sources();
    let model = read("docs/threat-model.md");
    let rows: Vec<Vec<&str>> = model
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| id"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    for row in rows {
        let [id, .., test] = row[..] else { panic!("{row:?}") };
        let (id, test) = (id.to_lowercase().replace('-', "_"), test.trim_matches('`'));
        assert!(test.starts_with(&format!("{id}_")), "{id}: {test}");
        assert!(code.contains(&format!("fn {test}(")), "there is no test {test}");
    }
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let anchor = |title: &str| -> String {
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        title
            .trim_start_matches(['#', ' '])
            .to_lowercase()
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    for page in [
        "README.md",
        "CHANGELOG.md",
        "docs/operations.md",
        "docs/threat-model.md",
        "docs/adding-a-provider.md",
    ] {
        let text = if page == "README.md" { text() } else { read(page) };
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let link = rest.split(')').next().unwrap();
            if link.starts_with("https://") {
                continue;
            }
            let (file, title) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(page).parent().unwrap();
            let target = if file.is_empty() { page.into() } else { folder.join(file) };
            let path = root().join(&target);
            assert!(path.exists(), "{page}: {link}");
            if !title.is_empty() {
                let linked = std::fs::read_to_string(path).unwrap();
                let found =
                    linked.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == title);
                assert!(found, "{page}: {link}");
            }
        }
    }
}
