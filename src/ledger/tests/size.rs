//! How much an exchange costs in the store. Run with `cargo test --release --lib ledger::tests::size -- --ignored --nocapture`.

use std::sync::Arc;

use crate::ledger::frame;
use crate::ledger::record::Text;
use crate::ledger::testing::Bench;

/// Claims and attributes as GitHub's tokens have them; `N` and `SHA` stand for what differs from job to job.
const INPUT: &str = r#"{
"operation": "mint",
"identity": {
  "issuer": "https://token.actions.githubusercontent.com", "kind": "github",
  "subject": "repo:acme/storefront:environment:production", "principal": "github:repository:704591224",
  "tenant": "default", "trust": "trusted", "age_seconds": 3, "repository": "acme/storefront",
  "repository_id": "704591224", "owner": "acme", "owner_id": "9919123", "ref": "refs/heads/main", "branch": "main",
  "environment": "production", "workflow": "deploy",
  "workflow_ref": "acme/storefront/.github/workflows/deploy.yml@refs/heads/main",
  "actor": "octocat", "actor_id": "5832347", "event": "push", "run_id": "9{N}", "run_attempt": "1", "commit": "{SHA}",
  "runner_kind": "github-hosted", "visibility": "private",
  "claims": {
    "jti": "{N}-7a3d-4c1b-9d0e-1f2a3b4c5d6e", "sub": "repo:acme/storefront:environment:production",
    "aud": "https://tollgate.acme.example", "ref": "refs/heads/main", "sha": "{SHA}", "repository": "acme/storefront",
    "repository_owner": "acme", "repository_owner_id": "9919123", "run_id": "9{N}", "run_number": "{N}",
    "run_attempt": "1", "repository_visibility": "private", "repository_id": "704591224", "actor_id": "5832347",
    "actor": "octocat", "workflow": "deploy", "head_ref": "", "base_ref": "", "event_name": "push",
    "ref_protected": "true", "ref_type": "branch",
    "workflow_ref": "acme/storefront/.github/workflows/deploy.yml@refs/heads/main", "workflow_sha": "{SHA}",
    "job_workflow_ref": "acme/storefront/.github/workflows/deploy.yml@refs/heads/main",
    "job_workflow_sha": "{SHA}", "runner_environment": "github-hosted", "environment": "production",
    "enterprise_id": "1", "enterprise": "acme", "check_run_id": "49{N}",
    "iss": "https://token.actions.githubusercontent.com", "nbf": 17{N}, "exp": 17{N}, "iat": 17{N}
  }
},
"resource": {"role": "deploy/production", "provider": "aws", "tenant": "default", "environment": "production",
             "labels": {"tier": "1"}, "scopes": ["artifacts:read", "deploy"]},
"context": {"time": "12:00", "timestamp": "2026-03-02T12:00:00Z", "weekday": "monday", "source_ip": "203.0.113.7",
            "requested_ttl": 15.0, "requested_ttl_seconds": 900, "branch": "main", "environment": "production",
            "commit_signed": true, "purpose": "deploy"},
"declared": {"purpose": "deploy"}
}"#;

fn input(n: u32) -> serde_json::Value {
    let sha = crate::secret::Fingerprint::of(&n.to_be_bytes()).to_string()[..40].to_owned();
    serde_json::from_str(&INPUT.replace("{N}", &format!("{n:08}")).replace("{SHA}", &sha)).unwrap()
}

const EXCHANGES: u32 = 20_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn bytes_and_time_per_exchange() {
    for at_once in [1, 8, 32, 128] {
        let bench = Arc::new(Bench::new());
        let began = std::time::Instant::now();
        let tasks: Vec<_> =
            (0..at_once).map(|task| tokio::spawn(exchanges(Arc::clone(&bench), task, at_once))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        let took = began.elapsed();
        let bench = Arc::into_inner(bench).unwrap().restart();
        let bytes = std::fs::metadata(&bench.settings.sqlite).unwrap().len();
        let per = |what: u64| what / u64::from(EXCHANGES);
        println!(
            "{at_once:>4} at once: {:>6.0} exchanges/s, {} bytes of store each",
            f64::from(EXCHANGES) / took.as_secs_f64(),
            per(bytes)
        );
    }
}

async fn exchanges(bench: Arc<Bench>, task: u32, at_once: u32) {
    for n in (task..EXCHANGES).step_by(at_once as usize) {
        let planned = bench.planned(&format!("token {n}"), None);
        let split = frame::split(&input(n));
        let values = split.values;
        let mut intent = bench.ledger.authorise_intent(&planned).unwrap();
        intent.row.role = "deploy/production".into();
        intent.row.input = Text::new(values);
        bench.ledger.store.run(intent).await.unwrap();
        let auth = crate::ledger::testing::authorised(planned);
        bench.ledger.lease(auth, bench.minted()).await.unwrap();
    }
}
