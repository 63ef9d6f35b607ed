//! What every store must do: one suite, which SQLite and PostgreSQL both pass.

use std::time::Duration;

use super::testing::Bench;
use super::{AskedFor, Counted, EndHow, Ending, Refused};
use crate::domain::{Code, DecisionId, Operation, Refusal, Revocability, Tenants};
use crate::facts;
use crate::policy::testing::{grant, judged, judged_operation, permit};
use crate::secret::LeaseSecret;

/// One test per rule, each on a new store made by `$new`.
macro_rules! conformance {
    ($new:expr; $($name:ident)+) => {
        $(#[tokio::test]
        async fn $name() {
            super::$name($new).await;
        })+
    };
}

macro_rules! stores {
    ($($name:ident)+) => {
        mod sqlite {
            crate::ledger::conformance::conformance! { crate::ledger::testing::Bench::new(); $($name)+ }
        }
        mod postgres {
            crate::ledger::conformance::conformance! { crate::ledger::testing::Bench::postgres(); $($name)+ }
        }
    };
}

pub(in crate::ledger) use {conformance, stores};

stores! {
    i_10_a_token_is_used_once_per_role
    i_10_of_fifty_at_once_exactly_one_wins
    i_10_a_runners_token_is_used_once_per_role_and_uses_up_no_other
    i_10_a_used_token_is_remembered_until_it_is_dead_and_over_restarts
    i_10_a_retry_with_its_key_supersedes_the_first_attempt
    i_10_a_retry_of_another_request_conflicts
    i_10_retries_do_not_prolong_the_time_for_retries
    i_10_another_callers_key_is_another_key
    a_superseded_attempt_in_flight_cannot_be_leased
    a_superseded_attempt_is_told_so_even_if_it_was_looked_after_before
    a_lease_needs_an_open_authorisation
    c_07_unknown_lease_and_wrong_secret_are_one_answer
    c_16_only_its_own_secret_ends_a_lease
    ending_is_two_steps_and_idempotent
    what_cannot_be_ended_says_so
    an_interrupted_end_is_found_again
    c_15_a_block_between_authorise_and_lease_stops_the_lease
    c_15_a_block_refuses_whoever_it_is_about_and_nobody_else
    c_15_a_block_marks_what_lives_in_its_own_transaction
    c_15_what_a_block_is_about_does_not_wait_for_its_turn
    c_15_more_than_one_transaction_can_mark_is_marked_too
    c_15_decisions_without_keys_are_matched_by_their_input
    c_15_a_block_stops_a_proved_runner_by_each_of_its_names_and_no_other
    a_block_is_over_when_it_is_lifted_or_expires
    a_block_of_a_tenant_holds_and_is_seen_in_that_tenant_alone
    the_same_message_sets_its_blocks_once
    an_alert_that_fires_again_adds_no_block
    the_account_of_a_block_says_what_is_dead_what_dies_and_what_is_unknown
    after_a_crash_the_unleased_are_listed_until_resolved_or_dead
    an_abandoned_authorisation_that_may_live_stays_listed
    a_decision_reads_back_whole
    refusals_and_dry_runs_are_recorded
    operations_are_recorded_by_their_name
    s_09_refusals_above_the_rate_are_counted_not_recorded
    s_10_a_change_of_configuration_is_a_record
    what_was_done_verifies
    a_worker_that_was_held_up_cannot_write_over_another
    of_many_workers_one_has_the_claim
    what_fails_is_tried_again_after_a_growing_pause_over_restarts
    what_fails_too_often_raises_the_alarm_and_is_still_tried
    what_had_no_turn_counts_no_attempt
    its_holder_may_try_again_at_once
    an_end_that_no_target_confirmed_before_it_died_is_told
    an_authorisation_without_a_lease_is_claimed_like_a_lease
    c_06_a_fence_of_forgotten_attempts_never_comes_again
    a_lease_whose_holder_is_silent_is_ended_and_says_why
    a_holder_that_beats_keeps_its_lease_over_restarts
    a_ten_minute_outage_ends_no_healthy_lease
    a_server_that_was_held_up_counts_no_silence
    a_heartbeat_of_what_is_over_says_so
    c_16_only_its_own_secret_beats_for_a_lease
    a_renewal_makes_the_lease_live_longer_and_never_shorter
    what_is_to_be_ended_is_not_renewed
    c_15_a_block_between_authorise_and_renew_stops_the_renewal
    c_15_a_renewal_that_the_sweep_settled_under_a_block_is_blocked_too
    c_15_a_renewal_is_not_authorised_under_a_block_that_is_about_it
    after_a_crash_a_lost_renewal_counts_as_done
    a_lost_renewal_of_what_its_target_ended_is_dead
    c_16_only_its_own_secret_renews_a_lease
    a_renewal_needs_the_record_that_it_rests_on
    i_22_a_proof_serves_once_and_uses_up_no_token
    i_22_a_proof_permits_one_operation
    i_22_a_proof_reads_one_page
    i_22_a_bound_leases_secret_is_of_no_use_without_its_key
    s_11_a_lease_that_was_unbound_or_bound_behind_the_ledgers_back_is_found
    s_11_what_is_old_proven_and_over_is_pruned_under_a_seal_and_the_rest_verifies
    s_11_nothing_young_or_unproven_is_pruned
    s_11_what_lives_or_is_in_force_holds_its_chain
    s_11_what_a_sink_has_not_got_stays
    s_11_the_last_word_on_a_key_is_said_again_before_it_goes
    s_11_a_lease_over_the_cut_keeps_its_decision_until_it_goes_itself
    s_11_seals_outlive_the_chain_that_held_them
    s_11_a_chain_that_was_changed_is_not_pruned
    a_decision_that_was_pruned_says_so
    s_11_a_forecast_says_what_pruning_then_does_and_changes_nothing
    a_forecast_says_what_is_young_unproven_or_not_delivered
    a_forecast_names_the_lease_and_the_block_that_hold_a_chain
    a_forecast_names_an_authorisation_that_may_have_led_to_something
    s_11_a_forecast_says_that_a_chain_is_broken
}

/// What holds of one server on one file.
mod sqlite_alone {
    conformance! { crate::ledger::testing::Bench::new();
        a_claim_of_an_earlier_run_is_void
    }
}

mod blocks;
mod forecast;
mod heartbeats;
mod lease_life;
mod lists;
mod possession;
mod renewals;
pub(in crate::ledger) mod retention;

use blocks::*;
use forecast::*;
use heartbeats::*;
use lease_life::*;
use possession::*;
use renewals::*;
use retention::*;

async fn refused(bench: &Bench, token: &str, key: Option<&str>) -> Code {
    bench.ledger.authorise(bench.planned(token, key)).await.unwrap_err().1.code
}

async fn leased(bench: &Bench, token: &str, key: Option<&str>) -> super::Leased {
    let auth = bench.ledger.authorise(bench.planned(token, key)).await.unwrap();
    bench.ledger.lease(auth, bench.minted()).await.unwrap()
}

async fn i_10_a_token_is_used_once_per_role(bench: Bench) {
    leased(&bench, "token", None).await;
    assert_eq!(refused(&bench, "token", None).await, Code::TokenReplayed);
    assert_eq!(refused(&bench, "token", Some("key")).await, Code::TokenReplayed);
    leased(&bench, "another token", None).await;
}

async fn i_10_a_runners_token_is_used_once_per_role_and_uses_up_no_other(bench: Bench) {
    let authorise = |token: &'static str, actor: &'static str| {
        let planned = bench.planned_on(token, actor);
        async { bench.ledger.authorise(planned).await.map(drop).map_err(|(_, why)| why.code) }
    };
    assert_eq!(authorise("job 1", "runner 1").await, Ok(()));
    assert_eq!(authorise("job 2", "runner 1").await, Err(Code::TokenReplayed));
    assert_eq!(authorise("job 1", "runner 2").await, Err(Code::TokenReplayed));
    assert_eq!(authorise("job 2", "runner 2").await, Ok(()), "what was refused is not used up");
}

async fn i_10_of_fifty_at_once_exactly_one_wins(bench: Bench) {
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (ledger, planned) = (bench.ledger.clone(), bench.planned("token", None));
            tokio::spawn(
                async move { ledger.authorise(planned).await.map(drop).map_err(|(_, why)| why.code) },
            )
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => won += 1,
            Err(code) => assert_eq!(code, Code::TokenReplayed),
        }
    }
    assert_eq!(won, 1);
}

async fn i_10_a_used_token_is_remembered_until_it_is_dead_and_over_restarts(bench: Bench) {
    leased(&bench, "token", None).await;
    // The test caller's token expires 300 seconds after noon; identity grants up to 60 more.
    bench.pass(Duration::from_secs(359));
    let bench = bench.restart();
    assert_eq!(refused(&bench, "token", None).await, Code::TokenReplayed);
}

async fn i_10_a_retry_with_its_key_supersedes_the_first_attempt(bench: Bench) {
    let first = leased(&bench, "token", Some("key")).await;
    bench.pass(Duration::from_secs(59));
    let retry = bench.ledger.authorise(bench.planned("token", Some("key"))).await.unwrap();
    let superseded = retry.supersedes().unwrap();
    assert_eq!(superseded.lease, Some(first.id()));
    assert_eq!(superseded.decision, first.grant().facts().decision());
    assert_eq!(&superseded.handle, first.auth.handle());
    assert_eq!((superseded.target.as_str(), superseded.role.as_str()), ("api", "deploy"));
    let waiting = bench.ledger.leases_to_end().await.unwrap();
    assert_eq!(waiting.iter().map(|end| end.lease).collect::<Vec<_>>(), [first.id()]);
    bench.end(first.id(), EndHow::AtTarget).await;
    assert!(bench.ledger.leases_to_end().await.unwrap().is_empty());
    bench.ledger.lease(retry, bench.minted()).await.unwrap();
}

async fn i_10_a_retry_of_another_request_conflicts(bench: Bench) {
    leased(&bench, "token", Some("key")).await;
    let mut facts = facts::testing::ask(&facts::testing::role());
    facts.idempotency_key = Some("key".parse().unwrap());
    facts.ttl = Some("5m".parse().unwrap());
    let other = bench.planned_ask("token", facts);
    assert_eq!(bench.ledger.authorise(other).await.unwrap_err().1.code, Code::IdempotencyConflict);
}

async fn i_10_retries_do_not_prolong_the_time_for_retries(bench: Bench) {
    leased(&bench, "token", Some("key")).await;
    bench.pass(Duration::from_secs(40));
    leased(&bench, "token", Some("key")).await;
    bench.pass(Duration::from_secs(40));
    assert_eq!(refused(&bench, "token", Some("key")).await, Code::TokenReplayed);
}

async fn i_10_another_callers_key_is_another_key(bench: Bench) {
    leased(&bench, "token", Some("key")).await;
    // The same token under another key is a replay, even within the time for retries.
    assert_eq!(refused(&bench, "token", Some("another-key")).await, Code::TokenReplayed);
    // A fresh token under the same key is a retry of the same caller.
    let retry = bench.ledger.authorise(bench.planned("fresh", Some("key"))).await.unwrap();
    assert!(retry.supersedes().is_some());
}

async fn a_superseded_attempt_in_flight_cannot_be_leased(bench: Bench) {
    let first = bench.ledger.authorise(bench.planned("token", Some("key"))).await.unwrap();
    let retry = bench.ledger.authorise(bench.planned("token", Some("key"))).await.unwrap();
    let superseded = retry.supersedes().unwrap().clone();
    assert_eq!((superseded.lease, &superseded.handle), (None, first.handle()));
    let (first, why) = bench.ledger.lease(first, bench.minted()).await.unwrap_err();
    assert_eq!(why.code, Code::Superseded);
    assert!(bench.unleased().await.contains(&superseded.decision), "it may live until it is ended");
    bench.ledger.abandon(first, &why, true).await;
    bench.ledger.lease(retry, bench.minted()).await.unwrap();
    assert!(bench.unleased().await.is_empty());
}

async fn a_superseded_attempt_is_told_so_even_if_it_was_looked_after_before(bench: Bench) {
    for dead in [true, false] {
        let key = format!("key-{dead}");
        let first = bench.ledger.authorise(bench.planned("token", Some(&key))).await.unwrap();
        bench.ledger.authorise(bench.planned("token", Some(&key))).await.unwrap();
        bench.resolve(first.grant().facts().decision(), dead).await;
        let (_, why) = bench.ledger.lease(first, bench.minted()).await.unwrap_err();
        assert_eq!(why.code, Code::Superseded, "dead: {dead}");
        bench.pass(Duration::from_mins(30));
    }
}

async fn a_lease_needs_an_open_authorisation(bench: Bench) {
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    bench.resolve(auth.grant().facts().decision(), true).await;
    let (_, why) = bench.ledger.lease(auth, bench.minted()).await.unwrap_err();
    assert_eq!(why.code, Code::Internal);
}

async fn c_07_unknown_lease_and_wrong_secret_are_one_answer(bench: Bench) {
    let lease = leased(&bench, "token", None).await;
    let wrong = LeaseSecret::generate().unwrap();
    let guessed = crate::domain::LeaseId::new(7, &[7; 10]);
    let wrong_secret = bench.ledger.lease_status(lease.id(), &wrong).await.unwrap_err();
    let unknown = bench.ledger.lease_status(guessed, lease.secret()).await.unwrap_err();
    assert_eq!(wrong_secret.code, Code::LeaseUnknown);
    assert_eq!(wrong_secret, unknown);
    let status = bench.ledger.lease_status(lease.id(), lease.secret()).await.unwrap();
    assert_eq!((status.id, status.role.as_str(), status.ended_at), (lease.id(), "deploy", None));
    assert_eq!(status.dies_at, lease.minted().dies_at);
}

async fn c_16_only_its_own_secret_ends_a_lease(bench: Bench) {
    let mine = leased(&bench, "mine", None).await;
    let theirs = leased(&bench, "theirs", None).await;
    let refusal = bench.ledger.begin_end(mine.id(), theirs.secret()).await.unwrap_err();
    assert_eq!(refusal.code, Code::LeaseUnknown);
    assert!(bench.ledger.leases_to_end().await.unwrap().is_empty());
    assert!(matches!(bench.ledger.begin_end(mine.id(), mine.secret()).await, Ok(Ending::ToEnd(..))));
}

async fn ending_is_two_steps_and_idempotent(bench: Bench) {
    let lease = leased(&bench, "token", None).await;
    let first = bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    let Ending::ToEnd(end, claim) = first else { panic!("{first:?}") };
    let second = bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    let Ending::Busy(status) = second else { panic!("{second:?}") };
    assert_eq!((status.end_asked_at, status.ended_at), (Some(bench.clock.now()), None));
    assert_eq!((&end.handle, end.target.as_str()), (lease.auth.handle(), "api"));
    let ended = bench.clock.now();
    for _ in 0..2 {
        assert_eq!(bench.ledger.ended(lease.id(), EndHow::AtTarget, claim).await, Ok(Counted::Yes));
        bench.pass(Duration::from_secs(9));
    }
    let Ending::Settled(status) = bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap() else {
        panic!("still to end")
    };
    assert_eq!(status.ended_at, Some(ended));
}

async fn what_cannot_be_ended_says_so(bench: Bench) {
    let lease = leased(&bench, "token", None).await;
    bench.end_by_holder(&lease, EndHow::DiesAtExpiry).await;
    let status = bench.ledger.lease_status(lease.id(), lease.secret()).await.unwrap();
    assert_eq!((status.ended_at, status.revocable), (None, Revocability::DiesAtExpiry));
    assert!(bench.ledger.leases_to_end().await.unwrap().is_empty());
}

async fn an_interrupted_end_is_found_again(bench: Bench) {
    let lease = leased(&bench, "token", None).await;
    bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    let bench = bench.restart();
    let waiting = bench.ledger.leases_to_end().await.unwrap();
    assert_eq!(waiting.iter().map(|end| end.lease).collect::<Vec<_>>(), [lease.id()]);
    bench.pass(Duration::from_mins(16));
    assert!(bench.ledger.leases_to_end().await.unwrap().is_empty(), "dead by itself");
}

async fn after_a_crash_the_unleased_are_listed_until_resolved_or_dead(bench: Bench) {
    let done = bench.ledger.authorise(bench.planned("done", None)).await.unwrap();
    let lost = bench.ledger.authorise(bench.planned("lost", None)).await.unwrap();
    let old = bench.ledger.authorise(bench.planned("old", None)).await.unwrap();
    bench.ledger.lease(done, bench.minted()).await.unwrap();
    let bench = bench.restart();
    let found = bench.ledger.unleased(bench.clock.now()).await.unwrap();
    assert_eq!(found.len(), 2);
    let lost_id = lost.grant().facts().decision();
    let entry = found.iter().find(|entry| entry.decision == lost_id).unwrap();
    assert_eq!((&entry.handle, entry.target.as_str()), (lost.handle(), "api"));
    assert!(entry.dies_by >= lost.at() + Duration::from_mins(15));
    bench.resolve(lost_id, true).await;
    assert_eq!(bench.unleased().await, [old.grant().facts().decision()]);
    bench.pass(Duration::from_mins(30));
    assert!(bench.unleased().await.is_empty());
    bench.ledger.upkeep().await;
    assert!(bench.verify().await.is_sound());
}

async fn an_abandoned_authorisation_that_may_live_stays_listed(bench: Bench) {
    let refusal = Refusal::new(Code::ProviderUnavailable, "no answer");
    let dead = bench.ledger.authorise(bench.planned("dead", None)).await.unwrap();
    let alive = bench.ledger.authorise(bench.planned("alive", None)).await.unwrap();
    let alive_id = alive.grant().facts().decision();
    bench.ledger.abandon(dead, &refusal, true).await;
    bench.ledger.abandon(alive, &refusal, false).await;
    assert_eq!(bench.unleased().await, [alive_id]);
    bench.resolve(alive_id, false).await;
    assert_eq!(bench.unleased().await, [alive_id], "known to live until it dies");
    assert!(bench.verify().await.is_sound());
}

async fn a_decision_reads_back_whole(bench: Bench) {
    // A reload while the request is on its way changes nothing about what it rests on.
    let newer = crate::secret::Fingerprint::of(b"newer");
    bench.ledger.set_revision(newer, newer).await.unwrap();
    let lease = leased(&bench, "token", None).await;
    let facts = lease.grant().facts();
    let record = bench.ledger.decision(facts.decision()).await.unwrap().unwrap();
    assert_eq!((record.version, record.result.as_str(), record.operation.as_str()), (1, "allow", "mint"));
    assert_eq!((record.tenant.as_str(), record.principal.as_str()), ("default", "github:repository:1234"));
    assert_eq!((record.role.as_str(), record.target.as_deref()), ("deploy", Some("api")));
    assert_eq!(record.at, facts.now());
    assert_eq!(record.input.unwrap(), serde_json::to_value(facts.input()).unwrap());
    assert_eq!(record.configuration, lease.grant().judged().configuration().to_string());
    assert_eq!(record.policy, Some(lease.grant().judged().revision().to_string()));
    assert_eq!(record.token, facts.caller().token().to_string());
    assert_eq!(record.outcome["is"], "allow");
    assert_eq!(record.outcome["ttl"], "15m");
    assert_eq!(bench.ledger.decision(DecisionId::new(1, &[1; 10])).await.unwrap(), None);
}

async fn refusals_and_dry_runs_are_recorded(bench: Bench) {
    let facts = bench.facts("denied", None);
    let denied = facts.decision();
    let refusal = Refusal::new(Code::PolicyDenied, "branch is not protected").with_detail("for the record");
    bench.ledger.refuse(Refused::Judged(&judged(facts)), denied, &refusal).await;
    let record = bench.ledger.decision(denied).await.unwrap().unwrap();
    assert_eq!(
        (record.result.as_str(), &record.outcome["detail"]),
        ("policy_denied", &"for the record".into())
    );

    let caller = crate::identity::testing::caller("token", bench.clock.now());
    let early = DecisionId::new(1, &[3; 10]);
    let configuration = crate::secret::Fingerprint::of(b"configuration");
    let who = Refused::Identified { caller: &caller, asked: AskedFor::Role("deploy/x"), configuration };
    bench.ledger.refuse(who, early, &Refusal::new(Code::RoleUnknown, "no such role")).await;
    let record = bench.ledger.decision(early).await.unwrap().unwrap();
    assert_eq!((record.role.as_str(), record.principal.as_str()), ("deploy/x", "github:repository:1234"));
    assert_eq!((record.configuration, record.policy), (configuration.to_string(), None));
    assert_eq!(record.input.unwrap()["identity"]["claims"]["repository"], "acme/shop");

    let dry = grant(bench.facts("dry", None), std::collections::BTreeMap::new());
    bench.ledger.note_dry_run(&dry).await.unwrap();
    let record = bench.ledger.decision(dry.facts().decision()).await.unwrap().unwrap();
    assert_eq!((record.result.as_str(), record.target), ("would_allow", None));
    assert!(bench.unleased().await.is_empty());
    // A dry run does not use the token up.
    leased(&bench, "dry", None).await;
}

async fn operations_are_recorded_by_their_name(bench: Bench) {
    let tenants = Tenants::One("default".parse().unwrap());
    let facts =
        |operation| facts::testing::operation_facts("token", bench.clock.now(), operation, tenants.clone());
    let permitted = bench.ledger.note_permit(permit(facts(Operation::LeaseList))).await.unwrap();
    assert_eq!((permitted.operation(), permitted.tenants()), (Operation::LeaseList, &tenants));
    let record = bench.ledger.decision(permitted.decision()).await.unwrap().unwrap();
    assert_eq!((record.operation.as_str(), record.result.as_str()), ("lease.list", "permit"));
    assert_eq!((record.role.as_str(), &record.outcome["is"]), ("", &"permit".into()));
    assert_eq!(record.input.unwrap()["resource"]["filter"]["role"], "deploy");

    let judged = judged_operation(facts(Operation::Block));
    let decision = judged.facts().decision();
    let refusal = Refusal::new(Code::NotAllowed, "no");
    bench.ledger.refuse(Refused::Operation(&judged), decision, &refusal).await;
    let caller = crate::identity::testing::caller("token", bench.clock.now());
    let (early, asked) = (DecisionId::new(1, &[3; 10]), AskedFor::Operation(Operation::AuditRead));
    let configuration = crate::secret::Fingerprint::of(b"configuration");
    let who = Refused::Identified { caller: &caller, asked, configuration };
    bench.ledger.refuse(who, early, &Refusal::new(Code::RateLimited, "too often")).await;
    for (id, operation, result) in [(decision, "block", "not_allowed"), (early, "audit.read", "rate_limited")]
    {
        let record = bench.ledger.decision(id).await.unwrap().unwrap();
        assert_eq!((record.operation.as_str(), record.result.as_str()), (operation, result));
    }
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

async fn s_09_refusals_above_the_rate_are_counted_not_recorded(bench: Bench) {
    let refusal = Refusal::new(Code::NotAllowed, "no");
    let mut recorded = 0;
    for _ in 0..bench.settings.refusals_per_minute + 5 {
        let facts = bench.facts("token", None);
        let decision = facts.decision();
        bench.ledger.refuse(Refused::Judged(&judged(facts)), decision, &refusal).await;
        recorded += u32::from(bench.ledger.decision(decision).await.unwrap().is_some());
    }
    assert_eq!(recorded, bench.settings.refusals_per_minute);
    let nobody = Refused::Unidentified { source_ip: Some("192.0.2.1".parse().unwrap()) };
    bench.ledger.refuse(nobody, DecisionId::new(1, &[1; 10]), &Refusal::new(Code::TokenExpired, "old")).await;
    let before = bench.verify().await.records;
    bench.pass(Duration::from_mins(1));
    bench.ledger.upkeep().await;
    let after = bench.verify().await;
    assert_eq!(after.records, before + 1, "one record covers all counts");
    assert!(after.is_sound(), "{:?}", after.findings);
}

async fn s_10_a_change_of_configuration_is_a_record(bench: Bench) {
    let before = bench.verify().await.records;
    let print = crate::secret::Fingerprint::of(b"new");
    bench.ledger.set_revision(print, print).await.unwrap();
    assert_eq!(bench.verify().await.records, before + 1);
}

async fn what_was_done_verifies(bench: Bench) {
    let lease = leased(&bench, "token", Some("key")).await;
    leased(&bench, "token", Some("key")).await;
    bench.end(lease.id(), EndHow::AtTarget).await;
    let bench = bench.restart();
    leased(&bench, "another", None).await;
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.writers, report.erased_inputs), (2, 0));
}
