//! Who can use up whose budget.

use std::time::Duration;

use super::*;
use crate::facts::testing::role;
use crate::identity::testing::caller_as;

fn limiter(change: impl FnOnce(&mut Limits)) -> (Limiter, Clock) {
    let clock = Clock::manual("2026-03-02T10:00:00Z".parse().unwrap());
    let mut limits = Limits::default();
    change(&mut limits);
    (Limiter::new(&limits, clock.clone()), clock)
}

fn caller(principal: &str, tenant: &str) -> Caller {
    caller_as(principal, tenant, "2026-03-02T10:00:00Z".parse().unwrap())
}

fn on_call() -> Role {
    Role { name: "debug/on-call".parse().unwrap(), budget: RoleBudget::OnCall, ..role() }
}

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

#[track_caller]
fn assert_limited<T>(result: Result<T, Refusal>, about: &str) {
    let refusal = result.err().expect("a refusal");
    assert_eq!(refusal.code, Code::RateLimited);
    assert!(refusal.message.contains(about), "{}", refusal.message);
    assert!(refusal.retry_after.is_some_and(|seconds| (1..=61).contains(&seconds)), "{refusal:?}");
}

#[test]
fn c_08_one_principal_cannot_use_up_anothers_budget() {
    let (limiter, clock) = limiter(|limits| limits.exchanges_per_minute = 3);
    let (greedy, modest) = (caller("greedy", "acme"), caller("modest", "acme"));
    for _ in 0..3 {
        assert!(limiter.admit(&greedy, Some(&role())).is_ok());
    }
    assert_limited(limiter.admit(&greedy, Some(&role())), "this identity");
    assert_limited(limiter.admit(&greedy, None), "this identity");
    assert!(limiter.admit(&modest, Some(&role())).is_ok());
    clock.set(clock.now() + Duration::from_secs(20));
    assert!(limiter.admit(&greedy, Some(&role())).is_ok());
}

#[test]
fn c_08_one_tenant_cannot_use_up_anothers_budget_with_many_identities() {
    let (limiter, _) = limiter(|limits| limits.tenant_exchanges_per_minute = 5);
    for n in 0..5 {
        assert!(limiter.admit(&caller(&format!("job-{n}"), "acme"), Some(&role())).is_ok());
    }
    assert_limited(limiter.admit(&caller("job-5", "acme"), Some(&role())), "this tenant");
    assert!(limiter.admit(&caller("job-5", "other"), Some(&role())).is_ok());
}

#[test]
fn c_08_a_flood_of_jobs_leaves_the_budget_of_who_is_on_call_whole() {
    let (limiter, _) = limiter(|limits| {
        limits.tenant_exchanges_per_minute = 5;
        limits.on_call_exchanges_per_minute = 2;
        limits.exchanges_per_minute = 2;
    });
    for n in 0..1000 {
        // Policy lets jobs have the ordinary role and not the one on call: of that one nothing is spent.
        let job = caller(&format!("job-{n}"), "acme");
        if limiter.admit(&job, Some(&role())).is_ok() {
            let _ = limiter.spend(job.tenant(), &role());
        }
        let _ = limiter.admit(&job, Some(&on_call()));
    }
    let engineer = caller("engineer", "acme");
    assert!(limiter.admit(&engineer, Some(&role())).is_err());
    for _ in 0..2 {
        assert!(limiter.admit(&engineer, Some(&on_call())).is_ok());
        assert!(limiter.spend(engineer.tenant(), &on_call()).is_ok());
    }
    assert_limited(limiter.admit(&engineer, Some(&on_call())), "this identity");
    assert_limited(limiter.spend(engineer.tenant(), &on_call()), "on call");
}

#[test]
fn c_08_a_role_has_a_budget_of_its_own_for_everybody() {
    let (limiter, _) = limiter(|limits| limits.role_exchanges_per_minute = 2);
    let lowered = Role { name: "lowered".parse().unwrap(), per_minute: Some(1), ..role() };
    let raised = Role { name: "raised".parse().unwrap(), per_minute: Some(3), ..role() };
    for (role, budget) in [(role(), 2), (lowered, 1), (raised, 3)] {
        for n in 0..budget {
            assert!(limiter.spend(&tenant(&format!("t{n}")), &role).is_ok(), "{}", role.name);
        }
        assert_limited(limiter.spend(&tenant("late"), &role), "this role");
    }
}

#[test]
fn c_08_places_are_kept_for_roles_on_call() {
    let (limiter, _) = limiter(|limits| limits.concurrency = 8);
    let job = caller("job", "acme");
    let held: Vec<_> = (0..7).map(|_| limiter.admit(&job, Some(&role())).ok().unwrap()).collect();
    assert_eq!(limiter.admit(&job, Some(&role())).err().unwrap().code, Code::Overloaded);
    assert!(limiter.admit(&job, Some(&on_call())).is_ok());
    drop(held);
    assert!(limiter.admit(&job, Some(&role())).is_ok());
}

#[test]
fn s_07_look_ups_have_budgets_per_identity_and_per_network() {
    let (limiter, _) = limiter(|limits| {
        limits.lookups_per_minute = 1;
        limits.peer_lookups_per_minute = 1;
    });
    let (one, other) = (caller("one", "acme"), caller("other", "acme"));
    assert!(limiter.look_up(one.principal()).is_ok() && limiter.look_up(other.principal()).is_ok());
    assert_limited(limiter.look_up(one.principal()), "this identity");
    let peer = |address: &str| limiter.peer(address.parse().unwrap());
    assert!(peer("192.0.2.1").is_ok() && peer("192.0.2.2").is_ok() && peer("2001:db8::1").is_ok());
    assert_limited(peer("::ffff:192.0.2.1"), "this address");
    assert_limited(peer("2001:db8::ffff"), "this address");
    assert!(peer("2001:db8:0:1::1").is_ok());
}
