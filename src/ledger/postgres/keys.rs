//! Signing keys, remembered issuer keys and checkpoints.

use super::Apply;
use super::batch::Batch;
use super::needs::{Also, Needs};
use crate::ledger::event::{About, Line};
use crate::ledger::explained::time;
use crate::ledger::intent::{InsertKeys, KeepIssuerKeys, ResealIssuerKeys, StoreCheckpoint, StoreKeys};
use crate::ledger::key_text::{self, age};
use crate::ledger::kind::Kind;
use crate::ledger::rows::StoredKey;
use crate::signing::{KeyRecord, KeyState};

impl Apply for InsertKeys {
    fn needs(&self, needs: &mut Needs) {
        needs.also(Also::SigningKeys);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<bool> {
        let none = batch.held.signing_keys.is_empty();
        if none {
            self.keys.iter().try_for_each(|key| put(batch, key))?;
        }
        Ok(none)
    }
}

impl Apply for StoreKeys {
    fn needs(&self, needs: &mut Needs) {
        needs.also(Also::SigningKeys);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<()> {
        self.keys.iter().try_for_each(|key| put(batch, key))
    }
}

/// Adds or replaces a key, unless another server moved it further meanwhile: a key never goes back in its life, so that
/// one that was revoked stays revoked.
fn put(batch: &mut Batch, key: &KeyRecord) -> sqlx::Result<()> {
    let stored = batch.held.signing_keys.get(&key.kid).and_then(|stored| key_text::state(&stored.state));
    if stored.is_some_and(|stored| age(stored) > age(key.state) || stored == KeyState::Revoked) {
        return Ok(());
    }
    let row = StoredKey::of(key);
    batch.append_body(Kind::Key, "", row.kid.as_bytes(), &row.change(), |data| About::Server { data })?;
    batch.held.signing_keys.insert(row.kid.clone(), row.clone());
    batch.added.signing_keys.push(row);
    Ok(())
}

impl Apply for KeepIssuerKeys {
    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<()> {
        batch.added.issuer_keys.push(self.clone());
        Ok(())
    }
}

impl Apply for ResealIssuerKeys {
    fn needs(&self, needs: &mut Needs) {
        needs.issuer(&self.issuer);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<bool> {
        let same = batch.held.issuer_keys.get(&self.issuer).is_some_and(|sealed| *sealed == self.former);
        if same {
            batch.held.issuer_keys.insert(self.issuer.clone(), self.sealed.clone());
            batch.added.resealed.push(self.clone());
        }
        Ok(same)
    }
}

impl Apply for StoreCheckpoint {
    fn needs(&self, needs: &mut Needs) {
        needs.also(Also::LastCheckpoint);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<bool> {
        if self.n != batch.held.last_checkpoint + 1 {
            return Ok(false);
        }
        batch.held.last_checkpoint = self.n;
        batch.added.checkpoints.push(self.clone());
        batch.push(Line::Checkpoint { kind: "checkpoint", at: time(self.at), jws: self.jws.clone() });
        Ok(true)
    }
}
