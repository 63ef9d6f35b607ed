//! Keys through their whole life: sealed, opened, signing, rotated, revoked; verified by another implementation.

mod kms;
mod revocation;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::key::Private;
use super::*;

const LAG: SignedDuration = SignedDuration::from_mins(30);

fn sealer(byte: u8) -> Sealer {
    Sealer::new(&STANDARD.encode([byte; 32]).into()).unwrap()
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
}

fn es256(purpose: Purpose, activates_at: Timestamp) -> KeyRecord {
    Keyring::generate(purpose, SigningAlgorithm::Es256, &sealer(1), at(0), activates_at).unwrap()
}

/// Every purpose with its keys, active since minute 0.
fn first() -> Vec<KeyRecord> {
    first_keys(&[], &sealer(1), at(0)).unwrap()
}

/// What the seal of a key in the store is bound to.
fn context(key: &KeyRecord) -> String {
    let (created, activates) = (key.created_at.as_millisecond(), key.activates_at.as_millisecond());
    let (purpose, algorithm) = (key.purpose.as_str(), key.algorithm.as_str());
    format!("signing-key/2/store/{purpose}/{algorithm}/{created}/{activates}/{}", key.kid)
}

fn of(records: &[KeyRecord], purpose: Purpose, algorithm: SigningAlgorithm) -> KeyRecord {
    records.iter().find(|key| key.purpose == purpose && key.algorithm == algorithm).unwrap().clone()
}

fn kids(jwks: &str) -> Vec<String> {
    let jwks: JwkSet = serde_json::from_str(jwks).unwrap();
    jwks.keys.into_iter().map(|key| key.common.key_id.unwrap()).collect()
}

/// Verifies as any relying party would: the key by `kid`, the algorithm by the key.
fn verify(jwks: &str, token: &str) -> Option<Value> {
    let jwks: JwkSet = serde_json::from_str(jwks).unwrap();
    let jwk = jwks.find(&decode_header(token).unwrap().kid.unwrap())?;
    let algorithm: Algorithm = jwk.common.key_algorithm.unwrap().to_string().parse().unwrap();
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(jwk).unwrap();
    decode::<Value>(token, &key, &validation).ok().map(|token| token.claims)
}

#[tokio::test]
async fn each_purpose_signs_with_its_own_algorithm_and_either_on_request() {
    let keyring = Keyring::open(&first(), &sealer(1), at(0)).unwrap();
    let claims = json!({"sub": "role:main:deploy", "n": 1, "text": "a\"\n\u{1b}ü"});
    for purpose in Purpose::ALL {
        let own = keyring.sign_jwt(purpose, FEDERATION_TYP, &claims).await.unwrap();
        let algorithm = decode_header(own.expose_secret()).unwrap().alg;
        assert_eq!(format!("{algorithm:?}").to_uppercase(), purpose.algorithms()[0].as_str());
        assert!(keyring.algorithms(purpose).eq(purpose.algorithms().iter().copied()));
        for algorithm in keyring.algorithms(purpose) {
            let token = keyring.sign_jwt_with(purpose, algorithm, CHECKPOINT_TYP, &claims).await.unwrap();
            let header = decode_header(token.expose_secret()).unwrap();
            assert_eq!(header.typ.as_deref(), Some(CHECKPOINT_TYP));
            assert_eq!(format!("{:?}", header.alg).to_uppercase(), algorithm.as_str());
            assert_eq!(verify(&keyring.jwks(purpose), token.expose_secret()), Some(claims.clone()));
        }
    }
    let missing = keyring.sign_jwt_with(Purpose::Checkpoints, SigningAlgorithm::Rs256, "JWT", &claims).await;
    assert!(matches!(
        missing,
        Err(SigningError::NoSuchAlgorithm(Purpose::Checkpoints, SigningAlgorithm::Rs256))
    ));
}

#[tokio::test]
async fn c_10_a_token_of_one_purpose_does_not_verify_with_the_keys_of_another() {
    let keyring = Keyring::open(&first(), &sealer(1), at(0)).unwrap();
    for signed in Purpose::ALL {
        let token = keyring.sign_jwt(signed, FEDERATION_TYP, &json!({"sub": "x"})).await.unwrap();
        for asked in Purpose::ALL {
            let verified = verify(&keyring.jwks(asked), token.expose_secret());
            assert_eq!(verified.is_some(), signed == asked, "{signed:?} against {asked:?}");
        }
    }
}

#[tokio::test]
async fn a_changed_token_does_not_verify() {
    let keyring = Keyring::open(&first(), &sealer(1), at(0)).unwrap();
    for purpose in Purpose::ALL {
        let token = keyring.sign_jwt(purpose, FEDERATION_TYP, &json!({"sub": "a"})).await.unwrap();
        let other = keyring.sign_jwt(purpose, FEDERATION_TYP, &json!({"sub": "b"})).await.unwrap();
        let (signed, _) = token.expose_secret().rsplit_once('.').unwrap();
        let (_, signature) = other.expose_secret().rsplit_once('.').unwrap();
        assert_eq!(verify(&keyring.jwks(purpose), &format!("{signed}.{signature}")), None);
    }
}

#[test]
fn key_ids_are_thumbprints() {
    for record in first() {
        let jwk: Jwk = serde_json::from_str(&record.public_jwk).unwrap();
        assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), record.kid);
        assert_eq!(jwk.common.key_id, Some(record.kid));
    }
}

#[test]
fn c_11_private_keys_are_sealed_and_bound_to_their_record() {
    for record in first() {
        let private = sealer(1).open(&context(&record), &record.sealed).unwrap();
        assert!(!record.sealed.windows(16).any(|window| private.windows(16).any(|secret| secret == window)));
        assert!(!record.public_jwk.contains("\"d\""), "{}", record.public_jwk);
    }
    let mut records = first();
    let other = Keyring::open(&records, &sealer(2), at(0));
    assert!(matches!(other, Err(SigningError::UnknownSeal(_))), "another key");
    let stolen = of(&records, Purpose::Credentials, SigningAlgorithm::Rs256).sealed;
    records.iter_mut().find(|key| key.purpose == Purpose::Federation).unwrap().sealed = stolen;
    assert!(
        matches!(Keyring::open(&records, &sealer(1), at(0)), Err(SigningError::Unseal)),
        "another row's key"
    );
}

#[test]
fn c_11_a_private_key_under_the_id_of_another_does_not_open() {
    let mut record = es256(Purpose::Federation, at(0));
    let other = es256(Purpose::Federation, at(0));
    let private = sealer(1).open(&context(&other), &other.sealed).unwrap();
    record.sealed = sealer(1).seal(&context(&record), &private).unwrap();
    let opened = Keyring::open(&[first(), vec![record.clone()]].concat(), &sealer(1), at(0));
    assert!(matches!(opened, Err(SigningError::KeyMismatch(kid)) if kid == record.kid));
}

#[test]
fn c_11_a_row_written_by_a_thief_is_not_published() {
    let theirs =
        Keyring::generate(Purpose::Federation, SigningAlgorithm::Es256, &sealer(9), at(0), at(0)).unwrap();
    let records = [first(), vec![theirs.clone()]].concat();
    assert!(matches!(Keyring::open(&records, &sealer(1), at(0)), Err(SigningError::UnknownSeal(_))));
    // A foreign public half on a genuine row is ignored.
    let mut records = first();
    records[0].public_jwk = theirs.public_jwk;
    let jwks = Keyring::open(&records, &sealer(1), at(0)).unwrap().jwks(records[0].purpose);
    assert!(!kids(&jwks).contains(&theirs.kid));
}

#[test]
fn s_01_debug_shows_ids_and_no_key() {
    let records = first();
    let keyring = Keyring::open(&records, &sealer(1), at(0)).unwrap();
    let Private::Local(key) = records[0].open(&sealer(1)).unwrap().private else { unreachable!() };
    let shown = format!("{records:?} {keyring:?} {:?}", Signer::local(key));
    for record in &records {
        assert!(shown.contains(&record.kid));
        assert!(!shown.contains(&format!("{:?}", &record.sealed[..8]).replace(['[', ']'], "")));
        assert!(!shown.contains("sealed"), "{shown}");
    }
}

#[test]
fn a_purpose_without_an_active_key_of_its_own_algorithm_does_not_open() {
    let all = first();
    for purpose in Purpose::ALL {
        let own = purpose.algorithms()[0];
        let lacking: Vec<_> =
            all.iter().filter(|key| !(key.purpose == purpose && key.algorithm == own)).cloned().collect();
        let refused = Keyring::open(&lacking, &sealer(1), at(0)).unwrap_err();
        assert!(matches!(refused, SigningError::NoActiveKey(which) if which == purpose), "{refused}");
        assert_eq!(first_keys(&lacking, &sealer(1), at(0)).unwrap().len(), 1);
    }
    assert!(first_keys(&all, &sealer(1), at(0)).unwrap().is_empty());
}

#[tokio::test]
async fn a_rotation_publishes_then_activates_then_retires_then_forgets() {
    let (purpose, algorithm) = (Purpose::Credentials, SigningAlgorithm::Es256);
    let mut records = first();
    let old = of(&records, purpose, algorithm).kid;
    assert_eq!(
        plan_rotation(&records, purpose, algorithm, Place::Store, at(0), LAG),
        Rotation::Publish { activates_at: at(30) }
    );
    let new = es256(purpose, at(30));
    let new_kid = new.kid.clone();
    records.push(new);

    let gone = 30 + 13 * 60;
    for (minute, signs, listed) in [
        (0, &old, vec![&old, &new_kid]),
        (29, &old, vec![&old, &new_kid]),
        (30, &new_kid, vec![&old, &new_kid]),
        (gone - 1, &new_kid, vec![&old, &new_kid]),
        (gone, &new_kid, vec![&new_kid]),
    ] {
        let keyring = Keyring::open(&records, &sealer(1), at(minute)).unwrap();
        let token = keyring.sign_jwt(purpose, ACCESS_TOKEN_TYP, &json!({})).await.unwrap();
        assert_eq!(
            decode_header(token.expose_secret()).unwrap().kid.as_ref(),
            Some(signs),
            "minute {minute}"
        );
        let jwks = keyring.jwks(purpose);
        let shown: Vec<_> = kids(&jwks).into_iter().filter(|kid| *kid == old || *kid == new_kid).collect();
        assert_eq!(shown.iter().collect::<Vec<_>>(), listed, "minute {minute}");
    }
    assert_eq!(next_change(&records, at(0)), Some(at(30)));
    assert_eq!(next_change(&records, at(30)), Some(at(gone)));
    assert_eq!(next_change(&records, at(gone)), None);
}

#[test]
fn a_clock_set_back_to_before_the_first_keys_leaves_each_purpose_with_one() {
    let mut records = first();
    records.push(es256(Purpose::Federation, at(30)));
    assert!(Keyring::open(&records, &sealer(1), at(-60)).is_ok());
    let states = |now| {
        let of =
            |key: &&KeyRecord| key.purpose == Purpose::Federation && key.algorithm == SigningAlgorithm::Es256;
        records.iter().filter(of).map(|key| state_at(key, &records, now)).collect::<Vec<_>>()
    };
    assert_eq!(states(at(-60)), [KeyState::Active, KeyState::Published]);
    assert!(settle(&records[..records.len() - 1], at(-60)).is_empty());
}

#[test]
fn a_rotation_under_way_is_not_repeated_and_the_first_key_does_not_wait() {
    let (purpose, algorithm) = (Purpose::Federation, SigningAlgorithm::Es256);
    assert_eq!(
        plan_rotation(&[], purpose, algorithm, Place::Store, at(5), LAG),
        Rotation::Publish { activates_at: at(5) }
    );
    let records = [es256(purpose, at(0)), es256(purpose, at(30))];
    let pending = Rotation::Pending { kid: records[1].kid.clone(), activates_at: at(30) };
    assert_eq!(plan_rotation(&records, purpose, algorithm, Place::Store, at(5), LAG), pending);
    assert_eq!(
        plan_rotation(&records, purpose, algorithm, Place::Store, at(30), LAG),
        Rotation::Publish { activates_at: at(60) }
    );
    let other = plan_rotation(&records, purpose, SigningAlgorithm::Rs256, Place::Store, at(5), LAG);
    assert_eq!(other, Rotation::Publish { activates_at: at(5) });
}

#[test]
fn settling_writes_what_time_has_changed_and_drops_private_keys_that_are_gone() {
    let records = [es256(Purpose::Federation, at(0)), es256(Purpose::Federation, at(30))];
    assert!(settle(&records, at(0)).is_empty());
    let states = |settled: &[KeyRecord]| settled.iter().map(|key| key.state).collect::<Vec<_>>();
    assert_eq!(states(&settle(&records, at(30))), [KeyState::Retired, KeyState::Active]);
    let settled = settle(&records, at(30 + 62));
    assert_eq!(states(&settled), [KeyState::Revoked, KeyState::Active]);
    assert!(settled[0].sealed.is_empty() && !settled[1].sealed.is_empty());
    assert!(settle(&settled, at(30 + 62)).is_empty());
}

#[test]
fn checkpoint_keys_are_never_forgotten_by_time() {
    let records = [es256(Purpose::Checkpoints, at(0)), es256(Purpose::Checkpoints, at(30))];
    assert_eq!(state_at(&records[0], &records, at(60 * 24 * 3650)), KeyState::Retired);
    assert_eq!(next_change(&records, at(30)), None);
}

#[test]
fn keys_that_activate_together_leave_one_active() {
    let records = [es256(Purpose::Federation, at(0)), es256(Purpose::Federation, at(0))];
    let active = |key: &&KeyRecord| state_at(key, &records, at(0)) == KeyState::Active;
    assert_eq!(records.iter().filter(active).count(), 1);
}
