//! The signing keys of a running server: made at first start, rotated by publishing first, opened anew when time moves
//! one of them on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::StartError;
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::signing::{
    KeyRecord, Keyring, Purpose, Rotation, Sealer, SharedKeyring, first_keys, plan_rotation, settle, state_at,
};

/// How long verifiers may cache a JWKS before they ask again; a published key waits as long before it signs.
const LAG: SignedDuration = SignedDuration::from_hours(1);

/// One key, as `tollgate keys list` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyReport {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// What it signs.
    pub purpose: String,
    /// `ES256` or `RS256`.
    pub algorithm: String,
    /// `published`, `active`, `retired` or `revoked`.
    pub state: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began, or begins, to sign.
    pub activates_at: Timestamp,
}

/// Stored keys and the keyring made of them.
pub(super) struct Keys {
    ledger: Arc<Ledger>,
    sealer: Arc<Sealer>,
    clock: Clock,
    keyring: SharedKeyring,
}

impl Keys {
    /// Opens the stored keys, and makes those that the store lacks.
    pub(super) async fn open(
        ledger: Arc<Ledger>,
        sealer: Arc<Sealer>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let now = clock.now();
        let mut records = ledger.signing_keys().await?;
        let missing = first_keys(&records, &sealer, now)?;
        if records.is_empty() {
            ledger.insert_keys_if_none(missing).await?;
            records = ledger.signing_keys().await?;
        } else {
            ledger.store_keys(missing.clone()).await?;
            records.extend(missing);
        }
        let keyring = Keyring::open(&records, &sealer, now)?;
        Ok(Self { ledger, sealer, clock, keyring: Arc::new(ArcSwap::from_pointee(keyring)) })
    }

    /// The keyring in force.
    pub(super) fn current(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// The keyring that rotation swaps.
    pub(super) fn shared(&self) -> SharedKeyring {
        Arc::clone(&self.keyring)
    }

    /// Publishes a fresh key for each algorithm of `purpose`; it signs after the lag that caches need.
    pub(super) async fn rotate(&self, purpose: Purpose) -> Result<Vec<KeyReport>, StartError> {
        let records = self.ledger.signing_keys().await?;
        for algorithm in purpose.algorithms() {
            let now = self.clock.now();
            match plan_rotation(&records, purpose, *algorithm, now, LAG) {
                Rotation::Publish { activates_at } => {
                    let key = Keyring::generate(purpose, *algorithm, &self.sealer, now, activates_at)?;
                    self.ledger.store_keys(vec![key]).await?;
                }
                Rotation::Pending { .. } => {}
            }
        }
        self.reopen().await?;
        self.list().await
    }

    /// Every key with its state now.
    pub(super) async fn list(&self) -> Result<Vec<KeyReport>, StartError> {
        let records = self.ledger.signing_keys().await?;
        Ok(reports(&records, self.clock.now()))
    }

    /// Stores the states that time has changed, and opens the keyring anew if it changed any.
    pub(super) async fn settle(&self) -> Result<(), StartError> {
        let records = self.ledger.signing_keys().await?;
        let changed = settle(&records, self.clock.now());
        if changed.is_empty() {
            return Ok(());
        }
        self.ledger.store_keys(changed).await?;
        self.reopen().await
    }

    async fn reopen(&self) -> Result<(), StartError> {
        let records = self.ledger.signing_keys().await?;
        self.keyring.store(Arc::new(Keyring::open(&records, &self.sealer, self.clock.now())?));
        Ok(())
    }
}

/// `records` with their states at `now`, ordered by purpose and age.
pub fn reports(records: &[KeyRecord], now: Timestamp) -> Vec<KeyReport> {
    let mut reports: Vec<_> = records
        .iter()
        .map(|key| KeyReport {
            kid: key.kid.clone(),
            purpose: key.purpose.as_str().to_owned(),
            algorithm: key.algorithm.as_str().to_owned(),
            state: state_at(key, records, now).as_str().to_owned(),
            created_at: key.created_at,
            activates_at: key.activates_at,
        })
        .collect();
    reports.sort_by(|a, b| (&a.purpose, a.created_at, &a.kid).cmp(&(&b.purpose, b.created_at, &b.kid)));
    reports
}
