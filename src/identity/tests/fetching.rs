//! Keys over HTTP: who is asked, how often, and what happens when the issuer misbehaves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::harness::*;
use super::signer::Signer;
use crate::clock::Clock;
use crate::config::{Algorithm, Issuer, KeySource};
use crate::domain::Code;
use crate::identity::discovery::Origin;
use crate::identity::fetcher::Place;
use crate::identity::jwks::{KeyCache, KeyError};
use crate::identity::{Identity, Remembered};

/// An issuer with one key, and an identity that knows it.
struct Case {
    server: Server,
    signer: Signer,
    clock: Clock,
    memory: Arc<Memory>,
    identity: Identity,
}

impl Case {
    async fn new() -> Self {
        let signer = Signer::ec("k1");
        let server = Server::start(&[&signer]).await;
        let (clock, memory) = (Clock::manual(at(NOW)), Arc::default());
        let identity = identity(vec![server.entry("acme")], &memory, &clock);
        Self { server, signer, clock, memory, identity }
    }

    /// A token issued now by `signer`.
    fn token(&self, signer: &Signer) -> String {
        let now = self.clock.now().as_second();
        let mut claims = claims(&self.server.entry("acme"));
        for (claim, offset) in [("iat", -10), ("nbf", -10), ("exp", 300)] {
            claims[claim] = json!(now + offset);
        }
        signer.token(&claims)
    }

    async fn ask(&self) -> Result<(), Code> {
        code(&self.identity, self.token(&self.signer)).await
    }

    async fn ask_with(&self, signer: &Signer) -> Result<(), Code> {
        code(&self.identity, self.token(signer)).await
    }

    fn wait(&self, seconds: i64) {
        self.clock.set(at(self.clock.now().as_second() + seconds));
    }

    /// A new process with the same memory.
    fn restart(&mut self) {
        self.identity = identity(vec![self.server.entry("acme")], &self.memory, &self.clock);
    }
}

#[tokio::test]
async fn asks_once_and_serves_from_memory() {
    let case = Case::new().await;
    assert_eq!(case.server.asked(), (0, 0), "setting up asks nobody");
    for _ in 0..5 {
        assert_eq!(case.ask().await, Ok(()));
    }
    assert_eq!(case.server.asked(), (1, 1));
    assert_eq!(case.identity.key_ages()[0].age, Some(Duration::ZERO));
}

#[tokio::test]
async fn callers_at_once_share_one_fetch() {
    let case = Arc::new(Case::new().await);
    case.server.set(Mode::Hang);
    let asking: Vec<_> = (0..32)
        .map(|_| {
            let case = Arc::clone(&case);
            tokio::spawn(async move { case.ask().await })
        })
        .collect();
    until(|| case.server.asked().0 > 0).await;
    // Whoever began the fetch hangs up; it goes on for the others.
    asking[0].abort();
    case.server.set(Mode::Good);
    for (index, asked) in asking.into_iter().enumerate() {
        assert!(index == 0 || asked.await.unwrap() == Ok(()));
    }
    assert_eq!(case.server.asked(), (1, 1));
}

#[tokio::test]
async fn i_01_an_unknown_issuer_causes_no_request() {
    let (case, stranger) = (Case::new().await, Case::new().await);
    assert_eq!(code(&case.identity, stranger.token(&stranger.signer)).await, Err(Code::IssuerUnknown));
    let mut wrong_audience = claims(&case.server.entry("acme"));
    wrong_audience["aud"] = json!("https://other.example");
    let token = case.signer.token(&wrong_audience);
    assert_eq!(code(&case.identity, token).await, Err(Code::TokenAudienceRefused));
    let wrong_algorithm = Signer::ed("k1");
    assert_eq!(case.ask_with(&wrong_algorithm).await, Err(Code::TokenAlgorithmRefused));
    assert_eq!((case.server.asked(), stranger.server.asked()), ((0, 0), (0, 0)));
}

#[tokio::test]
async fn i_01_a_loopback_issuer_is_not_asked_unless_configured() {
    let case = Case::new().await;
    let entry = Issuer { insecure_loopback: false, ..case.server.entry("acme") };
    let strict = identity(vec![entry], &case.memory, &case.clock);
    assert_eq!(code(&strict, case.token(&case.signer)).await, Err(Code::IssuerUnavailable));
    assert_eq!(case.server.asked(), (0, 0));
}

#[tokio::test]
async fn i_02_redirects_and_other_issuers_swap_no_keys() {
    let evil = Signer::ec("k1");
    let thief = Server::start(&[&evil]).await;
    for mode in [
        Mode::RedirectDiscovery(format!("{}/.well-known/openid-configuration", thief.url)),
        Mode::RedirectKeys(format!("{}/keys", thief.url)),
        Mode::OtherIssuer,
    ] {
        let case = Case::new().await;
        case.server.set(mode.clone());
        assert_eq!(case.ask_with(&evil).await, Err(Code::IssuerUnavailable), "{mode:?}");
    }
    assert_eq!(thief.asked(), (0, 0));
}

#[tokio::test]
async fn i_20_keys_on_another_host_are_not_fetched() {
    let evil = Signer::ec("k1");
    let thief = Server::start(&[&evil]).await;
    let case = Case::new().await;
    case.server.set(Mode::JwksUri(format!("{}/keys", thief.url)));
    let refusal = case.identity.authenticate(&case.token(&evil).into()).await.unwrap_err();
    assert_eq!(refusal.code, Code::IssuerUnavailable);
    assert!(refusal.detail.unwrap().contains("jwks_hosts"));
    assert_eq!(thief.asked(), (0, 0));
}

#[tokio::test]
async fn a_broken_issuer_is_unavailable_and_not_asked_again_at_once() {
    for mode in [Mode::Down, Mode::Html, Mode::Huge] {
        let case = Case::new().await;
        case.server.set(mode.clone());
        let refusal = case.identity.authenticate(&case.token(&case.signer).into()).await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after), (Code::IssuerUnavailable, Some(1)), "{mode:?}");
        assert!(refusal.detail.is_some());
        assert_eq!(case.ask().await, Err(Code::IssuerUnavailable));
        assert_eq!(case.server.asked().0, 1, "{mode:?}");

        case.server.set(Mode::Good);
        case.wait(2);
        assert_eq!(case.ask().await, Ok(()), "{mode:?}");
    }
}

#[tokio::test]
async fn a_slow_issuer_ends_in_time() {
    let case = Case::new().await;
    case.server.set(Mode::Hang);
    let origin = Place::Discovery(Origin::new(&case.server.entry("acme"), &[]));
    let memory: Arc<dyn Remembered> = Arc::<Memory>::clone(&case.memory);
    let cache =
        Arc::new(KeyCache::new(origin, Duration::from_millis(50), memory, case.clock.clone(), None).unwrap());
    let found = cache.find(Some("k1"), Algorithm::Es256).await.err();
    assert!(matches!(found, Some(KeyError::Unavailable { cause: Some(_), .. })), "{found:?}");
}

#[tokio::test]
async fn i_05_random_key_ids_cause_one_fetch_per_pause() {
    let case = Case::new().await;
    assert_eq!(case.ask().await, Ok(()));
    let storm = async |expected: usize| {
        for kid in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            assert_eq!(case.ask_with(&Signer::ec(kid)).await, Err(Code::TokenKeyUnknown));
        }
        assert_eq!(case.server.asked(), (expected, expected));
    };
    storm(1).await;
    case.wait(29);
    storm(1).await;
    case.wait(1);
    storm(2).await;
    let refusal = case.identity.authenticate(&case.token(&Signer::ec("x")).into()).await.unwrap_err();
    assert_eq!(refusal.retry_after, Some(30));
    assert_eq!(case.ask().await, Ok(()), "known keys are not affected");
}

#[tokio::test]
async fn a_rotated_key_is_found_and_a_withdrawn_one_is_not() {
    let case = Case::new().await;
    assert_eq!(case.ask().await, Ok(()));
    let next = Signer::ec("k2");
    case.server.publish(&[&next]);
    case.wait(30);
    assert_eq!(case.ask_with(&next).await, Ok(()));
    assert_eq!(case.ask().await, Err(Code::TokenKeyUnknown));
    case.server.publish(&[]);
    case.wait(3600);
    assert_eq!(case.ask_with(&next).await, Err(Code::TokenKeyUnknown), "an issuer may withdraw every key");
}

#[tokio::test]
async fn ageing_keys_are_refreshed_behind_the_callers_back() {
    let case = Case::new().await;
    assert_eq!(case.ask().await, Ok(()));
    case.wait(299);
    assert_eq!(case.ask().await, Ok(()));
    assert_eq!(case.server.asked(), (1, 1));
    case.wait(1);
    case.server.set(Mode::Hang);
    assert_eq!(case.ask().await, Ok(()), "nobody waits for the refresh");
    case.server.set(Mode::Good);
    until(|| case.server.asked() == (2, 2)).await;
    case.identity.refresh().await;
    assert_eq!(case.server.asked(), (2, 2), "joined, not begun again");
    assert_eq!(case.identity.key_ages()[0].age, Some(Duration::ZERO));
}

#[tokio::test]
async fn stale_keys_are_refreshed_before_use() {
    let case = Case::new().await;
    assert_eq!(case.ask().await, Ok(()));
    case.wait(3600);
    case.server.publish(&[&Signer::ec("k2")]);
    assert_eq!(case.ask().await, Err(Code::TokenKeyUnknown), "withdrawn during a quiet hour");
}

#[tokio::test]
async fn last_good_keys_carry_a_day_and_no_longer() {
    let case = Case::new().await;
    assert_eq!(case.ask().await, Ok(()));
    case.server.set(Mode::Down);
    case.wait(24 * 3600 - 1);
    assert_eq!(case.ask().await, Ok(()));
    case.wait(1);
    assert_eq!(case.ask().await, Err(Code::IssuerUnavailable));
}

#[tokio::test]
async fn last_good_keys_survive_a_restart_while_the_issuer_is_down() {
    let mut case = Case::new().await;
    assert_eq!(case.ask().await, Ok(()));
    let issuer = case.server.entry("acme").url;
    until(|| case.memory.kept(&issuer).is_some()).await;
    case.server.set(Mode::Down);
    case.wait(3600);
    case.restart();
    assert_eq!(case.ask().await, Ok(()));
    assert_eq!(case.identity.key_ages()[0].age, Some(Duration::from_hours(1)));
    case.wait(23 * 3600);
    case.restart();
    assert_eq!(case.ask().await, Err(Code::IssuerUnavailable), "a day old");
    assert_eq!(case.identity.key_ages()[0].age, None);
}

#[tokio::test]
async fn failures_back_off_and_the_pause_is_bounded() {
    let case = Case::new().await;
    case.server.set(Mode::Down);
    for _ in 0..12 {
        case.wait(60);
        assert_eq!(case.ask().await, Err(Code::IssuerUnavailable));
    }
    assert_eq!(case.server.asked().0, 12, "a minute is the longest pause");
    case.wait(20);
    assert_eq!(case.ask().await, Err(Code::IssuerUnavailable));
    assert_eq!(case.server.asked().0, 12, "and half of it the shortest after many failures");
}

#[tokio::test]
async fn i_18_a_clock_set_back_does_not_silence_the_issuer() {
    let case = Case::new().await;
    case.wait(3600);
    assert_eq!(case.ask().await, Ok(()));
    case.wait(-3600);
    let next = Signer::ec("k2");
    case.server.publish(&[&next]);
    assert_eq!(case.ask_with(&next).await, Ok(()));
    assert_eq!(case.server.asked(), (2, 2));
}

#[tokio::test]
async fn entries_of_one_source_share_keys_and_a_reload_keeps_them() {
    let case = Case::new().await;
    let second = Issuer { audience: "https://second.example".into(), ..case.server.entry("second") };
    let both = || vec![case.server.entry("acme"), second.clone()];
    let first = identity(both(), &case.memory, &case.clock);
    assert_eq!(code(&first, case.token(&case.signer)).await, Ok(()));
    let mut for_second = claims(&second);
    for_second["aud"] = json!(second.audience);
    assert_eq!(code(&first, case.signer.token(&for_second)).await, Ok(()));
    assert_eq!(case.server.asked(), (1, 1));

    let reloaded = identity(both(), &case.memory, &case.clock).succeed(&first);
    assert_eq!(code(&reloaded, case.token(&case.signer)).await, Ok(()));
    assert_eq!(case.server.asked(), (1, 1), "unchanged: nobody is asked again");

    let changed = Issuer {
        keys: KeySource::Discovery { jwks_hosts: vec!["keys.example".into()] },
        ..case.server.entry("acme")
    };
    let reloaded = identity(vec![changed], &case.memory, &case.clock).succeed(&first);
    assert_eq!(code(&reloaded, case.token(&case.signer)).await, Ok(()));
    assert_eq!(case.server.asked(), (2, 2), "another source is another cache");
}
