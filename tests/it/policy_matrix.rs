//! Who gets what, as a table: identity × role × environment through the shipped policies and the guard-rail.
//!
//! The table is the review: a change of a policy shows here as a changed cell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use regorus::Value;
use serde_json::{Map, json};
use tollgate::domain::{Operation, Trust};
use tollgate::facts::{Context, IdentityInput, Input, Resource, RunnerInput};

use crate::policies::{engine, shipped};

/// Short name, trust, tenant, attributes.
type Who = (&'static str, Trust, &'static str, serde_json::Value);

fn identities() -> Vec<Who> {
    vec![
        ("main, signed", Trust::Trusted, "shop", json!({"branch": "main"})),
        ("feature", Trust::Trusted, "shop", json!({"branch": "feature"})),
        ("fork", Trust::Untrusted, "shop", json!({"branch": "main"})),
        ("workload", Trust::Unknown, "shop", json!({"namespace": "shop"})),
        ("mesh", Trust::Trusted, "shop", json!({"namespace": "shop", "service_account": "reports"})),
        ("own runner", Trust::Trusted, "shop", json!({"branch": "main", "runner_kind": "self-hosted"})),
        ("on call", Trust::Trusted, "shop", json!({"on_call": true})),
        ("other tenant", Trust::Trusted, "bank", json!({"branch": "main"})),
    ]
}

/// Name, packages besides the global ones, and what the caller declares.
fn roles() -> Vec<(&'static str, &'static [&'static str], serde_json::Value)> {
    vec![
        ("deploy", &["ci.deploy", "ci.tenant"], json!({})),
        ("critical", &["ci.deploy", "ci.critical", "ci.tenant"], json!({})),
        ("preview", &["ci.preview", "ci.tenant"], json!({})),
        ("debug", &["ci.debug", "ci.tenant"], json!({"purpose": "debug"})),
        ("restore", &["ci.high_risk", "ci.tenant"], json!({"action": "restore-backup"})),
        (
            "approved",
            &["ci.high_risk", "ci.tenant"],
            json!({"action": "restore-backup", "annotation": "APPROVAL-7"}),
        ),
        ("secrets", &["vault.app", "ci.tenant"], json!({})),
        ("on runner", &["ci.runner", "ci.tenant"], json!({})),
        ("attested", &["ci.attested", "ci.tenant"], json!({})),
        ("mesh/reports", &["mesh.workload", "ci.tenant"], json!({})),
    ]
}

fn input(
    (_, trust, tenant, attributes): &Who,
    role: &str,
    environment: &str,
    declared: &serde_json::Value,
) -> Input {
    let map = |value: &serde_json::Value| -> BTreeMap<String, serde_json::Value> {
        value.as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let attributes = map(attributes);
    let mut facts = map(declared);
    // Of the sources: the commit of `main` is signed, and no ticket is approved.
    let main = attributes.get("branch").is_some_and(|branch| branch == "main");
    facts.extend([("commit_signed".to_owned(), json!(main)), ("ticket_approved".to_owned(), json!(false))]);
    facts.extend(attributes.get("branch").map(|branch| ("branch".to_owned(), branch.clone())));
    // A job names the environment that it is asked to deploy to, unless its branch may not.
    facts.extend(main.then(|| ("environment".to_owned(), json!(environment))));
    let mesh = attributes.contains_key("service_account");
    let runner = attributes.contains_key("runner_kind").then(|| RunnerInput {
        id: "r1".into(),
        issuer: "https://oidc.cluster-1.example.com".into(),
        kind: "kubernetes".into(),
        principal: "kubernetes:runners:serviceaccount:1".into(),
        spiffe_id: None,
        region: Some("eu-west-1".into()),
        pool: Some("deploy".into()),
        tenant: (*tenant).into(),
        attributes: BTreeMap::new(),
    });
    Input {
        operation: Operation::Mint,
        identity: IdentityInput {
            issuer: if mesh { "spiffe://mesh.example.com" } else { "https://issuer.example" }.into(),
            kind: if mesh { "spiffe" } else { "github" }.into(),
            subject: "repo:acme/shop".into(),
            principal: "github:repository:1234".into(),
            tenant: (*tenant).into(),
            trust: *trust,
            age_seconds: 5,
            bound: false,
            attributes: Arc::new(
                attributes.into_iter().map(|(name, value)| (name.parse().unwrap(), value)).collect(),
            ),
            claims: Map::new().into(),
        },
        runner,
        resource: Resource {
            role: role.into(),
            provider: "jwt".into(),
            tenant: "shop".into(),
            environment: Some(environment.into()),
            labels: BTreeMap::new(),
            scopes: BTreeSet::from(["read".to_owned()]),
        },
        context: Context {
            time: "12:00".into(),
            timestamp: "2026-11-18T12:00:00Z".into(),
            weekday: "wednesday".into(),
            source_ip: None,
            requested_ttl: 15.0,
            requested_ttl_seconds: 900,
            facts,
        },
        declared: map(declared),
    }
}

/// `allow`, or the ids of everything that stands against it.
fn outcome(input: &Input, packages: &[&str]) -> String {
    let mut against = BTreeSet::new();
    let mut all_allow = true;
    for one in shipped() {
        let global = one.package.starts_with("global.");
        if !global && !packages.contains(&one.package.as_str()) {
            continue;
        }
        let mut engine = engine(&[&one.policy]);
        engine.set_input(Value::from(serde_json::to_value(input).unwrap()));
        let deny = engine.eval_rule(format!("data.{}.deny", one.package)).unwrap();
        for reason in deny.as_set().unwrap() {
            against.insert(reason["id"].as_string().unwrap().to_string());
        }
        if !global {
            let allow = engine.eval_rule(format!("data.{}.allow", one.package)).unwrap();
            all_allow &= allow == Value::from(true);
        }
    }
    assert_eq!(all_allow, against.iter().all(|id| id.starts_with("GR")), "allow and deny agree: {against:?}");
    if against.is_empty() { "allow".to_owned() } else { against.into_iter().collect::<Vec<_>>().join(" ") }
}

#[test]
fn identity_role_environment_matrix() {
    let mut table = format!("{:<12} {:<13} {:<35} {}\n", "role", "identity", "production", "preview");
    for (role, packages, declared) in roles() {
        for who in identities() {
            let cell = |environment| outcome(&input(&who, role, environment, &declared), packages);
            writeln!(table, "{role:<12} {:<13} {:<35} {}", who.0, cell("production"), cell("preview"))
                .unwrap();
        }
    }
    println!("{table}");
    insta::assert_snapshot!(table, @r"
    role         identity      production                          preview
    deploy       main, signed  allow                               allow
    deploy       feature       DP-02 DP-03 DP-05                   DP-02 DP-03 DP-05
    deploy       fork          DP-01 GR-01                         DP-01
    deploy       workload      DP-01 DP-02 DP-03 DP-05 GR-01       DP-01 DP-02 DP-03 DP-05
    deploy       mesh          DP-02 DP-03 DP-05                   DP-02 DP-03 DP-05
    deploy       own runner    allow                               allow
    deploy       on call       DP-02 DP-03 DP-05                   DP-02 DP-03 DP-05
    deploy       other tenant  TN-01                               TN-01
    critical     main, signed  CR-01                               CR-01
    critical     feature       CR-01 DP-02 DP-03 DP-05             CR-01 DP-02 DP-03 DP-05
    critical     fork          CR-01 DP-01 GR-01                   CR-01 DP-01
    critical     workload      CR-01 DP-01 DP-02 DP-03 DP-05 GR-01 CR-01 DP-01 DP-02 DP-03 DP-05
    critical     mesh          CR-01 DP-02 DP-03 DP-05             CR-01 DP-02 DP-03 DP-05
    critical     own runner    CR-01                               CR-01
    critical     on call       CR-01 DP-02 DP-03 DP-05             CR-01 DP-02 DP-03 DP-05
    critical     other tenant  CR-01 TN-01                         CR-01 TN-01
    preview      main, signed  PV-02                               allow
    preview      feature       PV-02                               allow
    preview      fork          GR-01 PV-01 PV-02                   PV-01
    preview      workload      GR-01 PV-01 PV-02                   PV-01
    preview      mesh          PV-02                               allow
    preview      own runner    PV-02                               allow
    preview      on call       PV-02                               allow
    preview      other tenant  PV-02 TN-01                         TN-01
    debug        main, signed  DB-01                               DB-01
    debug        feature       DB-01                               DB-01
    debug        fork          DB-01 GR-01                         DB-01
    debug        workload      DB-01 GR-01                         DB-01
    debug        mesh          DB-01                               DB-01
    debug        own runner    DB-01                               DB-01
    debug        on call       allow                               allow
    debug        other tenant  DB-01 TN-01                         DB-01 TN-01
    restore      main, signed  HR-02                               HR-02
    restore      feature       HR-02                               HR-02
    restore      fork          GR-01 HR-02                         HR-02
    restore      workload      GR-01 HR-02                         HR-02
    restore      mesh          HR-02                               HR-02
    restore      own runner    HR-02                               HR-02
    restore      on call       HR-02                               HR-02
    restore      other tenant  HR-02 TN-01                         HR-02 TN-01
    approved     main, signed  allow                               allow
    approved     feature       allow                               allow
    approved     fork          GR-01                               allow
    approved     workload      GR-01                               allow
    approved     mesh          allow                               allow
    approved     own runner    allow                               allow
    approved     on call       allow                               allow
    approved     other tenant  TN-01                               TN-01
    secrets      main, signed  allow                               allow
    secrets      feature       VA-02                               VA-02
    secrets      fork          GR-01 VA-01                         VA-01
    secrets      workload      GR-01 VA-01 VA-02                   VA-01 VA-02
    secrets      mesh          VA-02                               VA-02
    secrets      own runner    allow                               allow
    secrets      on call       VA-02                               VA-02
    secrets      other tenant  TN-01                               TN-01
    on runner    main, signed  RN-01 RN-02 RN-03 RN-04             RN-01 RN-02 RN-03 RN-04
    on runner    feature       RN-01 RN-02 RN-03 RN-04             RN-01 RN-02 RN-03 RN-04
    on runner    fork          GR-01 RN-01 RN-02 RN-03 RN-04       RN-01 RN-02 RN-03 RN-04
    on runner    workload      GR-01 RN-01 RN-02 RN-03 RN-04       RN-01 RN-02 RN-03 RN-04
    on runner    mesh          RN-01 RN-02 RN-03 RN-04             RN-01 RN-02 RN-03 RN-04
    on runner    own runner    allow                               allow
    on runner    on call       RN-01 RN-02 RN-03 RN-04             RN-01 RN-02 RN-03 RN-04
    on runner    other tenant  RN-01 RN-02 RN-03 RN-04 TN-01       RN-01 RN-02 RN-03 RN-04 TN-01
    attested     main, signed  AT-01                               allow
    attested     feature       AT-01                               allow
    attested     fork          AT-01 GR-01                         allow
    attested     workload      AT-01 GR-01                         allow
    attested     mesh          AT-01                               allow
    attested     own runner    allow                               allow
    attested     on call       AT-01                               allow
    attested     other tenant  AT-01 TN-01                         TN-01
    mesh/reports main, signed  MW-01 MW-02                         MW-01 MW-02
    mesh/reports feature       MW-01 MW-02                         MW-01 MW-02
    mesh/reports fork          GR-01 MW-01 MW-02                   MW-01 MW-02
    mesh/reports workload      GR-01 MW-01 MW-02                   MW-01 MW-02
    mesh/reports mesh          allow                               allow
    mesh/reports own runner    MW-01 MW-02                         MW-01 MW-02
    mesh/reports on call       MW-01 MW-02                         MW-01 MW-02
    mesh/reports other tenant  MW-01 MW-02 TN-01                   MW-01 MW-02 TN-01
    ");
}
