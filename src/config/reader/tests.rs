use super::*;
use crate::config::problem::Problem;
use proptest::prelude::*;

/// What `read` records about `text`.
fn problems(text: &str, read: impl FnOnce(&mut Reader<'_>)) -> Vec<Problem> {
    let mut problems = Problems::default();
    read_file(Path::new("x.toml"), text.as_bytes(), &Overlay::default(), &mut problems, |r| {
        read(r);
        Some(())
    });
    problems.iter().cloned().collect()
}

fn one(text: &str, read: impl FnOnce(&mut Reader<'_>)) -> Problem {
    let all = problems(text, read);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

#[test]
fn a_missing_key_is_told_at_its_table() {
    let problem = one("a = 1\n[t]\nb = 2\n", |r| {
        r.integer::<i64>("a", "a number", &(0..=9));
        r.section("t", "a table", |r| {
            r.integer::<i64>("b", "a number", &(0..=9));
            r.required::<String>("c", "text");
        });
    });
    assert_eq!((problem.code, problem.line, problem.key.as_str()), ("missing_key", Some(2), "t.c"));
}

#[test]
fn every_key_nobody_asked_for_is_told_in_every_table() {
    let all = problems("z = 1\n[t]\ny = 2\n[[u]]\n", |r| {
        r.section("t", "a table", |r| r.flag("x"));
    });
    let found: Vec<_> =
        all.iter().map(|problem| (problem.code, problem.line, problem.key.as_str())).collect();
    let unknown = "unknown_key";
    assert_eq!(found, [(unknown, Some(3), "t.y"), (unknown, Some(4), "u"), (unknown, Some(1), "z")]);
}

#[test]
fn wrong_types_name_what_is_there_and_what_should_be() {
    for (text, found) in [
        ("a = 1", "a whole number"),
        ("a = 1.5", "a number with a fraction"),
        ("a = []", "a list"),
        ("a = {}", "a table"),
    ] {
        let problem = one(text, |r| {
            r.optional::<String>("a", "a word");
        });
        assert_eq!(problem.message, format!("this is {found}; it must be text"));
        assert_eq!(problem.fix, "write a word");
    }
}

#[test]
fn numbers_are_read_in_every_notation_and_never_wrap() {
    let read = |text: &str| {
        let mut number = None;
        let found = problems(text, |r| number = r.integer::<u32>("a", "a number", &(0..=1000)));
        (number, found.len())
    };
    assert_eq!(read("a = 1_000"), (Some(1000), 0));
    assert_eq!(read("a = 0xff"), (Some(255), 0));
    assert_eq!(read("a = -1"), (None, 1));
    assert_eq!(read("a = 99999999999999999999"), (None, 1));
}

#[test]
fn long_lists_and_tables_are_refused() {
    let list = format!("a = [{}]", "1,".repeat(MAX_ENTRIES + 1));
    assert_eq!(one(&list, |r| drop(r.list::<String>("a", "texts"))).code, "too_many");
    let entries: Vec<_> = (0..=MAX_ENTRIES).map(|number| format!("k{number} = 1")).collect();
    let table = format!("[a]\n{}", entries.join("\n"));
    let problem = one(&table, |r| drop(r.map("a", "a table", |_: &String, field| field.boolean())));
    assert_eq!(problem.code, "too_many");
}

#[test]
fn values_are_quoted_only_if_they_look_like_names() {
    assert_eq!(quoted("deploy/production"), "`deploy/production`");
    for text in ["", "user:pass@host", "a b", "a\u{1b}[31m", "s3cr=t"] {
        assert_eq!(quoted(text), "this value", "{text:?}");
    }
}

#[test]
fn odd_keys_are_shown_without_control_characters() {
    let problem = one("\"a\\u001b[31m b\" = 1", |_| {});
    assert_eq!(problem.key, "\"a\\u{1b}[31m b\"");
}

proptest! {
    #[test]
    fn never_panics_and_never_leaves_a_key_unmentioned(text in "[a-c\\[\\]{}=\", \n0-9.#']{0,60}") {
        let mut problems = Problems::default();
        let mut keys = 0;
        let read = read_file(Path::new("x"), text.as_bytes(), &Overlay::default(), &mut problems, |r| {
            keys = r.table.map_or(0, DeTable::len);
            Some(())
        });
        if read.is_some() {
            prop_assert_eq!(problems.iter().count(), keys);
        } else {
            prop_assert!(problems.stop_the_load());
        }
    }
}
