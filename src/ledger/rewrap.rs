//! Sealing anew by another key-encryption key: what is sealed says by which, so that it can stop and go on anywhere.
//!
//! Signing keys and issuers' keys are sealed anew. Handles are not: the chain holds their bytes, and no record of it may
//! ever change. They are of use only while their credential lives, so the former key is needed until the last of them is
//! dead. This says when that is as things are: a lease that is renewed meanwhile lives longer with the handle of its first
//! decision, and has to be asked for again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::explained::time;
use super::intent::{ResealIssuerKeys, StoreKeys};
use super::keys::issuer_context;
use super::{Ledger, LedgerError};
use crate::signing::KeyState;

/// What sealing anew has done, and what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrapped {
    /// The id of the key-encryption key that seals now.
    pub sealed_by: String,
    /// Signing keys that were sealed anew.
    pub signing_keys: usize,
    /// Issuers whose remembered keys were sealed anew.
    pub issuer_keys: usize,
    /// Issuers whose remembered keys do not open; they are fetched anew when they are needed.
    pub unopened: usize,
    /// Handles of living credentials that a former key sealed.
    pub handles: Handles,
}

/// Handles of what may be alive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handles {
    /// How many.
    pub count: u32,
    /// When the last of their credentials is dead, unless its lease is renewed.
    pub until: Option<Timestamp>,
}

impl Ledger {
    /// Seals signing keys and issuers' keys by the current key-encryption key. Doing it again does what is left.
    ///
    /// The caller sees to it that nothing else changes signing keys meanwhile.
    ///
    /// # Errors
    /// The store cannot be read or written; a signing key does not open: [`crate::signing::SigningError::UnknownSeal`].
    pub async fn rewrap(&self) -> Result<Rewrapped, LedgerError> {
        let signing_keys = self.rewrap_signing_keys().await?;
        let (issuer_keys, unopened) = self.rewrap_issuer_keys().await?;
        let current = self.sealer.prefix();
        Ok(Rewrapped {
            sealed_by: self.sealer.id().to_string(),
            signing_keys,
            issuer_keys,
            unopened,
            handles: self.handles(|prefix| prefix != current).await?,
        })
    }

    /// Handles of living credentials that no configured key opens: nobody can end these.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn lost_handles(&self) -> Result<Handles, LedgerError> {
        self.handles(|prefix| !self.sealer.knows(prefix)).await
    }

    async fn rewrap_signing_keys(&self) -> Result<usize, LedgerError> {
        let records = self.signing_keys().await?;
        let former = records
            .iter()
            .filter(|key| key.state != KeyState::Revoked && !self.sealer.is_current(&key.sealed));
        let keys = former.map(|key| key.resealed(&self.sealer)).collect::<Result<Vec<_>, _>>()?;
        let count = keys.len();
        if count > 0 {
            self.store.run(StoreKeys { keys }).await?;
        }
        Ok(count)
    }

    async fn rewrap_issuer_keys(&self) -> Result<(usize, usize), LedgerError> {
        let (mut done, mut unopened, mut after) = (0, 0, String::new());
        loop {
            let page = self.store.reader().issuer_keys_after(after.clone()).await?;
            let Some((last, ..)) = page.last() else { return Ok((done, unopened)) };
            after.clone_from(last);
            for (issuer, former, fetched_at) in page {
                if self.sealer.is_current(&former) {
                    continue;
                }
                let context = issuer_context(&issuer, fetched_at);
                match self.sealer.open(&context, &former) {
                    Ok(plain) => {
                        let sealed = self.sealer.seal(&context, &plain)?;
                        let replaced = self.store.run(ResealIssuerKeys { issuer, former, sealed }).await?;
                        done += usize::from(replaced);
                    }
                    Err(error) => {
                        tracing::warn!(issuer, %error, "remembered keys do not open: not sealed anew");
                        unopened += 1;
                    }
                }
            }
        }
    }

    async fn handles(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Handles, LedgerError> {
        let now = self.clock.now().as_millisecond();
        let length = i64::try_from(self.sealer.prefix().len()).unwrap_or(i64::MAX);
        let seals = self.store.reader().living_seals(now, length).await?;
        let found = seals.into_iter().filter(|(prefix, ..)| wanted(prefix));
        Ok(found.fold(Handles::default(), |handles, (_, count, until)| Handles {
            count: handles.count.saturating_add(count),
            until: handles.until.max(Some(time(until))),
        }))
    }
}
