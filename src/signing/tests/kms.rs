//! Keys that a KMS holds, beside and in place of those of the store. What it signs is tested against a real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::*;
use crate::clock::Clock;
use crate::config::{KmsSettings, SigningSettings, TransitSettings};
use crate::signing::signer::LocalKey;

/// A version that `transit` could have made, and its record.
fn in_kms(purpose: Purpose, number: u32, activates_at: Timestamp) -> KeyRecord {
    let pkcs8 = LocalKey::generate(SigningAlgorithm::Es256).unwrap();
    let LocalKey::Es256(key) = LocalKey::parse(SigningAlgorithm::Es256, &pkcs8).unwrap() else {
        unreachable!()
    };
    let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = {
        use aws_lc_rs::encoding::AsDer;
        use aws_lc_rs::signature::KeyPair;
        key.public_key().as_der().unwrap()
    };
    let sealed = json!({
        "mount": "transit", "key": "tollgate", "version": number, "spki": STANDARD.encode(der.as_ref()),
    });
    let version = Version::read(SigningAlgorithm::Es256, sealed.to_string().as_bytes()).unwrap();
    KeyRecord::of_kms(purpose, &version, &sealer(1), at(0), activates_at).unwrap()
}

/// A KMS for credentials that nobody can reach.
fn unreachable_kms(key: &str) -> Kms {
    kms_at("http://127.0.0.1:1", key)
}

fn kms_at(address: &str, key: &str) -> Kms {
    let transit = TransitSettings {
        address: address.parse().unwrap(),
        namespace: None,
        mount: "transit".into(),
        key: key.into(),
        token: "sentinel-kms-token".to_owned().into(),
        ca_file: None,
        allow_networks: Vec::new(),
        insecure_loopback: true,
    };
    let settings =
        SigningSettings { credentials: Some(KmsSettings::Transit(transit)), ..SigningSettings::default() };
    assert!(!format!("{settings:?}").contains("sentinel"));
    Kms::new(&settings, &Clock::manual(at(0))).unwrap()
}

fn states(records: &[KeyRecord], minute: i64) -> Vec<KeyState> {
    let own = records.iter().filter(|key| key.purpose == Purpose::Credentials);
    own.map(|key| state_at(key, records, at(minute))).collect()
}

#[test]
fn a_key_in_a_kms_takes_the_place_of_all_keys_of_its_purpose_after_the_lag() {
    let mut records = first();
    records.push(in_kms(Purpose::Credentials, 1, at(30)));
    assert_eq!(states(&records, 0), [KeyState::Active, KeyState::Active, KeyState::Published]);
    assert_eq!(states(&records, 30), [KeyState::Retired, KeyState::Retired, KeyState::Active]);
    let kms = unreachable_kms("tollgate");
    let keyring = Keyring::open_with(&records, &sealer(1), &kms, at(30)).unwrap();
    assert!(keyring.algorithms(Purpose::Credentials).eq([SigningAlgorithm::Es256]));
    assert!(kids(&keyring.jwks(Purpose::Credentials)).contains(&records[records.len() - 1].kid));
}

#[tokio::test]
async fn s_01_a_kms_that_is_down_is_asked_once_a_second_and_its_token_shows_nowhere() {
    let mut records = first();
    records.push(in_kms(Purpose::Credentials, 1, at(1)));
    let kms = unreachable_kms("tollgate");
    let keyring = Keyring::open_with(&records, &sealer(1), &kms, at(2)).unwrap();
    let claims = json!({});
    let sign = || keyring.sign_jwt(Purpose::Credentials, ACCESS_TOKEN_TYP, &claims);
    let down = sign().await.unwrap_err();
    assert!(matches!(&down, SigningError::Kms(KmsError::Net(_))), "{down:?}");
    let paused = sign().await.unwrap_err();
    assert!(matches!(&paused, SigningError::Kms(KmsError::Paused)), "{paused:?}");
    assert!(!format!("{down:?} {paused:?} {keyring:?} {kms:?}").contains("sentinel"));
}

#[test]
fn a_key_of_a_kms_that_is_not_configured_does_not_sign() {
    let mut records = first();
    records.push(in_kms(Purpose::Credentials, 1, at(1)));
    for kms in [Kms::default(), unreachable_kms("another")] {
        let refused = Keyring::open_with(&records, &sealer(1), &kms, at(2)).unwrap_err();
        assert!(matches!(refused, SigningError::NoActiveKey(Purpose::Credentials)), "{refused}");
    }
    // Without it the store's keys are made anew, and sign at once.
    let fresh = first_keys(&records, &sealer(1), at(2)).unwrap();
    assert_eq!(fresh.len(), 2);
    records.extend(fresh);
    assert!(Keyring::open(&records, &sealer(1), at(2)).is_ok());
}

#[test]
fn a_key_that_waits_in_a_kms_is_withdrawn_with_it() {
    let mut records = first();
    records.push(in_kms(Purpose::Credentials, 1, at(30)));
    let gone = withdrawn(&Purpose::ALL, &records, at(5));
    assert_eq!(gone.iter().map(|key| key.state).collect::<Vec<_>>(), [KeyState::Revoked]);
    assert!(withdrawn(&[Purpose::Federation], &records, at(5)).is_empty());
    assert!(withdrawn(&Purpose::ALL, &records, at(30)).is_empty(), "it signs already");
}

#[test]
fn c_11_a_row_cannot_say_which_key_of_a_kms_it_is() {
    let mut records = first();
    let (mut one, other) = (in_kms(Purpose::Credentials, 1, at(1)), in_kms(Purpose::Credentials, 2, at(1)));
    one.sealed = other.sealed;
    records.push(one);
    let kms = unreachable_kms("tollgate");
    assert!(matches!(Keyring::open_with(&records, &sealer(1), &kms, at(2)), Err(SigningError::Unseal)));
    let place = records.len() - 1;
    records[place] = KeyRecord { place: Place::Store, ..in_kms(Purpose::Credentials, 1, at(1)) };
    assert!(matches!(Keyring::open_with(&records, &sealer(1), &kms, at(2)), Err(SigningError::Unseal)));
}

/// Whoever answers in place of a KMS, always with this signature; the real one is in the integration tests.
async fn impostor(signature: String) -> Kms {
    let answer = json!({ "data": { "signature": signature } }).to_string();
    let router = axum::Router::new().fallback(move || std::future::ready(answer.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kms = kms_at(&format!("http://{}", listener.local_addr().unwrap()), "tollgate");
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    kms
}

#[tokio::test]
async fn c_11_an_answer_that_is_no_signature_of_the_key_is_not_used() {
    let mut records = first();
    records.push(in_kms(Purpose::Credentials, 1, at(1)));
    let foreign = LocalKey::generate(SigningAlgorithm::Es256).unwrap();
    let foreign = LocalKey::parse(SigningAlgorithm::Es256, &foreign).unwrap().sign(b"x").unwrap();
    let foreign = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(foreign);
    for (signature, wanted) in [
        (format!("vault:v1:{foreign}"), "does not verify"),
        (format!("vault:v2:{foreign}"), "another version signed"),
        ("vault:v1:+/+/".to_owned(), "not base64url"),
        (String::new(), "another version signed"),
    ] {
        let kms = impostor(signature).await;
        let keyring = Keyring::open_with(&records, &sealer(1), &kms, at(2)).unwrap();
        let refused = keyring.sign_jwt(Purpose::Credentials, ACCESS_TOKEN_TYP, &json!({})).await.unwrap_err();
        let SigningError::Kms(error) = refused else { panic!("{refused}") };
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

/// A KMS that holds every call until it is let go, and counts how many are there at once.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
    free: watch::Sender<bool>,
}

impl Crowd {
    async fn call(self: Arc<Self>) -> String {
        let here = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(here, Ordering::SeqCst);
        let mut free = self.free.subscribe();
        free.wait_for(|free| *free).await.unwrap();
        self.now.fetch_sub(1, Ordering::SeqCst);
        json!({ "data": { "signature": "vault:v1:none" } }).to_string()
    }
}

#[tokio::test]
async fn s_07_a_kms_that_hangs_has_thirty_two_calls_and_no_more() {
    let mut records = first();
    records.push(in_kms(Purpose::Credentials, 1, at(1)));
    let crowd = Arc::new(Crowd::default());
    let calls = Arc::clone(&crowd);
    let router = axum::Router::new().fallback(move || Arc::clone(&calls).call());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kms = kms_at(&format!("http://{}", listener.local_addr().unwrap()), "tollgate");
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    let keyring = Arc::new(Keyring::open_with(&records, &sealer(1), &kms, at(2)).unwrap());
    let signing: Vec<_> = (0..100)
        .map(|_| {
            let keyring = Arc::clone(&keyring);
            let claims = json!({});
            tokio::spawn(
                async move { keyring.sign_jwt(Purpose::Credentials, ACCESS_TOKEN_TYP, &claims).await },
            )
        })
        .collect();
    while crowd.most.load(Ordering::SeqCst) < 32 {
        tokio::task::yield_now().await;
    }
    crowd.free.send_replace(true);
    for signed in signing {
        signed.await.unwrap().unwrap_err();
    }
    assert_eq!(crowd.most.load(Ordering::SeqCst), 32);
}
