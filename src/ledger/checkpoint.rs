//! Checkpoints: the chain's head, signed. Kept elsewhere, one proves that nothing before it was cut, changed or rolled
//! back, even by somebody who can rewrite the whole store.
//!
//! A checkpoint signs the heads that no start of a server has vouched for yet: of a store with one server that is its
//! own, since the first record of each writer vouches for the last record of the writer before it.

use std::io::{BufRead, Read};
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chain::Head;
use super::intent::StoreCheckpoint;
use super::kind::HeadText;
use super::{Ledger, LedgerError};
use crate::signing::{CHECKPOINT_TYP, Keyring, Purpose};

/// Longest line of a file of events, bytes.
const MAX_LINE: u64 = 1024 * 1024;

/// Numbers that are tried for a checkpoint.
const TRIES: u32 = 4;

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number, from 1, without gaps.
    pub n: i64,
    /// When it was signed.
    pub at: Timestamp,
    /// Compact JWS.
    pub jws: String,
}

/// What a checkpoint signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The store's id, hex.
    pub(super) store: String,
    /// Number of the checkpoint.
    pub(super) n: i64,
    /// When, Unix milliseconds.
    pub(super) at: i64,
    /// Heads of the chains.
    pub(super) heads: Vec<HeadText>,
}

impl Ledger {
    /// Signs the chains' heads and stores the checkpoint; it goes to the events too. None if this server recorded
    /// nothing since the last one. Call it every ten seconds or so, and before a shutdown.
    ///
    /// # Errors
    /// No key for checkpoints, or the store cannot record.
    pub async fn checkpoint(&self, keyring: &Keyring) -> Result<Option<Checkpoint>, LedgerError> {
        let head = self.store.head();
        if head.seq <= self.checkpointed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        // Of servers that sign at once, one has the number, and the others take the next.
        for _ in 0..TRIES {
            if let Some(checkpoint) = self.sign(keyring, head).await? {
                self.checkpointed.store(head.seq, Ordering::Relaxed);
                return Ok(Some(checkpoint));
            }
        }
        Err(LedgerError::Checkpoint("other servers took every number".to_owned()))
    }

    /// Signs and stores one; none if its number is taken meanwhile.
    async fn sign(&self, keyring: &Keyring, own: Head) -> Result<Option<Checkpoint>, LedgerError> {
        let n = 1 + self.store.reader().last_checkpoint().await?;
        let mut heads = vec![HeadText { writer: own.writer, seq: own.seq, hash: own.hash.to_string() }];
        heads.extend(self.store.heads_beside().await?);
        let now = self.clock.now();
        let claims = Claims { store: hex(self.store.id()), n, at: now.as_millisecond(), heads };
        let jws = keyring.sign_jwt(Purpose::Checkpoints, CHECKPOINT_TYP, &claims).await?;
        let jws = jws.expose_secret().to_owned();
        let stored = self.store.run(StoreCheckpoint { n, at: claims.at, jws: jws.clone() }).await?;
        Ok(stored.then_some(Checkpoint { n, at: now, jws }))
    }
}

/// Bytes as hexadecimal text.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The checkpoints in `text`, compact JWSs, in its order: bare ones, a line each, or those of an export of events, whose
/// lines are as the events file or a sink has them, in either format. It is read line by line: such a file may be larger
/// than memory.
///
/// # Errors
/// [`LedgerError::Checkpoint`] if it cannot be read, or has a line that no file of events has.
pub(super) fn each(text: &mut dyn BufRead) -> impl Iterator<Item = Result<String, LedgerError>> {
    let mut lines = std::iter::from_fn(move || next_line(text).transpose());
    std::iter::from_fn(move || {
        lines.find_map(|line| line.map(|line| bare(&line).or_else(|| in_event(&line))).transpose())
    })
}

fn next_line(text: &mut dyn BufRead) -> Result<Option<String>, LedgerError> {
    let mut line = Vec::new();
    let read = text.take(MAX_LINE).read_until(b'\n', &mut line);
    let read = read.map_err(|error| LedgerError::Checkpoint(format!("it cannot be read: {error}")))?;
    if read as u64 == MAX_LINE && !line.ends_with(b"\n") {
        return Err(LedgerError::Checkpoint(
            "it has a line of more than 1 MiB, and is no file of events".to_owned(),
        ));
    }
    Ok((read > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// The line itself, if it is a compact JWS.
fn bare(line: &str) -> Option<String> {
    let line = line.trim();
    let is_jws = line.split('.').count() == 3 && !line.contains(['{', ' ']);
    is_jws.then(|| line.to_owned())
}

/// The checkpoint that a line of events is about. A seal has a JWS too, and is none.
fn in_event(line: &str) -> Option<String> {
    // Most lines are about something else, and need not be parsed.
    if !line.contains("\"jws\"") {
        return None;
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let places = [("/kind", "/jws"), ("/metadata/event_code", "/unmapped/jws")];
    let jws = |(kind, jws): (&str, &str)| {
        let is_one = event.pointer(kind).and_then(Value::as_str) == Some("checkpoint");
        event.pointer(jws).filter(|_| is_one).and_then(Value::as_str)
    };
    places.into_iter().find_map(jws).map(ToOwned::to_owned)
}

/// The claims of the checkpoint `jws`, if one of `keys` (public JWKs, JSON text) signed it.
///
/// # Errors
/// Why it is not a checkpoint.
pub(super) fn open(jws: &str, keys: &[String]) -> Result<Claims, String> {
    open_as(CHECKPOINT_TYP, jws, keys)
}

/// The claims of `jws`, if one of `keys` (public JWKs, JSON text) signed it as a token of the type `typ`.
///
/// # Errors
/// Why it is none.
pub(super) fn open_as<T: DeserializeOwned>(typ: &str, jws: &str, keys: &[String]) -> Result<T, String> {
    let header = jsonwebtoken::decode_header(jws).map_err(|error| error.to_string())?;
    // Explicit typing (RFC 8725, section 3.11): no other token of the same key passes for this one.
    if header.typ.as_deref() != Some(typ) {
        return Err(format!("its type is not {typ}"));
    }
    let mut why = "no key of this store signed it".to_owned();
    for key in keys {
        match verified(jws, key) {
            Ok(claims) => return Ok(claims),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn verified<T: DeserializeOwned>(jws: &str, key: &str) -> Result<T, Box<dyn std::error::Error>> {
    let jwk: Jwk = serde_json::from_str(key)?;
    // The purpose says which algorithm, never the header (RFC 8725, section 3.1).
    let mut validation = Validation::new(Algorithm::ES256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    Ok(jsonwebtoken::decode(jws, &DecodingKey::from_jwk(&jwk)?, &validation)?.claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        each(&mut text.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn finds_every_checkpoint_among_events_of_either_format() {
        assert_eq!(found(" a.b.c\n"), ["a.b.c"]);
        assert_eq!(found("a.b.c\nd.e.f"), ["a.b.c", "d.e.f"]);
        let lines = "{\"kind\":\"checkpoint\",\"jws\":\"a.b.c\"}\n{\"kind\":\"leased\"}\n\
                     {\"kind\":\"sealed\",\"jws\":\"x.y.z\"}\n\
                     {\"metadata\":{\"event_code\":\"checkpoint\"},\"unmapped\":{\"jws\":\"d.e.f\"}}\n";
        assert_eq!(found(lines), ["a.b.c", "d.e.f"]);
        assert!(found("nothing").is_empty());
    }

    #[test]
    fn s_07_a_line_without_end_is_refused_and_not_kept() {
        let mut endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let [first] = [each(&mut endless).next()];
        assert!(matches!(first, Some(Err(LedgerError::Checkpoint(_)))));
    }
}
