//! Keys that are revoked, and rows that somebody changed.

use super::*;

/// `records` with `changed` in place of those with their ids.
fn with(mut records: Vec<KeyRecord>, changed: Vec<KeyRecord>) -> Vec<KeyRecord> {
    records.retain(|key| changed.iter().all(|other| other.kid != key.kid));
    records.extend(changed);
    records
}

fn states(records: &[KeyRecord], minute: i64) -> Vec<KeyState> {
    records.iter().map(|key| state_at(key, records, at(minute))).collect()
}

#[test]
fn c_11_the_key_that_signs_is_revoked_only_with_a_replacement() {
    let records = first();
    let stolen = of(&records, Purpose::Checkpoints, SigningAlgorithm::Es256).kid;
    let refused = revoke(&records, &stolen, false, &sealer(1), at(5)).unwrap_err();
    assert!(matches!(refused, SigningError::StillSigning(kid) if kid == stolen));
    let revocation = revoke(&records, &stolen, true, &sealer(1), at(5)).unwrap();
    assert_eq!(revocation.lacks, Some((Purpose::Checkpoints, SigningAlgorithm::Es256)));
    assert_eq!(revocation.changed[0].state, KeyState::Revoked);
    assert!(revocation.changed[0].sealed.is_empty(), "its private half is gone from the store");

    let fresh =
        Keyring::generate(Purpose::Checkpoints, SigningAlgorithm::Es256, &sealer(1), at(5), at(5)).unwrap();
    let records = with(records, [revocation.changed, vec![fresh.clone()]].concat());
    let keyring = Keyring::open(&records, &sealer(1), at(5)).unwrap();
    assert_eq!(kids(&keyring.jwks(Purpose::Checkpoints)), [fresh.kid]);
    let again = revoke(&records, &stolen, true, &sealer(1), at(5)).unwrap_err();
    assert!(matches!(again, SigningError::AlreadyRevoked(_)));
    assert!(matches!(revoke(&records, "?", true, &sealer(1), at(5)), Err(SigningError::NoSuchKey(_))));
}

#[tokio::test]
async fn c_11_a_key_that_is_published_already_takes_over_from_a_revoked_one() {
    let mut records = first();
    let old = of(&records, Purpose::Credentials, SigningAlgorithm::Es256);
    let next = es256(Purpose::Credentials, at(30));
    records.push(next.clone());
    let revocation = revoke(&records, &old.kid, true, &sealer(1), at(5)).unwrap();
    assert_eq!(revocation.lacks, None);
    let records = with(records, revocation.changed);
    let keyring = Keyring::open(&records, &sealer(1), at(5)).unwrap();
    let token = keyring.sign_jwt(Purpose::Credentials, ACCESS_TOKEN_TYP, &json!({})).await.unwrap();
    assert_eq!(decode_header(token.expose_secret()).unwrap().kid, Some(next.kid));
    assert!(!kids(&keyring.jwks(Purpose::Credentials)).contains(&old.kid));
}

#[test]
fn c_11_revoking_the_key_that_signs_does_not_wake_a_retired_one() {
    let records = vec![es256(Purpose::Federation, at(0)), es256(Purpose::Federation, at(30))];
    let next = es256(Purpose::Federation, at(90));
    let records = [records, vec![next]].concat();
    assert_eq!(states(&records, 60), [KeyState::Retired, KeyState::Active, KeyState::Published]);
    let revocation = revoke(&records, &records[1].kid, true, &sealer(1), at(60)).unwrap();
    let records = with(records, revocation.changed);
    assert_eq!(states(&records, 60), [KeyState::Retired, KeyState::Revoked, KeyState::Active]);
}

#[test]
fn revoking_a_key_that_does_not_sign_makes_no_other() {
    let records = [es256(Purpose::Federation, at(0)), es256(Purpose::Federation, at(30))];
    let revocation = revoke(&records, &records[1].kid, false, &sealer(1), at(5)).unwrap();
    assert_eq!((revocation.changed.len(), revocation.lacks), (1, None));
}

#[test]
fn c_11_a_row_whose_state_or_times_were_changed_does_not_open() {
    let mut records = first();
    let stolen = of(&records, Purpose::Checkpoints, SigningAlgorithm::Es256);
    let gone = revoke(&records, &stolen.kid, true, &sealer(1), at(5)).unwrap().changed;
    records = with(records, [gone, vec![es256(Purpose::Checkpoints, at(5))]].concat());
    let refused = |change: &dyn Fn(&mut KeyRecord)| {
        let mut records = records.clone();
        records.iter_mut().for_each(change);
        Keyring::open(&records, &sealer(1), at(5)).unwrap_err()
    };
    // A revoked key has no private half left that could be opened.
    let revived = refused(&|key| {
        if key.kid == stolen.kid {
            key.state = KeyState::Active;
        }
    });
    assert!(matches!(revived, SigningError::Unseal));
    let early = refused(&|key| key.activates_at = at(-60));
    assert!(matches!(early, SigningError::Unseal));
    let older = refused(&|key| key.created_at = at(-60));
    assert!(matches!(older, SigningError::Unseal));
}

#[test]
fn every_state_says_what_time_makes_of_it() {
    let records = [es256(Purpose::Federation, at(0)), es256(Purpose::Federation, at(30))];
    let next = |index: usize, minute| next_state(&records[index], &records, at(minute));
    assert_eq!(next(0, 0), Some((at(30), KeyState::Retired)));
    assert_eq!(next(1, 0), Some((at(30), KeyState::Active)));
    assert_eq!(next(0, 30), Some((at(30 + 62), KeyState::Revoked)));
    assert_eq!(next(1, 30), None, "it signs until somebody rotates");
    assert_eq!(next(0, 30 + 62), None);
}

#[test]
fn c_11_keys_are_sealed_anew_by_the_key_of_now_and_stay_what_they_are() {
    let secret = |byte| STANDARD.encode([byte; 32]).into();
    let changed = Sealer::with_former(&secret(2), &[secret(1)]).unwrap();
    let records = first();
    let before = Keyring::open(&records, &sealer(1), at(0)).unwrap();
    let resealed: Vec<_> = records.iter().map(|key| key.resealed(&changed).unwrap()).collect();
    assert!(resealed.iter().all(|key| changed.is_current(&key.sealed)));
    let after = Keyring::open(&resealed, &sealer(2), at(0)).unwrap();
    for purpose in Purpose::ALL {
        assert_eq!(before.jwks(purpose), after.jwks(purpose));
    }
}

#[test]
fn keys_from_before_seals_named_their_key_open_and_are_sealed_anew() {
    let records = first();
    let former: Vec<_> = records
        .iter()
        .map(|key| {
            let plain = sealer(1).open(&context(key), &key.sealed).unwrap();
            let (purpose, algorithm) = (key.purpose.as_str(), key.algorithm.as_str());
            let context = format!("signing-key/{purpose}/{algorithm}/{}", key.kid);
            KeyRecord { sealed: sealer(1).seal_unnamed(&context, &plain), ..key.clone() }
        })
        .collect();
    let before = Keyring::open(&former, &sealer(1), at(0)).unwrap();
    let resealed: Vec<_> = former.iter().map(|key| key.resealed(&sealer(1)).unwrap()).collect();
    assert!(former.iter().all(|key| !sealer(1).is_current(&key.sealed)));
    assert!(resealed.iter().all(|key| sealer(1).is_current(&key.sealed)));
    let after = Keyring::open(&resealed, &sealer(1), at(0)).unwrap();
    assert_eq!(before.jwks(Purpose::Federation), after.jwks(Purpose::Federation));
}
