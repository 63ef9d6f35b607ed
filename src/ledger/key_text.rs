//! Reads the words that the store uses for what signing calls its keys.

use super::kind::KeyChange;
use crate::signing::{KeyState, Place, Purpose, SigningAlgorithm};

const ALGORITHMS: [SigningAlgorithm; 2] = [SigningAlgorithm::Es256, SigningAlgorithm::Rs256];
const STATES: [KeyState; 4] = [KeyState::Published, KeyState::Active, KeyState::Retired, KeyState::Revoked];

/// Reads what [`Purpose::as_str`] gave.
pub(super) fn purpose(text: &str) -> Option<Purpose> {
    Purpose::ALL.into_iter().find(|known| known.as_str() == text)
}

/// Reads what [`SigningAlgorithm::as_str`] gave.
pub(super) fn algorithm(text: &str) -> Option<SigningAlgorithm> {
    ALGORITHMS.into_iter().find(|known| known.as_str() == text)
}

/// Reads what [`KeyState::as_str`] gave.
pub(super) fn state(text: &str) -> Option<KeyState> {
    STATES.into_iter().find(|known| known.as_str() == text)
}

/// Reads what [`Place::as_str`] gave.
pub(super) fn place(text: &str) -> Option<Place> {
    [Place::Store, Place::Kms].into_iter().find(|known| known.as_str() == text)
}

/// How far a key in this state has come in its life: it never goes back.
pub(super) const fn age(state: KeyState) -> u8 {
    match state {
        KeyState::Published => 0,
        KeyState::Active => 1,
        KeyState::Retired => 2,
        KeyState::Revoked => 3,
    }
}

/// The same of the key that a record's body describes.
pub(super) fn age_in(body: &str) -> Option<u8> {
    let change: KeyChange = serde_json::from_str(body).ok()?;
    state(&change.state).map(age)
}
