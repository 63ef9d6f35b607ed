//! The modules' order is strict: each may use only those listed above it.

use std::collections::BTreeSet;

use crate::harness::files;

/// Top to bottom, as the crate's map lists them. Entries of one line may use each other.
const ORDER: &[&[&str]] = &[
    &["domain"],
    &["clock", "secret", "json", "causes", "failpoints"],
    &["net"],
    &["telemetry"],
    &["config"],
    &["signing"],
    &["identity"],
    &["facts"],
    &["policy"],
    &["ledger"],
    &["provider"],
    &["lease"],
    &["people"],
    &["broker"],
    &["http"],
    &["agent"],
    &["app"],
    &["demo"],
    &["cli"],
];

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&module))
}

/// Names after `crate::` in `text`, comments aside, also inside `use crate::{a, b::c}`.
fn used_modules(text: &str) -> BTreeSet<String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = lines.join("\n");
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => {
                used.insert(name(rest));
            }
            Some(list) => {
                let mut depth = 0usize;
                let mut at_start = true;
                for (i, c) in list.char_indices() {
                    if at_start && c.is_ascii_alphabetic() {
                        used.insert(name(&list[i..]));
                        at_start = false;
                    }
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_start = true,
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

#[test]
fn a_module_uses_only_those_above_it() {
    let root = files::root().join("src");
    let files = files::ending_with("rs", &root);
    assert!(files.len() > 20, "found only {} files", files.len());
    let mut broken = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        if matches!(module.as_str(), "main" | "lib" | "app" | "broker") {
            continue;
        }
        let own = rank(&module).unwrap_or_else(|| panic!("src/{module} is not in the order"));
        for used in used_modules(&std::fs::read_to_string(&file).unwrap()) {
            let allowed = used == module
                || rank(&used).is_none_or(|other| other < own)
                || ORDER[own].contains(&used.as_str());
            if !allowed {
                broken.push(format!("{} uses {used}", inside.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn finds_modules_in_every_form_of_use() {
    let used = used_modules("use crate::{domain::{A, b}, clock};\nlet x = crate::net::y();\n// crate::cli");
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["clock", "domain", "net"]);
}
