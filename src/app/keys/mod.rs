//! The signing keys of a running server: made at first start, rotated by publishing first, revoked at once, opened anew
//! when time moves one of them on.

mod kms;
mod report;

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

pub use self::report::{KeyReport, NextState, reports};
use super::StartError;
use crate::clock::Clock;
use crate::config::SigningSettings;
use crate::ledger::{Ledger, Rewrapped};
use crate::signing::{
    KeyRecord, KeyState, Keyring, Kms, Place, Purpose, Rotation, Sealer, SharedKeyring, SigningAlgorithm,
    first_keys_of, plan_rotation, revoke, settle, withdrawn,
};

/// How long verifiers may cache a JWKS before they ask again; a published key waits as long before it signs.
const LAG: SignedDuration = SignedDuration::from_hours(1);

/// What keys are made of and kept in.
struct Stock {
    ledger: Arc<Ledger>,
    sealer: Arc<Sealer>,
    kms: Kms,
    clock: Clock,
}

/// What of the stored keys another server may have changed: which there are, their states, and when each begins to sign.
type Seen = Vec<(String, KeyState, Timestamp)>;

/// Stored keys and the keyring made of them.
pub(super) struct Keys {
    stock: Stock,
    keyring: SharedKeyring,
    /// One change at a time: what one reads, another must not change before it is written. Holds what the keyring in
    /// force was made of.
    changing: Mutex<Seen>,
}

impl Keys {
    /// Opens the stored keys, and makes those that are lacking.
    pub(super) async fn open(
        ledger: Arc<Ledger>,
        sealer: Arc<Sealer>,
        kms: Kms,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let stock = Stock { ledger, sealer, kms, clock };
        stock.complete().await?;
        let (keyring, seen) = stock.keyring().await?;
        let lost = stock.ledger.lost_handles().await?;
        if lost.count > 0 {
            tracing::error!(
                handles = lost.count,
                until = lost.until.map(|until| until.to_string()),
                "living credentials cannot be ended: add the former key to store.previous_key_encryption_keys"
            );
        }
        Ok(Self { stock, keyring: Arc::new(ArcSwap::from_pointee(keyring)), changing: Mutex::new(seen) })
    }

    /// The keyring in force.
    pub(super) fn current(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// The keyring that rotation swaps.
    pub(super) fn shared(&self) -> SharedKeyring {
        Arc::clone(&self.keyring)
    }

    /// Shows the KMS the tokens of `settings` from now on.
    pub(super) fn replace_tokens(&self, settings: &SigningSettings) {
        self.stock.kms.replace_tokens(settings);
    }

    /// Publishes a fresh key for each algorithm of `purpose`, or one in its KMS; it signs after the lag that caches need.
    pub(super) async fn rotate(&self, purpose: Purpose) -> Result<Vec<KeyReport>, StartError> {
        let mut seen = self.changing.lock().await;
        self.stock.rotate(purpose).await?;
        self.reopen(&mut seen).await?;
        self.list().await
    }

    /// Revokes a key: it leaves the JWKS and never signs again. The one that signs goes only with `replace`, which has
    /// another sign at once.
    pub(super) async fn revoke(&self, kid: &str, replace: bool) -> Result<Vec<KeyReport>, StartError> {
        let mut seen = self.changing.lock().await;
        let stock = &self.stock;
        let (records, now) = (stock.ledger.signing_keys().await?, stock.clock.now());
        let revocation = revoke(&records, kid, replace, &stock.sealer, now)?;
        let mut changed = revocation.changed;
        if let Some((purpose, algorithm)) = revocation.lacks {
            changed.push(stock.replacement(purpose, algorithm).await?);
        }
        stock.ledger.store_keys(changed).await?;
        self.reopen(&mut seen).await?;
        tracing::warn!(kid, "a signing key was revoked");
        self.list().await
    }

    /// Every key with its state now.
    pub(super) async fn list(&self) -> Result<Vec<KeyReport>, StartError> {
        let records = self.stock.ledger.signing_keys().await?;
        Ok(reports(&records, self.stock.clock.now()))
    }

    /// Stores the states that time has changed, publishes what was rotated in a KMS, and opens the keyring anew if any of
    /// it changed.
    pub(super) async fn settle(&self) -> Result<(), StartError> {
        let mut seen = self.changing.lock().await;
        let records = self.stock.ledger.signing_keys().await?;
        let changed = settle(&records, self.stock.clock.now());
        if !changed.is_empty() {
            self.stock.ledger.store_keys(changed).await?;
        }
        // Also if nothing moved: time alone may change which key signs.
        self.stock.adopt(&records).await?;
        self.reopen(&mut seen).await
    }

    /// Opens the keyring anew if another server on the same store has changed a key: what one revokes, all stop using.
    pub(super) async fn follow(&self) -> Result<(), StartError> {
        let mut seen = self.changing.lock().await;
        if seen_of(&self.stock.ledger.signing_keys().await?) != *seen {
            self.reopen(&mut seen).await?;
            tracing::info!("another server has changed the signing keys");
        }
        Ok(())
    }

    /// Seals everything by the current key-encryption key that can be.
    pub(super) async fn rewrap(&self) -> Result<Rewrapped, StartError> {
        let _one_at_a_time = self.changing.lock().await;
        Ok(self.stock.ledger.rewrap().await?)
    }

    async fn reopen(&self, seen: &mut Seen) -> Result<(), StartError> {
        let (keyring, now_seen) = self.stock.keyring().await?;
        self.keyring.store(Arc::new(keyring));
        *seen = now_seen;
        Ok(())
    }
}

fn seen_of(records: &[KeyRecord]) -> Seen {
    records.iter().map(|record| (record.kid.clone(), record.state, record.activates_at)).collect()
}

impl Stock {
    /// Makes the keys that are lacking, in the store and in each KMS.
    async fn complete(&self) -> Result<(), StartError> {
        let now = self.clock.now();
        let records = self.ledger.signing_keys().await?;
        let here: Vec<_> =
            Purpose::ALL.into_iter().filter(|purpose| self.kms.place(*purpose) == Place::Store).collect();
        let mut missing = first_keys_of(&here, &records, &self.sealer, now)?;
        if records.is_empty() {
            self.ledger.insert_keys_if_none(missing).await?;
        } else {
            missing.extend(withdrawn(&here, &records, now));
            if !missing.is_empty() {
                self.ledger.store_keys(missing).await?;
            }
        }
        let records = self.ledger.signing_keys().await?;
        self.adopt(&records).await.map(drop)
    }

    async fn keyring(&self) -> Result<(Keyring, Seen), StartError> {
        let records = self.ledger.signing_keys().await?;
        let keyring = Keyring::open_with(&records, &self.sealer, &self.kms, self.clock.now())?;
        Ok((keyring, seen_of(&records)))
    }

    async fn rotate(&self, purpose: Purpose) -> Result<(), StartError> {
        let records = self.ledger.signing_keys().await?;
        if let Some(client) = self.kms.of(purpose) {
            return self.rotate_in_kms(purpose, client, &records).await;
        }
        for algorithm in purpose.algorithms() {
            let now = self.clock.now();
            match plan_rotation(&records, purpose, *algorithm, Place::Store, now, LAG) {
                Rotation::Publish { activates_at } => {
                    let key = Keyring::generate(purpose, *algorithm, &self.sealer, now, activates_at)?;
                    self.ledger.store_keys(vec![key]).await?;
                }
                Rotation::Pending { .. } => {}
            }
        }
        Ok(())
    }

    /// A key that signs at once.
    async fn replacement(
        &self,
        purpose: Purpose,
        algorithm: SigningAlgorithm,
    ) -> Result<KeyRecord, StartError> {
        if let Some(client) = self.kms.of(purpose) {
            return self.replacement_in_kms(purpose, client).await;
        }
        let now = self.clock.now();
        Ok(Keyring::generate(purpose, algorithm, &self.sealer, now, now)?)
    }
}
