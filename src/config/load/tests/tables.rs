//! `targets/*.csv`.

use std::fmt::Write;

use super::{Tree, tree};
use crate::config::Problems;

fn table(text: &str) -> Tree {
    tree().file("targets/repos.csv", text)
}

#[test]
fn rows_are_found_by_role_and_key() {
    let config = table(
        "role,key,account,label.team\n# a remark\naws,1,123456789012,shop\naws,2,210987654321,\"a, b\"\n",
    )
    .clean();
    let table = &config.tables["repos"];
    assert_eq!(table.columns, ["account", "label.team"]);
    let row = table.row(&"aws".parse().unwrap(), "2").unwrap();
    assert_eq!(row.values["label.team"], "a, b");
    assert_eq!(row.line, 4);
    assert!(table.row(&"aws".parse().unwrap(), "3").is_none());
    assert!(table.row(&"api".parse().unwrap(), "1").is_none());
}

#[test]
fn headers_are_checked() {
    table("role,account\n").stops("missing_column", "targets/repos.csv:1");
    table("role,key,account,account\n").stops("column_twice", "targets/repos.csv:1 account");
    table("role,key,account,Account\n").stops("bad_column", "targets/repos.csv:1");
    table("role,key,account,label.\n").stops("bad_column", "targets/repos.csv:1");
    table("role,key,account,repository\n").stops("column_origin", "targets/repos.csv:1 repository");
    table("role,key,account,tenant\n").stops("column_origin", "targets/repos.csv:1 tenant");
}

#[test]
fn the_number_of_columns_is_bounded() {
    let columns: Vec<_> = (0..70).map(|number| format!("c{number}")).collect();
    table(&format!("role,key,account,{}\n", columns.join(",")))
        .stops("too_many_columns", "targets/repos.csv:1");
}

#[test]
fn rows_are_checked_with_their_line() {
    let row = |row: &str| table(&format!("role,key,account\naws,1,123456789012\n\n# remark\n{row}\n"));
    row("aws,1,123456789013").stops("row_twice", "targets/repos.csv:5 key");
    row("asw,2,123456789012").stops("unknown_role", "targets/repos.csv:5 role");
    row("aws,2,").stops("bad_cell", "targets/repos.csv:5 account");
    row("aws,,123456789012").stops("bad_cell", "targets/repos.csv:5 key");
    row("aws,2, 123456789012").stops("bad_cell", "targets/repos.csv:5 account");
    row("aws,2,\"1\n2\"").stops("bad_cell", "targets/repos.csv:5 account");
    row("aws,2").stops("cell_count", "targets/repos.csv:5");
    row("aws,2,123456789012,x").stops("cell_count", "targets/repos.csv:5");
    assert_eq!(row("asw,2,123456789012").one().fix, "did you mean `aws`?");
}

#[test]
fn refuses_what_is_not_text_and_goes_on() {
    let mut tree = table("");
    tree.files.insert("targets/repos.csv".into(), b"role,key,account\naws,\xff,1\naws,2,\n".to_vec());
    let problems = tree.load().unwrap_err();
    let found: Vec<_> = problems.iter().map(|problem| (problem.code, problem.line)).collect();
    assert_eq!(found, [("bad_csv", Some(2)), ("bad_cell", Some(3))]);
}

#[test]
fn the_number_of_problems_and_rows_is_bounded() {
    let bad = format!("role,key,account\n{}", "aws,1\n".repeat(1000));
    assert_eq!(table(&bad).load().unwrap_err().iter().count(), super::super::table::MAX_PROBLEMS + 1);

    let mut rows = String::from("role,key,account\n");
    for key in 0..=super::super::table::MAX_ROWS {
        writeln!(rows, "aws,{key},123456789012").unwrap();
    }
    let problems: Problems = table(&rows).load().unwrap_err();
    assert!(problems.iter().any(|problem| problem.code == "too_many_rows"));
}

#[test]
fn c_01_cells_fit_where_their_column_is_used() {
    let account = |cell: &str| table(&format!("role,key,account\naws,1,123456789012\naws,2,{cell}\n"));
    for bad in ["12345678901", "*", "{account}"] {
        account(bad).stops("bad_cell", "roles/aws.toml:8 aws.role_arn");
    }
    let whole = |cell: &str| {
        table(&format!("role,key,arn\naws,1,{cell}\n")).edit(
            "roles/aws.toml",
            "arn:aws:iam::{account}:role/deploy",
            "{arn}",
        )
    };
    whole("arn:aws:iam::123456789012:role/ci/deploy").clean();
    for bad in [
        "arn:aws:iam::123456789012:user/x",
        "arn:aws-cn:iam::123456789012:role/x",
        "arn:aws:iam::123456789012:role/{repository}",
    ] {
        whole(bad).stops("bad_cell", "roles/aws.toml:8 aws.role_arn");
    }
}
