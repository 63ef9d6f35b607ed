//! The JSON-lines copy.

use serde_json::Value;

use crate::ledger::testing::{Bench, noon, sealer};
use crate::signing::{Keyring, first_keys};

#[tokio::test]
async fn every_record_is_a_line_after_it_is_durable_and_checkpoints_are_lines_too() {
    let bench = Bench::with(|settings| {
        settings.events_file = settings.place.file().map(|file| file.with_file_name("events.jsonl"));
    });
    let keys = first_keys(&[], &sealer(), noon()).unwrap();
    let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
    bench.ledger.insert_keys_if_none(keys).await.unwrap();
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    let lease = bench.ledger.lease(auth, bench.minted()).await.unwrap();
    bench.ledger.checkpoint(&keyring).await.unwrap().unwrap();
    let report = bench.verify().await;
    let path = bench.settings.events_file.clone().unwrap();
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o007, 0, "not for everybody's eyes");
    }
    let (id, decision) = (lease.id().to_string(), lease.grant().facts().decision().to_string());
    // The writer ends, and lets the sinks finish first.
    let _bench = bench.restart();
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().find(|line| line["kind"] == kind).unwrap();
    assert_eq!(of("authorised")["decision"], *decision);
    assert_eq!(of("authorised")["result"], "allow");
    assert_eq!(of("leased")["lease"], *id);
    assert_eq!(of("leased")["at"], noon().to_string());
    assert_eq!(crate::ledger::checkpoint::each(&mut text.as_bytes()).count(), 1);
    let first: Vec<_> =
        lines.iter().filter(|line| line["writer"] == 1).map(|line| line["seq"].as_u64()).collect();
    assert_eq!(first, (1..=report.records).map(Some).collect::<Vec<_>>());
}
