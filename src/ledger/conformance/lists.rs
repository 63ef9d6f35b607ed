//! Lists and readings: complete, stable, bounded by what is permitted, and on record.

use std::collections::BTreeSet;
use std::time::Duration;

use super::leased;
use crate::domain::{Code, DecisionId, Operation, OperationAsk, Refusal, Tenants};
use crate::facts::testing::operation_facts;
use crate::ledger::testing::Bench;
use crate::ledger::{AuditFrom, EndHow, LeaseState, Look, Reading, Refused, Search};
use crate::policy::Permit;
use crate::policy::testing::{judged, permit};

stores! {
    pages_are_complete_and_stable_while_rows_are_added
    c_07_lists_show_the_permitted_tenants_alone
    searches_narrow_by_every_filter
    c_06_what_cannot_be_ended_is_listed_as_live_until_it_dies
    authorisations_without_a_lease_are_listed_until_they_are_dead
    decisions_are_found_by_operation_and_outcome
    s_09_a_reading_is_one_record_an_hour_however_many_pages_it_has
    c_07_a_cursor_serves_one_identity_and_one_search
    the_audit_chain_is_read_once_and_in_order_over_restarts
    c_07_the_servers_own_records_are_for_those_who_reach_all
    the_audit_chain_is_read_from_a_time_or_from_now
    s_07_a_page_looks_at_so_many_rows_and_the_next_goes_on_behind_them
}

fn one(tenant: &str) -> Tenants {
    Tenants::One(tenant.parse().unwrap())
}

fn ask(operation: Operation, filter: &[(&'static str, &str)]) -> OperationAsk {
    let filter = filter.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    OperationAsk { operation, tenant: None, filter, source_ip: None }
}

fn permit_of(bench: &Bench, operation: Operation, tenants: &Tenants) -> Permit {
    permit(operation_facts("reader", bench.clock.now(), operation, tenants.clone()))
}

async fn read(bench: &Bench, operation: Operation, tenants: &Tenants, cursor: Option<&str>) -> Reading {
    let permit = permit_of(bench, operation, tenants);
    bench.ledger.read(permit, &ask(operation, &[]), cursor).await.unwrap()
}

async fn leases(bench: &Bench, tenants: &Tenants, search: &Search) -> Vec<LeaseState> {
    let reading = read(bench, Operation::LeaseList, tenants, None).await;
    let listed = bench.ledger.list_leases(&reading, search, 50).await.unwrap();
    assert_eq!(listed.next, None);
    listed.entries.into_iter().map(|entry| entry.state).collect()
}

async fn pages_are_complete_and_stable_while_rows_are_added(bench: Bench) {
    let mut expected = Vec::new();
    for token in ["a", "b", "c", "d", "e"] {
        expected.insert(0, leased(&bench, token, None).await.id());
        bench.pass(Duration::from_secs(1));
    }
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let reading = read(&bench, Operation::LeaseList, &one("default"), cursor.as_deref()).await;
        let listed = bench.ledger.list_leases(&reading, &Search::default(), 2).await.unwrap();
        assert!(listed.entries.len() <= 2);
        found.extend(listed.entries.iter().map(|entry| entry.lease));
        // What comes in between is newer than the first page, and belongs to the next reading.
        leased(&bench, &format!("later {}", found.len()), None).await;
        bench.pass(Duration::from_secs(1));
        cursor = listed.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);
}

async fn c_07_lists_show_the_permitted_tenants_alone(bench: Bench) {
    let lease = leased(&bench, "token", None).await;
    for (tenants, seen) in [(one("default"), 1), (Tenants::All, 1), (one("bank"), 0)] {
        assert_eq!(leases(&bench, &tenants, &Search::default()).await.len(), seen, "{tenants:?}");
        let permitted =
            bench.ledger.note_permit(permit_of(&bench, Operation::LeaseRead, &tenants)).await.unwrap();
        let found = bench.ledger.seen_lease(&permitted, lease.id()).await;
        assert_eq!(found.map(|entry| entry.lease).map_err(|refusal| refusal.code).is_ok(), seen == 1);
        let ending = bench.ledger.begin_permitted_end(&permitted, lease.id()).await;
        assert_eq!(ending.err().map(|refusal| refusal.code), (seen == 0).then_some(Code::LeaseUnknown));

        let reading = read(&bench, Operation::DecisionList, &tenants, None).await;
        let mints = Search { operation: Some(Operation::Mint), ..Search::default() };
        let decisions = bench.ledger.list_decisions(&reading, &mints, 50).await.unwrap().entries;
        assert_eq!(decisions.len(), seen);
    }
}

async fn searches_narrow_by_every_filter(bench: Bench) {
    let first = leased(&bench, "first", None).await;
    bench.pass(Duration::from_mins(5));
    let middle = bench.clock.now();
    leased(&bench, "second", None).await;
    let all = one("default");
    let count = async |search: Search| leases(&bench, &all, &search).await.len();
    let base = Search::default();
    assert_eq!(count(Search { principal: "github:repository:1234".parse().ok(), ..base.clone() }).await, 2);
    assert_eq!(count(Search { principal: "github:repository:9".parse().ok(), ..base.clone() }).await, 0);
    assert_eq!(count(Search { role: "deploy".parse().ok(), ..base.clone() }).await, 2);
    assert_eq!(count(Search { role: "deploy/x".parse().ok(), ..base.clone() }).await, 0);
    assert_eq!(count(Search { since: Some(middle), ..base.clone() }).await, 1);
    assert_eq!(count(Search { until: Some(middle), ..base.clone() }).await, 1);
    let nothing = Search { since: Some(middle), until: Some(middle), ..base.clone() };
    assert_eq!(count(nothing).await, 0);

    bench.end_by_holder(&first, EndHow::AtTarget).await;
    let states =
        async |state| leases(&bench, &all, &Search { state: Some(state), ..Search::default() }).await;
    assert_eq!(states(LeaseState::Ended).await, [LeaseState::Ended]);
    assert_eq!(states(LeaseState::Live).await, [LeaseState::Live]);
    assert_eq!(states(LeaseState::Expired).await, []);
    bench.pass(Duration::from_mins(30));
    assert_eq!(states(LeaseState::Expired).await, [LeaseState::Expired]);
    assert_eq!(states(LeaseState::Live).await, []);
    assert_eq!(states(LeaseState::Ended).await, [LeaseState::Ended]);
}

async fn c_06_what_cannot_be_ended_is_listed_as_live_until_it_dies(bench: Bench) {
    let lease = leased(&bench, "token", None).await;
    bench.end_by_holder(&lease, EndHow::DiesAtExpiry).await;
    let live = Search { state: Some(LeaseState::Live), ..Search::default() };
    assert_eq!(leases(&bench, &Tenants::All, &live).await, [LeaseState::Live]);
    bench.pass(Duration::from_mins(15));
    assert_eq!(leases(&bench, &Tenants::All, &live).await, []);
}

async fn authorisations_without_a_lease_are_listed_until_they_are_dead(bench: Bench) {
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    let list = async |tenants: Tenants| {
        let reading = read(&bench, Operation::LeaseList, &tenants, None).await;
        bench.ledger.list_unleased(&reading, &Search::default(), 50).await.unwrap().entries
    };
    let found = list(one("default")).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].state.as_str(), found[0].role.as_str()), ("open", "deploy"));
    assert_eq!(found[0].decision, auth.grant().facts().decision());
    assert_eq!(list(one("bank")).await, []);
    assert_eq!(found[0].renews, None);
    bench.clock.set(found[0].dies_by);
    assert_eq!(list(one("default")).await, []);

    let lease = leased(&bench, "another", None).await;
    let first = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
    let planned = bench.planned_renewal(lease.id());
    let _renewal = bench.ledger.authorise_renewal(planned, &first).await.unwrap();
    let found = list(one("default")).await;
    assert_eq!(found.iter().map(|entry| entry.renews).collect::<Vec<_>>(), [Some(lease.id())]);
}

async fn decisions_are_found_by_operation_and_outcome(bench: Bench) {
    leased(&bench, "token", None).await;
    let facts = bench.facts("denied", None);
    let denied = facts.decision();
    bench.ledger.refuse(Refused::Judged(&judged(facts)), denied, &Refusal::new(Code::NotAllowed, "no")).await;
    let find = async |search: Search| -> Vec<String> {
        let reading = read(&bench, Operation::DecisionList, &Tenants::All, None).await;
        let listed = bench.ledger.list_decisions(&reading, &search, 50).await.unwrap();
        listed.entries.into_iter().map(|entry| format!("{} {}", entry.operation, entry.outcome)).collect()
    };
    let refused = Search { outcome: Some("not_allowed".to_owned()), ..Search::default() };
    assert_eq!(find(refused).await, ["mint not_allowed"]);
    let looks = Search { operation: Some(Operation::DecisionList), ..Search::default() };
    assert_eq!(find(looks).await, ["decision.list permit", "decision.list permit"]);
}

async fn s_09_a_reading_is_one_record_an_hour_however_many_pages_it_has(bench: Bench) {
    for token in ["a", "b", "c"] {
        leased(&bench, token, None).await;
    }
    let before = bench.verify().await.records;
    let list = async |cursor: Option<String>| {
        let reading = read(&bench, Operation::LeaseList, &Tenants::All, cursor.as_deref()).await;
        bench.ledger.list_leases(&reading, &Search::default(), 1).await.unwrap().next
    };
    let second = list(None).await;
    assert_eq!(bench.verify().await.records, before + 1);
    let third = list(second.clone()).await;
    assert_eq!(bench.verify().await.records, before + 1, "the second page belongs to the first");
    bench.pass(Duration::from_hours(1));
    list(third).await;
    assert_eq!(bench.verify().await.records, before + 2);
}

async fn c_07_a_cursor_serves_one_identity_and_one_search(bench: Bench) {
    for token in ["a", "b"] {
        leased(&bench, token, None).await;
    }
    let reading = read(&bench, Operation::LeaseList, &one("default"), None).await;
    let cursor = bench.ledger.list_leases(&reading, &Search::default(), 1).await.unwrap().next.unwrap();
    let code = async |permit: Permit, filter: &[(&'static str, &str)], cursor: &str| {
        let ask = ask(permit.operation(), filter);
        bench.ledger.read(permit, &ask, Some(cursor)).await.err().map(|(_, refusal)| refusal.code)
    };
    let refused = Some(Code::RequestMalformed);
    let list = |tenants: &Tenants| permit_of(&bench, Operation::LeaseList, tenants);
    assert_eq!(code(list(&one("default")), &[], &cursor).await, None);
    assert_eq!(code(list(&one("default")), &[("role", "deploy")], &cursor).await, refused, "another search");
    assert_eq!(code(list(&Tenants::All), &[], &cursor).await, refused, "other tenants");
    let other = permit_of(&bench, Operation::DecisionList, &one("default"));
    assert_eq!(code(other, &[], &cursor).await, refused, "another operation");
    for forged in ["", "AAAA", "!", &cursor[1..]] {
        assert_eq!(code(list(&one("default")), &[], forged).await, refused, "{forged:?}");
    }
}

async fn the_audit_chain_is_read_once_and_in_order_over_restarts(bench: Bench) {
    leased(&bench, "a", None).await;
    let bench = bench.restart();
    leased(&bench, "b", None).await;
    let total = bench.verify().await.records;
    let (mut places, mut cursor) = (Vec::new(), None);
    loop {
        let reading = read(&bench, Operation::AuditRead, &Tenants::All, cursor.as_deref()).await;
        let listed = bench.ledger.list_audit(&reading, AuditFrom::Start, 3).await.unwrap();
        places.extend(listed.entries.iter().map(|entry| (entry.writer, entry.seq)));
        cursor = Some(listed.next);
        if !listed.more {
            break;
        }
    }
    // One more than before: that the chain was read is in the chain.
    assert_eq!(places.len() as u64, total + 1);
    assert!(places.is_sorted());
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len());

    // Whoever follows the chain gets what comes, and only that.
    leased(&bench, "c", None).await;
    let reading = read(&bench, Operation::AuditRead, &Tenants::All, cursor.as_deref()).await;
    let listed = bench.ledger.list_audit(&reading, AuditFrom::Start, 50).await.unwrap();
    let kinds: Vec<_> = listed.entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["authorised", "leased"]);
    let lease = &listed.entries[1];
    assert_eq!((lease.role.as_deref(), lease.result.as_deref()), (Some("deploy"), Some("allow")));
    assert!(lease.lease.is_some() && lease.decision.is_some());
}

async fn c_07_the_servers_own_records_are_for_those_who_reach_all(bench: Bench) {
    leased(&bench, "token", None).await;
    let kinds = async |tenants: &Tenants| -> BTreeSet<String> {
        let reading = read(&bench, Operation::AuditRead, tenants, None).await;
        let listed = bench.ledger.list_audit(&reading, AuditFrom::Start, 50).await.unwrap();
        listed.entries.into_iter().map(|entry| entry.kind).collect()
    };
    assert!(kinds(&Tenants::All).await.contains("started"));
    assert!(!kinds(&one("default")).await.contains("started"));
    // The reading is on record in the reader's own tenant.
    assert_eq!(kinds(&one("bank")).await, BTreeSet::new());
}

async fn the_audit_chain_is_read_from_a_time_or_from_now(bench: Bench) {
    leased(&bench, "early", None).await;
    bench.pass(Duration::from_mins(1));
    let middle = bench.clock.now();
    let late = leased(&bench, "late", None).await.grant().facts().decision();
    let decisions = async |from: AuditFrom| -> BTreeSet<DecisionId> {
        let reading = read(&bench, Operation::AuditRead, &Tenants::All, None).await;
        let listed = bench.ledger.list_audit(&reading, from, 50).await.unwrap();
        let mints = listed.entries.into_iter().filter(|entry| entry.operation.as_deref() == Some("mint"));
        mints.filter_map(|entry| entry.decision).collect()
    };
    assert_eq!(decisions(AuditFrom::Start).await.len(), 2);
    assert_eq!(decisions(AuditFrom::Since(middle)).await, [late].into());
    assert_eq!(decisions(AuditFrom::Now).await, [].into());
}

async fn s_07_a_page_looks_at_so_many_rows_and_the_next_goes_on_behind_them(bench: Bench) {
    let mut denied = Vec::new();
    for n in 0..10 {
        let facts = bench.facts(&format!("token {n}"), None);
        let (decision, code) =
            (facts.decision(), if n % 4 == 0 { Code::PolicyDenied } else { Code::NotAllowed });
        bench.ledger.refuse(Refused::Judged(&judged(facts)), decision, &Refusal::new(code, "no")).await;
        denied.extend((n % 4 == 0).then_some(decision));
        bench.pass(Duration::from_millis(1));
    }
    denied.reverse();
    let search = Search { outcome: Some("policy_denied".to_owned()), ..Search::default() };
    let (mut found, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let (tenants, search) = (Tenants::All, search.clone());
        let look = Look { tenants, search, before, limit: 5, now: 0, rows: 3 };
        let page = bench.ledger.store.reader().listed_decisions(look).await.unwrap();
        assert!(page.entries.len() <= 3);
        found.extend(page.entries.iter().map(|entry| entry.decision));
        (before, pages) = (page.before, pages + 1);
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, denied);
    assert_eq!(pages, 4, "ten rows, three at a time");
}
