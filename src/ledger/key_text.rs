//! Reads the words that the store uses for what signing calls its keys.

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
