//! The guides of the README and of docs/operations.md, run as they are written: every shell block of a scenario in order, in one shell, with the files
//! that stand between them, against the real servers; and its tables, compared with the code.
//!
//! A fence's info string says what a block is for:
//! - `sh run=NAME` runs in the scenario NAME and must succeed, or end with `status=N`; `background` is a server, awaited.
//! - `sh norun=REASON` is for what cannot run here; the test lists these.
//! - any language with `run=NAME file=PATH` is written to PATH.
//! - `text run=NAME` holds what the block before it must print: each line, with `…` for anything.

mod api;
mod blocks;
mod ci;
mod deploy;
mod docs;
mod scenario;

use blocks::{Block, Kind};
use scenario::Scenario;

/// Scenarios that need a sandbox run its blocks first.
const SCENARIOS: [(&str, &[&str]); 11] = [
    ("demo", &["demo"]),
    ("policy", &["sandbox", "policy"]),
    ("runner", &["sandbox", "runner"]),
    ("mesh", &["sandbox", "mesh"]),
    ("operator", &["sandbox", "operator"]),
    ("aws", &["sandbox", "aws"]),
    ("vault", &["sandbox", "vault"]),
    ("possession", &["sandbox", "possession"]),
    ("spire", &["sandbox", "spire"]),
    ("on call", &["sandbox"]),
    ("replicas", &["sandbox", "replicas"]),
];

fn scenario(name: &'static str) -> Scenario {
    let (_, parts) = SCENARIOS.iter().find(|(known, _)| *known == name).unwrap();
    let all = blocks::all();
    let blocks = parts.iter().flat_map(|part| all.iter().filter(move |block| block.scenario() == Some(part)));
    Scenario::new(name, blocks.cloned().collect())
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let known: Vec<&str> = SCENARIOS.iter().flat_map(|(_, parts)| parts.iter().copied()).collect();
    for Block { kind, page, line, .. } in &blocks::all() {
        match kind {
            Kind::Run { scenario, .. } | Kind::File { scenario, .. } | Kind::Output { scenario } => {
                assert!(known.contains(&scenario.as_str()), "{page}:{line}: no scenario {scenario}");
            }
            Kind::NotRun(why) => println!("{page}:{line} is not run: {why}"),
            Kind::Drawing => {}
        }
    }
}

#[test]
fn the_demo_and_the_token_endpoint() {
    scenario("demo").run();
}

#[test]
fn first_policy_work() {
    scenario("policy").run();
}

#[test]
fn the_runner_proved_beside_the_job() {
    scenario("runner").run();
}

#[test]
fn a_workload_by_the_certificate_of_its_mesh() {
    scenario("mesh").run();
}

#[test]
fn a_stolen_token_is_of_no_use() {
    scenario("possession").run();
}

#[test]
fn workloads_with_an_svid() {
    let mut scenario = scenario("spire");
    scenario.start_agent();
    scenario.run();
}

#[test]
fn what_an_operator_does() {
    scenario("operator").run();
}

#[test]
fn two_replicas_from_an_empty_database_to_a_restored_backup_a_stolen_key_and_a_block() {
    let mut scenario = scenario("replicas");
    scenario.start_postgres();
    scenario.run();
}

#[test]
fn aws_from_trust_policy_to_job() {
    let mut scenario = scenario("aws");
    scenario.start_aws();
    scenario.start_github_runner();
    let steps = ci::commands(scenario.file(".github/workflows/publish.yml"), "github");
    let job = format!("export ACCOUNT=000000000000\nmkdir src\n{}", steps.join("\n"));
    scenario.then(&job);
    scenario.run();
}

#[test]
fn vault_from_auth_method_to_job() {
    let mut scenario = scenario("vault");
    scenario.start_vault();
    let script = ci::commands(scenario.file(".gitlab-ci.yml"), "gitlab");
    let token = "$(tollgate demo token --audience \"$TOLLGATE_URL\")";
    scenario.then(&format!("export TOLLGATE_ID_TOKEN=\"{token}\"\n{}", script.join("\n")));
    let command = ci::commands(scenario.file("pod.yaml"), "kubernetes").join("\n");
    scenario.then(&format!("export POD=\"{token}\" TOLLGATE_TOKEN_FROM=env:POD\n{command}"));
    scenario.run();
}

/// With the shipped issuer of people, of which only the URL and the audience are changed.
#[test]
fn whoever_is_on_call_may_debug_production_and_nobody_else() {
    let mut scenario = scenario("on call");
    scenario.then(
        r#"
sed -i 's|https://login.example.com|http://127.0.0.1:8421|; s|https://tollgate.example.com|http://127.0.0.1:8430/people|' \
  config/issuers/people.toml
sed -i '1i insecure_loopback = true' config/issuers/people.toml
tollgate reload
ask() {
  tollgate exec debug/on-call --dry-run --scope logs --declare purpose=debug --declare annotation='slow since 02:40' \
    --token-from "command:tollgate demo token --audience http://127.0.0.1:8430/people --claim on_call_team=$1"
}
ask platform
! ask nobody 2> refused.txt
grep 'you are not on call' refused.txt
"#,
    );
    scenario.run();
}
