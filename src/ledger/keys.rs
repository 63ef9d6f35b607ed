//! Keys in the store: signing keys with their states, and the last good keys of issuers.

use jiff::Timestamp;

use super::explained::time;
use super::intent::{InsertKeys, KeepIssuerKeys, StoreKeys};
use super::{Ledger, LedgerError, Unavailable};
use crate::domain::IssuerUrl;
use crate::identity::{BoxFuture, Remembered};
use crate::signing::KeyRecord;

impl Ledger {
    /// Every signing key, oldest first, private parts sealed.
    ///
    /// # Errors
    /// The store cannot be read, or a key is damaged, or not as the chain recorded it: [`LedgerError::KeyChanged`].
    pub async fn signing_keys(&self) -> Result<Vec<KeyRecord>, LedgerError> {
        self.store.reader().signing_keys().await
    }

    /// Adds `keys` if the store has none: of two servers that start at once, one wins. True if it was this one;
    /// otherwise read [`Self::signing_keys`] again.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn insert_keys_if_none(&self, keys: Vec<KeyRecord>) -> Result<bool, Unavailable> {
        self.store.run(InsertKeys { keys }).await
    }

    /// Adds signing keys, or replaces those with their ids, all or none: a rotation, a revocation with its replacement,
    /// states that time has overtaken. A key that is revoked stays so.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn store_keys(&self, keys: Vec<KeyRecord>) -> Result<(), Unavailable> {
        self.store.run(StoreKeys { keys }).await
    }

    async fn open_issuer_keys(&self, issuer: &IssuerUrl) -> Option<(String, Timestamp)> {
        let (sealed, fetched) = self
            .store
            .reader()
            .issuer_keys(issuer.to_string())
            .await
            .inspect_err(|error| tracing::error!(%issuer, %error, "remembered keys cannot be read"))
            .ok()??;
        let opened = self.sealer.open(&issuer_context(issuer.as_str(), fetched), &sealed);
        let plain = opened
            .inspect_err(|error| tracing::error!(%issuer, %error, "remembered keys do not open: not used"))
            .ok()?;
        Some((String::from_utf8(plain).ok()?, time(fetched)))
    }

    async fn seal_issuer_keys(&self, issuer: &IssuerUrl, jwks: &str, fetched: Timestamp) -> bool {
        let fetched_at = fetched.as_millisecond();
        let sealed = match self.sealer.seal(&issuer_context(issuer.as_str(), fetched_at), jwks.as_bytes()) {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(%issuer, %error, "an issuer's keys cannot be sealed");
                return false;
            }
        };
        let intent = KeepIssuerKeys { issuer: issuer.to_string(), sealed, fetched_at };
        let kept = self.store.run(intent).await;
        if let Err(why) = &kept {
            tracing::warn!(%issuer, %why, "an issuer's keys cannot be remembered");
        }
        kept.is_ok()
    }
}

/// Sealed although public: whoever can write to the store must not be able to plant a key that tokens are verified
/// with, nor to exchange the keys of two issuers, nor to make old keys, withdrawn since, young again.
pub(super) fn issuer_context(issuer: &str, fetched_at: i64) -> String {
    format!("issuer-keys:{fetched_at}:{issuer}")
}

impl Remembered for Ledger {
    fn last_keys<'a>(&'a self, issuer: &'a IssuerUrl) -> BoxFuture<'a, Option<(String, Timestamp)>> {
        Box::pin(self.open_issuer_keys(issuer))
    }

    fn keep_keys<'a>(
        &'a self,
        issuer: &'a IssuerUrl,
        jwks: &'a str,
        fetched: Timestamp,
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.seal_issuer_keys(issuer, jwks, fetched))
    }
}
