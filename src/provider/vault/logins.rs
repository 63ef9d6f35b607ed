//! Logins between plan and mint.
//!
//! The accessor is recorded with the authorisation; the token must not be, and waits here. It leaves at mint or
//! discard. A process that dies in between leaves a login that dies by itself within two minutes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use secrecy::SecretString;

/// Most logins that wait at once: well above the requests that a server lets run.
const MAX_WAITING: usize = 4096;

/// Tokens by accessor.
#[derive(Default)]
pub(super) struct Logins(Mutex<HashMap<String, Waiting>>);

struct Waiting {
    token: SecretString,
    until: Timestamp,
}

/// There are as many logins as may wait; the token comes back so that it can be revoked.
#[derive(Debug)]
pub(super) struct Full(pub(super) SecretString);

impl Logins {
    /// Keeps `token` until [`Self::take`], or until it is dead at `until`.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn keep(
        &self,
        accessor: String,
        token: SecretString,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), Full> {
        let mut waiting = self.lock();
        if waiting.len() >= MAX_WAITING {
            waiting.retain(|_, login| login.until > now);
        }
        if waiting.len() >= MAX_WAITING {
            return Err(Full(token));
        }
        waiting.insert(accessor, Waiting { token, until });
        Ok(())
    }

    /// The token, once.
    pub(super) fn take(&self, accessor: &str) -> Option<SecretString> {
        self.lock().remove(accessor).map(|login| login.token)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logins({})", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::provider::testing::now;

    #[test]
    fn gives_a_token_once() {
        let logins = Logins::default();
        logins.keep("a".into(), "s.SENTINEL".into(), now(), now()).unwrap();
        assert_eq!(format!("{logins:?}"), "Logins(1)");
        assert!(logins.take("a").is_some());
        assert!(logins.take("a").is_none());
    }

    #[test]
    fn stays_bounded_and_forgets_the_dead_first() {
        let logins = Logins::default();
        let later = now() + SignedDuration::from_secs(60);
        for n in 0..MAX_WAITING {
            logins.keep(n.to_string(), "t".into(), now(), later).unwrap();
        }
        assert!(logins.keep("one more".into(), "t".into(), now(), later).is_err());
        assert!(logins.keep("later".into(), "t".into(), later, later).is_ok());
        assert_eq!(format!("{logins:?}"), "Logins(1)");
    }
}
