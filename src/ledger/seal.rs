//! Seals: signed statements that the beginning of a chain was pruned, and what it began and ended with.
//!
//! A seal is a record in the chain of the writer that prunes. It covers its target's chain from the first record on, so
//! that the newest one of a chain says all; before that record is pruned itself, it is recorded again. Whoever cuts a
//! chain without the checkpoint key has no seal for it, and verification says so.

use std::collections::HashMap;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::checkpoint;
use super::kind::HeadText;
use crate::secret::Fingerprint;
use crate::signing::{Keyring, Purpose, SEAL_TYP};

/// What a seal signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    /// The store's id, hex.
    pub(super) store: String,
    /// The writer whose chain was cut.
    pub(super) writer: i64,
    /// The first record that is gone: always the first of the chain.
    pub(super) first: i64,
    /// The last record that is gone.
    pub(super) last: i64,
    /// What the first one followed, hex.
    pub(super) before: String,
    /// The hash of the last one, hex: what remains goes on from it.
    pub(super) after: String,
    /// When the last one was recorded, Unix milliseconds.
    pub(super) until: i64,
    /// When it was sealed, Unix milliseconds.
    pub(super) at: i64,
    /// Number of the checkpoint that proved the chain up to there.
    pub(super) checkpoint: i64,
    /// Heads of other chains that the records vouched for.
    pub(super) follows: Vec<HeadText>,
    /// Decisions whose records are gone and whose rows stay for a while.
    pub(super) kept: Vec<Kept>,
}

/// A decision that a lease still needs, whose own record is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Its id, hex.
    pub(super) decision: String,
    /// What its record held of it: the hash of its row, hex.
    pub(super) payload: String,
}

/// Body of a record of the kind `sealed`: what is signed, to be read, and the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    #[serde(flatten)]
    pub(super) seal: Seal,
    /// Compact JWS.
    pub(super) jws: String,
}

impl Seal {
    /// The hash of the last record that is gone; none if it is damaged.
    pub(super) fn after(&self) -> Option<Fingerprint> {
        bytes(&self.after).map(Fingerprint::from_bytes)
    }

    /// Signs it; the answer is the body of its record.
    ///
    /// # Errors
    /// No key for checkpoints, or it cannot be used.
    pub(super) async fn sign(self, keyring: &Keyring) -> Result<String, LedgerError> {
        let jws = keyring.sign_jwt(Purpose::Checkpoints, SEAL_TYP, &self).await?;
        let sealed = Sealed { seal: self, jws: jws.expose_secret().to_owned() };
        serde_json::to_string(&sealed).map_err(|_| LedgerError::Damaged { what: "seal" })
    }
}

/// The seal that a record's body holds, if one of `keys` (public JWKs, JSON text) signed it for the store `store` (hex).
///
/// # Errors
/// Why it is none.
pub(super) fn open(body: &str, store: &str, keys: &[String]) -> Result<Seal, String> {
    let Sealed { seal, jws } = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let signed: Seal = checkpoint::open_as(SEAL_TYP, &jws, keys)?;
    if signed != seal {
        return Err("it says something else than what is signed".to_owned());
    }
    if seal.store != store {
        return Err("it is of another store".to_owned());
    }
    Ok(seal)
}

/// The seal of each chain that covers most.
#[derive(Debug, Default)]
pub(super) struct Seals(HashMap<i64, Seal>);

impl Seals {
    /// Takes one in; it counts unless another one covers more.
    pub(super) fn add(&mut self, seal: Seal) {
        let known = self.0.get(&seal.writer).map_or(-1, |known| known.last);
        if seal.last > known {
            self.0.insert(seal.writer, seal);
        }
    }

    /// The seal of a chain.
    pub(super) fn of(&self, writer: i64) -> Option<&Seal> {
        self.0.get(&writer)
    }

    /// True if nothing was ever pruned.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Seal> {
        self.0.values()
    }

    /// The hash of a kept decision's row, hex.
    pub(super) fn kept(&self, decision: &[u8]) -> Option<&str> {
        self.kept_by_name(&checkpoint::hex(decision))
    }

    /// The same by the decision's id in hex.
    pub(super) fn kept_by_name(&self, id: &str) -> Option<&str> {
        let mut kept = self.0.values().flat_map(|seal| &seal.kept);
        kept.find(|kept| kept.decision == id).map(|kept| kept.payload.as_str())
    }
}

/// Reads hexadecimal text.
pub(super) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
