//! Signing keys as commands show them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::signing::{KeyRecord, next_state, state_at};

/// One key, as `tollgate keys list` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyReport {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// What it signs.
    pub purpose: String,
    /// `ES256` or `RS256`.
    pub algorithm: String,
    /// `store` or `kms`: where its private half is.
    pub place: String,
    /// `published`, `active`, `retired` or `revoked`.
    pub state: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began, or begins, to sign.
    pub activates_at: Timestamp,
    /// What it becomes by time; none if it stays as it is.
    pub next: Option<NextState>,
}

/// A change that time will make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NextState {
    /// The state.
    pub state: String,
    /// When.
    pub at: Timestamp,
}

/// `records` with their states at `now`, ordered by purpose and age.
pub fn reports(records: &[KeyRecord], now: Timestamp) -> Vec<KeyReport> {
    let mut reports: Vec<_> = records
        .iter()
        .map(|key| KeyReport {
            kid: key.kid.clone(),
            purpose: key.purpose.as_str().to_owned(),
            algorithm: key.algorithm.as_str().to_owned(),
            place: key.place.as_str().to_owned(),
            state: state_at(key, records, now).as_str().to_owned(),
            created_at: key.created_at,
            activates_at: key.activates_at,
            next: next_state(key, records, now)
                .map(|(at, state)| NextState { state: state.as_str().to_owned(), at }),
        })
        .collect();
    reports.sort_by(|a, b| (&a.purpose, a.created_at, &a.kid).cmp(&(&b.purpose, b.created_at, &b.kid)));
    reports
}
