//! What is bound to a key: a proof serves once, and a lease's secret is of no use without the key.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::{Code, Operation, OperationAsk};
use crate::facts::testing::bound_operation;
use crate::identity::Holder;
use crate::identity::testing::JobKey;
use crate::ledger::testing::Bench;
use crate::ledger::{Leased, Search};
use crate::policy::testing::permit;

pub(super) async fn i_22_a_proof_serves_once_and_uses_up_no_token(bench: Bench) {
    let key = JobKey::new();
    bench.ledger.authorise(bench.planned_bound("one", &key, "first")).await.unwrap();
    let again = |bench: &Bench| bench.planned_bound("two", &key, "first");
    let (_, refusal) = bench.ledger.authorise(again(&bench)).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProofReplayed);
    let bench = bench.restart();
    let (_, refusal) = bench.ledger.authorise(again(&bench)).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProofReplayed);
    bench.ledger.authorise(bench.planned_bound("two", &key, "second")).await.unwrap();
    let used = bench.planned_bound("two", &key, "third");
    assert_eq!(bench.ledger.authorise(used).await.unwrap_err().1.code, Code::TokenReplayed);
}

pub(super) async fn i_22_a_proof_permits_one_operation(bench: Bench) {
    let key = JobKey::new();
    let permit =
        |bench: &Bench, id: &str| permit(bound_operation(&key, id, bench.clock.now(), Operation::Block));
    bench.ledger.note_permit(permit(&bench, "first")).await.unwrap();
    let bench = bench.restart();
    let (again, refusal) = bench.ledger.note_permit(permit(&bench, "first")).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProofReplayed);
    assert!(bench.ledger.decision(again.decision()).await.unwrap().is_none());
    // It is no more use for a credential, nor the other way round.
    let planned = bench.planned_bound("one", &key, "first");
    assert_eq!(bench.ledger.authorise(planned).await.unwrap_err().1.code, Code::ProofReplayed);
    bench.ledger.authorise(bench.planned_bound("one", &key, "second")).await.unwrap();
    let (_, refusal) = bench.ledger.note_permit(permit(&bench, "second")).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProofReplayed);
    bench.ledger.note_permit(permit(&bench, "third")).await.unwrap();
}

pub(super) async fn i_22_a_proof_reads_one_page(bench: Bench) {
    let key = JobKey::new();
    for token in ["a", "b", "c"] {
        super::leased(&bench, token, None).await;
    }
    let ask = OperationAsk {
        operation: Operation::LeaseList,
        tenant: None,
        filter: BTreeMap::new(),
        source_ip: None,
    };
    let page = async |bench: &Bench, proof: &str, cursor: Option<&str>| {
        let facts = bound_operation(&key, proof, bench.clock.now(), Operation::LeaseList);
        let reading = bench.ledger.read(permit(facts), &ask, cursor).await;
        let reading = reading.map_err(|(_, refusal)| refusal.code)?;
        Ok(bench.ledger.list_leases(&reading, &Search::default(), 1).await.unwrap().next)
    };
    let second = page(&bench, "first", None).await.unwrap().unwrap();
    let recorded = bench.verify().await.records;
    let third = page(&bench, "second", Some(&second)).await.unwrap().unwrap();
    assert_eq!(page(&bench, "second", Some(&second)).await, Err(Code::ProofReplayed));
    let bench = bench.restart();
    assert_eq!(page(&bench, "second", Some(&third)).await, Err(Code::ProofReplayed));
    assert_eq!(page(&bench, "first", Some(&third)).await, Err(Code::ProofReplayed));
    page(&bench, "third", Some(&third)).await.unwrap();
    let after = bench.verify().await;
    assert!(after.is_sound());
    assert_eq!(after.records, recorded + 1, "the restart's own record, and none of a page");
}

pub(super) async fn i_22_a_bound_leases_secret_is_of_no_use_without_its_key(bench: Bench) {
    let key = JobKey::new();
    let auth = bench.ledger.authorise(bench.planned_bound("token", &key, "first")).await.unwrap();
    let lease = bench.ledger.lease(auth, bench.minted()).await.unwrap();
    let plain = super::leased(&bench, "plain", None).await;
    let bench = bench.restart();
    let status = async |lease: &Leased, key: Option<&JobKey>| {
        let proof = key.map(|key| key.proof(lease.secret().expose(), bench.clock.now()));
        let holder = Holder { proof: proof.as_ref(), ..lease.secret().into() };
        bench.ledger.lease_status(lease.id(), holder).await.map(|status| status.id).map_err(|no| no.code)
    };
    assert_eq!(status(&lease, None).await, Err(Code::ProofMissing));
    assert_eq!(status(&lease, Some(&JobKey::new())).await, Err(Code::ProofInvalid));
    assert_eq!(status(&lease, Some(&key)).await, Ok(lease.id()));
    assert_eq!(status(&plain, None).await, Ok(plain.id()));
    assert_eq!(status(&plain, Some(&key)).await, Err(Code::ProofInvalid));
    let secret = lease.secret();
    assert_eq!(bench.ledger.begin_end(lease.id(), secret).await.unwrap_err().code, Code::ProofMissing);
    assert_eq!(bench.ledger.beat(lease.id(), secret).await.unwrap_err().code, Code::ProofMissing);
    assert_eq!(bench.ledger.renewable(lease.id(), secret).await.unwrap_err().code, Code::ProofMissing);
    // A proof of a minute ago is none.
    let old = key.proof(secret.expose(), bench.clock.now());
    bench.pass(Duration::from_secs(61));
    let holder = Holder { proof: Some(&old), ..secret.into() };
    assert_eq!(bench.ledger.begin_end(lease.id(), holder).await.unwrap_err().code, Code::ProofInvalid);
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn s_11_a_lease_that_was_unbound_or_bound_behind_the_ledgers_back_is_found(bench: Bench) {
    let key = JobKey::new();
    let auth = bench.ledger.authorise(bench.planned_bound("token", &key, "first")).await.unwrap();
    bench.ledger.lease(auth, bench.minted()).await.unwrap();
    assert!(bench.verify().await.is_sound());
    bench.change("UPDATE leases SET bound_to = NULL").await;
    assert!(!bench.verify().await.is_sound());
    bench.change("UPDATE leases SET bound_to = secret").await;
    assert!(!bench.verify().await.is_sound());
}
